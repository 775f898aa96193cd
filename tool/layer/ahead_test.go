package layer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rules-strata/rules_strata/tool/store"
)

// manyNARs are so many of so many bytes, more or less, and their layer.
func manyNARs(tb testing.TB, count, size int) (nars []NAR) {
	tb.Helper()
	r := rand.New(rand.NewPCG(5, 6))
	for i := range count {
		contents := make([]byte, r.IntN(2*size+1))
		for j := 0; j < len(contents); j += 8 {
			contents[j] = byte(r.Uint32())
		}
		n := fromBytes(oddBase, makeNAR(tb, dir(""), file("a", string(contents)), symlink("b", "a")))
		n.File.StorePath = store.Path(fmt.Sprintf("/nix/store/%032d-n", i))
		nars = append(nars, n)
	}
	return nars
}

// asSlow makes the engine take the uncompressed NARs for ones that take long to decode, until the test's end.
func asSlow(t *testing.T) {
	slow["none"] = true
	t.Cleanup(func() { delete(slow, "none") })
}

func tempFile(t *testing.T, made *atomic.Int32) func() (*os.File, error) {
	dir := t.TempDir()
	return func() (*os.File, error) {
		made.Add(1)
		f, err := os.CreateTemp(dir, "")
		if err == nil {
			err = os.Remove(f.Name())
		}
		return f, err
	}
}

// However many decoders, and wherever what is decoded too early waits, the bytes are the same, and no
// more files are open than there are decoders.
func TestAhead_SameBytes(t *testing.T) {
	checkGoroutines(t)
	for _, c := range []struct{ count, size int }{{1, 3 << 20}, {400, 2000}, {7, 1 << 20}, {30, 100_000}} {
		nars := manyNARs(t, c.count, c.size)
		want := sha256.Sum256(referenceTar(t, nars))
		for _, workers := range []int{1, 2, 8, 64} {
			for _, spill := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d of %d, %d workers, spill %v", c.count, c.size, workers, spill), func(t *testing.T) {
					o := Options{Compression: None, Workers: workers}
					var made atomic.Int32
					if spill {
						asSlow(t)
						o.TempFile = tempFile(t, &made)
					}
					var open, most atomic.Int32
					counted := make([]NAR, len(nars))
					for i, n := range nars {
						counted[i] = n
						counted[i].Open = func(ctx context.Context) (io.ReadCloser, error) {
							if n := open.Add(1); n > most.Load() {
								most.Store(n)
							}
							src, err := n.Open(ctx)
							return readCloser{src, closeFunc(func() { open.Add(-1) })}, err
						}
					}
					if got := sha256.Sum256(mustWrite(t, counted, o)); got != want {
						t.Error("other bytes than the reference's")
					}
					if most := int(most.Load()); most > min(workers, maxDecoders) || open.Load() != 0 {
						t.Errorf("up to %d files were open, %d still are", most, open.Load())
					}
					if n := int(made.Load()); n > min(workers, maxDecoders) {
						t.Errorf("%d temporary files", n)
					}
				})
			}
		}
	}
}

type closeFunc func()

func (f closeFunc) Close() error { f(); return nil }

