package main

import (
	"context"

	"github.com/rules-strata/rules_strata/tool/action"
	"github.com/rules-strata/rules_strata/tool/image"
)

// nixery is the StrataNixery action.
func nixery(ctx context.Context, args []string) error {
	var p parts
	var outputDir string
	known := p.flags()
	delete(known, "--index")
	delete(known, "--tag")
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
	// Without --index it is a single image.
	return image.WriteNixery(ctx, outputDir, content.(*image.Image), blobs, image.Symlink)
}
