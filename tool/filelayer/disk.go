package filelayer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/rules-strata/rules_strata/tool/layer"
)

// maxDepth bounds how deep folders may lie in one another.
const maxDepth = 128

// headSize is how much of a file says whether it is a program.
const headSize = 4

// modeOf is the mode of a file that begins with head.
func modeOf(head []byte) uint16 {
	if bytes.HasPrefix(head, []byte("#!")) || bytes.HasPrefix(head, []byte("\x7fELF")) {
		return modeProgram
	}
	return modeFile
}

// file adds the file on disk that e names.
func (g *gatherer) file(e *Entry, n *node) error {
	if target, ok := madeSymlink(g.name(e.From)); e.Shared && ok {
		n.kind, n.mode, n.target = layer.TypeSymlink, modeSymlink, target
		g.add(n)
		return nil
	}
	f, err := g.disk(g.name(e.From))
	if err != nil {
		return err
	}
	n.kind, n.mode, n.contents, n.size, n.shared = layer.TypeRegular, f.mode, f, f.size, e.Shared
	if e.Mode != nil {
		n.mode = *e.Mode
	}
	g.add(n)
	return nil
}

// madeSymlink returns the target of a symlink that leads nowhere where the action runs: one that an action of Bazel made to be one
// (declare_symlink), for the place where it goes. Before Bazel 8 rules can't tell these from files. Those that lead to a file are the file: in a
// sandbox every input is a symlink, outside of one a source file may be.
func madeSymlink(name string) (target string, ok bool) {
	target, err := os.Readlink(name)
	if err != nil {
		return "", false
	}
	_, err = os.Stat(name)
	return target, errors.Is(err, fs.ErrNotExist)
}

// disk is the regular file called name, links followed.
func (g *gatherer) disk(name string) (*diskFile, error) {
	if f := g.files[name]; f != nil {
		return f, nil
	}
	// Looked at before it is opened: opening a pipe would wait for a writer.
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, fmt.Errorf("%s is a directory: want an entry of type %q, and the directory where its contents go", name, TypeFolder)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", name)
	}
	in, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	var head [headSize]byte
	got, err := io.ReadFull(in, head[:])
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, err
	}
	f := &diskFile{name: name, size: info.Size(), mode: modeOf(head[:got])}
	g.files[name] = f
	return f, nil
}

// folder adds what is in the folder on disk that e names.
func (g *gatherer) folder(e *Entry) error {
	root := g.name(e.From)
	info, err := os.Stat(root)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is no directory", root)
	}
	w := &folderWalk{g: g, e: e}
	if e.Path != "" {
		g.add(&node{path: e.Path, kind: layer.TypeDirectory, mode: modeDirectory, rank: rankPlain, by: e.by(), from: e})
	}
	return w.directory(root, e.Path, info)
}

type folderWalk struct {
	g     *gatherer
	e     *Entry
	above []fs.FileInfo
}

func (w *folderWalk) directory(dir, path string, info fs.FileInfo) error {
	if w.g.ctx.Err() != nil {
		return context.Cause(w.g.ctx)
	}
	for _, above := range w.above {
		if os.SameFile(above, info) {
			return fmt.Errorf("%s: a symlink leads back to a directory that it is in", dir)
		}
	}
	if len(w.above) >= maxDepth {
		return fmt.Errorf("%s: over %d levels", dir, maxDepth)
	}
	w.above = append(w.above, info)
	defer func() { w.above = w.above[:len(w.above)-1] }()
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, d := range entries {
		if err := w.node(filepath.Join(dir, d.Name()), joinPath(path, d.Name())); err != nil {
			return err
		}
	}
	return w.g.tooMany()
}

func (w *folderWalk) node(name, path string) error {
	info, err := os.Lstat(name)
	if err == nil && w.e.Follow && info.Mode().Type() == fs.ModeSymlink {
		info, err = os.Stat(name)
	}
	if err != nil {
		return err
	}
	if fault := pathFault(path); fault != "" {
		return fmt.Errorf("%q: want a path in the image, found %s", path, fault)
	}
	n := &node{path: path, by: w.e.by(), from: w.e}
	switch info.Mode().Type() {
	case 0:
		f, err := w.g.disk(name)
		if err != nil {
			return err
		}
		n.kind, n.mode, n.contents, n.size = layer.TypeRegular, f.mode, f, f.size
	case fs.ModeDir:
		n.kind, n.mode, n.rank = layer.TypeDirectory, modeDirectory, rankPlain
		w.g.add(n)
		return w.directory(name, path, info)
	case fs.ModeSymlink:
		n.kind, n.mode = layer.TypeSymlink, modeSymlink
		if n.target, err = os.Readlink(name); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%s: want regular files, directories and symlinks; it is of another kind (%s)", name, info.Mode().Type())
	}
	w.g.add(n)
	return nil
}

// tempFile collects contents that can be read but once.
type tempFile struct {
	f    *os.File
	size int64
}

// keep copies r, which has size bytes, into the temporary file.
func (g *gatherer) keep(r io.Reader, size int64) (contents, error) {
	if g.temp == nil {
		f, err := g.src.tempFile()
		if err != nil {
			return nil, err
		}
		g.temp = &tempFile{f: f}
	}
	s := &section{g.temp.f, g.temp.size, size}
	n, err := io.Copy(io.NewOffsetWriter(g.temp.f, s.offset), &cancellable{g.ctx, io.LimitReader(r, size)})
	if err == nil && n < size {
		err = io.ErrUnexpectedEOF
	}
	g.temp.size += n
	return s, err
}

func (t *tempFile) close() { t.f.Close() }

// tempFile is an empty file that nobody else sees.
func (s *Sources) tempFile() (*os.File, error) {
	if s.TempFile != nil {
		return s.TempFile()
	}
	f, err := os.CreateTemp("", "strata-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
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
