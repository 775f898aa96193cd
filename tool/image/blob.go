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
	// Path is the file that holds them, which a layout links to and errors name.
	Path string
	// Open opens them when they are not in a file of that path; the writer closes.
	Open func() (io.ReadCloser, error)
	// Absent leaves the bytes out of an archive: its reader has them.
	Absent bool
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
			err = fmt.Errorf("blob %s (%s): %w", b.Descriptor.Digest, b.Path, err)
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

// pickBlobs returns the image's blobs in the order of its layers, each once.
func pickBlobs(img *Image, blobs []Blob) ([]Blob, error) {
	have := make(map[digest.Digest]Blob, len(blobs))
	for _, b := range blobs {
		have[b.Descriptor.Digest] = b
	}
	var out []Blob
	done := map[digest.Digest]bool{}
	for i, l := range img.Layers {
		b, ok := have[l.Digest]
		if !ok {
			return nil, fmt.Errorf("layer %d of the image, %s, is none of the blobs given", i+1, l.Digest)
		}
		if b.Descriptor.Size != l.Size {
			return nil, fmt.Errorf("blob %s (%s): the manifest says %d bytes, its digest file %d", l.Digest, b.Path, l.Size, b.Descriptor.Size)
		}
		if !done[l.Digest] {
			out = append(out, b)
		}
		done[l.Digest] = true
	}
	for _, b := range blobs {
		if !done[b.Descriptor.Digest] {
			return nil, fmt.Errorf("blob %s (%s) is no layer of the image", b.Descriptor.Digest, b.Path)
		}
	}
	return out, nil
}
