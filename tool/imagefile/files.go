package imagefile

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// files is where the parts of an image are, by names joined with slashes.
type files interface {
	// open opens a regular file and tells its size.
	open(name string) (io.ReadSeekCloser, int64, error)
	has(name string) bool
	// path is the file on the disk that holds this one and nothing else; "" if there is none.
	path(name string) string
	close() error
}

// dirFiles is a directory. Links in it are followed: that is how a layout shares
// its blobs with who made them.
type dirFiles string

func (d dirFiles) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(string(d), filepath.FromSlash(name))
}

func (d dirFiles) has(name string) bool {
	_, err := os.Stat(d.path(name))
	return err == nil
}

func (d dirFiles) open(name string) (io.ReadSeekCloser, int64, error) {
	at := d.path(name)
	// Before it is opened: opening a pipe would wait for ever.
	info, err := os.Stat(at)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s: want a file, found %s", at, info.Mode().Type())
	}
	in, err := os.Open(at)
	return in, info.Size(), err
}

func (dirFiles) close() error { return nil }

// Limits of an archive.
const (
	maxEntries = 1 << 16 // an image of 125 layers has 131
	maxLinks   = 8       // one after the other
)

// tarFiles is the entries of a tar, each of which can be read on its own.
type tarFiles struct {
	in    *os.File
	spans map[string]span
	links map[string]string
	twice map[string]bool
}

type span struct{ at, size int64 }

// openTar lists the entries of the tar in, which it closes in the end.
func openTar(in *os.File) (*tarFiles, error) {
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	t := &tarFiles{in: in, spans: map[string]span{}, links: map[string]string{}, twice: map[string]bool{}}
	info, err := in.Stat()
	if err != nil {
		return nil, err
	}
	// The tar reader seeks over contents and reads headers without a buffer of
	// its own, so the file stands at an entry's contents after Next.
	tr := tar.NewReader(in)
	for n := 0; ; n++ {
		h, err := tr.Next()
		if err == io.EOF {
			return t, nil
		}
		if err != nil {
			if n == 0 {
				return nil, fmt.Errorf("neither a directory, a tar nor JSON: %w", err)
			}
			return nil, fmt.Errorf("after %d entries: %w", n, err)
		}
		if n == maxEntries {
			return nil, fmt.Errorf("more than %d entries", maxEntries)
		}
		name, err := entryName(h.Name)
		if err != nil {
			return nil, err
		}
		at, err := in.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		_, file := t.spans[name]
		_, link := t.links[name]
		if file || link {
			t.twice[name] = true
		}
		switch h.Typeflag {
		case tar.TypeReg:
			if h.Size > info.Size()-at {
				return nil, fmt.Errorf("%s: the archive ends within it: want %d bytes, there are %d", name, h.Size, info.Size()-at)
			}
			delete(t.links, name)
			t.spans[name] = span{at, h.Size}
		case tar.TypeSymlink:
			// docker save once wrote equal layers as links to the first of them.
			to, err := entryName(path.Join(path.Dir(name), h.Linkname))
			if err != nil || path.IsAbs(h.Linkname) {
				return nil, fmt.Errorf("%s: it is a link to %q, out of the archive", name, h.Linkname)
			}
			delete(t.spans, name)
			t.links[name] = to
		case tar.TypeLink:
			to, err := entryName(h.Linkname)
			if err != nil {
				return nil, fmt.Errorf("%s: it is a link to %q, out of the archive", name, h.Linkname)
			}
			delete(t.spans, name)
			t.links[name] = to
		}
	}
}

// entryName is an entry's name as documents name it: without "./" or a slash at the end.
func entryName(s string) (string, error) {
	clean := path.Clean(s)
	if path.IsAbs(s) || clean == ".." || strings.HasPrefix(clean, "../") || strings.IndexByte(s, 0) >= 0 {
		return "", fmt.Errorf("entry %q leads out of the archive", s)
	}
	return clean, nil
}

// find follows links to the file that name stands for.
func (t *tarFiles) find(name string) (span, error) {
	at := path.Clean(name)
	for range maxLinks + 1 {
		if s, ok := t.spans[at]; ok {
			if t.twice[at] && path.Ext(at) == ".json" {
				return span{}, fmt.Errorf("%s is in the archive twice", at)
			}
			return s, nil
		}
		to, ok := t.links[at]
		if !ok {
			return span{}, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		at = to
	}
	return span{}, fmt.Errorf("%s: a loop of links, or more than %d of them", name, maxLinks)
}

func (t *tarFiles) has(name string) bool {
	_, err := t.find(name)
	return !errors.Is(err, fs.ErrNotExist)
}

func (t *tarFiles) open(name string) (io.ReadSeekCloser, int64, error) {
	s, err := t.find(name)
	if err != nil {
		return nil, 0, err
	}
	return section{io.NewSectionReader(t.in, s.at, s.size)}, s.size, nil
}

// section is an entry of a tar, which stays open.
type section struct{ *io.SectionReader }

func (section) Close() error { return nil }

func (*tarFiles) path(string) string { return "" }

func (t *tarFiles) close() error { return t.in.Close() }
