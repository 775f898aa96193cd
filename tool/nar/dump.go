package nar

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
)

// Dump writes to w the archive of the file, directory or symlink called name in
// the directory dir, as nix-store --dump does: names in byte order, executable
// what its owner may execute, everything else of modes, owners and times left out.
//
// No symlink is followed, neither name nor any below. A file of another kind, a
// name or target that no archive can have, more than [MaxDepth] levels, and a
// file that changes while it is read are errors that name it as an
// [fs.PathError] does. Memory grows with the longest list of names in a directory, not with files.
func Dump(w io.Writer, dir *os.Root, name string) error {
	d := dumper{w: NewWriter(w), buf: make([]byte, dumpBufferSize)}
	if err := d.node(dir, name); err != nil {
		return err
	}
	return d.w.Close()
}

// Walk calls f for each entry of the archive that [Dump] would write, in its
// order, and reads no file: sizes are what the file system says. The entry is valid
// during the call only. What is wrong is an error as it is of Dump, and f's error ends the walk.
func Walk(dir *os.Root, name string, f func(*Entry) error) error {
	d := dumper{visit: f}
	return d.node(dir, name)
}

// dumpBufferSize is how much of a file is read at a time.
const dumpBufferSize = 128 << 10

var errChanged = errors.New("it changed while it was read")

type dumper struct {
	w     *Writer            // nil in a walk
	visit func(*Entry) error // of a walk
	err   error              // that visit returned
	path  []byte             // of the entry, relative to the root
	depth int                // number of directories that it is in
	buf   []byte
}

// node writes the node called name in dir, whose path in the archive is d.path.
func (d *dumper) node(dir *os.Root, name string) error {
	info, err := dir.Lstat(name)
	if err == nil && d.depth >= MaxDepth {
		err = fmt.Errorf("an archive has at most %d levels", MaxDepth)
	}
	if err != nil {
		return d.at(dir, name, err)
	}
	switch info.Mode().Type() {
	case 0:
		err = d.file(dir, name, info)
	case fs.ModeDir:
		return d.directory(dir, name, info)
	case fs.ModeSymlink:
		var target string
		if target, err = dir.Readlink(name); err == nil {
			err = d.entry(&Entry{Path: d.path, Kind: Symlink, Target: []byte(target)})
		}
	default:
		err = fmt.Errorf("an archive holds regular files, directories and symlinks only; this is %s", kindOf(info.Mode()))
	}
	return d.at(dir, name, err)
}

// entry passes an entry on.
func (d *dumper) entry(e *Entry) error {
	if d.w != nil {
		return d.w.WriteEntry(e)
	}
	fault := ""
	if len(d.path) > 0 {
		fault = nameFault(d.path[bytes.LastIndexByte(d.path, '/')+1:])
	}
	if fault == "" && e.Kind == Symlink {
		fault = targetFault(e.Target)
	}
	if fault != "" {
		return fmt.Errorf("no archive can have the name or target %s", fault)
	}
	d.err = d.visit(e)
	return d.err
}

// at names the node in err, unless a deeper one is named or the fault is the writer's.
func (d *dumper) at(dir *os.Root, name string, err error) error {
	if err == nil || err == d.err || d.w != nil && err == d.w.err {
		return err
	}
	var of *fs.PathError
	if errors.As(err, &of) {
		err = of.Err
	}
	return &fs.PathError{Op: "archive", Path: dir.Name() + "/" + name, Err: err}
}

func (d *dumper) file(dir *os.Root, name string, info fs.FileInfo) error {
	e := &Entry{Path: d.path, Kind: Regular, Executable: info.Mode()&0o100 != 0, Size: info.Size()}
	if d.w == nil {
		return d.entry(e)
	}
	f, err := open(dir, name, info)
	if err != nil {
		return err
	}
	defer f.Close()
	size := info.Size()
	if err := d.entry(e); err != nil {
		return err
	}
	for left := size; left >= 0; { // one byte more than there should be
		n, err := f.Read(d.buf[:min(left+1, int64(len(d.buf)))])
		if left -= int64(n); left < 0 || left > 0 && err == io.EOF {
			return fmt.Errorf("%w: it had %d bytes", errChanged, size)
		}
		if _, err := d.w.Write(d.buf[:n]); err != nil {
			return err
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// open opens a regular file or directory that info is of: a symlink that took its place is not followed unseen.
func open(dir *os.Root, name string, info fs.FileInfo) (*os.File, error) {
	f, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	now, err := f.Stat()
	if err == nil && !os.SameFile(info, now) {
		err = errChanged
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (d *dumper) directory(dir *os.Root, name string, info fs.FileInfo) error {
	if err := d.entry(&Entry{Path: d.path, Kind: Directory}); err != nil {
		return d.at(dir, name, err)
	}
	f, err := open(dir, name, info)
	if err != nil {
		return d.at(dir, name, err)
	}
	names, err := f.Readdirnames(-1)
	f.Close()
	if err != nil {
		return d.at(dir, name, err)
	}
	slices.Sort(names) // by bytes
	sub, err := dir.OpenRoot(name)
	if err != nil {
		return d.at(dir, name, err)
	}
	defer sub.Close()
	if now, err := sub.Stat("."); err != nil || !os.SameFile(info, now) {
		return d.at(dir, name, errors.Join(errChanged, err))
	}
	before := len(d.path)
	d.depth++
	for _, n := range names {
		if before > 0 {
			d.path = append(d.path, '/')
		}
		d.path = append(d.path, n...)
		if err := d.node(sub, n); err != nil {
			return err
		}
		d.path = d.path[:before]
	}
	d.depth--
	return nil
}

func kindOf(m fs.FileMode) string {
	switch {
	case m&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return "something else"
}
