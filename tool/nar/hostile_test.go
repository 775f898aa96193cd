package nar_test

import (
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/nar"
)

// hostile holds archives that are wrong in one way, and what the error must say.
// nixTakes marks those that Nix 2.34 lets pass (it doesn't look behind the archive).
var hostile = []struct {
	name, nar, want string
	nixTakes        bool
}{
	{name: "nothing", nar: "", want: `offset 0: want "nix-archive-1", found the end of the input`},
	{name: "seven bytes", nar: "\x0d\x00\x00\x00\x00\x00\x00", want: `offset 7: want "nix-archive-1", found the end of the input`},
	{name: "magic only", nar: str("nix-archive-1"), want: `offset 24: want "(", found the end of the input`},
	{name: "other magic", nar: str("nix-archive-2") + file("x"), want: `offset 0: want "nix-archive-1", found "nix-archive-2"`},
	{name: "no magic", nar: file("x"), want: `offset 0: want "nix-archive-1", found "("`},
	{name: "gzip instead", nar: "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x4b\x04\x00", want: `offset 0: want "nix-archive-1" (at most 32 bytes), found a length of`},
	{name: "magic twice", nar: str("nix-archive-1") + archive(file("x")), want: `offset 24: want "(", found "nix-archive-1"`},

	{name: "trailing zero", nar: archive(file("x")) + "\x00", want: "offset 120: want the end of the archive, found more bytes", nixTakes: true},
	{name: "trailing archive", nar: archive(file("x")) + archive(file("x")), want: "offset 120: want the end of the archive, found more bytes", nixTakes: true},
	{name: "one paren too many", nar: archive(directory()) + str(")"), want: "want the end of the archive, found more bytes", nixTakes: true},

	{name: "no type", nar: archive(strs("(", ")")), want: `offset 40: want "type", found ")"`},
	{name: "contents before type", nar: archive(strs("(", "contents", "x", "type", "regular", ")")), want: `want "type", found "contents"`},
	{name: "type twice", nar: archive(strs("(", "type", "regular", "type", "regular", "contents", "", ")")), want: `want "executable" or "contents", found "type"`},
	{name: "unknown type", nar: archive(strs("(", "type", "fifo", ")")), want: `offset 56: want "regular", "directory" or "symlink", found "fifo"`},
	{name: "empty type", nar: archive(strs("(", "type", "", ")")), want: `want "regular", "directory" or "symlink", found ""`},
	{name: "type in capitals", nar: archive(strs("(", "type", "Regular", "contents", "", ")")), want: `found "Regular"`},
	{name: "type with NUL", nar: archive(strs("(", "type", "regular\x00", "contents", "", ")")), want: `found "regular\x00"`},
	{name: "long type", nar: archive(strs("(", "type", strings.Repeat("r", 33), ")")), want: "offset 56: want a keyword (at most 32 bytes), found a length of 33"},
	{name: "type's length lies", nar: archive(strs("(", "type") + num(math.MaxUint64) + "regular"), want: "want a keyword (at most 32 bytes), found a length of 18446744073709551615"},
	{name: "type's length wraps", nar: archive(strs("(", "type") + num(1<<63|7) + "regular\x00"), want: "found a length of 9223372036854775815"},

	{name: "file without contents", nar: archive(strs("(", "type", "regular", ")")), want: `want "executable" or "contents", found ")"`},
	{name: "executable file without contents", nar: archive(strs("(", "type", "regular", "executable", "", ")")), want: `want "contents", found ")"`},
	{name: "executable with a value", nar: archive(strs("(", "type", "regular", "executable", "1", "contents", "", ")")), want: `want "", found "1"`},
	{name: "executable without value", nar: archive(strs("(", "type", "regular", "executable", "contents", "", ")")), want: `want "", found "contents"`},
	{name: "executable twice", nar: archive(strs("(", "type", "regular", "executable", "", "executable", "", "contents", "", ")")), want: `want "contents", found "executable"`},
	{name: "executable after contents", nar: archive(strs("(", "type", "regular", "contents", "", "executable", "", ")")), want: `want ")", found "executable"`},
	{name: "contents twice", nar: archive(strs("(", "type", "regular", "contents", "a", "contents", "b", ")")), want: `want ")", found "contents"`},
	{name: "unknown tag in a file", nar: archive(strs("(", "type", "regular", "mode", "0777", "contents", "", ")")), want: `want "executable" or "contents", found "mode"`},
	{name: "file with target", nar: archive(strs("(", "type", "regular", "target", "x", ")")), want: `found "target"`},
	{name: "file with entry", nar: archive(strs("(", "type", "regular", "contents", "") + entry("a", file("")) + str(")")), want: `want ")", found "entry"`},
	{name: "file not closed", nar: archive(strs("(", "type", "regular", "contents", "x")), want: `offset 104: want ")", found the end of the input`},
	{name: "file size 2^64-1", nar: archive(strs("(", "type", "regular", "contents") + num(math.MaxUint64)), want: "want a file's length below 2^63, found 18446744073709551615"},
	{name: "file size 2^63", nar: archive(strs("(", "type", "regular", "contents") + num(1<<63) + strs("x", ")")), want: "want a file's length below 2^63, found 9223372036854775808"},
	{name: "file size 2^63-1", nar: archive(strs("(", "type", "regular", "contents") + num(math.MaxInt64) + strs("x", ")")), want: "offset 128: want a file's contents, found the end of the input"},
	{name: "file size 2^63-8", nar: archive(strs("(", "type", "regular", "contents") + num(math.MaxInt64-7) + strs("x", ")")), want: "want a file's contents, found the end of the input"},
	{name: "file size one too many", nar: archive(strs("(", "type", "regular", "contents") + num(9) + "12345678" + str(")")), want: `offset 112: want ")" (at most 32 bytes), found a length of 41`},
	{name: "file size one too few", nar: archive(strs("(", "type", "regular", "contents") + num(7) + "12345678" + str(")")), want: "want padding of zeros, found 0x38"},
	{name: "file padding", nar: archive(strs("(", "type", "regular", "contents") + strPad("x", 'A') + str(")")), want: "offset 97: want padding of zeros, found 0x41414141414141"},
	{name: "file without padding", nar: archive(strs("(", "type", "regular", "contents") + num(1) + "x" + str(")")), want: "want padding of zeros"},

	{name: "symlink without target", nar: archive(strs("(", "type", "symlink", ")")), want: `want "target", found ")"`},
	{name: "empty target", nar: archive(link("")), want: "want a target of 1 to 4095 bytes without NUL, found an empty one"},
	{name: "target with NUL", nar: archive(link("a\x00b")), want: `found "a\x00b", which holds a NUL`},
	{name: "long target", nar: archive(link(strings.Repeat("t", 4096))), want: "want a symlink's target (at most 4095 bytes), found a length of 4096"},
	{name: "target's length lies", nar: archive(strs("(", "type", "symlink", "target") + num(1<<62)), want: "found a length of 4611686018427387904"},
	{name: "target padding", nar: archive(strs("(", "type", "symlink", "target") + strPad("abc", 1) + str(")")), want: "offset 99: want padding of zeros, found 0x0101010101"},
	{name: "target twice", nar: archive(strs("(", "type", "symlink", "target", "a", "target", "b", ")")), want: `want ")", found "target"`},
	{name: "executable symlink", nar: archive(strs("(", "type", "symlink", "executable", "", "target", "a", ")")), want: `want "target", found "executable"`},
	{name: "symlink with contents", nar: archive(strs("(", "type", "symlink", "contents", "a", ")")), want: `want "target", found "contents"`},
	{name: "symlink not closed", nar: archive(strs("(", "type", "symlink", "target", "a")), want: `want ")", found the end of the input`},

	{name: "directory not closed", nar: archive(strs("(", "type", "directory")), want: "want a keyword, found the end of the input"},
	{name: "directory with contents", nar: archive(strs("(", "type", "directory", "contents", "", ")")), want: `want "entry" or ")", found "contents"`},
	{name: "executable directory", nar: archive(strs("(", "type", "directory", "executable", "", ")")), want: `want "entry" or ")", found "executable"`},
	{name: "entry without paren", nar: archive(directory(strs("entry", "name", "a", "node") + file(""))), want: `want "(", found "name"`},
	{name: "entry without name", nar: archive(directory(strs("entry", "(", "node") + file("") + str(")"))), want: `want "name", found "node"`},
	{name: "entry without node", nar: archive(directory(strs("entry", "(", "name", "a", ")"))), want: `in "a": want "node", found ")"`},
	{name: "node before name", nar: archive(directory(strs("entry", "(", "node") + file("") + strs("name", "a", ")"))), want: `want "name", found "node"`},
	{name: "name twice", nar: archive(directory(strs("entry", "(", "name", "a", "name", "b", "node") + file("") + str(")"))), want: `want "node", found "name"`},
	{name: "node twice", nar: archive(directory(strs("entry", "(", "name", "a", "node") + file("") + str("node") + file("") + str(")"))), want: `want ")", found "node"`},
	{name: "entry not closed", nar: archive(directory(strs("entry", "(", "name", "a", "node") + file(""))), want: `offset 264, in "a": want a keyword, found the end of the input`},
	{name: "entry in a closed directory", nar: archive(directory()+entry("a", file(""))) + str(")"), want: "want the end of the archive, found more bytes", nixTakes: true},

	{name: "empty name", nar: archive(directory(entry("", file("")))), want: `offset 128: want a name of 1 to 255 bytes, not ".", "..", and without slash or NUL, found an empty one`},
	{name: "dot", nar: archive(directory(entry(".", file("")))), want: `found "."`},
	{name: "dotdot", nar: archive(directory(entry("..", file("")))), want: `found ".."`},
	{name: "dotdot directory", nar: archive(directory(entry("..", directory(entry("x", file("")))))), want: `found ".."`},
	{name: "slash", nar: archive(directory(entry("a/b", file("")))), want: `found "a/b", which holds a slash`},
	{name: "absolute name", nar: archive(directory(entry("/etc/passwd", file("")))), want: `which holds a slash`},
	{name: "NUL in a name", nar: archive(directory(entry("a\x00", file("")))), want: `found "a\x00", which holds a NUL`},
	{name: "long name", nar: archive(directory(entry(strings.Repeat("n", 256), file("")))), want: "want a name (at most 255 bytes), found a length of 256"},
	{name: "name's length lies", nar: archive(directory(strs("entry", "(", "name") + num(math.MaxInt64))), want: "found a length of 9223372036854775807"},
	{name: "name padding", nar: archive(directory(strs("entry", "(", "name") + strPad("a", ' ') + str("node") + file("") + str(")"))), want: "want padding of zeros, found 0x20202020202020"},
	{name: "same name twice", nar: archive(directory(entry("a", file("")), entry("a", file("")))), want: `in "a": want names in ascending order, each once: one behind "a", found "a"`},
	{name: "symlink, then directory", nar: archive(directory(entry("a", link("/tmp")), entry("a", directory(entry("x", file("")))))), want: `one behind "a", found "a"`},
	{name: "unsorted", nar: archive(directory(entry("b", file("")), entry("a", file("")))), want: `one behind "b", found "a"`},
	{name: "unsorted behind a directory", nar: archive(directory(entry("b", directory(entry("z", file("")))), entry("a", file("")))), want: `one behind "b", found "a"`},
	{name: "a prefix comes late", nar: archive(directory(entry("ab", file("")), entry("a", file("")))), want: `one behind "ab", found "a"`},
	{name: "sorted as signed bytes", nar: archive(directory(entry("\xff", file("")), entry("a", file("")))), want: `one behind "\xff", found "a"`},
	{name: "sorted by path, not by name", nar: archive(directory(entry("a.d", file("")), entry("a", directory(entry("x", file("")))))), want: `one behind "a.d", found "a"`},
	{name: "unsorted, deep", nar: archive(directory(entry("x", directory(entry("d", file("")), entry("c", file("")))))), want: `in "x/d": want names in ascending order, each once: one behind "d", found "c"`},

	{name: "65 levels", nar: archive(nested(64)), want: "want at most 64 levels, found one more"},
	{name: "200 levels", nar: archive(nested(200)), want: "want at most 64 levels, found one more"},
}

