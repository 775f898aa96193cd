package lock

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/narinfo"
	"github.com/rules-strata/rules_strata/tool/project"
	"github.com/rules-strata/rules_strata/tool/store"
)

const guixRoot = store.Path("/gnu/store/w4qs8p8nwnldd2lx0dpigzlqsqk2m3s2-strata-app-1.0")

func guixKey(t testing.TB) narinfo.PublicKey {
	t.Helper()
	k, err := project.ReadPublicKeys(webData+"/guix/signing-key.pub", "strata")
	if err != nil || len(k) != 1 {
		t.Fatal(k, err)
	}
	return k[0]
}

// Both of Guix' ways to serve a store lock to the closure that Guix says, every download pinned.
func TestMake_Guix(t *testing.T) {
	text, err := os.ReadFile(webData + "/guix/closure")
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Fields(string(text))
	slices.Sort(want)
	for _, dir := range []string{"cache", "baked"} {
		l, err := makeLock(t, projectOf(guixRoot, []narinfo.PublicKey{guixKey(t)}, project.Cache{URL: "file:guix/" + dir}), webData)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, path := range slices.Sorted(maps.Keys(l.Paths)) {
			got = append(got, string(path))
			p := l.Paths[path]
			file := filepath.Join(webData, strings.TrimPrefix(p.URL, "file:"))
			info, err := os.Stat(file)
			if err != nil || p.Compression != "zstd" || p.SignedBy != "strata" || p.FileSize != info.Size() || p.FileHash != hashFile(t, file) {
				t.Errorf("%s: %+v, %v", path, p, err)
			}
		}
		if !slices.Equal(got, want) || store.Path(got[0]).Dir() != "/gnu/store" {
			t.Errorf("%s: paths %v, want %v", dir, got, want)
		}
		if _, err := Parse(mustMarshal(t, l)); err != nil {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

// Of several files that a Guix cache offers, the next is locked where the first isn't there any more.
func TestMake_GuixFileGone(t *testing.T) {
	dir := t.TempDir()
	copyDir(t, dir, webData+"/guix/cache")
	keys := []narinfo.PublicKey{guixKey(t)}
	const hello = "4m20x4ralq263frja2hliphixn7wh1p0-strata-hello"
	remove := func(name string) {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"zstd", "gzip", "lzip"} {
		l, err := makeLock(t, projectOf(guixRoot, keys, project.Cache{URL: "file://" + dir}), dir)
		if err != nil {
			t.Fatal(err)
		}
		p := l.Paths["/gnu/store/"+hello]
		name := "nar/" + want + "/" + hello
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || p.Compression != want || p.URL != "file://"+dir+"/"+name || p.FileSize != info.Size() || p.FileHash != hashFile(t, filepath.Join(dir, name)) {
			t.Errorf("want %s, got %+v, %v", want, p, err)
		}
		remove(name)
	}
	_, err := makeLock(t, projectOf(guixRoot, keys, project.Cache{URL: "file://" + dir}), dir)
	if err == nil || !strings.Contains(err.Error(), "/gnu/store/"+hello+": file://"+dir+"/nar/zstd/"+hello+": not found") {
		t.Errorf("none of them there: error %v", err)
	}
}

func hashFile(t testing.TB, file string) store.Hash {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return hashOf(b)
}

// A Guix cache by another key, of other files, or for other roots.
func TestMake_GuixRefuses(t *testing.T) {
	other, err := narinfo.ParsePublicKey("ci.guix.gnu.org:(public-key (ecc (curve Ed25519) (q #8D156F295D24B0D9A86FA5741A840FF2D24F60F7B6C4134814AD55625971B394#)))")
	if err != nil {
		t.Fatal(err)
	}
	keys := []narinfo.PublicKey{guixKey(t)}
	_, err = makeLock(t, projectOf(guixRoot, []narinfo.PublicKey{other}, project.Cache{URL: "file:guix/baked"}), webData)
	var hinted interface{ Hint() string }
	if err == nil || !strings.Contains(err.Error(), string(guixRoot)+": file:guix/baked/w4qs8p8nwnldd2lx0dpigzlqsqk2m3s2.narinfo: no signature by a trusted key: signed by strata's Guix key (public-key ") ||
		!strings.Contains(err.Error(), "; trusted are ci.guix.gnu.org") || !errors.As(err, &hinted) || !strings.Contains(hinted.Hint(), "add its public key") {
		t.Errorf("another key: error %v", err)
	}
	_, err = makeLock(t, projectOf(webRoot, keys, project.Cache{URL: "file:guix/baked"}), webData)
	if err == nil || !strings.Contains(err.Error(), "the cache is of the store directory /gnu/store, the roots are in /nix/store") {
		t.Errorf("roots of /nix/store: error %v", err)
	}

	// The same store with one file damaged, one cut, and one gone: each is told, and the rest isn't believed for it.
	dir := t.TempDir()
	copyDir(t, dir, webData+"/guix/baked")
	change := func(name string, change func([]byte) []byte) {
		file := filepath.Join(dir, "nar/zstd", name)
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, change(b), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	change("4m20x4ralq263frja2hliphixn7wh1p0-strata-hello", func([]byte) []byte {
		b, err := os.ReadFile(webData + "/guix/baked/nar/zstd/f5j8d71hgvya43q8ag5saii6cbrh41bs-strata-refers")
		if err != nil {
			t.Fatal(err)
		}
		return b
	})
	change("wa89lqm0jhq9ddlqvspp0y2wa045sb4a-busybox-static-1.35.0", func(b []byte) []byte { return b[:len(b)/2] })
	if err := os.Remove(filepath.Join(dir, "nar/zstd", guixRoot.Base())); err != nil {
		t.Fatal(err)
	}
	_, err = makeLock(t, projectOf(guixRoot, keys, project.Cache{URL: "file://" + dir}), dir)
	for _, want := range []string{
		"/gnu/store/4m20x4ralq263frja2hliphixn7wh1p0-strata-hello: file://" + dir + "/nar/zstd/4m20x4ralq263frja2hliphixn7wh1p0-strata-hello: NarSize mismatch: want 136, got more",
		"/gnu/store/wa89lqm0jhq9ddlqvspp0y2wa045sb4a-busybox-static-1.35.0: file://" + dir + "/nar/zstd/wa89lqm0jhq9ddlqvspp0y2wa045sb4a-busybox-static-1.35.0: bad zstd data",
		string(guixRoot) + ": file://" + dir + "/nar/zstd/" + guixRoot.Base() + ": not found",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v\nwant one with %q", err, want)
		}
	}
}

// copyDir copies a folder's files into a new one. (In Bazel's runfiles they are symlinks, which os.CopyFS would copy as such.)
func copyDir(t testing.TB, to, from string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if info.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o777)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), b, 0o666)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A path counts as done when its file was looked at, too.
func TestMake_GuixProgress(t *testing.T) {
	c := fetch.New(fetch.Options{Dir: webData})
	var told []int
	var last Progress
	l, err := Make(t.Context(), Options{
		Project: projectOf(guixRoot, []narinfo.PublicKey{guixKey(t)}, project.Cache{URL: "file:guix/baked"}),
		Dir:     webData, LockDir: webData, Client: c,
		Progress: func(p Progress) {
			if p.Done > p.Found || p.Bytes < last.Bytes || p.Done < last.Done {
				t.Errorf("%+v, after %+v", p, last)
			}
			if last = p; len(told) == 0 || p.Done > told[len(told)-1] {
				told = append(told, p.Done)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := []int{0, 1, 2, 3, 4, 5}; !slices.Equal(told, want) {
		t.Errorf("told %d, want %d", told, want)
	}
	var bytes int64
	for _, p := range l.Paths {
		bytes += p.FileSize
	}
	if last.Bytes != bytes {
		t.Errorf("%d bytes at the end, want %d", last.Bytes, bytes)
	}
}

// Of several files of one NAR the lock names one, by a rule that the narinfo's order decides only where two are alike.
func TestChoose(t *testing.T) {
	for _, tc := range []struct{ offers, want string }{
		{"lzip zstd gzip", "1 zstd"},
		{"gzip lzip zstd", "2 zstd"},
		{"none bzip2 lzip xz lz4 gzip br zstd", "7 zstd"},
		{"none bzip2 lzip xz lz4 gzip br", "6 br"},
		{"none bzip2 lzip xz lz4 gzip", "5 gzip"},
		{"none bzip2 lzip xz lz4", "4 lz4"},
		{"none bzip2 lzip xz", "3 xz"},
		{"none bzip2 lzip", "2 lzip"},
		{"none bzip2", "1 bzip2"},
		{"none", "0 none"},
		{"future lzip", "1 lzip"},
		{"xz xz", "0 xz"},
		{"future", `compression "future" is not known`},
		{"future other", `compression "future" is not known`},
	} {
		var files []narinfo.File
		for i, c := range strings.Fields(tc.offers) {
			files = append(files, narinfo.File{URL: string(rune('0' + i)), Compression: c})
		}
		f, err := usable(files)
		got := fmt.Sprint(err)
		if err == nil {
			got = f[0].URL + " " + f[0].Compression
		}
		if !strings.HasPrefix(got, tc.want) {
			t.Errorf("%s: got %s, want %s", tc.offers, got, tc.want)
		}
	}
}
