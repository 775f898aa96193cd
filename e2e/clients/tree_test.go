package clients_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// entry is all that an image says of one file, directory or link.
type entry struct {
	kind     string // "dir", "file" or "symlink"
	mode     uint32 // permission bits with setuid, setgid and sticky
	uid, gid int
	mtime    string // seconds since 1970, with a fraction where there is one
	size     int64  // of a file, else 0
	sha256   string // of a file, else "-"
	link     string // of a symlink, else ""
}

// tree is every entry below a root by its path, which begins with "/" and has
// no slash at its end. The root itself is not in it: no layer has an entry for it.
type tree map[string]entry

// truthFile lists what an older image writer, with its faults repaired, puts
// into the layers of the same store paths. A line is an entry: type, mode, user
// and group by number and by name, mtime, size, SHA-256, name, link and pax keys,
// separated by tabs; what is not printable ASCII is written \xNN, nothing as "-".
const truthFile = root + "/testdata/web/truth/100/repaired-nar-order/layers.list.zst"

// truth is what the list says of /nix. (What it has outside is the old writer's
// customisation layer.)
var truth = sync.OnceValues(func() (tree, error) {
	f, err := os.Open(truthFile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	want := tree{}
	lines := bufio.NewScanner(z)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		name, e, err := parseEntry(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("%s: %q: %w", truthFile, lines.Text(), err)
		}
		if name != "/nix" && !strings.HasPrefix(name, "/nix/") {
			continue
		}
		if was, ok := want[name]; ok && was != e {
			return nil, fmt.Errorf("%s: %s is there twice, as %v and as %v", truthFile, name, was, e)
		}
		want[name] = e
	}
	if len(want) < 4000 {
		return nil, fmt.Errorf("%s lists only %d entries", truthFile, len(want))
	}
	return want, lines.Err()
})

// webTree is the tree that the web image must unpack to.
func webTree(t *testing.T) tree {
	t.Helper()
	want, err := truth()
	if err != nil {
		t.Fatal(err)
	}
	return want
}

// treeOf is the tree of an image that has just these store paths.
func treeOf(t *testing.T, storePaths ...string) tree {
	t.Helper()
	all := webTree(t)
	want := tree{"/nix": all["/nix"], "/nix/store": all["/nix/store"]}
	for _, p := range storePaths {
		n := len(want)
		for name, e := range all {
			if name == p || strings.HasPrefix(name, p+"/") {
				want[name] = e
			}
		}
		if len(want) == n {
			t.Fatalf("%s has no entry of %s", truthFile, p)
		}
	}
	return want
}

func parseEntry(line string) (name string, e entry, err error) {
	f := strings.Split(line, "\t")
	if len(f) != 12 {
		return "", e, fmt.Errorf("%d fields", len(f))
	}
	var mode uint64
	for _, convert := range []func() error{
		func() (err error) { mode, err = strconv.ParseUint(f[1], 8, 32); return },
		func() (err error) { e.uid, err = strconv.Atoi(f[2]); return },
		func() (err error) { e.gid, err = strconv.Atoi(f[3]); return },
		func() (err error) { e.size, err = strconv.ParseInt(f[7], 10, 64); return },
		func() (err error) { name, err = unescape(f[9]); return },
		func() (err error) { e.link, err = unescape(f[10]); return },
	} {
		if err := convert(); err != nil {
			return "", e, err
		}
	}
	e.kind, e.mode, e.mtime, e.sha256 = f[0], uint32(mode), f[6], f[8]
	return strings.TrimSuffix(name, "/"), e, nil
}

func unescape(s string) (string, error) {
	if s == "-" {
		return "", nil
	}
	var b strings.Builder
	for {
		plain, escaped, ok := strings.Cut(s, `\x`)
		b.WriteString(plain)
		if !ok {
			return b.String(), nil
		}
		if len(escaped) < 2 {
			return "", fmt.Errorf("%q ends in an escape", s)
		}
		c, err := strconv.ParseUint(escaped[:2], 16, 8)
		if err != nil {
			return "", err
		}
		b.WriteByte(byte(c))
		s = escaped[2:]
	}
}

// readTree reads what is at the paths (as "/nix") and below them in the
// directory top.
func readTree(top string, paths ...string) (tree, error) {
	got := tree{}
	for _, p := range paths {
		err := filepath.WalkDir(top+p, func(file string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			e, err := readEntry(file)
			got[strings.TrimPrefix(file, top)] = e
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return got, nil
}

func readEntry(file string) (entry, error) {
	info, err := os.Lstat(file)
	if err != nil {
		return entry{}, err
	}
	st := info.Sys().(*syscall.Stat_t)
	e := entry{mode: st.Mode & 0o7777, uid: int(st.Uid), gid: int(st.Gid), sha256: "-"}
	e.mtime = strconv.FormatInt(st.Mtim.Sec, 10)
	if st.Mtim.Nsec != 0 {
		e.mtime += fmt.Sprintf(".%09d", st.Mtim.Nsec)
	}
	switch info.Mode().Type() {
	case fs.ModeDir:
		e.kind = "dir"
	case fs.ModeSymlink:
		e.kind = "symlink"
		e.link, err = os.Readlink(file)
	case 0:
		e.kind, e.size = "file", info.Size()
		e.sha256, err = hashFile(file)
	default:
		e.kind = info.Mode().Type().String()
	}
	return e, err
}

func hashFile(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// judgeTree compares what a client unpacked into top with what it should have,
// entry for entry. Whole tells that /nix must be all there is in top.
func judgeTree(t *testing.T, want tree, top string, whole bool) {
	t.Helper()
	if whole {
		names, err := os.ReadDir(top)
		if err != nil {
			t.Fatal(err)
		}
		if len(names) != 1 || names[0].Name() != "nix" {
			t.Errorf("want nix alone in the root directory, got %v", names)
		}
	}
	got, err := readTree(top, "/nix")
	if err != nil {
		t.Fatal(err)
	}
	compareTrees(t, want, got)
}

// compareTrees reports each difference, the first twenty in full.
func compareTrees(t *testing.T, want, got tree) {
	t.Helper()
	paths := maps.Clone(want)
	maps.Copy(paths, got)
	differences := 0
	for _, p := range slices.Sorted(maps.Keys(paths)) {
		w, inWant := want[p]
		g, inGot := got[p]
		if inWant && inGot && w == g {
			continue
		}
		if differences++; differences > 20 {
			continue
		}
		switch {
		case !inGot:
			t.Errorf("%q is missing: %+v", p, w)
		case !inWant:
			t.Errorf("%q should not be there: %+v", p, g)
		default:
			t.Errorf("%q:\nwant %+v\n got %+v", p, w, g)
		}
	}
	if differences > 20 {
		t.Errorf("%d of %d entries differ", differences, len(paths))
	}
	if differences == 0 {
		t.Logf("all %d entries are as they must be", len(want))
	}
}
