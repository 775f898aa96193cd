package main

import (
	"context"
	"fmt"

	"github.com/rules-strata/rules_strata/tool/action"
	"github.com/rules-strata/rules_strata/tool/atomicfile"
	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/image"
)

// parts is what archive, layout and nixery are made of.
type parts struct {
	index              string   // "" for a single image
	configs, manifests []string // paths, in pairs
	layers, blobs      []string // paths, in pairs
	tags               []string
	tagsFile           string
	bases              []*baseFile
}

func (p *parts) flags() action.Flags {
	known := action.Flags{
		"--index":     action.Text(&p.index),
		"--tag":       action.List(&p.tags),
		"--tags-file": action.Text(&p.tagsFile),
	}
	registerBases(known, &p.bases)
	pairs(known, "--config", &p.configs, "--manifest", &p.manifests)
	pairs(known, "--layer", &p.layers, "--blob", &p.blobs)
	return known
}

// pairs adds two flags that come one after the other, any number of times.
func pairs(known action.Flags, first string, firsts *[]string, second string, seconds *[]string) {
	known[first] = func(v string) error {
		if len(*firsts) != len(*seconds) {
			return fmt.Errorf("want %s=FILE after %s=%s first", second, first, (*firsts)[len(*firsts)-1])
		}
		*firsts = append(*firsts, v)
		return nil
	}
	known[second] = func(v string) error {
		if len(*firsts) != len(*seconds)+1 {
			return fmt.Errorf("want %s=FILE before it", first)
		}
		*seconds = append(*seconds, v)
		return nil
	}
}

func (p *parts) check() error {
	if len(p.layers) != len(p.blobs) {
		return action.Usagef("want --blob=FILE after --layer=%s", p.layers[len(p.layers)-1])
	}
	switch {
	case len(p.configs) == 0:
		return action.Usagef("--config is missing")
	case len(p.configs) != len(p.manifests):
		return action.Usagef("want --manifest=VALUE after --config=%s", p.configs[len(p.configs)-1])
	case len(p.configs) > 1 && p.index == "":
		return action.Usagef("several images need --index=FILE")
	}
	return nil
}

// read reads what the arguments name, save the blobs, which may be read until done is called.
func (p *parts) read() (_ image.Content, _ []image.Blob, done func(), _ error) {
	fail := func(err error) (image.Content, []image.Blob, func(), error) { return nil, nil, nil, err }
	var images []*image.Image
	for i := range p.configs {
		img, err := readImage(p.configs[i], p.manifests[i])
		if err != nil {
			return fail(err)
		}
		images = append(images, img)
	}
	if p.tagsFile != "" {
		tags, err := readTags(p.tagsFile)
		if err != nil {
			return fail(err)
		}
		p.tags = append(p.tags, tags...)
	}
	blobs := make([]image.Blob, len(p.layers))
	for i, path := range p.layers {
		f, err := digestfile.Read(path)
		if err != nil {
			return fail(err)
		}
		blobs[i] = image.Blob{Descriptor: f.Descriptor, UncompressedSize: f.UncompressedSize, Path: p.blobs[i]}
	}
	var content image.Content = images[0]
	if p.index != "" {
		index, err := readIndex(p.index, images)
		if err != nil {
			return fail(err)
		}
		content = index
	}
	blobs, done, err := withBases(p.bases, images, blobs)
	if err != nil {
		return fail(err)
	}
	return content, blobs, done, nil
}

func readIndex(path string, images []*image.Image) (*image.Index, error) {
	b, err := image.ReadMetadata(path)
	if err != nil {
		return nil, err
	}
	index, err := image.ParseIndex(b)
	if err == nil {
		index, err = index.WithImages(images)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return index, nil
}

func readImage(configPath, manifestPath string) (*image.Image, error) {
	config, err := image.ReadMetadata(configPath)
	if err != nil {
		return nil, err
	}
	manifest, err := image.ReadMetadata(manifestPath)
	if err != nil {
		return nil, err
	}
	img, err := image.Parse(config, manifest)
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w", configPath, manifestPath, err)
	}
	return img, nil
}

// archive is the StrataArchive action.
func archive(ctx context.Context, args []string) error {
	var p parts
	var form image.Archive
	var output string
	known := p.flags()
	known["--output"] = action.Text(&output)
	known["--format"] = action.Text(&form.Format)
	known["--compression"] = action.Text(&form.Compression)
	known["--legacy"] = action.Switch(&form.Legacy)
	if err := known.Parse(args); err != nil {
		return err
	}
	if err := p.check(); err != nil {
		return err
	}
	if err := action.Require("--output", output); err != nil {
		return err
	}
	if err := form.Check(); err != nil {
		return &action.UsageError{Err: err}
	}
	content, blobs, done, err := p.read()
	if err != nil {
		return err
	}
	defer done()
	out, err := atomicfile.Create(output)
	if err != nil {
		return err
	}
	defer out.Abort()
	if err := form.Write(ctx, out, content, blobs, p.tags); err != nil {
		return err
	}
	return out.Commit()
}
