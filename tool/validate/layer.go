package validate

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"hash"
	"io"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// layerFacts is one layer while its image is being checked.
type layerFacts struct {
	LayerFacts
	// read says that the tar was read to its end.
	read bool
	// ours says that it was held to what strata means by store paths.
	ours bool
}

// holding is what a layer of an image is held to.
type holding struct {
	storeDirs []string
	// ours says that it is strata's, as far as it has store paths.
	ours bool
}

// layerTypes are the media types of layers with how they are compressed.
var layerTypes = map[string]string{
	ocispec.MediaTypeImageLayer:                         "none",
	ocispec.MediaTypeImageLayerGzip:                     "gzip",
	ocispec.MediaTypeImageLayerZstd:                     "zstd",
	"application/vnd.docker.image.rootfs.diff.tar":      "none",
	"application/vnd.docker.image.rootfs.diff.tar.gzip": "gzip",
	"application/vnd.docker.image.rootfs.diff.tar.zstd": "zstd",
}

// anyLayerType stands for a layer of which nobody says how it is compressed.
const anyLayerType = "any"

// maxWindow bounds what decompressing zstd takes, in bytes.
const maxWindow = 128 << 20

// layer reads a layer once, whatever number of images have it.
func (c *checker) layer(from string, d ocispec.Descriptor, h holding) (*layerFacts, error) {
	name, ok := c.blobName(from, d)
	if !ok {
		return new(layerFacts), nil
	}
	return c.layerFile(name, d, h)
}

// layerFile reads the layer in a file. Where the descriptor has no digest, as in a
// docker archive, the bytes and the size are not held against it.
func (c *checker) layerFile(name string, d ocispec.Descriptor, h holding) (*layerFacts, error) {
	key := strings.Join(append([]string{name, d.MediaType, strconv.FormatBool(h.ours)}, h.storeDirs...), "\x00")
	if f, ok := c.layers[key]; ok {
		if d.Digest != "" {
			c.checkSize(name, d, c.files[name].size)
		}
		return f, nil
	}
	claimed := d.Digest != ""
	if !claimed {
		d.Digest, d.Size = digest.SHA256.FromBytes(nil), c.files[name].size
	}
	facts := &layerFacts{LayerFacts: LayerFacts{Digest: d.Digest}, ours: h.ours}
	c.layers[key] = facts
	c.used[name] = true
	f, ok := c.files[name]
	if !ok {
		c.add(name, "missing")
		return facts, nil
	}
	c.checkSize(name, d, f.size)
	in, err := f.open()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	blob := &hashingReader{r: &contextReader{c.ctx, in}, h: d.Digest.Algorithm().Hash()}
	c.readLayer(name, blob, d.MediaType, h, facts)
	// What the tar left unread counts for the digest all the same.
	if _, err := io.CopyBuffer(io.Discard, blob, make([]byte, bufferSize)); err != nil {
		if c.ctx.Err() != nil {
			return nil, c.ctx.Err()
		}
		c.add(name, "after %d bytes: %v", blob.n, err)
	}
	facts.Size = blob.n
	c.report.Blobs++
	c.report.Bytes += blob.n
	if blob.n != f.size {
		c.add(name, "cut off after %d of %d bytes", blob.n, f.size)
	}
	switch got := digest.NewDigest(d.Digest.Algorithm(), blob.h); {
	case !claimed:
		facts.Digest = got
	case got != d.Digest:
		c.add(name, "its bytes have the digest %s", got)
	}
	return facts, nil
}

// readLayer decompresses the blob and reads the tar in it, as far as that goes.
func (c *checker) readLayer(name string, blob io.Reader, mediaType string, h holding, facts *layerFacts) {
	compression, ok := layerTypes[mediaType]
	if !ok && mediaType != anyLayerType {
		c.add(name, "media type %q: want a layer's", mediaType)
		return
	}
	buffered := bufio.NewReaderSize(blob, bufferSize)
	switch found := sniff(buffered); {
	case !ok:
		compression = found
	case found != compression:
		c.add(name, "media type %s, but its bytes are %s", mediaType, compressionText(found))
		compression = found
	}
	raw, done, err := decompress(buffered, compression)
	if err != nil {
		c.add(name, "%s: %v", compression, err)
		return
	}
	defer done()
	t := &hashingReader{r: raw, h: digest.SHA256.Hash()}
	err = checkTar(t, h, &c.expected, func(format string, a ...any) { c.add(name, format, a...) }, facts)
	if err != nil {
		c.add(name, "after %d bytes of the tar: %v", t.n, err)
	}
	// Read on behind a fault: the diff ID is of all bytes.
	if _, drain := io.CopyBuffer(io.Discard, t, make([]byte, bufferSize)); drain != nil {
		if err == nil || !errors.Is(err, drain) {
			c.add(name, "after %d bytes of the tar: %v", t.n, drain)
		}
		return
	}
	facts.UncompressedSize = t.n
	facts.DiffID = digest.NewDigest(digest.SHA256, t.h)
	facts.read = err == nil
}

var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

// sniff says how the bytes are compressed; skippable zstd frames are not told apart.
func sniff(r *bufio.Reader) string {
	head, _ := r.Peek(4)
	switch {
	case bytes.HasPrefix(head, gzipMagic):
		return "gzip"
	case bytes.HasPrefix(head, zstdMagic):
		return "zstd"
	}
	return "none"
}

func compressionText(c string) string {
	if c == "none" {
		return "neither gzip nor zstd"
	}
	return c
}

func decompress(r io.Reader, compression string) (io.Reader, func(), error) {
	switch compression {
	case "gzip":
		z, err := gzip.NewReader(r)
		return z, func() {}, err
	case "zstd":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}
	return r, func() {}, nil
}

// hashingReader hashes and counts what passes through, and keeps the number of
// zeros at the end.
type hashingReader struct {
	r     io.Reader
	h     hash.Hash
	n     int64
	zeros int64
}

func (r *hashingReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.h.Write(p[:n])
	r.n += int64(n)
	if z := trailingZeros(p[:n]); z == n {
		r.zeros += int64(n)
	} else {
		r.zeros = int64(z)
	}
	return n, err
}

func trailingZeros(b []byte) int {
	n := len(b)
	for n > 0 && b[n-1] == 0 {
		n--
	}
	return len(b) - n
}
