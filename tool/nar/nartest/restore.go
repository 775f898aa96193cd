// Package nartest helps tests that need what a NAR holds on disk.
package nartest

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/rules-strata/rules_strata/tool/nar"
	"github.com/rules-strata/rules_strata/tool/narfile"
	"github.com/rules-strata/rules_strata/tool/narinfo"
	"github.com/rules-strata/rules_strata/tool/store"
)

// Restore writes the tree of the archive r to path, with the modes that a store
// has. The test's end makes it writable again, so that it can be removed.
func Restore(t testing.TB, r io.Reader, path string) {
	t.Helper()
	t.Cleanup(func() {
		// What can't be made writable, removing it will complain of.
		_ = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				err = os.Chmod(p, 0o755)
			}
			return err
		})
	})
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("restoring %s: %v", path, err)
		}
	}
	var dirs []string
	n := nar.NewReader(r)
	for {
		e, err := n.Next()
		if err == io.EOF {
			break
		}
		check(err)
		p := path
		if len(e.Path) > 0 {
			p += "/" + string(e.Path)
		}
		switch e.Kind {
		case nar.Directory:
			check(os.Mkdir(p, 0o755))
			dirs = append(dirs, p)
		case nar.Symlink:
			check(os.Symlink(string(e.Target), p))
		case nar.Regular:
			f, err := os.OpenFile(p, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
			check(err)
			_, err = io.Copy(f, n)
			check(err)
			check(f.Close())
			mode := fs.FileMode(0o444)
			if e.Executable {
				mode = 0o555
			}
			check(os.Chmod(p, mode))
		}
	}
	for _, p := range dirs {
		check(os.Chmod(p, 0o555))
	}
}

// RestoreCache restores store paths out of the binary cache in the folder cache
// into the folder dir, each under its base name; all that the cache has if none is named.
func RestoreCache(t testing.TB, cache, dir string, paths ...store.Path) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(cache, "*.narinfo"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: no narinfo there: %v", cache, err)
	}
	want := map[store.Path]bool{}
	for _, p := range paths {
		want[p] = true
	}
	var r narfile.Reader
	defer r.Close()
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		info, err := narinfo.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		if len(paths) > 0 && !want[info.StorePath] {
			continue
		}
		delete(want, info.StorePath)
		in, err := os.Open(filepath.Join(cache, info.URL))
		if err != nil {
			t.Fatal(err)
		}
		err = r.Reset(in, narfile.File{Compression: info.Compression, FileHash: info.FileHash, FileSize: info.FileSize, NarHash: info.NarHash, NarSize: info.NarSize})
		if err != nil {
			t.Fatal(err)
		}
		Restore(t, &r, filepath.Join(dir, info.StorePath.Base()))
		in.Close()
	}
	for p := range want {
		t.Fatalf("%s hasn't got %s", cache, p)
	}
}
