package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/layer"
	"github.com/rules-strata/rules_strata/tool/lock"
	"github.com/rules-strata/rules_strata/tool/plan"
)

// The values of --format.
const (
	formatArchive = "archive"
	formatLayout  = "layout"
)

type buildFlags struct {
	lock        string
	root        string
	system      string
	output      string
	format      string
	digestFile  string
	json        bool
	compression string
	maxLayers   int
	tags        []string
	settings    settingsFlags
	fileLayers  fileLayerFlags
	network     fetchFlags
}

func newBuildCommand() *cobra.Command {
	var f buildFlags
	c := &cobra.Command{
		Use:   "build",
		Short: "Make the image of a root of the lock",
		Long: `Fetches the closure of a root that strata.lock.json names, checks every byte
against the lock, and writes an image that docker load, podman load, skopeo and
ctr take. For the same settings it has the very digest that Bazel gives it.

The digest is printed to standard output. On any error nothing is written, and
what was there before stays.`,
		Example: `  strata build --root web --tag web:dev -o web.tar
  strata build --root web -o - | docker load
  strata build --root web --compression zstd --entrypoint /nix/store/…/bin/web --env PORT=8080 --port 8080
  strata build --root web --files etc.json --file srv/www=site --user web
  strata build --root web --format layout -o web.oci`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.lock, "lock", lock.DefaultFile, "the lock `FILE`")
	fl.StringVar(&f.root, "root", "", "the `NAME` of the root (not needed if the lock has one)")
	fl.StringVar(&f.system, "system", "", "the `SYSTEM` of the root (not needed if it has one)")
	fl.StringVarP(&f.output, "output", "o", "", "the `FILE` to write, - for standard output (default: NAME.tar, or NAME.oci for a layout)")
	fl.StringVar(&f.format, "format", formatArchive, "the `KIND` of output: archive (one tar for docker, podman, skopeo, ctr) or layout (an OCI image layout directory)")
	fl.StringArrayVar(&f.tags, "tag", nil, "a name `NAME[:TAG]` in the archive; repeatable, changes no digest")
	fl.StringVar(&f.compression, "compression", layer.Compressions()[0], "the `KIND` of the layers' compression: "+strings.Join(layer.Compressions(), ", "))
	fl.IntVar(&f.maxLayers, "max-layers", 0, "the most layers `N` (default: as the lock plans)")
	fl.StringVar(&f.digestFile, "digest-file", "", "also write the image's digest to `FILE`")
	fl.BoolVar(&f.json, "json", false, "print digest, layers and their store paths as JSON")
	f.settings.register(fl)
	f.fileLayers.register(fl)
	f.network.register(fl)
	return c
}

func (f *buildFlags) run(cmd *cobra.Command) error {
	if err := f.check(cmd); err != nil {
		return &usageError{err}
	}
	l, err := lock.Read(f.lock)
	if errors.Is(err, fs.ErrNotExist) {
		err = &hinted{err, "make it by strata lock, or name it by --lock"}
	}
	if err != nil {
		return err
	}
	root, system, err := f.choose(l)
	if err != nil {
		return err
	}
	settings, err := f.settings.read(cmd.Flags(), system)
	if err != nil {
		return err
	}
	layers, err := f.layers(l, root, system)
	if err != nil {
		return err
	}
	files, err := f.fileLayers.read(l, root, system)
	if err != nil {
		return err
	}
	if layers, err = f.fileLayers.storeLayers(layers, l, root, system, f.maxLayers, len(files)); err != nil {
		return err
	}
	output := cmp.Or(f.output, root+map[string]string{formatArchive: ".tar", formatLayout: ".oci"}[f.format])
	if err := f.checkDigestFile(output); err != nil {
		return err
	}

	client, err := f.network.client(lock.Folder(f.lock))
	if err != nil {
		return err
	}

	b := &builder{
		lock:        l,
		client:      client,
		settings:    *settings,
		layers:      layers,
		files:       files,
		compression: f.compression,
		progress:    newProgress(cmd.ErrOrStderr()),
	}
	result, err := b.build(cmd.Context(), &destination{
		stdout: cmd.OutOrStdout(), path: output, format: f.format, tags: f.tags, digestFile: f.digestFile,
	})
	if err != nil {
		return stopped(cmd.Context(), err)
	}
	switch {
	case f.json:
		return f.printJSON(cmd, output, result)
	case output != "-":
		_, err = fmt.Fprintln(cmd.OutOrStdout(), result.image.Descriptor.Digest)
	}
	return err
}

