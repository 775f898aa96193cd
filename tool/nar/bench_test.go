package nar_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/nar"
)

// benchmarkNARs are real NARs: one of 2,500 small files, one like most, one of a big file.
var benchmarkNARs = []string{"many-small-files-1.0", "python3-minimal-3.11.2", "big-compressible-1.0"}

func loadNARs(b *testing.B) map[string][]byte {
	b.Helper()
	nars := map[string][]byte{}
	eachNAR(b, func(_ testing.TB, name string, data []byte) {
		text, err := os.ReadFile(name)
		if err != nil {
			b.Fatal(err)
		}
		first, _, _ := strings.Cut(string(text), "\n")
		for _, want := range benchmarkNARs {
			if strings.HasSuffix(first, "-"+want) {
				nars[want] = data
			}
		}
	}, filepath.Join(testdata, "cache"))
	return nars
}

// BenchmarkReader reads NARs out of memory and throws the contents away: what the format itself costs.
func BenchmarkReader(b *testing.B) {
	nars := loadNARs(b)
	for _, name := range benchmarkNARs {
		data := nars[name]
		if data == nil {
			b.Fatalf("%s is not in the cache", name)
		}
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			src := bytes.NewReader(data)
			r := nar.NewReader(src)
			entries := 0
			for b.Loop() {
				src.Reset(data)
				r.Reset(src)
				for {
					if _, err := r.Next(); err == io.EOF {
						break
					} else if err != nil {
						b.Fatal(err)
					}
					entries++
					if _, err := r.WriteTo(io.Discard); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(entries), "ns/entry")
		})
	}
}

func BenchmarkWriter(b *testing.B) {
	nars := loadNARs(b)
	for _, name := range benchmarkNARs {
		all, err := readAll(nar.NewReader(bytes.NewReader(nars[name])))
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(nars[name])))
			b.ReportAllocs()
			contents := make([][]byte, len(all))
			for i, n := range all {
				contents[i] = []byte(n.contents)
			}
			for b.Loop() {
				w := nar.NewWriter(io.Discard)
				for i, n := range all {
					e := nar.Entry{Path: []byte(n.path), Kind: n.kind, Executable: n.executable, Size: n.size, Target: []byte(n.target)}
					if err := w.WriteEntry(&e); err != nil {
						b.Fatal(err)
					}
					if _, err := w.Write(contents[i]); err != nil {
						b.Fatal(err)
					}
				}
				if err := w.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
