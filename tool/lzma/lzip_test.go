package lzma_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/rules-strata/rules_strata/tool/lzma"
)

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// numbers is what testdata/numbers-*.lz hold.
func numbers() []byte {
	var b bytes.Buffer
	for i := 1; i <= 6000; i++ {
		fmt.Fprintln(&b, i, i*7919%65537)
	}
	return b.Bytes()
}

func files() map[string][]byte {
	n := numbers()
	return map[string][]byte{
		"numbers-4KiB.lz": n, "numbers-30KiB.lz": n, "numbers-64KiB.lz": n, "numbers-8MiB.lz": n, "numbers-members.lz": n,
		"zeros.lz": make([]byte, 120_000),
	}
}

func decompress(r *lzma.LzipReader, src io.Reader) ([]byte, error) {
	r.Reset(src)
	b, err := io.ReadAll(r)
	if n, again := r.Read(make([]byte, 1)); n != 0 || err == nil && again != io.EOF || err != nil && again != err {
		return b, fmt.Errorf("after %v Read gives %d, %w", err, n, again)
	}
	return b, err
}

// What lzip wrote comes out by one Reader, whatever dictionary it had before and however the file is read.
func TestLzip_Files(t *testing.T) {
	r := lzma.NewLzipReader(8 << 20)
	for range 2 {
		for name, want := range files() {
			data := readFile(t, name)
			for how, src := range map[string]io.Reader{
				"plain":           bytes.NewReader(data),
				"one byte":        iotest.OneByteReader(bytes.NewReader(data)),
				"error with data": iotest.DataErrReader(bytes.NewReader(data)),
				"twice":           io.MultiReader(bytes.NewReader(data), bytes.NewReader(data)),
			} {
				want := want
				if how == "twice" {
					want = append(bytes.Clone(want), want...)
				}
				if got, err := decompress(r, src); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s, %s: got %d bytes, want %d; %v", name, how, len(got), len(want), err)
				}
			}
			// In the middle of a file.
			r.Reset(bytes.NewReader(data))
			if _, err := io.ReadFull(r, make([]byte, 50_000)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// The checksum covers all: a file with any byte changed is refused, unless only the dictionary's size is another, which may do.
func TestLzip_FlippedAnywhere(t *testing.T) {
	r := lzma.NewLzipReader(1 << 29)
	want := numbers()
	data := readFile(t, "numbers-members.lz")
	for n := 0; n < len(data); n += 1 + n/60 {
		damaged := bytes.Clone(data)
		damaged[n] ^= 1 << (n % 8)
		got, err := decompress(r, bytes.NewReader(damaged))
		ofDictSize := bytes.HasSuffix(data[:n], []byte("LZIP\x01"))
		if err == nil && !(ofDictSize && bytes.Equal(got, want)) {
			t.Errorf("byte %d changed: taken, %d bytes", n, len(got))
		}
	}
}

// A file that is cut is one that ends too early, but between two members.
func TestLzip_CutAnywhere(t *testing.T) {
	r := lzma.NewLzipReader(8 << 20)
	data := readFile(t, "numbers-members.lz")
	for n := 0; n < len(data); n += 1 + n/60 {
		_, err := decompress(r, bytes.NewReader(data[:n]))
		if err != io.ErrUnexpectedEOF && string(data[n:min(n+4, len(data))]) != "LZIP" {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
}

func TestLzip_Refuses(t *testing.T) {
	whole := readFile(t, "zeros.lz")
	with := func(at int, b ...byte) string {
		c := bytes.Clone(whole)
		if at < 0 {
			at += len(c)
		}
		copy(c[at:], b)
		return string(c)
	}
	r := lzma.NewLzipReader(1 << 20)
	for _, c := range []struct{ name, data, want string }{
		{"nothing", "", "unexpected EOF"},
		{"no magic", "XZIP\x01\x0c" + string(whole[6:]), `want a file that begins with "LZIP", found "XZIP"`},
		{"version 0", with(4, 0), "want version 1, found 0"},
		{"dictionary of 2^11", with(5, 11), "found 2^11"},
		{"dictionary of 2^30", with(5, 30), "found 2^30"},
		{"dictionary of less than 4 KiB", with(5, 12|1<<5), "at least 4096 bytes, found 3840"},
		{"dictionary over the limit", with(5, 21), lzma.ErrDictSize.Error()},
		{"first byte of the stream", with(6, 1), "damaged"},
		{"CRC", with(-20, whole[len(whole)-20]^1), lzma.ErrChecksum.Error()},
		{"data size", with(-12, whole[len(whole)-12]^1), lzma.ErrChecksum.Error()},
		{"member size", with(-8, whole[len(whole)-8]^1), lzma.ErrChecksum.Error()},
		{"zeros behind", string(whole) + "\x00", lzma.ErrTrailing.Error()},
		{"garbage behind", string(whole) + "garbage", lzma.ErrTrailing.Error()},
		{"half a header behind", string(whole) + "LZIP\x01", "unexpected EOF"},
		// A first match that refers to what was before the start: all bits of the stream are 1.
		{"match before the start", "LZIP\x01\x0c\x00\xff\xff\xff\xff" + strings.Repeat("\xff", 40), "damaged"},
	} {
		got, err := decompress(r, strings.NewReader(c.data))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: want an error with %q; got %d bytes, %v", c.name, c.want, len(got), err)
		}
	}
	broken := errors.New("connection reset")
	for _, n := range []int{0, 3, 6, 8, 20, len(whole) - 20, len(whole) - 1, len(whole)} {
		if _, err := decompress(r, io.MultiReader(bytes.NewReader(whole[:n]), iotest.ErrReader(broken))); err != broken {
			t.Errorf("source broken after %d bytes: got %v", n, err)
		}
	}
}

// However hostile the file: no panic, and the same result whatever was read before and in whatever pieces.
func FuzzLzip(f *testing.F) {
	for name := range files() {
		f.Add(readFile(f, name))
	}
	f.Add([]byte("LZIP\x01\x0c\x00\xff\xff\xff\xff"))
	used := lzma.NewLzipReader(1 << 16)
	f.Fuzz(func(t *testing.T, data []byte) {
		const limit = 1 << 20 // callers know how long the data may be
		read := func(r *lzma.LzipReader, src io.Reader) ([]byte, error) {
			r.Reset(src)
			return io.ReadAll(io.LimitReader(r, limit))
		}
		got, err := read(used, bytes.NewReader(data))
		again, err2 := read(lzma.NewLzipReader(1<<16), iotest.HalfReader(bytes.NewReader(data)))
		same := bytes.Equal(got, again)
		if err != nil { // How much comes before a fault depends on the pieces.
			same = bytes.HasPrefix(got, again) || bytes.HasPrefix(again, got)
		}
		if !same || fmt.Sprint(err) != fmt.Sprint(err2) {
			t.Fatalf("%d bytes, %v; then %d bytes, %v", len(got), err, len(again), err2)
		}
	})
}

func BenchmarkLzip(b *testing.B) {
	data := readFile(b, "numbers-8MiB.lz")
	r := lzma.NewLzipReader(8 << 20)
	b.SetBytes(int64(len(numbers())))
	b.ReportAllocs()
	for b.Loop() {
		r.Reset(bytes.NewReader(data))
		if _, err := io.Copy(io.Discard, r); err != nil {
			b.Fatal(err)
		}
	}
}
