package main

import (
	"os"

	"github.com/rules-strata/rules_strata/tool/atomicfile"
)

// outputs are files that appear together at the end, or not at all.
type outputs struct {
	files []*atomicfile.File
	paths []string
}

// create begins the file that will be at path.
func (o *outputs) create(path string) (*atomicfile.File, error) {
	f, err := atomicfile.Create(path)
	if err != nil {
		return nil, err
	}
	o.files, o.paths = append(o.files, f), append(o.paths, path)
	return f, nil
}

// commit puts the files into their places. When that fails for one, those that
// it had put there are removed: a config without its manifest is of no use.
func (o *outputs) commit() error {
	for i, f := range o.files {
		if err := f.Commit(); err != nil {
			for _, path := range o.paths[:i] {
				os.Remove(path)
			}
			return err
		}
	}
	return nil
}

// discard removes what was not committed.
func (o *outputs) discard() {
	for _, f := range o.files {
		f.Abort()
	}
}
