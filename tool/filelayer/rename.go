package filelayer

import (
	"fmt"
	"regexp"
	"strings"
)

// Rename moves what a pattern matches, with all that is below it, to another path. In the new path $1 to $9 stand for what
// the pattern's wildcards matched, and $$ for a dollar sign:
//
//	share/man        usr/share/man     a directory, or a file
//	lib/*.so.?       usr/lib/$1.so.$2
//	app                                the new path is empty: what is in app comes to stand at the root
type Rename struct {
	pattern string
	match   *regexp.Regexp
	to      []string // text, then group numbers and text in turns
}

func newRename(pattern, to string) (Rename, error) {
	p, err := parsePattern(pattern)
	if err != nil {
		return Rename{}, err
	}
	r := Rename{pattern: p.String()}
	expr, groups := patternExpr(p.String())
	if r.match, err = regexp.Compile(expr); err != nil {
		return r, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	rest := strings.Trim(to, "/")
	text := ""
	for {
		before, after, found := strings.Cut(rest, "$")
		text += before
		if !found {
			break
		}
		switch {
		case strings.HasPrefix(after, "$"):
			text += "$"
		case after != "" && '1' <= after[0] && int(after[0]-'0') <= groups:
			r.to = append(r.to, text, after[:1])
			text = ""
		default:
			return r, fmt.Errorf("%q: want $1 to $9 for what a wildcard of %q matches (it has %d), or $$", to, pattern, groups)
		}
		rest = after[1:]
	}
	r.to = append(r.to, text)
	return r, nil
}

// patternExpr is a pattern (see [layer.Pattern]) as a regular expression that also matches what is below; its last group is that. Groups counts the wildcards.
func patternExpr(pattern string) (expr string, groups int) {
	var b strings.Builder
	b.WriteString("(?s)^")
	parts := strings.Split(pattern, "/")
	for i, part := range parts {
		last := i == len(parts)-1
		if part == "**" {
			groups++
			if last {
				b.WriteString("(.+)")
			} else {
				b.WriteString("(?:(.*)/)?")
			}
			continue
		}
		for j := 0; j < len(part); j++ {
			switch c := part[j]; c {
			case '*':
				b.WriteString("([^/]*)")
				groups++
			case '?':
				b.WriteString("([^/])")
				groups++
			case '\\':
				j++
				b.WriteString(regexp.QuoteMeta(part[j : j+1]))
			default:
				b.WriteString(regexp.QuoteMeta(part[j : j+1]))
			}
		}
		if !last {
			b.WriteByte('/')
		}
	}
	b.WriteString("(/.*)?$")
	return b.String(), groups
}

// apply returns the new path; ok says whether the pattern matches.
func (r *Rename) apply(path string) (to string, ok bool) {
	m := r.match.FindStringSubmatch(path)
	if m == nil {
		return "", false
	}
	var b strings.Builder
	for i, s := range r.to {
		if i%2 == 0 {
			b.WriteString(s)
		} else {
			b.WriteString(m[s[0]-'0'])
		}
	}
	b.WriteString(m[len(m)-1])
	to = strings.Trim(b.String(), "/")
	for strings.Contains(to, "//") { // around a ** that matched nothing
		to = strings.ReplaceAll(to, "//", "/")
	}
	return to, true
}
