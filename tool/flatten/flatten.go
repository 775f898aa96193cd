package flatten

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rules-strata/rules_strata/tool/layertar"
)

// Layer opens a layer's tar, uncompressed. It is called two times, and must give the
// same bytes. Who reads closes.
type Layer func() (io.ReadCloser, error)

// Write writes the file system of the layers, lowest first, as one tar. Once
// ctx ends it fails with its cause.
func Write(ctx context.Context, w io.Writer, layers []Layer) error {
	t := newTree()
	for i, l := range layers {
		t.begin()
		if err := layertar.Each(ctx, l, func(h *tar.Header, _ io.Reader) error { return t.add(h) }); err != nil {
			return fmt.Errorf("layer %d: %w", i+1, err)
		}
	}
	if err := t.finish(); err != nil {
		return err
	}
	out := &writer{tar: tar.NewWriter(w), tree: t, buf: make([]byte, 1<<20)}
	if i := t.root.inode; i != nil {
		if err := out.directory(i, "./"); err != nil {
			return err
		}
	}
	for i, l := range layers {
		left := t.entries[i]
		err := layertar.Each(ctx, l, func(h *tar.Header, r io.Reader) error {
			if len(left) == 0 {
				return errChanged
			}
			of := left[0]
			left = left[1:]
			if of == nil {
				return nil
			}
			return out.entry(of, h, r)
		})
		if err == nil && len(left) > 0 {
			err = errChanged
		}
		if err != nil {
			return fmt.Errorf("layer %d: %w", i+1, err)
		}
	}
	return out.tar.Close()
}

var errChanged = fmt.Errorf("it has other entries than when it was read before")

// writer writes the tar.
type writer struct {
	tar  *tar.Writer
	tree *tree
	buf  []byte
}

// entry writes what is left of an entry: nothing, or the inode with all its names.
func (w *writer) entry(of *inode, h *tar.Header, r io.Reader) error {
	if of.written || len(of.names) == 0 {
		return nil
	}
	of.written = true
	first := of.names[0]
	if err := w.parents(first); err != nil {
		return err
	}
	if of.header != nil {
		return w.directory(of, first+"/")
	}
	out := clean(h)
	out.Name = first
	if err := w.writeHeader(out); err != nil {
		return err
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{w.tar}, struct{ io.Reader }{r}, w.buf); err != nil {
		return fmt.Errorf("entry %q: %w", first, err)
	}
	for _, name := range of.names[1:] {
		if err := w.parents(name); err != nil {
			return err
		}
		link := clean(h)
		link.Typeflag, link.Name, link.Linkname, link.Size = tar.TypeLink, name, first, 0
		if err := w.writeHeader(link); err != nil {
			return err
		}
	}
	return nil
}

// parents writes the directories that a name is in, as far as they aren't yet.
func (w *writer) parents(name string) error {
	n := w.tree.root
	for i, c := range name {
		if c != '/' {
			continue
		}
		start := strings.LastIndexByte(name[:i], '/') + 1
		n = n.children[name[start:i]]
		if !n.inode.written {
			n.inode.written = true
			if err := w.directory(n.inode, name[:i+1]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *writer) directory(i *inode, name string) error {
	i.written = true
	h := clean(i.header)
	h.Name = name
	return w.writeHeader(h)
}

// clean is a header without what says how it was stored.
func clean(h *tar.Header) *tar.Header {
	c := *h
	c.Format = tar.FormatUnknown
	c.AccessTime, c.ChangeTime = time.Time{}, time.Time{}
	if c.PAXRecords != nil {
		c.PAXRecords = map[string]string{}
		for k, v := range h.PAXRecords {
			if strings.HasPrefix(k, "SCHILY.xattr.") {
				c.PAXRecords[k] = v
			}
		}
	}
	if c.Typeflag == tar.TypeCont || c.Typeflag == tar.TypeGNUSparse {
		c.Typeflag = tar.TypeReg // As the reader has made it.
	}
	return &c
}

// writeHeader chooses the format: pax says all, but means UTF-8 by its names.
func (w *writer) writeHeader(h *tar.Header) error {
	switch {
	case len(h.PAXRecords) == 0 && (!utf8.ValidString(h.Name) || !utf8.ValidString(h.Linkname)):
		h.Format = tar.FormatGNU
	case h.ModTime.Nanosecond() != 0:
		h.Format = tar.FormatPAX // Or it would be rounded.
	}
	if err := w.tar.WriteHeader(h); err != nil {
		return fmt.Errorf("entry %q: %w", h.Name, err)
	}
	return nil
}

// impliedDirectory is a directory that no layer has an entry for, as runtimes make it.
func impliedDirectory() *tar.Header {
	return &tar.Header{Typeflag: tar.TypeDir, Mode: 0o755, ModTime: time.Unix(1, 0)}
}
