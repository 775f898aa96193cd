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
	"fmt"

	"github.com/rules-strata/rules_strata/tool/action"
)

func main() { program.Main() }

var program = action.Program{Name: "image", Help: help, Do: do}

const help = `image makes container images out of layers' digest files.

usage:
  image manifest --settings=FILE [--config-json=FILE] [--label-file=FILE]... [--annotation-file=FILE]... [--stamp-file=FILE]...
                 [BASE] [--base-config=FILE --base-manifest=FILE [--base-layer=DIGESTFILE]...] --layer=DIGESTFILE...
                 --config-output=FILE --manifest-output=FILE --descriptor-output=FILE --digest-output=FILE
  image tags     [--tag=NAME[:TAG]]... [--tag-file=FILE]... [--root=STOREPATH]... [--default-name=KIND]
                 [--stamp=true [--stamp-file=FILE]... [--stamp-default=KEY=VALUE]...] --output=FILE
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

var commands = map[string]func(ctx context.Context, args []string) error{
	"manifest": manifest,
	"tags":     tags,
	"index":    index,
	"archive":  archive,
	"layout":   layout,
	"nixery":   nixery,
}

func do(ctx context.Context, args []string) error {
	const want = "manifest, tags, index, archive, layout or nixery"
	if len(args) == 0 {
		return action.Usagef("want a command: %s", want)
	}
	command := commands[args[0]]
	if command == nil {
		return action.Usagef("%q is no command: want %s", args[0], want)
	}
	err := command(ctx, args[1:])
	var usage *action.UsageError
	if errors.As(err, &usage) {
		err = fmt.Errorf("%s: %w", args[0], err)
	}
	return err
}
