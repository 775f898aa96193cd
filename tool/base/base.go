package base

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/imagefile"
	"github.com/rules-strata/rules_strata/tool/store"
)

// Options say which image is meant, where there are several.
type Options struct {
	// Name is a name as the file has it ("web:dev", or a tag alone), or a manifest's digest.
	Name string
	// Platform is the one that is wanted.
	Platform ocispec.Platform
}

// layerTypes are the media types that a layer may have, and OCI's for the same.
var layerTypes = map[string]string{
	ocispec.MediaTypeImageLayer:     ocispec.MediaTypeImageLayer,
	ocispec.MediaTypeImageLayerGzip: ocispec.MediaTypeImageLayerGzip,
	ocispec.MediaTypeImageLayerZstd: ocispec.MediaTypeImageLayerZstd,

	// Docker's (distribution, docs/content/spec/manifest-v2-2.md).
	"application/vnd.docker.image.rootfs.diff.tar":      ocispec.MediaTypeImageLayer,
	"application/vnd.docker.image.rootfs.diff.tar.gzip": ocispec.MediaTypeImageLayerGzip,
	"application/vnd.docker.image.rootfs.diff.tar.zstd": ocispec.MediaTypeImageLayerZstd,
}

// Image is a base in a file or a directory. It is read as long as it is open.
type Image struct {
	name   string
	file   *imagefile.File
	image  *imagefile.Image
	layers []ocispec.Descriptor // with OCI's media types
}

// Open finds an image, in a form that [imagefile.Open] reads. Its documents are checked;
// the layers are when they are read.
func Open(path string, o Options) (*Image, error) {
	f, err := imagefile.Open(path)
	if err != nil {
		return nil, fmt.Errorf("base %w", err)
	}
	i, err := OpenFile(f, o)
	if err != nil {
		f.Close()
		return nil, err
	}
	return i, nil
}

// OpenFile is Open of a file that is open already; the image's Close closes it. Errors call it by f.Path.
func OpenFile(f *imagefile.File, o Options) (*Image, error) {
	i := &Image{name: f.Path, file: f}
	if err := i.choose(o); err != nil {
		return nil, err
	}
	return i, nil
}

func (i *Image) choose(o Options) (err error) {
	if i.image, err = i.file.SelectFor(o.Name, o.Platform); err != nil {
		return fmt.Errorf("base %w", err)
	}
	var layers []ocispec.Descriptor
	for _, l := range i.image.Layers {
		layers = append(layers, l.Descriptor)
	}
	if i.layers, err = asOCI(layers); err != nil {
		return fmt.Errorf("base %s: %w", i.name, err)
	}
	return nil
}

// asOCI gives layers OCI's media types.
func asOCI(layers []ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	if len(layers) > image.MaxLayers {
		return nil, fmt.Errorf("it has %d layers, but docker's graph drivers refuse more than %d", len(layers), image.MaxLayers)
	}
	out := make([]ocispec.Descriptor, len(layers))
	for i, l := range layers {
		mediaType, ok := layerTypes[l.MediaType]
		if !ok {
			return nil, fmt.Errorf("layer %d: media type %q: want a layer's, such as %s", i+1, l.MediaType, ocispec.MediaTypeImageLayerGzip)
		}
		out[i] = ocispec.Descriptor{MediaType: mediaType, Digest: l.Digest, Size: l.Size, Annotations: l.Annotations}
	}
	return out, nil
}

// Close ends the reading.
func (i *Image) Close() error { return i.file.Close() }

// Layers returns how many layers the image has.
func (i *Image) Layers() int { return len(i.layers) }

// Base reads the layers that are there, checks them, and returns all that
// [image.BuildOn] wants to know. Once ctx ends it fails with its cause.
func (i *Image) Base(ctx context.Context) (*image.Base, error) {
	b := &image.Base{Name: i.name, Config: i.image.Config, Layers: i.layers}
	history := layerHistory(i.image.Spec.History, len(i.layers))
	known := newKnown()
	for n, l := range i.image.Layers {
		c, err := readLayer(ctx, l, known.dirs)
		switch {
		case errors.Is(err, imagefile.ErrAbsent):
			known.tell(history[n])
		case err != nil:
			return nil, fmt.Errorf("base %s: layer %d: %w", i.name, n+1, err)
		default:
			known.see(c)
		}
	}
	b.StorePaths, b.Users, b.Groups = known.paths, known.users, known.groups
	return b, nil
}

// layerHistory returns the history entry of each layer; an empty one where the
// history doesn't fit.
func layerHistory(all []ocispec.History, layers int) []ocispec.History {
	var out []ocispec.History
	for _, h := range all {
		if !h.EmptyLayer {
			out = append(out, h)
		}
	}
	if len(out) != layers {
		return make([]ocispec.History, layers)
	}
	return out
}

// Blobs are the layers' bytes, for an archive or a layout. Those that are not
// there fail when they are opened.
func (i *Image) Blobs() []image.Blob {
	blobs := i.image.Blobs()
	for n := range blobs {
		blobs[n].Descriptor = i.layers[n]
		open := blobs[n].Open
		blobs[n].Open = func() (io.ReadCloser, error) {
			r, err := open()
			if errors.Is(err, imagefile.ErrAbsent) {
				return nil, fmt.Errorf("a layer of the base %s, which has the layer's name alone: get the base with its layers", i.name)
			}
			return r, err
		}
	}
	return blobs
}

// FromParts returns a base out of its config, its manifest and the digest files of
// its layers; of those without one, below (which may be nil) is asked. Name is what errors call it.
func FromParts(ctx context.Context, name string, config, manifest []byte, layers []*digestfile.File, below *Image) (*image.Base, error) {
	img, err := image.Parse(config, manifest)
	if err != nil {
		return nil, fmt.Errorf("base %s: %w", name, err)
	}
	b := &image.Base{Name: name, Config: config, StorePaths: map[store.Path]store.Hash{}}
	if below != nil {
		under, err := below.Base(ctx)
		if err != nil {
			return nil, err
		}
		b.StorePaths, b.Users, b.Groups = under.StorePaths, under.Users, under.Groups
	}
	if b.Layers, err = asOCI(img.Layers); err != nil {
		return nil, fmt.Errorf("base %s: %w", name, err)
	}
	files := map[digest.Digest]*digestfile.File{}
	for _, f := range layers {
		files[f.Descriptor.Digest] = f
	}
	named := newKnown()
	if below != nil {
		named.users, named.groups = b.Users, b.Groups
	}
	// A file without a layer was left out, since what is below had it.
	for _, l := range b.Layers {
		f := files[l.Digest]
		if f == nil {
			if below == nil {
				named.users, named.groups = nil, nil
			}
			continue
		}
		for _, p := range f.StorePaths {
			b.StorePaths[p.Path] = p.NarHash
		}
		named.name(f.Users, f.Groups)
	}
	b.Users, b.Groups = named.users, named.groups
	return b, nil
}
