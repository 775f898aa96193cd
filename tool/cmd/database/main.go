// Command database is the action binary behind the databases of image: it makes the layer by which Nix or Guix, inside the image or
// over it, knows the image's store paths.
//
// It is a binary of its own since it alone needs SQLite. All that it knows of databases is in package database, of layers in
// package filelayer; here are the arguments and the outputs (whole or not at all).
package main

import (
	"context"

	"github.com/rules-strata/rules_strata/tool/action"
)

func main() {
	program.Main()
}

var program = action.Program{Name: "database", Help: help, Do: do}

func do(ctx context.Context, args []string) error {
	c, err := parse(args)
	if err != nil {
		return err
	}
	return c.write(ctx)
}
