package nar

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Writer writes one archive: [Writer.WriteEntry] for each entry in the
// archive's order, after a regular file's entry its contents by
// [Writer.Write], and [Writer.Close] at the end. What would not be a good
// archive for [Reader] is refused.
type Writer struct {
	w    *bufio.Writer
	err  error  // the first error, for good
	num  []byte // scratch for one string's head
	path []byte // of the last entry
	left int64  // bytes still to come of the current file's contents
	pad  int

	rootDone bool // the root's entry is written
	inNode   bool // a file or symlink is still open
	depth    int  // number of open directories
	dirs     [MaxDepth]dir
}

// NewWriter returns a Writer of an archive to w. The caller closes w, after Close.
func NewWriter(w io.Writer) *Writer {
	return &Writer{w: bufio.NewWriterSize(w, 64<<10), path: make([]byte, 0, MaxDepth*(MaxNameLen+1))}
}

// WriteEntry begins the next entry. Its path's parent must be a directory
// written before, with nothing behind it in the order of the archive.
func (w *Writer) WriteEntry(e *Entry) error {
	if w.err != nil || w.closeNode() != nil {
		return w.err
	}
	if err := w.writeEntry(e); err != nil {
		w.err = fmt.Errorf("nar: %q: %w", e.Path, err)
	}
	return w.err
}

func (w *Writer) writeEntry(e *Entry) error {
	switch e.Kind {
	case Regular:
		if e.Size < 0 {
			return fmt.Errorf("want a size of at least 0, got %d", e.Size)
		}
	case Directory:
	case Symlink:
		if f := targetFault(e.Target); f != "" {
			return fmt.Errorf("want a target of 1 to 4095 bytes without NUL, got %s", f)
		}
	default:
		return fmt.Errorf("want a regular file, directory or symlink, got %v", e.Kind)
	}
	if err := w.place(e.Path); err != nil {
		return err
	}
	w.strings("(", "type", e.Kind.String())
	switch e.Kind {
	case Regular:
		if e.Executable {
			w.strings("executable", "")
		}
		w.strings("contents")
		w.num = binary.LittleEndian.AppendUint64(w.num[:0], uint64(e.Size))
		w.write(w.num)
		w.left, w.pad = e.Size, padding(e.Size)
		w.inNode = true
	case Directory:
		start := len(w.path)
		if start > 0 {
			w.path = append(w.path, '/')
			start++
		}
		w.dirs[w.depth] = dir{start: start, end: start}
		w.depth++
	case Symlink:
		w.strings("target")
		w.bytes(e.Target)
		w.inNode = true
	}
	return w.err
}

// place closes the directories that path is not in, and opens its entry in the one it is in.
func (w *Writer) place(path []byte) error {
	if !w.rootDone {
		if len(path) > 0 {
			return errors.New("want the root, an empty path, first")
		}
		w.rootDone = true
		w.strings(magic)
		return nil
	}
	if len(path) == 0 {
		return errors.New("want one root only")
	}
	start := bytes.LastIndexByte(path, '/') + 1
	for w.depth > 0 && !bytes.Equal(w.path[:w.dirs[w.depth-1].start], path[:start]) {
		w.closeDir()
	}
	if w.depth == 0 {
		return errors.New("want entries in the archive's order, each behind its directory")
	}
	name := path[start:]
	if f := nameFault(name); f != "" {
		return fmt.Errorf(`want a name of 1 to 255 bytes, not ".", "..", and without NUL, got %s`, f)
	}
	d := &w.dirs[w.depth-1]
	if last := w.path[d.start:d.end]; bytes.Compare(name, last) <= 0 {
		return fmt.Errorf("want names in ascending order, each once: one behind %q", last)
	}
	if w.depth >= MaxDepth {
		return fmt.Errorf("want at most %d levels", MaxDepth)
	}
	w.path = append(w.path[:start], name...)
	d.end = len(w.path)
	w.strings("entry", "(", "name")
	w.bytes(name)
	w.strings("node")
	return nil
}

// Write adds to the contents of the current entry, a regular file. More than its size is an error.
func (w *Writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if int64(len(p)) > w.left {
		w.err = fmt.Errorf("nar: %q: contents are longer than the size that was said", w.path)
		return 0, w.err
	}
	w.write(p)
	if w.err != nil {
		return 0, w.err
	}
	w.left -= int64(len(p))
	return len(p), nil
}

// Close ends the archive and writes out what is buffered. It doesn't close the
// underlying writer.
func (w *Writer) Close() error {
	if w.err != nil {
		return w.err
	}
	if !w.rootDone {
		w.err = errors.New("nar: an archive without a root")
		return w.err
	}
	if w.closeNode() != nil {
		return w.err
	}
	for w.depth > 0 {
		w.closeDir()
	}
	if w.err == nil {
		w.err = w.w.Flush()
	}
	if w.err != nil {
		return w.err
	}
	w.err = errors.New("nar: the archive is closed")
	return nil
}

// closeNode ends a file or symlink, if one is open, and its entry.
func (w *Writer) closeNode() error {
	if !w.inNode {
		return nil
	}
	if w.left > 0 {
		w.err = fmt.Errorf("nar: %q: contents are %d bytes shorter than the size that was said", w.path, w.left)
		return w.err
	}
	w.write(zeros[:w.pad])
	w.pad, w.inNode = 0, false
	w.closeParens()
	return w.err
}

func (w *Writer) closeDir() {
	w.depth--
	w.path = w.path[:max(w.dirs[w.depth].start-1, 0)]
	w.closeParens()
}

// closeParens ends a node and, but for the root, its entry.
func (w *Writer) closeParens() {
	w.strings(")")
	if w.depth > 0 {
		w.strings(")")
	}
}

func (w *Writer) strings(all ...string) {
	for _, s := range all {
		w.num = appendString(w.num[:0], s)
		w.write(w.num)
	}
}

func (w *Writer) bytes(s []byte) {
	w.num = appendString(w.num[:0], s)
	w.write(w.num)
}

func (w *Writer) write(p []byte) {
	if w.err == nil {
		_, w.err = w.w.Write(p)
	}
}
