package nar_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/rules-strata/rules_strata/tool/nar"
	"github.com/rules-strata/rules_strata/tool/store"
)

func TestReader_Rich(t *testing.T) {
	want, err := referenceParse(richNAR)
	if err != nil {
		t.Fatal(err)
	}
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"plain":           func(r io.Reader) io.Reader { return r },
		"one byte":        iotest.OneByteReader,
		"halves":          iotest.HalfReader,
		"error with data": iotest.DataErrReader,
		"empty reads":     func(r io.Reader) io.Reader { return &emptyReads{r: r} },
	} {
		t.Run(name, func(t *testing.T) {
			r := nar.NewReader(wrap(strings.NewReader(richNAR)))
			for range 3 {
				got, err := readAll(r)
				if err != nil {
					t.Fatal(err)
				}
				equalNodes(t, got, want)
				if r.Offset() != int64(len(richNAR)) {
					t.Errorf("want offset %d at the end, got %d", len(richNAR), r.Offset())
				}
				if _, err := r.Next(); err != io.EOF {
					t.Errorf("want io.EOF again, got %v", err)
				}
				if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
					t.Errorf("want 0, io.EOF of Read at the end, got %d, %v", n, err)
				}
				r.Reset(wrap(strings.NewReader(richNAR)))
			}
		})
	}
}

// emptyReads gives nothing, and no error, every other time.
type emptyReads struct {
	r    io.Reader
	turn bool
}

func (e *emptyReads) Read(p []byte) (int, error) {
	if e.turn = !e.turn; e.turn {
		return 0, nil
	}
	return e.r.Read(p)
}

// Contents can be read by Read in pieces of any size, by WriteTo, by both, in part, or not at all.
func TestReader_WaysToRead(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var entries []string
	var contents []string
	for _, size := range []int{0, 1, 7, 8, 9, 1000, 32<<10 - 1, 32 << 10, 128<<10 - 300, 128 << 10, 128<<10 + 1, 700_001} {
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		contents = append(contents, string(b))
		entries = append(entries, entry(string(rune('a'+len(entries))), file(string(b))))
	}
	b := archive(directory(entries...))
	buf := make([]byte, 1<<20)
	ways := map[string]func(r *nar.Reader) (string, error){
		"WriteTo": func(r *nar.Reader) (string, error) {
			var w bytes.Buffer
			n, err := r.WriteTo(&w)
			if n != int64(w.Len()) {
				t.Errorf("WriteTo says %d bytes, writes %d", n, w.Len())
			}
			return w.String(), err
		},
		"Read and WriteTo": func(r *nar.Reader) (string, error) {
			n, err := r.Read(buf[:random.IntN(50_000)])
			if err != nil && err != io.EOF {
				return "", err
			}
			w := bytes.NewBuffer(bytes.Clone(buf[:n]))
			_, err = r.WriteTo(w)
			return w.String(), err
		},
		"random pieces": func(r *nar.Reader) (string, error) {
			var w bytes.Buffer
			for {
				n, err := r.Read(buf[:random.IntN(len(buf))])
				w.Write(buf[:n])
				if err == io.EOF {
					return w.String(), nil
				}
				if err != nil {
					return "", err
				}
			}
		},
		"ReadFull": func(r *nar.Reader) (string, error) {
			n, err := io.ReadFull(r, buf)
			if err == io.ErrUnexpectedEOF || err == io.EOF {
				err = nil
			}
			return string(buf[:n]), err
		},
		"a prefix": func(r *nar.Reader) (string, error) {
			n, err := r.Read(buf[:random.IntN(1000)])
			if err == io.EOF {
				err = nil
			}
			return string(buf[:n]), err
		},
	}
	for name, read := range ways {
		t.Run(name, func(t *testing.T) {
			r := nar.NewReader(strings.NewReader(b))
			if e, err := r.Next(); err != nil || e.Kind != nar.Directory {
				t.Fatal(e, err)
			}
			for i, want := range contents {
				e, err := r.Next()
				if err != nil || e.Size != int64(len(want)) {
					t.Fatal(i, e, err)
				}
				got, err := read(r)
				if err != nil {
					t.Fatal(err)
				}
				if name == "a prefix" && len(got) <= len(want) {
					want = want[:len(got)]
				}
				if got != want {
					t.Fatalf("contents of %d bytes differ (%d read)", len(want), len(got))
				}
			}
			if _, err := r.Next(); err != io.EOF {
				t.Fatal(err)
			}
		})
	}
}

