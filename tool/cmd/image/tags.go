package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/rules-strata/rules_strata/tool/action"
	"github.com/rules-strata/rules_strata/tool/atomicfile"
	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/store"
)

// tags is the StrataTags action: all names of an image, one a line.
func tags(_ context.Context, args []string) error {
	var n image.Naming
	var output string
	var status []string
	stamp := image.Stamp{Defaults: map[string]string{}}
	live := false
	flags := action.Flags{
		"--tag":          action.List(&n.Tags),
		"--tag-file":     action.List(&n.Files),
		"--default-name": action.Text(&n.Default),
		"--root": func(v string) error {
			p, err := store.ParsePath(v)
			n.Roots = append(n.Roots, p)
			return err
		},
		"--stamp":      action.Switch(&live),
		"--stamp-file": action.List(&status),
		"--stamp-default": func(v string) error {
			key, value, ok := strings.Cut(v, "=")
			if !ok {
				return errors.New("want KEY=VALUE")
			}
			stamp.Defaults[key] = value
			return nil
		},
		"--output": action.Text(&output),
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := action.Require("--output", output); err != nil {
		return err
	}
	if live {
		n.Stamp = &stamp
	}
	var err error
	if stamp.Status, err = image.ReadStatus(status...); err != nil {
		return err
	}
	names, err := n.Names()
	if err != nil {
		return err
	}
	out, err := atomicfile.Create(output)
	if err != nil {
		return err
	}
	defer out.Abort()
	for _, name := range names {
		if _, err := fmt.Fprintln(out, name); err != nil {
			return err
		}
	}
	return out.Commit()
}

// readTags reads what tags wrote.
func readTags(path string) ([]string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return strings.Fields(string(b)), nil
}
