package nar_test

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/rules-strata/rules_strata/tool/nar"
)

// FuzzReader compares Reader with the plain parser, read at once and byte by
// byte, and writes again what was taken: that must be the same archive.
func FuzzReader(f *testing.F) {
	f.Add([]byte(richNAR))
	f.Add([]byte(archive(file("x"))))
	f.Add([]byte(archive(nested(3))))
	for _, c := range hostile {
		f.Add([]byte(c.nar))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		want, wantErr := referenceParse(string(b))
		for name, src := range map[string]io.Reader{
			"at once":      strings.NewReader(string(b)),
			"byte by byte": iotest.OneByteReader(strings.NewReader(string(b))),
		} {
			r := nar.NewReader(src)
			got, err := readAll(r)
			if (err == nil) != (wantErr == nil) {
				t.Fatalf("%s: Reader says %v, the reference %v", name, err, wantErr)
			}
			if r.Offset() > int64(len(b)) {
				t.Fatalf("%s: offset %d of %d", name, r.Offset(), len(b))
			}
			if err != nil {
				continue
			}
			equalNodes(t, got, want)
			if string(encode(t, got)) != string(b) {
				t.Fatalf("%s: written again, it is another archive", name)
			}
		}
	})
}
