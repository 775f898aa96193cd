package layer

import (
	"errors"

	"github.com/rules-strata/rules_strata/tool/nar"
	"github.com/rules-strata/rules_strata/tool/narfile"
	"github.com/rules-strata/rules_strata/tool/store"
)

// PathError is what is wrong with one store path of a layer.
type PathError struct {
	Path store.Path
	Err  error
}

// Error begins with the path.
func (e *PathError) Error() string { return string(e.Path) + ": " + e.Err.Error() }

// Unwrap returns e.Err.
func (e *PathError) Unwrap() error { return e.Err }

// damaged reports whether the bytes that were read are not those of the path's NAR, or not all of them.
func (e *PathError) damaged() bool {
	return errors.As(e.Err, new(*store.HashMismatchError)) || errors.As(e.Err, new(*narfile.DecodeError)) || errors.As(e.Err, new(*nar.FormatError))
}

// Retry calls write, which is to call [Write] for these nars with a new output, and calls it again as long as it
// fails for a damaged NAR that can be had from elsewhere.
//
// Whether a NAR is the right one is known when all of it is read, and by then it is in the layer: there is no way back but
// to begin anew. A layer is so made in one pass, with nothing stored on the way, unless a mirror has a wrong
// file, which is rare; then the good NARs are fetched again.
func Retry(nars []NAR, write func() error) error {
	for {
		err := write()
		var path *PathError
		if !errors.As(err, &path) || !path.damaged() {
			return err
		}
		if err = reject(nars, path); err != nil {
			return err
		}
	}
}

// reject returns nil if the NAR that e is about can be had from elsewhere.
func reject(nars []NAR, e *PathError) error {
	for _, n := range nars {
		if n.File.StorePath == e.Path && n.Reject != nil {
			if err := n.Reject(e.Err); err != nil {
				return &PathError{e.Path, err}
			}
			return nil
		}
	}
	return e
}
