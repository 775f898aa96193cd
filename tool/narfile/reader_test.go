package narfile_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/rules-strata/rules_strata/tool/narfile"
	"github.com/rules-strata/rules_strata/tool/narinfo"
	"github.com/rules-strata/rules_strata/tool/store"
)

// web holds binary caches written by real Nix, and broken ones.
const web = "../../testdata/web"

func readFile(t testing.TB, elem ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// cached is a narinfo's promise and the file it is about.
type cached struct {
	name string // the narinfo's file
	file narfile.File
	data []byte
}

// load reads the narinfos in dir, below web, and their files.
func load(t testing.TB, dir string) (all []cached) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(web, dir, "*.narinfo"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no narinfo in %s: %v", dir, err)
	}
	for _, name := range names {
		i, err := narinfo.Parse(readFile(t, name))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, cached{name, narfile.File{
			StorePath: i.StorePath, Compression: i.Compression,
			FileHash: i.FileHash, FileSize: i.FileSize, NarHash: i.NarHash, NarSize: i.NarSize,
		}, readFile(t, filepath.Dir(name), i.URL)})
	}
	return all
}

// unpinned is f without what it says of the compressed file.
func unpinned(f narfile.File) narfile.File {
	f.FileHash, f.FileSize = store.Hash{}, -1
	return f
}

// pinned is f with hash and size of the compressed file data.
func pinned(f narfile.File, data []byte) narfile.File {
	f.FileHash, f.FileSize = sha256.Sum256(data), int64(len(data))
	return f
}

// readAll reads f out of data by r.
func readAll(r *narfile.Reader, f narfile.File, src io.Reader) ([]byte, error) {
	if err := r.Reset(src, f); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r)
	if int64(len(b)) > f.NarSize {
		return b, fmt.Errorf("more came through (%d bytes) than NarSize says (%d); error %v", len(b), f.NarSize, err)
	}
	want := err
	if want == nil {
		want = io.EOF
	}
	if n, again := r.Read(make([]byte, 1)); n != 0 || again != want {
		return b, fmt.Errorf("want the same end again, %v; got %d, %v", want, n, again)
	}
	return b, err
}

// Every NAR file that real Nix wrote is read by one Reader, in turns of all compressions, with and without FileHash.
func TestReader_RealCaches(t *testing.T) {
	dirs := map[string]string{
		"cache": "zstd", "variants/xz": "xz", "variants/zstd": "zstd", "variants/zstd-parallel": "zstd", "variants/gzip": "gzip",
		"variants/bzip2": "bzip2", "variants/none": "none", "variants/nix-2.34": "zstd", "variants/bash-xz": "xz",
		"variants/unsigned": "zstd", "variants/two-signatures": "xz", "variants/not-utf8": "zstd",
		"variants/br": "br", "variants/lzip": "lzip", "variants/lz4": "lz4",
	}
	var all []cached
	for dir, compression := range dirs {
		for _, c := range load(t, dir) {
			if c.file.Compression != compression {
				t.Errorf("%s: want %s, got %s", c.name, compression, c.file.Compression)
			}
			all = append(all, c)
		}
	}
	if len(all) < 210 {
		t.Errorf("want some 210 files, found %d", len(all))
	}
	var r narfile.Reader
	defer r.Close()
	for _, c := range all { // Maps have random order: each run mixes the compressions anew.
		for _, f := range []narfile.File{c.file, unpinned(c.file)} {
			var src io.Reader = bytes.NewReader(c.data)
			if len(c.data) < 10_000 {
				src = iotest.OneByteReader(src)
			} else if len(c.data) > 1_000_000 && f.FileSize < 0 {
				continue
			}
			b, err := readAll(&r, f, src)
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			} else if int64(len(b)) != f.NarSize || sha256.Sum256(b) != f.NarHash {
				t.Errorf("%s: another NAR came through", c.name)
			}
		}
	}
}

