package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/rules-strata/rules_strata/tool/atomicfile"
	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/layer"
	"github.com/rules-strata/rules_strata/tool/lock"
	"github.com/rules-strata/rules_strata/tool/plan"
	"github.com/rules-strata/rules_strata/tool/runlayer"
	"github.com/rules-strata/rules_strata/tool/store"
)

// maxLayersAtOnce bounds the memory: each layer under way may hold a decoder's window of 128 MiB.
const maxLayersAtOnce = 4

// builder makes an image out of a lock, or an index of images, by the packages that Bazel's actions use.
type builder struct {
	lock      *lock.Lock
	client    *fetch.Client // relative to the lock's folder
	images    []imagePlan
	baseBlobs []image.Blob
	index     bool          // else there is one image
	options   layer.Options // of the layers of store paths; those of files share the compression
	progress  *progress
}

// imagePlan is an image to make.
type imagePlan struct {
	system   string
	settings image.Settings
	base     *image.Base  // may be nil
	layers   []plan.Layer // above the base, lowest first
	files    []fileLayer  // above the layers
}

// destination says where an image goes.
type destination struct {
	stdout     io.Writer
	path       string // "-": stdout
	format     string
	archive    image.Archive // if format is one
	tags       []string
	digestFile string // "": none
}

// result is what was made.
type result struct {
	digest digest.Digest // of the image or of the index
	images []builtImage
}

// String counts the layers, each once however many images have it.
func (r *result) String() string {
	var made, below tally
	seen := map[digest.Digest]bool{}
	count := func(t *tally, d ocispec.Descriptor) {
		if !seen[d.Digest] {
			seen[d.Digest] = true
			t.Count++
			t.Bytes += d.Size
		}
	}
	for _, i := range r.images {
		for _, l := range i.layers {
			count(&made, l.file.Descriptor)
		}
	}
	for _, i := range r.images {
		for _, d := range i.image.Layers {
			count(&below, d)
		}
	}
	s := fmt.Sprintf("%d layers made (%s)", made.Count, formatBytes(made.Bytes))
	if below.Count > 0 {
		s += fmt.Sprintf(", %d of the base (%s)", below.Count, formatBytes(below.Bytes))
	}
	return s
}

type builtImage struct {
	system string
	image  *image.Image
	layers []builtLayer
}

type builtLayer struct {
	name string
	path string // of the blob
	file *digestfile.File
}

// build makes the image. It leaves nothing behind but what d says, and that only if all went well.
func (b *builder) build(ctx context.Context, d *destination) (*result, error) {
	out, err := d.open()
	if err != nil {
		return nil, err
	}
	defer out.abort()
	dir, err := d.workDir()
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	defer b.progress.clear()

	images, blobs, err := b.buildImages(ctx, dir)
	if err != nil {
		return nil, err
	}
	var content image.Content = images[0].image
	r := &result{images[0].image.Descriptor.Digest, images}
	if b.index {
		index, err := indexOf(images)
		if err != nil {
			return nil, err
		}
		content, r.digest = index, index.Descriptor.Digest
	}
	b.progress.show("writing %s", d.path)
	if err := out.write(ctx, content, r.digest, blobs); err != nil {
		return nil, err
	}
	return r, nil
}

func indexOf(images []builtImage) (*image.Index, error) {
	var all []*image.Image
	var descriptors []ocispec.Descriptor
	for _, i := range images {
		all = append(all, i.image)
		descriptors = append(descriptors, i.image.Descriptor)
	}
	index, err := image.BuildIndex(descriptors, nil)
	if err != nil {
		return nil, err
	}
	return index.WithImages(all)
}

