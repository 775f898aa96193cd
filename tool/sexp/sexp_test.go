package sexp_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/sexp"
)

// canonical writes n as draft-rivest-sexp's canonical encoding.
func canonical(n *sexp.Node) string {
	if !n.IsList() {
		return fmt.Sprintf("%d:%s", len(n.String), n.String)
	}
	var b strings.Builder
	b.WriteByte('(')
	for i := range n.List {
		b.WriteString(canonical(&n.List[i]))
	}
	b.WriteByte(')')
	return b.String()
}

func TestParse(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"()", "()"},
		{" \n(a)\t", "(1:a)"},
		{"(a (b c) d)", "(1:a(1:b1:c)1:d)"},
		{"(1:a3:b c)", "(1:a3:b c)"},
		{"(a#0aFF#b)", "(1:a2:\n\xff1:b)"},
		{"(# 0A\n ff #)", "(2:\n\xff)"},
		{"(##)", "(0:)"},
		{`("a b\n\"\\\x41\101" "")`, "(8:a b\n\"\\AA0:)"},
		{"(|aGk=|)", "(2:hi)"},
		{"(0:)", "(0:)"},
		{"(sig-val rfc6979 Ed25519 a.b/c_d:e*f+g=)", "(7:sig-val7:rfc69797:Ed2551914:a.b/c_d:e*f+g=)"},
		{strings.Repeat("(", sexp.MaxDepth) + strings.Repeat(")", sexp.MaxDepth), strings.Repeat("(", sexp.MaxDepth) + strings.Repeat(")", sexp.MaxDepth)},
	} {
		n, err := sexp.Parse(c.text)
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
		} else if got := canonical(n); got != c.want {
			t.Errorf("%q: want %q, got %q", c.text, c.want, got)
		}
	}
}

func TestParse_Refuses(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "want a list"},
		{"a", "want a list"},
		{"1:a", "want a list"},
		{"(", "ends before its last parenthesis"},
		{"(a", "ends before its last parenthesis"},
		{"(a))", "more behind"},
		{"(a) (b)", "more behind"},
		{"(3:ab)", "ends before its last parenthesis"}, // The parenthesis belongs to the string.
		{"(9:ab)", "want 9 bytes, found 3"},
		{"(99999999999999999999:ab)", "want LENGTH:BYTES"},
		{"(01:a)", "want LENGTH:BYTES"},
		{"(9lives)", "want LENGTH:BYTES"},
		{"(#0#)", "want hex"},
		{"(#0g#)", "want hex"},
		{"(#00)", "ends it"},
		{"(|a|)", "want base64"},
		{`("a)`, "ends it"},
		{`("\q")`, "unknown escape"},
		{`("\x4`, "ends it"},
		{`("\`, "ends it"},
		{"([text]a)", "begins neither"},
		{"(a\x00)", "begins neither"},
		{strings.Repeat("(", sexp.MaxDepth+1) + strings.Repeat(")", sexp.MaxDepth+1), "more than 32 lists"},
		{"(" + strings.Repeat(" ", sexp.MaxSize) + ")", "over 65536 bytes"},
	} {
		n, err := sexp.Parse(c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.40q: want an error with %q, got %v, %v", c.text, c.want, n, err)
		}
	}
}

func TestChild(t *testing.T) {
	n, err := sexp.Parse("(top (a 1:x) (b 1:y) (b 1:z) (c (d)) (e) x (f 1:x 1:y))")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"a": "x", "b": "want one (b …) in (top …), found several", "c": "want (c VALUE)", "e": "want (e VALUE)",
		"f": "want (f VALUE)", "x": "want (x …) in (top …), found none", "top": "found none", "": "found none",
	} {
		got := ""
		c, err := n.Child(name)
		if err == nil {
			got, err = c.Value()
		}
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%q: want %q, got %q", name, want, got)
		}
	}
}

// real are the key and a signature that Guix wrote.
func real(t testing.TB) (all []string) {
	t.Helper()
	b, err := os.ReadFile("../../testdata/web/guix/signing-key.pub")
	if err != nil {
		t.Fatal(err)
	}
	all = append(all, string(b))
	files, err := filepath.Glob("../../testdata/web/guix/cache/*.narinfo")
	if err != nil || len(files) != 7 {
		t.Fatalf("%d narinfos, want 7; %v", len(files), err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(b), "\nSignature: 1;strata;")
		line, _, _ := strings.Cut(rest, "\n")
		s, err := base64.StdEncoding.DecodeString(line)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(s))
	}
	return all
}

// What Guix wrote is read, and its canonical encoding is the same expression.
func TestParse_Guix(t *testing.T) {
	for i, text := range real(t) {
		n, err := sexp.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if want := map[bool]string{true: "public-key", false: "signature"}[i == 0]; n.Name() != want {
			t.Errorf("want a %s, got a %s", want, n.Name())
		}
		again, err := sexp.Parse(canonical(n))
		if err != nil || canonical(again) != canonical(n) {
			t.Errorf("canonical: %v", err)
		}
	}
}

// Whatever is read can be written in canonical encoding and read again as the same.
func FuzzParse(f *testing.F) {
	for _, text := range real(f) {
		f.Add(text)
	}
	f.Add("(3:abc #00# \"\\x41\" |aGk=| ())")
	f.Fuzz(func(t *testing.T, text string) {
		n, err := sexp.Parse(text)
		if err != nil {
			return
		}
		c := canonical(n)
		if len(c) > sexp.MaxSize {
			return
		}
		again, err := sexp.Parse(c)
		if err != nil || canonical(again) != c {
			t.Fatalf("%q: canonical %q: %v", text, c, err)
		}
	})
}
