package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/rules-strata/rules_strata/tool/base"
	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/imagefile"
	"github.com/rules-strata/rules_strata/tool/layer"
	"github.com/rules-strata/rules_strata/tool/lock"
	"github.com/rules-strata/rules_strata/tool/plan"
	"github.com/rules-strata/rules_strata/tool/store"
)

// The values of --format beside those of an archive.
const (
	formatLayout = "layout"
	formatNixery = "nixery"
)

// formats are the values of --format, the default first.
var formats = append(image.ArchiveFormats(), formatLayout, formatNixery)

// allSystems as --system stands for those that the root is locked for.
const allSystems = "all"

type buildFlags struct {
	lock        string
	root        string
	systems     []string
	output      string
	format      string
	legacy      bool
	compressed  string // the archive
	mediaTypes  string
	digestFile  string
	json        bool
	maxLayers   int
	tags        []string
	tagFiles    []string
	defaultName string
	base        string
	baseName    string
	settings    settingsFlags
	layers      layerFlags
	fileLayers  fileLayerFlags
	database    databaseFlags
	trust       trustFlags
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

With several systems, or with --system all, it is an index with an image for each,
as image_index makes it.

The digest is printed to standard output. On any error nothing is written, and
what was there before stays.`,
		Example: `  strata build --root web --tag web:dev -o web.tar
  strata build --root web -o - | docker load
  strata build --root web --compression zstd --entrypoint /nix/store/…/bin/web --env PORT=8080 --port 8080
  strata build --root web --exclude 'share/man' --exclude '**/*.a' --owner 1000:1000
  strata build --root web --format layout -o web.oci
  strata build --root web --format docker-archive --archive-compression gzip
  strata build --root web --system all --tag web:dev
  strata build --root web --base debian.tar --env-prepend PATH=/nix/store/…/bin
  strata build --root web --base registry.example.org/base@sha256:…
  strata build --root web --stamp-file bazel-out/stable-status.txt --label 'rev={STABLE_GIT_COMMIT}'
  strata build --root web --files etc.json --file srv/www=site --user web
  strata build --root web --nix-database --tag web:nix
  strata build --root web --files etc.json --run setup.json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.lock, "lock", lock.DefaultFile, "the lock `FILE`")
	fl.StringVar(&f.root, "root", "", "the `NAME` of the root (not needed if the lock has one)")
	fl.StringArrayVar(&f.systems, "system", nil, "the `SYSTEM` of the root (not needed if it has one); repeatable, or all: an index of an image for each")
	fl.StringVarP(&f.output, "output", "o", "", "the `FILE` to write, - for standard output (default: NAME.tar, or NAME.oci for a layout)")
	fl.StringVar(&f.format, "format", formats[0], "the `KIND` of output: archive (one tar for docker, podman, skopeo, ctr), docker-archive or oci-archive (one of its two halves), layout (an OCI image layout directory), nixery (a directory as Nixery's builder writes it)")
	fl.BoolVar(&f.legacy, "legacy", false, "add to a docker-archive what docker before 1.10 reads")
	fl.StringVar(&f.compressed, "archive-compression", image.ArchiveCompressions()[0], "the `KIND` of the archive's own compression: "+strings.Join(image.ArchiveCompressions(), ", "))
	fl.StringVar(&f.mediaTypes, "media-types", image.MediaTypesOCI, "whose media types the image has, `KIND` "+image.MediaTypesOCI+" or "+image.MediaTypesDocker+"; changes the digest")
	fl.StringArrayVarP(&f.tags, "tag", "t", nil, "a name `NAME[:TAG]` in the archive; repeatable, changes no digest")
	fl.StringArrayVar(&f.tagFiles, "tag-file", nil, "a `FILE` with further names, one a line; repeatable")
	fl.StringVar(&f.defaultName, "default-name", image.DefaultNames()[0], "how to call an image without --tag and --tag-file, `KIND` store-path (the root's name and hash), guix (as guix pack does) or none")
	fl.StringVar(&f.base, "base", "", "an `IMAGE` to build on: an OCI layout, a layout or a docker archive in a tar, a target of Bazel's, or one in a registry, best by its digest")
	fl.StringVar(&f.baseName, "base-name", "", "which of the images in --base, by its `NAME[:TAG]` or digest")
	fl.IntVar(&f.maxLayers, "max-layers", 0, "the most layers `N`, the base's among them (default: as the lock plans)")
	fl.StringVar(&f.digestFile, "digest-file", "", "also write the image's digest to `FILE`")
	fl.BoolVar(&f.json, "json", false, "print digest, layers and their store paths as JSON")
	f.settings.register(fl)
	f.layers.register(fl)
	f.fileLayers.register(fl)
	f.database.register(fl)
	f.trust.register(fl)
	f.network.register(fl)
	return c
}

