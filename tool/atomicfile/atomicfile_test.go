package atomicfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
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
	for _, name := range []string{strings.Repeat("n", 255), "x" + strings.Repeat("é", 127), "xy" + strings.Repeat("é", 126), "xyz" + strings.Repeat("💧", 63), strings.Repeat("\x80", 255)} {
		path := filepath.Join(dir, name)
		f, err := Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if utf8.ValidString(name) != utf8.ValidString(filepath.Base(f.Name())) {
			t.Errorf("%q begins as %q", name, filepath.Base(f.Name()))
		}
		if err := f.Commit(); err != nil || names(t, dir) != name {
			t.Errorf("error %v; there are %s", err, names(t, dir))
		}
		os.Remove(path)
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

	// What was there comes back; what is new goes.
	for _, path := range []string{a, b} {
		if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(c); err != nil {
		t.Fatal(err)
	}
	d := filepath.Join(dir, "d")
	files = create(a, c, d, b)
	for _, f := range files {
		if _, err := f.WriteString("new"); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(d, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := CommitAll(files...); err == nil || names(t, dir) != "a b d" || read(t, a) != "old" || read(t, b) != "old" {
		t.Errorf("one can't be renamed: error %v; there are %s, want what was there before", err, names(t, dir))
	}
	if err := CommitAll(files...); err == nil {
		t.Error("a second CommitAll is taken")
	}
}

// Two outputs can't be one file, whatever its names are.
func TestCommitAll_SamePlace(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"real", "other"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"link": "real", "file": "real/there"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "real/there"), []byte("old"), 0o666); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for _, tc := range []struct {
		a, b string
		same bool
	}{
		{"f", "f", true},
		{"f", filepath.Join(dir, "f"), true},
		{"real/f", "link/f", true},
		{"real/../f", "./f", true},
		{"file", "link/there", true},
		{"real/f", "other/f", false},
		{"f", "g", false},
	} {
		a, err := Create(tc.a)
		if err != nil {
			t.Fatal(err)
		}
		b, err := Create(tc.b)
		if err != nil {
			t.Fatal(err)
		}
		err = CommitAll(a, b)
		if tc.same != (err != nil) || err != nil && !strings.Contains(err.Error(), "are the same file") {
			t.Errorf("%s and %s: error %v", tc.a, tc.b, err)
		}
		if tc.same && (names(t, ".") != "file link other real" || names(t, "real") != "there" || read(t, "file") != "old") {
			t.Errorf("%s and %s: left behind: %s, %s", tc.a, tc.b, names(t, "."), names(t, "real"))
		}
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

// The name may follow from the bytes.
func TestCommitAs(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"first", "second", "first"} {
		f, err := Create(filepath.Join(dir, "file"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(name); err != nil {
			t.Fatal(err)
		}
		if err := f.CommitAs(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		f.Abort()
	}
	if err := os.Mkdir(filepath.Join(dir, "third"), 0o777); err != nil {
		t.Fatal(err)
	}
	f, err := Create(filepath.Join(dir, "file"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.CommitAs(filepath.Join(dir, "third")); err == nil {
		t.Error("a folder is replaced")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 {
		t.Errorf("left are %v, %v", entries, err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "second")); err != nil || string(b) != "second" {
		t.Errorf("got %q, %v", b, err)
	}
}
