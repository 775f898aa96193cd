package main

import (
	"context"
	"fmt"

	"github.com/rules-strata/rules_strata/tool/action"
	"github.com/rules-strata/rules_strata/tool/atomicfile"
	"github.com/rules-strata/rules_strata/tool/layer"
	"github.com/rules-strata/rules_strata/tool/narsource"
)

var program = action.Program{Name: "layer", Help: help, Do: build}

func build(ctx context.Context, args []string) error {
	c, err := parse(args)
	if err != nil {
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
