package deflate

import (
	"fmt"
	"io"
	"testing"

	klauspost "github.com/klauspost/compress/flate"
)

// A piece as the layers have it, of a program, of what is much the same everywhere, and of what can't be compressed.
func BenchmarkAppend(b *testing.B) {
	const size, dict = 1 << 20, 16 << 10
	for name, src := range map[string][]byte{
		"program":   program(b, 2<<20)[1<<20-dict:],
		"generated": generate(1, size+dict),
		"zeros":     make([]byte, size+dict),
	} {
		b.Run(name, func(b *testing.B) {
			var e Encoder
			var out []byte
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				out = e.Append(out[:0], src, dict, false)
			}
			b.ReportMetric(float64(len(out))/size, "ratio")
		})
		for _, level := range []int{5, 6} {
			b.Run(fmt.Sprintf("%s/klauspost-%d", name, level), func(b *testing.B) {
				z, err := klauspost.NewWriterDict(io.Discard, level, nil)
				if err != nil {
					b.Fatal(err)
				}
				var n counter
				b.SetBytes(size)
				b.ReportAllocs()
				for b.Loop() {
					n = 0
					z.ResetDict(&n, src[:dict])
					if _, err := z.Write(src[dict:]); err != nil {
						b.Fatal(err)
					}
					if err := z.Flush(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(n)/size, "ratio")
			})
		}
	}
}

type counter int

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
