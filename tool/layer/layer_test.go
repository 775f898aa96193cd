package layer

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/store"
)

// checkBlob recomputes all that f says of blob, and returns the tar in it.
// The decoders are not those of the encoders' library, where there are others.
func checkBlob(tb testing.TB, f *digestfile.File, blob []byte) []byte {
	tb.Helper()
	plain := blob
	var err error
	switch f.Compression {
	case Gzip:
		r, gzErr := gzip.NewReader(bytes.NewReader(blob))
		if gzErr != nil {
			tb.Fatal(gzErr)
		}
		if !r.ModTime.IsZero() || r.Name != "" || r.OS != 255 {
			tb.Errorf("gzip header: time %v, name %q, OS %d; want none of them", r.ModTime, r.Name, r.OS)
		}
		plain, err = io.ReadAll(r)
	case Zstd:
		r, zErr := zstd.NewReader(bytes.NewReader(blob))
		if zErr != nil {
			tb.Fatal(zErr)
		}
		defer r.Close()
		plain, err = io.ReadAll(r)
	}
	if err != nil {
		tb.Fatal(err)
	}
	if want := fmt.Sprintf("sha256:%x", sha256.Sum256(blob)); string(f.Descriptor.Digest) != want {
		tb.Errorf("digest %s, want %s", f.Descriptor.Digest, want)
	}
	if f.Descriptor.Size != int64(len(blob)) {
		tb.Errorf("size %d, want %d", f.Descriptor.Size, len(blob))
	}
	if want := fmt.Sprintf("sha256:%x", sha256.Sum256(plain)); string(f.DiffID) != want {
		tb.Errorf("diff ID %s, want %s", f.DiffID, want)
	}
	if f.UncompressedSize != int64(len(plain)) {
		tb.Errorf("uncompressed size %d, want %d", f.UncompressedSize, len(plain))
	}
	if want := int64(len(listing(tb, bytes.NewReader(plain)))); f.Entries != want {
		tb.Errorf("%d entries, want %d", f.Entries, want)
	}
	var inPaths int64
	for _, p := range f.StorePaths {
		inPaths += p.Entries
	}
	above := int64(strings.Count(f.StorePaths[0].Path.Dir(), "/"))
	if inPaths+above != f.Entries {
		tb.Errorf("%d entries in the store paths and %d above them, want %d", inPaths, above, f.Entries)
	}
	text, err := f.Marshal()
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := digestfile.Parse(text); err != nil {
		tb.Errorf("the digest file is not one: %v", err)
	}
	return plain
}

func TestWrite_DigestFile(t *testing.T) {
	nars := []NAR{
		cached(t, webDir+"/cache", "nvlrrmc6bmlc3ms0y9gsb58m5nfk9aw3-gmp-6.2.1"),
		cached(t, webDir+"/cache", "171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-twin-a"),
	}
	tarBytes := referenceTar(t, nars)
	for _, c := range []struct {
		o         Options
		mediaType string
		level     string
	}{
		{Options{}, "application/vnd.oci.image.layer.v1.tar+gzip", "default"},
		{Options{Compression: Gzip, Level: LevelBest}, "application/vnd.oci.image.layer.v1.tar+gzip", "best"},
		{Options{Compression: Zstd, Level: LevelFastest}, "application/vnd.oci.image.layer.v1.tar+zstd", "fastest"},
		{Options{Compression: None}, "application/vnd.oci.image.layer.v1.tar", ""},
	} {
		var blob bytes.Buffer
		f, err := Write(t.Context(), &blob, nars, c.o)
		if err != nil {
			t.Fatalf("%+v: %v", c.o, err)
		}
		if got := checkBlob(t, f, blob.Bytes()); !bytes.Equal(got, tarBytes) {
			t.Errorf("%+v: the blob holds another tar than the reference", c.o)
		}
		if f.FormatVersion != digestfile.FormatVersion || f.Descriptor.MediaType != c.mediaType || f.Level != c.level {
			t.Errorf("%+v: version %d, media type %q, level %q", c.o, f.FormatVersion, f.Descriptor.MediaType, f.Level)
		}
		if len(f.StorePaths) != 2 || f.StorePaths[0].Path != nars[1].File.StorePath || f.StorePaths[1].Path != nars[0].File.StorePath {
			t.Fatalf("%+v: store paths %v, want them in order", c.o, f.StorePaths)
		}
		for i, n := range []NAR{nars[1], nars[0]} {
			if p := f.StorePaths[i]; p.NarHash != n.File.NarHash || p.NarSize != n.File.NarSize {
				t.Errorf("%s: %v of %d bytes", p.Path, p.NarHash, p.NarSize)
			}
		}
	}
}

