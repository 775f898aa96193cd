package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
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

	output, digestFile, mtree string
	layer                     layer.Options
}

func parse(args []string) (*config, error) {
	c := &config{}
	seen := map[string]bool{}
	for _, a := range args {
		name, value, hasValue := strings.Cut(a, "=")
		switch {
		case !strings.HasPrefix(name, "--"):
			return nil, action.Usagef("argument %q: want --name=value", a)
		case !hasValue || value == "":
			return nil, action.Usagef("argument %s: it takes a value: %s=…", a, name)
		case seen[name] && name != "--layer" && name != "--blob":
			return nil, action.Usagef("%s: given twice", name)
		}
		seen[name] = true
		if err := c.set(name, value); err != nil {
			return nil, &action.UsageError{Err: fmt.Errorf("%s: %w", name, err)}
		}
	}
	for _, required := range []struct{ name, value string }{
		{"--spec", c.spec},
		{"--config", c.imageConfig},
		{"--manifest", c.manifest},
		{"--output", c.output},
		{"--digest-file", c.digestFile},
	} {
		if required.value == "" {
			return nil, action.Usagef("%s is missing", required.name)
		}
	}
	if len(c.blobs) != len(c.digestFiles) {
		return nil, action.Usagef("--layer=%s: want its --blob behind it", c.digestFiles[len(c.digestFiles)-1])
	}
	outputs := []string{c.output, c.digestFile, c.mtree}
	for i, o := range outputs {
		if o != "" && slices.ContainsFunc(outputs[:i], func(p string) bool { return p != "" && filepath.Clean(p) == filepath.Clean(o) }) {
			return nil, action.Usagef("two outputs name the same file %s", o)
		}
	}
	if err := layer.CheckLevel(c.layer.Compression, c.layer.Level); err != nil {
		return nil, action.Usagef("--level: %w", err)
	}
	return c, nil
}

func (c *config) set(name, value string) (err error) {
	switch name {
	case "--spec":
		c.spec = value
	case "--config":
		c.imageConfig = value
	case "--manifest":
		c.manifest = value
	case "--layer":
		if len(c.blobs) != len(c.digestFiles) {
			return errors.New("want the --blob of the one before it first")
		}
		c.digestFiles = append(c.digestFiles, value)
	case "--blob":
		if len(c.blobs) >= len(c.digestFiles) {
			return errors.New("want its --layer before it")
		}
		c.blobs = append(c.blobs, value)
	case "--base":
		c.base = value
	case "--base-name":
		c.baseName = value
	case "--output":
		c.output = value
	case "--digest-file":
		c.digestFile = value
	case "--mtree":
		c.mtree = value
	case "--compression":
		c.layer.Compression = value
		if !slices.Contains(layer.Compressions(), value) {
			err = fmt.Errorf("%q: want one of %s", value, strings.Join(layer.Compressions(), ", "))
		}
	case "--level":
		c.layer.Level = value // Which there are depends on the compression.
	case "--workers":
		c.layer.Workers, err = strconv.Atoi(value)
		if err != nil || c.layer.Workers < 1 {
			err = fmt.Errorf("%q: want a number of 1 or more", value)
		}
	default:
		err = errors.New("no such argument")
	}
	return err
}
