package main

import (
	"context"
	"io"

	"github.com/rules-strata/rules_strata/tool/action"
	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/filelayer"
)

// write makes the outputs.
func (c *config) write(ctx context.Context) error {
	spec, err := c.registration.Spec()
	if err != nil {
		return err
	}
	outputs := action.LayerOutputs{Blob: c.output, DigestFile: c.digestFile}
	return outputs.Write(func(blob, _ io.Writer) (*digestfile.File, error) {
		return filelayer.Write(ctx, blob, spec, filelayer.Sources{}, c.layer)
	})
}