// The blob's bytes depend on the NARs and the options alone: not on the order
// of the NARs, on the number of cores, nor on how the bytes come in.
func TestWrite_Deterministic(t *testing.T) {
	var nars []NAR
	for _, base := range []string{ // 5 MB: ten of gzip's blocks, and twenty of the ring's chunks
		"171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-twin-a",
		"3g7kyd9ayrs8z97gz2m6wjcbjlay9j31-tzdata-2026f",
		"asn0wpn021jshb0g4kh09vy554qv14a2-oddities-1.0",
		"nvlrrmc6bmlc3ms0y9gsb58m5nfk9aw3-gmp-6.2.1",
		"xznc9l6ppin9j93x7xsvaba3qkn46hwr-bash-5.2.15",
	} {
		nars = append(nars, cached(t, webDir+"/cache", base))
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, c := range []Options{
		{Compression: None},
		{Compression: Gzip},
		{Compression: Gzip, Level: LevelFastest},
		{Compression: Zstd},
		{Compression: Zstd, Level: LevelFastest},
	} {
		var want [sha256.Size]byte
		for _, procs := range []int{1, 2, 8} {
			func() {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
				r.Shuffle(len(nars), func(i, j int) { nars[i], nars[j] = nars[j], nars[i] })
				uneven := slices.Clone(nars)
				for i, n := range uneven {
					uneven[i].Open = func(ctx context.Context) (io.ReadCloser, error) {
						src, err := n.Open(ctx)
						if err != nil {
							return nil, err
						}
						return &unevenReader{src, rand.New(rand.NewPCG(uint64(procs), uint64(i)))}, nil
					}
				}
				got := sha256.Sum256(mustWrite(t, uneven, c))
				if procs == 1 {
					want = got
				} else if got != want {
					t.Errorf("%+v: other bytes with GOMAXPROCS=%d than with 1", c, procs)
				}
			}()
		}
	}
}

// unevenReader gives as few bytes as it likes.
type unevenReader struct {
	io.ReadCloser
	r *rand.Rand
}

func (u *unevenReader) Read(p []byte) (int, error) {
	return u.ReadCloser.Read(p[:min(len(p), 1+u.r.IntN(100_000))])
}

// The encoders give, at any cut of their input into writes, what they give for one write.
func TestEncoders_Chunks(t *testing.T) {
	in := mustWrite(t, []NAR{cached(t, webDir+"/cache", "xznc9l6ppin9j93x7xsvaba3qkn46hwr-bash-5.2.15")}, Options{})
	for name, c := range codecs {
		if c.open == nil {
			continue
		}
		encode := func(workers int, cut func(left int) int) []byte {
			var b bytes.Buffer
			e, err := c.open(&b, c.levels[LevelDefault], workers)
			if err != nil {
				t.Fatal(err)
			}
			for rest := in; len(rest) > 0; {
				n := cut(len(rest))
				if _, err := e.Write(rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			return b.Bytes()
		}
		want := encode(1, func(left int) int { return left })
		r := rand.New(rand.NewPCG(3, 4))
		for _, workers := range []int{1, 2, 8, 64} {
			if got := encode(workers, func(left int) int { return min(left, 1+r.IntN(200_000)) }); !bytes.Equal(got, want) {
				t.Errorf("%s: other bytes for other writes and %d workers", name, workers)
			}
		}
	}
}

// Whether the zstd encoder works in one stage or in two, which depends on the machine, doesn't show in the layer.
func TestZstd_Stages(t *testing.T) {
	in := referenceTar(t, wholeCache(t, webDir+"/cache")[:12])
	for _, level := range zstdLevels {
		var want []byte
		for stages := 1; stages <= 2; stages++ {
			var b bytes.Buffer
			e, err := newZstdStages(&b, level, stages)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := e.Write(in); err != nil {
				t.Fatal(err)
			}
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			if stages == 1 {
				want = b.Bytes()
			} else if !bytes.Equal(b.Bytes(), want) {
				t.Errorf("level %d: two stages give other bytes than one", level)
			}
		}
	}
}

// A cache's choice of compression doesn't show in the layer.
func TestWrite_Variants(t *testing.T) {
	o := Options{Compression: Zstd}
	for _, base := range []string{"asn0wpn021jshb0g4kh09vy554qv14a2", "znxxkmh64da14rs51fhii310i4r8y6ab", "0i1z7gpjsbqynxvczq9y25iqvl66875x"} {
		want := mustWrite(t, []NAR{cached(t, webDir+"/cache", base)}, o)
		for _, variant := range []string{"xz", "zstd", "zstd-parallel", "gzip", "bzip2", "none", "unsigned", "two-signatures"} {
			if got := mustWrite(t, []NAR{cached(t, webDir+"/variants/"+variant, base)}, o); !bytes.Equal(got, want) {
				t.Errorf("%s as %s: other bytes", base, variant)
			}
		}
	}
	for _, n := range wholeCache(t, webDir+"/variants/bash-xz") {
		want := mustWrite(t, []NAR{cached(t, webDir+"/cache", n.File.StorePath.Base())}, o)
		if !bytes.Equal(mustWrite(t, []NAR{n}, o), want) {
			t.Errorf("%s as xz: other bytes", n.File.StorePath)
		}
	}
}

// Names that aren't UTF-8, from real Nix, come through as they are.
func TestWrite_NotUTF8(t *testing.T) {
	lines := listing(t, bytes.NewReader(mustWrite(t, wholeCache(t, webDir+"/variants/not-utf8"), Options{})))
	for _, name := range []string{`/caf\xe9	-	-`, `/l\xfcnk	caf\xe9	-`, `/\xff\xfe	-	-`} {
		if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasSuffix(l, name) }) {
			t.Errorf("no entry %s in\n%s", name, strings.Join(lines, "\n"))
		}
	}
}

// A store path that is one file, one executable, one symlink, or nothing much.
func TestWrite_RootKinds(t *testing.T) {
	for _, c := range []struct {
		root node
		want string
	}{
		{file("", "hello"), "file\t0444"},
		{executable("", "#!/bin/sh"), "file\t0555"},
		{file("", ""), "file\t0444"},
		{symlink("", "/elsewhere"), "symlink\t0777"},
		{dir(""), "dir\t0555"},
	} {
		lines := listing(t, bytes.NewReader(mustWrite(t, []NAR{fromBytes(oddBase, makeNAR(t, c.root))}, Options{})))
		if len(lines) != 3 || !strings.HasPrefix(lines[2], c.want) || !strings.Contains(lines[2], "\tnix/store/"+oddBase) {
			t.Errorf("want %s, got %q", c.want, lines)
		}
	}
}

// Guix' store has another name.
func TestWrite_StoreDir(t *testing.T) {
	n := fromBytes(oddBase, makeNAR(t, file("", "x")))
	n.File.StorePath = "/gnu/store/" + oddBase
	lines := listing(t, bytes.NewReader(mustWrite(t, []NAR{n}, Options{})))
	for i, want := range []string{"\tgnu/\t", "\tgnu/store/\t", "\tgnu/store/" + oddBase + "\t"} {
		if !strings.Contains(lines[i], want) {
			t.Errorf("entry %d: %s, want %s", i, lines[i], want)
		}
	}
}

func TestWrite_Whiteout(t *testing.T) {
	for _, name := range []string{".wh.gone", ".wh..wh..opq", ".wh."} {
		n := fromBytes(oddBase, makeNAR(t, dir(""), dir("share"), file("share/"+name, "x")))
		_, err := Write(t.Context(), io.Discard, []NAR{n}, Options{})
		if err == nil || !strings.HasPrefix(err.Error(), "/nix/store/"+oddBase+": ") || !strings.Contains(err.Error(), fmt.Sprintf("%q", "share/"+name)) {
			t.Errorf("%s: error %v, want one that names path and entry", name, err)
		}
		lines := listing(t, bytes.NewReader(mustWrite(t, []NAR{n}, Options{AllowWhiteoutNames: true})))
		if !strings.Contains(lines[len(lines)-1], "/share/"+name+"\t") {
			t.Errorf("%s allowed: last entry %s", name, lines[len(lines)-1])
		}
	}
	harmless := fromBytes(oddBase, makeNAR(t, dir(""), file(".wh", ""), dir("a.wh.b"), file("a.wh.b/c", "")))
	mustWrite(t, []NAR{harmless}, Options{})
}

func TestWrite_Refusals(t *testing.T) {
	good := makeNAR(t, dir(""), file("a", strings.Repeat("x", 1000)))
	n := fromBytes(oddBase, good)
	path := string(n.File.StorePath)
	with := func(f func(*NAR)) NAR {
		c := n
		f(&c)
		return c
	}
	other := store.Hash{1}
	for _, c := range []struct {
		what string
		nars []NAR
		o    Options
		want string
	}{
		{"no path", nil, Options{}, "at least one store path"},
		{"a path twice", []NAR{n, n}, Options{}, path + ": named twice in one layer"},
		{"two stores", []NAR{n, with(func(n *NAR) { n.File.StorePath = "/gnu/store/" + oddBase })}, Options{}, path + ": a layer has one store directory"},
		{"no store path", []NAR{with(func(n *NAR) { n.File.StorePath = "/nix/store/../etc" })}, Options{}, `store path "/nix/store/../etc"`},
		{"no NarHash", []NAR{with(func(n *NAR) { n.File.NarHash = store.Hash{} })}, Options{}, path + ": its NarHash is not given"},
		{"compression", []NAR{n}, Options{Compression: "lzma"}, `compression "lzma": want one of gzip, zstd, none`},
		{"level", []NAR{n}, Options{Level: "11"}, `level "11": want one of fastest, default, best, or for gzip a number from 1 to 9`},
		{"level of none", []NAR{n}, Options{Compression: None, Level: LevelBest}, `compression "none" has no levels`},
		{
			"wrong NarHash",
			[]NAR{with(func(n *NAR) { n.File.NarHash = other })},
			Options{},
			fmt.Sprintf("%s: NarHash mismatch: want %s, got %s (after %d bytes)", path, other, n.File.NarHash, len(good)),
		},
		{"wrong FileHash", []NAR{with(func(n *NAR) { n.File.FileHash = other })}, Options{}, path + ": FileHash mismatch: want " + other.String()},
		{
			"NAR too long",
			[]NAR{with(func(n *NAR) { n.File.NarSize -= 8 })},
			Options{},
			path + ": ",
		},
		{"NAR too short", []NAR{with(func(n *NAR) { n.File.NarSize += 8 })}, Options{}, path + ": "},
		{"unknown NAR compression", []NAR{with(func(n *NAR) { n.File.Compression = "arj" })}, Options{}, path + ": compression \"arj\""},
		{
			"cannot open",
			[]NAR{with(func(n *NAR) {
				n.Open = func(context.Context) (io.ReadCloser, error) { return nil, errors.New("no such thing") }
			})},
			Options{},
			path + ": no such thing",
		},
		{
			"read error",
			[]NAR{with(func(n *NAR) {
				n.Open = func(context.Context) (io.ReadCloser, error) {
					return io.NopCloser(io.MultiReader(bytes.NewReader(good[:500]), iotest.ErrReader(errors.New("the disk is on fire")))), nil
				}
			})},
			Options{},
			path + ": the disk is on fire",
		},
	} {
		t.Run(c.what, func(t *testing.T) {
			for _, compression := range Compressions() {
				o := c.o
				if o.Compression == "" && o.Level == "" {
					o.Compression = compression
				}
				f, err := Write(t.Context(), io.Discard, c.nars, o)
				if err == nil || f != nil || !strings.Contains(err.Error(), c.want) {
					t.Fatalf("%v, error %v; want %s", f, err, c.want)
				}
				if n := strings.Count(err.Error(), path); strings.HasPrefix(c.want, path) && (n != 1 || !strings.HasPrefix(err.Error(), path)) {
					t.Errorf("the error names the path %d times: %v", n, err)
				}
			}
		})
	}
}

// A NAR cut at any place, or with any byte changed, is refused, though its
// hash is right for what is there. (That no changed byte passes the hash needs no test.)
func TestWrite_CutAndFlipped(t *testing.T) {
	good := makeNAR(t, dir(""), file("a", "some text"), dir("b"), executable("b/c", ""), symlink("d", "a"))
	base := mustWrite(t, []NAR{fromBytes(oddBase, good)}, Options{})
	for i := range good {
		if f, err := Write(t.Context(), io.Discard, []NAR{fromBytes(oddBase, good[:i])}, Options{Compression: None}); err == nil {
			t.Fatalf("cut at %d: accepted: %v", i, f)
		}
		bad := slices.Clone(good)
		bad[i] ^= 1 << (i % 8)
		var b bytes.Buffer
		if _, err := Write(t.Context(), &b, []NAR{fromBytes(oddBase, bad)}, Options{Compression: None}); err == nil && bytes.Equal(b.Bytes(), base) {
			t.Fatalf("byte %d changed: the same layer", i) // Names, contents and targets may change; then so does the layer.
		}
		wrong := fromBytes(oddBase, good)
		wrong.Open = fromBytes(oddBase, bad).Open
		if f, err := Write(t.Context(), io.Discard, []NAR{wrong}, Options{Compression: None}); err == nil {
			t.Fatalf("byte %d changed: accepted against the hash: %v", i, f)
		}
	}
}

// big is an uncompressed NAR of one file of so many MiB, made as it is read. Its hash is wrong.
func big(mib int) NAR {
	size := int64(mib) << 20
	var head bytes.Buffer
	for _, s := range []string{"nix-archive-1", "(", "type", "regular", "contents"} {
		head.Write([]byte{byte(len(s)), 0, 0, 0, 0, 0, 0, 0})
		head.WriteString(s)
		head.Write(make([]byte, -len(s)&7))
	}
	for i := range 8 {
		head.WriteByte(byte(size >> (8 * i)))
	}
	tail := []byte{1, 0, 0, 0, 0, 0, 0, 0, ')', 0, 0, 0, 0, 0, 0, 0}
	n := fromBytes("11111111111111111111111111111111-big", nil)
	n.File.NarSize = int64(head.Len()) + size + int64(len(tail))
	n.Open = func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(head.Bytes()), io.LimitReader(new(noise), size), bytes.NewReader(tail))), nil
	}
	return n
}

