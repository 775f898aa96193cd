package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/rules-strata/rules_strata/tool/atomicfile"
	"github.com/rules-strata/rules_strata/tool/layer"
	"github.com/rules-strata/rules_strata/tool/narsource"
	"github.com/rules-strata/rules_strata/tool/paramfile"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// run is the whole program: it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	switch err := build(ctx, args, stdout); {
	case err == nil:
		return exitOK
	case errors.As(err, new(usageError)):
		fmt.Fprintf(stderr, "layer: error: %v\nlayer: hint: layer --help lists the arguments\n", err)
		return exitUsage
	default:
		fmt.Fprintf(stderr, "layer: error: %v\n", err)
		var h interface{ Hint() string }
		if errors.As(err, &h) && h.Hint() != "" {
			fmt.Fprintf(stderr, "layer: hint: %s\n", h.Hint())
		}
		return exitFailure
	}
}

func build(ctx context.Context, args []string, stdout io.Writer) error {
	args, err := paramfile.Expand(args)
	if err != nil {
		return err
	}
	c, err := parse(args)
	if err != nil {
		return err
	}
	if c.help {
		_, err := io.WriteString(stdout, help)
		return err
	}
	nars, err := narsource.NARs(c.nars, "strata-layer")
	if err != nil {
		return err
	}
	return layer.Retry(nars, func() error { return c.write(ctx, nars) })
}

// write makes the outputs.
func (c *config) write(ctx context.Context, nars []layer.NAR) error {
	blob, err := atomicfile.Create(c.output)
	if err != nil {
		return fmt.Errorf("--output=%s: %w", c.output, err)
	}
	defer blob.Abort()
	digests, err := atomicfile.Create(c.digestFile)
	if err != nil {
		return fmt.Errorf("--digest-file=%s: %w", c.digestFile, err)
	}
	defer digests.Abort()

	outputs := []*atomicfile.File{blob, digests}
	if c.mtree != "" {
		mtree, err := atomicfile.Create(c.mtree)
		if err != nil {
			return fmt.Errorf("--mtree=%s: %w", c.mtree, err)
		}
		defer mtree.Abort()
		outputs = append(outputs, mtree)
		c.options.Mtree = mtree
	}
	c.options.TempFile = narsource.TempFiles(c.output)

	result, err := layer.Write(ctx, blob, nars, c.options)
	if err != nil {
		return err
	}
	text, err := result.Marshal()
	if err != nil {
		return err
	}
	if _, err := digests.Write(text); err != nil {
		return err
	}
	return atomicfile.CommitAll(outputs...)
}
