package runlayer

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/flatten"
	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/store"
)

// Image is what a program runs over.
type Image struct {
	// Layers are the layers' tars, lowest first.
	Layers []flatten.Layer
	// Env is the environment that the image's config says.
	Env []string
	// Stores are the store directories, as "nix/store". What is in them is there to be read: a program can't change it, or what it
	// changes is in no layer.
	Stores []string
	// Architecture is whose programs are in it, as "arm64"; "" where that is not known.
	Architecture string
}

// AddStores adds the store directories of layers.
func (i *Image) AddStores(files []*digestfile.File) {
	for _, f := range files {
		if len(f.StorePaths) > 0 { // All of one directory.
			i.Stores = append(i.Stores, strings.TrimPrefix(f.StorePaths[0].Path.Dir(), "/"))
		}
	}
}

// stores are the store directories, Nix' and Guix' own among them.
func (i *Image) stores() []string {
	out := []string{"gnu/store", "nix/store"}
	for _, s := range i.Stores {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// maxWindow is zstd's window, as for layers elsewhere.
const maxWindow = 128 << 20

// NewImage is the image of a config and a manifest, whose layers' bytes are among blobs. They are checked as they are read.
func NewImage(img *image.Image, config *ocispec.Image, blobs []image.Blob) (*Image, error) {
	byDigest := map[digest.Digest]image.Blob{}
	for _, b := range blobs {
		byDigest[b.Descriptor.Digest] = b
	}
	out := &Image{Env: config.Config.Env, Architecture: config.Architecture}
	for i, d := range img.Layers {
		b, ok := byDigest[d.Digest]
		if !ok {
			return nil, fmt.Errorf("layer %d of the image, %s: its bytes are not given", i+1, d.Digest)
		}
		want, err := store.ParseHash(d.Digest.String())
		if err != nil {
			return nil, fmt.Errorf("layer %d of the image: %w", i+1, err)
		}
		out.Layers = append(out.Layers, func() (io.ReadCloser, error) { return openTar(b, d.Size, want) })
	}
	return out, nil
}

// tarReader reads a layer's tar, and the rest of the blob when the tar is at its end: there its digest is checked.
type tarReader struct {
	io.Reader
	decoder io.Closer // nil: none
	blob    *store.VerifiedReader
	file    io.Closer
}

// openTar opens a blob and takes its compression off, which its first bytes tell.
func openTar(b image.Blob, size int64, want store.Hash) (_ io.ReadCloser, err error) {
	open := b.Open
	if open == nil {
		open = func() (io.ReadCloser, error) { return os.Open(b.Path) }
	}
	file, err := open()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			file.Close()
		}
	}()
	t := &tarReader{blob: store.NewVerifiedReader(file, size, want, "Blob"), file: file}
	head := make([]byte, 4)
	n, err := io.ReadFull(t.blob, head)
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		return nil, err
	}
	in := io.MultiReader(bytes.NewReader(head[:n]), t.blob)
	switch {
	case n >= 2 && head[0] == 0x1f && head[1] == 0x8b:
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, err
		}
		t.Reader, t.decoder = z, z
	case n == 4 && string(head) == "\x28\xb5\x2f\xfd":
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, err
		}
		t.Reader, t.decoder = z, z.IOReadCloser()
	default:
		t.Reader = in
	}
	return t, nil
}

// Read implements [io.Reader]. It gives [io.EOF] only if the blob had the size and digest that were promised.
func (t *tarReader) Read(p []byte) (int, error) {
	n, err := t.Reader.Read(p)
	if err == io.EOF {
		if _, rest := io.Copy(io.Discard, t.blob); rest != nil {
			err = rest
		}
	}
	return n, err
}

// Close implements [io.Closer].
func (t *tarReader) Close() error {
	if t.decoder != nil {
		t.decoder.Close()
	}
	return t.file.Close()
}
