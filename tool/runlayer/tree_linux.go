package runlayer

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rules-strata/rules_strata/tool/layer"
)

// node is a name in the image, as it was before the program ran.
type node struct {
	children map[string]*node // of a directory; else nil
	kind     layer.Type
	mode     uint16
	uid, gid uint32 // as the layers have it
	size     int64
	sum      [sha256.Size]byte // of a file's contents
	target   string            // of a symlink
	xattrs   []layer.Xattr     // sorted by name

	// absent: the image has it, but it is not on the disk, since devices can't be made.
	absent bool
	// made: the image has it not, but it is above a directory that is hidden, and so on the disk.
	made bool
	// was is what the disk said of it before the program ran.
	was identity
}

// identity is what a file system says of an inode. As long as it says the same, nothing of the inode has changed.
type identity struct {
	ino                 uint64
	ctime, mtime, btime unix.StatxTimestamp // the second of them too, since several changes may be in one tick of the kernel's clock
	uid, gid            uint32
	nlink               uint32
	mode                uint16
	size                uint64
	rdev                [2]uint32
}

func identify(name string) (identity, error) {
	var s unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, name, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &s); err != nil {
		return identity{}, &os.PathError{Op: "statx", Path: name, Err: err}
	}
	i := identity{ino: s.Ino, ctime: s.Ctime, mtime: s.Mtime, uid: s.Uid, gid: s.Gid, nlink: s.Nlink, mode: s.Mode, size: s.Size, rdev: [2]uint32{s.Rdev_major, s.Rdev_minor}}
	if s.Mask&unix.STATX_BTIME != 0 {
		i.btime = s.Btime
	}
	return i, nil
}

// sameInode reports whether two identities are of one inode: numbers are used again.
func (i *identity) sameInode(j *identity) bool { return i.ino == j.ino && i.btime == j.btime }

// kindOf is a mode's type; ok is false for sockets, which no layer holds.
func kindOf(mode uint16) (kind layer.Type, ok bool) {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return layer.TypeRegular, true
	case unix.S_IFDIR:
		return layer.TypeDirectory, true
	case unix.S_IFLNK:
		return layer.TypeSymlink, true
	case unix.S_IFIFO:
		return layer.TypeFIFO, true
	case unix.S_IFCHR:
		return layer.TypeCharDevice, true
	case unix.S_IFBLK:
		return layer.TypeBlockDevice, true
	}
	return 0, false
}

// tree is an image unpacked into a directory.
type tree struct {
	dir  string
	root *node
	ids  idMaps
	// foreign are, by inode, files whose owners the disk doesn't know, since there are too few ids.
	foreign map[uint64]*node
}

// unpack unpacks a tar of package flatten into dir, which is empty. Every name is checked: its parent must be a directory that
// came before. So no link of the image is ever followed.
func unpack(r io.Reader, dir string, ids idMaps) (*tree, error) {
	t := &tree{dir: dir, root: &node{kind: layer.TypeDirectory, mode: 0o755, children: map[string]*node{}}, ids: ids, foreign: map[uint64]*node{}}
	buf := make([]byte, 256<<10)
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			_, err = io.Copy(io.Discard, r) // To its end, or who writes it would wait.
		} else if err == nil {
			if err = t.add(h, tr, buf); err == nil {
				continue
			}
			err = fmt.Errorf("unpacking %q: %w", h.Name, err)
		}
		if err == nil {
			err = t.settle(t.root, dir)
		}
		return t, err
	}
}

// noID is the id by which chown(2) means that an owner stays.
const noID = 1<<32 - 1

func (t *tree) add(h *tar.Header, r io.Reader, buf []byte) error {
	if min(h.Uid, h.Gid) < 0 || int64(max(h.Uid, h.Gid)) >= noID {
		return fmt.Errorf("owner %d:%d: want numbers below %d", h.Uid, h.Gid, int64(noID))
	}
	name := strings.TrimSuffix(h.Name, "/")
	n := &node{mode: uint16(h.Mode & 0o7777), uid: uint32(h.Uid), gid: uint32(h.Gid), xattrs: xattrsOf(h)}
	if name == "." {
		n.kind, n.children = layer.TypeDirectory, t.root.children
		t.root = n
		return t.describe(n, t.dir, h)
	}
	parent, base, err := t.place(name)
	if err != nil {
		return err
	}
	at := filepath.Join(t.dir, name)
	switch h.Typeflag {
	case tar.TypeDir:
		n.kind, n.children = layer.TypeDirectory, map[string]*node{}
		err = unix.Mkdir(at, 0o700)
	case tar.TypeReg:
		n.kind, n.size = layer.TypeRegular, h.Size
		n.sum, err = writeFile(at, r, h.Size, buf)
	case tar.TypeSymlink:
		n.kind, n.target, n.mode, n.xattrs = layer.TypeSymlink, h.Linkname, 0o777, nil
		err = unix.Symlink(h.Linkname, at)
	case tar.TypeLink:
		of, last, err := t.place(h.Linkname)
		if err != nil {
			return err
		}
		first := of.children[last]
		if first == nil || first.children != nil {
			return fmt.Errorf("a hard link to %q, which is no file before it", h.Linkname)
		}
		parent.children[base] = first
		if first.absent {
			return nil
		}
		return unix.Link(filepath.Join(t.dir, h.Linkname), at)
	case tar.TypeFifo:
		n.kind = layer.TypeFIFO
		err = unix.Mkfifo(at, 0o600)
	case tar.TypeChar, tar.TypeBlock:
		n.kind, n.absent = layer.Type(h.Typeflag), true
	default:
		return fmt.Errorf("entries of type %q aren't known", h.Typeflag)
	}
	if err != nil {
		return err
	}
	parent.children[base] = n
	if n.absent {
		return nil
	}
	return t.describe(n, at, h)
}

