// Package strictjson reads JSON that people edit, and says where it is wrong.
// It takes one JSON value (RFC 8259) in UTF-8 and nothing behind it, and refuses what
// encoding/json lets pass: a name twice in one object, unknown fields, fields in
// another case. Every error has the line and the column and, inside the value,
// the way there, such as `roots.web["x86_64-linux"]`.
//
// [Parse] makes a tree of [Value]; its methods take the tree apart. The whole
// document is held in memory, so the caller bounds it.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds the nesting of a document: strata's own come to six.
const maxDepth = 64

// Error is a fault at a place in the document.
type Error struct {
	// Line and Column count from 1; the column counts characters.
	Line, Column int
	// Path is the way to the faulty value, such as "caches[0].url"; "" for the whole document.
	Path string
	// Err says what is wrong.
	Err error
}

// Error is "line 3, column 7: caches[0].url: …".
func (e *Error) Error() string {
	at := fmt.Sprintf("line %d, column %d: ", e.Line, e.Column)
	if e.Path != "" {
		at += e.Path + ": "
	}
	return at + e.Err.Error()
}

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

// Value is one value of a document.
type Value struct {
	doc    []byte
	offset int
	parent *Value
	// Of the parent's members or elements, the one that this is.
	name  string
	index int // -1: a member, or the document

	scalar   any // string, json.Number, bool, nil
	kind     kind
	children []*Value
}

type kind uint8

const (
	kindNull kind = iota
	kindBool
	kindNumber
	kindString
	kindArray
	kindObject
)

func (k kind) String() string {
	return [...]string{"null", "true or false", "a number", "a string", "a list", "an object"}[k]
}

// Parse reads the document b, which must stay as it is while the values are in use.
func Parse(b []byte) (*Value, error) {
	p := parser{doc: b, dec: json.NewDecoder(bytes.NewReader(b))}
	p.dec.UseNumber()
	if i := invalidUTF8(b); i >= 0 {
		return nil, p.at(i, errors.New("not UTF-8"))
	}
	v, err := p.value(nil, 0)
	if err != nil {
		return nil, err
	}
	end := p.next(" \t\r\n")
	if _, err := p.dec.Token(); err != io.EOF {
		return nil, p.at(end, errors.New("more follows behind the end of the document"))
	}
	return v, nil
}

func invalidUTF8(b []byte) int {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

type parser struct {
	doc []byte
	dec *json.Decoder
}

func (p *parser) at(offset int, err error) *Error {
	line, column := position(p.doc, offset)
	return &Error{Line: line, Column: column, Err: err}
}

func position(doc []byte, offset int) (line, column int) {
	before := doc[:min(offset, len(doc))]
	start := bytes.LastIndexByte(before, '\n') + 1
	return 1 + bytes.Count(before, []byte("\n")), 1 + utf8.RuneCount(before[start:])
}

// next is the offset of the first byte, from where the decoder stands, that isn't among skip.
func (p *parser) next(skip string) int {
	offset := int(p.dec.InputOffset())
	for offset < len(p.doc) && strings.IndexByte(skip, p.doc[offset]) >= 0 {
		offset++
	}
	return offset
}

// token returns the next token and where it begins.
func (p *parser) token() (json.Token, int, error) {
	offset := p.next(" \t\r\n,:")
	t, err := p.dec.Token()
	if err == nil {
		return t, offset, nil
	}
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, 0, p.at(len(p.doc), errors.New("the document ends too early"))
	}
	// The decoder stands before the faulty token, and perhaps before white space.
	return nil, 0, p.at(p.next(" \t\r\n"), err)
}

func (p *parser) value(parent *Value, depth int) (*Value, error) {
	t, offset, err := p.token()
	if err != nil {
		return nil, err
	}
	if depth > maxDepth {
		return nil, p.at(offset, fmt.Errorf("nested more than %d deep", maxDepth))
	}
	v := &Value{doc: p.doc, offset: offset, parent: parent, index: -1, scalar: t}
	switch t := t.(type) {
	case nil:
		v.kind = kindNull
	case bool:
		v.kind = kindBool
	case json.Number:
		v.kind = kindNumber
	case string:
		v.kind = kindString
	case json.Delim:
		if t == '[' {
			v.kind = kindArray
			return v, p.elements(v, depth)
		}
		v.kind = kindObject
		return v, p.members(v, depth)
	}
	return v, nil
}

func (p *parser) elements(v *Value, depth int) error {
	for p.dec.More() {
		e, err := p.value(v, depth+1)
		if err != nil {
			return err
		}
		e.index = len(v.children)
		v.children = append(v.children, e)
	}
	_, _, err := p.token() // the closing bracket
	return err
}

