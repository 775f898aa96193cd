package layer

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// matchPlain is what a pattern means, said plainly: it tries all that a star can stand for.
func matchPlain(parts, names []string) bool {
	switch {
	case len(parts) == 0:
		return len(names) == 0
	case parts[0] == "**" && len(parts) == 1:
		return len(names) > 0
	case parts[0] == "**":
		return matchPlain(parts[1:], names) || len(names) > 0 && matchPlain(parts, names[1:])
	}
	return len(names) > 0 && matchNamePlain(parts[0], names[0]) && matchPlain(parts[1:], names[1:])
}

func matchNamePlain(p, n string) bool {
	switch {
	case p == "":
		return n == ""
	case p[0] == '*':
		return matchNamePlain(p[1:], n) || n != "" && matchNamePlain(p, n[1:])
	case p[0] == '?':
		return n != "" && matchNamePlain(p[1:], n[1:])
	case p[0] == '\\':
		p = p[1:]
	}
	return n != "" && p[0] == n[0] && matchNamePlain(p[1:], n[1:])
}

// The matcher that never goes far back agrees with the one that tries everything.
func TestPattern_Reference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Few letters, so that much matches nearly.
		text := rapid.StringMatching(`(\*\*|[ab*?]{1,6}|\\[ab*])(/(\*\*|[ab*?]{1,6})){0,5}`).Draw(t, "pattern")
		path := rapid.StringMatching(`[ab*]{1,6}(/[ab]{1,6}){0,6}`).Draw(t, "path")
		p, err := ParsePattern(text)
		if err != nil {
			t.Skip(err)
		}
		want := matchPlain(strings.Split(text, "/"), strings.Split(path, "/"))
		if got := p.Match([]byte(path)); got != want {
			t.Fatalf("%q matches %q: %v, want %v", text, path, got, want)
		}
	})
}