// check is for what the flags alone show.
func (f *buildFlags) check(cmd *cobra.Command) error {
	if !slices.Contains(layer.Compressions(), f.compression) {
		return fmt.Errorf("--compression: want one of %s, found %q", strings.Join(layer.Compressions(), ", "), f.compression)
	}
	if f.format != formatArchive && f.format != formatLayout {
		return fmt.Errorf("--format: want archive or layout, found %q", f.format)
	}
	if f.output == "-" {
		if f.format == formatLayout {
			return errors.New("--output: a layout is a directory; it can't go to standard output")
		}
		if f.json {
			return errors.New("--json and an archive can't both go to standard output")
		}
		if out, ok := cmd.OutOrStdout().(*os.File); ok && term.IsTerminal(int(out.Fd())) {
			return errors.New("--output: standard output is a terminal; redirect it, or name a file")
		}
	}
	if cmd.Flags().Changed("max-layers") {
		if err := plan.CheckMaxLayers(f.maxLayers); err != nil {
			return fmt.Errorf("--max-layers: %w", err)
		}
	}
	seen := map[image.Reference]bool{}
	for _, t := range f.tags {
		r, err := image.ParseReference(t)
		if err != nil {
			return fmt.Errorf("--tag: %w", err)
		}
		if seen[r] {
			return fmt.Errorf("--tag: %s is given twice", r)
		}
		seen[r] = true
	}
	return nil
}

// checkDigestFile says why the digest can't go where it shall, by the names alone.
func (f *buildFlags) checkDigestFile(output string) error {
	if f.digestFile == "" || output == "-" {
		return nil
	}
	rel, err := filepath.Rel(output, f.digestFile)
	switch {
	case err != nil: // One is absolute, the other one not.
	case rel == ".":
		return usagef("--digest-file and --output name the same file %s", output)
	case f.format == formatLayout && filepath.IsLocal(rel):
		return usagef("--digest-file: %s is inside the layout %s, which holds the image alone", f.digestFile, output)
	}
	return nil
}

// choose returns the root and the system that are meant.
func (f *buildFlags) choose(l *lock.Lock) (root, system string, err error) {
	if root, err = chooseOne("root", f.root, slices.Sorted(maps.Keys(l.Roots))); err != nil {
		return "", "", fmt.Errorf("lock %s: %w", f.lock, err)
	}
	if system, err = chooseOne("system", f.system, slices.Sorted(maps.Keys(l.Roots[root]))); err != nil {
		return "", "", fmt.Errorf("lock %s: root %s: %w", f.lock, root, err)
	}
	return root, system, nil
}

func chooseOne(what, name string, known []string) (string, error) {
	switch {
	case name == "" && len(known) == 1:
		return known[0], nil
	case name == "":
		return "", usagef("there are several %ss, choose one by --%s: %s", what, what, strings.Join(known, ", "))
	case !slices.Contains(known, name):
		return "", fmt.Errorf("there is no %s %q; known are %s", what, name, strings.Join(known, ", "))
	}
	return name, nil
}

// layers returns the layers of the image, lowest first: the lock's plan, shrunk
// to --max-layers as the rule in Starlark does it.
func (f *buildFlags) layers(l *lock.Lock, root, system string) ([]plan.Layer, error) {
	names := l.Plan.Images[root][system]
	layers := make([]plan.Layer, len(names))
	for i, name := range names {
		layers[i] = plan.Layer{Name: name, Paths: l.Plan.Layers[name]}
	}
	if f.maxLayers == 0 {
		return layers, nil
	}
	return plan.Shrink(layers, l.PlanPaths(l.Closure(l.Roots[root][system])), f.maxLayers)
}

// The JSON that --json prints.
type (
	buildJSON struct {
		Output string      `json:"output"`
		Digest string      `json:"digest"`
		Config string      `json:"config"`
		Tags   []string    `json:"tags"`
		Layers []layerJSON `json:"layers"`
	}
	layerJSON struct {
		Name       string   `json:"name"`
		MediaType  string   `json:"mediaType"`
		Digest     string   `json:"digest"`
		Size       int64    `json:"size"`
		DiffID     string   `json:"diffID"`
		StorePaths []string `json:"storePaths"`
	}
)

func (f *buildFlags) printJSON(cmd *cobra.Command, output string, r *result) error {
	out := buildJSON{
		Output: output,
		Digest: r.image.Descriptor.Digest.String(),
		Config: r.image.ConfigDescriptor.Digest.String(),
		Tags:   append([]string{}, f.tags...),
	}
	for _, l := range r.layers {
		j := layerJSON{
			Name: l.name, MediaType: l.file.Descriptor.MediaType, Digest: l.file.Descriptor.Digest.String(),
			Size: l.file.Descriptor.Size, DiffID: l.file.DiffID.String(),
		}
		for _, p := range l.file.StorePaths {
			j.StorePaths = append(j.StorePaths, string(p.Path))
		}
		out.Layers = append(out.Layers, j)
	}
	return writeJSON(cmd.OutOrStdout(), out)
}
