package deflate

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	klauspost "github.com/klauspost/compress/flate"
)

// program returns the beginning of a real one, this test.
func program(tb testing.TB, size int) []byte {
	tb.Helper()
	name, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, size)
	if _, err := io.ReadFull(f, b); err != nil {
		tb.Fatal(err)
	}
	return b
}

// generate returns what is always the same for the same seed. Some of it compresses well, some not at all.
func generate(seed uint64, size int) []byte {
	rnd := rand.New(rand.NewPCG(seed, 0))
	b := make([]byte, 0, size+1<<10)
	for len(b) < size {
		n := rnd.IntN(1 << rnd.IntN(14))
		switch rnd.IntN(6) {
		case 0: // as it comes
			for range n {
				b = append(b, byte(rnd.Uint32()))
			}
		case 1: // few different bytes
			base := byte(rnd.Uint32())
			for range n {
				b = append(b, base+byte(rnd.IntN(1+rnd.IntN(16))))
			}
		case 2: // one byte
			b = append(b, bytes.Repeat([]byte{byte(rnd.Uint32())}, n)...)
		default: // what was there before
			for len(b) > 0 && n > 0 {
				i := max(0, len(b)-1-rnd.IntN(1<<rnd.IntN(17)))
				m := min(n, len(b)-i, 1+rnd.IntN(1<<rnd.IntN(9)))
				b = append(b, b[i:i+m]...)
				n -= m
				b = append(b, byte(rnd.Uint32()))
			}
		}
	}
	return b[:size]
}

// final is a last block with nothing in it (3.2.6): what ends a stream that goes on.
var final = []byte{3, 0}

// inflate returns what two decoders make of a stream, which must be the same.
func inflate(tb testing.TB, stream, dict []byte) []byte {
	tb.Helper()
	in := bytes.NewReader(stream)
	got, err := io.ReadAll(flate.NewReaderDict(in, dict))
	if err != nil {
		tb.Fatalf("compress/flate: %v after %d bytes", err, len(got))
	}
	if in.Len() > 0 {
		tb.Fatalf("compress/flate: %d bytes behind the end", in.Len())
	}
	other, err := io.ReadAll(klauspost.NewReaderDict(bytes.NewReader(stream), dict))
	if err != nil {
		tb.Fatalf("klauspost: %v after %d bytes", err, len(other))
	}
	if !bytes.Equal(got, other) {
		tb.Fatal("the two decoders don't agree")
	}
	return got
}

// check deflates src[dict:] with e, as a last piece and as another one, and inflates it.
func check(tb testing.TB, e *Encoder, src []byte, dict int) {
	tb.Helper()
	for _, last := range []bool{true, false} {
		out := e.Append(nil, src, dict, last)
		stream := out
		if !last {
			if !bytes.HasSuffix(out, []byte{0, 0, 0xff, 0xff}) {
				tb.Fatalf("no empty stored block ends it: %x", out[max(0, len(out)-8):])
			}
			stream = append(out[:len(out):len(out)], final...)
		}
		if got := inflate(tb, stream, src[:dict]); !bytes.Equal(got, src[dict:]) {
			tb.Fatalf("%d bytes after %d: %d others came back", len(src)-dict, dict, len(got))
		}
		size := len(src) - dict
		if most := size + (size+segmentSize-1)/segmentSize*5 + 16; len(out) > most {
			tb.Fatalf("%d bytes of %d, want %d at most", len(out), size, most)
		}
		prefix := []byte("before")
		if again := new(Encoder).Append(prefix, src, dict, last); !bytes.Equal(again, append(prefix, out...)) {
			tb.Fatalf("a new Encoder writes others: %d bytes after %d", size, dict)
		}
	}
}

func TestAppend_RoundTrip(t *testing.T) {
	random := make([]byte, 300_000)
	for i, rnd := 0, rand.New(rand.NewPCG(1, 2)); i < len(random); i++ {
		random[i] = byte(rnd.Uint32())
	}
	var e Encoder
	for name, src := range map[string][]byte{
		"zeros":     make([]byte, 300_000),
		"random":    random,
		"generated": generate(3, 300_000),
		"program":   program(t, 2<<20)[1<<20:],
		"text":      []byte(strings.Repeat("It was the best of times, it was the worst of times. ", 6_000)),
		"0xff":      bytes.Repeat([]byte{0xff}, 70_000),
	} {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{0, 1, 2, 3, 4, 7, 8, 15, 16, 17, 18, 24, 31, 100, 257, 258, 259, 260, 1000, 8191, 8192, 8193, 32768, 65535, 65536, 100_000, len(src)} {
				for _, dict := range []int{0, 1, 3, 15, 16, 17, 300, 16384, 32767, 32768, 32769, 70_000} {
					if size > len(src) || dict > size || size > 2000 && dict%2 == 1 {
						continue
					}
					check(t, &e, src[:size], dict)
				}
			}
		})
	}
}

