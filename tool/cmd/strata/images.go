package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/imagefile"
)

// imageFlags say which image of a file is meant.
type imageFlags struct {
	name     string
	platform string
}

func (f *imageFlags) register(fl *pflag.FlagSet) {
	fl.StringVar(&f.name, "image", "", "which image, where the file has several: a `NAME`, a layout's tag or a digest")
	fl.StringVar(&f.platform, "platform", "", "which image of an index: `OS/ARCHITECTURE[/VARIANT]`")
}

// open opens the image that is meant in the file at path. The caller closes the file.
func (f *imageFlags) open(path string) (*imagefile.File, *imagefile.Image, error) {
	file, err := imagefile.Open(path)
	if errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(path, "//") {
		err = &hinted{err, "for a target of Bazel's, name the file that it builds, or run the target's own load rule"}
	}
	if err != nil {
		return nil, nil, err
	}
	img, err := f.choose(file)
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return file, img, nil
}

func (f *imageFlags) choose(file *imagefile.File) (*imagefile.Image, error) {
	if f.platform == "" {
		return file.Select(f.name, nil)
	}
	p, err := image.ParsePlatform(f.platform)
	if err != nil {
		return nil, &usageError{fmt.Errorf("--platform: %w", err)}
	}
	return file.Select(f.name, p)
}

// tagNames returns the whole names that an image gets: those of the flag, or else its own.
func tagNames(tags []string, img *imagefile.Image) ([]string, error) {
	if len(tags) == 0 {
		return img.Names, nil
	}
	var names []string
	seen := map[image.Reference]bool{}
	for _, t := range tags {
		r, err := image.ParseReference(t)
		if err != nil {
			return nil, usagef("--tag: %w", err)
		}
		if seen[r] {
			return nil, usagef("--tag: %s is given twice", r)
		}
		seen[r] = true
		names = append(names, r.String())
	}
	return names, nil
}

// familiar is a name as docker shows it: "web:dev" for "docker.io/library/web:dev".
func familiar(name string) string {
	if short, ok := strings.CutPrefix(name, "docker.io/library/"); ok {
		return short
	}
	return strings.TrimPrefix(name, "docker.io/")
}

// oneArgument is for commands that take one image.
func oneArgument(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usagef("want one %s, found %d", what, len(args))
		}
		return nil
	}
}

// notTerminal refuses to write an archive onto a screen.
func notTerminal(cmd *cobra.Command) error {
	if out, ok := cmd.OutOrStdout().(*os.File); ok && term.IsTerminal(int(out.Fd())) {
		return usagef("standard output is a terminal; redirect it, or name a file by --output")
	}
	return nil
}
