package image

import (
	"fmt"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The values of [Settings.MediaTypes].
const (
	// MediaTypesOCI are those of OCI's image-spec; the default.
	MediaTypesOCI = "oci"
	// MediaTypesDocker are those of docker's image manifest, version 2, schema 2
	// (distribution, docs/content/spec/manifest-v2-2.md), for registries and clients
	// from before OCI's. The documents are the same else.
	MediaTypesDocker = "docker"
)

// mediaTypes are the names that one family has for the documents of an image.
type mediaTypes struct {
	manifest, config, index string
	layer                   map[string]string // by compression
}

var (
	ociTypes = &mediaTypes{
		manifest: ocispec.MediaTypeImageManifest,
		config:   ocispec.MediaTypeImageConfig,
		index:    ocispec.MediaTypeImageIndex,
		layer: map[string]string{
			compressionNone: ocispec.MediaTypeImageLayer,
			compressionGzip: ocispec.MediaTypeImageLayerGzip,
			compressionZstd: ocispec.MediaTypeImageLayerZstd,
		},
	}
	dockerTypes = &mediaTypes{
		manifest: "application/vnd.docker.distribution.manifest.v2+json",
		config:   "application/vnd.docker.container.image.v1+json",
		index:    "application/vnd.docker.distribution.manifest.list.v2+json",
		layer: map[string]string{
			compressionNone: "application/vnd.docker.image.rootfs.diff.tar",
			compressionGzip: "application/vnd.docker.image.rootfs.diff.tar.gzip",
		},
	}
)

// mediaTypesOf returns the family of a manifest's media type; nil if it is none.
func mediaTypesOf(manifest string) *mediaTypes {
	for _, t := range []*mediaTypes{ociTypes, dockerTypes} {
		if t.manifest == manifest {
			return t
		}
	}
	return nil
}

// mediaTypesNamed returns the family of a setting.
func mediaTypesNamed(name string) (*mediaTypes, error) {
	switch name {
	case "", MediaTypesOCI:
		return ociTypes, nil
	case MediaTypesDocker:
		return dockerTypes, nil
	}
	return nil, fmt.Errorf("mediaTypes: %q: want %s or %s", name, MediaTypesOCI, MediaTypesDocker)
}

// describeLayer returns a layer's descriptor with the family's media type.
func (t *mediaTypes) describeLayer(d ocispec.Descriptor) (ocispec.Descriptor, error) {
	compression, err := compressionOf(d)
	if err != nil {
		return d, err
	}
	if d.MediaType = t.layer[compression]; d.MediaType == "" {
		return d, fmt.Errorf("layer %s: docker's media types have none for %s; compress the layer by gzip, or use OCI's media types", d.Digest, compression)
	}
	return d, nil
}

// compressionOf says how a layer is compressed, by its media type.
func compressionOf(layer ocispec.Descriptor) (string, error) {
	switch {
	case strings.HasSuffix(layer.MediaType, ".tar"):
		return compressionNone, nil
	case strings.HasSuffix(layer.MediaType, "+gzip"), strings.HasSuffix(layer.MediaType, ".tar.gzip"):
		return compressionGzip, nil
	case strings.HasSuffix(layer.MediaType, "+zstd"), strings.HasSuffix(layer.MediaType, ".tar.zstd"):
		return compressionZstd, nil
	}
	return "", fmt.Errorf("layer %s: media type %q: want a layer's, such as %s", layer.Digest, layer.MediaType, ocispec.MediaTypeImageLayerGzip)
}
