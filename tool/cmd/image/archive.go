package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/rules-strata/rules_strata/tool/atomicfile"
	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/image"
)

// parts is what archive and layout are made of.
type parts struct {
	config, manifest string
	layers, blobs    []string // paths, in pairs
	tags             []string
}

func (p *parts) flags() map[string]func(string) error {
	return map[string]func(string) error{
		"--config":   once(&p.config),
		"--manifest": once(&p.manifest),
		"--layer": func(v string) error {
			if len(p.layers) != len(p.blobs) {
				return fmt.Errorf("want --blob=FILE after --layer=%s first", p.layers[len(p.layers)-1])
			}
			p.layers = append(p.layers, v)
			return nil
		},
		"--blob": func(v string) error {
			if len(p.layers) != len(p.blobs)+1 {
				return errors.New("want --layer=DIGESTFILE before it")
			}
			p.blobs = append(p.blobs, v)
			return nil
		},
		"--tag": func(v string) error { p.tags = append(p.tags, v); return nil },
	}
}

func (p *parts) check(command string) error {
	if len(p.layers) != len(p.blobs) {
		return usagef("image %s: want --blob=FILE after --layer=%s", command, p.layers[len(p.layers)-1])
	}
	return required(command, "--config", p.config, "--manifest", p.manifest)
}

// read reads what the arguments name, save the blobs.
func (p *parts) read() (*image.Image, []image.Blob, error) {
	config, err := readMetadata(p.config)
	if err != nil {
		return nil, nil, err
	}
	manifest, err := readMetadata(p.manifest)
	if err != nil {
		return nil, nil, err
	}
	img, err := image.Parse(config, manifest)
	if err != nil {
		return nil, nil, fmt.Errorf("%s and %s: %w", p.config, p.manifest, err)
	}
	blobs := make([]image.Blob, len(p.layers))
	for i, path := range p.layers {
		f, err := digestfile.Read(path)
		if err != nil {
			return nil, nil, err
		}
		blobs[i] = image.Blob{Descriptor: f.Descriptor, Path: p.blobs[i]}
	}
	return img, blobs, nil
}

func readMetadata(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, image.MaxMetadataSize+1))
	if err == nil && len(b) > image.MaxMetadataSize {
		err = fmt.Errorf("%s: over %d bytes", path, image.MaxMetadataSize)
	}
	return b, err
}

// archive is the StrataArchive action.
func archive(ctx context.Context, args []string) error {
	const command = "archive"
	var p parts
	var output string
	known := p.flags()
	known["--output"] = once(&output)
	if err := flags(command, args, known); err != nil {
		return err
	}
	if err := p.check(command); err != nil {
		return err
	}
	if err := required(command, "--output", output); err != nil {
		return err
	}
	img, blobs, err := p.read()
	if err != nil {
		return err
	}
	out, err := atomicfile.Create(output)
	if err != nil {
		return err
	}
	defer out.Abort()
	if err := image.WriteArchive(ctx, out, img, blobs, p.tags); err != nil {
		return err
	}
	return out.Commit()
}
