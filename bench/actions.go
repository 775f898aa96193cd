package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rules-strata/rules_strata/tool/nar"
)

// actionRuns is how many layers of 1 kB are made.
const actionRuns = 1000

// actions makes many layers of one small store path, each by a process of its own, in turns with `true`.
func (b *bench) actions(ctx context.Context) error {
	input, err := b.synthetic("small", func(w *nar.Writer) error {
		if err := w.WriteEntry(&nar.Entry{Kind: nar.Regular, Size: 1000}); err != nil {
			return err
		}
		_, err := w.Write(make([]byte, 1000))
		return err
	})
	if err != nil {
		return err
	}
	dir := filepath.Join(b.tmp, "actions")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	args, err := b.argsFile("actions", input.group(0))
	if err != nil {
		return err
	}
	names := []string{"`true`", "a layer, uncompressed", "a layer, gzip", "a layer, zstd"}
	stages := []stage{
		{argv: []string{"true"}},
		b.layerStage(dir, "none", args),
		b.layerStage(dir, "gzip", args),
		b.layerStage(dir, "zstd", args),
	}
	totals := make([]usage, len(stages))
	for range actionRuns {
		for i, s := range stages {
			if err := totals[i].pipe(ctx, "", s); err != nil {
				return fmt.Errorf("%s: %w", names[i], err)
			}
		}
	}
	b.report.actions(names, totals)
	return nil
}
