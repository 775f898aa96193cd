package main

import (
	"context"

	"github.com/rules-strata/rules_strata/tool/action"
	"github.com/rules-strata/rules_strata/tool/image"
)

// layout is the StrataLayout action.
func layout(ctx context.Context, args []string) error {
	var p parts
	var outputDir string
	known := p.flags()
	known["--output-dir"] = action.Text(&outputDir)
	if err := known.Parse(args); err != nil {
		return err
	}
	if err := p.check(); err != nil {
		return err
	}
	if err := action.Require("--output-dir", outputDir); err != nil {
		return err
	}
	content, blobs, done, err := p.read()
	if err != nil {
		return err
	}
	defer done()
	return image.WriteLayout(ctx, outputDir, content, blobs, p.tags, image.Symlink)
}
