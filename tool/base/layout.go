package base

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/image"
)

// Media types of docker (distribution, docs/content/spec/manifest-v2-2.md).
const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerIndex    = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
)

// layerTypes are the media types that a layer may have, and OCI's for the same.
var layerTypes = map[string]string{
	ocispec.MediaTypeImageLayer:     ocispec.MediaTypeImageLayer,
	ocispec.MediaTypeImageLayerGzip: ocispec.MediaTypeImageLayerGzip,
	ocispec.MediaTypeImageLayerZstd: ocispec.MediaTypeImageLayerZstd,

	"application/vnd.docker.image.rootfs.diff.tar":      ocispec.MediaTypeImageLayer,
	"application/vnd.docker.image.rootfs.diff.tar.gzip": ocispec.MediaTypeImageLayerGzip,
	"application/vnd.docker.image.rootfs.diff.tar.zstd": ocispec.MediaTypeImageLayerZstd,
}

// compressionOf is how a layer of one of OCI's types is compressed.
func compressionOf(mediaType string) string {
	switch mediaType {
	case ocispec.MediaTypeImageLayerGzip:
		return compressionGzip
	case ocispec.MediaTypeImageLayerZstd:
		return compressionZstd
	}
	return compressionNone
}

// maxDepth bounds indexes in indexes.
const maxDepth = 4

// candidate is an image that a layout holds.
type candidate struct {
	descriptor ocispec.Descriptor
	names      []string
}

// layout reads an image out of an OCI layout.
func (o *opened) layout() error {
	b, err := o.readFile(ocispec.ImageIndexFile)
	if err != nil {
		return err
	}
	var index ocispec.Index
	if err := json.Unmarshal(b, &index); err != nil {
		return fmt.Errorf("%s: %w", ocispec.ImageIndexFile, err)
	}
	l := &layout{opened: o, byDigest: map[digest.Digest]*candidate{}}
	if err := l.collect(index, nil, 0); err != nil {
		return err
	}
	d, err := l.choose()
	if err != nil {
		return err
	}
	return o.manifest(d)
}

// layout is the search for the image that is meant.
type layout struct {
	*opened
	found    []*candidate
	byDigest map[digest.Digest]*candidate
	other    []string // media types that are no image's
}

// collect finds the images of an index and of those in it. One that a name leads to has the name.
func (l *layout) collect(index ocispec.Index, names []string, depth int) error {
	for _, d := range index.Manifests {
		names := names
		if depth == 0 {
			names = refNames(d)
		}
		switch d.MediaType {
		case ocispec.MediaTypeImageManifest, dockerManifest:
			if d.Annotations["vnd.docker.reference.type"] != "" || d.Platform != nil && d.Platform.OS == "unknown" {
				continue // An attestation of buildkit's.
			}
			c := l.byDigest[d.Digest]
			if c == nil {
				c = &candidate{descriptor: d}
				l.byDigest[d.Digest] = c
				l.found = append(l.found, c)
			}
			c.names = append(c.names, names...)
		case ocispec.MediaTypeImageIndex, dockerIndex:
			if depth == maxDepth {
				return fmt.Errorf("%s: indexes more than %d deep", d.Digest, maxDepth)
			}
			b, err := l.readBlob(d)
			if errors.Is(err, fs.ErrNotExist) && depth > 0 {
				continue // Of another platform.
			}
			if err != nil {
				return err
			}
			var inner ocispec.Index
			if err := json.Unmarshal(b, &inner); err != nil {
				return fmt.Errorf("index %s: %w", d.Digest, err)
			}
			if err := l.collect(inner, names, depth+1); err != nil {
				return err
			}
		default:
			l.other = append(l.other, fmt.Sprintf("%q", d.MediaType))
		}
	}
	return nil
}

