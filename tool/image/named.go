package image

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rules-strata/rules_strata/tool/store"
)

// storePaths are the store paths that an image holds, to be found in text.
type storePaths struct {
	dirs   []string // with a slash at the end
	byHash map[string][]store.Path
	byName map[string]store.Path
}

func newStorePaths() *storePaths {
	return &storePaths{
		dirs:   []string{"/nix/store/", "/gnu/store/"},
		byHash: map[string][]store.Path{},
		byName: map[string]store.Path{},
	}
}

func (s *storePaths) add(p store.Path) {
	if dir := p.Dir() + "/"; !slices.Contains(s.dirs, dir) {
		s.dirs = append(s.dirs, dir)
	}
	s.byHash[p.HashPart()] = append(s.byHash[p.HashPart()], p)
	if other, ok := s.byName[p.Name()]; !ok || p < other {
		s.byName[p.Name()] = p
	}
}

// has reports whether text begins with a store path of the image. Behind it may
// follow what could be part of a name, such as the full stop of a sentence.
func (s *storePaths) has(text store.Path) bool {
	for _, p := range s.byHash[text.HashPart()] {
		if strings.HasPrefix(string(text), string(p)) {
			return true
		}
	}
	return false
}

// missingIn returns the store paths that text names and the image hasn't.
func (s *storePaths) missingIn(text string) []store.Path {
	var missing []store.Path
	for _, dir := range s.dirs {
		for at := 0; ; {
			i := strings.Index(text[at:], dir)
			if i < 0 {
				break
			}
			start := at + i
			at = start + len(dir)
			end := at
			for end < len(text) && isStoreNameByte(text[end]) {
				end++
			}
			p, err := store.ParsePath(text[start:end])
			if err != nil || insidePath(text[:start]) || s.has(p) || slices.Contains(missing, p) {
				continue
			}
			missing = append(missing, p)
		}
	}
	return missing
}

// isStoreNameByte says what a store path's base name is made of (Nix manual, Store Path).
func isStoreNameByte(c byte) bool { return isAlnum(c) || strings.IndexByte("+-._?=", c) >= 0 }

// insidePath reports whether a path that follows before is the end of another:
// /mnt/nix/store/… is no store path, though file:///nix/store/… and -L/nix/store/… are.
func insidePath(before string) bool {
	i := len(before)
	for i > 0 && (isAlnum(before[i-1]) || strings.IndexByte("._-/", before[i-1]) >= 0) {
		i--
	}
	word := before[i:]
	slash := strings.IndexByte(word, '/')
	return slash >= 0 && strings.Trim(word[slash:], "/") != ""
}

// checkNamed says which store paths the settings name that the image hasn't.
func (s *storePaths) checkNamed(what *said) error {
	var faults []error
	check := func(name, text string) {
		for _, p := range s.missingIn(text) {
			hint := "put it into the image's contents"
			if other, ok := s.byName[p.Name()]; ok {
				hint = "it has " + string(other)
			}
			faults = append(faults, fmt.Errorf("%s: %q: %s is not in the image; %s", name, text, p, hint))
		}
	}
	c := &what.config
	for _, list := range []struct {
		name  string
		texts []string
	}{
		{"entrypoint", c.Entrypoint},
		{"cmd", c.Cmd},
		{"env", c.Env},
		{"env_prepend", what.envPrepend},
		{"shell", c.Shell},
		{"workdir", []string{c.WorkingDir}},
	} {
		for _, text := range list.texts {
			check(list.name, text)
		}
	}
	if c.Healthcheck != nil {
		for _, text := range c.Healthcheck.Test {
			check("healthcheck", text)
		}
	}
	for k, v := range c.Labels {
		check("labels: "+k, v)
	}
	slices.SortStableFunc(faults, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return joinFaults(faults)
}

// StorePathsIn returns the store paths that a text names, each once, in order.
func StorePathsIn(text string) []store.Path { return newStorePaths().missingIn(text) }
