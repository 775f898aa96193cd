package base

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Bounds of what is read.
const (
	maxDocument = 4 << 20   // bytes of a manifest, a config, an index
	maxFiles    = 1 << 16   // files in an archive
	maxLinks    = 16        // links from one to the next in an archive
	maxWindow   = 128 << 20 // bytes of zstd's window, as for layers
)

// source is a directory or a tar with the files of an image.
type source interface {
	// open opens a regular file by its slash-joined name and returns its size;
	// [fs.ErrNotExist] if it is not there.
	open(name string) (io.ReadCloser, int64, error)
	// path is the file on the disk that holds it alone; "" if it is inside of another.
	path(name string) string
	io.Closer
}

// openSource opens a directory, the index.json in one, or a tar.
func openSource(name string) (source, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	switch {
	case info.IsDir():
		return directory(name), nil
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("want a directory or a file, found %s", info.Mode().Type())
	case filepath.Base(name) == "index.json":
		return directory(filepath.Dir(name)), nil
	}
	return openArchive(name)
}

type directory string

func (d directory) path(name string) string {
	return filepath.Join(string(d), filepath.FromSlash(name))
}

func (d directory) open(name string) (io.ReadCloser, int64, error) {
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return nil, 0, fmt.Errorf("%q leads out of the directory", name)
	}
	at := d.path(name)
	// Looked at before it is opened, since opening a pipe would wait. Links are
	// followed: Bazel's layouts and inputs have them, and what is read is checked by its digest.
	info, err := os.Stat(at)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s: want a file, found %s", at, info.Mode().Type())
	}
	f, err := os.Open(at)
	return f, info.Size(), err
}

func (directory) Close() error { return nil }

// archive is a tar, read where it stands.
type archive struct {
	*os.File
	temporary bool
	files     map[string]section
	links     map[string]string // to what name
}

type section struct{ offset, size int64 }

func openArchive(name string) (_ *archive, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	a := &archive{File: f, files: map[string]section{}, links: map[string]string{}}
	defer func() {
		if err != nil {
			a.Close()
		}
	}()
	head := make([]byte, 4)
	n, err := io.ReadFull(f, head)
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	if compression := sniff(head[:n]); compression != compressionNone {
		if err := a.unpack(compression); err != nil {
			return nil, fmt.Errorf("%s: %w", compression, err)
		}
	}
	if err := a.index(); err != nil {
		return nil, err
	}
	return a, nil
}

// unpack puts a temporary file with the tar in the place of the compressed one: its
// files are to be read in another order than they come.
func (a *archive) unpack(compression string) error {
	r, err := decompress(a.File, compression)
	if err != nil {
		return err
	}
	defer r.Close()
	out, err := os.CreateTemp("", "strata-base-*.tar")
	if err != nil {
		return err
	}
	defer a.File.Close() // The compressed one, as it is still.
	a.File, a.temporary = out, true
	if _, err := io.CopyBuffer(out, struct{ io.Reader }{r}, make([]byte, bufferSize)); err != nil {
		return err
	}
	_, err = out.Seek(0, io.SeekStart)
	return err
}

// index finds the files. The tar reader seeks over contents and keeps no buffer,
// so the file stands at an entry's contents after Next.
func (a *archive) index() error {
	tr := tar.NewReader(a.File)
	for n := 0; ; n++ {
		h, err := tr.Next()
		switch {
		case err == io.EOF && n == 0, err != nil && n == 0:
			return fmt.Errorf("want a directory or a tar: %w", noEOF(err))
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("after %d entries: %w", n, noEOF(err))
		case n == maxFiles:
			return fmt.Errorf("more than %d entries", maxFiles)
		}
		name := path.Clean(strings.TrimLeft(h.Name, "/"))
		if !filepath.IsLocal(name) {
			return fmt.Errorf("entry %q leads out of the archive", h.Name)
		}
		if _, twice := a.files[name]; twice {
			return fmt.Errorf("%s is there twice", h.Name)
		}
		switch h.Typeflag {
		case tar.TypeReg:
			at, err := a.Seek(0, io.SeekCurrent)
			if err != nil {
				return err
			}
			a.files[name] = section{at, h.Size}
		case tar.TypeSymlink: // docker save links layers that are the same.
			a.links[name] = path.Join(path.Dir(name), h.Linkname)
		case tar.TypeLink:
			a.links[name] = path.Clean(h.Linkname)
		}
	}
}

func (a *archive) open(name string) (io.ReadCloser, int64, error) {
	at := path.Clean(name)
	for range maxLinks {
		if s, ok := a.files[at]; ok {
			return io.NopCloser(io.NewSectionReader(a.File, s.offset, s.size)), s.size, nil
		}
		to, ok := a.links[at]
		if !ok {
			return nil, 0, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		at = to
	}
	return nil, 0, fmt.Errorf("%s: the link leads through more than %d others, or in a circle", name, maxLinks)
}

func (*archive) path(string) string { return "" }

func (a *archive) Close() error {
	err := a.File.Close()
	if a.temporary {
		err = errors.Join(err, os.Remove(a.Name()))
	}
	return err
}

// noEOF makes an end that comes too early an error that says so.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// How a tar may be compressed.
const (
	compressionNone = "none"
	compressionGzip = "gzip"
	compressionZstd = "zstd"
)

// sniff tells a compression by the first bytes.
func sniff(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return compressionGzip
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return compressionZstd
	}
	return compressionNone
}

// decompress returns r without its compression. Closing it doesn't close r.
func decompress(r io.Reader, compression string) (io.ReadCloser, error) {
	switch compression {
	case compressionGzip:
		return gzip.NewReader(r)
	case compressionZstd:
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	}
	return io.NopCloser(r), nil
}

// bufferSize is one read of a layer.
const bufferSize = 256 << 10
