package base

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"path"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/imagefile"
	"github.com/rules-strata/rules_strata/tool/nar"
	"github.com/rules-strata/rules_strata/tool/store"
)

// Whiteouts (OCI image-spec, layer.md).
const (
	whiteoutPrefix = ".wh."
	whiteoutOpaque = ".wh..wh..opq"
)

// bufferSize is one read of a layer.
const bufferSize = 256 << 10

// maxStorePaths bounds how many store paths of a base are remembered.
const maxStorePaths = 1 << 20

// known is what is known of the store paths of the layers so far.
type known struct {
	// paths have the hash of their NAR where they are whole.
	paths map[store.Path]store.Hash
	dirs  []string // store directories without the slash in front
	// users and groups are the names in /etc/passwd and /etc/group; nil: unknown.
	users, groups *digestfile.NameList
}

func newKnown() *known {
	none := &digestfile.NameList{Removed: true}
	return &known{paths: map[store.Path]store.Hash{}, dirs: []string{"nix/store", "gnu/store"}, users: none, groups: none}
}

// see adds a layer that was read.
func (k *known) see(c *contents) {
	for p := range k.paths {
		if c.removed[p] || slices.Contains(c.cleared, strings.TrimPrefix(p.Dir(), "/")) {
			delete(k.paths, p)
		}
	}
	for p, h := range c.paths {
		if _, twice := k.paths[p]; twice {
			h = store.Hash{} // In two layers: what the two make together, nobody says.
		}
		k.paths[p] = h
	}
	k.name(c.accounts.Lists())
}

// name adds what a layer makes of /etc/passwd and /etc/group; nil: nothing.
func (k *known) name(users, groups *digestfile.NameList) {
	if users != nil {
		k.users = users
	}
	if groups != nil {
		k.groups = groups
	}
}

// tell adds a layer that is not there, by its history. Of a layer of
// store paths strata says the hashes, which were checked when it was
// made; its other layers leave store paths alone, but may have lists of users. Whatever else a layer may hold
// could have changed what is below it.
func (k *known) tell(h ocispec.History) {
	if h.CreatedBy != image.HistoryCreatedBy || h.Comment == "" {
		k.users, k.groups = nil, nil
	}
	if h.CreatedBy == image.HistoryCreatedBy {
		if paths, _, err := image.ParseHistoryComment(h.Comment); err == nil {
			for _, p := range paths {
				if _, twice := k.paths[p.Path]; twice {
					p.NarHash = store.Hash{}
				}
				k.paths[p.Path] = p.NarHash
				if dir := p.Path.Dir()[1:]; !slices.Contains(k.dirs, dir) && len(k.dirs) < 8 {
					k.dirs = append(k.dirs, dir)
				}
			}
			return
		}
	}
	for p := range k.paths {
		k.paths[p] = store.Hash{}
	}
	for _, p := range image.StorePathsIn(h.Comment) { // As dockerTools writes it.
		k.paths[p] = store.Hash{}
	}
}

// contents are the store paths of one layer.
type contents struct {
	// paths have the hash of the NAR that they would be; zero if they could be none.
	paths   map[store.Path]store.Hash
	removed map[store.Path]bool
	cleared []string // store directories whose contents below the layer are hidden
	// accounts are its lists of users and groups.
	accounts digestfile.Accounts
}

// readLayer reads a layer to its end, where it is checked. [imagefile.ErrAbsent] if it isn't there.
func readLayer(ctx context.Context, l *imagefile.Layer, dirs []string) (*contents, error) {
	in, err := l.Uncompressed()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	c := &contents{paths: map[store.Path]store.Hash{}, removed: map[store.Path]bool{}}
	s := &scan{contents: c, dirs: dirs, sum: sha256.New(), buf: make([]byte, bufferSize)}
	r := &cancellable{ctx, in}
	fault := s.run(tar.NewReader(r))
	// The end is where a layer that isn't the one that was meant is found out: what its entries are then says little.
	if _, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{r}, s.buf); err != nil {
		return nil, err
	}
	return c, fault
}

// scan reads a layer's tar.
type scan struct {
	*contents
	dirs []string
	buf  []byte

	// The store path under way, and the NAR that it is made into.
	path store.Path
	nar  *nar.Writer // nil: it can be none
	sum  hash.Hash
}

func (s *scan) run(tr *tar.Reader) error {
	for {
		h, err := tr.Next()
		if err == io.EOF {
			s.finish()
			return nil
		}
		if err != nil {
			return noEOF(err)
		}
		name := path.Clean(strings.TrimLeft(h.Name, "/"))
		if name == ".." || strings.HasPrefix(name, "../") || strings.IndexByte(name, 0) >= 0 {
			return fmt.Errorf("entry %q leads out of the image", h.Name)
		}
		if err := s.entry(tr, h, name); err != nil {
			return err
		}
	}
}

