package filelayer

import (
	"fmt"
	"strings"
)

// symlinks are those of a tar as far as it was read. Clients unpack an entry below one where that leads, as long as no
// directory of its name has come in its place.
type symlinks struct {
	targets map[string]string // by clean name
	bytes   int               // of all names and targets
}

// see takes an entry: it replaces what had its name. Of what is no symlink the target is "".
func (s *symlinks) see(name, target string) error {
	if old, ok := s.targets[name]; ok {
		s.bytes -= len(name) + len(old)
		delete(s.targets, name)
	}
	if target == "" {
		return nil
	}
	if s.targets == nil {
		s.targets = map[string]string{}
	}
	s.targets[name] = target
	s.bytes += len(name) + len(target)
	if len(s.targets) > MaxEntries || s.bytes > maxNames {
		return fmt.Errorf("more than %d symlinks, or %d bytes of their names and targets: make it several layers", MaxEntries, maxNames)
	}
	return nil
}

// place is where an entry of a clean name comes to lie: its directory by way of the symlinks, none of which leads above the root.
func (s *symlinks) place(name string) (string, error) {
	at := ""
	for left, rest := maxLinks, name; ; {
		if len(s.targets) == 0 {
			return joinPath(at, rest), nil
		}
		c, below, more := strings.Cut(rest, "/")
		if !more {
			return joinPath(at, c), nil
		}
		rest = below
		switch c {
		case "", ".":
			continue
		case "..":
			at, _ = splitPath(at)
			continue
		}
		to := joinPath(at, c)
		target, ok := s.targets[to]
		if !ok {
			at = to
			continue
		}
		if left--; left < 0 {
			return "", fmt.Errorf("more than %d symlinks on the way to it", maxLinks)
		}
		if strings.HasPrefix(target, "/") {
			at = ""
		}
		rest = target + "/" + rest
	}
}
