package nar_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rules-strata/rules_strata/tool/nar"
	"github.com/rules-strata/rules_strata/tool/nar/nartest"
	"github.com/rules-strata/rules_strata/tool/narinfo"
	"github.com/rules-strata/rules_strata/tool/store"
	"pgregory.net/rapid"
)

func openRoot(t testing.TB, dir string) *os.Root {
	t.Helper()
	r, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// What real Nix archived, restored to disk and archived again, has the NarHash that real Nix signed.
func TestDump_RealPaths(t *testing.T) {
	for _, cache := range []string{"cache", "variants/none", "variants/not-utf8"} {
		cache = filepath.Join("../../testdata/web", cache)
		var paths []store.Path
		files, err := filepath.Glob(filepath.Join(cache, "*.narinfo"))
		if err != nil || len(files) == 0 {
			t.Fatal(cache, err)
		}
		infos := map[store.Path]*narinfo.Info{}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			info, err := narinfo.Parse(b)
			if err != nil {
				t.Fatal(err)
			}
			if info.NarSize < 1<<20 || strings.HasSuffix(info.StorePath.Name(), "many-small-files-1.0") { // It takes seconds else.
				infos[info.StorePath] = info
				paths = append(paths, info.StorePath)
			}
		}
		dir := t.TempDir()
		nartest.RestoreCache(t, cache, dir, paths...)
		root := openRoot(t, dir)
		for path, info := range infos {
			r, w := io.Pipe()
			go func() { w.CloseWithError(nar.Dump(w, root, path.Base())) }()
			v := store.NewVerifiedReader(r, info.NarSize, info.NarHash, "Nar")
			if _, err := io.Copy(io.Discard, v); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
}

// Whatever tree: on disk and back, its archive is the same.
func TestDump_AnyTree(t *testing.T) {
	dir := t.TempDir()
	root := openRoot(t, dir)
	rapid.Check(t, func(rt *rapid.T) {
		b := archive(drawNode(rt, 0))
		t.Run("", func(t *testing.T) { // It cleans up behind itself.
			name := "tree"
			nartest.Restore(t, strings.NewReader(b), filepath.Join(dir, name))
			defer os.RemoveAll(filepath.Join(dir, name))
			var out strings.Builder
			if err := nar.Dump(&out, root, name); err != nil {
				t.Fatal(err)
			}
			if out.String() != b {
				t.Fatal("it is another archive")
			}
		})
	})
}

func TestDump_ModesAndKinds(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, mode fs.FileMode) {
		t.Helper()
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
	}
	write("t/owner", 0o744)
	write("t/group", 0o654)
	write("t/setuid", 0o644|fs.ModeSetuid)
	if err := os.Link(filepath.Join(dir, "t/owner"), filepath.Join(dir, "t/owner-again")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("t", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	root := openRoot(t, dir)
	var out strings.Builder
	if err := nar.Dump(&out, root, "t"); err != nil {
		t.Fatal(err)
	}
	got, err := readAll(nar.NewReader(strings.NewReader(out.String())))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"": false, "group": false, "owner": true, "owner-again": true, "setuid": false}
	for _, n := range got {
		if executable, ok := want[n.path]; !ok || executable != n.executable {
			t.Errorf("%q: executable %v", n.path, n.executable)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %d entries, want %d", len(got), len(want))
	}

	// The root itself may be a symlink; it isn't followed.
	out.Reset()
	if err := nar.Dump(&out, root, "link"); err != nil {
		t.Fatal(err)
	}
	got, err = readAll(nar.NewReader(strings.NewReader(out.String())))
	if err != nil || len(got) != 1 || got[0].kind != nar.Symlink || got[0].target != "t" {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestDump_Refuses(t *testing.T) {
	dir := t.TempDir()
	root := openRoot(t, dir)
	refuses := func(name, want, path string) {
		t.Helper()
		err := nar.Dump(io.Discard, root, name)
		var of *fs.PathError
		if err == nil || !strings.Contains(err.Error(), want) || !errors.As(err, &of) || of.Path != filepath.Join(dir, path) {
			t.Errorf("want an error of %s with %q, got %v", path, want, err)
		}
	}
	refuses("missing", "no such file", "missing")

	if err := os.MkdirAll(filepath.Join(dir, "pipe/below"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe/below/p"), 0o666); err != nil {
		t.Fatal(err)
	}
	refuses("pipe", "this is a named pipe", "pipe/below/p")

	// 64 levels are an archive; 65 are not.
	deep := "deep" + strings.Repeat("/d", 63)
	if err := os.MkdirAll(filepath.Join(dir, deep), 0o755); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := nar.Dump(&out, root, "deep"); err != nil {
		t.Error(err)
	} else if got, err := readAll(nar.NewReader(strings.NewReader(out.String()))); err != nil || len(got) != nar.MaxDepth {
		t.Errorf("got %d entries, %v", len(got), err)
	}
	if err := os.Mkdir(filepath.Join(dir, deep, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	refuses("deep", "at most 64 levels", deep+"/d")
	if err := os.MkdirAll(filepath.Join(dir, "deep"+strings.Repeat("/d", 200)), 0o755); err != nil {
		t.Fatal(err)
	}
	refuses("deep", "at most 64 levels", deep+"/d")
}

// A file that grows, or shrinks, or is another one while it is read: never an archive that nobody had.
func TestDump_Changes(t *testing.T) {
	const size = 1 << 20
	for name, change := range map[string]func(path string) error{
		"grown": func(path string) error {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteString("more")
			return err
		},
		"shrunk": func(path string) error { return os.Truncate(path, size-1) },
		"empty":  func(path string) error { return os.Truncate(path, 0) },
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "f")
		if err := os.WriteFile(path, make([]byte, size), 0o666); err != nil {
			t.Fatal(err)
		}
		w := &hook{at: size / 2, do: func() {
			if err := change(path); err != nil {
				t.Error(err)
			}
		}}
		err := nar.Dump(w, openRoot(t, dir), "f")
		if err == nil || !strings.Contains(err.Error(), path+": it changed while it was read") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// The writer's error comes back as it is.
func TestDump_WriterFails(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), make([]byte, 1<<20), 0o666); err != nil {
		t.Fatal(err)
	}
	full := &fs.PathError{Op: "write", Path: "out", Err: syscall.ENOSPC}
	err := nar.Dump(&hook{at: 1 << 19, err: full}, openRoot(t, dir), "f")
	if !errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), dir) {
		t.Errorf("got %v", err)
	}
}

// hook calls do, or fails, once more than at bytes were written.
type hook struct {
	n, at int
	do    func()
	err   error
}

func (h *hook) Write(p []byte) (int, error) {
	h.n += len(p)
	if h.n > h.at && h.do != nil {
		h.do()
		h.do = nil
	}
	if h.n > h.at && h.err != nil {
		return 0, h.err
	}
	return len(p), nil
}
