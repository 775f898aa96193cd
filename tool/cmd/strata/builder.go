package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/rules-strata/rules_strata/tool/atomicfile"
	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/layer"
	"github.com/rules-strata/rules_strata/tool/lock"
	"github.com/rules-strata/rules_strata/tool/narfile"
	"github.com/rules-strata/rules_strata/tool/plan"
	"github.com/rules-strata/rules_strata/tool/store"
)

// maxLayersAtOnce bounds the memory: each layer under way may hold a decoder's window of 128 MiB.
const maxLayersAtOnce = 4

// builder makes one image out of a lock, by the packages that Bazel's actions use.
type builder struct {
	lock        *lock.Lock
	client      *fetch.Client // relative to the lock's folder
	settings    image.Settings
	layers      []plan.Layer
	files       []fileLayer // above the layers
	compression string
	progress    *progress
}

// destination says where an image goes.
type destination struct {
	stdout     io.Writer
	path       string // "-": stdout
	format     string
	tags       []string
	digestFile string // "": none
}

// result is what was made.
type result struct {
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

	layers, err := b.buildLayers(ctx, dir)
	if err != nil {
		return nil, err
	}
	files := make([]*digestfile.File, len(layers))
	blobs := make([]image.Blob, len(layers))
	for i, l := range layers {
		files[i] = l.file
		blobs[i] = image.Blob{Descriptor: l.file.Descriptor, Path: l.path}
	}
	img, err := image.Build(b.settings, files)
	if err != nil {
		return nil, err
	}
	b.progress.show("writing %s", d.path)
	if err := out.write(ctx, img, blobs); err != nil {
		return nil, err
	}
	return &result{img, layers}, nil
}

// buildLayers makes the layers' blobs in dir, a few at once.
func (b *builder) buildLayers(ctx context.Context, dir string) ([]builtLayer, error) {
	defer b.client.CloseIdleConnections()
	out := make([]builtLayer, len(b.layers)+len(b.files))
	var done atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(min(runtime.GOMAXPROCS(0), maxLayersAtOnce))
	for i, l := range b.layers {
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
	for i, l := range b.files {
		i += len(b.layers)
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
		nars[i] = b.nar(p)
	}
	var out *digestfile.File
	err := layer.Retry(nars, func() error {
		blob, err := os.Create(path)
		if err != nil {
			return err
		}
		defer blob.Close()
		if out, err = layer.Write(ctx, blob, nars, layer.Options{Compression: b.compression}); err != nil {
			return err
		}
		return blob.Close()
	})
	if err != nil {
		return nil, withAdvice(err)
	}
	return out, nil
}

// nar is the NAR of a store path of the lock.
func (b *builder) nar(p store.Path) layer.NAR {
	e := b.lock.Paths[p]
	file := b.client.Alternatives(b.lock.URLs(e), e.FileSize)
	return layer.NAR{
		File: narfile.File{
			StorePath: p, Compression: e.Compression, FileHash: e.FileHash, FileSize: e.FileSize,
			NarHash: e.NarHash, NarSize: e.NarSize,
		},
		Open: file.Open, Reject: file.Reject,
	}
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
	file   *atomicfile.File // nil: standard output, or a layout
	digest *atomicfile.File // nil: none
}

func (d *destination) open() (_ *output, err error) {
	o := &output{d: d}
	defer func() {
		if err != nil {
			o.abort()
		}
	}()
	if d.path != "-" && d.format == formatArchive {
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

// write writes the image and makes all of the output appear, or none of it.
func (o *output) write(ctx context.Context, img *image.Image, blobs []image.Blob) error {
	if o.digest != nil {
		if _, err := fmt.Fprintln(o.digest, img.Descriptor.Digest); err != nil {
			return err
		}
	}
	if o.d.format == formatLayout {
		return o.writeLayout(ctx, img, blobs)
	}
	var to io.Writer = o.d.stdout
	if o.file != nil {
		to = o.file
	}
	buffered := bufio.NewWriterSize(to, 1<<20)
	if err := image.WriteArchive(ctx, buffered, img, blobs, o.d.tags); err != nil {
		return err
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	return o.commit()
}

func (o *output) writeLayout(ctx context.Context, img *image.Image, blobs []image.Blob) error {
	_, statErr := os.Lstat(o.d.path)
	if err := image.WriteLayout(ctx, o.d.path, img, blobs, o.d.tags, image.Copy); err != nil {
		return err
	}
	err := o.commit()
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
