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
// the store's modes, owned by root, one mtime, no whiteouts, no attributes; or
// whatever else of these is expected. Of a layer that isn't ours, only the former counts.
//
// The error is for a tar that can't be read to its end.
func checkTar(r *hashingReader, h holding, want *expected, fault func(format string, a ...any), facts *layerFacts) error {
	t := &tarCheck{dirs: h.storeDirs, want: want, fault: fault, paths: map[string]bool{}, seen: map[[2]uint64]bool{}, storeOnly: true}
	t.seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}
	defer func() {
		facts.Entries = t.entries
		facts.StorePaths = slices.Sorted(maps.Keys(t.paths))
		if t.storeOnly && t.inStore && h.ours {
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
	want    *expected
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
	owner     *expected // of all store paths, once one was seen
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
	if strings.HasPrefix(base, whiteoutPrefix) && !t.want.whiteoutNames && !t.want.anyOrigin {
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
	var modes []int64
	switch h.Typeflag {
	case tar.TypeDir:
		modes = []int64{0o555}
		if above {
			modes = []int64{0o755}
		}
	case tar.TypeReg:
		modes = []int64{0o444, 0o555}
	case tar.TypeSymlink:
		modes = []int64{0o777}
	default:
		t.strictf("%s: an entry of type %q: want a file, a directory or a symbolic link", name, h.Typeflag)
	}
	if t.want.mode != nil && !above && h.Typeflag != tar.TypeSymlink {
		if mode, ok := t.want.mode(t.split(name)); ok {
			modes = []int64{mode}
		}
	}
	if t.want.anyOrigin && !above {
		modes = nil
	}
	if mode := h.Mode & 0o7777; modes != nil && !slices.Contains(modes, mode) {
		t.strictf("%s: mode %04o: want %s", name, mode, modesText(modes))
	}
	owner := *t.want
	switch {
	case t.want.anyOrigin && above: // It may be as the store paths are, or not.
		owner = expected{uid: h.Uid, gid: h.Gid, userName: h.Uname, groupName: h.Gname, named: true}
	case above:
		owner = expected{}
	case t.want.anyOrigin:
		if t.owner == nil { // The first one's is all others'.
			t.owner = &expected{uid: h.Uid, gid: h.Gid, userName: h.Uname, groupName: h.Gname, named: true}
		}
		owner = *t.owner
	}
	names := h.Uname == owner.userName && h.Gname == owner.groupName
	if !owner.named {
		names = (h.Uname == "" || h.Uname == "root") && (h.Gname == "" || h.Gname == "root")
	}
	if h.Uid != owner.uid || h.Gid != owner.gid || !names {
		t.strictf("%s: owner %d:%d (%s:%s): want %d:%d%s", name, h.Uid, h.Gid, h.Uname, h.Gname, owner.uid, owner.gid, owner.namesText())
	}
	if t.entries == 1 {
		t.mtime = h.ModTime
	}
	if want := t.want.mtimeUnix; want != nil && !h.ModTime.Equal(time.Unix(*want, 0)) {
		t.strictf("%s: mtime %d: want %d", name, h.ModTime.Unix(), *want)
	} else if want == nil && !h.ModTime.Equal(t.mtime) {
		t.strictf("%s: mtime %d: entries before it have %d", name, h.ModTime.Unix(), t.mtime.Unix())
	}
	for key, value := range h.PAXRecords {
		switch {
		case key == "path" || key == "linkpath" || key == "size":
		case key == "hdrcharset" && value == "BINARY": // of names that are no text
		case key == "uid" && h.Uid > maxOctalID || key == "gid" && h.Gid > maxOctalID:
		default:
			t.strictf("%s: pax record %q: a store path has none such", name, key)
		}
	}
}

// maxOctalID is the greatest owner's number that a header has room for.
const maxOctalID = 1<<21 - 1

// split parts a name below a store directory into store path and path in it.
func (t *tarCheck) split(name string) (storePath, path string) {
	for _, dir := range t.dirs {
		if rest, ok := strings.CutPrefix(name, dir+"/"); ok {
			base, path, _ := strings.Cut(rest, "/")
			return "/" + dir + "/" + base, path
		}
	}
	return "", name
}

func (e *expected) namesText() string {
	if !e.named {
		return ""
	}
	return fmt.Sprintf(" (%s:%s)", e.userName, e.groupName)
}

func modesText(modes []int64) string {
	var all []string
	for _, m := range modes {
		all = append(all, fmt.Sprintf("%04o", m))
	}
	return strings.Join(all, " or ")
}
