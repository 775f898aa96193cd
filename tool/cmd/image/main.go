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
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/rules-strata/rules_strata/tool/paramfile"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // A second signal ends the process at once.
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

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

// usageError is a command line that can't be understood: exit code 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, a ...any) error { return usageError{fmt.Errorf(format, a...)} }

// run is the command without the process: arguments without the program's
// name, and the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	err := dispatch(ctx, args, stdout)
	if err == nil {
		return exitOK
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("interrupted: %w", context.Cause(ctx))
	}
	fmt.Fprintln(stderr, "image: error:", err)
	if errors.As(err, new(usageError)) {
		fmt.Fprintln(stderr, "image: hint: image --help shows all arguments")
		return exitUsage
	}
	return exitFailed
}

func dispatch(ctx context.Context, args []string, stdout io.Writer) error {
	args, err := paramfile.Expand(args)
	if err != nil {
		return err
	}
	for _, a := range args {
		if a == "--help" || a == "-h" || a == "help" {
			_, err := io.WriteString(stdout, usage)
			return err
		}
	}
	if len(args) == 0 {
		return usagef("want a command: %s", commands)
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
		return usagef("%q is no command: want %s", name, commands)
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
			return usagef("image %s: %q: no such argument", command, a)
		case !ok || value == "":
			return usagef("image %s: %s: want %s=VALUE", command, name, name)
		}
		if err := set(value); err != nil {
			return usagef("image %s: %s: %w", command, a, err)
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
			return usagef("image %s: want %s=VALUE", command, pairs[i])
		}
	}
	return nil
}
