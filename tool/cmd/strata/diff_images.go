package main

import (
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/imagefile"
	"github.com/rules-strata/rules_strata/tool/inventory"
	"github.com/rules-strata/rules_strata/tool/lock"
	"github.com/rules-strata/rules_strata/tool/plan"
	"github.com/rules-strata/rules_strata/tool/store"
)

// imageDiffJSON is what --json writes of two images.
type imageDiffJSON struct {
	Packages []lock.PackageChange `json:"packages"`
	Paths    lock.PathChanges     `json:"paths"`
	// LayersKept and LayersNew are numbers of the new image's layers, by blob; BytesNew is what has to be
	// transferred to who has the old one, BytesKept what hasn't.
	LayersKept int   `json:"layers_kept"`
	LayersNew  int   `json:"layers_new"`
	BytesKept  int64 `json:"bytes_kept"`
	BytesNew   int64 `json:"bytes_new"`
	// SameConfig says that settings and layers are the same.
	SameConfig bool `json:"same_config"`
	// Files is there with --files.
	Files *fileDiffJSON `json:"files,omitempty"`
}

// looksLikeImage says whether an argument is an image and no lock, as far as its first byte and its kind tell.
func looksLikeImage(arg string) bool {
	info, err := os.Stat(arg)
	if err != nil {
		return isLabel(arg) || isReference(arg)
	}
	if !info.Mode().IsRegular() {
		return info.IsDir()
	}
	f, err := os.Open(arg)
	if err != nil {
		return false
	}
	defer f.Close()
	var first [1]byte
	_, err = io.ReadFull(f, first[:])
	return err == nil && first[0] != '{' && first[0] != ' ' && first[0] != '\n'
}

// comparedImage is one of two images.
type comparedImage struct {
	*openImage
	paths *inventory.Inventory
	// shallow says that the paths are what the history tells, without sizes.
	shallow bool
}

// openCompared opens an image and finds its store paths. Layers of one in a registry are fetched if they have to be.
func openCompared(cmd *cobra.Command, arg string, flags *imageFlags, layers bool) (_ *comparedImage, err error) {
	c := &comparedImage{}
	if c.openImage, err = flags.openWith(cmd, arg, layers); err != nil {
		return nil, err
	}
	if !layers && c.remote && !toldByHistory(c.Image) {
		c.Close()
		return openCompared(cmd, arg, flags, true)
	}
	progress := newProgress(cmd)
	progress.show("reading %s", arg)
	defer progress.clear()
	if c.paths, c.shallow, err = readInventory(cmd.Context(), c.Image); err != nil {
		c.Close()
		return nil, fmt.Errorf("%s: %w", arg, err)
	}
	return c, nil
}

// toldByHistory says whether strata made every layer of an image, and so tells what store paths are in each.
func toldByHistory(img *imagefile.Image) bool {
	for _, h := range layerHistory(img) {
		if h.CreatedBy != image.HistoryCreatedBy {
			return false
		}
	}
	return true
}

// asLock is what is known of the store paths, as a lock says it. Sizes are left out unless they are wanted.
func (c *comparedImage) asLock(sizes bool) *lock.Lock {
	l := &lock.Lock{Paths: map[store.Path]*lock.Path{}, Plan: &plan.Plan{}}
	for _, p := range c.paths.Paths {
		path := &lock.Path{NarHash: p.NarHash}
		if sizes {
			path.NarSize = p.NarSize
		}
		l.Paths[p.Path] = path
	}
	return l
}

func diffImages(cmd *cobra.Command, before, after string, flags *imageFlags, files, asJSON bool) error {
	was, err := openCompared(cmd, before, flags, files)
	if err != nil {
		return stopped(cmd.Context(), err)
	}
	defer was.Close()
	is, err := openCompared(cmd, after, flags, files)
	if err != nil {
		return stopped(cmd.Context(), err)
	}
	defer is.Close()
	sizes := !was.shallow && !is.shallow
	d := lock.Compare(was.asLock(sizes), is.asLock(sizes))
	out := imageDiffJSON{Packages: d.Packages, Paths: d.Paths, SameConfig: was.Image.ConfigDescriptor.Digest == is.Image.ConfigDescriptor.Digest}
	there := map[digest.Digest]bool{}
	for _, l := range was.Image.Layers {
		there[l.Descriptor.Digest] = true
	}
	for _, l := range is.Image.Layers {
		if there[l.Descriptor.Digest] {
			out.LayersKept++
			out.BytesKept += l.Descriptor.Size
		} else {
			out.LayersNew++
			out.BytesNew += l.Descriptor.Size
		}
	}
	if files {
		if out.Files, err = diffFiles(cmd, was, is); err != nil {
			return stopped(cmd.Context(), err)
		}
	}
	if asJSON {
		return writeJSON(cmd.OutOrStdout(), out)
	}
	var t table
	packageRows(&t, d, sizes)
	pathRows(&t, d, sizes)
	if files {
		fileRows(&t, out.Files)
	}
	t.head("")
	t.row("paths", fmt.Sprintf("%d added, %d removed, %d kept", len(d.Paths.Added), len(d.Paths.Removed), d.New.Paths-len(d.Paths.Added)))
	t.row("layers", fmt.Sprintf("%d new (%s), %d kept (%s)", out.LayersNew, formatBytes(out.BytesNew), out.LayersKept, formatBytes(out.BytesKept)))
	if out.SameConfig {
		t.row("config", "the same")
	} else {
		t.row("config", "another one")
	}
	_, err = io.WriteString(cmd.OutOrStdout(), t.String())
	return err
}

func diffFiles(cmd *cobra.Command, before, after *comparedImage) (*fileDiffJSON, error) {
	progress := newProgress(cmd)
	progress.show("comparing files")
	defer progress.clear()
	was, err := imageFiles(cmd.Context(), before.Image)
	if err != nil {
		return nil, err
	}
	is, err := imageFiles(cmd.Context(), after.Image)
	if err != nil {
		return nil, err
	}
	return compareFiles(was, is), nil
}