// buildImages makes the images, and their blobs in dir.
func (b *builder) buildImages(ctx context.Context, dir string) ([]builtImage, []image.Blob, error) {
	// Layers that images have in common are made once.
	var distinct []plan.Layer
	place := map[string]int{} // in distinct, by paths
	key := func(l plan.Layer) string { return fmt.Sprint(l.Paths) }
	for _, i := range b.images {
		for _, l := range i.layers {
			if _, ok := place[key(l)]; !ok {
				place[key(l)] = len(distinct)
				distinct = append(distinct, l)
			}
		}
	}
	var fileLayers []fileLayer
	for _, i := range b.images {
		fileLayers = append(fileLayers, i.files...)
	}
	layers, err := b.buildLayers(ctx, dir, distinct, fileLayers)
	if err != nil {
		return nil, nil, err
	}
	blobs := slices.Clone(b.baseBlobs)
	for _, l := range layers {
		if l.file != nil {
			blobs = append(blobs, l.blob())
		}
	}
	next := len(distinct) // the next image's first layer of files
	var out []builtImage
	for _, i := range b.images {
		built := builtImage{system: i.system}
		var files []*digestfile.File
		for _, l := range i.layers {
			of := layers[place[key(l)]]
			of.file.Name = of.name
			built.layers = append(built.layers, of)
			files = append(files, of.file)
		}
		for n, of := range layers[next : next+len(i.files)] {
			if run := i.files[n].run; run != nil {
				if of.file, err = b.runLayer(ctx, &i, run, files, blobs, of.path); err != nil {
					return nil, nil, fmt.Errorf("%s: %w", of.name, err)
				}
				blobs = append(blobs, of.blob())
			}
			of.file.Name = i.files[n].by
			built.layers = append(built.layers, of)
			files = append(files, of.file)
		}
		next += len(i.files)
		if built.image, err = image.BuildOn(i.base, i.settings, files); err != nil {
			return nil, nil, err
		}
		out = append(out, built)
	}
	return out, blobs, nil
}

// blob is the layer for the writers of package image.
func (l *builtLayer) blob() image.Blob {
	return image.Blob{Descriptor: l.file.Descriptor, UncompressedSize: l.file.UncompressedSize, Path: l.path}
}

// runLayer runs a command over the layers that an image has so far, and makes the layer of what it changed at path.
func (b *builder) runLayer(ctx context.Context, of *imagePlan, spec *runlayer.Spec, below []*digestfile.File, blobs []image.Blob, path string) (*digestfile.File, error) {
	b.progress.show("running %s", spec.Command[0])
	settings := of.settings
	settings.Unfinished = true // Who its user is, a layer above may say.
	soFar, err := image.BuildOn(of.base, settings, below)
	if err != nil {
		return nil, err
	}
	var config ocispec.Image
	if err := json.Unmarshal(soFar.Config, &config); err != nil {
		return nil, err
	}
	img, err := runlayer.NewImage(soFar, &config, blobs)
	if err != nil {
		return nil, err
	}
	img.AddStores(below)
	blob, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer blob.Close()
	file, err := runlayer.Write(ctx, blob, spec, img, filepath.Dir(path), layer.Options{Compression: b.options.Compression, Level: b.options.Level})
	if err != nil {
		return nil, err
	}
	return file, blob.Close()
}

// buildLayers makes the layers' blobs in dir, a few at once. Of what commands change there is no more than the path: they are run
// when all that is below them is there.
func (b *builder) buildLayers(ctx context.Context, dir string, layers []plan.Layer, files []fileLayer) ([]builtLayer, error) {
	defer b.client.CloseIdleConnections()
	out := make([]builtLayer, len(layers)+len(files))
	var done atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(min(runtime.GOMAXPROCS(0), maxLayersAtOnce))
	for i, l := range layers {
		g.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			out[i] = builtLayer{name: l.Name, path: filepath.Join(dir, strconv.Itoa(i))}
			var err error
			if out[i].file, err = b.buildLayer(ctx, l, out[i].path); err != nil {
				return err
			}
			b.progress.show("%d of %d layers", done.Add(1), len(out))
			return nil
		})
	}
	for i, l := range files {
		i += len(layers)
		if l.run != nil {
			out[i] = builtLayer{name: l.name, path: filepath.Join(dir, strconv.Itoa(i))}
			continue
		}
		g.Go(func() (err error) {
			out[i].name = l.name
			if out[i].path, out[i].file, err = b.buildFileLayer(ctx, l, filepath.Join(dir, strconv.Itoa(i))); err == nil {
				b.progress.show("%d of %d layers", done.Add(1), len(out))
			}
			return err
		})
	}
	return out, g.Wait()
}