func TestReader_Hostile(t *testing.T) {
	for _, c := range hostile {
		t.Run(c.name, func(t *testing.T) {
			_, err := readAll(nar.NewReader(strings.NewReader(c.nar)))
			if err == nil {
				t.Fatal("it is accepted")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("want an error with %q, got %q", c.want, err)
			}
			if !strings.HasPrefix(err.Error(), "bad NAR at offset ") {
				t.Errorf("want a FormatError's text, got %q", err)
			}
			var format *nar.FormatError
			if !errors.As(err, &format) {
				t.Fatalf("want a FormatError, got %T", err)
			}
			if cut := strings.Contains(err.Error(), "the end of the input"); cut != errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("want io.ErrUnexpectedEOF exactly when the input is cut, got %v", err)
			}
			if _, err := referenceParse(c.nar); err == nil {
				t.Error("the reference takes it")
			}
		})
	}
}

// Limits are inclusive.
func TestReader_AtLimits(t *testing.T) {
	for name, b := range map[string]string{
		"64 levels":             archive(nested(63)),
		"name of 255 bytes":     archive(directory(entry(strings.Repeat("n", 255), file("")))),
		"target of 4095 bytes":  archive(link(strings.Repeat("t", 4095))),
		"empty file":            archive(file("")),
		"empty directory":       archive(directory()),
		"dots":                  archive(directory(entry("...", file("")), entry("..a", file("")), entry(".a", file("")))),
		"bytes of all values":   archive(directory(entry("\x01", file("")), entry("\x7f", file("")), entry("\x80", file("")), entry("\xff", file("")))),
		"name that is a tag":    archive(directory(entry(")", file(")")), entry("entry", directory(entry("node", link("target")))))),
		"longest path":          archive(longest(63)),
		"targets climb, absent": archive(directory(entry("a", link("../../../..")), entry("b", link("/")), entry("c", link("\xff")))),
	} {
		t.Run(name, func(t *testing.T) {
			want, err := referenceParse(b)
			if err != nil {
				t.Fatal(err)
			}
			got, err := readAll(nar.NewReader(strings.NewReader(b)))
			if err != nil {
				t.Fatal(err)
			}
			equalNodes(t, got, want)
			if again := encode(t, got); string(again) != b {
				t.Error("encoded again, it is another archive")
			}
		})
	}
}

// longest is a file below n directories whose names are as long as can be.
func longest(n int) string {
	node := file("deep")
	for range n {
		node = directory(entry(strings.Repeat("d", 255), node))
	}
	return node
}