func (f *buildFlags) run(cmd *cobra.Command) error {
	if err := f.check(cmd); err != nil {
		return &usageError{err}
	}
	l, err := readLock(f.lock)
	if err != nil {
		return err
	}
	root, systems, err := f.choose(l)
	if err != nil {
		return err
	}
	var images []imagePlan
	var baseBlobs []image.Blob
	for _, system := range systems {
		settings, err := f.settings.read(cmd.Flags(), system)
		if err != nil {
			return err
		}
		settings.StorePathsMounted = settings.StorePathsMounted || f.fileLayers.noStorePaths
		if cmd.Flags().Changed("media-types") {
			settings.MediaTypes = f.mediaTypes
			if err := settings.Check(); err != nil {
				return &usageError{err}
			}
		}
		var below *image.Base
		if f.base != "" {
			img, done, err := f.openBase(cmd, settings)
			if err != nil {
				return err
			}
			defer done()
			if below, err = img.Base(cmd.Context()); err != nil {
				return stopped(cmd.Context(), err)
			}
			baseBlobs = append(baseBlobs, img.Blobs()...)
		}
		files, err := f.fileLayers.read(l, root, system)
		if err != nil {
			return err
		}
		if f.database.kind() != "" {
			db, err := f.database.layer(l, root, system, below)
			if err != nil {
				return err
			}
			files = append([]fileLayer{*db}, files...)
		}
		layers, err := f.planned(l, root, system, below, len(files))
		if err != nil {
			return err
		}
		images = append(images, imagePlan{system, *settings, below, layers, files})
	}
	names, err := f.names(l.Roots[root][systems[0]])
	if err != nil {
		return &usageError{err}
	}
	output := cmp.Or(f.output, root+f.extension())
	if err := f.checkDigestFile(output); err != nil {
		return err
	}

	client, err := f.network.client(lock.Folder(f.lock))
	if err != nil {
		return err
	}

	b := &builder{
		lock:      l,
		client:    client,
		images:    images,
		baseBlobs: baseBlobs,
		index:     f.index(),
		options:   f.layers.options,
		progress:  newProgress(cmd),
	}
	result, err := b.build(cmd.Context(), &destination{
		stdout: cmd.OutOrStdout(), path: output, format: f.format, archive: f.archive(), tags: names, digestFile: f.digestFile,
	})
	if err != nil {
		return stopped(cmd.Context(), err)
	}
	b.progress.say("%s written in %s: %s", outputName(output), b.progress.elapsed(), result)
	switch {
	case f.json:
		return f.printJSON(cmd, output, names, result)
	case output != "-":
		_, err = fmt.Fprintln(cmd.OutOrStdout(), result.digest)
	}
	return err
}

// index says whether an index is wanted in place of an image.
func (f *buildFlags) index() bool {
	return len(f.systems) > 1 || slices.Equal(f.systems, []string{allSystems})
}

// isDir says whether the output is a directory.
func (f *buildFlags) isDir() bool { return f.format == formatLayout || f.format == formatNixery }

// archive is the form of the archive; only of use if the output is one.
func (f *buildFlags) archive() image.Archive {
	return image.Archive{Format: f.format, Legacy: f.legacy, Compression: f.compressed}
}

// extension is what the root's name is given as the output's.
func (f *buildFlags) extension() string {
	switch f.format {
	case formatLayout:
		return ".oci"
	case formatNixery:
		return ".nixery"
	}
	return ".tar" + map[string]string{"gzip": ".gz", "zstd": ".zst"}[f.compressed]
}