// A cut archive is never a good one, wherever it is cut, and however it is read.
func TestReader_TruncatedAnywhere(t *testing.T) {
	r := nar.NewReader(nil)
	for n := range len(richNAR) {
		for _, skip := range []bool{false, true} {
			r.Reset(strings.NewReader(richNAR[:n]))
			err := error(nil)
			for err == nil {
				if _, err = r.Next(); err == nil && !skip {
					_, err = io.Copy(io.Discard, r)
				}
			}
			var format *nar.FormatError
			if !errors.As(err, &format) || !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "found the end of the input") {
				t.Fatalf("cut after %d of %d bytes: %v", n, len(richNAR), err)
			}
			if format.Offset != int64(n) {
				t.Errorf("cut after %d bytes: the error says offset %d", n, format.Offset)
			}
			if _, again := r.Next(); again != err {
				t.Errorf("want the same error again, got %v", again)
			}
			if _, again := r.Read(make([]byte, 1)); again != err {
				t.Errorf("want the same error of Read, got %v", again)
			}
		}
	}
}

// Whatever bit is wrong: Reader and reference agree, and with the hash checked below, nothing wrong is accepted.
func TestReader_FlippedAnywhere(t *testing.T) {
	hash := store.Hash(sha256.Sum256([]byte(richNAR)))
	r := nar.NewReader(nil)
	accepted := 0
	for i := range len(richNAR) {
		for bit := range 8 {
			b := []byte(richNAR)
			b[i] ^= 1 << bit
			r.Reset(bytes.NewReader(b))
			got, err := readAll(r)
			want, wantErr := referenceParse(string(b))
			if (err == nil) != (wantErr == nil) {
				t.Fatalf("byte %d, bit %d: Reader says %v, the reference %v", i, bit, err, wantErr)
			}
			if err == nil {
				equalNodes(t, got, want)
				accepted++
			}
			r.Reset(store.NewVerifiedReader(bytes.NewReader(b), int64(len(b)), hash, "Nar"))
			if _, err = readAll(r); err == nil {
				t.Fatalf("byte %d, bit %d: accepted in spite of the hash", i, bit)
			}
		}
	}
	if accepted == 0 {
		t.Error("no flip gave another good archive: the test doesn't test what it should")
	}
}

// The source's own errors pass through, be it in the middle or instead of the end.
func TestReader_SourceError(t *testing.T) {
	broken := errors.New("broken pipe")
	for n := range len(richNAR) + 1 {
		r := nar.NewReader(io.MultiReader(strings.NewReader(richNAR[:n]), iotest.ErrReader(broken)))
		if _, err := readAll(r); err != broken {
			t.Fatalf("source fails after %d of %d bytes: want its error, got %v", n, len(richNAR), err)
		}
	}
	r := nar.NewReader(store.NewVerifiedReader(strings.NewReader(richNAR), int64(len(richNAR)), store.Hash{1}, "Nar"))
	_, err := readAll(r)
	var mismatch *store.HashMismatchError
	if !errors.As(err, &mismatch) || mismatch.What != "NarHash" {
		t.Errorf("want a NarHash mismatch at the end, got %v", err)
	}
	if _, err := nar.NewReader(iotest.TimeoutReader(&emptyReads{r: neverReads{}})).Next(); err == nil {
		t.Error("a source without end and bytes is read for good")
	}
}

type neverReads struct{}

func (neverReads) Read([]byte) (int, error) { return 0, nil }

// A writer's error comes back from WriteTo, and the archive can still be read on.
func TestReader_WriteToFails(t *testing.T) {
	r := nar.NewReader(strings.NewReader(archive(directory(entry("a", file("0123456789")), entry("b", file(""))))))
	for range 2 {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	full := errors.New("disk full")
	if n, err := r.WriteTo(writerFunc(func(p []byte) (int, error) { return 4, full })); n != 4 || err != full {
		t.Errorf("want 4, disk full; got %d, %v", n, err)
	}
	if n, err := r.WriteTo(writerFunc(func(p []byte) (int, error) { return 1, nil })); n != 1 || err != io.ErrShortWrite {
		t.Errorf("want 1, short write; got %d, %v", n, err)
	}
	var rest bytes.Buffer
	if _, err := r.WriteTo(&rest); err != nil || rest.String() != "56789" {
		t.Errorf("want the rest, got %q, %v", rest.String(), err)
	}
	if e, err := r.Next(); err != nil || string(e.Path) != "b" {
		t.Errorf("want b next, got %v, %v", e, err)
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// A NAR of any number of entries takes no allocation at all from a Reader that is reused.
func TestReader_AllocatesNothing(t *testing.T) {
	var entries []string
	for i := range 500 {
		name := string(rune('a'+i/26/26)) + string(rune('a'+i/26%26)) + string(rune('a'+i%26))
		entries = append(entries, entry(name, directory(entry("bin", program(name)), entry("link", link("bin")))))
	}
	b := strings.NewReader(archive(directory(entries...)))
	r := nar.NewReader(b)
	if n := testing.AllocsPerRun(5, func() {
		b.Seek(0, io.SeekStart)
		r.Reset(b)
		for {
			if _, err := r.Next(); err == io.EOF {
				return
			} else if err != nil {
				t.Fatal(err)
			}
			if _, err := r.WriteTo(io.Discard); err != nil {
				t.Fatal(err)
			}
		}
	}); n != 0 {
		t.Errorf("want 0 allocations, got %v", n)
	}
}
