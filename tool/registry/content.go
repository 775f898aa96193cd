package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/imagefile"
)

// Docker's media types, which OCI's are made from and registries take as well.
const (
	mediaTypeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	mediaTypeDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
)

// accepted are the media types of manifests that are asked for.
var accepted = []string{ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex, mediaTypeDockerManifest, mediaTypeDockerList}

const (
	// maxManifests bounds the images of an index: no index has so many.
	maxManifests = 1 << 10
	// maxBlobs bounds the layers of an image; runtimes take some 125.
	maxBlobs = 1 << 10
)

// Content is what a repository is to hold: an image, or an index with its images.
type Content struct {
	// Manifests are in the order in which a registry takes them, each behind those that it names. The last is the one
	// that tags name.
	Manifests []Manifest
}

// Manifest is a manifest, or an index, and what it names.
type Manifest struct {
	// Descriptor has the media type, the digest and the size.
	Descriptor ocispec.Descriptor
	// Bytes is the manifest itself.
	Bytes []byte
	// Manifests are those that an index names.
	Manifests []ocispec.Descriptor
	// Config and Layers are an image's; Config's digest is empty in an index.
	Config ocispec.Descriptor
	Layers []ocispec.Descriptor
}

// Blobs are the config and the layers of an image, each once.
func (m *Manifest) Blobs() []ocispec.Descriptor {
	if m.Config.Digest == "" {
		return nil
	}
	var out []ocispec.Descriptor
	seen := map[digest.Digest]bool{}
	for _, d := range append([]ocispec.Descriptor{m.Config}, m.Layers...) {
		if !seen[d.Digest] && !foreign(d.MediaType) {
			seen[d.Digest] = true
			out = append(out, d)
		}
	}
	return out
}

// foreign reports whether a layer is none that registries hold (image-spec, layer.md, non-distributable layers).
func foreign(mediaType string) bool {
	return strings.Contains(mediaType, ".nondistributable.") || strings.Contains(mediaType, ".foreign.")
}

// Root is the manifest that tags name.
func (c *Content) Root() *Manifest { return &c.Manifests[len(c.Manifests)-1] }

// ReadContent reads the manifest that root names and all that it names in turn. read returns the bytes of a manifest,
// which are checked here.
func ReadContent(root ocispec.Descriptor, read func(ocispec.Descriptor) ([]byte, error)) (*Content, error) {
	c := &Content{}
	seen := map[digest.Digest]bool{}
	var add func(d ocispec.Descriptor, path []digest.Digest) error
	add = func(d ocispec.Descriptor, path []digest.Digest) error {
		if seen[d.Digest] {
			return nil
		}
		seen[d.Digest] = true
		if len(seen) > maxManifests || len(path) > maxDepth {
			return errors.New("the index names too many manifests")
		}
		b, err := read(d)
		if err != nil {
			return err
		}
		m, err := ParseManifest(d, b)
		if err != nil {
			return err
		}
		for _, child := range m.Manifests {
			if err := add(child, append(path, d.Digest)); err != nil {
				return err
			}
		}
		c.Manifests = append(c.Manifests, *m)
		return nil
	}
	return c, add(root, nil)
}

// maxDepth is how deep indexes may be in indexes.
const maxDepth = 4

// ParseManifest reads a manifest or an index, and checks it against its descriptor; one without a media type means that of the
// manifest itself.
func ParseManifest(d ocispec.Descriptor, b []byte) (*Manifest, error) {
	m, err := parseManifest(d, b)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	return m, nil
}

func parseManifest(d ocispec.Descriptor, b []byte) (*Manifest, error) {
	if got := digest.FromBytes(b); got != d.Digest || int64(len(b)) != d.Size {
		return nil, fmt.Errorf("want %d bytes, found %s of %d bytes", d.Size, got, len(b))
	}
	var doc struct {
		SchemaVersion int                  `json:"schemaVersion"`
		MediaType     string               `json:"mediaType"`
		Manifests     []ocispec.Descriptor `json:"manifests"`
		Config        ocispec.Descriptor   `json:"config"`
		Layers        []ocispec.Descriptor `json:"layers"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, err
	}
	if doc.SchemaVersion != 2 {
		return nil, fmt.Errorf("schemaVersion: want 2, found %d", doc.SchemaVersion)
	}
	if d.MediaType == "" {
		d.MediaType = doc.MediaType
	}
	if doc.MediaType != "" && doc.MediaType != d.MediaType {
		return nil, fmt.Errorf("media type: want %s, found %s", d.MediaType, doc.MediaType)
	}
	m := &Manifest{Descriptor: ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}, Bytes: b}
	var named []ocispec.Descriptor
	switch d.MediaType {
	case ocispec.MediaTypeImageIndex, mediaTypeDockerList:
		m.Manifests = doc.Manifests
		named = doc.Manifests
	case ocispec.MediaTypeImageManifest, mediaTypeDockerManifest:
		m.Config, m.Layers = doc.Config, doc.Layers
		named = append([]ocispec.Descriptor{doc.Config}, doc.Layers...)
	default:
		return nil, fmt.Errorf("media type %q: want that of an image or an index, of OCI or of docker", d.MediaType)
	}
	if len(named) > maxBlobs {
		return nil, fmt.Errorf("it names %d blobs or manifests, want at most %d", len(named), maxBlobs)
	}
	sizes := map[digest.Digest]int64{}
	for _, n := range named {
		if err := imagefile.CheckDescriptor(n); err != nil {
			return nil, err
		}
		if size, ok := sizes[n.Digest]; ok && size != n.Size {
			return nil, fmt.Errorf("%s has %d bytes in one place and %d in another", n.Digest, size, n.Size)
		}
		sizes[n.Digest] = n.Size
	}
	return m, nil
}
