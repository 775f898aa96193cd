// Command run is the action binary behind run_layer: it runs a program of an image over the image, and makes a layer of
// what the program changed, with its digest file.
//
// All that it knows of that is in package runlayer; here are the arguments and the outputs (whole or not at all).
package main

import (
	"context"

	"github.com/rules-strata/rules_strata/tool/action"
	"github.com/rules-strata/rules_strata/tool/runlayer"
)

func main() {
	runlayer.Main()
	program.Main()
}

var program = action.Program{Name: "run", Help: help, Do: do}

func do(ctx context.Context, args []string) error {
	c, err := parse(args)
	if err != nil {
		return err
	}
	return c.write(ctx)
}
