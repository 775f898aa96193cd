package main

import (
	"errors"
	"fmt"
	"path/filepath"
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
	output       string
	digestFile   string
	layer        layer.Options
	registration database.Registration
}

func parse(args []string) (*config, error) {
	c := &config{registration: database.Registration{Time: database.DefaultTime}}
	seen := map[string]bool{}
	for _, a := range args {
		name, value, _ := strings.Cut(a, "=")
		if !strings.HasPrefix(name, "--") {
			return nil, action.Usagef("argument %q: want --name=value", a)
		}
		if value == "" {
			return nil, action.Usagef("argument %s: it takes a value: %s=…", a, name)
		}
		if seen[name] && name != "--root" && name != "--path" {
			return nil, action.Usagef("%s: given twice", name)
		}
		seen[name] = true
		if err := c.set(name, value); err != nil {
			return nil, &action.UsageError{Err: fmt.Errorf("%s: %w", name, err)}
		}
	}
	for _, name := range []string{"--output", "--digest-file", "--kind"} {
		if !seen[name] {
			return nil, action.Usagef("%s is missing", name)
		}
	}
	if filepath.Clean(c.output) == filepath.Clean(c.digestFile) {
		return nil, action.Usagef("two outputs name the same file %s", c.output)
	}
	return c, nil
}

// set takes an argument.
func (c *config) set(name, value string) (err error) {
	r := &c.registration
	switch name {
	case "--output":
		c.output = value
	case "--digest-file":
		c.digestFile = value
	case "--compression":
		c.layer.Compression = value
		if !slices.Contains(layer.Compressions(), value) {
			err = fmt.Errorf("%q: want one of %s", value, strings.Join(layer.Compressions(), ", "))
		}
	case "--kind":
		r.Kind = database.Kind(value)
		if !slices.Contains(database.Kinds(), r.Kind) {
			err = fmt.Errorf("%q: want nix or guix", value)
		}
	case "--registration-time":
		if r.Time, err = strconv.ParseInt(value, 10, 64); err != nil || r.Time < 0 {
			err = fmt.Errorf("%q: want a number of seconds, 0 or more", value)
		}
	case "--root":
		var root store.Path
		root, err = store.ParsePath(value)
		r.Roots = append(r.Roots, root)
	case "--path":
		var p database.Path
		p, err = database.ParsePath([]byte(value))
		r.Paths = append(r.Paths, p)
	default:
		err = errors.New("no such argument")
	}
	return err
}
