package flatten

import (
	"archive/tar"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Limits of an image's tree.
const (
	// MaxPaths is the greatest number of paths that an image may have in its layers together.
	MaxPaths = 2 << 20
	// maxNameBytes bounds what their names and link targets take.
	maxNameBytes = 256 << 20
	// maxPathLen is Linux's PATH_MAX: no runtime can unpack more. So a path has at most half as many components.
	maxPathLen = 4096
	// maxLinks is how many symlinks on the way to a name are followed, as Linux has it.
	maxLinks = 40
)

// Names that give orders about lower layers (layer.md, Whiteouts). Others that begin with
// whiteoutMeta are notes of aufs' own, and name nothing.
const (
	whiteout       = ".wh."
	whiteoutMeta   = ".wh..wh."
	whiteoutOpaque = ".wh..wh..opq"
)

// node is a name in the tree.
type node struct {
	children map[string]*node // of a directory; else nil
	layer    int              // the last layer that said something of it
	inode    *inode           // what it names; of a directory that no layer has an entry for: nil
}

// inode is what one or several names name.
type inode struct {
	target string      // of a symlink
	link   bool        // it is a symlink
	header *tar.Header // of a directory; of others it comes again with the contents

	names   []string // what names are left of it, filled in the end
	written bool
}

// tree is the file system as it is after some layers.
type tree struct {
	root  *node
	layer int // that is being read
	paths int
	bytes int
	// entries are the inodes that the entries of each layer made, in order; nil: none.
	entries [][]*inode
}

func newTree() *tree { return &tree{root: &node{children: map[string]*node{}, layer: -1}} }

// begin begins the next layer.
func (t *tree) begin() {
	t.layer = len(t.entries)
	t.entries = append(t.entries, nil)
}

// add takes one entry of the layer.
func (t *tree) add(h *tar.Header) error {
	if t.paths++; t.paths > MaxPaths {
		return fmt.Errorf("the image has more than %d paths", MaxPaths)
	}
	if t.bytes += len(h.Name) + len(h.Linkname); t.bytes > maxNameBytes {
		return fmt.Errorf("the image's names come to more than %d bytes", maxNameBytes)
	}
	i, err := t.apply(h)
	if err != nil {
		return fmt.Errorf("entry %q: %w", h.Name, err)
	}
	t.entries[t.layer] = append(t.entries[t.layer], i)
	return nil
}

func (t *tree) apply(h *tar.Header) (*inode, error) {
	parts, err := split(h.Name)
	if err != nil {
		return nil, err
	}
	if len(parts) == 0 {
		if h.Typeflag != tar.TypeDir {
			return nil, errors.New("only a directory can be the root")
		}
		t.root.inode = &inode{header: keep(h)}
		return t.root.inode, nil
	}
	dir, err := t.directory(parts[:len(parts)-1], maxLinks, true)
	if err != nil {
		return nil, err
	}
	name := parts[len(parts)-1]
	switch {
	case name == whiteoutOpaque:
		t.clear(dir)
		return nil, nil
	case strings.HasPrefix(name, whiteoutMeta):
		return nil, nil
	case strings.HasPrefix(name, whiteout):
		hidden := name[len(whiteout):]
		if hidden == "" || hidden == "." || hidden == ".." {
			return nil, errors.New("a whiteout of no name")
		}
		if n := dir.children[hidden]; n != nil {
			t.hide(dir, hidden, n)
		}
		return nil, nil
	}
	old := dir.children[name]
	switch h.Typeflag {
	case tar.TypeDir:
		i := &inode{header: keep(h)}
		if old == nil || old.children == nil {
			old = &node{children: map[string]*node{}}
			dir.children[name] = old
		}
		old.layer, old.inode = t.layer, i
		return i, nil
	case tar.TypeLink:
		at, err := split(h.Linkname)
		if err != nil || len(at) == 0 {
			return nil, fmt.Errorf("a hard link to %q", h.Linkname)
		}
		of, err := t.directory(at[:len(at)-1], maxLinks, false)
		if err != nil {
			return nil, fmt.Errorf("a hard link to %q: %w", h.Linkname, err)
		}
		n := of.children[at[len(at)-1]]
		if n == nil || n.children != nil {
			return nil, fmt.Errorf("a hard link to %q, which is no file of the image", h.Linkname)
		}
		dir.children[name] = &node{layer: t.layer, inode: n.inode}
		return nil, nil // The contents come with the other name.
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		i := &inode{}
		if h.Typeflag == tar.TypeSymlink {
			i.link, i.target = true, h.Linkname
		}
		dir.children[name] = &node{layer: t.layer, inode: i}
		return i, nil
	}
	return nil, fmt.Errorf("entries of type %q aren't known", h.Typeflag)
}

// clear removes from a directory what lower layers have put there.
func (t *tree) clear(dir *node) {
	for name, n := range dir.children {
		t.hide(dir, name, n)
	}
}

// hide removes from dir what lower layers have of n. What the layer itself has put there stays, wherever in the layer the order stands.
func (t *tree) hide(dir *node, name string, n *node) {
	switch {
	case n.layer < t.layer && !t.touched(n):
		delete(dir.children, name)
	case n.children != nil:
		t.clear(n)
		if n.layer < t.layer {
			n.inode, n.layer = nil, t.layer
		}
	}
}

// touched says whether the layer has put something into the directory n, without an entry for n itself.
func (t *tree) touched(n *node) bool {
	for _, c := range n.children {
		if c.layer == t.layer || t.touched(c) {
			return true
		}
	}
	return false
}

// directory finds a directory; those that are missing on the way are made, if create is set, as unpacking does.
func (t *tree) directory(parts []string, links int, create bool) (*node, error) {
	type step struct {
		at   *node
		name string
	}
	var way []step // for "..": where the names lead up again
	at := t.root
	for len(parts) > 0 {
		name := parts[0]
		parts = parts[1:]
		if name == ".." {
			if len(way) > 0 {
				at, way = way[len(way)-1].at, way[:len(way)-1]
			}
			continue
		}
		n := at.children[name]
		switch {
		case n != nil && n.children != nil:
		case n != nil && n.inode.link:
			if links--; links < 0 {
				return nil, fmt.Errorf("%s: more than %d symlinks on the way", name, maxLinks)
			}
			to := strings.Split(n.inode.target, "/")
			to = slices.DeleteFunc(to, func(s string) bool { return s == "" || s == "." })
			if path.IsAbs(n.inode.target) {
				at, way = t.root, way[:0]
			}
			parts = slices.Concat(to, parts)
			continue
		case n == nil && create, n != nil && create && n.layer < t.layer:
			// A file of a lower layer gives way to a directory.
			n = &node{children: map[string]*node{}, layer: t.layer}
			at.children[name] = n
			if t.paths++; t.paths > MaxPaths {
				return nil, fmt.Errorf("the image has more than %d paths", MaxPaths)
			}
		default:
			return nil, fmt.Errorf("%q is no directory of the image", name)
		}
		if way = append(way, step{at, name}); len(way) > maxPathLen/2 {
			return nil, fmt.Errorf("more than %d directories in one another", maxPathLen/2)
		}
		at = n
	}
	return at, nil
}

// split takes a name apart. One that leads out of the image is an error, also where the runtimes let it pass.
func split(name string) ([]string, error) {
	if len(name) > maxPathLen {
		return nil, fmt.Errorf("the name has %d bytes; want at most %d", len(name), maxPathLen)
	}
	if strings.IndexByte(name, 0) >= 0 {
		return nil, errors.New("the name holds a NUL")
	}
	var parts []string
	for p := range strings.SplitSeq(name, "/") {
		switch p {
		case "", ".":
		case "..":
			return nil, errors.New(`the name holds ".."`)
		default:
			parts = append(parts, p)
		}
	}
	return parts, nil
}

// keep is what has to be known of a directory until it is written.
func keep(h *tar.Header) *tar.Header {
	k := *h
	return &k
}

// finish fills in the names of all inodes, in byte order of their paths by component.
func (t *tree) finish() error {
	bytes := 0
	var walk func(n *node, at string)
	walk = func(n *node, at string) {
		for _, name := range sortedNames(n.children) {
			c := n.children[name]
			if bytes += len(at) + len(name); bytes > maxNameBytes {
				return
			}
			p := at + name
			if c.inode == nil { // No layer describes it.
				c.inode = &inode{header: impliedDirectory()}
			}
			c.inode.names = append(c.inode.names, p)
			if c.children != nil {
				walk(c, p+"/")
			}
		}
	}
	if t.root.inode != nil {
		t.root.inode.names = []string{"."}
	}
	walk(t.root, "")
	if bytes > maxNameBytes {
		return fmt.Errorf("the image's paths come to more than %d bytes", maxNameBytes)
	}
	return nil
}

func sortedNames(m map[string]*node) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
