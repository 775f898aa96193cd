package layer

import (
	"errors"
	"fmt"
	"strings"
)

// Pattern matches paths of entries relative to their store path, as bytes. The syntax:
//
//	?    one byte of a name
//	*    any run of bytes in one name, also none
//	**   as a whole component: any number of components, also none; at the end, at least one
//	\x   the byte x as it is
//	.    alone: the store path itself
//
// So "share/man" is one directory (or file), "share/**" all that is in share, and "**/*.a" every static
// library. There are no classes and no braces: use several patterns.
type Pattern struct {
	text  string
	parts []string // components, as written
}

// maxPatternParts bounds the work on a hostile pattern: matching takes no more
// than the product of the pattern's and the path's length.
const maxPatternParts = 128

// ParsePattern reads a pattern.
func ParsePattern(text string) (Pattern, error) {
	fail := func(why string) (Pattern, error) {
		return Pattern{}, fmt.Errorf("pattern %q: %s", text, why)
	}
	if text == "" {
		return fail("it is empty")
	}
	p := Pattern{text: text}
	if text == "." {
		return p, nil
	}
	p.parts = strings.Split(text, "/")
	if len(p.parts) > maxPatternParts {
		return fail(fmt.Sprintf("over %d components", maxPatternParts))
	}
	for _, part := range p.parts {
		switch {
		case part == "":
			return fail("want a relative path, without empty components")
		case part == "." || part == "..":
			return fail("want no . and .. components")
		}
		if err := checkPart(part); err != nil {
			return fail(err.Error())
		}
	}
	return p, nil
}

func checkPart(part string) error {
	for i := 0; i < len(part); i++ {
		switch {
		case part[i] == '*' && part != "**" && strings.HasPrefix(part[i:], "**"):
			return errors.New("** stands alone between slashes")
		case part[i] == '\\':
			if i++; i == len(part) {
				return errors.New("a backslash with nothing behind it")
			}
		}
	}
	return nil
}

// String is the pattern as it was written.
func (p Pattern) String() string { return p.text }

// Match reports whether the pattern matches path, which is empty for the store path itself.
func (p Pattern) Match(path []byte) bool {
	if len(path) == 0 || p.text == "." {
		return len(path) == 0 && p.text == "."
	}
	// The shortest run that "**" can stand for is tried first, and only the
	// last "**" ever has to take more: what those before it took was enough.
	parts, rest := p.parts, path
	var again []string // what follows the last "**"
	var restAgain []byte
	for {
		switch {
		case len(parts) == 0 && rest == nil:
			return true
		case len(parts) > 0 && parts[0] == "**":
			parts = parts[1:]
			if len(parts) == 0 {
				return rest != nil
			}
			again, restAgain = parts, rest
			continue
		case len(parts) > 0 && rest != nil:
			name, after := cutName(rest)
			if matchName(parts[0], name) {
				parts, rest = parts[1:], after
				continue
			}
		}
		if again == nil || restAgain == nil {
			return false
		}
		_, restAgain = cutName(restAgain)
		parts, rest = again, restAgain
	}
}

// cutName splits the first name off path; rest is nil behind the last one.
func cutName(path []byte) (name, rest []byte) {
	for i, c := range path {
		if c == '/' {
			return path[:i], path[i+1:]
		}
	}
	return path, nil
}

// matchName matches one component, in the same manner.
func matchName(pattern string, name []byte) bool {
	p, n := 0, 0
	again, nAgain := -1, 0 // what follows the last "*", and where it was tried
	for {
		switch {
		case p == len(pattern) && n == len(name):
			return true
		case p < len(pattern) && pattern[p] == '*':
			p++
			again, nAgain = p, n
			continue
		case p < len(pattern) && n < len(name):
			c, width := pattern[p], 1
			any := c == '?'
			if c == '\\' {
				c, width = pattern[p+1], 2
			}
			if any || c == name[n] {
				p, n = p+width, n+1
				continue
			}
		}
		if again < 0 || nAgain == len(name) {
			return false
		}
		nAgain++
		p, n = again, nAgain
	}
}
