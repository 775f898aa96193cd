package graph

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"github.com/rules-strata/rules_strata/tool/store"
)

// Parse reads a graph in any of the forms. It keeps nothing of b. Errors name the line.
func Parse(b []byte) (*Graph, error) {
	if len(b) > MaxSize {
		return nil, fmt.Errorf("longer than %d bytes", MaxSize)
	}
	switch first := bytes.TrimLeft(b, " \t\r\n"); {
	case len(first) == 0:
		return nil, errors.New("it is empty")
	case first[0] == '[' || first[0] == '{':
		return parseJSON(b)
	case first[0] == '/':
		return parseText(b)
	}
	return nil, errors.New("want a references graph, a registration, or the JSON of nix path-info or nix build")
}

// lines gives a text's lines one by one.
type lines struct {
	rest []byte
	n    int // of the line that was given last
}

func (l *lines) errorf(format string, args ...any) error {
	return fmt.Errorf("line %d: %w", l.n, fmt.Errorf(format, args...))
}

// next returns the next line; what it would be, an error says.
func (l *lines) next(what string) (string, error) {
	l.n++
	line, rest, ok := bytes.Cut(l.rest, []byte("\n"))
	if !ok {
		if len(line) == 0 {
			return "", l.errorf("want %s, found the end: the file is cut", what)
		}
		return "", l.errorf("want a newline behind %.80q: the file is cut", line)
	}
	l.rest = rest
	return string(line), nil
}

// A hash as registrations have it: Nix writes bare hex, nixpkgs' closureInfo what Nix tells in JSON.
var hashLine = regexp.MustCompile(`^(?:[0-9a-f]{64}|sha256[:-].*)$`)

// parseText reads a references graph or a registration. Which of them it is, the second line shows:
// a deriver (or nothing) or a hash.
func parseText(text []byte) (*Graph, error) {
	l := &lines{rest: text}
	b := newBuilder()
	second, _, _ := bytes.Cut(afterLine(text), []byte("\n"))
	hashes := hashLine.Match(second)
	for len(l.rest) > 0 {
		if err := b.textNode(l, hashes); err != nil {
			return nil, err
		}
	}
	return b.finish(true)
}

func afterLine(b []byte) []byte {
	_, rest, _ := bytes.Cut(b, []byte("\n"))
	return rest
}

// textNode reads one path with all that is said of it (nix/src/libstore/path-info.cc, decodeValidPathInfo).
func (b *builder) textNode(l *lines, hashes bool) error {
	n := new(Node)
	path := func(what string) (store.Path, error) {
		s, err := l.next(what)
		if err != nil {
			return "", err
		}
		p, err := b.path(s)
		if err != nil {
			return "", l.errorf("want %s: %w", what, err)
		}
		return p, nil
	}
	var err error
	if n.Path, err = path("a store path"); err != nil {
		return err
	}
	line := l.n
	if hashes {
		s, err := l.next("the NarHash")
		if err != nil {
			return err
		}
		if n.NarHash, err = parseHash(s); err != nil {
			return l.errorf("want the NarHash of %s: %w", n.Path, err)
		}
		if s, err = l.next("the NarSize"); err != nil {
			return err
		}
		if n.NarSize, err = parseNumber(s); err != nil {
			return l.errorf("want the NarSize of %s: %w", n.Path, err)
		}
	}
	s, err := l.next("the deriver")
	if err != nil {
		return err
	}
	if s != "" {
		deriver, err := b.path(s)
		if err != nil {
			return l.errorf("want the deriver of %s or an empty line: %w", n.Path, err)
		}
		n.Deriver = deriver.Base()
	}
	if s, err = l.next("the number of references"); err != nil {
		return err
	}
	count, err := parseNumber(s)
	if _, wrong := store.ParsePath(s); wrong == nil { // What nix-store --query --requisites writes, or the file store-paths of closureInfo.
		return l.errorf("want the number of references of %s, found a store path: a mere list of paths doesn't say what they refer to; nix path-info --json --recursive does", n.Path)
	}
	if err != nil {
		return l.errorf("want the number of references of %s: %w", n.Path, err)
	}
	for i := range count {
		r, err := path(fmt.Sprintf("reference %d of %d of %s", i+1, count, n.Path))
		if err != nil {
			return err
		}
		n.References = append(n.References, r)
	}
	return b.node(n, func(err error) error { return fmt.Errorf("line %d: %w", line, err) })
}

// parseHash reads a hash with its algorithm, or bare hex.
func parseHash(s string) (store.Hash, error) {
	if len(s) == 64 {
		return store.ParseHash("sha256:" + s)
	}
	return store.ParseHash(s)
}

// parseNumber reads decimal digits, below 2^63.
func parseNumber(s string) (int64, error) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, fmt.Errorf("want a number, found %.40q", s)
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("want a number below 2^63, found %.40q", s)
	}
	return n, nil
}
