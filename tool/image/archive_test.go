package image

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/digestfile"
)

// memoryBlob is testLayer's blob.
func memoryBlob(f *digestfile.File, content string) Blob {
	return Blob{
		Descriptor: f.Descriptor, Path: "layers/" + content + ".tar.gz",
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil },
	}
}

// testImage has a layer for each content, and their blobs.
func testImage(t *testing.T, contents ...string) (*Image, []Blob) {
	t.Helper()
	var layers []*digestfile.File
	var blobs []Blob
	for _, c := range contents {
		l := testLayer(c)
		layers = append(layers, l)
		blobs = append(blobs, memoryBlob(l, c))
	}
	img, err := Build(Settings{System: "x86_64-linux"}, layers)
	if err != nil {
		t.Fatal(err)
	}
	return img, blobs
}

// list is a tar in one line an entry, contents included: nothing in a header is left out.
func list(t *testing.T, archive []byte) string {
	t.Helper()
	var b strings.Builder
	tr := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return b.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%c %04o %d:%d %s:%s %d %v %v %s %s\n", h.Typeflag, h.Mode, h.Uid, h.Gid, h.Uname, h.Gname, h.ModTime.Unix(), h.Format, h.PAXRecords, h.Name, content)
	}
}

// The order, the headers and the documents of an archive: a layer that the
// image has twice is there once, and the metadata comes first.
func TestWriteArchive_Golden(t *testing.T) {
	img, blobs := testImage(t, "one", "two", "three", "one")
	slices.Reverse(blobs)
	for name, tags := range map[string][]string{"untagged": nil, "tagged": {"web:dev", "example.org:5000/team/web:dev", "web"}} {
		var first, second bytes.Buffer
		for _, w := range []*bytes.Buffer{&first, &second} {
			if err := WriteArchive(t.Context(), w, img, blobs, tags); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(first.Bytes(), second.Bytes()) {
			t.Errorf("%s: two runs differ", name)
		}
		golden(t, name+".archive.txt", []byte(list(t, first.Bytes())))
	}
}

func TestWriteArchive_Errors(t *testing.T) {
	img, blobs := testImage(t, "one", "two")
	content := func(s string) func() (io.ReadCloser, error) {
		return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s)), nil }
	}
	const two = "blob sha256:3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3 (layers/two.tar.gz): "
	tests := []struct {
		name   string
		change func(blobs []Blob) []Blob
		tags   []string
		want   string
	}{
		{"other bytes", func(b []Blob) []Blob { b[1].Open = content("too"); return b }, nil, two + "BlobHash mismatch: want sha256:3fc4"},
		{"cut off", func(b []Blob) []Blob { b[1].Open = content("tw"); return b }, nil, two + "BlobSize mismatch: want 3, got 2"},
		{"empty", func(b []Blob) []Blob { b[1].Open = content(""); return b }, nil, two + "BlobSize mismatch: want 3, got 0"},
		{"longer", func(b []Blob) []Blob { b[1].Open = content("two2"); return b }, nil, two + "BlobSize mismatch: want 3, got more"},
		{"no file", func(b []Blob) []Blob { b[1].Open = nil; return b }, nil, two + "open layers/two.tar.gz: no such file"},
		{"missing", func(b []Blob) []Blob { return b[:1] }, nil, "layer 2 of the image, sha256:3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3, is none of the blobs given"},
		{"one too many", func(b []Blob) []Blob { return append(b, memoryBlob(testLayer("x"), "x")) }, nil, "(layers/x.tar.gz) is no layer of the image"},
		{"size of the digest file", func(b []Blob) []Blob { b[1].Descriptor.Size = 4; return b }, nil, two + "the manifest says 3 bytes, its digest file 4"},
		{"name", func(b []Blob) []Blob { return b }, []string{"Web"}, `image name "Web": component "Web" of the name: want lower-case letters`},
		{"name twice", func(b []Blob) []Blob { return b }, []string{"web", "docker.io/library/web:latest"}, "docker.io/library/web:latest is given twice"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := WriteArchive(t.Context(), io.Discard, img, test.change(slices.Clone(blobs)), test.tags)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v: want one with %q", err, test.want)
			}
		})
	}
}

