package validate

import (
	"archive/tar"
	"fmt"
	"hash/maphash"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/rules-strata/rules_strata/tool/store"
)

// maxNames bounds how many names and store paths of one layer are remembered,
// some 40 MB, to find one that is there twice. Behind them, in a layer of store
// paths, the order finds it as well.
const maxNames = 1 << 20

// Of a layer's tar.
const (
	blockSize      = 512
	whiteoutPrefix = ".wh." // OCI image-spec, layer.md, Whiteouts
)

// checkTar reads a layer's tar and tells what is wrong with its entries.
//
// Every layer must have relative, clean names, none of them twice, and end as
// POSIX has it. A layer that has store paths and nothing else is held to what
// strata, and nixpkgs before it, means by a store path in an image: parents
// first, in the order of a NAR, files, directories and symbolic links only,
// the store's modes, owned by root, one mtime, no whiteouts, no attributes.
//
// The error is for a tar that can't be read to its end.
func checkTar(r *hashingReader, storeDirs []string, fault func(format string, a ...any), facts *layerFacts) error {
	t := &tarCheck{dirs: storeDirs, fault: fault, paths: map[string]bool{}, seen: map[[2]uint64]bool{}, storeOnly: true}
	t.seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}
	defer func() {
		facts.Entries = t.entries
		facts.StorePaths = slices.Sorted(maps.Keys(t.paths))
		if t.storeOnly && t.inStore {
			for _, s := range t.strict {
				fault("%s", s)
			}
		}
	}()
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		t.entry(h)
	}
	// Behind the end that the reader saw only zeros may come, at least the two
	// blocks that POSIX asks for.
	end := r.n
	if _, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{r}, make([]byte, bufferSize)); err != nil {
		return err
	}
	if r.zeros < r.n-end {
		fault("bytes follow the end of the tar")
	} else if r.zeros < 2*blockSize || r.n%blockSize != 0 {
		fault("the tar does not end in two blocks of zeros")
	}
	return nil
}

// tarCheck is the state of one layer's check.
type tarCheck struct {
	dirs    []string // store directories without the slash in front
	fault   func(format string, a ...any)
	entries int64
	paths   map[string]bool // store paths seen
	seeds   [2]maphash.Seed
	seen    map[[2]uint64]bool // names, hashed

	// strict are the faults that count if the layer has store paths only.
	strict    []string
	storeOnly bool
	inStore   bool
	previous  string
	open      []string // the directories that the next entry may lie in
	mtime     time.Time
}

func (t *tarCheck) strictf(format string, a ...any) {
	if len(t.strict) <= MaxFaults {
		t.strict = append(t.strict, fmt.Sprintf(format, a...))
	}
}

func (t *tarCheck) entry(h *tar.Header) {
	t.entries++
	name := strings.TrimSuffix(h.Name, "/")
	if rel, ok := strings.CutPrefix(name, "./"); ok && cleanName(rel) {
		t.strictf("%q: want it without \"./\"", h.Name)
		name = rel
	}
	if name == "." {
		t.storeOnly = false // The root itself: right in others' layers.
		return
	}
	if !cleanName(name) {
		t.fault("%q: want a clean relative name", h.Name)
		return
	}
	key := [2]uint64{maphash.String(t.seeds[0], name), maphash.String(t.seeds[1], name)}
	twice := t.seen[key]
	if twice {
		t.fault("%s is there twice", name)
	}
	if len(t.seen) < maxNames {
		t.seen[key] = true
	}
	base := path.Base(name)
	if h.Typeflag == tar.TypeLink && !cleanName(strings.TrimPrefix(h.Linkname, "./")) {
		t.fault("%s: hard link to %q: want a clean relative name", name, h.Linkname)
	}
	above := t.place(name)
	if strings.HasPrefix(base, whiteoutPrefix) {
		t.strictf("%s: a whiteout", name)
	}
	if !twice {
		t.checkOrder(name, h.Typeflag == tar.TypeDir)
	}
	t.checkHeader(name, h, above)
	t.previous = name
}

// place finds out whether a name is of the store, and of which store path. It
// reports whether it is the store directory or one above it.
func (t *tarCheck) place(name string) (above bool) {
	for _, dir := range t.dirs {
		if name == dir || strings.HasPrefix(dir, name+"/") {
			return true
		}
		rest, ok := strings.CutPrefix(name, dir+"/")
		if !ok {
			continue
		}
		t.inStore = true
		base, _, below := strings.Cut(rest, "/")
		if err := store.CheckBase(base); err != nil {
			if !below {
				t.strictf("%s: %v", name, err)
			}
		} else if len(t.paths) < maxNames {
			t.paths["/"+dir+"/"+base] = true
		}
		return false
	}
	t.storeOnly = false
	return false
}

// checkOrder wants a name to come behind its parents and in the order of a NAR:
// by component, bytewise.
func (t *tarCheck) checkOrder(name string, isDir bool) {
	if t.previous != "" && !before(t.previous, name) {
		t.strictf("%s stands behind %s: want the order of a NAR, by component, bytewise", name, t.previous)
	} else {
		for len(t.open) > 0 && !strings.HasPrefix(name, t.open[len(t.open)-1]+"/") {
			t.open = t.open[:len(t.open)-1]
		}
		if parent := path.Dir(name); parent != "." && (len(t.open) == 0 || t.open[len(t.open)-1] != parent) {
			t.strictf("%s: its parent is not before it", name)
		}
	}
	if isDir {
		t.open = append(t.open, name)
	}
}

// before says whether a comes before b by component: as if the slash were the
// least of all bytes.
func before(a, b string) bool {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return b[i] != '/' && (a[i] == '/' || a[i] < b[i])
		}
	}
	return len(a) < len(b)
}

// checkHeader wants what a store path's file has in an image.
func (t *tarCheck) checkHeader(name string, h *tar.Header, above bool) {
	mode := h.Mode & 0o7777
	switch h.Typeflag {
	case tar.TypeDir:
		if want := int64(0o555); above && mode != 0o755 || !above && mode != want {
			if above {
				want = 0o755
			}
			t.strictf("%s: mode %04o: want %04o", name, mode, want)
		}
	case tar.TypeReg:
		if mode != 0o444 && mode != 0o555 {
			t.strictf("%s: mode %04o: want 0444 or 0555", name, mode)
		}
	case tar.TypeSymlink:
		if mode != 0o777 {
			t.strictf("%s: mode %04o: want 0777", name, mode)
		}
	default:
		t.strictf("%s: an entry of type %q: want a file, a directory or a symbolic link", name, h.Typeflag)
	}
	if h.Uid != 0 || h.Gid != 0 || h.Uname != "" && h.Uname != "root" || h.Gname != "" && h.Gname != "root" {
		t.strictf("%s: owner %d:%d (%s:%s): want 0:0", name, h.Uid, h.Gid, h.Uname, h.Gname)
	}
	if t.entries == 1 {
		t.mtime = h.ModTime
	} else if !h.ModTime.Equal(t.mtime) {
		t.strictf("%s: mtime %d: entries before it have %d", name, h.ModTime.Unix(), t.mtime.Unix())
	}
	for key := range h.PAXRecords {
		if key != "path" && key != "linkpath" && key != "size" {
			t.strictf("%s: pax record %q: a store path has none such", name, key)
		}
	}
}
