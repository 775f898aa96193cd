package main

import (
	"context"
	"errors"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/action"
	"github.com/rules-strata/rules_strata/tool/base"
	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/image"
)

// baseFile is an image in a layout or an archive.
type baseFile struct{ path, name string }

// registerBases adds the flags that name any number of them.
func registerBases(known action.Flags, to *[]*baseFile) {
	known["--base"] = func(v string) error { *to = append(*to, &baseFile{path: v}); return nil }
	known["--base-name"] = func(v string) error {
		if len(*to) == 0 {
			return errors.New("want --base=FILE before it")
		}
		last := (*to)[len(*to)-1]
		if last.name != "" {
			return errors.New("given twice")
		}
		last.name = v
		return nil
	}
}

func (b *baseFile) open(platform ocispec.Platform) (*base.Image, error) {
	return base.Open(b.path, base.Options{Name: b.name, Platform: platform})
}

// baseFlags say what an image is built on: a file, or the parts of an image, or
// both, where the latter is built on the former.
type baseFlags struct {
	files            []*baseFile
	config, manifest string   // of an image's parts
	layers           []string // digest files
}

func (b *baseFlags) register(known action.Flags) {
	registerBases(known, &b.files)
	known["--base-config"] = action.Text(&b.config)
	known["--base-manifest"] = action.Text(&b.manifest)
	known["--base-layer"] = action.List(&b.layers)
}

func (b *baseFlags) check() error {
	if len(b.files) > 1 {
		return action.Usagef("--base=%s: an image is built on one base", b.files[1].path)
	}
	if (b.config == "") != (b.manifest == "") || b.config == "" && len(b.layers) > 0 {
		return action.Usagef("want --base-config=FILE, --base-manifest=FILE and --base-layer=FILE together")
	}
	return nil
}

// read returns the base for an image with the settings; nil if there is none.
func (b *baseFlags) read(ctx context.Context, s *image.Settings) (*image.Base, error) {
	platform, err := s.Platform()
	if err != nil {
		return nil, err
	}
	var below *base.Image
	if len(b.files) > 0 {
		if below, err = b.files[0].open(platform); err != nil {
			return nil, err
		}
		defer below.Close()
	}
	switch {
	case b.config != "":
		return b.parts(ctx, below)
	case below != nil:
		return below.Base(ctx)
	}
	return nil, nil
}

func (b *baseFlags) parts(ctx context.Context, below *base.Image) (*image.Base, error) {
	config, err := image.ReadMetadata(b.config)
	if err != nil {
		return nil, err
	}
	manifest, err := image.ReadMetadata(b.manifest)
	if err != nil {
		return nil, err
	}
	layers := make([]*digestfile.File, len(b.layers))
	for i, path := range b.layers {
		if layers[i], err = digestfile.Read(path); err != nil {
			return nil, err
		}
	}
	return base.FromParts(ctx, b.manifest, config, manifest, layers, below)
}

// withBases adds the bases' blobs to those of images, and leaves out those of layers that an
// image could do without, since its base has what is in them. The bases are open until done is called.
func withBases(bases []*baseFile, images []*image.Image, blobs []image.Blob) (_ []image.Blob, done func(), err error) {
	var open []*base.Image
	done = func() {
		for _, b := range open {
			b.Close()
		}
	}
	defer func() {
		if err != nil {
			done()
		}
	}()
	needed := map[digest.Digest]bool{}
	for _, img := range images {
		for _, l := range img.Layers {
			needed[l.Digest] = true
		}
		for _, f := range bases {
			b, err := f.open(*img.Descriptor.Platform)
			if err != nil {
				return nil, nil, err
			}
			open = append(open, b)
			blobs = append(b.Blobs(), blobs...)
		}
	}
	return slices.DeleteFunc(blobs, func(b image.Blob) bool { return !needed[b.Descriptor.Digest] }), done, nil
}