func (b *builder) buildLayer(ctx context.Context, l plan.Layer, path string) (*digestfile.File, error) {
	nars := make([]layer.NAR, len(l.Paths))
	for i, p := range l.Paths {
		nars[i] = b.lock.NAR(b.client, p)
	}
	var out *digestfile.File
	err := layer.Retry(nars, func() error {
		blob, err := os.Create(path)
		if err != nil {
			return err
		}
		defer blob.Close()
		if out, err = layer.Write(ctx, blob, nars, b.options); err != nil {
			return err
		}
		return blob.Close()
	})
	if err != nil {
		return nil, withAdvice(err)
	}
	return out, nil
}

// withAdvice adds what may help against an error of a layer.
func withAdvice(err error) error {
	var mismatch *store.HashMismatchError
	switch {
	case errors.As(err, &mismatch):
		return &hinted{err, "the cache serves other bytes than it said when the lock was made: if they are meant, lock anew; if not, don't use it"}
	case errors.Is(err, fetch.ErrNotFound):
		return &hinted{err, "the cache has lost the file, or moved: lock anew, from another cache if need be"}
	}
	return err
}

// workDir makes a folder for the layers: where the output goes there is room for it.
func (d *destination) workDir() (string, error) {
	if d.path == "-" {
		return os.MkdirTemp("", "strata-*")
	}
	dir, name := filepath.Split(d.path)
	if dir == "" {
		dir = "."
	}
	return os.MkdirTemp(dir, "."+name+".*.layers")
}

// output is what an image is written to. It is begun before the work, so that what
// can't be written is known early.
type output struct {
	d      *destination
	file   *atomicfile.File // nil: standard output, or a directory
	digest *atomicfile.File // nil: none
}

// isDir says whether the output is a directory.
func (d *destination) isDir() bool { return d.format == formatLayout || d.format == formatNixery }

func (d *destination) open() (_ *output, err error) {
	o := &output{d: d}
	defer func() {
		if err != nil {
			o.abort()
		}
	}()
	if d.path != "-" && !d.isDir() {
		if o.file, err = atomicfile.Create(d.path); err != nil {
			return nil, err
		}
	}
	if d.digestFile != "" {
		if o.digest, err = atomicfile.Create(d.digestFile); err != nil {
			return nil, err
		}
	}
	return o, nil
}

func (o *output) abort() {
	if o.file != nil {
		o.file.Abort()
	}
	if o.digest != nil {
		o.digest.Abort()
	}
}

// write writes the content and makes all of the output appear, or none of it.
func (o *output) write(ctx context.Context, content image.Content, digest digest.Digest, blobs []image.Blob) error {
	if o.digest != nil {
		if _, err := fmt.Fprintln(o.digest, digest); err != nil {
			return err
		}
	}
	if o.d.isDir() {
		return o.writeDir(ctx, content, blobs)
	}
	var to io.Writer = o.d.stdout
	if o.file != nil {
		to = o.file
	}
	buffered := bufio.NewWriterSize(to, 1<<20)
	if err := o.d.archive.Write(ctx, buffered, content, blobs, o.d.tags); err != nil {
		return err
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	return o.commit()
}

func (o *output) writeDir(ctx context.Context, content image.Content, blobs []image.Blob) error {
	_, statErr := os.Lstat(o.d.path)
	var err error
	if o.d.format == formatNixery {
		err = image.WriteNixery(ctx, o.d.path, content.(*image.Image), blobs, image.Copy)
	} else {
		err = image.WriteLayout(ctx, o.d.path, content, blobs, o.d.tags, image.Copy)
	}
	if err != nil {
		return err
	}
	err = o.commit()
	switch {
	case err == nil:
	case errors.Is(statErr, fs.ErrNotExist):
		os.RemoveAll(o.d.path)
	default: // It was there, and empty.
		entries, _ := os.ReadDir(o.d.path)
		for _, e := range entries {
			os.RemoveAll(filepath.Join(o.d.path, e.Name()))
		}
	}
	return err
}

// commit makes the files appear.
func (o *output) commit() error {
	var files []*atomicfile.File
	for _, f := range []*atomicfile.File{o.file, o.digest} {
		if f != nil {
			files = append(files, f)
		}
	}
	return atomicfile.CommitAll(files...)
}
