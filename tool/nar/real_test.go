package nar_test

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/nar"
	"github.com/rules-strata/rules_strata/tool/narfile"
	"github.com/rules-strata/rules_strata/tool/narinfo"
)

// testdata holds binary caches written by real Nix.
const testdata = "../../testdata/web"

// eachNAR calls f with each NAR of the caches at dirs, decompressed, and the
// narinfo's path. NARs that several narinfos share come once for each listing.
func eachNAR(t testing.TB, f func(t testing.TB, narinfoFile string, b []byte), dirs ...string) {
	t.Helper()
	var r narfile.Reader
	defer r.Close()
	for _, dir := range dirs {
		infos, err := filepath.Glob(filepath.Join(dir, "*.narinfo"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range infos {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			i, err := narinfo.Parse(text)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if narfile.CheckCompression(i.Compression) != nil {
				continue
			}
			src, err := os.Open(filepath.Join(dir, i.URL))
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Reset(src, narfile.File{
				StorePath: i.StorePath, Compression: i.Compression,
				FileHash: i.FileHash, FileSize: i.FileSize, NarHash: i.NarHash, NarSize: i.NarSize,
			}); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, i.NarSize)
			if _, err := io.ReadFull(&r, b); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Fatalf("%s: want io.EOF behind the NAR, got %v", name, err)
			}
			src.Close()
			f(t, name, b)
		}
	}
}

func allCaches(t testing.TB) []string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(testdata, "variants", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return append(dirs, filepath.Join(testdata, "cache"), filepath.Join(testdata, "bad", "00-control"))
}

// Each NAR that real Nix made has the entries that Nix' own listing (.ls) names,
// at the same offsets, and becomes the same bytes when it is written again.
func TestRealNARs(t *testing.T) {
	nars, listings, entries := 0, 0, 0
	r := nar.NewReader(nil)
	eachNAR(t, func(t testing.TB, name string, b []byte) {
		nars++
		r.Reset(bytes.NewReader(b))
		got, err := readAll(r)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		entries += len(got)
		if !bytes.Equal(encode(t, got), b) {
			t.Errorf("%s: written again, it is another archive", name)
		}
		want, err := referenceParse(string(b))
		if err != nil {
			t.Fatalf("%s: reference: %v", name, err)
		}
		equalNodes(t, got, want)

		text, err := os.ReadFile(strings.TrimSuffix(name, ".narinfo") + ".ls")
		if os.IsNotExist(err) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		listings++
		equalNodes(t, listed(got), parseListing(t, text))
	}, allCaches(t)...)
	t.Logf("%d NARs, %d with listings, %d entries", nars, listings, entries)
	if nars < 150 || listings < 120 || entries < 6_000 {
		t.Errorf("there should be more: %d NARs, %d listings, %d entries", nars, listings, entries)
	}
}

// listed is what a listing says of nodes: no contents, offsets only of files
// that have some, and names as a JSON decoder gives them that aren't UTF-8.
func listed(all []node) []node {
	out := slices.Clone(all)
	for i := range out {
		n := &out[i]
		n.contents = ""
		if n.kind != nar.Regular {
			n.offset = 0
		}
		n.path, n.target = string([]rune(n.path)), string([]rune(n.target))
	}
	slices.SortFunc(out, func(a, b node) int { return strings.Compare(a.path, b.path) })
	return out
}

type listing struct {
	Type       string
	Size       int64
	Executable bool
	NarOffset  int64
	Target     string
	Entries    map[string]*listing
}

func parseListing(t testing.TB, text []byte) (all []node) {
	t.Helper()
	var doc struct {
		Version int
		Root    *listing
	}
	if err := json.Unmarshal(text, &doc); err != nil || doc.Version != 1 {
		t.Fatalf("listing of version %d: %v", doc.Version, err)
	}
	kinds := map[string]nar.Kind{"regular": nar.Regular, "directory": nar.Directory, "symlink": nar.Symlink}
	var walk func(path string, l *listing)
	walk = func(path string, l *listing) {
		all = append(all, node{path: path, kind: kinds[l.Type], executable: l.Executable, size: l.Size, offset: l.NarOffset, target: l.Target})
		for name, child := range l.Entries {
			walk(strings.TrimPrefix(path+"/"+name, "/"), child)
		}
	}
	walk("", doc.Root)
	slices.SortFunc(all, func(a, b node) int { return strings.Compare(a.path, b.path) })
	return all
}

// Names that aren't UTF-8 come through as the bytes they are.
func TestRealNARs_NotUTF8(t *testing.T) {
	found := 0
	eachNAR(t, func(t testing.TB, name string, b []byte) {
		got, err := readAll(nar.NewReader(bytes.NewReader(b)))
		if err != nil {
			t.Fatal(err)
		}
		var paths []string
		for _, n := range got {
			paths = append(paths, n.path)
		}
		if want := []string{"", "caf\xe9", "l\xfcnk", "\xff\xfe"}; !slices.Equal(paths, want) {
			t.Errorf("%s: want the names %q, got %q", name, want, paths)
		}
		if got[2].target != "caf\xe9" {
			t.Errorf("%s: want the target %q, got %q", name, "caf\xe9", got[2].target)
		}
		found++
	}, filepath.Join(testdata, "variants", "not-utf8"))
	if found != 1 {
		t.Errorf("want 1 NAR, found %d", found)
	}
}
