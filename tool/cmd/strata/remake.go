package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/layer"
	"github.com/rules-strata/rules_strata/tool/lock"
	"github.com/rules-strata/rules_strata/tool/plan"
	"github.com/rules-strata/rules_strata/tool/registry"
)

// remaker makes layers anew, out of the NARs that locks name: a source of blobs that nobody has kept.
type remaker struct {
	locks  []remakeLock
	layers map[digest.Digest]*remade
	dir    string
	slots  chan struct{}
}

type remakeLock struct {
	path string
	lock *lock.Lock
	flag *fetchFlags
}

// remade is a layer by what is known of it, and the blob's file once it is made.
type remade struct {
	file *digestfile.File
	once sync.Once
	path string
	err  error
}

// newRemaker reads the locks. Nothing is made before it is asked for.
func (f *pushFlags) newRemaker(files []*digestfile.File) (_ *remaker, err error) {
	r := &remaker{layers: map[digest.Digest]*remade{}, slots: make(chan struct{}, maxLayersAtOnce)}
	for _, path := range f.locks {
		l, err := lock.Read(path)
		if err != nil {
			return nil, err
		}
		r.locks = append(r.locks, remakeLock{path, l, &f.network})
	}
	for _, file := range files {
		r.layers[file.Descriptor.Digest] = &remade{file: file}
	}
	r.dir, err = os.MkdirTemp("", "strata-push-*")
	return r, err
}

func (r *remaker) close() { os.RemoveAll(r.dir) }

// OpenAt implements [registry.Source].
func (r *remaker) OpenAt(ctx context.Context, d ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	l := r.layers[d.Digest]
	if l == nil {
		return nil, fmt.Errorf("what the layer is made of isn't known: %w", fs.ErrNotExist)
	}
	l.once.Do(func() {
		r.slots <- struct{}{}
		defer func() { <-r.slots }()
		l.path = filepath.Join(r.dir, d.Digest.Encoded())
		l.err = r.make(ctx, l)
	})
	if l.err != nil {
		return nil, l.err
	}
	return registry.OpenFile(l.path, d, offset)
}

func (r *remaker) make(ctx context.Context, l *remade) error {
	if l.file.Stripped != nil || len(l.file.StorePaths) == 0 {
		return fmt.Errorf("a layer with a stripped prefix can't be made from a lock alone: %w", fs.ErrNotExist)
	}
	for _, from := range r.locks {
		planned := plan.Layer{Name: l.file.Descriptor.Digest.String()}
		for _, p := range l.file.StorePaths {
			if e := from.lock.Paths[p.Path]; e != nil && e.NarHash == p.NarHash {
				planned.Paths = append(planned.Paths, p.Path)
			}
		}
		if len(planned.Paths) < len(l.file.StorePaths) {
			continue
		}
		client, err := from.flag.client(lock.Folder(from.path))
		if err != nil {
			return err
		}
		defer client.CloseIdleConnections()
		b := &builder{lock: from.lock, client: client, options: layer.Options{Compression: l.file.Compression, Level: l.file.Level}}
		made, err := b.buildLayer(ctx, planned, l.path)
		if err != nil {
			return err
		}
		if made.Descriptor.Digest != l.file.Descriptor.Digest {
			return fmt.Errorf("made from lock %s it is %s: the layer has options that only its rule knows, such as an owner or modes", from.path, made.Descriptor.Digest)
		}
		return nil
	}
	return fmt.Errorf("no lock has all of its store paths: %w", fs.ErrNotExist)
}
