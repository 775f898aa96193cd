package image

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// annotationImageName is where containerd finds an image's whole name in an index.
const annotationImageName = "io.containerd.image.name"

// layoutFile is the content of an OCI layout's oci-layout file.
const layoutFile = `{"imageLayoutVersion":"` + ocispec.ImageLayoutVersion + `"}`

// dockerManifest is an entry of a docker archive's manifest.json.
type dockerManifest struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// copyBufferSize is one read of a blob: large enough that system calls cost nothing beside the hash.
const copyBufferSize = 1 << 20

// WriteArchive writes the image as one tar that is both a docker archive
// (manifest.json) and an OCI layout (oci-layout, index.json) over the same
// blobs. Blobs must be the image's layers, in any order; each that isn't [Blob.Absent] is written once,
// and checked against its digest and size on the way. Tags are names as
// [ParseReference] takes them; there may be none.
//
// The metadata comes first and the layers follow in the image's order, so that
// a reader of a stream knows what each blob is before it comes, and a reader
// that scans for manifest.json from the start has it at once.
//
// Once ctx ends WriteArchive fails with its cause.
func WriteArchive(ctx context.Context, w io.Writer, img *Image, blobs []Blob, tags []string) error {
	refs, err := parseTags(tags)
	if err != nil {
		return err
	}
	layers, err := pickBlobs(img, blobs)
	if err != nil {
		return err
	}
	index, err := indexJSON(img, refs)
	if err != nil {
		return err
	}
	docker, err := dockerManifestJSON(img, refs)
	if err != nil {
		return err
	}
	tw := tar.NewWriter(w)
	put := func(name string, b []byte) error {
		if err := tw.WriteHeader(archiveHeader(tar.TypeReg, name, int64(len(b)))); err != nil {
			return err
		}
		_, err := io.Copy(tw, bytes.NewReader(b))
		return err
	}
	for _, f := range []struct {
		name string
		b    []byte
	}{
		{ocispec.ImageLayoutFile, []byte(layoutFile)},
		{ocispec.ImageIndexFile, index},
		{"manifest.json", docker},
	} {
		if err := put(f.name, f.b); err != nil {
			return err
		}
	}
	for _, dir := range []string{"blobs/", "blobs/sha256/"} {
		if err := tw.WriteHeader(archiveHeader(tar.TypeDir, dir, 0)); err != nil {
			return err
		}
	}
	if err := put(blobName(img.Descriptor), img.Manifest); err != nil {
		return err
	}
	if err := put(blobName(img.ConfigDescriptor), img.Config); err != nil {
		return err
	}
	buf := make([]byte, copyBufferSize)
	for _, b := range layers {
		if b.Absent {
			continue
		}
		if err := tw.WriteHeader(archiveHeader(tar.TypeReg, blobName(b.Descriptor), b.Descriptor.Size)); err != nil {
			return err
		}
		if err := b.copyTo(ctx, tw, buf); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return tw.Close()
}

// archiveHeader is the header of an entry of the archive: all that could differ between two runs is fixed.
func archiveHeader(kind byte, name string, size int64) *tar.Header {
	h := &tar.Header{
		Typeflag: kind, Name: name, Size: size, Mode: 0o444,
		Uname: "root", Gname: "root", ModTime: time.Unix(1, 0),
	}
	if kind == tar.TypeDir {
		h.Mode = 0o755 // Writable, since skopeo and podman unpack the entries below as a plain user.
	}
	return h
}

func blobName(d ocispec.Descriptor) string {
	return "blobs/" + d.Digest.Algorithm().String() + "/" + d.Digest.Encoded()
}

func parseTags(tags []string) ([]Reference, error) {
	var refs []Reference
	seen := map[Reference]bool{}
	for _, t := range tags {
		r, err := ParseReference(t)
		if err != nil {
			return nil, err
		}
		if seen[r] {
			return nil, fmt.Errorf("image name %q: %s is given twice", t, r)
		}
		seen[r] = true
		refs = append(refs, r)
	}
	return refs, nil
}

// indexJSON is the layout's index: the image once for each name. The tag stands
// alone as the ref name, as skopeo and umoci want it; a tag that two
// repositories share is told apart by its whole name, since umoci refuses a ref
// name that is there twice.
func indexJSON(img *Image, refs []Reference) ([]byte, error) {
	index := ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
	}
	if len(refs) == 0 {
		index.Manifests = []ocispec.Descriptor{img.Descriptor}
	}
	seen := map[string]bool{}
	for _, r := range refs {
		name := r.Tag
		if seen[name] {
			name = r.String()
		}
		seen[name] = true
		d := img.Descriptor
		d.Annotations = map[string]string{ocispec.AnnotationRefName: name, annotationImageName: r.String()}
		index.Manifests = append(index.Manifests, d)
	}
	return marshal(ocispec.ImageIndexFile, index)
}

// dockerManifestJSON is a docker archive's manifest.json. The names are whole:
// docker shows "docker.io/library/web:dev" as "web:dev" all the same, but podman
// would call a bare "web:dev" "localhost/web:dev", and "docker.io/library/web:dev"
// where it happens to read index.json instead.
func dockerManifestJSON(img *Image, refs []Reference) ([]byte, error) {
	m := dockerManifest{Config: blobName(img.ConfigDescriptor), Layers: []string{}}
	for _, r := range refs {
		m.RepoTags = append(m.RepoTags, r.String())
	}
	for _, l := range img.Layers {
		m.Layers = append(m.Layers, blobName(l))
	}
	return marshal("manifest.json", []dockerManifest{m})
}
