package imagefile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/image"
)

// Docker's names for what OCI has taken over (distribution, manifest v2 schema 2).
const (
	dockerManifestType     = "application/vnd.docker.distribution.manifest.v2+json"
	dockerManifestListType = "application/vnd.docker.distribution.manifest.list.v2+json"
)

// layoutReader reads a layout's index and all that it names.
type layoutReader struct {
	files files
	n     int // documents read
	// byDigest is what was read before: several names of one image are one image.
	images  map[digest.Digest]*Image
	indexes map[digest.Digest]*Index
}

// readIndexFile reads index.json, and manifest.json for names where that is there.
func (f *File) readIndexFile() error {
	b, err := document(f.files, ocispec.ImageIndexFile, ocispec.Descriptor{})
	if err != nil {
		return err
	}
	var index ocispec.Index
	if err := unmarshal(ocispec.ImageIndexFile, b, &index); err != nil {
		return err
	}
	r := &layoutReader{files: f.files, images: map[digest.Digest]*Image{}, indexes: map[digest.Digest]*Index{}}
	for _, d := range index.Manifests {
		switch d.MediaType {
		case ocispec.MediaTypeImageIndex, dockerManifestListType:
			x, known := r.indexes[d.Digest]
			if !known {
				if x, err = r.index(d); err != nil {
					return err
				}
				r.indexes[d.Digest] = x
				f.Indexes = append(f.Indexes, x)
			}
			addNames(&x.Names, &x.RefNames, d)
		case ocispec.MediaTypeImageManifest, dockerManifestType:
			if notImage(d) {
				continue
			}
			i, known := r.images[d.Digest]
			if !known {
				if i, err = r.image(d); err != nil {
					return err
				}
				r.images[d.Digest] = i
				f.Images = append(f.Images, i)
			}
			addNames(&i.Names, &i.RefNames, d)
		}
	}
	if len(f.Images)+len(f.Indexes) == 0 {
		return fmt.Errorf("%s names no image", ocispec.ImageIndexFile)
	}
	if f.Form == HybridArchive {
		return f.addDockerNames()
	}
	return nil
}

// notImage tells attestations and other artifacts that stand beside images in an index.
func notImage(d ocispec.Descriptor) bool {
	return d.ArtifactType != "" || d.Annotations["vnd.docker.reference.type"] != "" ||
		d.Platform != nil && d.Platform.OS == "unknown"
}

func addNames(names, refNames *[]string, d ocispec.Descriptor) {
	add := func(to *[]string, s string) {
		if s != "" && !slices.Contains(*to, s) {
			*to = append(*to, s)
		}
	}
	ref := d.Annotations[ocispec.AnnotationRefName]
	add(refNames, ref)
	name := d.Annotations[annotationImageName]
	if name == "" && strings.ContainsAny(ref, "/:") {
		name = ref // A whole name, as some put it there.
	}
	if r, err := image.ParseReference(name); err == nil {
		add(names, r.String())
	}
}

// index reads an index and its images.
func (r *layoutReader) index(d ocispec.Descriptor) (*Index, error) {
	x := &Index{Descriptor: d}
	var err error
	x.Raw, err = r.addImages(x, d, 1)
	x.Descriptor.Annotations = nil
	return x, err
}

func (r *layoutReader) addImages(x *Index, d ocispec.Descriptor, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("index %s: more than %d indexes in one another", d.Digest, maxDepth)
	}
	raw, err := r.blob("index", d)
	if err != nil {
		return nil, err
	}
	var index ocispec.Index
	if err := unmarshal("index "+d.Digest.String(), raw, &index); err != nil {
		return nil, err
	}
	for _, m := range index.Manifests {
		switch m.MediaType {
		case ocispec.MediaTypeImageIndex, dockerManifestListType:
			if _, err := r.addImages(x, m, depth+1); err != nil {
				return nil, err
			}
		case ocispec.MediaTypeImageManifest, dockerManifestType:
			if notImage(m) {
				continue
			}
			i, err := r.image(m)
			if err != nil {
				return nil, err
			}
			x.Images = append(x.Images, i)
		}
	}
	if len(x.Images) == 0 {
		return nil, fmt.Errorf("index %s names no image", d.Digest)
	}
	return raw, nil
}

// blob reads a document by its descriptor.
func (r *layoutReader) blob(what string, d ocispec.Descriptor) ([]byte, error) {
	if r.n++; r.n > 2*maxManifests {
		return nil, fmt.Errorf("more than %d manifests", maxManifests)
	}
	name, err := blobFile(d)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	b, err := document(r.files, name, d)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return b, nil
}

// image reads a manifest and its config.
func (r *layoutReader) image(d ocispec.Descriptor) (*Image, error) {
	manifest, err := r.blob("manifest", d)
	if err != nil {
		return nil, err
	}
	var m ocispec.Manifest
	if err := unmarshal("manifest "+d.Digest.String(), manifest, &m); err != nil {
		return nil, err
	}
	config, err := r.blob("config of "+d.Digest.String(), m.Config)
	if err != nil {
		return nil, err
	}
	i, err := newImage(d, manifest, &m, config)
	if err != nil {
		return nil, err
	}
	for _, l := range i.Layers {
		l.of = r.files
		if l.file, err = blobFile(l.Descriptor); err != nil {
			return nil, fmt.Errorf("manifest %s: layer: %w", d.Digest, err)
		}
		if r.files.has(l.file) {
			l.Path = r.files.path(l.file)
		}
	}
	return i, nil
}

// newImage puts an image together whose documents have been checked against their digests.
func newImage(d ocispec.Descriptor, manifest []byte, m *ocispec.Manifest, config []byte) (*Image, error) {
	i := &Image{Manifest: manifest, Config: config, ConfigDescriptor: m.Config}
	if err := unmarshal("config "+m.Config.Digest.String(), config, &i.Spec); err != nil {
		return nil, err
	}
	ids := i.Spec.RootFS.DiffIDs
	if len(ids) != len(m.Layers) {
		return nil, fmt.Errorf("manifest %s: it has %d layers, and its config %d diff IDs", d.Digest, len(m.Layers), len(ids))
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
