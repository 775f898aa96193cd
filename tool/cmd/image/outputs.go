package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// outputs are files that are written beside their places and appear there
// together at the end, or not at all.
type outputs struct{ files []*output }

type output struct {
	path string
	*os.File
}

// create opens a file beside path. Its mode is what the umask leaves.
func (o *outputs) create(path string) (*os.File, error) {
	for {
		aside := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.%08x", filepath.Base(path), rand.Uint32()))
		f, err := os.OpenFile(aside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		o.files = append(o.files, &output{path, f})
		return f, nil
	}
}

// commit closes the files and puts them into their places. When that fails for
// one, those that it had put there are removed again.
func (o *outputs) commit() error {
	for _, f := range o.files {
		if err := f.Close(); err != nil {
			return err
		}
	}
	for i, f := range o.files {
		if err := os.Rename(f.Name(), f.path); err != nil {
			for _, done := range o.files[:i] {
				os.Remove(done.path)
			}
			return err
		}
	}
	o.files = nil
	return nil
}

// discard removes what was not committed.
func (o *outputs) discard() {
	for _, f := range o.files {
		f.Close() // Again, after a failed commit: that error says nothing new.
		os.Remove(f.Name())
	}
}
