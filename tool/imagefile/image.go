package imagefile

import (
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/image"
)

// Image is one image. Its fields aren't to be changed.
type Image struct {
	// Manifest is the manifest's bytes, as its digest covers them. That of a
	// docker archive, which has none, is made up out of what the archive says.
	Manifest []byte
	// Descriptor names the manifest, with the image's platform.
	Descriptor ocispec.Descriptor
	// Config is the config's bytes.
	Config []byte
	// ConfigDescriptor names the config, as the manifest does.
	ConfigDescriptor ocispec.Descriptor
	// Spec is the config, parsed: docker's and OCI's have these fields in common.
	Spec ocispec.Image
	// Layers are the layers, lowest first.
	Layers []*Layer
	// Names are the image's whole names, such as "docker.io/library/web:dev"; may be empty.
	Names []string
	// RefNames are what a layout calls the image, or the index that it is in; mostly tags alone, such as "dev".
	RefNames []string

	configFile string // in a docker archive or parts
}

// Layer is one layer of an image.
type Layer struct {
	// Descriptor names the blob: media type, digest, size.
	Descriptor ocispec.Descriptor
	// DiffID is the digest of the tar, uncompressed, as the config has it.
	DiffID digest.Digest
	// Known is the layer's digest file; nil where there is none.
	Known *digestfile.File
	// Path is the file that holds the blob and nothing else, "" if there is none.
	Path string

	file string // the blob's name in files
	of   files
}

// newImage puts an image together whose documents have been checked against their digests.
func newImage(d ocispec.Descriptor, manifest []byte, m *ocispec.Manifest, config []byte) (*Image, error) {
	i := &Image{Manifest: manifest, Config: config, ConfigDescriptor: m.Config}
	if err := unmarshal("config "+m.Config.Digest.String(), config, &i.Spec); err != nil {
		return nil, err
	}
	ids := i.Spec.RootFS.DiffIDs
	if len(ids) != len(m.Layers) {
		return nil, fmt.Errorf("it has %d layers, and its config %d diff IDs", len(m.Layers), len(ids))
	}
	for k, l := range m.Layers {
		if err := ids[k].Validate(); err != nil || ids[k].Algorithm() != digest.SHA256 {
			return nil, fmt.Errorf("config %s: diff ID %q: want sha256:<64 hex>", m.Config.Digest, ids[k])
		}
		i.Layers = append(i.Layers, &Layer{Descriptor: l, DiffID: ids[k]})
	}
	i.Descriptor = ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
	platform := i.Spec.Platform
	i.Descriptor.Platform = &platform
	return i, nil
}

// Built returns the image as package image has it.
func (i *Image) Built() *image.Image {
	b := &image.Image{Config: i.Config, Manifest: i.Manifest, Descriptor: i.Descriptor, ConfigDescriptor: i.ConfigDescriptor}
	for _, l := range i.Layers {
		b.Layers = append(b.Layers, l.Descriptor)
	}
	return b
}

// Blobs returns the layers' blobs as package image's writers want them, which
// check them as they pass.
func (i *Image) Blobs() []image.Blob {
	var blobs []image.Blob
	for _, l := range i.Layers {
		blobs = append(blobs, image.Blob{Descriptor: l.Descriptor, Path: l.Path, Open: l.raw})
	}
	return blobs
}