// noise is an endless stream of letters a to p, of four bits each, that never repeats.
type noise uint64

func (s *noise) Read(p []byte) (int, error) {
	n := len(p) &^ 7
	for i := 0; i < n; i += 8 {
		*s = *s*6364136223846793005 + 1442695040888963407
		binary.LittleEndian.PutUint64(p[i:], uint64(*s^*s>>29)&0x0f0f0f0f0f0f0f0f+0x6161616161616161)
	}
	if n == 0 {
		n = copy(p, "a")
	}
	return n, nil
}

// failingWriter fails after so many bytes, or only writes half.
type failingWriter struct {
	left  int
	short bool
}

var errDiskFull = errors.New("no space left on device")

func (w *failingWriter) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left >= 0 {
		return len(p), nil
	}
	if w.short {
		return len(p) / 2, nil
	}
	return 0, errDiskFull
}

// checkGoroutines fails if more goroutines run at the test's end than now.
func checkGoroutines(t *testing.T) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for range 200 {
			if runtime.NumGoroutine() <= before {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
		buf := make([]byte, 1<<16)
		t.Errorf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
	})
}

// Where the blob can't be written, the error says so, at once, and nothing keeps running.
func TestWrite_WriteError(t *testing.T) {
	checkGoroutines(t)
	for _, compression := range Compressions() {
		for _, after := range []int{0, 5, 100_000, 400_000} {
			for _, short := range []bool{false, true} {
				w := &failingWriter{left: after, short: short}
				_, err := Write(context.Background(), w, []NAR{big(64)}, Options{Compression: compression, Level: map[string]string{Gzip: LevelFastest}[compression]})
				want := errDiskFull
				if short {
					want = io.ErrShortWrite
				}
				if !errors.Is(err, want) || !strings.HasPrefix(err.Error(), "writing the blob: ") {
					t.Errorf("%s, after %d bytes: error %v, want %v", compression, after, err, want)
				}
			}
		}
		// The very last write counts too.
		n := cached(t, webDir+"/cache", "171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-twin-a")
		size := len(mustWrite(t, []NAR{n}, Options{Compression: compression}))
		if _, err := Write(context.Background(), &failingWriter{left: size - 1}, []NAR{n}, Options{Compression: compression}); !errors.Is(err, errDiskFull) {
			t.Errorf("%s, last byte: error %v", compression, err)
		}
	}
}

