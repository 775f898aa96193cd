package layer

import (
	"fmt"

	"github.com/rules-strata/rules_strata/tool/nar"
)

// selection says which entries of a store path go into the layer, under which
// path, and with which permissions.
type selection struct {
	options Options
	prefix  string // of StripPrefix, without "."
	found   bool   // the prefix is there
	skipped []byte // path of the directory being left out
	inSkip  bool
}

func newSelection(o Options) *selection {
	s := &selection{options: o, prefix: o.StripPrefix, found: o.StripPrefix == ""}
	if s.prefix == "." {
		s.prefix = ""
	}
	return s
}

// take returns e's path below the store path, or, with a prefix to strip, below the image's root.
func (s *selection) take(e *nar.Entry) (path []byte, ok bool) {
	if s.inSkip {
		if inside(e.Path, s.skipped) {
			return nil, false
		}
		s.inSkip = false
	}
	for i := range s.options.Exclude {
		if s.options.Exclude[i].Match(e.Path) {
			if e.Kind == nar.Directory {
				s.skipped, s.inSkip = append(s.skipped[:0], e.Path...), true
			}
			return nil, false
		}
	}
	if s.options.StripPrefix == "" {
		return e.Path, true
	}
	if string(e.Path) == s.prefix {
		s.found = e.Kind == nar.Directory
		return nil, false
	}
	if s.prefix == "" {
		return e.Path, s.found
	}
	if len(e.Path) <= len(s.prefix) || string(e.Path[:len(s.prefix)]) != s.prefix || e.Path[len(s.prefix)] != '/' {
		return nil, false
	}
	return e.Path[len(s.prefix)+1:], true
}

// inside reports whether path is below dir, which is empty for the root.
func inside(path, dir []byte) bool {
	return len(dir) == 0 || len(path) > len(dir) && path[len(dir)] == '/' && string(path[:len(dir)]) == string(dir)
}

// noMode is the mode of an entry that no rule is about.
const noMode = -1

// mode is what the rules say of e.
func (s *selection) mode(e *nar.Entry) int {
	if e.Kind == nar.Symlink {
		return noMode
	}
	for i := len(s.options.Modes) - 1; i >= 0; i-- {
		if m := &s.options.Modes[i]; m.Pattern.Match(e.Path) {
			return int(m.Mode)
		}
	}
	return noMode
}

// finish says what was not found.
func (s *selection) finish() error {
	if !s.found {
		return fmt.Errorf("strip prefix %q: the store path has no such directory", s.options.StripPrefix)
	}
	return nil
}
