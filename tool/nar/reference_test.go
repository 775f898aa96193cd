package nar_test

import (
	"encoding/binary"
	"errors"
	"strings"

	"github.com/rules-strata/rules_strata/tool/nar"
)

// referenceParse is the format written down as plainly as can be, after Nix's
// archive.cc, for archives in memory: what Reader is compared with.
func referenceParse(b string) (all []node, err error) {
	p := &reference{rest: b, total: len(b)}
	defer func() {
		if r := recover(); r != nil {
			fault, ok := r.(referenceFault)
			if !ok {
				panic(r)
			}
			err = errors.New(string(fault))
		}
	}()
	p.expect("nix-archive-1")
	p.node("", 0)
	if p.rest != "" {
		panic(referenceFault("bytes behind the archive"))
	}
	return p.all, nil
}

type (
	reference struct {
		rest  string
		total int
		all   []node
	}
	referenceFault string
)

func (p *reference) take(n uint64) string {
	if n > uint64(len(p.rest)) {
		panic(referenceFault("end of input"))
	}
	s := p.rest[:n]
	p.rest = p.rest[n:]
	return s
}

func (p *reference) num() uint64 { return binary.LittleEndian.Uint64([]byte(p.take(8))) }

func (p *reference) padding(n uint64) {
	if strings.Trim(p.take(-n&7), "\x00") != "" {
		panic(referenceFault("padding"))
	}
}

func (p *reference) str(limit uint64) string {
	n := p.num()
	if n > limit {
		panic(referenceFault("string too long"))
	}
	s := p.take(n)
	p.padding(n)
	return s
}

func (p *reference) expect(want string) {
	if p.str(32) != want {
		panic(referenceFault("want " + want))
	}
}

func (p *reference) node(path string, depth int) {
	if depth >= 64 {
		panic(referenceFault("too deep"))
	}
	p.expect("(")
	p.expect("type")
	switch p.str(32) {
	case "regular":
		n := node{path: path, kind: nar.Regular}
		tag := p.str(32)
		if tag == "executable" {
			n.executable = true
			p.expect("")
			tag = p.str(32)
		}
		if tag != "contents" {
			panic(referenceFault("want contents"))
		}
		size := p.num()
		n.size, n.offset = int64(size), int64(p.total-len(p.rest))
		n.contents = p.take(size)
		p.padding(size)
		p.all = append(p.all, n)
		p.expect(")")
	case "symlink":
		p.expect("target")
		target := p.str(4095)
		if target == "" || strings.Contains(target, "\x00") {
			panic(referenceFault("target"))
		}
		p.all = append(p.all, node{path: path, kind: nar.Symlink, target: target, offset: int64(p.total - len(p.rest))})
		p.expect(")")
	case "directory":
		p.all = append(p.all, node{path: path, kind: nar.Directory, offset: int64(p.total - len(p.rest))})
		last := ""
		for {
			tag := p.str(32)
			if tag == ")" {
				return
			}
			if tag != "entry" {
				panic(referenceFault("want entry"))
			}
			p.expect("(")
			p.expect("name")
			name := p.str(255)
			if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
				panic(referenceFault("name"))
			}
			if name <= last {
				panic(referenceFault("order"))
			}
			last = name
			p.expect("node")
			p.node(strings.TrimPrefix(path+"/"+name, "/"), depth+1)
			p.expect(")")
		}
	default:
		panic(referenceFault("type"))
	}
}
