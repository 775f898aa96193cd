package base

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/store"
)

// Options say which image is meant, where there are several.
type Options struct {
	// Name is a name as the file has it ("web:dev", or a tag alone), or a manifest's digest.
	Name string
	// Platform is the one that is wanted.
	Platform ocispec.Platform
}

// Image is a base in a file or a directory. It is read as long as it is open.
type Image struct {
	name   string
	source source
	config []byte
	layers []layer
}

// layer is one of its layers.
type layer struct {
	descriptor ocispec.Descriptor
	source     source
	file       string
}

// opened is an image that is being opened.
type opened struct {
	image   *Image
	options Options
}

// Open finds an image in an OCI layout (a directory, or the index.json in one), or
// in a tar that is a layout or a docker archive. Its documents are checked;
// the layers are when they are read.
func Open(path string, o Options) (_ *Image, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("base %s: %w", path, err)
		}
	}()
	src, err := openSource(path)
	if err != nil {
		return nil, bare(err)
	}
	defer func() {
		if err != nil {
			src.Close()
		}
	}()
	open := &opened{image: &Image{name: path, source: src}, options: o}
	for _, form := range []struct {
		file string
		read func() error
	}{
		{ocispec.ImageIndexFile, open.layout},
		{dockerManifestFile, open.docker},
	} {
		r, _, err := src.open(form.file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		r.Close()
		return open.image, form.read()
	}
	return nil, fmt.Errorf("neither an OCI layout (%s) nor a docker archive (%s)", ocispec.ImageIndexFile, dockerManifestFile)
}

// bare is an error without the name of the file, which is said elsewhere.
func bare(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// Close ends the reading.
func (i *Image) Close() error { return i.source.Close() }

// Layers returns how many layers the image has.
func (i *Image) Layers() int { return len(i.layers) }

// Base reads the layers that are there, checks them, and returns all that
// [image.BuildOn] wants to know. Once ctx ends it fails with its cause.
func (i *Image) Base(ctx context.Context) (*image.Base, error) {
	b := &image.Base{Name: i.name, Config: i.config}
	var config ocispec.Image
	if err := json.Unmarshal(i.config, &config); err != nil {
		return nil, fmt.Errorf("base %s: config: %w", i.name, err)
	}
	for _, l := range i.layers {
		b.Layers = append(b.Layers, l.descriptor)
	}
	if len(config.RootFS.DiffIDs) != len(i.layers) {
		return b, nil // image.BuildOn says so.
	}
	history := layerHistory(config.History, len(i.layers))
	known := newKnown()
	for n, l := range i.layers {
		c, err := l.read(ctx, config.RootFS.DiffIDs[n], known.dirs)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			known.tell(history[n])
		case err != nil:
			return nil, fmt.Errorf("base %s: layer %d: %w", i.name, n+1, err)
		default:
			known.see(c)
		}
	}
	b.StorePaths = known.paths
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
	var out []image.Blob
	for _, l := range i.layers {
		b := image.Blob{Descriptor: l.descriptor, Path: l.source.path(l.file)}
		b.Open = func() (io.ReadCloser, error) {
			r, _, err := l.source.open(l.file)
			if errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("a layer of the base %s, which has the layer's name alone: get the base with its layers", i.name)
			}
			return r, err
		}
		out = append(out, b)
	}
	return out
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
		b.StorePaths = under.StorePaths
	}
	has := map[digest.Digest]bool{}
	for i, l := range img.Layers {
		mediaType, ok := layerTypes[l.MediaType]
		if !ok {
			return nil, fmt.Errorf("base %s: layer %d: media type %q: want a layer's", name, i+1, l.MediaType)
		}
		l.MediaType = mediaType
		b.Layers = append(b.Layers, l)
		has[l.Digest] = true
	}
	for _, f := range layers {
		if !has[f.Descriptor.Digest] {
			continue // Left out, since what is below had it.
		}
		for _, p := range f.StorePaths {
			b.StorePaths[p.Path] = p.NarHash
		}
	}
	return b, nil
}
