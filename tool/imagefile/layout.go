package imagefile

import (
	"errors"
	"fmt"
	"io/fs"
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
	dockerConfigType       = "application/vnd.docker.container.image.v1+json"
)

// annotationImageName is where containerd and docker put an image's whole name in an index.
const annotationImageName = "io.containerd.image.name"

// maxManifests bounds how many manifests and indexes one file may name, and maxDepth how deep indexes lie in indexes.
const (
	maxManifests = 4096
	maxDepth     = 4
)

// readIndexFile reads index.json and the indexes that it names, and manifest.json for names where that is there.
func (f *File) readIndexFile() error {
	b, err := document(f.files, ocispec.ImageIndexFile)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the directory has no %s: it is no OCI layout", ocispec.ImageIndexFile)
	}
	if err != nil {
		return err
	}
	var index ocispec.Index
	if err := unmarshal(ocispec.ImageIndexFile, b, &index); err != nil {
		return err
	}
	if len(index.Manifests) == 0 {
		return fmt.Errorf("%s names no image", ocispec.ImageIndexFile)
	}
	w := &walk{File: f, roots: map[digest.Digest]*entry{}, images: map[digest.Digest]*entry{}}
	for _, d := range index.Manifests {
		if err := CheckDescriptor(d); err != nil {
			return fmt.Errorf("%s: %w", ocispec.ImageIndexFile, err)
		}
		root := w.roots[d.Digest]
		if root == nil {
			root = &entry{descriptor: d}
			w.roots[d.Digest] = root
			f.roots = append(f.roots, root)
		}
		root.addNames(d)
		if from, _, ok := strings.Cut(d.Annotations[AnnotationSource], "@"); ok && from != "" && !slices.Contains(f.origins, from) {
			f.origins = append(f.origins, from)
		}
		if err := w.add(d, root, nil); err != nil {
			return err
		}
	}
	if f.Form == HybridArchive {
		return f.addDockerNames()
	}
	return nil
}

// walk goes through index.json and the indexes below.
type walk struct {
	*File
	n             int // descriptors seen
	roots, images map[digest.Digest]*entry
}

// add takes note of what d names: an image, or the images of an index. It was
// come to from root through the indexes of within.
func (w *walk) add(d ocispec.Descriptor, root *entry, within []digest.Digest) error {
	if w.n++; w.n > 2*maxManifests {
		return fmt.Errorf("more than %d manifests", maxManifests)
	}
	switch d.MediaType {
	case ocispec.MediaTypeImageManifest, dockerManifestType:
		if notImage(d) {
			return nil
		}
		// A layout may have the one image of an index that somebody wanted.
		if name, err := blobFile(d); len(within) > 0 && (err != nil || !w.files.has(name)) {
			return err
		}
		e := w.images[d.Digest]
		if e == nil {
			e = &entry{descriptor: d}
			w.images[d.Digest] = e
			w.File.images = append(w.File.images, e)
		}
		e.names, e.refNames = union(e.names, root.names), union(e.refNames, root.refNames)
		e.within = union(e.within, within)
	case ocispec.MediaTypeImageIndex, dockerManifestListType:
		if len(within) == maxDepth {
			return fmt.Errorf("index %s: more than %d indexes in one another", d.Digest, maxDepth)
		}
		b, err := w.blob("index", d)
		if errors.Is(err, fs.ErrNotExist) && len(within) > 0 {
			return nil
		}
		if err != nil {
			return err
		}
		var index ocispec.Index
		if err := unmarshal("index "+d.Digest.String(), b, &index); err != nil {
			return err
		}
		within = append(slices.Clip(within), d.Digest)
		for _, m := range index.Manifests {
			if err := w.add(m, root, within); err != nil {
				return err
			}
		}
	default:
		w.others = union(w.others, []string{fmt.Sprintf("%q", d.MediaType)})
	}
	return nil
}

// notImage tells attestations and other artifacts that stand beside images in an index.
func notImage(d ocispec.Descriptor) bool {
	return d.ArtifactType != "" || d.Annotations["vnd.docker.reference.type"] != "" ||
		d.Platform != nil && d.Platform.OS == "unknown"
}

// union adds those of more to all that it hasn't.
func union[T comparable](all, more []T) []T {
	for _, s := range more {
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

// addNames adds the names that index.json gives.
func (e *entry) addNames(d ocispec.Descriptor) {
	ref := d.Annotations[ocispec.AnnotationRefName]
	if ref != "" {
		e.refNames = union(e.refNames, []string{ref})
	}
	name := d.Annotations[annotationImageName]
	if name == "" && strings.ContainsAny(ref, "/:") {
		name = ref // A whole name, as some put it there.
	}
	if r, err := image.ParseReference(name); err == nil {
		e.names = union(e.names, []string{r.String()})
	}
}

// read reads the image of an entry: its manifest and its config.
func (f *File) read(e *entry) (*Image, error) {
	if e.image != nil {
		return e.image, nil
	}
	d := e.descriptor
	manifest, err := f.blob("manifest", d)
	if err != nil {
		return nil, err
	}
	var m ocispec.Manifest
	if err := unmarshal("manifest "+d.Digest.String(), manifest, &m); err != nil {
		return nil, err
	}
	i, err := f.image(d, manifest, &m)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	i.Names, i.RefNames = e.names, e.refNames
	e.image = i
	return i, nil
}

func (f *File) image(d ocispec.Descriptor, manifest []byte, m *ocispec.Manifest) (*Image, error) {
	switch {
	case m.SchemaVersion != 2:
		return nil, fmt.Errorf("schemaVersion %d: want 2", m.SchemaVersion)
	case m.MediaType != "" && m.MediaType != d.MediaType:
		return nil, fmt.Errorf("media type %q: the index says %s", m.MediaType, d.MediaType)
	case m.Config.MediaType != ocispec.MediaTypeImageConfig && m.Config.MediaType != dockerConfigType:
		return nil, fmt.Errorf("config: media type %q: want %s; it is no container image", m.Config.MediaType, ocispec.MediaTypeImageConfig)
	}
	config, err := f.blob("config", m.Config)
	if err != nil {
		return nil, err
	}
	i, err := newImage(d, manifest, m, config)
	if err != nil {
		return nil, err
	}
	for k, l := range i.Layers {
		if l.file, err = blobFile(l.Descriptor); err != nil {
			return nil, fmt.Errorf("layer %d: %w", k+1, err)
		}
		l.of = f.files
		if f.files.has(l.file) {
			l.Path = f.files.path(l.file)
		}
	}
	return i, nil
}
