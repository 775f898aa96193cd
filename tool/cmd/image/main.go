// Command image makes container images out of layers' digest files: config and
// manifest, the index over several images, the archives that clients load, the OCI image layout. It is the
// binary of the StrataImage, StrataIndex, StrataArchive, StrataLayout and StrataNixery actions, so it is
// kept small: nothing but what those need may change their cache keys.
//
// What it writes is package tool/image; this package knows the command line.
package main

import (
	"context"
	"errors"
	"strings"

	"github.com/rules-strata/rules_strata/tool/action"
)

func main() { program.Main() }

var program = action.Program{Name: "image", Help: usage, Do: do}

const usage = `image makes container images out of layers' digest files.

usage:
  image manifest --settings=FILE [--config-json=FILE] [--label-file=FILE]... [--annotation-file=FILE]... [--stamp-file=FILE]...
                 [BASE] [--base-config=FILE --base-manifest=FILE [--base-layer=DIGESTFILE]...] --layer=DIGESTFILE...
                 --config-output=FILE --manifest-output=FILE --descriptor-output=FILE --digest-output=FILE
  image tags     [--tag=NAME[:TAG]]... [--tag-file=FILE]... [--root=STOREPATH]... [--default-name=KIND]
                 [--stamp=1 [--stamp-file=FILE]... [--stamp-default=KEY=VALUE]...] --output=FILE
  image index    --descriptor=FILE... [--annotation=NAME=VALUE]... --index-output=FILE --descriptor-output=FILE --digest-output=FILE
  image archive  [--index=FILE] (--config=FILE --manifest=FILE)... (--layer=DIGESTFILE --blob=FILE)... [BASE]... [--tag=NAME[:TAG]]...
                 [--tags-file=FILE] [--format=FORMAT] [--legacy=true] [--compression=none|gzip|zstd] --output=FILE
  image layout   [--index=FILE] (--config=FILE --manifest=FILE)... (--layer=DIGESTFILE --blob=FILE)... [BASE]... [--tag=NAME[:TAG]]...
                 [--tags-file=FILE] --output-dir=DIR
  image nixery   --config=FILE --manifest=FILE (--layer=DIGESTFILE --blob=FILE)... [BASE]... --output-dir=DIR

BASE is an image to build on, in an OCI layout (its directory, or the index.json in it) or in an
archive: --base=FILE [--base-name=NAME].

manifest  writes an image's config, manifest, the manifest's OCI descriptor and its
          digest. The layers come lowest first; their blobs are not read.
tags      writes an image's names, one a line.
index     writes the index of images for several platforms, by their descriptors, which may
          come in any order, with its own descriptor and digest.
archive   writes one tar. FORMAT is archive (the default: for docker load, podman load, skopeo
          and ctr images import), docker-archive (manifest.json, layers decompressed; with --legacy=true
          also what docker before 1.10 reads) or oci-archive. Each blob is checked on the way.
layout    writes an OCI image layout whose layers are relative links to the blobs.
nixery    writes what Nixery's image builder gives its server: manifest-output.json, and
          beside it the config and links to the blobs.

An argument @FILE stands for the arguments in FILE, one a line, as they are.
`

const commands = "manifest, tags, index, archive, layout or nixery"

func do(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return action.Usagef("want a command: %s", commands)
	}
	switch name, args := args[0], args[1:]; name {
	case "manifest":
		return manifest(ctx, args)
	case "tags":
		return tags(ctx, args)
	case "index":
		return index(args)
	case "archive":
		return archive(ctx, args)
	case "layout":
		return layout(ctx, args)
	case "nixery":
		return nixery(ctx, args)
	default:
		return action.Usagef("%q is no command: want %s", name, commands)
	}
}

// flags takes the arguments --NAME=VALUE apart, in their order, and calls the
// function of each name with its value.
func flags(command string, args []string, known map[string]func(value string) error) error {
	for _, a := range args {
		name, value, ok := strings.Cut(a, "=")
		set := known[name]
		switch {
		case set == nil:
			return action.Usagef("image %s: %q: no such argument", command, a)
		case !ok || value == "":
			return action.Usagef("image %s: %s: want %s=VALUE", command, name, name)
		}
		if err := set(value); err != nil {
			return action.Usagef("image %s: %s: %w", command, a, err)
		}
	}
	return nil
}

// once sets a value that can be given one time.
func once(to *string) func(string) error {
	return func(value string) error {
		if *to != "" {
			return errors.New("given twice")
		}
		*to = value
		return nil
	}
}

// required names the first argument of the pairs (name, value) that has no value.
func required(command string, pairs ...string) error {
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			return action.Usagef("image %s: want %s=VALUE", command, pairs[i])
		}
	}
	return nil
}