func TestReader_BadCaches(t *testing.T) {
	var r narfile.Reader
	defer r.Close()
	for _, c := range []struct{ dir, want string }{
		{"00-control", ""},
		{"01-wrong-narhash", "NarHash mismatch: want sha256:d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa, got sha256:3d5c"},
		{"02-wrong-filehash", "FileHash mismatch: want sha256:d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa, got sha256:9003"},
		{"03-truncated-zstd", "bad zstd data at or before byte 189 of the file: unexpected EOF"},
		{"04-truncated-nar", "NarSize mismatch: want 880, got 440"},
		{"13-trailing-garbage", ""}, // NarHash and NarSize cover it: package nar refuses it.
		{"14-nonzero-padding", ""},
		{"16-huge-declared-size", ""},
		{"50-no-filehash", ""},
		{"56-no-compression-field", ""}, // bzip2
		{"60-two-zstd-frames", ""},
		{"61-zstd-long-window", ""},
	} {
		for _, f := range load(t, "bad/"+c.dir) {
			b, err := readAll(&r, f.file, bytes.NewReader(f.data))
			switch {
			case c.want == "" && (err != nil || sha256.Sum256(b) != f.file.NarHash):
				t.Errorf("%s: %v", c.dir, err)
			case c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)):
				t.Errorf("%s: want %q, got %v", c.dir, c.want, err)
			}
		}
	}
}

// webRoot is a small NAR that there is in every form.
func webRoot(t testing.TB) (nar []byte, f narfile.File) {
	t.Helper()
	for _, c := range load(t, "variants/none") {
		if strings.HasSuffix(c.file.StorePath.String(), "-web-root") {
			return c.data, unpinned(c.file)
		}
	}
	t.Fatal("web-root is not there")
	return nil, narfile.File{}
}

// form is one way to store the small NAR.
type form struct {
	name, compression string
	data              []byte
	// open: the file may be cut, or go on, at some places and still be right.
	open bool
}

func forms(t testing.TB) (all []form) {
	t.Helper()
	nar, _ := webRoot(t)
	for _, dir := range narfile.Compressions() {
		for _, c := range load(t, "variants/"+dir) {
			if strings.HasSuffix(c.file.StorePath.String(), "-web-root") {
				all = append(all, form{"Nix' " + dir, dir, c.data, false})
			}
		}
	}
	if len(all) != len(narfile.Compressions()) {
		t.Fatalf("want web-root in each of %s, found %d", narfile.Compressions(), len(all))
	}
	for _, name := range []string{
		"two-streams.nar.xz", "padding.nar.xz", "check-none.nar.xz", "check-crc32.nar.xz", "check-sha256.nar.xz", "blocks.nar.xz", "x86.nar.xz",
		"two-streams.nar.bz2", "no-checksum.nar.zst", "skippable.nar.zst",
		"quality-1.nar.br", "window-16MiB.nar.br", "two-members.nar.lz", "dict-100KiB.nar.lz",
		"linked.nar.lz4", "legacy.nar.lz4", "skippable.nar.lz4",
	} {
		compression := map[string]string{".xz": "xz", ".bz2": "bzip2", ".zst": "zstd", ".br": "br", ".lz": "lzip", ".lz4": "lz4"}[filepath.Ext(name)]
		open := strings.HasPrefix(name, "padding") || strings.HasPrefix(name, "skippable")
		all = append(all, form{name, compression, readFile(t, "testdata", name), open})
	}
	var members, frames bytes.Buffer
	for piece := range slices.Chunk(nar, 1000) {
		members.Write(gzipped(t, piece))
		frames.Write(zstdFrame(t, piece))
		members.Write(gzipped(t, nil))
		frames.Write(zstdFrame(t, nil))
	}
	return append(all, form{"gzip members", "gzip", members.Bytes(), true}, form{"zstd frames", "zstd", frames.Bytes(), true})
}

// positions are the places in a form's file that a test damages: all of them in
// Nix' own forms, but fewer in bzip2, whose decoder takes 4 MB anew for each file, in the rarer forms, and in short tests.
func (f form) positions() iter.Seq[int] {
	step := 5
	switch {
	case f.compression == "bzip2":
		step = 11
	case strings.HasPrefix(f.name, "Nix"):
		step = 1
	}
	if testing.Short() {
		step *= 7
	}
	return func(yield func(int) bool) {
		for n := range len(f.data) {
			if atEnds := n < 16 || n >= len(f.data)-16; (atEnds || n%step == 0) && !yield(n) {
				return
			}
		}
	}
}

func gzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zstdFrame(t testing.TB, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil, zstd.WithZeroFrames(true))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return w.EncodeAll(b, nil)
}