// Cancelled before, while a NAR is read, and while opening: the cause comes
// back as it is, and nothing keeps running.
func TestWrite_Cancelled(t *testing.T) {
	checkGoroutines(t)
	cause := errors.New("that's enough")
	for _, compression := range Compressions() {
		o := Options{Compression: compression}
		ctx, cancel := context.WithCancelCause(context.Background())
		cancel(cause)
		if _, err := Write(ctx, io.Discard, []NAR{fromBytes(oddBase, makeNAR(t, dir("")))}, o); err != cause {
			t.Errorf("%s, before: error %v", compression, err)
		}

		ctx, cancel = context.WithCancelCause(context.Background())
		n := big(1 << 20) // would take half an hour
		open := n.Open
		n.Open = func(ctx context.Context) (io.ReadCloser, error) {
			src, err := open(ctx)
			return readCloser{&afterBytes{src, 5 << 20, func() { cancel(cause) }}, src}, err
		}
		if _, err := Write(ctx, io.Discard, []NAR{n}, o); err != cause {
			t.Errorf("%s, while reading: error %v", compression, err)
		}

		ctx, cancel = context.WithCancelCause(context.Background())
		n.Open = func(ctx context.Context) (io.ReadCloser, error) {
			cancel(cause)
			<-ctx.Done()
			return nil, ctx.Err()
		}
		if _, err := Write(ctx, io.Discard, []NAR{n}, o); err != cause {
			t.Errorf("%s, while opening: error %v", compression, err)
		}
	}
}

