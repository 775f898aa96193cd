package store

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestVerifiedReader(t *testing.T) {
	data := strings.Repeat("0123456789", 100)
	right := Hash(sha256.Sum256([]byte(data)))
	none := Hash(sha256.Sum256(nil))
	other := Hash{1}
	for _, c := range []struct {
		name  string
		data  string
		size  int64
		hash  Hash
		want  string // of the error; "" for io.EOF
		bytes int    // that come through at most
	}{
		{"right", data, 1000, right, "", 1000},
		{"right, size unknown", data, -1, right, "", 1000},
		{"nothing", "", 0, none, "", 0},
		{"nothing, size unknown", "", -1, none, "", 0},
		{"wrong hash", data, 1000, other, "NarHash mismatch: want " + other.String() + ", got " + right.String() + " (after 1000 bytes)", 1000},
		{"wrong hash, size unknown", data, -1, other, "NarHash mismatch", 1000},
		{"wrong hash of nothing", "", 0, other, "NarHash mismatch", 0},
		{"zero hash is a hash", data, 1000, Hash{}, "NarHash mismatch", 1000},
		{"too short", data[:999], 1000, right, "NarSize mismatch: want 1000, got 999 (after 999 bytes)", 999},
		{"nothing at all", "", 1000, right, "NarSize mismatch: want 1000, got 0 (after 0 bytes)", 0},
		{"one byte too long", data + "x", 1000, right, "NarSize mismatch: want 1000, got more (after 1000 bytes)", 1000},
		{"much too long", strings.Repeat(data, 100), 1000, right, "NarSize mismatch: want 1000, got more", 1000},
		{"something for nothing", "x", 0, none, "NarSize mismatch: want 0, got more", 0},
		{"one byte wrong", "x" + data[1:], 1000, right, "NarHash mismatch", 1000},
	} {
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"plain":           func(r io.Reader) io.Reader { return r },
			"byte by byte":    iotest.OneByteReader,
			"error with data": iotest.DataErrReader,
		} {
			t.Run(c.name+"/"+name, func(t *testing.T) {
				v := NewVerifiedReader(wrap(strings.NewReader(c.data)), c.size, c.hash, "Nar")
				got, err := io.ReadAll(v)
				if len(got) > c.bytes || !strings.HasPrefix(c.data, string(got)) {
					t.Errorf("want at most the first %d bytes, got %d", c.bytes, len(got))
				}
				if c.want == "" {
					if err != nil || string(got) != c.data {
						t.Fatalf("want all and io.EOF, got %d bytes, %v", len(got), err)
					}
				} else {
					var mismatch *HashMismatchError
					if !errors.As(err, &mismatch) || !strings.Contains(err.Error(), c.want) {
						t.Fatalf("want %q, got %v", c.want, err)
					}
				}
				want := err
				if want == nil {
					want = io.EOF
				}
				for range 2 {
					if n, again := v.Read(make([]byte, 10)); n != 0 || again != want {
						t.Errorf("want the same end again, got %d, %v", n, again)
					}
				}
			})
		}
	}
}

func TestVerifiedReader_SourceError(t *testing.T) {
	broken := errors.New("connection reset")
	v := NewVerifiedReader(io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(broken)), 10, Hash{}, "File")
	if b, err := io.ReadAll(v); string(b) != "abc" || err != broken {
		t.Errorf("want abc and the source's error, got %q, %v", b, err)
	}
	// Also where only the end was still to come.
	v = NewVerifiedReader(io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(broken)), 3, sha256.Sum256([]byte("abc")), "File")
	if _, err := io.ReadAll(v); err != broken {
		t.Errorf("want the source's error instead of the end, got %v", err)
	}
}

func TestVerifiedReader_Reset(t *testing.T) {
	v := NewVerifiedReader(strings.NewReader("wrong"), 3, Hash{}, "Nar")
	if _, err := io.ReadAll(v); err == nil {
		t.Fatal("want an error")
	}
	for _, s := range []string{"", "abc", strings.Repeat("x", 100_000)} {
		v.Reset(strings.NewReader(s), int64(len(s)), sha256.Sum256([]byte(s)), "File")
		if b, err := io.ReadAll(v); err != nil || string(b) != s {
			t.Errorf("after Reset: got %d bytes, %v", len(b), err)
		}
	}
	if n, err := v.Read(nil); n != 0 || err != io.EOF {
		t.Errorf("want io.EOF, got %d, %v", n, err)
	}
}

func BenchmarkVerifiedReader(b *testing.B) {
	data := make([]byte, 4<<20)
	hash := Hash(sha256.Sum256(data))
	src := bytes.NewReader(data)
	v := NewVerifiedReader(nil, 0, hash, "Nar")
	buf := make([]byte, 128<<10)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		src.Reset(data)
		v.Reset(src, int64(len(data)), hash, "Nar")
		for {
			if _, err := v.Read(buf); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
	}
}