func TestReader_Forms(t *testing.T) {
	nar, f := webRoot(t)
	var r narfile.Reader
	defer r.Close()
	for _, c := range forms(t) {
		f.Compression = c.compression
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"plain":           func(r io.Reader) io.Reader { return r },
			"one byte":        iotest.OneByteReader,
			"error with data": iotest.DataErrReader,
		} {
			for _, f := range []narfile.File{unpinned(f), pinned(f, c.data)} {
				if b, err := readAll(&r, f, wrap(bytes.NewReader(c.data))); err != nil || !bytes.Equal(b, nar) {
					t.Errorf("%s, %s: got %d bytes, %v", c.name, name, len(b), err)
				}
			}
		}
	}
}

// A file cut anywhere is never taken.
func TestReader_TruncatedAnywhere(t *testing.T) {
	nar, f := webRoot(t)
	var r narfile.Reader
	defer r.Close()
	for _, c := range forms(t) {
		f.Compression = c.compression
		for n := range c.positions() {
			b, err := readAll(&r, unpinned(f), bytes.NewReader(c.data[:n]))
			var mismatch *store.HashMismatchError
			var decode *narfile.DecodeError
			switch {
			case err == nil && !c.open:
				t.Fatalf("%s, cut after %d of %d bytes: taken", c.name, n, len(c.data))
			case err == nil && !bytes.Equal(b, nar):
				t.Fatalf("%s, cut after %d of %d bytes: another NAR is taken", c.name, n, len(c.data))
			case err == nil: // without padding, or an empty frame
			case errors.As(err, &mismatch) && strings.HasPrefix(mismatch.What, "Nar"):
			case errors.As(err, &decode) && decode.Compression == c.compression && decode.Offset <= int64(n):
				if !errors.Is(err, io.ErrUnexpectedEOF) && !c.open {
					t.Errorf("%s, cut after %d of %d bytes: want io.ErrUnexpectedEOF, got %v", c.name, n, len(c.data), err)
				}
			default:
				t.Fatalf("%s, cut after %d of %d bytes: %v", c.name, n, len(c.data), err)
			}
			_, err = readAll(&r, pinned(f, c.data), bytes.NewReader(c.data[:n]))
			if want := fmt.Sprintf("FileSize mismatch: want %d, got %d (after %d bytes)", len(c.data), n, n); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Fatalf("%s, cut after %d of %d bytes: want %q, got %v", c.name, n, len(c.data), want, err)
			}
		}
	}
}

// Whatever bit of a file is wrong: another NAR is never taken, and with FileHash nothing is, and FileHash is named as the cause.
func TestReader_FlippedAnywhere(t *testing.T) {
	nar, f := webRoot(t)
	var r narfile.Reader
	defer r.Close()
	for _, c := range forms(t) {
		f.Compression = c.compression
		taken, explained := 0, 0
		for i := range c.positions() {
			for _, bit := range []int{i % 8, (i + 3) % 8} {
				data := bytes.Clone(c.data)
				data[i] ^= 1 << bit
				b, err := readAll(&r, unpinned(f), bytes.NewReader(data))
				if err == nil {
					taken++ // such as the time in a gzip header
					if !bytes.Equal(b, nar) {
						t.Fatalf("%s, byte %d, bit %d: another NAR is taken", c.name, i, bit)
					}
				}
				_, err = readAll(&r, pinned(f, c.data), bytes.NewReader(data))
				if err == nil || !strings.HasPrefix(err.Error(), "FileHash mismatch: want ") {
					t.Fatalf("%s, byte %d, bit %d: want a FileHash mismatch, got %v", c.name, i, bit, err)
				}
				if strings.Contains(err.Error(), "; the damage shows as: ") {
					explained++
				}
			}
		}
		if explained == 0 && c.compression != "none" {
			t.Errorf("%s: no error says how the damage shows", c.name)
		}
		if taken > len(c.data)*2/5 {
			t.Errorf("%s: %d of %d flips change nothing?", c.name, taken, len(c.data)*2)
		}
	}
}

