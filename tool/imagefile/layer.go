package imagefile

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/rules-strata/rules_strata/tool/store"
)

// ErrAbsent is the error of a layer whose bytes are not here: the image is a
// shallow one, of which only the documents were fetched or built.
var ErrAbsent error = new(absentError)

type absentError struct{}

func (*absentError) Error() string { return "the blob is not here" }

// Hint says what to do.
func (*absentError) Hint() string {
	return "this is a shallow image: strata pull without --shallow, or a build of all of it, adds the layers"
}

// Open opens the blob as it is stored. It gives [io.EOF] only if the bytes had
// the descriptor's size and digest. Where they are not there at all, the error is [ErrAbsent].
func (l *Layer) Open() (io.ReadCloser, error) {
	in, err := l.open()
	if err != nil {
		return nil, l.about(err)
	}
	return &layerReader{in, in, l}, nil
}

// about names the layer in err.
func (l *Layer) about(err error) error { return fmt.Errorf("blob %s: %w", l.Descriptor.Digest, err) }

// readCloser puts the two halves of one together.
type readCloser struct {
	io.Reader
	io.Closer
}

// open is Open with errors that don't name the layer.
func (l *Layer) open() (io.ReadCloser, error) {
	want, err := hashOf(l.Descriptor.Digest)
	if err != nil {
		return nil, err
	}
	in, err := l.raw()
	if err != nil {
		return nil, err
	}
	return readCloser{store.NewVerifiedReader(in, l.Descriptor.Size, want, "Blob"), in}, nil
}

// OpenSeeker opens the blob for who reads it here and there, as for ranges. Its bytes aren't checked, but for their
// number: read them through [Layer.Open] first.
func (l *Layer) OpenSeeker() (io.ReadSeekCloser, error) {
	in, err := l.seeker()
	if err != nil {
		return nil, l.about(err)
	}
	return in, nil
}

// raw opens the blob for who checks it himself.
func (l *Layer) raw() (io.ReadCloser, error) { return l.seeker() }

func (l *Layer) seeker() (io.ReadSeekCloser, error) {
	if l.of == nil {
		return nil, ErrAbsent
	}
	in, size, err := l.of.open(l.file)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %w", ErrAbsent, err)
	}
	if err != nil {
		return nil, err
	}
	if size != l.Descriptor.Size {
		in.Close()
		return nil, fmt.Errorf("%s has %d bytes, want %d", l.file, size, l.Descriptor.Size)
	}
	return in, nil
}

// Present says whether the blob's bytes are here.
func (l *Layer) Present() bool { return l.of != nil && l.of.has(l.file) }

func hashOf(d digest.Digest) (store.Hash, error) { return store.ParseHash(d.String()) }

// layerReader names the layer in errors.
type layerReader struct {
	io.Reader
	io.Closer
	layer *Layer
}

func (r *layerReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = r.layer.about(err)
	}
	return n, err
}

// Compressions, by what the bytes themselves say.
const (
	gzipName  = "gzip"
	zstdName  = "zstd"
	magicSize = 6
)

var magics = []struct {
	name  string
	bytes string
}{
	{gzipName, "\x1f\x8b"},
	{zstdName, "\x28\xb5\x2f\xfd"},
	{"xz", "\xfd7zXZ\x00"},
	{"bzip2", "BZh"},
}

// compressionOf says what a file that begins so is compressed by; "" if by nothing known.
func compressionOf(head []byte) string {
	for _, m := range magics {
		if bytes.HasPrefix(head, []byte(m.bytes)) {
			return m.name
		}
	}
	return ""
}

// zstdWindow bounds a decoder's memory: no encoder of image layers uses a larger window.
const zstdWindow = 128 << 20

// Uncompressed opens the layer's tar, whatever compression the blob has. It gives
// [io.EOF] only if the blob had its digest and the tar its diff ID.
func (l *Layer) Uncompressed() (io.ReadCloser, error) {
	in, err := l.uncompressed()
	if err != nil {
		return nil, l.about(err)
	}
	return &layerReader{in, in, l}, nil
}

func (l *Layer) uncompressed() (_ io.ReadCloser, err error) {
	want, err := hashOf(l.DiffID)
	if err != nil {
		return nil, err
	}
	blob, err := l.open()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			blob.Close()
		}
	}()
	in := bufio.NewReaderSize(blob, 128<<10)
	z, err := Decompress(in)
	if err != nil {
		return nil, err
	}
	u := &tarReader{z, in, blob}
	return readCloser{store.NewVerifiedReader(u, -1, want, "Tar"), u}, nil
}

// Decompress opens a layer's tar in what r holds, whatever its compression is. Nothing is checked against a digest, and to close
// it doesn't close r.
func Decompress(r *bufio.Reader) (io.ReadCloser, error) {
	head, err := r.Peek(magicSize)
	if err != nil && err != io.EOF {
		return nil, err
	}
	return decompress(r, compressionOf(head))
}

// decompress opens what r holds by a compression that [compressionOf] has told. To close it doesn't close r.
func decompress(r io.Reader, compression string) (io.ReadCloser, error) {
	switch compression {
	case "":
		return io.NopCloser(r), nil
	case gzipName:
		return gzip.NewReader(r)
	case zstdName:
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return nil, fmt.Errorf("it is compressed by %s; want gzip, zstd or none", compression)
}

// tarReader reads a tar, and at its end the rest of the blob, so that the blob is checked too.
type tarReader struct {
	io.ReadCloser // the tar
	rest          io.Reader
	blob          io.Closer
}

func (u *tarReader) Read(p []byte) (int, error) {
	n, err := u.ReadCloser.Read(p)
	if err == io.EOF {
		if _, e := io.Copy(io.Discard, u.rest); e != nil {
			err = e
		}
	}
	return n, err
}

func (u *tarReader) Close() error { return errors.Join(u.ReadCloser.Close(), u.blob.Close()) }
