package clients_test

import (
	"strings"
	"testing"
)

// A profile that Guix made and the links that root_layer makes of the same packages have the same files, and each leads to
// the same file in the end.
func TestGuixProfile_Union(t *testing.T) {
	archive := given("STRATA_GUIX_PROFILES_ARCHIVE")
	if archive == "" {
		t.Skip("under Bazel only")
	}
	img := built(t, "guix-profiles", func(dir string) (*image, error) { return readImage(dir, archive, "") })
	judgeByOracle(t, img.archive)
	p := podman(t, "runc")
	name := podmanLoad(t, p, img)
	const list = `
busybox=/gnu/store/wa89lqm0jhq9ddlqvspp0y2wa045sb4a-busybox-static-1.35.0/bin/busybox
cd "$0"
$busybox find -L . ! -type d | $busybox sort | while read -r file; do
  echo "$file $($busybox readlink -f "$file")"
done`
	files := func(dir string) (lines []string) {
		t.Helper()
		sh := "/gnu/store/wa89lqm0jhq9ddlqvspp0y2wa045sb4a-busybox-static-1.35.0/bin/sh"
		out := p.run(t, podmanRun("--rm", "--entrypoint="+sh, name, "-euc", list, dir)...)
		for line := range strings.Lines(out) {
			// What a profile has of its own.
			if !strings.HasPrefix(line, "./manifest ") && !strings.HasPrefix(line, "./etc/profile ") {
				lines = append(lines, strings.TrimSpace(line))
			}
		}
		return lines
	}
	got, want := strings.Join(files("/packages"), "\n"), strings.Join(files("/profile"), "\n")
	if got != want {
		t.Errorf("the packages' links are\n%s\nwant, as in the profile,\n%s", got, want)
	}
	// Of the two packages' bin/hello the first one's.
	if hello := "./bin/hello /gnu/store/w4qs8p8nwnldd2lx0dpigzlqsqk2m3s2-strata-app-1.0/bin/hello"; !strings.Contains(want, hello) || !strings.Contains(want, "./share/empty/kept ") {
		t.Errorf("the profile has\n%s\nwant %s among it", want, hello)
	}
}

// The example's programs are at /bin, and have the profile's search paths; a login shell reads them from /etc/profile.
func TestGuixProfile_Runs(t *testing.T) {
	archive := given("STRATA_GUIX_PROFILE_ARCHIVE")
	if archive == "" {
		t.Skip("under Bazel only")
	}
	img := built(t, "guix-profile", func(dir string) (*image, error) { return readImage(dir, archive, "") })
	judgeByOracle(t, img.archive)
	p := podman(t, "runc")
	name := podmanLoad(t, p, img)
	const profile = "/gnu/store/s8m9cqaswfk5i8rzamhzpb0hf0spz951-profile"
	for _, test := range []struct {
		options []string
		want    string
	}{
		{[]string{name}, "other finds " + profile + "/share/other"},
		{[]string{"--entrypoint=/bin/hello", name}, "app says hello"},
		{[]string{"--env=GUIX_PROFILE=/here", "--entrypoint=/gnu/store/wa89lqm0jhq9ddlqvspp0y2wa045sb4a-busybox-static-1.35.0/bin/sh", name, "-lc", "echo $OTHER_PATH"}, "/here/share/other:" + profile + "/share/other"},
	} {
		if got := p.run(t, podmanRun(append([]string{"--rm"}, test.options...)...)...); got != test.want {
			t.Errorf("%q: got %q, want %q", test.options, got, test.want)
		}
	}
}
