package ondemand

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/rules-strata/rules_strata/tool/atomicfile"
	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/filelayer"
	"github.com/rules-strata/rules_strata/tool/layer"
	"github.com/rules-strata/rules_strata/tool/lock"
	"github.com/rules-strata/rules_strata/tool/narsource"
	"github.com/rules-strata/rules_strata/tool/serve"
	"github.com/rules-strata/rules_strata/tool/store"
)

// recipe says how a layer is made: of NARs that a lock names.
type recipe struct {
	// Paths are the store paths that it holds, sorted; or, of a layer of links, those that the links lead to, in their order.
	Paths []store.Path
	// Links says that the layer holds links from the image's root to its Paths, and what else an image of packages has beside them.
	Links bool `json:",omitempty"`
	// Bash and Coreutils are what /bin/sh and /usr/bin/env lead to; empty: there are none.
	Bash      store.Path `json:",omitempty"`
	Coreutils store.Path `json:",omitempty"`
}

// key names a layer by all that its bytes depend on.
func (s *Registry) key(l *lock.Lock, r recipe) string {
	type nar struct {
		Path store.Path
		Hash store.Hash
	}
	of := struct {
		Format      int
		Links       int
		Compression string
		Recipe      recipe
		NARs        []nar
	}{Format: digestfile.FormatVersion, Compression: s.o.Compression, Recipe: r}
	paths := r.Paths
	if r.Links { // They may lead on into all that the packages refer to.
		of.Links = linksVersion
		paths = closureOf(l, r.Paths)
	}
	for _, p := range paths {
		of.NARs = append(of.NARs, nar{p, l.Paths[p].NarHash})
	}
	return hashOf(of)
}

