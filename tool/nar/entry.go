package nar

import (
	"bytes"
	"fmt"
)

// Limits of an archive, as Nix 2.34 has them (narMaxDepth, narMaxName and
// narMaxTarget in nix/src/libutil/archive.cc).
const (
	// MaxDepth is the number of levels: the root is at level 1, so a path has at most MaxDepth-1 components.
	MaxDepth = 64
	// MaxNameLen is the greatest length of a directory entry's name, in bytes.
	MaxNameLen = 255
	// MaxTargetLen is the greatest length of a symlink's target, in bytes.
	MaxTargetLen = 4095
)

// Kind says what a node of an archive is.
type Kind uint8

// The three kinds of nodes.
const (
	Regular Kind = iota + 1
	Directory
	Symlink
)

// String is the kind's word in the archive: "regular", "directory" or "symlink".
func (k Kind) String() string {
	switch k {
	case Regular:
		return "regular"
	case Directory:
		return "directory"
	case Symlink:
		return "symlink"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// Entry is one node of an archive.
type Entry struct {
	// Path is the node's name relative to the root, components joined by "/";
	// empty for the root itself. The bytes need not be UTF-8.
	Path []byte
	// Kind says which of the other fields mean something.
	Kind Kind
	// Executable is the executable bit of a regular file.
	Executable bool
	// Size is the length of a regular file's contents, in bytes.
	Size int64
	// Target is what a symlink points to, as it was written; never empty for a symlink.
	Target []byte
}

// magic is the string that every archive begins with.
const magic = "nix-archive-1"

// nameFault says what keeps name from naming a directory entry, or "".
func nameFault(name []byte) string {
	switch {
	case len(name) == 0:
		return "an empty one"
	case len(name) > MaxNameLen:
		return fmt.Sprintf("%d bytes", len(name))
	case name[0] == '.' && (len(name) == 1 || len(name) == 2 && name[1] == '.'):
		return fmt.Sprintf("%q", name)
	case bytes.IndexByte(name, '/') >= 0:
		return fmt.Sprintf("%q, which holds a slash", name)
	case bytes.IndexByte(name, 0) >= 0:
		return fmt.Sprintf("%q, which holds a NUL", name)
	}
	return ""
}

// targetFault says what keeps target from being a symlink's target, or "".
func targetFault(target []byte) string {
	switch {
	case len(target) == 0:
		return "an empty one"
	case len(target) > MaxTargetLen:
		return fmt.Sprintf("%d bytes", len(target))
	case bytes.IndexByte(target, 0) >= 0:
		return fmt.Sprintf("%.80q, which holds a NUL", target)
	}
	return ""
}
