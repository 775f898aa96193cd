package clients_test

import (
	"testing"
)

// greeting is what //rules/tests/binaries:greet says: its interpreter is the store's, and its runfiles are all there.
const greeting = `greetings from python
interpreter /nix/store/m2mgj4jqma9ycz1gi7a9bsy4v1420i4g-python3-minimal-3.11.2/bin/python3.11
arguments ['a b', 'c']
data/with space.txt spacious
data/größe.txt groß
tree.dir/a/b/file deep
links.link spacious
_main/renamed/file spacious
_main/renamed/tree/a/b/file deep
at_root/file spacious
at_root/tree/a/b/file deep`

// Programs of the build that need an interpreter run on the store's: where their toolchain names it, in an image with
// nothing else; and where they look for it by name.
func TestBinaries(t *testing.T) {
	type program struct {
		path, says string
	}
	greet := program{"/app/greet", greeting}
	for _, i := range []struct {
		name, archive string
		programs      []program
	}{
		{"by_store_path", "STRATA_STORE_PROGRAMS_ARCHIVE", []program{greet}},
		{"by_name", "STRATA_PROGRAMS_ARCHIVE", []program{greet, {"/app/script", "script a b c\nspacious\nnative"}}},
	} {
		t.Run(i.name, func(t *testing.T) {
			archive := given(i.archive)
			if archive == "" {
				t.Skip("under Bazel only")
			}
			img := built(t, i.name, func(dir string) (*image, error) { return readImage(dir, archive, "") })
			judgeByOracle(t, img.archive)
			judge := func(t *testing.T, c client, name string, options func(...string) []string) {
				t.Helper()
				for _, p := range i.programs {
					if got := c.run(t, options("--rm", "--entrypoint="+p.path, name, "a b", "c")...); got != p.says {
						t.Errorf("%s says\n%s\nwant\n%s", p.path, got, p.says)
					}
				}
			}
			t.Run("podman", func(t *testing.T) {
				p := podman(t, "runc")
				judge(t, p, podmanLoad(t, p, img), podmanRun)
			})
			t.Run("docker", func(t *testing.T) {
				d := docker(t)
				judge(t, d, dockerLoad(t, d, img), func(args ...string) []string {
					return append([]string{"run", "--network=none"}, args...)
				})
			})
		})
	}
}
