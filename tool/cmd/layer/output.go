package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// output is a file that appears under its name when it is whole, or not at
// all: it is written beside its place and renamed.
type output struct {
	*os.File
	path string // its place; the file's name is the temporary one
	done bool
}

// createOutput opens a new file ".<name>.tmp-<random>" beside path, with the
// permissions that the umask leaves (os.CreateTemp's are for the owner alone).
func createOutput(path string) (*output, error) {
	dir, name := filepath.Split(path)
	const room = 200 // for the name, so that ours isn't over 255 bytes
	if len(name) > room {
		name = name[:room]
	}
	for {
		f, err := os.OpenFile(fmt.Sprintf("%s.%s.tmp-%016x", dir, name, rand.Uint64()), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("output %s: %w", path, err)
		}
		return &output{File: f, path: path}, nil
	}
}

// discard removes the file, unless it was committed.
func (o *output) discard() {
	if !o.done {
		o.done = true
		o.Close()
		os.Remove(o.Name())
	}
}

// commit puts all outputs in their places. It renames none before each is
// closed without an error, and leaves none if one can't be renamed.
func commit(outputs ...*output) error {
	for _, o := range outputs {
		if err := o.Close(); err != nil {
			return fmt.Errorf("output %s: %w", o.path, err)
		}
	}
	for i, o := range outputs {
		if err := os.Rename(o.Name(), o.path); err != nil {
			for _, earlier := range outputs[:i] {
				os.Remove(earlier.path)
			}
			return fmt.Errorf("output %s: %w", o.path, err)
		}
		o.done = true
	}
	return nil
}
