package main

import (
	"context"
	"io"

	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/filelayer"
)

// write makes the outputs.
func (c *config) write(ctx context.Context) error {
	spec, err := c.registration.Spec()
	if err != nil {
		return err
	}
	return c.outputs.Write(func(blob, mtree io.Writer) (*digestfile.File, error) {
		o := c.layer
		o.Mtree = mtree
		return filelayer.Write(ctx, blob, spec, filelayer.Sources{}, o)
	})
}
