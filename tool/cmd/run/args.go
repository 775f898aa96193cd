package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/rules-strata/rules_strata/tool/action"
	"github.com/rules-strata/rules_strata/tool/layer"
)

var help = fmt.Sprintf(`run runs a program of an image over the image, and makes a layer of what it changed.

Usage: run --spec=JSON --config=JSON --manifest=JSON [--layer=JSON --blob=FILE]... --output=BLOB --digest-file=JSON [options]
       run @FILE        (one argument a line, taken as it is)

  --spec=JSON              a file that says what is run: command, env, user, workdir, time_limit, scratch, mtime
  --config=JSON            the image's config
  --manifest=JSON          its manifest
  --layer=JSON             the digest file of one of its layers, in any order
  --blob=FILE              the blob of the --layer before it
  --base=FILE              the layout or archive that the image is built on, where its lowest layers are
  --base-name=NAME         which of the images in it

  --output=BLOB            where the layer's blob goes
  --digest-file=JSON       where its digest file goes: descriptor, diff ID
  --mtree=FILE             where a listing of the layer goes, in the format of mtree(5)
  --compression=NAME       %s (default: the first)
  --level=LEVEL            %s, or a number: 1 to 9 (gzip), 1 to 22 (zstd)
  --workers=N              cores to use; the bytes are the same for any number (default: all)

The program runs in namespaces of its own, where those can be had, else by chroot(2). What it writes is shown only if
it fails. On failure the exit code is 1 (2: wrong arguments), and no output is written.
`, strings.Join(layer.Compressions(), ", "), strings.Join(layer.Levels(), ", "))

// config is what the arguments say.
type config struct {
	spec, imageConfig, manifest string
	digestFiles, blobs          []string // of the layers, in pairs
	base, baseName              string

	outputs action.LayerOutputs
	layer   layer.Options
}

func parse(args []string) (*config, error) {
	c := &config{}
	flags := action.Flags{
		"--spec":        action.Text(&c.spec),
		"--config":      action.Text(&c.imageConfig),
		"--manifest":    action.Text(&c.manifest),
		"--layer":       c.addLayer,
		"--blob":        c.addBlob,
		"--base":        action.Text(&c.base),
		"--base-name":   action.Text(&c.baseName),
		"--compression": action.Once(c.layer.Setter("compression")),
		"--level":       action.Once(c.layer.Setter("level")),
		"--workers":     action.Once(c.layer.Setter("workers")),
	}
	c.outputs.Register(flags)
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if err := action.Require("--spec", c.spec, "--config", c.imageConfig, "--manifest", c.manifest); err != nil {
		return nil, err
	}
	if err := c.outputs.Check(); err != nil {
		return nil, err
	}
	if len(c.blobs) != len(c.digestFiles) {
		return nil, action.Usagef("--layer=%s: want its --blob behind it", c.digestFiles[len(c.digestFiles)-1])
	}
	if err := layer.CheckLevel(c.layer.Compression, c.layer.Level); err != nil {
		return nil, action.Usagef("--level: %w", err)
	}
	return c, nil
}

func (c *config) addLayer(value string) error {
	if len(c.blobs) != len(c.digestFiles) {
		return errors.New("want the --blob of the one before it first")
	}
	c.digestFiles = append(c.digestFiles, value)
	return nil
}

func (c *config) addBlob(value string) error {
	if len(c.blobs) >= len(c.digestFiles) {
		return errors.New("want its --layer before it")
	}
	c.blobs = append(c.blobs, value)
	return nil
}
