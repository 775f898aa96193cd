package main

import (
	"context"
	"fmt"
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
	var outputs []*atomicfile.File
	create := func(name, path string) (*atomicfile.File, error) {
		f, err := atomicfile.Create(path)
		if err != nil {
			return nil, fmt.Errorf("%s=%s: %w", name, path, err)
		}
		outputs = append(outputs, f)
		return f, nil
	}
	defer func() {
		for _, f := range outputs {
			f.Abort()
		}
	}()
	blob, err := create("--output", c.output)
	if err != nil {
		return err
	}
	digests, err := create("--digest-file", c.digestFile)
	if err != nil {
		return err
	}
	if c.mtree != "" {
		listing, err := create("--mtree", c.mtree)
		if err != nil {
			return err
		}
		c.layer.Mtree = listing
	}
	result, err := filelayer.Write(ctx, blob, &c.spec, filelayer.Sources{
		NAR: func(p store.Path) (layer.NAR, error) {
			for _, n := range nars {
				if n.File.StorePath == p {
					return n, nil
				}
			}
			return layer.NAR{}, fmt.Errorf("%s: no --nar is given of it", p)
		},
		TempFile: narsource.TempFiles(c.output),
	}, c.layer)
	if err != nil {
		return err
	}
	if err := writeDigests(digests, result); err != nil {
		return err
	}
	return atomicfile.CommitAll(outputs...)
}

// writeVerbatim makes the output of the command tar.
func (c *config) writeVerbatim(ctx context.Context) error {
	in, err := os.Open(c.tar)
	if err != nil {
		return err
	}
	defer in.Close()
	digests, err := atomicfile.Create(c.digestFile)
	if err != nil {
		return fmt.Errorf("--digest-file=%s: %w", c.digestFile, err)
	}
	defer digests.Abort()
	result, err := filelayer.Verbatim(ctx, in, c.layer.Compression)
	if err != nil {
		return fmt.Errorf("%s: %w", c.tar, err)
	}
	if err := writeDigests(digests, result); err != nil {
		return err
	}
	return digests.Commit()
}

func writeDigests(to *atomicfile.File, result *digestfile.File) error {
	text, err := result.Marshal()
	if err == nil {
		_, err = to.Write(text)
	}
	return err
}