// What follows the compressed NAR is an error, unless the format calls it padding.
func TestReader_Behind(t *testing.T) {
	nar, f := webRoot(t)
	skippable := "\x50\x2a\x4d\x18\x03\x00\x00\x00abc"
	legal := map[string][]string{
		"xz":   {"\x00\x00\x00\x00", strings.Repeat("\x00", 4096)},
		"zstd": {skippable, skippable + skippable, string(zstdFrame(t, nil))},
		"gzip": {string(gzipped(t, nil))},
		"lz4":  {skippable, skippable + skippable},
	}
	behind := []string{"\x00", "\x00\x00\x00", "\x00\x00\x00\x00\x00", "x", "xy", "xyz", "garbage", strings.Repeat("\x00", 4097), strings.Repeat("g", 200_000), skippable[:7], skippable[:10]}
	var r narfile.Reader
	defer r.Close()
	for _, c := range forms(t) {
		f.Compression = c.compression
		for _, more := range legal[c.compression] {
			if c.name == "legacy.nar.lz4" { // It ends with the file, and has nothing like padding.
				break
			}
			if b, err := readAll(&r, unpinned(f), strings.NewReader(string(c.data)+more)); err != nil || !bytes.Equal(b, nar) {
				t.Errorf("%s with %.20q behind: want it taken, got %v", c.name, more, err)
			}
		}
		for _, more := range append(behind, string(c.data), string(c.data[:len(c.data)/2])) {
			if c.name == "padding.nar.xz" && strings.Trim(more, "\x00") == "" && len(more)%4 == 0 {
				continue
			}
			_, err := readAll(&r, unpinned(f), strings.NewReader(string(c.data)+more))
			var mismatch *store.HashMismatchError
			var decode *narfile.DecodeError
			if !errors.As(err, &mismatch) && !errors.As(err, &decode) {
				t.Errorf("%s with %.20q behind: want it refused, got %v", c.name, more, err)
			}
			_, err = readAll(&r, pinned(f, c.data), strings.NewReader(string(c.data)+more))
			if want := fmt.Sprintf("FileSize mismatch: want %d, got more", len(c.data)); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s with %.20q behind: want %q, got %v", c.name, more, want, err)
			}
		}
	}
}

// A file that unpacks to more than NarSize stops there.
func TestReader_Bombs(t *testing.T) {
	zeros := make([]byte, 64<<20)
	var r narfile.Reader
	defer r.Close()
	for _, c := range []form{
		{"xz", "xz", readFile(t, "testdata", "bomb-64MiB.xz"), false},
		{"bzip2", "bzip2", readFile(t, "testdata", "bomb-64MiB.bz2"), false},
		{"gzip", "gzip", gzipped(t, zeros), false},
		{"zstd", "zstd", zstdFrame(t, zeros), false},
		{"none", "none", zeros, false},
		{"br", "br", readFile(t, "testdata", "bomb-64MiB.br"), false},
		{"lzip", "lzip", readFile(t, "testdata", "bomb-64MiB.lz"), false},
		{"lz4", "lz4", readFile(t, "testdata", "bomb-64MiB.lz4"), false},
	} {
		f := narfile.File{Compression: c.compression, NarHash: store.Hash{1}, NarSize: 10_000}
		for _, f := range []narfile.File{unpinned(f), pinned(f, c.data)} {
			src := &countingReader{r: bytes.NewReader(c.data)}
			b, err := readAll(&r, f, src)
			if len(b) != 10_000 || err == nil || !strings.HasPrefix(err.Error(), "NarSize mismatch: want 10000, got more") {
				t.Errorf("%s: got %d bytes, %v", c.name, len(b), err)
			}
			if f.FileSize < 0 && src.n > 200_000 {
				t.Errorf("%s: %d bytes of the file were read to get 10,000", c.name, src.n)
			}
		}
	}
}

