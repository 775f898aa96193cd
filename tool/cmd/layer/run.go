package main

import (
	"context"
	"io"

	"github.com/rules-strata/rules_strata/tool/action"
	"github.com/rules-strata/rules_strata/tool/digestfile"
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
	outputs := action.LayerOutputs{Blob: c.output, DigestFile: c.digestFile, Mtree: c.mtree}
	return outputs.Write(func(blob, mtree io.Writer) (*digestfile.File, error) {
		o := c.options
		o.Mtree, o.TempFile = mtree, narsource.TempFiles(c.output)
		return layer.Write(ctx, blob, nars, o)
	})
}
