package image

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/store"
)

// Blob is where the bytes of a layer are.
type Blob struct {
	// Descriptor names the bytes: digest and size are what they are checked against.
	Descriptor ocispec.Descriptor
	// UncompressedSize is the size of the layer's tar in bytes; 0 where it is not known.
	// Docker archives have their layers as tars, with the size in front.
	UncompressedSize int64
	// Path is the file that holds them, which a layout links to and errors name.
	Path string
	// Open opens them when they are not in a file of that path; the writer closes.
	Open func() (io.ReadCloser, error)
	// Absent leaves the bytes out of an archive: its reader has them.
	Absent bool
}

// String names the blob in errors.
func (b Blob) String() string {
	s := "blob " + b.Descriptor.Digest.String()
	if b.Path != "" {
		s += " (" + b.Path + ")"
	}
	return s
}

func (b Blob) open() (io.ReadCloser, error) {
	if b.Open != nil {
		return b.Open()
	}
	return os.Open(b.Path)
}

// copyTo writes the blob's bytes to w and fails unless they have its digest and size.
// Between two pieces of buf's size it looks whether ctx has ended.
func (b Blob) copyTo(ctx context.Context, w io.Writer, buf []byte) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", b, err)
		}
	}()
	want, err := store.ParseHash(b.Descriptor.Digest.String())
	if err != nil {
		return err
	}
	r, err := b.open()
	if err != nil {
		return err
	}
	defer r.Close()
	v := store.NewVerifiedReader(r, b.Descriptor.Size, want, "Blob")
	_, err = io.CopyBuffer(cancellableWriter{ctx, w}, v, buf)
	return err
}

// copyTar writes the layer's tar, decompressed, and fails unless blob and tar
// have the digests and the sizes that they shall have; -1 is a size of the tar that is
// not known. It returns the tar's size.
func (b Blob) copyTar(ctx context.Context, w io.Writer, diffID digest.Digest, size int64, buf []byte) (n int64, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", b, err)
		}
	}()
	compression, err := compressionOf(b.Descriptor)
	if err != nil {
		return 0, err
	}
	want, err := store.ParseHash(b.Descriptor.Digest.String())
	if err != nil {
		return 0, err
	}
	wantTar, err := store.ParseHash(diffID.String())
	if err != nil {
		return 0, err
	}
	r, err := b.open()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	z, err := decompressor(store.NewVerifiedReader(r, b.Descriptor.Size, want, "Blob"), compression)
	if err != nil {
		return 0, err
	}
	defer z.Close()
	return io.CopyBuffer(cancellableWriter{ctx, w}, store.NewVerifiedReader(z, size, wantTar, "Layer"), buf)
}

// tarSize is the size of the layer's tar.
func (b Blob) tarSize(ctx context.Context, diffID digest.Digest, buf []byte) (int64, error) {
	if b.UncompressedSize > 0 {
		return b.UncompressedSize, nil
	}
	return b.copyTar(ctx, io.Discard, diffID, -1, buf)
}

// cancellableWriter fails once its context ends. It has no ReadFrom, which would go round the buffer.
type cancellableWriter struct {
	ctx context.Context
	w   io.Writer
}

func (c cancellableWriter) Write(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.w.Write(p)
}

// pickBlobs returns the images' blobs in the order in which their layers need them, each once.
func pickBlobs(images []*Image, blobs []Blob) ([]Blob, error) {
	have := make(map[digest.Digest]Blob, len(blobs))
	for _, b := range blobs {
		have[b.Descriptor.Digest] = b
	}
	var out []Blob
	done := map[digest.Digest]bool{}
	for _, img := range images {
		of := "the image"
		if len(images) > 1 {
			of += " for " + platformText(img.Descriptor.Platform)
		}
		for i, l := range img.Layers {
			b, ok := have[l.Digest]
			if !ok {
				return nil, fmt.Errorf("layer %d of %s, %s, is none of the blobs given", i+1, of, l.Digest)
			}
			if b.Descriptor.Size != l.Size {
				return nil, fmt.Errorf("%s: the manifest says %d bytes, its digest file %d", b, l.Size, b.Descriptor.Size)
			}
			if !done[l.Digest] {
				out = append(out, b)
			}
			done[l.Digest] = true
		}
	}
	for _, b := range blobs {
		if !done[b.Descriptor.Digest] {
			return nil, fmt.Errorf("%s is no layer of the image", b)
		}
	}
	return out, nil
}
