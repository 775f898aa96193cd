// Command files is the action binary behind file_layer, root_layer, etc_layer
// and tar_layer: it turns files of the build into a layer and its digest file.
//
// It is a binary of its own, apart from tool/cmd/layer: what changes here makes
// no layer of store paths anew in anyone's cache. All that it knows of layers is
// in package filelayer; here are the arguments and the outputs (whole or not at all).
package main

import (
	"context"

	"github.com/rules-strata/rules_strata/tool/action"
)

func main() {
	program.Main()
}

var program = action.Program{Name: "files", Help: help, Do: do}

func do(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return action.Usagef("want a command: layer or tar")
	}
	switch command, args := args[0], args[1:]; command {
	case "layer":
		c, err := parseLayer(args)
		if err != nil {
			return err
		}
		return c.writeLayer(ctx)
	case "tar":
		c, err := parseTar(args)
		if err != nil {
			return err
		}
		return c.writeVerbatim(ctx)
	default:
		return action.Usagef("%q is no command: want layer or tar", command)
	}
}