// place finds the directory that name is in, and its last component.
func (t *tree) place(name string) (*node, string, error) {
	at := t.root
	for {
		first, rest, more := strings.Cut(name, "/")
		if first == "" || first == "." || first == ".." || strings.IndexByte(first, 0) >= 0 {
			return nil, "", errors.New("want a clean path, relative to the image's root")
		}
		if !more {
			return at, first, nil
		}
		n := at.children[first]
		if n == nil || n.children == nil {
			return nil, "", fmt.Errorf("%q is no directory before it", first)
		}
		at, name = n, rest
	}
}

func writeFile(name string, r io.Reader, size int64, buf []byte) (sum [sha256.Size]byte, err error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return sum, err
	}
	h := sha256.New()
	if _, err = io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(f, h)}, io.LimitReader(r, size), buf); err != nil {
		f.Close()
		return sum, err
	}
	h.Sum(sum[:0])
	return sum, f.Close()
}

// describe gives what is at a path its owner, mode, attributes and time.
func (t *tree) describe(n *node, at string, h *tar.Header) error {
	uid, gid := t.ids.users.known(n.uid), t.ids.groups.known(n.gid)
	if err := unix.Lchown(at, uid, gid); err != nil {
		return fmt.Errorf("giving it to %d:%d: %w", uid, gid, err)
	}
	if n.kind != layer.TypeSymlink { // Which has none.
		if err := unix.Chmod(at, uint32(n.mode)); err != nil {
			return fmt.Errorf("mode %#o: %w", n.mode, err)
		}
	}
	if n.kind == layer.TypeDirectory {
		return nil // Its time would be gone with the next entry in it, and an ACL would be handed on to it.
	}
	if err := n.setXattrs(at); err != nil { // After the owner: a new one takes capabilities away.
		return err
	}
	return setTime(at, h.ModTime.Unix(), int64(h.ModTime.Nanosecond()))
}

func (n *node) setXattrs(at string) error {
	for _, x := range n.xattrs {
		if err := unix.Lsetxattr(at, x.Name, []byte(x.Value), 0); err != nil {
			return fmt.Errorf("the attribute %s can't be had on this disk: %w", x.Name, err)
		}
	}
	return nil
}

func setTime(at string, seconds, nanoseconds int64) error {
	ts := unix.NsecToTimespec(seconds*1e9 + nanoseconds)
	return unix.UtimesNanoAt(unix.AT_FDCWD, at, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
}

// settle gives all directories their attributes and one time, and notes what the disk says of everything.
func (t *tree) settle(n *node, at string) error {
	for name, c := range n.children {
		if err := t.settle(c, at+"/"+name); err != nil {
			return err
		}
	}
	if n.absent {
		return nil
	}
	if n.children != nil {
		if err := n.setXattrs(at); err != nil {
			return err
		}
		if err := setTime(at, 1, 0); err != nil {
			return err
		}
	}
	var err error
	n.was, err = identify(at)
	if !t.ids.users.has(n.uid) || !t.ids.groups.has(n.gid) {
		t.foreign[n.was.ino] = n
	}
	return err
}

// lookup is the node at a clean path, nil if there is none.
func (t *tree) lookup(name string) *node {
	parent, last, err := t.place(name)
	if err != nil {
		return nil
	}
	return parent.children[last]
}

// hide puts an empty directory into the place of what the image has at a path, and what it has into the folder aside. Directories
// above that the image lacks are made; they are in no layer unless something else gets into them.
func (t *tree) hide(name string, mode uint32, aside string) error {
	at, parent := t.dir, t.root
	components := strings.Split(name, "/")
	for i, c := range components {
		at += "/" + c
		n := parent.children[c]
		last := i == len(components)-1
		switch {
		case n != nil && n.children == nil:
			return fmt.Errorf("/%s is a %s in the image: want a directory, or nothing", strings.Join(components[:i+1], "/"), n.kind)
		case n != nil && last:
			if err := os.Rename(at, aside); err != nil {
				return err
			}
		}
		if n == nil || last {
			if err := unix.Mkdir(at, 0o755); err != nil {
				return fmt.Errorf("/%s: %w", name, err)
			}
		}
		if n == nil {
			n = &node{kind: layer.TypeDirectory, mode: 0o755, children: map[string]*node{}, made: true}
			parent.children[c] = n
		}
		if last {
			if err := unix.Chmod(at, mode); err != nil {
				return err
			}
		}
		var err error
		if n.was, err = identify(at); err != nil {
			return err
		}
		parent = n
	}
	return nil
}

// haveStores sees that store directories are where they were. They are in no layer, but whiteouts and links above them would be.
func (t *tree) haveStores(stores []string) error {
	for _, name := range stores {
		at := t.dir
		var is identity
		var err error
		for c := range strings.SplitSeq(name, "/") {
			at += "/" + c
			if is, err = identify(at); err != nil || is.mode&unix.S_IFMT != unix.S_IFDIR {
				break
			}
		}
		if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) {
			return err
		}
		if err != nil || !is.sameInode(&t.lookup(name).was) {
			return fmt.Errorf("the command moved or removed /%s, where the store paths are: leave it in its place", name)
		}
	}
	return nil
}

func sortedNames(m map[string]*node) []string { return slices.Sorted(maps.Keys(m)) }
