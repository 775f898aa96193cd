package lzma_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/rules-strata/rules_strata/tool/lzma"
)

func unxz(r *lzma.XZReader, src io.Reader) ([]byte, error) {
	r.Reset(src)
	b, err := io.ReadAll(r)
	if n, again := r.Read(make([]byte, 1)); n != 0 || err == nil && again != io.EOF || err != nil && again != err {
		return b, fmt.Errorf("after %v Read gives %d, %w", err, n, again)
	}
	return b, err
}

// What xz wrote comes out by one reader, however the file is read.
func TestXZ_Files(t *testing.T) {
	r := lzma.NewXZReader(64 << 20)
	want := numbers()
	for range 2 {
		for _, name := range []string{"numbers-streams.xz", "numbers-blocks.xz", "numbers-filters.xz"} {
			data := readFile(t, name)
			for how, src := range map[string]io.Reader{
				"plain":           bytes.NewReader(data),
				"one byte":        iotest.OneByteReader(bytes.NewReader(data)),
				"error with data": iotest.DataErrReader(bytes.NewReader(data)),
				"padding behind":  io.MultiReader(bytes.NewReader(data), strings.NewReader(strings.Repeat("\x00", 400))),
			} {
				if got, err := unxz(r, src); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s, %s: got %d bytes, want %d; %v", name, how, len(got), len(want), err)
				}
			}
			if got, err := unxz(r, io.MultiReader(bytes.NewReader(data), bytes.NewReader(data))); err != nil || len(got) != 2*len(want) {
				t.Errorf("%s twice: got %d bytes, %v", name, len(got), err)
			}
			// In the middle of a file.
			r.Reset(bytes.NewReader(data))
			if _, err := io.ReadFull(r, make([]byte, 50_000)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// A check is over everything in these: not a bit may be another.
func TestXZ_FlippedAnywhere(t *testing.T) {
	r := lzma.NewXZReader(1 << 30)
	for _, name := range []string{"numbers-streams.xz", "numbers-blocks.xz", "numbers-filters.xz"} {
		data := readFile(t, name)
		for n := 0; n < len(data); n++ {
			if n > 100 && n < len(data)-200 && n%397 != 0 {
				continue
			}
			damaged := bytes.Clone(data)
			damaged[n] ^= 1 << (n % 8)
			if got, err := unxz(r, bytes.NewReader(damaged)); err == nil {
				t.Errorf("%s, byte %d changed: taken, %d bytes", name, n, len(got))
			}
		}
	}
}

// A file that is cut is one that ends too early, but behind a stream.
func TestXZ_CutAnywhere(t *testing.T) {
	r := lzma.NewXZReader(64 << 20)
	data := readFile(t, "numbers-streams.xz")
	whole := 0
	for n := range data {
		if n > 100 && n < len(data)-200 && n%397 != 0 && string(data[n:min(n+2, len(data))]) != "\xfd7" {
			continue
		}
		_, err := unxz(r, bytes.NewReader(data[:n]))
		switch {
		case err == nil && (string(data[max(n-2, 0):n]) == "YZ" || data[n-1] == 0):
			whole++
		case err != io.ErrUnexpectedEOF:
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
	if whole < 2 {
		t.Errorf("%d streams were found", whole)
	}
}

// xzFile makes an xz file of one stream whose block holds "data" as it is. Each
// part may be changed before the checksums behind it are made.
func xzFile(change func(part string, b []byte) []byte) []byte {
	sum := func(b []byte) []byte { return binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(b)) }
	part := func(name, b string) []byte {
		if change == nil {
			return []byte(b)
		}
		return change(name, []byte(b))
	}
	flags := part("flags", "\x00\x01")
	file := append(part("magic", "\xfd7zXZ\x00"), flags...)
	file = append(file, sum(flags)...)
	header := part("block header", "\x02\x00\x21\x01\x08\x00\x00\x00")
	header[0] = byte(len(header) / 4)
	file = append(append(file, header...), sum(header)...)
	file = append(file, part("chunks", "\x01\x00\x03data\x00")...)
	file = append(append(file, part("block padding", "")...), part("check", string(sum([]byte("data"))))...)
	index := part("index", "\x00\x01\x18\x04")
	file = append(append(file, index...), sum(index)...)
	footer := part("footer", "\x01\x00\x00\x00"+string(flags))
	return append(append(append(file, sum(footer)...), footer...), part("end", "YZ")...)
}

func TestXZ_Refuses(t *testing.T) {
	r := lzma.NewXZReader(1 << 20)
	if got, err := unxz(r, bytes.NewReader(xzFile(nil))); string(got) != "data" || err != nil {
		t.Fatalf("got %q, %v", got, err)
	}
	huge := "\xff\xff\xff\xff\xff\xff\xff\xff\x7f" // 2^63-1
	for _, c := range []struct{ name, part, b, want string }{
		{"no magic", "magic", "\xfd7zXY\x00", "want a file that begins with"},
		{"flags of the future", "flags", "\x01\x01", "want stream flags 0 and a check of"},
		{"check of the future", "flags", "\x00\x02", "want stream flags 0 and a check of"},
		{"block flags of the future", "block header", "\x00\x04\x21\x01\x08\x00\x00\x00", "block flags"},
		{"dictionary over the limit", "block header", "\x00\x00\x21\x01\x13\x00\x00\x00", lzma.ErrDictSize.Error()},
		{"dictionary of 4 GiB", "block header", "\x00\x00\x21\x01\x28\x00\x00\x00", lzma.ErrDictSize.Error()},
		{"dictionary of the future", "block header", "\x00\x00\x21\x01\x29\x00\x00\x00", "want a dictionary size"},
		{"no property", "block header", "\x00\x00\x21\x00\x00\x00\x00\x00", "LZMA2 (0x21, with 0 bytes"},
		{"two LZMA2", "block header", "\x00\x01\x21\x01\x08\x21\x01\x08", "LZMA2 is the last"},
		{"no LZMA2", "block header", "\x00\x00\x03\x01\x00\x00\x00\x00", "LZMA2 is the last"},
		{"ARM64", "block header", "\x00\x01\x0a\x00\x21\x01\x08\x00", "it needs the filter ARM64 (0x0a, with 0 bytes of properties)"},
		{"unknown filter", "block header", "\x00\x01\x80\x01\x00\x21\x01\x08", "it needs the filter unknown (0x80"},
		{"x86 with 3 bytes", "block header", "\x00\x01\x04\x03abc\x21\x01\x08\x00\x00", "it needs the filter x86 (0x04, with 3"},
		{"properties longer than the header", "block header", "\x00\x00\x21\x7f\x08\x00\x00\x00", "header is damaged"},
		{"padding in the header", "block header", "\x00\x00\x21\x01\x08\x00\x00\x01", "header is damaged"},
		{"compressed size", "block header", "\x00\x40\x09\x21\x01\x08\x00\x00", "8 bytes of compressed data, and its header says 9"},
		{"huge compressed size", "block header", "\x00\x40" + huge + "\x21\x01\x08\x00\x00", "its header says 9223372036854775807"},
		{"size, more", "block header", "\x00\x80\x05\x21\x01\x08\x00\x00", "another size than its header says, 5"},
		{"size, less", "block header", "\x00\x80\x03\x21\x01\x08\x00\x00", "another size than its header says, 3"},
		{"huge size", "block header", "\x00\x80" + huge + "\x21\x01\x08\x00\x00", "another size than its header says, 9223372036854775807"},
		{"size of ten bytes", "block header", "\x00\x80\xff" + huge + "\x21\x01\x08\x00", "header is damaged"},
		{"size with a byte too many", "block header", "\x00\x80\x84\x00\x21\x01\x08\x00", "header is damaged"},
		{"chunk of the future", "chunks", "\x03\x00\x03data\x00", "unknown kind 0x03"},
		{"no dictionary", "chunks", "\x02\x00\x03data\x00", "doesn't begin with an empty dictionary"},
		{"no properties", "chunks", "\x01\x00\x03data\x80\x00\x00\x00\x08abcdefghi", "properties that there were none of"},
		{"chunk too short", "chunks", "\xe0\x00\x00\x00\x03\x5dabcd", "damaged"},
		{"properties", "chunks", "\xe0\x00\x00\x00\x08\xe1abcdefghi", "found 0xe1"},
		{"lc+lp of 5", "chunks", "\xe0\x00\x00\x00\x08\x0dabcdefghi", "found 0x0d"},
		{"padding of the block", "chunks", "\x01\x00\x02dat\x00", "padding"}, // The check follows where the padding should be.
		{"check", "check", "abcd", lzma.ErrChecksum.Error()},
		{"blocks", "index", "\x00\x02\x18\x04", "tells of 2 blocks, and there are 1"},
		{"huge number of blocks", "index", "\x00" + huge + "\x18\x04", "tells of 9223372036854775807 blocks"},
		{"block's size in the index", "index", "\x00\x01\x1c\x04", "other sizes"},
		{"block's data in the index", "index", "\x00\x01\x18\x05", "other sizes"},
		{"numbers in the index", "index", "\x00\x01\x98\x00\x04\x00\x00\x00", "index is damaged"},
		{"footer's size of the index", "footer", "\x02\x00\x00\x00\x00\x01", "says that the index has 12 bytes, and it has 8"},
		{"footer's flags", "footer", "\x01\x00\x00\x00\x00\x04", "not those in its header"},
		{"footer's end", "end", "YY", "footer's checksum is wrong"},
		{"padding of two", "end", "YZ\x00\x00", "unexpected EOF"},
		{"padding, then data", "end", "YZ\x00\x00\x00\x01", "isn't zeros"},
		{"garbage behind", "end", "YZgarbage", lzma.ErrTrailing.Error()},
		{"padding before", "magic", "\x00\x00\x00\x00\xfd7zXZ\x00", "want a file that begins with"},
	} {
		data := xzFile(func(part string, b []byte) []byte {
			if part == c.part {
				return []byte(c.b)
			}
			return b
		})
		if len(c.b)%4 != 0 && c.part == "block header" {
			t.Errorf("%s: a header of %d bytes", c.name, len(c.b))
		}
		got, err := unxz(r, bytes.NewReader(data))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: want an error with %q; got %q, %v", c.name, c.want, got, err)
		}
	}
	broken := errors.New("connection reset")
	whole := xzFile(nil)
	for n := range len(whole) + 1 {
		if _, err := unxz(r, io.MultiReader(bytes.NewReader(whole[:n]), iotest.ErrReader(broken))); err != broken {
			t.Errorf("source broken after %d bytes: got %v", n, err)
		}
	}
	if _, err := unxz(r, iotest.ErrReader(nil)); err != io.ErrNoProgress {
		t.Errorf("a source that gives nothing: %v", err)
	}
}

// A small file may name a large dictionary, but gets none.
func TestXZ_Memory(t *testing.T) {
	data := xzFile(func(part string, b []byte) []byte {
		if part == "block header" {
			return []byte("\x00\x00\x21\x01\x24\x00\x00\x00") // 1 GiB
		}
		return b
	})
	r := lzma.NewXZReader(1 << 30)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got, err := unxz(r, bytes.NewReader(data))
	runtime.ReadMemStats(&after)
	if string(got) != "data" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("%d bytes were allocated", n)
	}
}

// program gives the tool named, or skips.
func program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	return path
}

// mixture is data in which all kinds of symbols are of use, at distances up to its length.
func mixture(size int) []byte {
	rnd := rand.New(rand.NewPCG(5, 6))
	b := numbers()
	for len(b) < size {
		n := 1 << rnd.IntN(12)
		switch rnd.IntN(5) {
		case 0:
			for range n {
				b = append(b, byte(rnd.Uint32()))
			}
		case 1:
			b = append(b, bytes.Repeat(b[len(b)-1-rnd.IntN(40):], 1+n/40)...)
		case 2:
			from := rnd.IntN(len(b) - n)
			b = append(b, b[from:from+n]...)
		case 3:
			for range n / 8 { // instructions
				b = binary.LittleEndian.AppendUint32(append(b, 0x90, 0x8b, byte(rnd.IntN(2))+0xe8), uint32(rnd.IntN(1<<16))-1<<15)
			}
		case 4:
			from := rnd.IntN(len(b) - n)
			b = append(b, b[from:from+n]...)
			b[len(b)-1-n/2]++
		}
	}
	return b[:size]
}

// Whatever real xz is told to do is undone.
func TestXZ_RealXZ(t *testing.T) {
	xz := program(t, "xz")
	data := mixture(400_000)
	r := lzma.NewXZReader(64 << 20)
	for _, args := range []string{
		"-0", "-2", "-3", "-4", "-6", "-9e",
		"-C none", "-C crc32", "-C crc64", "-C sha256",
		"-T2 --block-size=100000", "-T1 --block-size=70001", "--block-list=1000,2000,500000", "-T2 -9 --block-size=300000 -C sha256",
		"--lzma2=dict=4KiB", "--lzma2=dict=4KiB,lc=0,lp=4,pb=4", "--lzma2=dict=6KiB,lc=4,pb=0", "--lzma2=dict=768KiB,lc=2,lp=2,pb=3", "--lzma2=dict=64KiB,mf=hc3,mode=fast",
		"--x86 --lzma2", "--x86=start=4096 --lzma2=preset=1", "--delta=dist=1 --lzma2", "--delta=dist=256 --lzma2", "--delta=dist=3 --x86 --delta=dist=7 --lzma2=dict=4KiB",
		"--flush-timeout=1",
	} {
		for _, in := range [][]byte{data, data[:1], nil} {
			cmd := exec.Command(xz, append(strings.Fields(args), "-c")...)
			cmd.Stdin = bytes.NewReader(in)
			file, err := cmd.Output()
			if err != nil {
				t.Fatalf("xz %s: %v", args, err)
			}
			if got, err := unxz(r, bytes.NewReader(file)); err != nil || !bytes.Equal(got, in) {
				t.Errorf("xz %s: got %d bytes, want %d; %v", args, len(got), len(in), err)
			}
		}
	}
}

// The same of real lzip.
func TestLzip_RealLzip(t *testing.T) {
	lzip := program(t, "lzip")
	data := mixture(400_000)
	r := lzma.NewLzipReader(64 << 20)
	for _, args := range []string{"-0", "-1", "-3", "-6", "-9", "-s 4KiB", "-s 5000", "-s 100KiB -m 273", "-b 100000"} {
		for _, in := range [][]byte{data, data[:1], nil} {
			cmd := exec.Command(lzip, append(strings.Fields(args), "-c")...)
			cmd.Stdin = bytes.NewReader(in)
			file, err := cmd.Output()
			if err != nil {
				t.Fatalf("lzip %s: %v", args, err)
			}
			if got, err := decompress(r, bytes.NewReader(file)); err != nil || !bytes.Equal(got, in) {
				t.Errorf("lzip %s: got %d bytes, want %d; %v", args, len(got), len(in), err)
			}
		}
	}
}

// FuzzXZ: whatever the file, the reader takes it if and only if xz does (where that is installed), and makes the same of it.
func FuzzXZ(f *testing.F) {
	for _, name := range []string{"numbers-streams.xz", "numbers-blocks.xz", "numbers-filters.xz"} {
		f.Add(readFile(f, name))
	}
	f.Add(xzFile(nil))
	xz, noXZ := exec.LookPath("xz")
	used := lzma.NewXZReader(1 << 26)
	f.Fuzz(func(t *testing.T, data []byte) {
		const limit = 1 << 20
		read := func(r *lzma.XZReader, src io.Reader) ([]byte, error) {
			r.Reset(src)
			return io.ReadAll(io.LimitReader(r, limit))
		}
		got, err := read(used, bytes.NewReader(data))
		again, err2 := read(lzma.NewXZReader(1<<26), iotest.HalfReader(bytes.NewReader(data)))
		if fmt.Sprint(err) != fmt.Sprint(err2) || !bytes.Equal(got, again) && (err == nil || !bytes.HasPrefix(got, again) && !bytes.HasPrefix(again, got)) {
			t.Fatalf("%d bytes, %v; then %d bytes, %v", len(got), err, len(again), err2)
		}
		if noXZ != nil || len(got) == limit {
			return
		}
		if err != nil && (errors.Is(err, lzma.ErrDictSize) || strings.Contains(err.Error(), "it needs the filter") || strings.Contains(err.Error(), "a check of 0 (none)")) {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, xz, "-dc", "-F", "xz", "-M", "200MiB")
		cmd.Stdin = bytes.NewReader(data)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		want, wantErr := cmd.Output()
		if ctx.Err() != nil {
			t.Skip("xz takes too long")
		}
		if (err == nil) != (wantErr == nil) || err == nil && !bytes.Equal(got, want) {
			t.Fatalf("got %d bytes, %v; xz made %d bytes, %v: %s", len(got), err, len(want), wantErr, &stderr)
		}
	})
}

// BenchmarkXZ has data of the kind that xz does well and badly with.
func BenchmarkXZ(b *testing.B) {
	xz := program(b, "xz")
	for name, data := range map[string][]byte{"mixture": mixture(8 << 20), "numbers": bytes.Repeat(numbers(), 3), "zeros": make([]byte, 8<<20)} {
		cmd := exec.Command(xz, "-c")
		cmd.Stdin = bytes.NewReader(data)
		file, err := cmd.Output()
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			r := lzma.NewXZReader(8 << 20)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				r.Reset(bytes.NewReader(file))
				if _, err := io.Copy(io.Discard, r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