func (s *scan) entry(tr *tar.Reader, h *tar.Header, name string) error {
	if list := s.accounts.Entry(name, h.Typeflag, tr); list != io.Reader(tr) {
		if _, err := io.CopyBuffer(io.Discard, list, s.buf); err != nil {
			return noEOF(err)
		}
		return nil
	}
	dir, base := path.Split(name)
	dir = strings.TrimSuffix(dir, "/")
	if hidden, ok := strings.CutPrefix(base, whiteoutPrefix); ok {
		target := path.Join(dir, hidden)
		if base == whiteoutOpaque {
			target = dir
		}
		s.hide(target)
		return nil
	}
	if h.Typeflag == tar.TypeLink {
		// Another name of a file: clients give it the owner and mode of this one.
		if p, _, ok := s.storePath(path.Clean(strings.TrimLeft(h.Linkname, "/"))); ok {
			s.finishIfNot(p)
			s.spoil(p)
		}
	}
	for _, d := range s.dirs {
		if name == d || strings.HasPrefix(d, name+"/") {
			if h.Typeflag != tar.TypeDir {
				return fmt.Errorf("/%s is no directory: no store path can be put below it", name)
			}
		}
	}
	if p, below, ok := s.storePath(name); ok {
		return s.inStorePath(tr, h, p, below)
	}
	return nil
}

// storePath returns the store path that a clean name is in, and where in it. There is none above it, nor for such as .links: they are
// none of the image's business.
func (s *scan) storePath(name string) (p store.Path, below string, ok bool) {
	for _, d := range s.dirs {
		if rest, ok := strings.CutPrefix(name, d+"/"); ok {
			first, below, _ := strings.Cut(rest, "/")
			if p, err := store.ParsePath("/" + d + "/" + first); err == nil {
				return p, below, true
			}
		}
	}
	return "", "", false
}

// hide notes what a whiteout hides. "" is the root.
func (s *scan) hide(target string) {
	if target == "." {
		target = ""
	}
	for _, d := range s.dirs {
		if target == "" || target == d || strings.HasPrefix(d, target+"/") {
			s.cleared = append(s.cleared, d)
		}
	}
	switch p, below, ok := s.storePath(target); {
	case !ok:
	case below == "":
		s.removed[p] = true
	default:
		s.finishIfNot(p)
		s.spoil(p)
	}
}

// inStorePath adds an entry to the NAR of its store path, if that can be one.
func (s *scan) inStorePath(tr *tar.Reader, h *tar.Header, p store.Path, below string) error {
	if p != s.path {
		s.finish()
		s.path = p
		if _, again := s.paths[p]; again || len(s.paths) >= maxStorePaths {
			s.spoil(p) // In pieces, with others between them.
		} else {
			s.sum.Reset()
			s.nar = nar.NewWriter(s.sum)
		}
		s.paths[p] = store.Hash{}
	}
	if s.nar == nil {
		return nil
	}
	e := nar.Entry{Path: []byte(below), Size: h.Size}
	switch h.Typeflag {
	case tar.TypeReg:
		e.Kind, e.Executable = nar.Regular, h.Mode&0o111 != 0
	case tar.TypeDir:
		e.Kind = nar.Directory
	case tar.TypeSymlink:
		e.Kind, e.Target = nar.Symlink, []byte(h.Linkname)
	}
	if !asInStore(h) || s.nar.WriteEntry(&e) != nil {
		s.spoil(p)
		return nil
	}
	if e.Kind == nar.Regular {
		if _, err := io.CopyBuffer(struct{ io.Writer }{s.nar}, struct{ io.Reader }{tr}, s.buf); err != nil {
			return noEOF(err)
		}
	}
	return nil
}

// asInStore reports whether an entry has a store's mode and owner, and nothing besides.
func asInStore(h *tar.Header) bool {
	if h.Uid != 0 || h.Gid != 0 {
		return false
	}
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "SCHILY.xattr.") || strings.HasPrefix(k, "LIBARCHIVE.xattr.") {
			return false
		}
	}
	switch mode := h.Mode & 0o7777; h.Typeflag {
	case tar.TypeReg:
		return mode == 0o444 || mode == 0o555
	case tar.TypeDir:
		return mode == 0o555
	case tar.TypeSymlink:
		return true
	}
	return false
}

// spoil notes that a store path is none as a store has it.
func (s *scan) spoil(p store.Path) {
	s.paths[p] = store.Hash{}
	if p == s.path {
		s.nar = nil
	}
}

func (s *scan) finishIfNot(p store.Path) {
	if s.path != p {
		s.finish()
	}
}

// finish ends the store path under way.
func (s *scan) finish() {
	if s.nar != nil && s.nar.Close() == nil {
		s.paths[s.path] = store.Hash(s.sum.Sum(nil))
	}
	s.path, s.nar = "", nil
}

// cancellable fails once its context ends.
type cancellable struct {
	ctx context.Context
	r   io.Reader
}

func (c *cancellable) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}

// noEOF makes an end that comes too early an error that says so.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