// refNames are the names that an entry of index.json has.
func refNames(d ocispec.Descriptor) []string {
	var names []string
	for _, k := range []string{ocispec.AnnotationRefName, "io.containerd.image.name"} {
		if n := d.Annotations[k]; n != "" && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

// choose returns the one image that is meant.
func (l *layout) choose() (ocispec.Descriptor, error) {
	found := l.found
	if len(found) == 0 && len(l.other) > 0 {
		return ocispec.Descriptor{}, fmt.Errorf("%s: it has no image, but media type %s; want %s", ocispec.ImageIndexFile, strings.Join(l.other, ", "), ocispec.MediaTypeImageManifest)
	}
	if len(found) == 0 {
		return ocispec.Descriptor{}, fmt.Errorf("%s: it has no image", ocispec.ImageIndexFile)
	}
	if l.options.Name != "" {
		found = slices.DeleteFunc(slices.Clone(found), func(c *candidate) bool { return !c.is(l.options.Name) })
		if len(found) == 0 {
			return ocispec.Descriptor{}, fmt.Errorf("it has no image %q; %s", l.options.Name, l.all())
		}
	}
	if len(found) > 1 {
		want := l.options.Platform
		var of []*candidate
		for _, c := range found {
			if p := c.descriptor.Platform; p == nil || p.OS == want.OS && p.Architecture == want.Architecture && image.SameVariant(*p, want) {
				of = append(of, c)
			}
		}
		if len(of) == 0 {
			return ocispec.Descriptor{}, fmt.Errorf("it has no image for %s; %s", image.PlatformText(want), l.all())
		}
		found = of
	}
	if len(found) > 1 {
		return ocispec.Descriptor{}, fmt.Errorf("it has several images, choose one by its name: %s", l.all())
	}
	return found[0].descriptor, nil
}

func (l *layout) all() string {
	var out []string
	for _, c := range l.found {
		s := cmpOr(strings.Join(c.names, ", "), c.descriptor.Digest.String())
		if c.descriptor.Platform != nil {
			s += " (" + image.PlatformText(*c.descriptor.Platform) + ")"
		}
		out = append(out, s)
	}
	return "it has " + strings.Join(out, "; ")
}

func cmpOr(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// is reports whether the image has a name: as the layout has it, in another
// spelling of the same, or its digest.
func (c *candidate) is(name string) bool {
	return c.descriptor.Digest.String() == name || slices.ContainsFunc(c.names, func(n string) bool { return sameName(n, name) })
}

func sameName(a, b string) bool {
	if a == b {
		return true
	}
	ra, errA := image.ParseReference(a)
	rb, errB := image.ParseReference(b)
	return errA == nil && errB == nil && ra == rb
}

// manifest reads an image by its manifest's descriptor.
func (o *opened) manifest(d ocispec.Descriptor) error {
	b, err := o.readBlob(d)
	if err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	fault := func(format string, args ...any) error {
		return fmt.Errorf("manifest %s: %w", d.Digest, fmt.Errorf(format, args...))
	}
	if m.SchemaVersion != 2 {
		return fault("schemaVersion %d: want 2", m.SchemaVersion)
	}
	if m.MediaType != "" && m.MediaType != d.MediaType {
		return fault("media type %q: index.json says %s", m.MediaType, d.MediaType)
	}
	if m.Config.MediaType != ocispec.MediaTypeImageConfig && m.Config.MediaType != dockerConfig {
		return fault("config: media type %q: want %s; it is no container image", m.Config.MediaType, ocispec.MediaTypeImageConfig)
	}
	if o.image.config, err = o.readBlob(m.Config); err != nil {
		return fault("config: %w", err)
	}
	if len(m.Layers) > image.MaxLayers {
		return fault("it has %d layers, but docker's graph drivers refuse more than %d", len(m.Layers), image.MaxLayers)
	}
	for i, l := range m.Layers {
		mediaType, ok := layerTypes[l.MediaType]
		if !ok {
			return fault("layer %d: media type %q: want a layer's, such as %s", i+1, l.MediaType, ocispec.MediaTypeImageLayerGzip)
		}
		name, err := blobName(l)
		if err != nil {
			return fault("layer %d: %w", i+1, err)
		}
		o.image.layers = append(o.image.layers, layer{
			descriptor: ocispec.Descriptor{MediaType: mediaType, Digest: l.Digest, Size: l.Size, Annotations: l.Annotations},
			source:     o.image.source,
			file:       name,
		})
	}
	return nil
}

// blobName is where a layout has a blob.
func blobName(d ocispec.Descriptor) (string, error) {
	if err := d.Digest.Validate(); err != nil {
		return "", fmt.Errorf("digest %q: %w", d.Digest, err)
	}
	if d.Digest.Algorithm() != digest.SHA256 {
		return "", fmt.Errorf("digest %s: want sha256", d.Digest)
	}
	if d.Size < 0 {
		return "", fmt.Errorf("%s: negative size %d", d.Digest, d.Size)
	}
	return "blobs/sha256/" + d.Digest.Encoded(), nil
}

// readBlob reads a document and checks it.
func (o *opened) readBlob(d ocispec.Descriptor) ([]byte, error) {
	name, err := blobName(d)
	if err != nil {
		return nil, err
	}
	b, err := o.readFile(name)
	if err != nil {
		return nil, err
	}
	if got := digest.FromBytes(b); int64(len(b)) != d.Size || got != d.Digest {
		return nil, fmt.Errorf("%s: want %d bytes with %s, found %d with %s", name, d.Size, d.Digest, len(b), got)
	}
	return b, nil
}

// readFile reads a document.
func (o *opened) readFile(name string) ([]byte, error) {
	r, size, err := o.image.source.open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if size > maxDocument {
		return nil, fmt.Errorf("%s: %d bytes, want at most %d", name, size, maxDocument)
	}
	b, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}
