package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/rules-strata/rules_strata/tool/atomicfile"
	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/filelayer"
	"github.com/rules-strata/rules_strata/tool/layer"
	"github.com/rules-strata/rules_strata/tool/narsource"
	"github.com/rules-strata/rules_strata/tool/store"
)

// writeLayer makes the outputs of the command layer.
func (c *config) writeLayer(ctx context.Context) error {
	nars, err := narsource.NARs(c.nars, "strata-files")
	if err != nil {
		return err
	}
	return c.outputs.Write(func(blob, mtree io.Writer) (*digestfile.File, error) {
		o := c.layer
		o.Mtree = mtree
		return filelayer.Write(ctx, blob, &c.spec, filelayer.Sources{
			NAR: func(p store.Path) (layer.NAR, error) {
				for _, n := range nars {
					if n.File.StorePath == p {
						return n, nil
					}
				}
				return layer.NAR{}, fmt.Errorf("%s: no --nar is given of it", p)
			},
			TempFile: narsource.TempFiles(c.outputs.Blob),
		}, o)
	})
}

// writeVerbatim makes the output of the command tar.
func (c *config) writeVerbatim(ctx context.Context) error {
	in, err := os.Open(c.tar)
	if err != nil {
		return err
	}
	defer in.Close()
	digests, err := atomicfile.Create(c.outputs.DigestFile)
	if err != nil {
		return fmt.Errorf("--digest-file=%s: %w", c.outputs.DigestFile, err)
	}
	defer digests.Abort()
	result, err := filelayer.Verbatim(ctx, in, c.layer.Compression)
	if err != nil {
		return fmt.Errorf("%s: %w", c.tar, err)
	}
	text, err := result.Marshal()
	if err != nil {
		return err
	}
	if _, err := digests.Write(text); err != nil {
		return err
	}
	return digests.Commit()
}
