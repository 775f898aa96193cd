package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/base"
	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/runlayer"
)

// write makes the outputs.
func (c *config) write(ctx context.Context) error {
	spec, err := runlayer.ReadFile(c.spec)
	if err != nil {
		return fmt.Errorf("--spec: %w", err)
	}
	img, done, err := c.open()
	if err != nil {
		return err
	}
	defer done()
	return c.outputs.Write(func(blob, mtree io.Writer) (*digestfile.File, error) {
		o := c.layer
		o.Mtree = mtree
		// Beside the output there is room, and an action may write there.
		return runlayer.Write(ctx, blob, spec, img, filepath.Dir(c.outputs.Blob), o)
	})
}

// open finds the bytes of the image's layers: those of targets, and those of the base. They can be read until done is called.
func (c *config) open() (_ *runlayer.Image, done func(), err error) {
	closeBase := func() {}
	defer func() {
		if err != nil {
			closeBase()
		}
	}()
	config, err := image.ReadMetadata(c.imageConfig)
	if err != nil {
		return nil, nil, err
	}
	manifest, err := image.ReadMetadata(c.manifest)
	if err != nil {
		return nil, nil, err
	}
	img, err := image.Parse(config, manifest)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", c.manifest, err)
	}
	var parsed ocispec.Image
	if err := json.Unmarshal(config, &parsed); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", c.imageConfig, err)
	}
	var blobs []image.Blob
	var files []*digestfile.File
	if c.base != "" {
		below, err := base.Open(c.base, base.Options{Name: c.baseName, Platform: parsed.Platform})
		if err != nil {
			return nil, nil, err
		}
		closeBase = func() { below.Close() }
		blobs = below.Blobs()
	}
	for i, name := range c.digestFiles {
		f, err := digestfile.Read(name)
		if err != nil {
			return nil, nil, err
		}
		files = append(files, f)
		blobs = append(blobs, image.Blob{Descriptor: f.Descriptor, Path: c.blobs[i]})
	}
	out, err := runlayer.NewImage(img, &parsed, blobs)
	if err != nil {
		return nil, nil, err
	}
	out.AddStores(files)
	return out, closeBase, nil
}
