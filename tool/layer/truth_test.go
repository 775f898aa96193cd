package layer

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// The layers hold what nixpkgs' writer puts in for the same paths: type, mode,
// owner, time, size, contents, name, target, and which of them need a pax
// record. Two differences are meant, see withoutDifferences and its use.
func TestWrite_Truth(t *testing.T) {
	for _, name := range []string{"100", "12", "dirs"} {
		t.Run(name, func(t *testing.T) {
			want := readTruth(t, name)
			for i, paths := range want.paths {
				var nars []NAR
				for _, p := range paths {
					nars = append(nars, cached(t, webDir+"/cache", p))
				}
				got := listing(t, bytes.NewReader(mustWrite(t, nars, Options{})))
				compareTruth(t, got, want.lines[i], paths)
			}
		})
	}
}

// compareTruth compares entry for entry. That writer begins names with a slash,
// and orders store paths by popularity: here, each is compared by itself, and
// then the order of the paths.
func compareTruth(t *testing.T, got, want, paths []string) {
	t.Helper()
	want = slices.Clone(want)
	for i, line := range want {
		want[i] = withoutDifferences(t, line)
	}
	const head = 2 // nix/ and nix/store/
	for i := range head {
		if got[i] != want[i] {
			t.Errorf("entry %d:\n got %s\nwant %s", i, got[i], want[i])
		}
	}
	if !slices.IsSortedFunc(got[head:], func(a, b string) int { return strings.Compare(storePathOf(a), storePathOf(b)) }) {
		t.Errorf("layer of %s…: the store paths are not in order", paths[0])
	}
	if len(got) != len(want) {
		t.Errorf("layer of %s…: %d entries, want %d", paths[0], len(got), len(want))
	}
	for _, p := range paths {
		p = strings.TrimPrefix(p, "/")
		mine := slices.DeleteFunc(slices.Clone(got[head:]), func(line string) bool { return storePathOf(line) != p })
		theirs := slices.DeleteFunc(slices.Clone(want[head:]), func(line string) bool { return storePathOf(line) != p })
		for i := range min(len(mine), len(theirs)) {
			if mine[i] != theirs[i] {
				t.Fatalf("%s, entry %d:\n got %s\nwant %s", p, i, mine[i], theirs[i])
			}
		}
		if len(mine) == 0 || len(mine) != len(theirs) {
			t.Errorf("%s: %d entries, want %d", p, len(mine), len(theirs))
		}
	}
}

const (
	fieldName = 9
	fieldLink = 10
	fieldKeys = 11
)

// withoutDifferences takes the leading slash off a line of the truth, and the
// key "path" where ustar can say the name: without that slash, and in prefix and
// name, which Python's tarfile doesn't use.
func withoutDifferences(t *testing.T, line string) string {
	f := strings.Split(line, "\t")
	if len(f) != fieldKeys+1 || f[fieldName][0] != '/' {
		t.Fatalf("line of the truth: %q", line)
	}
	f[fieldName] = f[fieldName][1:]
	if f[fieldKeys] == "path" && !strings.Contains(f[fieldName], `\x`) {
		name := f[fieldName]
		for i := range len(name) - 1 {
			if name[i] == '/' && i <= prefixLen && len(name)-i-1 <= nameLen || len(name) <= nameLen {
				f[fieldKeys] = "-"
			}
		}
	}
	return strings.Join(f, "\t")
}

// storePathOf returns the three first components of a line's name.
func storePathOf(line string) string {
	parts := strings.SplitN(strings.Split(line, "\t")[fieldName], "/", 4)
	return strings.Join(parts[:3], "/")
}