// closureOf returns paths and all that they refer to, sorted.
func closureOf(l *lock.Lock, paths []store.Path) []store.Path {
	var all []store.Path
	for _, p := range paths {
		all = append(all, l.Closure(p)...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func hashOf(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // Structs of strings and numbers have a form.
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// layer returns what is known of a layer, and makes it if it was never made; its blob may be gone since. However many
// ask for a layer at once, it is made once.
// Where are the layers that store paths lie in, as far as they are known, by which a layer of links needs no NAR.
func (s *Registry) layer(ctx context.Context, l *lock.Lock, r recipe, where map[store.Path]digest.Digest) (*digestfile.File, error) {
	key := s.key(l, r)
	return do(ctx, s, &s.layers, key, func(ctx context.Context) (*digestfile.File, error) {
		name := layersDir + "/" + key
		if b, err := s.cache.get(name); err == nil {
			if file, err := digestfile.Parse(b); err == nil {
				return file, nil
			}
		}
		return s.makeLayer(ctx, l, r, where, key)
	})
}

// remake makes the blob of a layer anew that the cache has lost. It must come to the same digest.
func (s *Registry) remake(ctx context.Context, l *lock.Lock, r recipe, where map[store.Path]digest.Digest, want digest.Digest) error {
	key := s.key(l, r)
	file, err := do(ctx, s, &s.layers, "again "+key, func(ctx context.Context) (*digestfile.File, error) {
		if in, err := s.cache.blob(ctx, want); err == nil { // Somebody was faster.
			in.Close()
			return nil, nil
		}
		return s.makeLayer(ctx, l, r, where, key)
	})
	if err == nil && file != nil && file.Descriptor.Digest != want {
		err = fmt.Errorf("layer %s made anew is %s: another release of strata made it", want, file.Descriptor.Digest)
	}
	return err
}

func (s *Registry) makeLayer(ctx context.Context, l *lock.Lock, r recipe, where map[store.Path]digest.Digest, key string) (*digestfile.File, error) {
	select {
	case s.workers <- struct{}{}:
		defer func() { <-s.workers }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	f, err := s.cache.create(blobsDir)
	if err != nil {
		return nil, err
	}
	defer f.Abort()
	var file *digestfile.File
	if r.Links {
		file, err = s.writeLinks(ctx, f, l, r, where)
	} else {
		file, err = s.writePaths(ctx, f, l, r)
	}
	if err != nil {
		return nil, err
	}
	if err := s.cache.commit(f, blobsDir+"/"+file.Descriptor.Digest.Encoded()); err != nil {
		return nil, err
	}
	b, err := file.Marshal()
	if err != nil {
		return nil, err
	}
	s.made.Add(1)
	what := fmt.Sprintf("%d store paths", len(r.Paths))
	if r.Links {
		what = "links to " + what
	}
	s.o.Log("layer %s made: %s, %d bytes", file.Descriptor.Digest, what, file.Descriptor.Size)
	return file, s.cache.put(layersDir+"/"+key, b)
}

func (s *Registry) layerOptions(f *atomicfile.File) layer.Options {
	return layer.Options{Compression: s.o.Compression, TempFile: narsource.TempFiles(f.Name())}
}

// writePaths writes a layer of store paths, as strata build and the rules make it.
func (s *Registry) writePaths(ctx context.Context, f *atomicfile.File, l *lock.Lock, r recipe) (file *digestfile.File, err error) {
	nars := make([]layer.NAR, len(r.Paths))
	for i, p := range r.Paths {
		nars[i] = l.NAR(s.o.Client, p)
	}
	err = layer.Retry(nars, func() error {
		if err := f.Truncate(0); err != nil {
			return err
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		file, err = layer.Write(ctx, f, nars, s.layerOptions(f))
		return err
	})
	return file, err
}

// linksVersion is raised whenever writeLinks writes something else than before.
const linksVersion = 1

// writeLinks writes the layer that lies on those of the store paths: /bin and all else that the packages have, as links; users,
// and a place for temporary files. Of two packages with a file in one place, the first has it. What the packages have is read out of
// the layers that where names; of those that are gone, out of their NARs.
func (s *Registry) writeLinks(ctx context.Context, f *atomicfile.File, l *lock.Lock, r recipe, where map[store.Path]digest.Digest) (*digestfile.File, error) {
	spec := &filelayer.Spec{Options: filelayer.Options{Collisions: filelayer.CollisionsFirst}}
	add := func(e filelayer.Entry) { spec.Entries = append(spec.Entries, e) }
	for _, p := range r.Paths {
		add(filelayer.Entry{Type: filelayer.TypeLinks, Root: p, By: "package " + p.Name()})
	}
	if r.Bash != "" {
		add(filelayer.Entry{Type: filelayer.TypeShell, Root: r.Bash, By: metaShell})
	}
	if r.Coreutils != "" {
		add(filelayer.Entry{Type: filelayer.TypeEnv, Root: r.Coreutils, By: metaShell})
	}
	add(filelayer.Entry{Type: filelayer.TypeUsers, Users: new(filelayer.Users), By: "users"})
	sticky := uint16(0o1777)
	add(filelayer.Entry{Type: filelayer.TypeDirectory, Path: "tmp", Mode: &sticky, By: "/tmp"})
	o := s.layerOptions(f)
	seen := &outlines{cache: s.cache, where: where, tempFile: o.TempFile}
	defer seen.close()
	if err := seen.read(ctx, r.Paths...); err != nil {
		return nil, err
	}
	nar := func(p store.Path) layer.NAR {
		if n, ok := seen.nar(p); ok {
			return n
		}
		return l.NAR(s.o.Client, p)
	}
	file, err := filelayer.Write(ctx, f, spec, filelayer.Sources{
		NAR: func(p store.Path) (layer.NAR, error) { return nar(p), nil },
		// What a profile links is as good as its own, and there is room for what other packages have beside it.
		Follow: func(p store.Path) (layer.NAR, bool) {
			if l.Paths[p] == nil {
				return layer.NAR{}, false
			}
			if err := seen.read(ctx, p); err != nil {
				return layer.NAR{}, false // Only if ctx has ended, or the disk is full.
			}
			return nar(p), true
		},
		TempFile: o.TempFile,
	}, o)
	var of *filelayer.FileError
	if errors.As(err, &of) {
		return nil, serve.Errorf(serve.CodeManifestUnknown, "package %s: it is a file, and an image is made of what packages have in directories such as bin", of.Root.Name())
	}
	return file, err
}

// openBlob opens a layer's blob, and makes it anew where the cache has lost it.
func (s *Registry) openBlob(ctx context.Context, d digest.Digest) (*os.File, error) {
	// With a cache smaller than what is asked for at once, a blob may be gone again before it is opened.
	const attempts = 3
	for range attempts {
		in, err := s.cache.blob(ctx, d)
		if !errors.Is(err, fs.ErrNotExist) {
			return in, err
		}
		rec := s.recordOf(d)
		if rec == nil {
			return nil, fs.ErrNotExist
		}
		at := slices.IndexFunc(rec.Layers, func(l recordLayer) bool { return l.Digest == d })
		if at < 0 {
			return nil, fs.ErrNotExist
		}
		l, err := lock.Parse([]byte(rec.Lock))
		if err != nil {
			return nil, fmt.Errorf("the lock of image %s: %w", rec.digest(), err)
		}
		if err := s.remake(ctx, l, rec.Layers[at].Recipe, rec.where(), d); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("blob %s is gone as soon as it is made: the cache is too small for what is asked for at once", d)
}
