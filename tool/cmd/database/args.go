package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rules-strata/rules_strata/tool/action"
	"github.com/rules-strata/rules_strata/tool/database"
	"github.com/rules-strata/rules_strata/tool/layer"
	"github.com/rules-strata/rules_strata/tool/store"
)

var help = fmt.Sprintf(`database makes the layer by which Nix or Guix knows an image's store paths.

Usage: database --output=BLOB --digest-file=JSON --kind=KIND [options] --path=JSON...
       database @FILE        (one argument a line, taken as it is)

  --output=BLOB               where the blob goes
  --digest-file=JSON          where its digest file goes: descriptor, diff ID
  --mtree=FILE                where a listing of the layer goes, in the format of mtree(5)
  --compression=NAME          %s (default: the first)
  --kind=KIND                 nix or guix
  --registration-time=SECONDS when the paths were registered, in seconds since 1970 (default: %d)
  --root=STORE_PATH           a root of the garbage collector; repeatable
  --path=JSON                 a valid path: {"path": "/nix/store/…", "nar_hash": "sha256:…", "nar_size": "226552",
                              "references": ["/nix/store/…"], "signatures": ["KEY:…"], "content_address": "…"}; repeatable

On failure the exit code is 1 (2: wrong arguments), and no output is written.
`, strings.Join(layer.Compressions(), ", "), database.DefaultTime)

// config is what the arguments say.
type config struct {
	outputs      action.LayerOutputs
	layer        layer.Options
	registration database.Registration
}

func parse(args []string) (*config, error) {
	c := &config{registration: database.Registration{Time: database.DefaultTime}}
	r := &c.registration
	flags := action.Flags{
		"--compression": action.Once(c.layer.Setter("compression")),
		"--kind": action.Once(func(value string) error {
			r.Kind = database.Kind(value)
			if !slices.Contains(database.Kinds(), r.Kind) {
				return fmt.Errorf("%q: want nix or guix", value)
			}
			return nil
		}),
		"--registration-time": action.Once(func(value string) (err error) {
			if r.Time, err = strconv.ParseInt(value, 10, 64); err != nil || r.Time < 0 {
				return fmt.Errorf("%q: want a number of seconds, 0 or more", value)
			}
			return nil
		}),
		"--root": func(value string) error {
			root, err := store.ParsePath(value)
			r.Roots = append(r.Roots, root)
			return err
		},
		"--path": func(value string) error {
			p, err := database.ParsePath([]byte(value))
			r.Paths = append(r.Paths, p)
			return err
		},
	}
	c.outputs.Register(flags)
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if err := c.outputs.Check(); err != nil {
		return nil, err
	}
	return c, action.Require("--kind", string(r.Kind))
}
