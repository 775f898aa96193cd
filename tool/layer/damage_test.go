package layer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/rules-strata/rules_strata/tool/narfile"
)

// damage changes b at a random place: a bit flipped, some bytes overwritten, removed or put in, or the rest cut off.
func damage(r *rand.Rand, b []byte) []byte {
	at := r.IntN(len(b))
	b = bytes.Clone(b)
	some := make([]byte, 1+r.IntN(9))
	for i := range some {
		some[i] = byte(r.Uint32())
	}
	switch r.IntN(5) {
	case 0:
		b[at] ^= 1 << r.IntN(8)
	case 1:
		copy(b[at:], some)
	case 2:
		b = append(b[:at], b[min(len(b), at+len(some)):]...)
	case 3:
		b = append(b[:at], append(some, b[at:]...)...)
	case 4:
		b = b[:at]
	}
	return b
}

// place is where something is wrong, as errors tell it.
var place = regexp.MustCompile(`\b(at offset|after|byte) [0-9]+\b`)

// Whatever happens to a NAR file on its way, it is never taken: nothing but an
// error that begins with the store path and says after how many bytes. Where no FileHash is known, damage that the decompressed bytes don't
// show is let pass, with the right layer.
func TestWrite_Damage(t *testing.T) {
	checkGoroutines(t)
	rounds := 300
	if testing.Short() {
		rounds = 50
	}
	for _, variant := range narfile.Compressions() {
		n := cached(t, webDir+"/variants/"+variant, "asn0wpn021jshb0g4kh09vy554qv14a2")
		src, err := n.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		whole, err := io.ReadAll(src)
		src.Close()
		if err != nil {
			t.Fatal(err)
		}
		want := sha256.Sum256(mustWrite(t, []NAR{n}, Options{}))
		r := rand.New(rand.NewPCG(7, uint64(len(whole))))
		passed := 0
		for range rounds {
			bad := damage(r, whole)
			if bytes.Equal(bad, whole) {
				continue
			}
			n.Open = func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(bad)), nil }
			for _, hashed := range []bool{true, false} {
				m := n
				if !hashed {
					m.File.FileHash, m.File.FileSize = [32]byte{}, -1
				}
				h := sha256.New()
				_, err := Write(t.Context(), h, []NAR{m}, Options{Compression: None, Workers: 1})
				switch {
				case err == nil && hashed:
					t.Fatalf("%s: taken, though damaged: %x", variant, bad)
				case err == nil:
					passed++
					if got := [32]byte(h.Sum(nil)); got != want {
						t.Fatalf("%s: another layer: %x", variant, bad)
					}
				case !strings.HasPrefix(err.Error(), string(m.File.StorePath)+": "):
					t.Fatalf("%s: the error doesn't begin with the store path: %v", variant, err)
				case !place.MatchString(err.Error()):
					t.Fatalf("%s: the error doesn't say where: %v", variant, err)
				}
			}
		}
		if passed > rounds/5 || variant == "none" && passed > 0 {
			t.Errorf("%s: %d of %d damaged files without FileHash were taken", variant, passed, rounds)
		}
	}
}

// A NAR whose hash is right and whose lengths lie: each is refused, or, where the number put in is no
// length, comes through as it is.
func TestWrite_LyingLengths(t *testing.T) {
	good := makeNAR(t, dir(""), file("a", strings.Repeat("x", 100)), executable("b", ""), symlink("c", "a"), dir("d"), file("d/e", "y"))
	taken := 0
	for at := 0; at < len(good); at += 8 {
		for _, length := range []uint64{1<<64 - 1, 1<<64 - 8, 1 << 63, 1<<63 - 1, 1<<63 - 8, 1 << 40, 1 << 32, 1<<32 - 1, 4096, 256, 0} {
			bad := bytes.Clone(good)
			binary.LittleEndian.PutUint64(bad[at:], length)
			if bytes.Equal(bad, good) {
				continue
			}
			var b bytes.Buffer
			_, err := Write(t.Context(), &b, []NAR{fromBytes(oddBase, bad)}, Options{Compression: None, AllowWhiteoutNames: true})
			if err != nil {
				if !strings.Contains(err.Error(), "bad NAR at offset ") || !strings.HasPrefix(err.Error(), "/nix/store/"+oddBase+": ") {
					t.Errorf("%d at %d: %v, want an error with path and offset", length, at, err)
				}
				continue
			}
			taken++
			if !bytes.Equal(narOfTar(t, b.Bytes()), bad) {
				t.Errorf("%d at %d: taken, but as another tree", length, at)
			}
		}
	}
	if taken > 13*11+10 { // the words of the one long file
		t.Errorf("%d archives were taken", taken)
	}
}

// More than was promised stops where the promise ends, however much there is.
func TestWrite_Bomb(t *testing.T) {
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	head := makeNAR(t, file("", strings.Repeat("\x00", 1<<20)))
	if _, err := z.Write(head[:len(head)-16]); err != nil {
		t.Fatal(err)
	}
	for range 256 {
		if _, err := z.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	n := fromBytes(oddBase, head)
	n.File.Compression = "gzip"
	n.Open = func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(packed.Bytes())), nil
	}
	_, err = Write(t.Context(), io.Discard, []NAR{n}, Options{})
	want := fmt.Sprintf("/nix/store/%s: NarSize mismatch: want %d, got more", oddBase, len(head))
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("error %v, want %s…", err, want)
	}
}
