// Package atomicfile writes files that appear whole or not at all: the bytes
// go to a file beside the one that is meant, which takes its place at the end.
// [Create] is the entry point; [WriteIfChanged] is for small files.
package atomicfile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
)

// maxName leaves room for more characters in a name of 255 bytes.
const maxName = 200

// File is a file that isn't there yet. Its mode is what the umask leaves of 0666.
type File struct {
	*os.File
	path string
	done bool
}

// Create begins the file that will be at path. If path is a symbolic link, the
// file that it leads to is meant. What exists there and is no regular file, such as a
// directory or /dev/null, is an error: it can't be replaced.
func Create(path string) (*File, error) {
	real, err := filepath.EvalSymlinks(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		real = path
	case err != nil:
		return nil, err
	}
	info, err := os.Lstat(real)
	if err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: can't be written: it exists and is no regular file", path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	// Hidden, and with the name in it so that people know what a killed process left behind.
	name := filepath.Base(real)
	name = name[:min(len(name), maxName)]
	for {
		aside := filepath.Join(filepath.Dir(real), "."+name+"."+strconv.FormatUint(uint64(rand.Uint32()), 36)+".tmp")
		f, err := os.OpenFile(aside, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return &File{File: f, path: real}, nil
	}
}

// Commit closes the file and puts it in its place. On an error nothing is left of it.
func (f *File) Commit() error { return CommitAll(f) }

// CommitAll commits files that are of no use without one another. None is put
// in its place before each is closed without an error. On an error nothing is
// left of any, not even of those that were in their places by then.
func CommitAll(files ...*File) error {
	for _, f := range files {
		if f.done {
			return os.ErrClosed
		}
	}
	var err error
	for _, f := range files {
		f.done = true
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
	}
	placed := 0
	for ; err == nil && placed < len(files); placed++ {
		f := files[placed]
		if err = os.Rename(f.Name(), f.path); err != nil {
			break
		}
	}
	if err == nil {
		return nil
	}
	for i, f := range files {
		if i < placed {
			os.Remove(f.path)
		} else {
			os.Remove(f.Name())
		}
	}
	return err
}

// Abort removes the file, unless it was committed.
func (f *File) Abort() {
	if f.done {
		return
	}
	f.done = true
	f.Close()
	os.Remove(f.Name())
}

// WriteIfChanged makes b the contents of the file at path, and reports whether
// they were other ones. A file that holds b already isn't touched.
func WriteIfChanged(path string, b []byte) (changed bool, err error) {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, b) {
		return false, nil
	}
	f, err := Create(path)
	if err != nil {
		return false, err
	}
	defer f.Abort()
	if _, err := f.Write(b); err != nil {
		return false, err
	}
	return true, f.Commit()
}