type readCloser struct {
	io.Reader
	io.Closer
}

// afterBytes calls f when so many bytes have been read.
type afterBytes struct {
	r    io.Reader
	left int
	f    func()
}

func (a *afterBytes) Read(p []byte) (int, error) {
	n, err := a.r.Read(p)
	if a.left -= n; a.left < 0 {
		a.f()
	}
	return n, err
}

// What format version 2 is, to the byte. When these digests change, every layer that was ever built has
// other ones too: raise digestfile.FormatVersion, and say so in the release notes. A new
// release of a compression library is the usual reason. They are the same on every architecture.
func TestWrite_PinnedDigests(t *testing.T) {
	if digestfile.FormatVersion != 2 {
		t.Error("the digests below are those of format version 2")
	}
	nars := []NAR{
		cached(t, webDir+"/cache", "xznc9l6ppin9j93x7xsvaba3qkn46hwr-bash-5.2.15"),
		cached(t, webDir+"/cache", "asn0wpn021jshb0g4kh09vy554qv14a2-oddities-1.0"),
	}
	for _, c := range []struct {
		o      Options
		digest string
	}{
		{Options{Compression: None}, "sha256:9560d70a2a04418a7d7817bd554085372804685affbdf58b0fd0100c750da346"},
		{Options{Compression: Gzip}, "sha256:e2847e4e67716adee26bd39b9f496a2b485505bbe637740c8799614162d37d2a"},
		{Options{Compression: Gzip, Level: LevelFastest}, "sha256:f373969425180b83c6de32520caedaf151ff08a9a9d51ba2042536cc0b36e125"},
		{Options{Compression: Gzip, Level: LevelBest}, "sha256:4d682a4070bea0677ce4165eb25c4af9bb74e498364b6d9a344055f14f932162"},
		{Options{Compression: Zstd}, "sha256:c567753d3d14f48f9cc208ff459d96749502298351387e1d8b6bf23c938fa006"},
		{Options{Compression: Zstd, Level: LevelFastest}, "sha256:5f294b74a925f7cddfa0c9a5e5a0c488cd81449dfe9d652db46da195acd01557"},
		{Options{Compression: Zstd, Level: LevelBest}, "sha256:b6a678d53cc4d8f8ab3e0201680ab21c5db1392014eca37c677fef5a1eb81870"},
	} {
		f, err := Write(t.Context(), io.Discard, nars, c.o)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(f.Descriptor.Digest); got != c.digest {
			t.Errorf("%+v: %s, want %s", c.o, got, c.digest)
		}
	}
}
