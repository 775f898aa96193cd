package load

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/imagefile"
)

// writeBufferSize is how much is sent at a time.
const writeBufferSize = 1 << 20

// ociArchive writes the archive for who keeps blobs by digest, without those that it has.
func ociArchive(ctx context.Context, w io.Writer, img *imagefile.Image, names []string, there map[digest.Digest]bool) error {
	blobs := img.Blobs()
	for i := range blobs {
		blobs[i].Absent = there[blobs[i].Descriptor.Digest]
	}
	buffered := bufio.NewWriterSize(w, writeBufferSize)
	if err := image.WriteArchive(ctx, buffered, img.Built(), blobs, names); err != nil {
		return err
	}
	return buffered.Flush()
}

// dockerArchive writes the archive for docker's graph drivers: from layer
// number from on, counted from 0; those below are there. With decompress, layers are sent as plain tars.
func dockerArchive(ctx context.Context, w io.Writer, img *imagefile.Image, names []string, from int, decompress bool) error {
	buffered := bufio.NewWriterSize(w, writeBufferSize)
	tw := tar.NewWriter(buffered)
	blobName := func(d digest.Digest) string { return ocispec.ImageBlobsDir + "/sha256/" + d.Encoded() }
	id := func(l *imagefile.Layer) digest.Digest {
		if decompress {
			return l.DiffID
		}
		return l.Descriptor.Digest
	}
	entry := struct {
		Config   string
		RepoTags []string
		Layers   []string
	}{Config: blobName(img.ConfigDescriptor.Digest), RepoTags: names, Layers: []string{}}
	for _, l := range img.Layers {
		entry.Layers = append(entry.Layers, blobName(id(l)))
	}
	manifest, err := json.Marshal([]any{entry})
	if err != nil {
		return err
	}
	put := func(name string, size int64, r io.Reader) error {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o444, ModTime: time.Unix(1, 0)}
		if err := tw.WriteHeader(h); err != nil {
			return err
		}
		_, err := io.Copy(contextWriter{ctx, tw}, r)
		return err
	}
	if err := put("manifest.json", int64(len(manifest)), bytes.NewReader(manifest)); err != nil {
		return err
	}
	if err := put(entry.Config, int64(len(img.Config)), bytes.NewReader(img.Config)); err != nil {
		return err
	}
	written := map[digest.Digest]bool{}
	for _, l := range img.Layers[from:] {
		if written[id(l)] {
			continue
		}
		written[id(l)] = true
		if err := putLayer(l, decompress, func(size int64, r io.Reader) error { return put(blobName(id(l)), size, r) }); err != nil {
			return err
		}
	}
	if err := tw.Close(); err != nil {
		return err
	}
	return buffered.Flush()
}

// putLayer gives put a layer's bytes and how many they are.
func putLayer(l *imagefile.Layer, decompress bool, put func(int64, io.Reader) error) error {
	size, open := l.Descriptor.Size, l.Open
	if decompress {
		open = l.Uncompressed
		var err error
		if size, err = uncompressedSize(l); err != nil {
			return err
		}
	}
	r, err := open()
	if err != nil {
		return err
	}
	defer r.Close()
	return put(size, r)
}

// uncompressedSize is what the digest file says, or else what decompressing the
// blob once comes to: a tar wants the size first, and there is no file to keep the bytes in.
func uncompressedSize(l *imagefile.Layer) (int64, error) {
	if l.Known != nil {
		return l.Known.UncompressedSize, nil
	}
	r, err := l.Uncompressed()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	return io.Copy(io.Discard, r)
}

// contextWriter fails once its context ends. It hides its writer's ReadFrom, which wouldn't look.
type contextWriter struct {
	ctx context.Context
	w   io.Writer
}

func (c contextWriter) Write(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.w.Write(p)
}

// counter counts what is written through it, and tells.
type counter struct {
	w    io.Writer
	n    int64
	tell func(int64)
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	if c.tell != nil {
		c.tell(c.n)
	}
	return n, err
}

// sizes fills in what of an image was sent, if the layers for which there is true weren't.
func (r *Result) sizes(img *imagefile.Image, there func(i int, l *imagefile.Layer) bool) {
	r.LayersSent, r.LayersThere, r.BytesThere = 0, 0, 0
	for i, l := range img.Layers {
		if there(i, l) {
			r.LayersThere++
			r.BytesThere += l.Descriptor.Size
		} else {
			r.LayersSent++
		}
	}
}