// Pieces, each with the end of the one before as its dictionary, make up one stream, as the layers have it.
func TestAppend_Pieces(t *testing.T) {
	src := append(program(t, 1<<20), generate(4, 1<<19)...)
	for _, size := range []int{1 << 10, 10_000, 1 << 17, 1 << 20} {
		for _, known := range []int{0, 100, 16 << 10, 32 << 10, 40 << 10} {
			if known > size {
				continue
			}
			var e Encoder
			var out []byte
			for i := 0; i < len(src); i += size {
				end := min(i+size, len(src))
				from := max(0, i-known)
				out = e.Append(out, src[from:end], i-from, end == len(src))
			}
			if got := inflate(t, out, nil); !bytes.Equal(got, src) {
				t.Fatalf("pieces of %d after %d: %d other bytes came back, of %d", size, known, len(got), len(src))
			}
		}
	}
}

// What comes out is part of what layers are: digestfile.FormatVersion is raised when it changes. It is the same on every
// machine; TestAppend_OtherMachines runs this one there.
func TestAppend_PinnedDigests(t *testing.T) {
	var e Encoder
	for _, c := range []struct {
		size, dict int
		digest     string
	}{
		{0, 0, "9b4fb24edd6d1d8830e272398263cdbf026b97392cc35387b991dc0248a628f9"},
		{1_000, 100, "64f214f838cc17bce3054cb799250cf6c50752e36caf8d5bbb70ccbba76bf570"},
		{100_000, 0, "99c72d895cdf062298e7a51cadc0c1ccbefbe4a1da4b5125e021962444a67550"},
		{1<<20 + 16<<10, 16 << 10, "f875a34065a6fdae74a249a2e3dc5ccd3aa715f7a1b3a9a1f427283c6824896a"},
	} {
		sum := sha256.Sum256(e.Append(nil, generate(uint64(c.size), c.size), c.dict, true))
		if got := hex.EncodeToString(sum[:]); got != c.digest {
			t.Errorf("%d bytes: %s, want %s", c.size, got, c.digest)
		}
	}
}

// The same bytes come of a processor with another order of bytes in memory, and of loads whose bounds are checked.
func TestAppend_OtherMachines(t *testing.T) {
	if os.Getenv("STRATA_REQUIRE_CLIENTS") != "1" {
		t.Skip("it takes a minute, to build the test three times; run it with STRATA_REQUIRE_CLIENTS=1")
	}
	if os.Getenv("TEST_SRCDIR") != "" {
		t.Skip("it needs the sources, which a test under Bazel doesn't have")
	}
	for _, c := range []struct{ arch, tags, qemu string }{
		{runtime.GOARCH, "purego", ""},
		{"arm64", "", "qemu-aarch64-static"},
		{"s390x", "", "qemu-s390x-static"},
	} {
		t.Run(c.arch+c.tags, func(t *testing.T) {
			test := filepath.Join(t.TempDir(), "test")
			build := exec.Command("go", "test", "-c", "-tags="+c.tags, "-o", test, ".")
			build.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+c.arch, "CGO_ENABLED=0", "GOFLAGS=")
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("building for %s: %v\n%s", c.arch, err, out)
			}
			args := []string{test, "-test.v", "-test.run=^(TestAppend_PinnedDigests|FuzzAppend)$"}
			if c.qemu != "" {
				args = append([]string{c.qemu}, args...)
			}
			out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if !bytes.Contains(out, []byte("PASS: TestAppend_PinnedDigests")) {
				t.Fatalf("it didn't run:\n%s", out)
			}
		})
	}
}

