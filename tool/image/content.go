package image

import (
	"errors"
	"fmt"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Content is what an archive or a layout holds: an [Image], or an [Index] with its images.
type Content interface {
	// content returns the descriptor that names bear, and the images.
	content() (top ocispec.Descriptor, images []*Image)
	// documents are the manifests, configs and indexes, with the descriptors of their bytes.
	documents() []document
}

// document is a blob of JSON.
type document struct {
	descriptor ocispec.Descriptor
	bytes      []byte
}

func (img *Image) content() (ocispec.Descriptor, []*Image) {
	return img.Descriptor, []*Image{img}
}

func (img *Image) documents() []document {
	return []document{{img.Descriptor, img.Manifest}, {img.ConfigDescriptor, img.Config}}
}

func (x *Index) content() (ocispec.Descriptor, []*Image) {
	return x.Descriptor, x.Images
}

func (x *Index) documents() []document {
	d := []document{{x.Descriptor, x.Bytes}}
	for _, img := range x.Images {
		d = append(d, img.documents()...)
	}
	return d
}

// parcel is a content with its blobs and names, all of them checked.
type parcel struct {
	content Content
	top     ocispec.Descriptor
	images  []*Image
	// blobs are the layers of all images, each once, in the order in which they are first needed.
	blobs []Blob
	refs  []Reference
}

func newParcel(c Content, blobs []Blob, tags []string) (*parcel, error) {
	p := &parcel{content: c}
	p.top, p.images = c.content()
	if len(p.images) == 0 {
		return nil, errors.New("the index is without its images")
	}
	var err error
	if p.refs, err = parseTags(tags); err != nil {
		return nil, err
	}
	p.blobs, err = pickBlobs(p.images, blobs)
	return p, err
}

// indexJSON is a layout's index.json: the content once for each name. The tag stands
// alone as the ref name, as skopeo and umoci want it; a tag that two
// repositories share is told apart by its whole name, since umoci refuses a ref
// name that is there twice.
//
// An [Index] is one entry, not one for each of its images: so a name leads to one
// digest, the one that a registry would have it by, and clients choose the platform.
func (p *parcel) indexJSON() ([]byte, error) {
	index := ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
	}
	if len(p.refs) == 0 {
		index.Manifests = []ocispec.Descriptor{p.top}
	}
	seen := map[string]bool{}
	for _, r := range p.refs {
		name := r.Tag
		if seen[name] {
			name = r.String()
		}
		seen[name] = true
		d := p.top
		d.Annotations = map[string]string{ocispec.AnnotationRefName: name, annotationImageName: r.String()}
		index.Manifests = append(index.Manifests, d)
	}
	return marshal(ocispec.ImageIndexFile, index)
}

// annotationImageName is where containerd finds an image's whole name in an index.
const annotationImageName = "io.containerd.image.name"

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
