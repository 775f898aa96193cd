package filelayer

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/rules-strata/rules_strata/tool/layer"
)

// maxWindow bounds what decompressing zstd takes, in bytes: the window of zstd --long.
const maxWindow = 128 << 20

var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

// compressionOf says how a file that begins with head is compressed.
func compressionOf(head []byte) string {
	switch {
	case bytes.HasPrefix(head, gzipMagic):
		return layer.Gzip
	case bytes.HasPrefix(head, zstdMagic):
		return layer.Zstd
	}
	return layer.None
}

// decompress returns what r holds. To close it lets go of memory.
func decompress(r io.Reader, compression string) (io.ReadCloser, error) {
	switch compression {
	case layer.Gzip:
		return gzip.NewReader(r)
	case layer.Zstd:
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return io.NopCloser(r), nil
}

// tar adds what is in the tar on disk that e names: plain, where its contents are read when they are written, or
// compressed, where they are put into a temporary file.
func (g *gatherer) tar(e *Entry) error {
	name := g.name(e.From)
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	g.open = append(g.open, f)
	var head [headSize]byte
	n, err := f.ReadAt(head[:], 0)
	if err != nil && err != io.EOF {
		return err
	}
	if n == 0 {
		return fmt.Errorf("%s: an empty file is no tar", name)
	}
	t := &tarReader{g: g, e: e, files: map[string]*node{}}
	if compression := compressionOf(head[:n]); compression != layer.None {
		in, err := decompress(bufio.NewReaderSize(&cancellable{g.ctx, f}, 64<<10), compression)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", name, compression, err)
		}
		defer in.Close()
		t.in = in
		t.contents = func(h *tar.Header, r io.Reader) (contents, error) { return g.keep(r, h.Size) }
	} else {
		t.in = f
		t.contents = func(h *tar.Header, _ io.Reader) (contents, error) {
			at, err := f.Seek(0, io.SeekCurrent) // The tar reader reads headers, nothing ahead of them.
			return &section{f, at, h.Size}, err
		}
	}
	err = t.read()
	if err == nil && t.in == f {
		err = checkEnd(f, info.Size())
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// checkEnd finds a plain tar that was cut off between two entries, which reads like a whole one. (What is compressed has
// an end of its own.)
func checkEnd(f *os.File, size int64) error {
	var end [endSize]byte
	if _, err := f.ReadAt(end[:], max(0, size-endSize)); err != nil && err != io.EOF {
		return err
	}
	if end != [endSize]byte{} {
		return errNoEnd
	}
	return nil
}

// tarReader makes nodes of a tar's entries.
type tarReader struct {
	g  *gatherer
	e  *Entry
	in io.Reader
	// contents returns those of the entry that was read last.
	contents func(h *tar.Header, r io.Reader) (contents, error)
	files    map[string]*node // by name in the tar: what hard links may name
}

func (t *tarReader) read() error {
	r := tar.NewReader(t.in)
	for {
		if t.g.ctx.Err() != nil {
			return context.Cause(t.g.ctx)
		}
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if err := t.entry(h, r); err != nil {
			return fmt.Errorf("entry %.200q: %w", h.Name, err)
		}
		if err := t.g.tooMany(); err != nil {
			return err
		}
	}
	// Behind the tar's end a compressed file has its checksum.
	_, err := io.Copy(io.Discard, t.in)
	return err
}

// entry adds one.
func (t *tarReader) entry(h *tar.Header, r io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil // A comment, as git archive writes it.
	}
	name, err := tarName(h.Name)
	if err != nil {
		return err
	}
	n := &node{path: joinPath(t.e.Path, name), mode: uint16(h.Mode & 0o7777), rank: rankTar, by: t.e.by(), from: t.e}
	if err := n.setHeader(h); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeCont:
		n.kind, n.size = layer.TypeRegular, h.Size
		if err := refuseSparse(h); err != nil {
			return err
		}
		if n.contents, err = t.contents(h, r); err != nil {
			return err
		}
		t.files[name] = n
	case tar.TypeGNUSparse:
		return refuseSparse(h)
	case tar.TypeLink:
		target, err := tarName(h.Linkname)
		if err != nil {
			return fmt.Errorf("hard link: %w", err)
		}
		of := t.files[target]
		if of == nil {
			return fmt.Errorf("hard link to %.200q: there is no such file before it", h.Linkname)
		}
		of.shared = true
		link := *of
		link.path = n.path
		n = &link
		t.files[name] = n
	case tar.TypeSymlink:
		n.kind, n.mode, n.target = layer.TypeSymlink, modeSymlink, h.Linkname
		if err := CheckTarget(h.Linkname); err != nil {
			return err
		}
		t.files[name] = n
	case tar.TypeDir:
		n.kind = layer.TypeDirectory
		if name == "" {
			return nil // The root is there in every image.
		}
	case tar.TypeChar, tar.TypeBlock:
		n.kind = layer.Type(h.Typeflag)
		if h.Devmajor < 0 || h.Devminor < 0 || h.Devmajor >= 1<<21 || h.Devminor >= 1<<21 {
			return fmt.Errorf("device %d,%d: want numbers from 0 to 2^21-1", h.Devmajor, h.Devminor)
		}
		n.major, n.minor = uint32(h.Devmajor), uint32(h.Devminor)
	case tar.TypeFifo:
		n.kind = layer.TypeFIFO
	default:
		return fmt.Errorf("type %q is none that a layer can have", h.Typeflag)
	}
	if name == "" {
		return fmt.Errorf("the root as %s", n.what())
	}
	if fault := pathFault(n.path); fault != "" {
		return fmt.Errorf("want a path in the image, found %s", fault)
	}
	t.g.add(n)
	return nil
}

