package atomicfile

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return strings.Join(out, " ")
}

func TestFile_AppearsAtCommit(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("new"); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); got != "old" {
		t.Errorf("before Commit the file holds %q", got)
	}
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	f.Abort() // has nothing to do any more
	if got := read(t, path); got != "new" || names(t, dir) != "f" {
		t.Errorf("after Commit the file holds %q; there are %s", got, names(t, dir))
	}
	if err := f.Commit(); err == nil {
		t.Error("a second Commit is taken")
	}
}

func TestFile_Abort(t *testing.T) {
	dir := t.TempDir()
	f, err := Create(filepath.Join(dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	f.Abort()
	f.Abort()
	if got := names(t, dir); got != "" {
		t.Errorf("left behind: %s", got)
	}
}

func TestFile_LongName(t *testing.T) {
	dir := t.TempDir()
	name := strings.Repeat("n", 255)
	if _, err := WriteIfChanged(filepath.Join(dir, name), nil); err != nil || names(t, dir) != name {
		t.Errorf("error %v; there are %s", err, names(t, dir))
	}
}

func TestFile_Mode(t *testing.T) {
	old := syscall.Umask(0o027)
	defer syscall.Umask(old)
	path := filepath.Join(t.TempDir(), "f")
	if _, err := WriteIfChanged(path, nil); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o640 {
		t.Errorf("mode %v, %v; want what the umask leaves of 0666", info.Mode(), err)
	}
}

func TestCreate_ThroughALink(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "real"), 0o777); err != nil {
		t.Fatal(err)
	}
	path, link := filepath.Join(dir, "real", "f"), filepath.Join(dir, "link")
	if err := os.WriteFile(path, []byte("old"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real/f", link); err != nil {
		t.Fatal(err)
	}
	if _, err := WriteIfChanged(link, []byte("new")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(link)
	if err != nil || info.Mode().Type() != os.ModeSymlink || read(t, path) != "new" {
		t.Errorf("the link is %v, %v; its file holds %q", info.Mode(), err, read(t, path))
	}
}

func TestCreate_Refuses(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{dir, "/dev/null"} {
		if _, err := Create(path); err == nil || !strings.Contains(err.Error(), path+": can't be written: it exists and is no regular file") {
			t.Errorf("%s: error %v", path, err)
		}
	}
	if _, err := Create(filepath.Join(dir, "nowhere", "f")); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("no such folder: error %v", err)
	}
	if got := names(t, dir); got != "" {
		t.Errorf("left behind: %s", got)
	}
}

// A file whose place was taken meanwhile by a folder fails to commit, and is gone.
func TestCommit_Fails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	f, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(); err == nil {
		t.Error("no error")
	}
	if got := names(t, dir); got != "f" {
		t.Errorf("left behind: %s", got)
	}
}

// Of files that belong together, all are in their places or none.
func TestCommitAll(t *testing.T) {
	create := func(paths ...string) (files []*File) {
		for _, path := range paths {
			f, err := Create(path)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, f)
		}
		return files
	}
	dir := t.TempDir()
	a, b, c := filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "c")
	if err := CommitAll(create(a, b, c)...); err != nil || names(t, dir) != "a b c" {
		t.Fatalf("%v; there are %s", err, names(t, dir))
	}

	files := create(a, b, c)
	files[2].File.Close() // so that closing it is an error, as on a full disk
	if err := CommitAll(files...); err == nil || names(t, dir) != "a b c" {
		t.Errorf("one can't be closed: error %v; there are %s, want what was there before", err, names(t, dir))
	}

	files = create(a, b, c)
	if err := os.Remove(b); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(b, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := CommitAll(files...); err == nil || names(t, dir) != "b c" {
		t.Errorf("one can't be renamed: error %v; there are %s, want only what was never replaced", err, names(t, dir))
	}
	if err := CommitAll(files...); err == nil {
		t.Error("a second CommitAll is taken")
	}
}

func TestWriteIfChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for i, tc := range []struct {
		text string
		want bool
	}{{"a", true}, {"a", false}, {"b", true}, {"", true}, {"", false}} {
		before, _ := os.Stat(path)
		changed, err := WriteIfChanged(path, []byte(tc.text))
		if err != nil || changed != tc.want || read(t, path) != tc.text {
			t.Fatalf("%d: changed %v, error %v, the file holds %q", i, changed, err, read(t, path))
		}
		after, err := os.Stat(path)
		if err != nil || !changed && !os.SameFile(before, after) {
			t.Errorf("%d: the file was replaced by the same: %v", i, err)
		}
	}
}
