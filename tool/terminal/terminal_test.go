package terminal

import (
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"": "",
		"plain, \ttabs\nand lines — käse 🧀": "plain, \ttabs\nand lines — käse 🧀",
		"\x1b]0;title\a\x1b[2J\x1b[31mred":  `\x1b]0;title\a\x1b[2J\x1b[31mred`,
		"50%\r100%\r\n":                     "50%\\r100%\\r\n",
		"\x9b31m":                           `\x9b31m`,
		"C1 as UTF-8: \u009b31m":            `C1 as UTF-8: \u009b31m`,
		"not UTF-8: \xff\xc3(":              `not UTF-8: \xff\xc3(`,
		"NUL\x00, DEL\x7f, BS\b":            `NUL\x00, DEL\x7f, BS\b`,
		"right to left: \u202egnp.exe":      `right to left: \u202egnp.exe`,
		"a replacement \ufffd stays":        "a replacement \ufffd stays",
		"no-break\u00a0space":               "no-break\u00a0space",
	} {
		if got := Printable(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("a\x1b[0m\xff\n")
	f.Fuzz(func(t *testing.T, text string) {
		got := Printable(text)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool {
			return r != '\n' && r != '\t' && r != '\u00a0' && !strconv.IsPrint(r)
		}) {
			t.Errorf("%q: got %q", text, got)
		}
		if again := Printable(got); again != got {
			t.Errorf("%q: %q the second time", got, again)
		}
	})
}
