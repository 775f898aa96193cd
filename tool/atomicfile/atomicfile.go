// Package atomicfile writes files that appear whole or not at all: the bytes
// go to a file beside the one that is meant, which takes its place at the end.
// [Create] is the entry point; [WriteIfChanged] is for small files.
package atomicfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"unicode/utf8"
)

// maxName leaves room for more characters in a name of 255 bytes.
const maxName = 200

// File is a file that isn't there yet. Its mode is what the umask leaves of 0666.
type File struct {
	*os.File
	path string // its place, no link
	said string // as Create was told
	done bool
}

// Create begins the file that will be at path. If path is a symbolic link, the
// file that it leads to is meant. What exists there and is no regular file, such as a
// directory or /dev/null, is an error: it can't be replaced.
func Create(path string) (*File, error) {
	real, err := place(path)
	if err != nil {
		return nil, err
	}
	f, err := createBeside(real)
	if err != nil {
		return nil, err
	}
	return &File{File: f, path: real, said: path}, nil
}

// place is where the file will be that is to be at path: no link, and nothing there or a regular file.
func place(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		real = path
	case err != nil:
		return "", err
	}
	info, err := os.Lstat(real)
	if err == nil && !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s: can't be written: it exists and is no regular file", path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return real, nil
}

// createBeside makes a file in the folder of path, under a name that is free.
func createBeside(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(besideName(path), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
}

// besideName makes up a name in the folder of path. It is hidden, and has path's
// name in it so that people know what a killed process left behind.
func besideName(path string) string {
	name := filepath.Base(path)
	if len(name) > maxName {
		n := maxName
		for n > maxName-utf8.UTFMax && !utf8.RuneStart(name[n]) { // Some file systems take no half of a character.
			n--
		}
		name = name[:n]
	}
	return filepath.Join(filepath.Dir(path), "."+name+"."+strconv.FormatUint(uint64(rand.Uint32()), 36)+".tmp")
}

// Commit closes the file and puts it in its place. On an error nothing is left of it.
func (f *File) Commit() error { return CommitAll(f) }

// CommitAs is Commit for a file whose name was not known when it was created,
// since it follows from the bytes: it will be at path, on the same file system. Links and
// what exists there are dealt with as [Create] does.
func (f *File) CommitAs(path string) error {
	real, err := place(path)
	if err != nil {
		f.Abort()
		return err
	}
	f.path, f.said = real, path
	return f.Commit()
}

// CommitAll commits files that are of no use without one another. None is put
// in its place before each is closed without an error. On an error nothing is
// left of any, and what was in their places is there again. Two files with one
// place, by whatever names they were created, are an error.
func CommitAll(files ...*File) error {
	for _, f := range files {
		if f.done {
			return os.ErrClosed
		}
	}
	err := checkDistinct(files)
	for _, f := range files {
		f.done = true
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
	}
	var done []placed
	for i, f := range files {
		if err == nil {
			var p placed
			// Once the last file is in its place, all is well: what was there need not be kept.
			if p, err = f.place(i < len(files)-1); err == nil {
				done = append(done, p)
				continue
			}
		}
		os.Remove(f.Name())
	}
	for _, p := range done {
		if err != nil {
			p.undo()
		}
		p.forget()
	}
	return err
}

// checkDistinct refuses two files that would take the same place.
func checkDistinct(files []*File) error {
	for i, f := range files {
		for _, g := range files[:i] {
			if filepath.Base(f.path) != filepath.Base(g.path) {
				continue
			}
			a, err := os.Stat(filepath.Dir(f.path))
			if err != nil {
				return err
			}
			b, err := os.Stat(filepath.Dir(g.path))
			if err != nil {
				return err
			}
			if os.SameFile(a, b) {
				return fmt.Errorf("%s and %s are the same file: two outputs can't be written to it", g.said, f.said)
			}
		}
	}
	return nil
}

// placed is a file in its place.
type placed struct {
	path string
	kept string // where what was there before is; "": there was nothing
}

// place renames the file to its place; what is there is kept if wanted.
func (f *File) place(keep bool) (p placed, err error) {
	p.path = f.path
	if info, err := os.Lstat(f.path); keep && err == nil && info.Mode().IsRegular() {
		kept := besideName(f.path)
		if os.Link(f.path, kept) != nil { // There are file systems without links.
			if err := os.Rename(f.path, kept); err != nil {
				return p, err
			}
		}
		p.kept = kept
	}
	if err = os.Rename(f.Name(), f.path); err != nil && p.kept != "" {
		p.undo()
		p.forget()
	}
	return p, err
}

// undo brings back what was there before.
func (p placed) undo() {
	if p.kept == "" {
		os.Remove(p.path)
		return
	}
	os.Rename(p.kept, p.path)
}

// forget removes what was kept. (Where it was brought back it is there no more, or, as
// a second link to the same file, still: renaming one link to another does nothing.)
func (p placed) forget() {
	if p.kept != "" {
		os.Remove(p.kept)
	}
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
	if holds(path, b) {
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

// holds reports whether the file at path is a regular one and holds b. Of a
// file of another size, or of a device without an end, it reads nothing.
func holds(path string, b []byte) bool {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() != int64(len(b)) {
		return false // Whether it can be replaced is Create's to say.
	}
	f, err := os.Open(path)
	if err != nil {
		return false // Perhaps it may be replaced, though not read.
	}
	defer f.Close()
	old, err := io.ReadAll(io.LimitReader(f, int64(len(b))+1))
	return err == nil && bytes.Equal(old, b)
}
