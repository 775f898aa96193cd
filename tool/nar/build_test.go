package nar_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/nar"
)

// The functions below make NARs by hand, good and bad ones, without the code under test.

// str is one string of an archive.
func str(s string) string { return strPad(s, 0) }

// strPad is a string padded with the byte pad.
func strPad(s string, pad byte) string {
	return num(uint64(len(s))) + s + strings.Repeat(string([]byte{pad}), -len(s)&7)
}

func num(n uint64) string { return string(binary.LittleEndian.AppendUint64(nil, n)) }

func strs(all ...string) string {
	var b strings.Builder
	for _, s := range all {
		b.WriteString(str(s))
	}
	return b.String()
}

func archive(node string) string { return str("nix-archive-1") + node }

func file(contents string) string {
	return strs("(", "type", "regular", "contents", contents, ")")
}

func program(contents string) string {
	return strs("(", "type", "regular", "executable", "", "contents", contents, ")")
}

func link(target string) string { return strs("(", "type", "symlink", "target", target, ")") }

// entry is a directory's entry, without any check.
func entry(name, node string) string {
	return strs("entry", "(", "name", name, "node") + node + str(")")
}

func directory(entries ...string) string {
	return strs("(", "type", "directory") + strings.Join(entries, "") + str(")")
}

// nested is a file that n directories named "d" are around.
func nested(n int) string {
	node := file("deep")
	for range n {
		node = directory(entry("d", node))
	}
	return node
}

// richNAR has an example of everything that a NAR can say.
var richNAR = archive(directory(
	entry(".hidden", file("")),
	entry("bin", directory(
		entry("run", program("#!/bin/sh\nexec true\n")),
		entry("run-again", link("run")),
	)),
	entry("bin.d", directory()),
	entry("eight", file("12345678")),
	entry("empty", file("")),
	entry("link", link("/nix/store/../x")),
	entry("not\xffutf8\xc3", file("\x00\x01")),
	entry("z"+strings.Repeat("y", 254), program("")),
))

// node is an entry with copies of what it points to, and its contents.
type node struct {
	path, target, contents string
	kind                   nar.Kind
	executable             bool
	size, offset           int64
}

func (n node) String() string {
	return fmt.Sprintf("%q %v x=%v size=%d at %d target=%q contents=%.40q", n.path, n.kind, n.executable, n.size, n.offset, n.target, n.contents)
}

// readAll reads an archive with all its contents.
func readAll(r *nar.Reader) ([]node, error) {
	var all []node
	for {
		e, err := r.Next()
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		n := node{path: string(e.Path), target: string(e.Target), kind: e.Kind, executable: e.Executable, size: e.Size, offset: r.Offset()}
		var b bytes.Buffer
		if _, err := io.Copy(&b, struct{ io.Reader }{r}); err != nil { // by Read
			return all, err
		}
		n.contents = b.String()
		all = append(all, n)
	}
}

// encode writes nodes as an archive.
func encode(t testing.TB, all []node) []byte {
	t.Helper()
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	for _, n := range all {
		if err := w.WriteEntry(&nar.Entry{Path: []byte(n.path), Kind: n.kind, Executable: n.executable, Size: n.size, Target: []byte(n.target)}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, n.contents); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func equalNodes(t testing.TB, got, want []node) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Fatalf("entry %d: want %v, got the end", i, want[i])
		case i >= len(want):
			t.Fatalf("entry %d: want the end, got %v", i, got[i])
		case got[i] != want[i]:
			t.Fatalf("entry %d:\nwant %v\n got %v", i, want[i], got[i])
		}
	}
}