// What is decoded far ahead goes through a temporary file, round and round in it, and comes out as it was.
func TestAhead_Spill(t *testing.T) {
	asSlow(t)
	nars := manyNARs(t, 3, 8<<20)
	nars[0] = fromBytes(oddBase, makeNAR(t, file("", "the first one"))) // its Open waits below
	nars[0].File.StorePath = "/nix/store/00000000000000000000000000000000-n"
	var total int64
	for _, n := range nars[1:] {
		total += n.File.NarSize
	}
	want := sha256.Sum256(referenceTar(t, nars))
	for _, c := range []struct {
		what string
		file func(made *atomic.Int32) func() (*os.File, error)
	}{
		{"a file", func(made *atomic.Int32) func() (*os.File, error) { return tempFile(t, made) }},
		{"no file", func(*atomic.Int32) func() (*os.File, error) { return nil }},
		{"a file that can't be made", func(made *atomic.Int32) func() (*os.File, error) {
			return func() (*os.File, error) { made.Add(1); return nil, errDiskFull }
		}},
		{"a file that can't be written", func(made *atomic.Int32) func() (*os.File, error) {
			return func() (*os.File, error) { made.Add(1); return os.Open(os.DevNull) }
		}},
	} {
		var made atomic.Int32
		// The first NAR comes only after the others are decoded as far as they can be.
		read := make(chan struct{})
		var n atomic.Int64
		waiting := append([]NAR(nil), nars...)
		waiting[0].Open = func(ctx context.Context) (io.ReadCloser, error) {
			<-read
			return nars[0].Open(ctx)
		}
		limit := int64(2 * decoderBufferSize)
		if c.what == "a file" {
			limit = total
		}
		for i := range waiting[1:] {
			open := nars[i+1].Open
			waiting[i+1].Open = func(ctx context.Context) (io.ReadCloser, error) {
				src, err := open(ctx)
				return readCloser{readerFunc(func(p []byte) (int, error) {
					m, err := src.Read(p)
					if before := n.Add(int64(m)) - int64(m); before < limit && before+int64(m) >= limit {
						close(read)
					}
					return m, err
				}), src}, err
			}
		}
		got := sha256.Sum256(mustWrite(t, waiting, Options{Compression: None, Workers: 2, TempFile: c.file(&made)}))
		if got != want {
			t.Errorf("%s: other bytes than the reference's", c.what)
		}
		if c.what == "a file" && made.Load() == 0 {
			t.Error("no temporary file was made: nothing was tested")
		}
	}
}

// A temporary file that was read to its end begins anew: it is no longer than what ever waited in it, and
// the system needs no more memory for it, however many NARs go through.
func TestAhead_SpillBeginsAnew(t *testing.T) {
	const waiting = 4 // buffers in the file
	var made atomic.Int32
	q := &queue{}
	a := &ahead{ctx: t.Context(), nars: make([]NAR, 5), progress: make([]progress, 5), spill: tempFile(t, &made)}
	a.cond = sync.NewCond(&a.mu)
	for i := range a.nars {
		a.nars[i].File.Compression = "xz"
		a.progress[i].queue = q
	}
	for i := 1; i < len(a.nars); i++ {
		var want []byte
		for j := range decoderBuffers + waiting {
			b := a.buffer(q)
			b.n = copy(b.buf[:], bytes.Repeat([]byte{byte(i), byte(j)}, decoderBufferSize))
			want = append(want, b.buf[:b.n]...)
			if !a.put(q, i, b) {
				t.Fatal("put: nobody wants it")
			}
		}
		a.progress[i].err = io.EOF
		a.begin(i)
		if got, err := io.ReadAll(a); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("NAR %d: %d bytes, %v; want the %d that were put", i, len(got), err, len(want))
		}
		info, err := q.file.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() != waiting*decoderBufferSize {
			t.Errorf("after NAR %d the file has %d bytes, want %d", i, info.Size(), waiting*decoderBufferSize)
		}
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// Of several broken NARs the first in order is the one told, also when a later one breaks first.
func TestAhead_FirstError(t *testing.T) {
	checkGoroutines(t)
	for range 10 {
		nars := manyNARs(t, 12, 100_000)
		for _, i := range []int{3, 4, 5, 11} {
			nars[i].File.NarHash = store.Hash{1}
		}
		nars[8].Open = func(context.Context) (io.ReadCloser, error) { return nil, errors.New("not there") }
		for _, workers := range []int{1, 8} {
			_, err := Write(t.Context(), io.Discard, nars, Options{Compression: None, Workers: workers})
			if err == nil || !strings.HasPrefix(err.Error(), string(nars[3].File.StorePath)+": NarHash mismatch") {
				t.Fatalf("error %v, want one of %s", err, nars[3].File.StorePath)
			}
		}
	}
}

// A NAR that isn't one because it was damaged is told as damaged.
func TestWrite_DamageBeforeFormat(t *testing.T) {
	good := makeNAR(t, dir(""), file("a", strings.Repeat("x", 1_000_000)), file("b", "y"))
	bad := bytes.Clone(good)
	bad[40] ^= 1
	n := fromBytes(oddBase, bad)
	n.File.NarHash = sha256.Sum256(good)
	_, err := Write(t.Context(), io.Discard, []NAR{n}, Options{})
	want := fmt.Sprintf("%s: NarHash mismatch: want %s", n.File.StorePath, n.File.NarHash)
	if err == nil || !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), "bad NAR at offset") {
		t.Errorf("error %v, want %s…", err, want)
	}
}
