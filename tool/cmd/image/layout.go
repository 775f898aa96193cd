package main

import (
	"context"

	"github.com/rules-strata/rules_strata/tool/image"
)

// layout is the StrataLayout action.
func layout(ctx context.Context, args []string) error {
	const command = "layout"
	var p parts
	var outputDir string
	known := p.flags()
	known["--output-dir"] = once(&outputDir)
	if err := flags(command, args, known); err != nil {
		return err
	}
	if err := p.check(command); err != nil {
		return err
	}
	if err := required(command, "--output-dir", outputDir); err != nil {
		return err
	}
	content, blobs, done, err := p.read()
	if err != nil {
		return err
	}
	defer done()
	return image.WriteLayout(ctx, outputDir, content, blobs, p.tags, image.Symlink)
}
