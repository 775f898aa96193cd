package narsource

import (
	"os"
	"path/filepath"
)

// TempFiles makes temporary files where the output will be: there is the room
// for a layer, and an action may write. They have no name, so nothing is left of them however
// the program ends.
func TempFiles(output string) func() (*os.File, error) {
	return func() (*os.File, error) {
		f, err := os.CreateTemp(filepath.Dir(output), ".strata-*")
		if err != nil {
			return nil, err
		}
		if err := os.Remove(f.Name()); err != nil { // A system that keeps open files does without.
			f.Close()
			os.Remove(f.Name())
			return nil, err
		}
		return f, nil
	}
}