func (p *parser) members(v *Value, depth int) error {
	seen := map[string]bool{}
	for p.dec.More() {
		t, offset, err := p.token()
		if err != nil {
			return err
		}
		name, _ := t.(string) // the decoder takes nothing else
		if seen[name] {
			return p.at(offset, fmt.Errorf("%q is there twice", name))
		}
		seen[name] = true
		m, err := p.value(v, depth+1)
		if err != nil {
			return err
		}
		m.name = name
		v.children = append(v.children, m)
	}
	_, _, err := p.token() // the closing brace
	return err
}

// Errorf returns an [Error] at v.
func (v *Value) Errorf(format string, args ...any) error {
	return v.wrap(fmt.Errorf(format, args...))
}

// wrap puts v's place before err, which may be nil.
func (v *Value) wrap(err error) error {
	if err == nil {
		return nil
	}
	line, column := position(v.doc, v.offset)
	return &Error{Line: line, Column: column, Path: v.Path(), Err: err}
}

// Path is the way to v from the document, such as `caches[0].url`; "" for the document.
func (v *Value) Path() string {
	if v.parent == nil {
		return ""
	}
	up := v.parent.Path()
	switch {
	case v.index >= 0:
		return up + "[" + strconv.Itoa(v.index) + "]"
	case !isPlain(v.name):
		return up + "[" + strconv.Quote(v.name) + "]"
	case up == "":
		return v.name
	}
	return up + "." + v.name
}

func isPlain(name string) bool {
	for i := range len(name) {
		c := name[i]
		if !('0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_') {
			return false
		}
	}
	return name != ""
}

func (v *Value) want(k kind) error {
	if v.kind != k {
		return v.Errorf("want %s, found %s", k, v.kind)
	}
	return nil
}

// IsString reports whether v is a string.
func (v *Value) IsString() bool { return v.kind == kindString }

// IsNull reports whether v is null.
func (v *Value) IsNull() bool { return v.kind == kindNull }

// IsList reports whether v is a list.
func (v *Value) IsList() bool { return v.kind == kindArray }

// Text returns the string that v must be.
func (v *Value) Text() (string, error) {
	s, _ := v.scalar.(string)
	return s, v.want(kindString)
}

// Bool returns the truth value that v must be.
func (v *Value) Bool() (bool, error) {
	b, _ := v.scalar.(bool)
	return b, v.want(kindBool)
}

// Int returns the integer that v must be, written in digits only.
func (v *Value) Int() (int64, error) {
	if err := v.want(kindNumber); err != nil {
		return 0, err
	}
	text := string(v.scalar.(json.Number))
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, v.Errorf("want an integer below 2^63, found %.40s", text)
	}
	return n, nil
}

// Each calls f for each element of the list that v must be.
func (v *Value) Each(f func(e *Value) error) error {
	if err := v.want(kindArray); err != nil {
		return err
	}
	for _, e := range v.children {
		if err := f(e); err != nil {
			return err
		}
	}
	return nil
}

// Members calls f for each member of the object that v must be, in the document's order.
func (v *Value) Members(f func(name string, m *Value) error) error {
	if err := v.want(kindObject); err != nil {
		return err
	}
	for _, m := range v.children {
		if err := f(m.name, m); err != nil {
			return err
		}
	}
	return nil
}

// Field is a field that an object may have.
type Field struct {
	Name string
	// Read is called with the field's value. Its error, if it has no place yet, gets the value's.
	Read func(*Value) error
	// Optional fields may be missing.
	Optional bool
}

// Fields reads the object that v must be: each of fields in the order given here, whatever
// the document's. Fields that it doesn't name are errors.
func (v *Value) Fields(fields ...Field) error {
	byName := map[string]*Value{}
	err := v.Members(func(name string, m *Value) error {
		for _, f := range fields {
			if f.Name == name {
				byName[name] = m
				return nil
			}
		}
		known := make([]string, len(fields))
		for i, f := range fields {
			known[i] = f.Name
		}
		return m.Errorf("unknown field; known are %s", strings.Join(known, ", "))
	})
	if err != nil {
		return err
	}
	for _, f := range fields {
		m, ok := byName[f.Name]
		switch {
		case !ok && !f.Optional:
			return v.Errorf("%s is missing", f.Name)
		case !ok:
			continue
		}
		if err := f.Read(m); err != nil {
			var placed *Error
			if !errors.As(err, &placed) {
				err = m.wrap(err)
			}
			return err
		}
	}
	return nil
}

// StringInto makes a [Field.Read] that puts a string into p.
func StringInto(p *string) func(*Value) error {
	return func(v *Value) (err error) {
		*p, err = v.Text()
		return err
	}
}

// Parsed makes a [Field.Read] that puts into p what parse makes of a string.
func Parsed[T any](p *T, parse func(string) (T, error)) func(*Value) error {
	return func(v *Value) error {
		s, err := v.Text()
		if err != nil {
			return err
		}
		if *p, err = parse(s); err != nil {
			return v.wrap(err)
		}
		return nil
	}
}
