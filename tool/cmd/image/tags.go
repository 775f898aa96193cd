package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/rules-strata/rules_strata/tool/atomicfile"
	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/store"
)

// tags is the StrataTags action: all names of an image, one a line.
func tags(_ context.Context, args []string) error {
	const command = "tags"
	var n image.Naming
	var output string
	var status []string
	stamp := image.Stamp{Defaults: map[string]string{}}
	if err := flags(command, args, map[string]func(string) error{
		"--tag":          func(v string) error { n.Tags = append(n.Tags, v); return nil },
		"--tag-file":     func(v string) error { n.Files = append(n.Files, v); return nil },
		"--default-name": once(&n.Default),
		"--root": func(v string) error {
			p, err := store.ParsePath(v)
			n.Roots = append(n.Roots, p)
			return err
		},
		"--stamp": func(v string) error {
			if v != "1" {
				return errors.New("want --stamp=1")
			}
			n.Stamp = &stamp
			return nil
		},
		"--stamp-file": func(v string) error { status = append(status, v); return nil },
		"--stamp-default": func(v string) error {
			key, value, ok := strings.Cut(v, "=")
			if !ok {
				return errors.New("want KEY=VALUE")
			}
			stamp.Defaults[key] = value
			return nil
		},
		"--output": once(&output),
	}); err != nil {
		return err
	}
	if err := required(command, "--output", output); err != nil {
		return err
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
