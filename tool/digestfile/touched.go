package digestfile

import (
	"archive/tar"
	"bytes"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/rules-strata/rules_strata/tool/store"
	"github.com/rules-strata/rules_strata/tool/strictjson"
)

// Touched is a store path that a layer has something of, or removes, though it wasn't made of its NAR: what a file, a tar or a
// command put there. An image whose other layers hold the store path would have it otherwise than they were checked to.
type Touched struct {
	// Path is the store path, or a whole store directory ("/nix/store") that is removed or replaced.
	Path string `json:"path"`
	// Entry is one of the entries that do it, as the layer's tar names it, of a long name its beginning: a file or link rather than a
	// directory, and that rather than a whiteout; of several the first.
	Entry string `json:"entry"`
	// Hides says that nothing but what lower layers have there is hidden: all entries are whiteouts.
	Hides bool `json:"hides,omitempty"`
}

// Bounds of what is noted of one layer.
const (
	maxTouched      = 100_000
	maxTouchedBytes = 16 << 20 // of all names
	maxTouchedEntry = 256      // bytes of an entry's name
)

// storeDirs are the directories of the stores of Nix and Guix. Of others the store paths are known by their
// names; not, what happens to the directories above them.
var storeDirs = []string{"nix/store", "gnu/store"}

// Survey finds in the entries of a layer that isn't made of NARs what an image must know of it: who is in its lists of
// names, and which store paths it reaches into. The zero value has seen none.
type Survey struct {
	Accounts
	touched map[string]rankedTouched
	bytes   int
}

// rankedTouched is what is known of a store path so far; of entries of a higher rank the first is told.
type rankedTouched struct {
	Touched
	rank int
}

// The ranks of entries.
const (
	rankHides = iota
	rankDirectory
	rankOther
)

// Wants reports whether an entry of this name is worth a call of Touch and Entry: most are not, and this costs nothing.
func (s *Survey) Wants(name []byte) bool {
	switch string(name) {
	case listDir, passwdFile, groupFile, "nix", "gnu", "nix/store", "gnu/store":
		return true
	}
	for rest := name; len(rest) > 0; {
		var c []byte
		c, rest, _ = bytes.Cut(rest, []byte{'/'})
		if len(c) > store.HashPartLen && c[store.HashPartLen] == '-' || bytes.HasPrefix(c, []byte(whiteoutPrefix)) {
			return true
		}
	}
	return false
}

// Touch takes an entry, as [Accounts.Entry] does. It fails when there are more store paths than can be noted, and on a whiteout of
// what is no name.
func (s *Survey) Touch(name string, typeflag byte) error { return s.TouchAt(name, name, typeflag) }

// TouchAt does it for an entry that concerns another place than it is named for, as a hard link does.
func (s *Survey) TouchAt(name, at string, typeflag byte) error {
	target, opaque, hides := removal(at)
	if !hides {
		target = at
	} else if _, last := path.Split(target); !opaque && (last == "" || last == "." || last == "..") {
		return fmt.Errorf("a whiteout of %q: want the name of something in the directory", last)
	}
	// What begins at a slash, and has the form of a store path's last component.
	for start := 0; start < len(target); {
		end := len(target)
		if i := strings.IndexByte(target[start:], '/'); i >= 0 {
			end = start + i
		}
		if end-start > store.HashPartLen && target[start+store.HashPartLen] == '-' && start > 0 {
			if p, err := store.ParsePath("/" + target[:end]); err == nil {
				rank := rankOther
				if hides {
					rank = rankHides
				} else if typeflag == tar.TypeDir {
					rank = rankDirectory
				}
				return s.note(Touched{string(p), name, hides}, rank)
			}
		}
		start = end + 1
	}
	if !hides && (typeflag == tar.TypeDir || target == "") {
		return nil
	}
	for _, d := range storeDirs {
		if target == d || target == "" && opaque || target != "" && strings.HasPrefix(d, target+"/") {
			if err := s.note(Touched{"/" + d, name, true}, rankHides); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Survey) note(t Touched, rank int) error {
	if old, ok := s.touched[t.Path]; ok && old.rank >= rank {
		return nil
	}
	if len(t.Entry) > maxTouchedEntry {
		t.Entry = t.Entry[:maxTouchedEntry] + "…"
	}
	t.Entry = strings.ToValidUTF8(t.Entry, "\uFFFD")
	s.bytes += len(t.Path) + len(t.Entry)
	if _, again := s.touched[t.Path]; !again && len(s.touched) >= maxTouched || s.bytes > maxTouchedBytes {
		return fmt.Errorf("it reaches into more than %d store paths: make it several layers, or layers of NARs", maxTouched)
	}
	if s.touched == nil {
		s.touched = map[string]rankedTouched{}
	}
	s.touched[t.Path] = rankedTouched{t, rank}
	return nil
}

// Report says in f what was found.
func (s *Survey) Report(f *File) {
	f.Users, f.Groups = s.Lists()
	f.Touched = nil
	for _, p := range slices.Sorted(maps.Keys(s.touched)) {
		f.Touched = append(f.Touched, s.touched[p].Touched)
	}
}

// parseTouched takes a store path or a store directory.
func parseTouched(s string) (string, error) {
	if _, err := store.ParsePath(s); err == nil {
		return s, nil
	}
	return s, store.CheckDir(s)
}

func (f *File) readTouched(v *strictjson.Value) error {
	return v.Each(func(v *strictjson.Value) error {
		var t Touched
		if err := v.Fields(
			strictjson.Field{Name: "path", Read: strictjson.Parsed(&t.Path, parseTouched)},
			strictjson.Field{Name: "entry", Read: strictjson.StringInto(&t.Entry)},
			strictjson.Field{Name: "hides", Optional: true, Read: func(v *strictjson.Value) (err error) { t.Hides, err = v.Bool(); return err }},
		); err != nil {
			return err
		}
		switch n := len(f.Touched); {
		case n > 0 && t.Path <= f.Touched[n-1].Path:
			return v.Errorf("%s: want the paths sorted, each once", t.Path)
		case n == maxTouched:
			return v.Errorf("over %d store paths", maxTouched)
		}
		f.Touched = append(f.Touched, t)
		return nil
	})
}
