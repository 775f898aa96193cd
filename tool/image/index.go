package image

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Index is images of one program for several platforms (OCI image-spec 1.1,
// image-index.md; docker calls it a manifest list). Values are made by
// [BuildIndex] and [ParseIndex] and not changed thereafter.
type Index struct {
	// Bytes are the document, as its digest covers it.
	Bytes []byte
	// Descriptor names the document.
	Descriptor ocispec.Descriptor
	// Manifests are the images' descriptors, each with its platform, sorted by that.
	Manifests []ocispec.Descriptor
	// Images are the images in the order of Manifests; nil where only the
	// document is known. [Index.WithImages] adds them.
	Images []*Image
}

// BuildIndex makes the index of images by their descriptors ([Image.Descriptor]),
// in any order: it is the same for the same images. Two images for one platform, none at all,
// and images of which some have OCI's media types and others docker's are errors.
// Annotations are the index's own; docker's media types have none.
func BuildIndex(images []ocispec.Descriptor, annotations map[string]string) (*Index, error) {
	if len(images) == 0 {
		return nil, errors.New("the index has no images: name at least one")
	}
	for i, d := range images {
		if err := checkIndexed(d); err != nil {
			return nil, fmt.Errorf("image %d of the index: %w", i+1, err)
		}
		if d.MediaType != images[0].MediaType {
			return nil, fmt.Errorf("%s has the media type %s, but %s has %s: an index is of images of one kind; set media_types for all",
				images[0].Digest, images[0].MediaType, d.Digest, d.MediaType)
		}
	}
	sorted := slices.Clone(images)
	slices.SortStableFunc(sorted, func(a, b ocispec.Descriptor) int {
		return cmp.Compare(platformText(a.Platform), platformText(b.Platform))
	})
	for i, d := range sorted[1:] {
		if before := sorted[i]; platformText(before.Platform) == platformText(d.Platform) {
			return nil, fmt.Errorf("two images are for %s: %s and %s; an index has one for each platform", platformText(d.Platform), before.Digest, d.Digest)
		}
	}
	x := ocispec.Index{
		Versioned:   specs.Versioned{SchemaVersion: 2},
		MediaType:   mediaTypesOf(images[0].MediaType).index,
		Annotations: annotations,
	}
	if x.MediaType != ocispec.MediaTypeImageIndex && len(annotations) > 0 {
		return nil, errors.New("annotations: docker's manifest lists have none; use OCI's media types")
	}
	for k, v := range annotations {
		if err := errors.Join(checkText(k), checkText(v)); err != nil || k == "" {
			return nil, fmt.Errorf("annotations: %q: want a key that is not empty, and text without NUL", k)
		}
	}
	for _, d := range sorted {
		d.Annotations = nil
		x.Manifests = append(x.Manifests, d)
	}
	b, err := marshal("index", x)
	if err != nil {
		return nil, err
	}
	return &Index{Bytes: b, Descriptor: describe(x.MediaType, b), Manifests: x.Manifests}, nil
}

// ParseIndex reads an index that [BuildIndex] made.
func ParseIndex(b []byte) (*Index, error) {
	var x ocispec.Index
	if err := unmarshal("index", b, &x); err != nil {
		return nil, err
	}
	if x.SchemaVersion != 2 {
		return nil, fmt.Errorf("index: schemaVersion %d: want 2", x.SchemaVersion)
	}
	if len(x.Manifests) == 0 {
		return nil, errors.New("index: it names no image")
	}
	for i, d := range x.Manifests {
		if err := checkIndexed(d); err != nil {
			return nil, fmt.Errorf("index: image %d: %w", i+1, err)
		}
		if want := mediaTypesOf(d.MediaType).index; x.MediaType != want {
			return nil, fmt.Errorf("index: media type %q: want %s, as image %d is a %s", x.MediaType, want, i+1, d.MediaType)
		}
	}
	return &Index{Bytes: b, Descriptor: describe(x.MediaType, b), Manifests: x.Manifests}, nil
}

// WithImages returns the index with its images, which may come in any order: all
// of them, and no others.
func (x *Index) WithImages(images []*Image) (*Index, error) {
	byDigest := map[digest.Digest]*Image{}
	for _, img := range images {
		byDigest[img.Descriptor.Digest] = img
	}
	out := *x
	out.Images = nil
	for i, d := range x.Manifests {
		img := byDigest[d.Digest]
		if img == nil {
			return nil, fmt.Errorf("image %d of the index, %s (%s), is none of the images given", i+1, d.Digest, platformText(d.Platform))
		}
		out.Images = append(out.Images, img)
		delete(byDigest, d.Digest)
	}
	for d := range byDigest {
		return nil, fmt.Errorf("the image %s is not in the index", d)
	}
	return &out, nil
}

// checkIndexed refuses what is no descriptor of an image with a platform.
func checkIndexed(d ocispec.Descriptor) error {
	if err := checkBlob(d); err != nil {
		return err
	}
	if mediaTypesOf(d.MediaType) == nil {
		return fmt.Errorf("%s: media type %q: want an image's manifest, %s or %s", d.Digest, d.MediaType, ociTypes.manifest, dockerTypes.manifest)
	}
	if d.Platform == nil || d.Platform.OS == "" || d.Platform.Architecture == "" {
		return fmt.Errorf("%s: its descriptor has no platform", d.Digest)
	}
	return nil
}

// platformText is a platform as people write it: linux/arm/v7.
func platformText(p *ocispec.Platform) string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	if p.OSVersion != "" {
		s += " " + p.OSVersion
	}
	return s
}