type countingReader struct {
	r io.Reader
	n int
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

// A file that wants more memory than MaxWindow gets none.
func TestReader_Windows(t *testing.T) {
	_, f := webRoot(t)
	for name, compression := range map[string]string{"dict-192MiB.nar.xz": "xz", "window-256MiB.zst": "zstd", "dict-512MiB.nar.lz": "lzip"} {
		var r narfile.Reader
		f.Compression = compression
		data := readFile(t, "testdata", name)
		grown := allocated(func() {
			_, err := readAll(&r, unpinned(f), bytes.NewReader(data))
			if !errors.Is(err, narfile.ErrWindow) || !strings.Contains(err.Error(), "more than 128 MiB") {
				t.Errorf("%s: want ErrWindow, got %v", name, err)
			}
		})
		if grown > 8<<20 {
			t.Errorf("%s: %d bytes were allocated before it was refused", name, grown)
		}
		r.Close()
	}

	// Large windows are no part of RFC 7932, nor does Nix write them.
	var r narfile.Reader
	defer r.Close()
	f.Compression = "br"
	var decode *narfile.DecodeError
	if _, err := readAll(&r, unpinned(f), bytes.NewReader(readFile(t, "testdata", "large-window.nar.br"))); !errors.As(err, &decode) {
		t.Errorf("a br file with a large window: want it refused, got %v", err)
	}
}

// Wherever the pieces of a br file end that the source gives, its end is found. (github.com/andybalholm/brotli
// v1.2.8 by itself may take bytes that it has read for excessive ones where a piece ends just before the stream.)
func TestReader_BrotliPieces(t *testing.T) {
	var r narfile.Reader
	defer r.Close()
	for _, c := range load(t, "variants/br") {
		for last := range 40 {
			cut := max(len(c.data)-last, 0)
			pieces := func(more string) io.Reader {
				return io.MultiReader(bytes.NewReader(c.data[:cut]), iotest.OneByteReader(bytes.NewReader(c.data[cut:])), strings.NewReader(more))
			}
			if _, err := readAll(&r, unpinned(c.file), pieces("")); err != nil {
				t.Errorf("%s, the last %d bytes apart: %v", c.name, last, err)
			}
			for _, more := range []string{"x", "\x00\x00\x00", strings.Repeat("y", 20)} {
				if _, err := readAll(&r, unpinned(c.file), pieces(more)); err == nil {
					t.Errorf("%s, the last %d bytes apart, and %q: taken", c.name, last, more)
				}
			}
		}
	}
}

// allocated is the number of bytes that f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// A Reader that is used again takes hardly any memory more, and never a goroutine.
func TestReader_ReusesDecoders(t *testing.T) {
	for _, dir := range []string{"variants/xz", "variants/zstd", "variants/gzip", "variants/none", "bad/61-zstd-long-window", "variants/br", "variants/lzip", "variants/lz4"} {
		if raceDetector && dir == "variants/lz4" { // the one decoder whose buffers come from a pool
			continue
		}
		var r narfile.Reader
		all := load(t, dir)
		goroutines := runtime.NumGoroutine()
		buf := make([]byte, 64<<10)
		read := func() {
			for _, c := range all {
				if err := r.Reset(bytes.NewReader(c.data), c.file); err != nil {
					t.Fatal(err)
				}
				for {
					if _, err := r.Read(buf); err == io.EOF {
						break
					} else if err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		read()
		if n := runtime.NumGoroutine(); n > goroutines {
			t.Errorf("%s: %d goroutines more", dir, n-goroutines)
		}
		if grown := allocated(read); grown > uint64(len(all))*64<<10 {
			t.Errorf("%s: %d bytes were allocated for %d files the second time", dir, grown, len(all))
		}
		r.Close()
	}
}

// A server that never stops sending is stopped, whatever it sends.
func TestReader_EndlessFile(t *testing.T) {
	nar, f := webRoot(t)
	var r narfile.Reader
	defer r.Close()
	for _, c := range []struct{ name, compression, start, forever string }{
		{"none", "none", "", string(nar)},
		{"zstd skippable frames", "zstd", "", "\x50\x2a\x4d\x18\x03\x00\x00\x00abc"},
		{"a zstd skippable frame of 4 GB", "zstd", "\x50\x2a\x4d\x18\xff\xff\xff\xff", strings.Repeat("x", 1000)},
		{"zstd empty frames", "zstd", "", string(zstdFrame(t, nil))},
		{"gzip empty members", "gzip", "", string(gzipped(t, nil))},
		{"gzip file name", "gzip", "\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\x03", strings.Repeat("n", 1000)},
		{"xz padding", "xz", string(readFile(t, "testdata", "check-none.nar.xz")), strings.Repeat("\x00", 4096)},
		{"lzip empty members", "lzip", "", lzipEmpty},
		{"lz4 skippable frames", "lz4", "", "\x50\x2a\x4d\x18\x03\x00\x00\x00abc"},
		{"a lz4 skippable frame of 4 GB", "lz4", "\x50\x2a\x4d\x18\xff\xff\xff\xff", strings.Repeat("x", 1000)},
		{"bzip2 empty streams", "bzip2", "", "BZh9\x17\x72\x45\x38\x50\x90\x00\x00\x00\x00"},
	} {
		f := unpinned(f)
		f.Compression = c.compression
		src := &countingReader{r: io.MultiReader(strings.NewReader(c.start), &repeating{s: c.forever})}
		_, err := readAll(&r, f, src)
		if err == nil {
			t.Errorf("%s: taken", c.name)
		}
		if src.n > 2<<20 {
			t.Errorf("%s: %d bytes were read", c.name, src.n)
		}
		if c.compression != "none" && c.name != "gzip file name" && !strings.Contains(err.Error(), "FileSize mismatch: want at most ") {
			t.Errorf("%s: want a FileSize mismatch, got %v", c.name, err)
		}
	}
}

// lzipEmpty is what lzip makes of nothing.
const lzipEmpty = "LZIP\x01\x0c\x00\x83\xff\xfb\xff\xff\xc0\x00\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" + "\x24\x00\x00\x00\x00\x00\x00\x00"

// repeating gives s again and again.
type repeating struct {
	s string
	n int
}

func (r *repeating) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = r.s[r.n%len(r.s)]
		r.n++
	}
	return len(p), nil
}

// The source's own errors come out as they are, wherever they happen, and are never taken for an end.
func TestReader_SourceError(t *testing.T) {
	_, f := webRoot(t)
	var r narfile.Reader
	defer r.Close()
	for _, broken := range []error{errors.New("connection reset"), io.ErrUnexpectedEOF} {
		for _, c := range forms(t) {
			f.Compression = c.compression
			for _, n := range append(slices.Collect(c.positions()), len(c.data)) {
				for _, f := range []narfile.File{unpinned(f), pinned(f, c.data)} {
					_, err := readAll(&r, f, io.MultiReader(bytes.NewReader(c.data[:n]), iotest.ErrReader(broken)))
					if err != broken {
						t.Fatalf("%s, broken after %d of %d bytes: want %v, got %v", c.name, n, len(c.data), broken, err)
					}
				}
			}
		}
	}
}

// Sources that break io.Reader's rules give errors, not panics or endless loops.
func TestReader_LyingSource(t *testing.T) {
	_, f := webRoot(t)
	var r narfile.Reader
	defer r.Close()
	for name, n := range map[string]int{"negative": -1, "too many": 1 << 30, "never any": 0} {
		for _, compression := range narfile.Compressions() {
			f.Compression = compression
			if _, err := readAll(&r, f, readerFunc(func([]byte) (int, error) { return n, nil })); err == nil {
				t.Errorf("%s, %s: taken", name, compression)
			}
		}
	}
	// NarSize may be anything.
	f.NarSize, f.Compression = 1<<63-1, "zstd"
	if _, err := readAll(&r, f, strings.NewReader("")); err == nil || !strings.HasPrefix(err.Error(), "NarSize mismatch: want 9223372036854775807, got 0") {
		t.Errorf("huge NarSize: got %v", err)
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestReader_Reset(t *testing.T) {
	nar, f := webRoot(t)
	var r narfile.Reader
	if n, err := r.Read(make([]byte, 1)); n != 0 || err == nil || err == io.EOF {
		t.Errorf("Read before Reset: got %d, %v", n, err)
	}
	for _, c := range []struct {
		change func(f *narfile.File)
		want   string
	}{
		{func(f *narfile.File) { f.Compression = "zpaq" }, `compression "zpaq" is not known; known are none, xz, zstd, gzip, bzip2, br, lzip, lz4`},
		{func(f *narfile.File) { f.Compression = "" }, `compression "" is not known`},
		{func(f *narfile.File) { f.Compression = "XZ" }, `compression "XZ" is not known`},
		{func(f *narfile.File) { f.NarHash = store.Hash{} }, "without NarHash and NarSize"},
		{func(f *narfile.File) { f.NarSize = -1 }, "without NarHash and NarSize"},
	} {
		g := f
		c.change(&g)
		err := r.Reset(bytes.NewReader(nar), g)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("want an error with %q, got %v", c.want, err)
		}
		if n, again := r.Read(make([]byte, 1)); n != 0 || again != err {
			t.Errorf("want the same error of Read, got %d, %v", n, again)
		}
	}
	for range 2 { // also after Close
		if b, err := readAll(&r, f, bytes.NewReader(nar)); err != nil || !bytes.Equal(b, nar) {
			t.Errorf("got %d bytes, %v", len(b), err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	// In the middle of a file.
	for _, c := range forms(t) {
		f.Compression = c.compression
		if err := r.Reset(bytes.NewReader(c.data), f); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(&r, make([]byte, 100)); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if b, err := readAll(&r, f, bytes.NewReader(c.data)); err != nil || !bytes.Equal(b, nar) {
			t.Errorf("%s, begun again: got %d bytes, %v", c.name, len(b), err)
		}
	}
}

func TestCompressions(t *testing.T) {
	if got, want := strings.Join(narfile.Compressions(), " "), "none xz zstd gzip bzip2 br lzip lz4"; got != want {
		t.Errorf("want %s, got %s", want, got)
	}
	narfile.Compressions()[0] = "changed"
	if err := narfile.CheckCompression("none"); err != nil {
		t.Errorf("the list can be changed from outside: %v", err)
	}
}

// Whatever file: never more than NarSize comes through, and io.EOF only behind the very NAR.
func FuzzReader(f *testing.F) {
	nar, file := webRoot(f)
	for _, c := range forms(f) {
		f.Add(uint8(slices.Index(narfile.Compressions(), c.compression)), c.data)
	}
	var r narfile.Reader
	f.Fuzz(func(t *testing.T, compression uint8, data []byte) {
		all := narfile.Compressions()
		file := file
		file.Compression = all[int(compression)%len(all)]
		b, err := readAll(&r, file, bytes.NewReader(data))
		if err == nil && !bytes.Equal(b, nar) {
			t.Fatal("another NAR is taken")
		}
		if err != nil && strings.Contains(err.Error(), "came through") {
			t.Fatal(err)
		}
	})
}

// BenchmarkReader reads the same real NARs in each compression, as far as there are any.
func BenchmarkReader(b *testing.B) {
	for _, dir := range []string{"variants/bash-xz", "cache", "variants/xz", "variants/zstd", "variants/gzip", "variants/bzip2", "variants/none", "variants/br", "variants/lzip", "variants/lz4"} {
		all := load(b, dir)
		var size int64
		for _, c := range all {
			size += c.file.NarSize
		}
		b.Run(dir, func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			var r narfile.Reader
			defer r.Close()
			buf := make([]byte, 128<<10)
			for b.Loop() {
				for _, c := range all {
					if err := r.Reset(bytes.NewReader(c.data), c.file); err != nil {
						b.Fatal(err)
					}
					for {
						if _, err := r.Read(buf); err == io.EOF {
							break
						} else if err != nil {
							b.Fatal(err)
						}
					}
				}
			}
		})
	}
}

// Each file of a Guix cache that is offered in three compressions is the same NAR.
func TestReader_Guix(t *testing.T) {
	names, err := filepath.Glob(filepath.Join(web, "guix/*/*.narinfo"))
	if err != nil || len(names) != 12 {
		t.Fatalf("%d narinfos, want 12; %v", len(names), err)
	}
	var r narfile.Reader
	defer r.Close()
	read := map[string]int{}
	for _, name := range names {
		i, err := narinfo.Parse(readFile(t, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range i.Files() {
			file := narfile.File{
				StorePath: i.StorePath, Compression: f.Compression, FileHash: f.FileHash, FileSize: f.FileSize,
				NarHash: i.NarHash, NarSize: i.NarSize,
			}
			if _, err := readAll(&r, file, bytes.NewReader(readFile(t, filepath.Dir(name), f.URL))); err != nil {
				t.Errorf("%s, %s: %v", name, f.Compression, err)
			}
			read[f.Compression]++
		}
	}
	if read["lzip"] != 7 || read["gzip"] != 7 || read["zstd"] != 12 {
		t.Errorf("read %v", read)
	}
}
