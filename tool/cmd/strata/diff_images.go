package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/rules-strata/rules_strata/tool/imagefile"
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
}

// looksLikeImage says whether a file is an image and no lock, as far as its first byte and its kind tell.
func looksLikeImage(path string) bool {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return err == nil && info.IsDir()
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	var first [1]byte
	_, err = io.ReadFull(f, first[:])
	return err == nil && first[0] != '{' && first[0] != ' ' && first[0] != '\n'
}

func diffImages(cmd *cobra.Command, before, after string, flags *imageFlags, asJSON bool) error {
	progress := newProgress(cmd.ErrOrStderr())
	progress.show("reading the images")
	defer progress.clear()
	was, oldImage, err := imageAsLock(cmd.Context(), before, flags)
	if err != nil {
		return stopped(cmd.Context(), err)
	}
	is, newImage, err := imageAsLock(cmd.Context(), after, flags)
	if err != nil {
		return stopped(cmd.Context(), err)
	}
	progress.clear()
	d := lock.Compare(was, is)
	out := imageDiffJSON{Packages: d.Packages, Paths: d.Paths, SameConfig: oldImage.ConfigDescriptor.Digest == newImage.ConfigDescriptor.Digest}
	there := map[digest.Digest]bool{}
	for _, l := range oldImage.Layers {
		there[l.Descriptor.Digest] = true
	}
	for _, l := range newImage.Layers {
		if there[l.Descriptor.Digest] {
			out.LayersKept++
			out.BytesKept += l.Descriptor.Size
		} else {
			out.LayersNew++
			out.BytesNew += l.Descriptor.Size
		}
	}
	if asJSON {
		return writeJSON(cmd.OutOrStdout(), out)
	}
	var t table
	packageRows(&t, d)
	pathRows(&t, d)
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

// imageAsLock is what an image's layers say of its store paths, as a lock says it.
func imageAsLock(ctx context.Context, path string, flags *imageFlags) (*lock.Lock, *imagefile.Image, error) {
	file, img, err := flags.open(path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	inv, _, err := readInventory(ctx, img)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	l := &lock.Lock{Paths: map[store.Path]*lock.Path{}, Plan: &plan.Plan{}}
	for _, p := range inv.Paths {
		l.Paths[p.Path] = &lock.Path{NarHash: p.NarHash, NarSize: p.NarSize}
	}
	return l, img, nil
}