// check is for what the flags alone show.
func (f *buildFlags) check(cmd *cobra.Command) error {
	if err := f.layers.check(cmd.Flags()); err != nil {
		return err
	}
	if err := f.database.check(cmd.Flags()); err != nil {
		return err
	}
	if err := f.checkFormat(cmd); err != nil {
		return err
	}
	if f.output == "-" {
		if f.isDir() {
			return fmt.Errorf("--output: the format %s is a directory; it can't go to standard output", f.format)
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
	if f.baseName != "" && f.base == "" {
		return errors.New("--base-name: it goes with --base")
	}
	if !slices.Contains(image.DefaultNames(), f.defaultName) {
		return fmt.Errorf("--default-name: want one of %s, found %q", strings.Join(image.DefaultNames(), ", "), f.defaultName)
	}
	seen := map[image.Reference]bool{}
	for _, t := range f.tags {
		if len(f.settings.stampFiles)+len(f.settings.stampDefaults) > 0 {
			break // What the values make of them is known later.
		}
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

func (f *buildFlags) checkFormat(cmd *cobra.Command) error {
	docker := f.mediaTypes == image.MediaTypesDocker
	if !docker && f.mediaTypes != image.MediaTypesOCI {
		return fmt.Errorf("--media-types: want %s or %s, found %q", image.MediaTypesOCI, image.MediaTypesDocker, f.mediaTypes)
	}
	if docker && f.layers.options.Compression == layer.Zstd {
		return errors.New("--media-types: docker's have none for zstd; choose --compression gzip")
	}
	if !slices.Contains(formats, f.format) {
		return fmt.Errorf("--format: want one of %s, found %q", strings.Join(formats, ", "), f.format)
	}
	if !f.isDir() {
		return f.archive().Check()
	}
	for _, name := range []string{"legacy", "archive-compression"} {
		if cmd.Flags().Changed(name) {
			return fmt.Errorf("--%s: the format %s is a directory, no archive", name, f.format)
		}
	}
	if f.format == formatNixery {
		switch {
		case f.index():
			return errors.New("--format: nixery is of a single image; choose one --system")
		case len(f.tags)+len(f.tagFiles) > 0:
			return errors.New("--tag: Nixery's output holds no names")
		}
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
	case f.isDir() && filepath.IsLocal(rel):
		return usagef("--digest-file: %s is inside the %s %s, which holds the image alone", f.digestFile, f.format, output)
	}
	return nil
}

// choose returns the root and the systems that are meant.
func (f *buildFlags) choose(l *lock.Lock) (root string, systems []string, err error) {
	if root, err = chooseOne("root", f.root, slices.Sorted(maps.Keys(l.Roots))); err != nil {
		return "", nil, fmt.Errorf("lock %s: %w", f.lock, err)
	}
	known := slices.Sorted(maps.Keys(l.Roots[root]))
	asked := f.systems
	switch {
	case slices.Equal(asked, []string{allSystems}):
		return root, known, nil
	case len(asked) == 0:
		asked = []string{""}
	}
	for _, name := range asked {
		system, err := chooseOne("system", name, known)
		switch {
		case name == allSystems:
			err = usagef("--system: %s stands alone", allSystems)
		case err == nil && slices.Contains(systems, system):
			err = usagef("--system: %s is given twice", system)
		}
		if err != nil {
			return "", nil, fmt.Errorf("lock %s: root %s: %w", f.lock, root, err)
		}
		systems = append(systems, system)
	}
	return root, systems, nil
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

// names returns the names that the output gives the image.
func (f *buildFlags) names(root store.Path) ([]string, error) {
	stamp, err := f.settings.stamp()
	if err != nil {
		return nil, err
	}
	n := image.Naming{Tags: f.tags, Files: f.tagFiles, Stamp: stamp, Default: f.defaultName}
	if !f.index() {
		n.Roots = []store.Path{root}
	}
	return n.Names()
}

// openBase opens the base for an image with the settings, and fetches it from a registry if it is there. Of an index that is the
// image for the platform, with its layers, since all forms of output hold them.
func (f *buildFlags) openBase(cmd *cobra.Command, s *image.Settings) (_ *base.Image, done func(), err error) {
	platform, err := s.Platform()
	if err != nil {
		return nil, nil, err
	}
	o := base.Options{Name: f.baseName, Platform: platform}
	if !isReference(f.base) {
		path, err := imagePath(cmd, f.base)
		if err != nil {
			return nil, nil, err
		}
		img, err := base.Open(path, o)
		if err != nil {
			return nil, nil, advisePath(f.base, err)
		}
		return img, func() { img.Close() }, nil
	}
	if f.baseName != "" {
		return nil, nil, usagef("--base-name: %s names one image already", f.base)
	}
	flags := &imageFlags{trust: f.trust, network: f.network}
	remote, err := flags.remoteImageBy(cmd, f.base, true, func(file *imagefile.File) (*imagefile.Image, error) {
		return file.SelectFor("", platform)
	})
	if err != nil {
		return nil, nil, fmt.Errorf("base %w", err)
	}
	img, err := base.OpenFile(remote.File, o)
	if err != nil {
		remote.Close()
		return nil, nil, err
	}
	if f.base != remote.pinned && !strings.Contains(f.base, "@") {
		warn(cmd.ErrOrStderr(), "--base %s: a tag may come to mean another image; to build the same again, write %s", f.base, remote.pinned)
		f.base = remote.pinned // The other systems' images are built on the same.
	}
	return img, remote.Close, nil
}

// planned returns the layers of the image above the base, which may be nil, lowest
// first: the lock's plan, without what the base has, and within --max-layers, as the rule in
// Starlark does it.
func (f *buildFlags) planned(l *lock.Lock, root, system string, below *image.Base, fileLayers int) ([]plan.Layer, error) {
	if f.fileLayers.noStorePaths {
		return nil, nil
	}
	names := l.Plan.Images[root][system]
	layers := make([]plan.Layer, len(names))
	for i, name := range names {
		layers[i] = plan.Layer{Name: name, Paths: l.Plan.Layers[name]}
	}
	closure := l.Closure(l.Roots[root][system])
	if below == nil {
		return roomFor(layers, l.PlanPaths(closure), fileLayers, cmp.Or(f.maxLayers, l.Plan.MaxLayers))
	}
	present := map[store.Path]bool{}
	for _, p := range closure {
		if hash, ok := below.StorePaths[p]; ok && hash == l.Paths[p].NarHash {
			present[p] = true
		}
	}
	limit := f.maxLayers
	if limit == 0 {
		limit = min(l.Plan.MaxLayers+len(below.Layers), plan.MaxLayers)
	}
	return plan.OnBase(layers, l.PlanPaths(closure), present, len(below.Layers)+fileLayers, limit)
}

// The JSON that --json prints.
type (
	buildJSON struct {
		Output string   `json:"output"`
		Digest string   `json:"digest"`
		Tags   []string `json:"tags"`
		// Of a single image.
		*imageJSON
		// Of an index.
		Images []indexedJSON `json:"images,omitempty"`
	}
	imageJSON struct {
		Config string      `json:"config"`
		Layers []layerJSON `json:"layers"`
	}
	indexedJSON struct {
		System string `json:"system"`
		Digest string `json:"digest"`
		imageJSON
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

func (f *buildFlags) printJSON(cmd *cobra.Command, output string, names []string, r *result) error {
	out := buildJSON{Output: output, Digest: r.digest.String(), Tags: append([]string{}, names...)}
	for _, i := range r.images {
		j := imageResult(i)
		if !f.index() {
			out.imageJSON = &j
			break
		}
		out.Images = append(out.Images, indexedJSON{i.system, i.image.Descriptor.Digest.String(), j})
	}
	return writeJSON(cmd.OutOrStdout(), out)
}

func imageResult(i builtImage) imageJSON {
	out := imageJSON{Config: i.image.ConfigDescriptor.Digest.String()}
	built := map[digest.Digest]builtLayer{}
	for _, l := range i.layers {
		built[l.file.Descriptor.Digest] = l
	}
	for n, d := range i.image.Layers {
		j := layerJSON{Name: baseLayerName, MediaType: d.MediaType, Digest: d.Digest.String(), Size: d.Size, DiffID: i.image.DiffIDs[n].String()}
		if l, ok := built[d.Digest]; ok {
			j.Name = l.name
			for _, p := range l.file.StorePaths {
				j.StorePaths = append(j.StorePaths, string(p.Path))
			}
		}
		out.Layers = append(out.Layers, j)
	}
	return out
}

// baseLayerName is what --json calls a layer of the base.
const baseLayerName = "base"
