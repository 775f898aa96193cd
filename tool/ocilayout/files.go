package ocilayout

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// maxEntries bounds how many entries of a tar are looked at: an image of 125 layers has 135.
const maxEntries = 1 << 16

// directory is a layout in a directory. Blobs that are links, as Bazel's layouts have them, are as good as files.
type directory string

func (d directory) openAt(name string, offset int64) (io.ReadCloser, int64, error) {
	name = filepath.Join(string(d), filepath.FromSlash(name))
	// Looked at before it is opened: opening a pipe would wait for a writer.
	info, err := os.Stat(name)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s is no regular file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	if _, err := f.Seek(min(offset, info.Size()), io.SeekStart); err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

func (directory) Close() error { return nil }

// archive is a layout in a tar.
type archive struct {
	*os.File
	entries map[string]entry
}

// entry is where an entry's contents are in the tar.
type entry struct{ offset, size int64 }

func openArchive(name string) (_ *archive, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, bare(err)
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	a := &archive{f, map[string]entry{}}
	// The tar reader seeks over contents and reads headers without a buffer of
	// its own, so the file stands at an entry's contents after Next.
	tr := tar.NewReader(f)
	for n := 0; ; n++ {
		h, err := tr.Next()
		switch {
		case err == io.EOF:
			return a, nil
		case err != nil && n == 0:
			return nil, fmt.Errorf("neither a directory nor a tar (a compressed tar must be unpacked first): %w", err)
		case err != nil:
			return nil, fmt.Errorf("tar: after %d entries: %w", n, err)
		case n == maxEntries:
			return nil, fmt.Errorf("tar: more than %d entries", maxEntries)
		case h.Typeflag != tar.TypeReg:
			continue
		}
		at, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		name := path.Clean(h.Name)
		if _, twice := a.entries[name]; twice {
			return nil, fmt.Errorf("tar: %s is there twice", h.Name)
		}
		a.entries[name] = entry{at, h.Size}
	}
}

func (a *archive) openAt(name string, offset int64) (io.ReadCloser, int64, error) {
	e, ok := a.entries[name]
	if !ok {
		return nil, 0, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	offset = min(offset, e.size)
	return io.NopCloser(io.NewSectionReader(a.File, e.offset+offset, e.size-offset)), e.size, nil
}
