package filelayer

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/rules-strata/rules_strata/tool/layer"
)

// node is an entry of the layer in the making.
type node struct {
	path  string
	kind  layer.Type // a file's is TypeRegular, whatever number of names it has
	mode  uint16
	owner *layer.Owner // nil: the layer's
	// target is a symlink's, contents and size are a file's.
	target       string
	contents     contents
	size         int64
	major, minor uint32
	xattrs       []layer.Xattr

	// by says who wants it, from is the entry that it comes from.
	by   string
	from *Entry
	// rank says of a directory how much is known of it: the higher one's mode and owner count.
	rank rank
	// shared says that other nodes with the same contents, mode and owner are further names of this file.
	shared bool
	// whiteout says that it stands for something that lower layers have.
	whiteout bool
}

type rank uint8

const (
	rankImplied rank = iota // an entry is below it
	rankPlain               // a folder or a store path has it
	rankTar                 // a tar has it, with mode and owner
	rankNamed               // an entry is this directory
)

// contents are a file's. Two nodes have the same if they are equal.
type contents interface {
	open() (io.ReadCloser, error)
}

// diskFile is a file on disk; there is one for each name.
type diskFile struct {
	name string
	size int64
	mode uint16
}

func (f *diskFile) open() (io.ReadCloser, error) { return os.Open(f.name) }

// textContents are in the specification.
type textContents string

func (t textContents) open() (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(string(t))), nil
}

// section is a part of an open file.
type section struct {
	f            *os.File
	offset, size int64
}

func (s *section) open() (io.ReadCloser, error) {
	return io.NopCloser(io.NewSectionReader(s.f, s.offset, s.size)), nil
}

// what is the node in the words of a message.
func (n *node) what() string {
	if n.kind == layer.TypeSymlink {
		return fmt.Sprintf("a symlink to %s", n.target)
	}
	return "a " + n.kind.String()
}

// sameMetadata reports whether mode, owner and attributes are the same.
func (n *node) sameMetadata(m *node) bool {
	sameOwner := n.owner == m.owner || n.owner != nil && m.owner != nil && *n.owner == *m.owner
	return n.mode == m.mode && sameOwner && slices.Equal(n.xattrs, m.xattrs)
}

// same reports whether it makes no difference which of the two is in the layer.
func (n *node) same(m *node) bool {
	return n.kind == m.kind && n.sameMetadata(m) && n.target == m.target && n.contents == m.contents && n.major == m.major && n.minor == m.minor
}

// key is what nodes are sorted by: bytewise by component, and in a directory whiteouts first.
func (n *node) key() string {
	k := strings.ReplaceAll(n.path, "/", "\x00")
	if n.whiteout {
		i := strings.LastIndexByte(k, 0) + 1
		k = k[:i] + "\x00" + k[i:]
	}
	return k
}

// Names to which the OCI image-spec gives a meaning (layer.md, "Whiteouts").
const (
	whiteoutPrefix = ".wh."
	whiteoutOpaque = ".wh..wh..opq"
)

// splitPath is the directory, "" for the root, and the name in it.
func splitPath(p string) (dir, name string) {
	i := strings.LastIndexByte(p, '/')
	return p[:max(i, 0)], p[i+1:]
}

func joinPath(dir, name string) string {
	switch {
	case dir == "":
		return name
	case name == "":
		return dir
	}
	return dir + "/" + name
}