func TestAppend_Allocations(t *testing.T) {
	src := program(t, 1<<20)
	var e Encoder
	dst := e.Append(nil, src, 0, false)
	if n := testing.AllocsPerRun(3, func() { dst = e.Append(dst[:0], src, 16<<10, false) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// It is as strong as what it took the place of.
func TestAppend_Size(t *testing.T) {
	src := program(t, 2<<20)
	var other bytes.Buffer
	z, err := klauspost.NewWriter(&other, 6)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(src); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if got := len(new(Encoder).Append(nil, src, 0, true)); got > other.Len()*101/100 {
		t.Errorf("%d bytes, %d by klauspost's level 6", got, other.Len())
	}
}

// The tokens stand for what was looked at, by the plainest decoder, and refer to nothing else.
func TestFind_Tokens(t *testing.T) {
	src := append(program(t, 1<<18), generate(5, 1<<18)...)
	var f finder
	var h, want histogram
	for _, dict := range []int{0, 1 << 14} {
		f.reset(src, dict)
		h.reset()
		want.reset()
		out := append([]byte(nil), src[:dict]...)
		for pos := dict; pos < len(src); {
			n := len(f.tokens)
			end := f.find(src, pos, min(pos+segmentSize, len(src)), &h)
			for _, token := range f.tokens[n:] {
				symbol := token >> tokenDistance & 31
				if s := token & 511; s < tokenMatch {
					want.litLen[s]++
					if symbol != noDistance {
						t.Fatalf("a literal at %d has a distance", len(out))
					}
					out = append(out, byte(s))
					continue
				}
				length, distance := int(token&511)-tokenMatch+minLength, int(token>>tokenOffset)+1
				if length < minLength || length > maxLength || distance > len(out) || uint32(symbol) != distSymbol(distance) {
					t.Fatalf("at %d: %d bytes from %d, symbol %d", len(out), length, distance, symbol)
				}
				want.litLen[firstLength+int(lengthSymbol[length-minLength])]++
				want.dist[symbol]++
				for range length {
					out = append(out, out[len(out)-distance])
				}
			}
			if len(out) != end || !bytes.Equal(out[pos:], src[pos:end]) {
				t.Fatalf("from %d: %d bytes, want %d, or others", pos, len(out)-pos, end-pos)
			}
			pos = end
		}
		if h != want {
			t.Error("symbols aren't counted right")
		}
	}
}

// Of the three forms of a block, the one that is written is the shortest: all are, and compared.
func TestWriteBlock_Form(t *testing.T) {
	seen := map[byte]bool{}
	for seed := range uint64(300) {
		src := generate(seed, 1+int(seed*seed%5000))
		var e Encoder
		out := e.Append(nil, src, 0, true)
		form := out[0] >> 1 & 3
		seen[form] = true

		sizes := [3]int{0: 5 + len(src)} // in bytes
		for f := byte(1); f <= 2; f++ {
			e.bitWriter.reset(nil)
			e.room(2*len(src) + 1000)
			litLen, dist := &fixedLitLen, &fixedDist
			e.write(0, 3)
			if f == 2 {
				litLen, dist = &e.litLen, &e.dist
				codes(litLen.bits[:], litLen.length[:])
				codes(dist.bits[:], dist.length[:])
				e.writeHeader()
			}
			e.setBits(litLen, dist)
			e.writeTokens(e.tokens)
			e.write(0, uint(litLen.length[endOfBlock]))
			e.align()
			sizes[f] = e.pos
		}
		if len(out) != min(sizes[0], sizes[1], sizes[2]) {
			t.Errorf("seed %d: %d bytes in form %d; all: %v", seed, len(out), form, sizes)
		}
	}
	if len(seen) != 3 {
		t.Errorf("not every form was seen: %v", seen)
	}
}

// A few rows of the tables in RFC 1951, 3.2.5.
func TestSymbols(t *testing.T) {
	for _, c := range []struct{ length, symbol, extra, base int }{
		{3, 257, 0, 3},
		{10, 264, 0, 10},
		{11, 265, 1, 11},
		{12, 265, 1, 11},
		{18, 268, 1, 17},
		{19, 269, 2, 19},
		{130, 280, 4, 115},
		{131, 281, 5, 131},
		{257, 284, 5, 227},
		{258, 285, 0, 258},
	} {
		s := lengthSymbol[c.length-minLength]
		if firstLength+int(s) != c.symbol || int(lengthExtra[s]) != c.extra || int(lengthBase[s])+minLength != c.base {
			t.Errorf("length %d: symbol %d, %d extra bits, from %d", c.length, firstLength+int(s), lengthExtra[s], int(lengthBase[s])+minLength)
		}
	}
	for _, c := range []struct{ distance, symbol, extra int }{
		{1, 0, 0},
		{4, 3, 0},
		{5, 4, 1},
		{6, 4, 1},
		{7, 5, 1},
		{9, 6, 2},
		{192, 14, 6},
		{193, 15, 6},
		{256, 15, 6},
		{257, 16, 7},
		{384, 16, 7},
		{385, 17, 7},
		{16384, 27, 12},
		{16385, 28, 13},
		{24576, 28, 13},
		{24577, 29, 13},
		{32768, 29, 13},
	} {
		if s := distSymbol(c.distance); int(s) != c.symbol || int(distExtra[s]) != c.extra {
			t.Errorf("distance %d: symbol %d, %d extra bits", c.distance, s, distExtra[s])
		}
	}
}

func ExampleEncoder_Append() {
	stream := []byte("one piece, and another piece")
	var e Encoder
	var out []byte
	out = e.Append(out, stream[:11], 0, false)
	out = e.Append(out, stream, 11, true)
	b, err := io.ReadAll(flate.NewReader(bytes.NewReader(out)))
	fmt.Println(string(b), err)
	// Output: one piece, and another piece <nil>
}
