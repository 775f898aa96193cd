package nar_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/nar"
	"pgregory.net/rapid"
)

// Whatever tree: Writer writes what the format wants, Reader gives the tree back.
func TestWriter_AnyTree(t *testing.T) {
	r := nar.NewReader(nil)
	rapid.Check(t, func(t *rapid.T) {
		want := drawNode(t, 0)
		b := archive(want)
		plain, err := referenceParse(b)
		if err != nil {
			t.Fatal(err)
		}
		r.Reset(strings.NewReader(b))
		got, err := readAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(plain) {
			t.Fatalf("want %d entries, got %d", len(plain), len(got))
		}
		for i := range got {
			if got[i] != plain[i] {
				t.Fatalf("want %v, got %v", plain[i], got[i])
			}
		}
		var out strings.Builder
		w := nar.NewWriter(&out)
		for _, n := range got {
			if err := w.WriteEntry(&nar.Entry{Path: []byte(n.path), Kind: n.kind, Executable: n.executable, Size: n.size, Target: []byte(n.target)}); err != nil {
				t.Fatal(err)
			}
			// In two pieces.
			cut := len(n.contents) / 3
			for _, piece := range []string{n.contents[:cut], n.contents[cut:]} {
				if _, err := io.WriteString(w, piece); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if out.String() != b {
			t.Fatal("written again, it is another archive")
		}
	})
}

// drawNode draws a node as its text in an archive.
func drawNode(t *rapid.T, depth int) string {
	kinds := []string{"file", "program", "link", "directory", "directory"}
	if depth > 6 {
		kinds = kinds[:3]
	}
	switch rapid.SampledFrom(kinds).Draw(t, "kind") {
	case "file":
		return file(string(rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "contents")))
	case "program":
		return program(string(rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "contents")))
	case "link":
		return link(string(rapid.SliceOfN(rapid.ByteRange(1, 255), 1, 40).Draw(t, "target")))
	}
	// Few letters make names that are one another's prefixes.
	names := rapid.SliceOfNDistinct(rapid.StringOfN(rapid.SampledFrom([]rune("a.-é\x01")), 1, 4, -1).Filter(func(s string) bool {
		return s != "." && s != ".."
	}), 0, 5, rapid.ID).Draw(t, "names")
	sorted := append([]string(nil), names...)
	for i := range sorted { // plainly
		for j := range i {
			if sorted[i] < sorted[j] {
				sorted[i], sorted[j] = sorted[j], sorted[i]
			}
		}
	}
	var entries []string
	for _, name := range sorted {
		entries = append(entries, entry(name, drawNode(t, depth+1)))
	}
	return directory(entries...)
}