// fullDisk fails once so many bytes are written.
type fullDisk struct{ left int }

var errFull = errors.New("disk full")

func (d *fullDisk) Write(p []byte) (int, error) {
	if d.left -= len(p); d.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

// A write error at any place comes out as itself.
func TestWriteArchive_WriteErrors(t *testing.T) {
	img, blobs := testImage(t, "one", "two")
	var whole bytes.Buffer
	if err := WriteArchive(t.Context(), &whole, img, blobs, nil); err != nil {
		t.Fatal(err)
	}
	for n := 0; n < whole.Len(); n += 256 {
		if err := WriteArchive(t.Context(), &fullDisk{left: n}, img, blobs, nil); !errors.Is(err, errFull) {
			t.Fatalf("full after %d of %d bytes: error %v", n, whole.Len(), err)
		}
	}
}

// Stopped in the middle of a blob, it fails with what stopped it.
func TestWriteArchive_Stopped(t *testing.T) {
	img, blobs := testImage(t, "one", "two")
	errStop := errors.New("stopped by signal")
	for i := range blobs {
		ctx, stop := context.WithCancelCause(t.Context())
		b := slices.Clone(blobs)
		b[i].Open = func() (io.ReadCloser, error) {
			stop(errStop)
			return blobs[i].Open()
		}
		if err := WriteArchive(ctx, io.Discard, img, b, nil); !errors.Is(err, errStop) {
			t.Errorf("in blob %d: error %v: want the context's", i, err)
		}
	}
}

// countReader gives so many zeros, and notes the largest read.
type countReader struct {
	left    int64
	largest int
}

func (r *countReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	r.largest = max(r.largest, len(p))
	n := int(min(int64(len(p)), r.left))
	clear(p[:n])
	r.left -= int64(n)
	return n, nil
}

// A blob is streamed through one buffer, however large it is. Sizes over 8 GiB
// need a pax record, which the header then has.
func TestWriteArchive_Streams(t *testing.T) {
	const size = 9 << 30
	r := &countReader{left: size}
	l := testLayer("large")
	l.Descriptor.Size = size
	img, err := Build(Settings{System: "x86_64-linux"}, []*digestfile.File{l})
	if err != nil {
		t.Fatal(err)
	}
	w := &stopAfter{n: 64 << 20}
	err = WriteArchive(t.Context(), w, img, []Blob{{Descriptor: l.Descriptor, Open: func() (io.ReadCloser, error) { return io.NopCloser(r), nil }}}, nil)
	if !errors.Is(err, errFull) {
		t.Fatalf("error %v: want the writer's", err)
	}
	if r.largest > copyBufferSize {
		t.Errorf("one read of %d bytes: want at most %d", r.largest, copyBufferSize)
	}
	tr := tar.NewReader(bytes.NewReader(w.head))
	for {
		h, err := tr.Next()
		if err != nil {
			t.Fatalf("no entry of the blob: %v", err)
		}
		if h.Name == blobName(l.Descriptor) {
			if h.Size != size {
				t.Errorf("size %d in the header: want %d", h.Size, int64(size))
			}
			return
		}
	}
}

// stopAfter keeps the first bytes and fails after n.
type stopAfter struct {
	n    int
	head []byte
}

func (s *stopAfter) Write(p []byte) (int, error) {
	if len(s.head) < 1<<20 {
		s.head = append(s.head, p...)
	}
	if s.n -= len(p); s.n < 0 {
		return 0, errFull
	}
	return len(p), nil
}

// files writes testImage's blobs into files of dir.
func files(t *testing.T, dir string, blobs []Blob) []Blob {
	t.Helper()
	var out []Blob
	for _, b := range blobs {
		r, err := b.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, string(content)+".tar.gz")
		if err := os.WriteFile(path, content, 0o444); err != nil {
			t.Fatal(err)
		}
		out = append(out, Blob{Descriptor: b.Descriptor, Path: path})
	}
	return out
}

func readIndex(t *testing.T, dir string) ocispec.Index {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var index ocispec.Index
	if err := json.Unmarshal(b, &index); err != nil {
		t.Fatal(err)
	}
	return index
}
