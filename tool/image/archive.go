package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The values of [Archive.Format].
const (
	// FormatArchive is one tar that is both a docker archive and an OCI layout
	// over the same blobs: what every client takes.
	FormatArchive = "archive"
	// FormatDockerArchive is what `docker save` wrote up to version 24, and `skopeo
	// copy docker-archive:` still does: manifest.json, and the layers as tars that
	// are not compressed. So docker 20.10 takes it however the layers were compressed.
	FormatDockerArchive = "docker-archive"
	// FormatOCIArchive is an OCI layout in a tar, and nothing else.
	FormatOCIArchive = "oci-archive"
)

var archiveFormats = []string{FormatArchive, FormatDockerArchive, FormatOCIArchive}

// ArchiveFormats returns the values that [Archive.Format] may have, the default first.
func ArchiveFormats() []string { return slices.Clone(archiveFormats) }

// ArchiveCompressions returns the values that [Archive.Compression] may have, the default first.
func ArchiveCompressions() []string {
	return []string{compressionNone, compressionGzip, compressionZstd}
}

// Archive is a form of archive. The zero value is [FormatArchive], not compressed.
type Archive struct {
	// Format is one of [ArchiveFormats]; the first when empty.
	Format string
	// Legacy adds to a docker archive what clients from before docker 1.10 read, and
	// tools that still look for it: the file repositories, and for each layer a
	// folder with VERSION, json and layer.tar (docker's image spec v1.0).
	Legacy bool
	// Compression is that of the tar itself, one of [ArchiveCompressions]; the first when empty.
	Compression string
}

// Check says what keeps a from being a form of archive.
func (a Archive) Check() error {
	if a.Format != "" && !slices.Contains(archiveFormats, a.Format) {
		return fmt.Errorf("format %q: want one of %s", a.Format, strings.Join(archiveFormats, ", "))
	}
	if a.Legacy && a.Format != FormatDockerArchive {
		return errors.New("legacy goes with the format " + FormatDockerArchive + " alone: who reads it takes every folder for a layer")
	}
	if a.Compression != "" && !slices.Contains(ArchiveCompressions(), a.Compression) {
		return fmt.Errorf("compression %q of the archive: want one of %s", a.Compression, strings.Join(ArchiveCompressions(), ", "))
	}
	return nil
}

// WriteArchive writes the content as one tar that is both a docker archive
// (manifest.json) and an OCI layout (oci-layout, index.json) over the same
// blobs. Blobs must be the images' layers, in any order; each that isn't [Blob.Absent] is written once,
// and checked against its digest and size on the way. Tags are names as
// [ParseReference] takes them; there may be none.
//
// The metadata comes first and the layers follow in the image's order, so that
// a reader of a stream knows what each blob is before it comes, and a reader
// that scans for manifest.json from the start has it at once.
//
// Once ctx ends WriteArchive fails with its cause.
func WriteArchive(ctx context.Context, w io.Writer, c Content, blobs []Blob, tags []string) error {
	return Archive{}.Write(ctx, w, c, blobs, tags)
}

// Write writes the content as an archive of the form a. All else is as [WriteArchive] has it.
func (a Archive) Write(ctx context.Context, w io.Writer, c Content, blobs []Blob, tags []string) error {
	if err := a.Check(); err != nil {
		return err
	}
	p, err := newParcel(c, blobs, tags)
	if err != nil {
		return err
	}
	z, err := compressor(w, a.Compression)
	if err != nil {
		return err
	}
	t := &archiveWriter{ctx: ctx, tar: tar.NewWriter(z), buf: make([]byte, copyBufferSize)}
	switch a.Format {
	case FormatDockerArchive:
		err = p.writeDocker(t, a.Legacy)
	case FormatOCIArchive:
		err = p.writeOCI(t, nil)
	default:
		var docker []byte
		if docker, err = p.dockerManifestJSON(blobLayers); err == nil {
			err = p.writeOCI(t, docker)
		}
	}
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := t.tar.Close(); err != nil {
		return err
	}
	return z.Close()
}

// writeOCI writes an OCI layout; with docker, which is manifest.json, the hybrid.
func (p *parcel) writeOCI(t *archiveWriter, docker []byte) error {
	index, err := p.indexJSON()
	if err != nil {
		return err
	}
	if err := t.file(ocispec.ImageLayoutFile, []byte(layoutFile)); err != nil {
		return err
	}
	if err := t.file(ocispec.ImageIndexFile, index); err != nil {
		return err
	}
	if docker != nil {
		if err := t.file(dockerManifestFile, docker); err != nil {
			return err
		}
	}
	if err := t.dirs("blobs/", "blobs/sha256/"); err != nil {
		return err
	}
	for _, d := range p.content.documents() {
		if err := t.file(blobName(d.descriptor), d.bytes); err != nil {
			return err
		}
	}
	for _, b := range p.blobs {
		if b.Absent {
			continue
		}
		if err := t.header(tar.TypeReg, blobName(b.Descriptor), b.Descriptor.Size); err != nil {
			return err
		}
		if err := b.copyTo(t.ctx, t.tar, t.buf); err != nil {
			return err
		}
	}
	return nil
}

// layoutFile is the content of an OCI layout's oci-layout file.
const layoutFile = `{"imageLayoutVersion":"` + ocispec.ImageLayoutVersion + `"}`

// copyBufferSize is one read of a blob: large enough that system calls cost nothing beside the hash.
const copyBufferSize = 1 << 20

// archiveWriter writes entries in which all that could differ between two runs is fixed.
type archiveWriter struct {
	ctx context.Context
	tar *tar.Writer
	buf []byte
}

func (t *archiveWriter) header(kind byte, name string, size int64) error {
	h := &tar.Header{
		Typeflag: kind, Name: name, Size: size, Mode: 0o444,
		Uname: "root", Gname: "root", ModTime: time.Unix(1, 0),
	}
	if kind == tar.TypeDir {
		h.Mode = 0o755 // Writable, since skopeo and podman unpack the entries below as a plain user.
	}
	return t.tar.WriteHeader(h)
}

func (t *archiveWriter) dirs(names ...string) error {
	for _, name := range names {
		if err := t.header(tar.TypeDir, name, 0); err != nil {
			return err
		}
	}
	return nil
}

func (t *archiveWriter) file(name string, b []byte) error {
	if err := t.header(tar.TypeReg, name, int64(len(b))); err != nil {
		return err
	}
	_, err := io.Copy(t.tar, bytes.NewReader(b))
	return err
}

func blobName(d ocispec.Descriptor) string {
	return "blobs/" + d.Digest.Algorithm().String() + "/" + d.Digest.Encoded()
}
