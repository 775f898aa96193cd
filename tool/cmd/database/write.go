package main

import (
	"context"
	"fmt"

	"github.com/rules-strata/rules_strata/tool/atomicfile"
	"github.com/rules-strata/rules_strata/tool/filelayer"
)

// write makes the outputs.
func (c *config) write(ctx context.Context) error {
	spec, err := c.registration.Spec()
	if err != nil {
		return err
	}
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
	result, err := filelayer.Write(ctx, blob, spec, filelayer.Sources{}, c.layer)
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
	return atomicfile.CommitAll(blob, digests)
}