// What Reader would refuse, Writer doesn't write.
func TestWriter_Refuses(t *testing.T) {
	root := nar.Entry{Kind: nar.Directory}
	at := func(path string) nar.Entry { return nar.Entry{Path: []byte(path), Kind: nar.Regular} }
	dir := func(path string) nar.Entry { return nar.Entry{Path: []byte(path), Kind: nar.Directory} }
	deep := []nar.Entry{root}
	for n := 1; n <= 64; n++ {
		deep = append(deep, dir(strings.TrimSuffix(strings.Repeat("d/", n), "/")))
	}
	for _, c := range []struct {
		name    string
		entries []nar.Entry
		want    string
	}{
		{"nothing", nil, "an archive without a root"},
		{"no root", []nar.Entry{at("a")}, "want the root, an empty path, first"},
		{"two roots", []nar.Entry{root, root}, "want one root only"},
		{"below a file", []nar.Entry{at(""), at("a")}, "each behind its directory"},
		{"below a file in a directory", []nar.Entry{root, at("a"), at("a/b")}, "each behind its directory"},
		{"below a symlink", []nar.Entry{root, {Path: []byte("a"), Kind: nar.Symlink, Target: []byte("/")}, at("a/b")}, "each behind its directory"},
		{"no parent", []nar.Entry{root, at("a/b")}, "each behind its directory"},
		{"parent is closed", []nar.Entry{root, dir("a"), at("b"), at("a/c")}, "each behind its directory"},
		{"a prefix of the parent", []nar.Entry{root, dir("ab"), at("a/c")}, "each behind its directory"},
		{"unsorted", []nar.Entry{root, at("b"), at("a")}, `one behind "b"`},
		{"twice", []nar.Entry{root, at("a"), at("a")}, `one behind "a"`},
		{"directory twice", []nar.Entry{root, dir("a"), at("a/x"), dir("a")}, `one behind "a"`},
		{"unsorted, deep", []nar.Entry{root, dir("x"), at("x/b"), at("x/a")}, `one behind "b"`},
		{"empty name", []nar.Entry{root, dir("a"), at("a/")}, "want a name of 1 to 255 bytes"},
		{"absolute", []nar.Entry{root, at("/a")}, "each behind its directory"},
		{"dotdot", []nar.Entry{root, at("..")}, `got ".."`},
		{"dot", []nar.Entry{root, at(".")}, `got "."`},
		{"NUL", []nar.Entry{root, at("a\x00")}, "holds a NUL"},
		{"long name", []nar.Entry{root, at(strings.Repeat("n", 256))}, "got 256 bytes"},
		{"empty target", []nar.Entry{{Kind: nar.Symlink}}, "got an empty one"},
		{"target with NUL", []nar.Entry{{Kind: nar.Symlink, Target: []byte("a\x00")}}, "holds a NUL"},
		{"long target", []nar.Entry{{Kind: nar.Symlink, Target: make([]byte, 4096)}}, "got 4096 bytes"},
		{"no kind", []nar.Entry{{}}, "got Kind(0)"},
		{"negative size", []nar.Entry{{Kind: nar.Regular, Size: -1}}, "at least 0, got -1"},
		{"contents missing", []nar.Entry{{Kind: nar.Regular, Size: 3}}, "3 bytes shorter"},
		{"contents missing, then another", []nar.Entry{root, {Path: []byte("a"), Kind: nar.Regular, Size: 3}, at("b")}, `"a": contents are 3 bytes shorter`},
		{"65 levels", deep, "at most 64 levels"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := nar.NewWriter(io.Discard)
			var err error
			for _, e := range c.entries {
				if err = w.WriteEntry(&e); err != nil {
					break
				}
			}
			if err == nil {
				err = w.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("want an error with %q, got %v", c.want, err)
			}
			if again := w.Close(); again != err {
				t.Errorf("want the same error of Close, got %v", again)
			}
		})
	}
}

func TestWriter_ContentsTooLong(t *testing.T) {
	w := nar.NewWriter(io.Discard)
	if err := w.WriteEntry(&nar.Entry{Kind: nar.Regular, Size: 3}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, "four"); err == nil || !strings.Contains(err.Error(), "longer than the size") {
		t.Errorf("want an error, got %v", err)
	}
	w = nar.NewWriter(io.Discard)
	if err := w.WriteEntry(&nar.Entry{Kind: nar.Directory}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, "x"); err == nil {
		t.Error("contents of a directory are taken")
	}
}

// The underlying writer's error comes out at the latest by Close.
func TestWriter_DiskFull(t *testing.T) {
	full := errors.New("disk full")
	for limit := range 300 {
		w := nar.NewWriter(&limited{n: limit, err: full})
		err := w.WriteEntry(&nar.Entry{Kind: nar.Regular, Size: 200})
		if err == nil {
			_, err = w.Write(make([]byte, 200))
		}
		if err == nil {
			err = w.Close()
		}
		if !errors.Is(err, full) {
			t.Fatalf("room for %d bytes: want disk full, got %v", limit, err)
		}
	}
}

type limited struct {
	n   int
	err error
}

func (l *limited) Write(p []byte) (int, error) {
	if len(p) > l.n {
		return l.n, l.err
	}
	l.n -= len(p)
	return len(p), nil
}
