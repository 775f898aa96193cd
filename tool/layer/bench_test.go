package layer

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/narfile"
)

// unpacked returns n with its NAR as it is in memory, uncompressed.
func unpacked(tb testing.TB, n NAR) NAR {
	tb.Helper()
	src, err := n.Open(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	defer src.Close()
	var r narfile.Reader
	defer r.Close()
	if err := r.Reset(src, n.File); err != nil {
		tb.Fatal(err)
	}
	b, err := io.ReadAll(&r)
	if err != nil {
		tb.Fatal(err)
	}
	m := fromBytes(n.File.StorePath.Base(), b)
	return m
}

// The real programs and libraries of testdata, 40 MB; without the 32 MB file that compresses to 5 kB.
func benchNARs(tb testing.TB) (nars []NAR, size int64) {
	tb.Helper()
	for _, n := range wholeCache(tb, webDir+"/cache") {
		if strings.Contains(string(n.File.StorePath), "big-compressible") {
			continue
		}
		nars = append(nars, n)
		size += n.File.NarSize
	}
	return nars, size
}

func BenchmarkWrite(b *testing.B) {
	stored, size := benchNARs(b)
	var plain []NAR
	for _, n := range stored {
		plain = append(plain, unpacked(b, n))
	}
	run := func(name string, nars []NAR, size int64, o Options) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Write(b.Context(), io.Discard, nars, o); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for _, c := range Compressions() {
		run("to="+c, plain, size, Options{Compression: c})
	}
	run("from=zstd/to=none", stored, size, Options{Compression: None})
	var xz []NAR
	size = 0
	for _, n := range wholeCache(b, webDir+"/variants/bash-xz") {
		xz = append(xz, n)
		size += n.File.NarSize
	}
	run("from=xz/to=none", xz, size, Options{Compression: None})
}

// A layer of one small file: what an action costs at least.
func BenchmarkWrite_Small(b *testing.B) {
	n := fromBytes(oddBase, makeNAR(b, file("", "small")))
	for _, c := range Compressions() {
		b.Run("to="+c, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Write(b.Context(), io.Discard, []NAR{n}, Options{Compression: c}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Nothing is allocated per entry: ten thousand of them cost what ten do.
func TestWrite_Allocations(t *testing.T) {
	count := func(entries int, o Options) float64 {
		nodes := []node{dir("")}
		for i := range entries {
			name := fmt.Sprintf("%05d", i)
			switch i % 5 {
			case 0:
				nodes = append(nodes, symlink(name, "target/"+strings.Repeat("x", 150)))
			case 1:
				nodes = append(nodes, executable(name+"\u00e9", "contents"))
			default:
				nodes = append(nodes, file(name, "contents"))
			}
		}
		n := fromBytes(oddBase, makeNAR(t, nodes...))
		return testing.AllocsPerRun(3, func() {
			if _, err := Write(context.Background(), io.Discard, []NAR{n}, o); err != nil {
				t.Fatal(err)
			}
		})
	}
	for _, o := range []Options{
		{Compression: None},
		{
			Compression: None,
			Mtree:       io.Discard,
			Owner:       &Owner{UID: 1 << 30, UserName: "somebody"},
			Exclude:     []Pattern{pattern(t, "**/*.a")},
			Modes:       []ModeRule{{pattern(t, "*0"), 0o600}},
			StripPrefix: ".",
		},
	} {
		few, many := count(10, o), count(10_000, o)
		if many > few+50 { // chunks of the ring, and growing buffers
			t.Errorf("%+v: %.0f allocations for 10 entries, %.0f for 10,000", o, few, many)
		}
	}
}
