package imagefile

import (
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/image"
)

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

// V1 returns the image as go-containerregistry has it. Its layers' readers check what they
// read, as [Layer.Open] says; nothing is read before they are.
func (i *Image) V1() (v1.Image, error) { return partial.CompressedToImage(v1Image{i}) }

// v1Image is the core that [partial.CompressedToImage] completes.
type v1Image struct{ *Image }

func (i v1Image) RawConfigFile() ([]byte, error) { return i.Config, nil }
func (i v1Image) RawManifest() ([]byte, error)   { return i.Manifest, nil }

func (i v1Image) MediaType() (types.MediaType, error) {
	return types.MediaType(i.Descriptor.MediaType), nil
}

func (i v1Image) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	for _, l := range i.Layers {
		if l.Descriptor.Digest.String() == h.String() {
			return v1Layer{l}, nil
		}
	}
	return nil, &absentError{h.String()}
}

type absentError struct{ digest string }

func (e *absentError) Error() string { return "the image has no layer " + e.digest }

type v1Layer struct{ *Layer }

func (l v1Layer) Digest() (v1.Hash, error)           { return v1.NewHash(l.Layer.Descriptor.Digest.String()) }
func (l v1Layer) DiffID() (v1.Hash, error)           { return v1.NewHash(l.Layer.DiffID.String()) }
func (l v1Layer) Compressed() (io.ReadCloser, error) { return l.Open() }
func (l v1Layer) Size() (int64, error)               { return l.Layer.Descriptor.Size, nil }
func (l v1Layer) MediaType() (types.MediaType, error) {
	return types.MediaType(l.Layer.Descriptor.MediaType), nil
}

// Descriptor keeps what the manifest says of the layer beside digest and size (partial.Descriptor).
func (l v1Layer) Descriptor() (*v1.Descriptor, error) { return v1Descriptor(l.Layer.Descriptor) }

func v1Descriptor(d ocispec.Descriptor) (*v1.Descriptor, error) {
	h, err := v1.NewHash(d.Digest.String())
	if err != nil {
		return nil, err
	}
	return &v1.Descriptor{MediaType: types.MediaType(d.MediaType), Size: d.Size, Digest: h, URLs: d.URLs, Annotations: d.Annotations}, nil
}
