// Package sexp reads S-expressions as libgcrypt writes and reads them, which is
// how Guix stores keys and signatures: lists in parentheses, of lists and of
// octet strings (Rivest, "S-Expressions", draft-rivest-sexp, and libgcrypt's
// manual, "S-expressions").
//
// A string is a token (rfc6979), in hex (#0AFF#), in quotes ("a b"), in base64
// (|aGk=|) or with its length in front (3:abc, the only form in canonical
// encoding). All of them are read; display hints ([text/plain]) are not known.
//
// [Parse] is the entry point; [Node.Child] finds a list in a list by its first
// string. Depth and size are bounded. Nothing here knows what keys mean.
package sexp

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const (
	// MaxSize is the greatest length of an expression, in bytes. A signature by an RSA key of 16,384 bits has some 14,000.
	MaxSize = 64 << 10
	// MaxDepth is how many lists may be in one another. Keys and signatures have 4.
	MaxDepth = 32
)

// Node is a list or an octet string.
type Node struct {
	// List holds a list's nodes; nil for a string. The empty list is not nil.
	List []Node
	// String is an octet string.
	String string
}

// IsList reports whether n is a list.
func (n *Node) IsList() bool { return n.List != nil }

// Name is the first string of a list; "" if n is none, or begins with a list.
func (n *Node) Name() string {
	if len(n.List) == 0 || n.List[0].IsList() {
		return ""
	}
	return n.List[0].String
}

// Child returns the one list in n of the name. There being none, or several, is an error.
func (n *Node) Child(name string) (*Node, error) {
	var found *Node
	for i := range n.List {
		if c := &n.List[i]; c.IsList() && c.Name() == name {
			if found != nil {
				return nil, fmt.Errorf("want one (%s …) in (%s …), found several", name, n.Name())
			}
			found = c
		}
	}
	if found == nil {
		return nil, fmt.Errorf("want (%s …) in (%s …), found none", name, n.Name())
	}
	return found, nil
}

// Value returns s of the list (name s).
func (n *Node) Value() (string, error) {
	if len(n.List) != 2 || n.List[1].IsList() {
		return "", fmt.Errorf("want (%s VALUE), found another list of that name", n.Name())
	}
	return n.List[1].String, nil
}

// Parse reads the one list that is text. White space around it is ignored.
func Parse(text string) (*Node, error) {
	if len(text) > MaxSize {
		return nil, fmt.Errorf("s-expression: over %d bytes", MaxSize)
	}
	p := parser{text: text}
	p.space()
	if p.at == len(p.text) || p.text[p.at] != '(' {
		return nil, p.errorf("want a list in parentheses")
	}
	n, err := p.node(1)
	if err != nil {
		return nil, err
	}
	if p.space(); p.at < len(p.text) {
		return nil, p.errorf("want one list, found more behind it")
	}
	return &n, nil
}

type parser struct {
	text string
	at   int
}

func (p *parser) errorf(format string, args ...any) error {
	return fmt.Errorf("s-expression, byte %d: %w", p.at, fmt.Errorf(format, args...))
}

const white = " \t\r\n\v\f"

func (p *parser) space() {
	for p.at < len(p.text) && strings.IndexByte(white, p.text[p.at]) >= 0 {
		p.at++
	}
}

var errEnd = errors.New("it ends before its last parenthesis")

// node reads what begins at p.at, which is not white.
func (p *parser) node(depth int) (Node, error) {
	if p.text[p.at] != '(' {
		s, err := p.string()
		return Node{String: s}, err
	}
	if depth > MaxDepth {
		return Node{}, p.errorf("more than %d lists in one another", MaxDepth)
	}
	p.at++
	n := Node{List: []Node{}}
	for {
		p.space()
		if p.at == len(p.text) {
			return Node{}, p.errorf("%w", errEnd)
		}
		if p.text[p.at] == ')' {
			p.at++
			return n, nil
		}
		c, err := p.node(depth + 1)
		if err != nil {
			return Node{}, err
		}
		n.List = append(n.List, c)
	}
}

func (p *parser) string() (string, error) {
	switch c := p.text[p.at]; {
	case c == '#':
		text, err := p.until('#')
		if err != nil {
			return "", err
		}
		b, err := hex.DecodeString(text)
		if err != nil {
			return "", p.errorf("want hex between # and #: %w", err)
		}
		return string(b), nil
	case c == '|':
		text, err := p.until('|')
		if err != nil {
			return "", err
		}
		b, err := base64.StdEncoding.Strict().DecodeString(text)
		if err != nil {
			return "", p.errorf("want base64 between | and |: %w", err)
		}
		return string(b), nil
	case c == '"':
		return p.quoted()
	case '0' <= c && c <= '9':
		return p.counted()
	case isToken(c):
		from := p.at
		for p.at < len(p.text) && (isToken(p.text[p.at]) || '0' <= p.text[p.at] && p.text[p.at] <= '9') {
			p.at++
		}
		return p.text[from:p.at], nil
	default:
		return "", p.errorf("found %q, which begins neither a list nor a string", c)
	}
}

// until returns what is between the byte at p.at and the next end, without white space.
func (p *parser) until(end byte) (string, error) {
	rest := p.text[p.at+1:]
	n := strings.IndexByte(rest, end)
	if n < 0 {
		return "", p.errorf("want a %q that ends it", end)
	}
	p.at += n + 2
	return strings.Map(func(c rune) rune {
		if c < 0x80 && strings.ContainsRune(white, c) {
			return -1
		}
		return c
	}, rest[:n]), nil
}

// counted reads a string with its length in front.
func (p *parser) counted() (string, error) {
	digits, _, ok := strings.Cut(p.text[p.at:], ":")
	n, err := strconv.ParseUint(digits, 10, 31)
	if !ok || err != nil || digits[0] == '0' && digits != "0" {
		return "", p.errorf("want LENGTH:BYTES or a token that doesn't begin with a digit")
	}
	from := p.at + len(digits) + 1
	if uint64(len(p.text)-from) < n {
		return "", p.errorf("want %d bytes, found %d", n, len(p.text)-from)
	}
	p.at = from + int(n)
	return p.text[from:p.at], nil
}

// quoted reads a string in quotes, with C's escapes.
func (p *parser) quoted() (string, error) {
	const simple, means = `bftnrv"'\`, "\b\f\t\n\r\v\"'\\"
	var b strings.Builder
	for i := p.at + 1; i < len(p.text); i++ {
		c := p.text[i]
		if c == '"' {
			p.at = i + 1
			return b.String(), nil
		}
		if c != '\\' {
			b.WriteByte(c)
			continue
		}
		i++
		if i == len(p.text) {
			break
		}
		if n := strings.IndexByte(simple, p.text[i]); n >= 0 {
			b.WriteByte(means[n])
			continue
		}
		base, from, digits := 8, i, 3
		if p.text[i] == 'x' {
			base, from, digits = 16, i+1, 2
		}
		if from+digits > len(p.text) {
			break
		}
		v, err := strconv.ParseUint(p.text[from:from+digits], base, 8)
		if err != nil {
			return "", p.errorf("unknown escape in a quoted string")
		}
		b.WriteByte(byte(v))
		i = from + digits - 1
	}
	return "", p.errorf("want a '\"' that ends it")
}

func isToken(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || strings.IndexByte("-./_:*+=", c) >= 0
}