// paxXattr is what the names of extended attributes have before them in a tar.
const paxXattr = "SCHILY.xattr."

// setHeader takes owner and extended attributes.
func (n *node) setHeader(h *tar.Header) error {
	const maxID = 1<<32 - 1
	if h.Uid < 0 || h.Gid < 0 || int64(h.Uid) > maxID || int64(h.Gid) > maxID {
		return fmt.Errorf("owner %d:%d: want numbers below 2^32", h.Uid, h.Gid)
	}
	n.owner = &layer.Owner{UID: uint32(h.Uid), GID: uint32(h.Gid)}
	if err := setOwnerNames(n.owner, h.Uname+":"+h.Gname); err != nil {
		n.owner.UserName, n.owner.GroupName = "", "" // The numbers are what counts.
	}
	for key, value := range h.PAXRecords {
		name, ok := strings.CutPrefix(key, paxXattr)
		if !ok || isOverlayNote(name) { // Notes are of the machine where the tar was made.
			continue
		}
		if name == "" || len(name) > maxName || len(value) > maxXattr {
			return fmt.Errorf("extended attribute %.200q of %d bytes: want a name of at most %d bytes, and %d bytes", name, len(value), maxName, maxXattr)
		}
		n.setXattr(layer.Xattr{Name: name, Value: value})
	}
	return nil
}

// refuseSparse: holes would have to be written out, and a header alone can promise any number of them.
func refuseSparse(h *tar.Header) error {
	sparse := h.Typeflag == tar.TypeGNUSparse
	for key := range h.PAXRecords {
		sparse = sparse || strings.HasPrefix(key, "GNU.sparse.")
	}
	if sparse {
		return errors.New("a sparse file; make the tar without --sparse")
	}
	return nil
}

// tarName is an entry's name as a clean path: a leading slash or "./" and double slashes are what many write; ".." leads out.
func tarName(name string) (string, error) {
	var parts []string
	for c := range strings.SplitSeq(name, "/") {
		switch c {
		case "", ".":
		case "..":
			return "", errors.New(`the component ".." leads out of the image`)
		default:
			parts = append(parts, c)
		}
	}
	return strings.Join(parts, "/"), nil
}
