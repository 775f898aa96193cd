package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/imagefile"
)

// imageFlags say which image is meant, of those that an argument IMAGE names: a file, a target of
// Bazel's, or a reference to a registry.
type imageFlags struct {
	name     string
	platform string
	// forHere says that of several images the one for this machine is meant, if platform says nothing.
	forHere bool
	trust   trustFlags
	network fetchFlags
}

// imageArguments is what help says of the argument IMAGE.
const imageArguments = `
IMAGE is an OCI layout or an archive (docker's, OCI's, or what strata build makes);
or a target of Bazel's that was built (//app:image; Bazel, or $BAZEL, is asked for its file); or an image
in a registry (registry.example.org/team/web:1.0; without tag and digest it is the one with the tag latest;
without a registry, docker's own).`

func (f *imageFlags) register(fl *pflag.FlagSet) {
	fl.StringVar(&f.name, "image", "", "which image, where the file has several: a `NAME`, a layout's tag or a digest")
	fl.StringVar(&f.platform, "platform", "", "which image of an index: `OS/ARCHITECTURE[/VARIANT]`")
	f.trust.register(fl)
	f.network.register(fl)
}

// openImage is an image that is open, wherever it was.
type openImage struct {
	*imagefile.File
	Image *imagefile.Image
	// remote says that it came from a registry; pinned is then the reference, with the digest of what it names.
	remote bool
	pinned string

	temporary string // the folder to remove
}

// Close closes the file, and removes what was fetched.
func (o *openImage) Close() {
	if o.File != nil {
		o.File.Close()
	}
	if o.temporary != "" {
		os.RemoveAll(o.temporary)
	}
}

// open opens the image that an argument means, with its layers. The caller closes it.
func (f *imageFlags) open(cmd *cobra.Command, arg string) (*openImage, error) {
	return f.openWith(cmd, arg, true)
}

// openNamed is open, of an image that gets the names of the flag --tag.
func (f *imageFlags) openNamed(cmd *cobra.Command, arg string, tags []string) (*openImage, []string, error) {
	o, err := f.open(cmd, arg)
	if err != nil {
		return nil, nil, err
	}
	names, err := tagNames(tags, o.Image)
	if err != nil {
		o.Close()
		return nil, nil, err
	}
	return o, names, nil
}

// openWith is open; without layers, those of an image in a registry aren't fetched.
func (f *imageFlags) openWith(cmd *cobra.Command, arg string, layers bool) (*openImage, error) {
	if isReference(arg) {
		return f.remoteImage(cmd, arg, layers)
	}
	path, err := imagePath(cmd, arg)
	if err != nil {
		return nil, err
	}
	o := &openImage{}
	if o.File, err = imagefile.Open(path); err != nil {
		return nil, advisePath(arg, err)
	}
	if o.Image, err = f.choose(o.File); err != nil {
		o.Close()
		return nil, err
	}
	return o, nil
}

// openAll opens a file with all its images, in a registry of all platforms, and returns where it is. The caller closes it.
func (f *imageFlags) openAll(cmd *cobra.Command, arg string) (*openImage, string, error) {
	if isReference(arg) {
		return f.remoteImages(cmd, arg)
	}
	path, err := imagePath(cmd, arg)
	if err != nil {
		return nil, "", err
	}
	file, err := imagefile.Open(path)
	return &openImage{File: file}, path, advisePath(arg, err)
}

// imagePath is the file that an argument means, which is no reference: itself, or what a label's target builds.
func imagePath(cmd *cobra.Command, arg string) (string, error) {
	if arg == "" { // As of a variable that isn't set.
		return "", usagef("IMAGE is empty")
	}
	if _, err := os.Lstat(arg); err == nil || !isLabel(arg) {
		return arg, nil
	}
	path, err := labelFile(cmd.Context(), arg)
	return path, stopped(cmd.Context(), err)
}

// advisePath adds to an error about a file that isn't there what else an argument may be.
func advisePath(arg string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) || strings.HasPrefix(arg, "/") || strings.HasPrefix(arg, ".") || !strings.Contains(arg, "/") && slices.Contains(fileExtensions, filepath.Ext(arg)) {
		return err
	}
	hint := "an image in a registry is named with the registry or the tag: "
	if !saysHost(arg) {
		hint += "docker.io/" + arg + ", or "
	}
	return &hinted{err, hint + arg + ":latest"}
}

func (f *imageFlags) choose(file *imagefile.File) (*imagefile.Image, error) {
	if f.platform == "" {
		if f.forHere {
			return file.SelectFor(f.name, ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH})
		}
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
