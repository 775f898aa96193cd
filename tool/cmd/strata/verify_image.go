package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/rules-strata/rules_strata/tool/imagefile"
	"github.com/rules-strata/rules_strata/tool/inventory"
	"github.com/rules-strata/rules_strata/tool/lock"
	"github.com/rules-strata/rules_strata/tool/validate"
)

// verifyImageJSON is what --json writes of an image.
type verifyImageJSON struct {
	Images int           `json:"images"`
	Blobs  int           `json:"blobs"`
	Bytes  int64         `json:"bytes"`
	Paths  int           `json:"paths"`
	Faults []verifyFault `json:"faults"`
}

// runImage recomputes all that an image says of itself, and, if a lock is given,
// holds its store paths to that.
func (f *verifyFlags) runImage(cmd *cobra.Command, arg string) error {
	for _, name := range []string{"project", "public-key", "allow-unsigned", "deep"} {
		if cmd.Flags().Changed(name) {
			return usagef("--%s is for a lock, not for an image", name)
		}
	}
	var l *lock.Lock
	if cmd.Flags().Changed("lock") {
		var err error
		if l, err = lock.Read(f.lock); err != nil {
			return err
		}
	}
	file, path, err := (&imageFlags{trust: f.registries, network: f.network}).openAll(cmd, arg)
	if err != nil {
		return err
	}
	defer file.Close()
	if file.Form == imagefile.Parts {
		return &hinted{fmt.Errorf("%s: these are what Bazel's rules keep of an image, and name no blob's file: there is little to check", arg), "make an archive of it first: strata stream " + arg + " -o FILE"}
	}
	progress := newProgress(cmd)
	progress.show("reading %s", arg)
	defer progress.clear()
	report, err := validate.Image(cmd.Context(), path, validate.WithAnyOrigin())
	if err != nil {
		return stopped(cmd.Context(), err)
	}
	out := verifyImageJSON{Images: len(report.Images), Blobs: report.Blobs, Bytes: report.Bytes, Faults: []verifyFault{}}
	for _, fault := range report.Faults {
		out.Faults = append(out.Faults, verifyFault{fault.Where, fault.What})
	}
	if len(out.Faults) == 0 { // Of bytes that aren't what they are said to be there is nothing more to say.
		images, err := file.Images()
		if err != nil {
			return err
		}
		for _, img := range images {
			paths, faults, err := checkPaths(cmd.Context(), img, l)
			if err != nil {
				return stopped(cmd.Context(), err)
			}
			out.Paths += paths
			out.Faults = append(out.Faults, faults...)
		}
	}
	progress.clear()
	if f.json {
		err = writeJSON(cmd.OutOrStdout(), out)
	} else if len(out.Faults) == 0 {
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is right: %d blobs (%s), %d store paths%s\n", arg, out.Blobs, formatBytes(out.Bytes), out.Paths,
			map[bool]string{true: " as " + f.lock + " has them"}[l != nil])
	}
	if err == nil && len(out.Faults) > 0 {
		err = imageFaults(arg, out.Faults)
	}
	return err
}

func imageFaults(path string, faults []verifyFault) error {
	all := []error{fmt.Errorf("%s: %d faults in it", path, len(faults))}
	for _, f := range faults {
		all = append(all, fmt.Errorf("%s: %s", f.Path, f.Text))
	}
	if len(all) == 2 {
		return fmt.Errorf("%s: %w", path, all[1])
	}
	return errors.Join(all...)
}

// checkPaths makes the NAR of every store path again; with a lock, it wants the hashes that
// the lock has, and all that the paths refer to.
func checkPaths(ctx context.Context, img *imagefile.Image, l *lock.Lock) (paths int, faults []verifyFault, err error) {
	var layers []inventory.Layer
	for _, layer := range img.Layers {
		layers = append(layers, func() (io.ReadCloser, error) { return layer.Uncompressed() })
	}
	inv, err := inventory.Read(ctx, layers)
	if err != nil || l == nil {
		if inv != nil {
			paths = len(inv.Paths)
		}
		return paths, nil, err
	}
	fault := func(p *inventory.Path, format string, args ...any) {
		faults = append(faults, verifyFault{string(p.Path), fmt.Sprintf(format, args...)})
	}
	for _, p := range inv.Paths {
		want := l.Paths[p.Path]
		switch {
		case want == nil:
			fault(p, "it is not in the lock")
		case p.NarFault != nil:
			fault(p, "its NAR can't be made again: %v", p.NarFault)
		case p.NarHash != want.NarHash:
			fault(p, "NarHash mismatch: the lock has %s, the layer's bytes make %s", want.NarHash, p.NarHash)
		default:
			for _, r := range want.References {
				if inv.Find(r) == nil {
					fault(p, "it refers to %s, which isn't in the image", r)
				}
			}
		}
	}
	slices.SortFunc(faults, func(a, b verifyFault) int {
		if a.Path < b.Path {
			return -1
		}
		return 1
	})
	return len(inv.Paths), faults, nil
}
