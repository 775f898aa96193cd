package ondemand

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/lock"
	"github.com/rules-strata/rules_strata/tool/plan"
	"github.com/rules-strata/rules_strata/tool/project"
	"github.com/rules-strata/rules_strata/tool/serve"
	"github.com/rules-strata/rules_strata/tool/store"
)

// recordVersion is raised when a record has another form, or the same contents make another image.
const recordVersion = 1

// record is what is kept of an image: all but its blobs, and what to make these of.
type record struct {
	Manifest, Config string
	Layers           []recordLayer // lowest first
	// Lock is the text of the lock that the layers are made from.
	Lock string
}

type recordLayer struct {
	Digest digest.Digest
	Recipe recipe
}

func (r *record) digest() digest.Digest { return digest.FromString(r.Manifest) }

// where are the layers that store paths lie in.
func (r *record) where() map[store.Path]digest.Digest {
	where := map[store.Path]digest.Digest{}
	for _, l := range r.Layers {
		if l.Recipe.Links {
			continue
		}
		for _, p := range l.Recipe.Paths {
			where[p] = l.Digest
		}
	}
	return where
}

// documents and blobs by which the record may be looked up.
func (r *record) digests() []digest.Digest {
	all := []digest.Digest{r.digest(), digest.FromString(r.Config)}
	for _, l := range r.Layers {
		all = append(all, l.Digest)
	}
	return all
}

// imageKey names an image by all that it depends on.
func (s *Registry) imageKey(c *contents) string {
	type cache struct {
		URL      string
		Unsigned bool
	}
	of := struct {
		Version, Format, Links int
		Contents               *contents
		Caches                 []cache
		PublicKeys             []string
		Compression, Strategy  string
		MaxLayers              int
		LayerCost              int64
		Groups                 []plan.Group
	}{
		Version: recordVersion, Format: digestfile.FormatVersion, Links: linksVersion, Contents: c, Compression: s.o.Compression,
		Strategy: s.o.Project.Strategy, MaxLayers: s.o.MaxLayers, LayerCost: s.o.Project.LayerCost, Groups: s.o.Project.Groups,
	}
	for _, c := range s.o.Project.Caches {
		of.Caches = append(of.Caches, cache{c.URL, c.AllowUnsigned})
	}
	for _, k := range s.o.Project.PublicKeys {
		of.PublicKeys = append(of.PublicKeys, k.String())
	}
	return hashOf(of)
}

// image returns the record of an image, and makes the image if there is none.
func (s *Registry) image(ctx context.Context, c *contents) (*record, error) {
	key := s.imageKey(c)
	if r := s.record(key); r != nil {
		return r, nil
	}
	return do(ctx, s, &s.images, key, func(ctx context.Context) (*record, error) {
		if r := s.record(key); r != nil {
			return r, nil
		}
		if err := s.refused.of(key); err != nil {
			return nil, err
		}
		done, err := s.builds.enter(ctx, serve.ClientOf(ctx))
		if err != nil {
			return nil, err
		}
		defer done()
		r, err := s.makeImage(ctx, c)
		if err != nil {
			s.refused.remember(key, err)
			return nil, err
		}
		b, err := json.Marshal(r)
		if err != nil {
			return nil, err
		}
		if err := s.cache.put(imagesDir+"/"+key, b); err != nil {
			return nil, err
		}
		s.index(key, r)
		s.o.Log("image %s made: %d packages, %d layers", r.digest(), len(c.Roots), len(r.Layers))
		return r, nil
	})
}

func (s *Registry) makeImage(ctx context.Context, c *contents) (*record, error) {
	l, err := s.lock(ctx, c)
	if err != nil {
		return nil, err
	}
	closure := closureOf(l, c.Roots)
	size := int64(0)
	for _, p := range closure {
		size += l.Paths[p].NarSize
	}
	if size > s.o.MaxImageSize {
		return nil, serve.Errorf(serve.CodeDenied, "the image would have %d bytes unpacked, and this server makes none of more than %d", size, s.o.MaxImageSize)
	}
	recipes, err := s.plan(c, l, closure)
	if err != nil {
		return nil, err
	}
	files := make([]*digestfile.File, len(recipes))
	links := len(recipes) - 1 // They are read out of the others.
	g, of := errgroup.WithContext(ctx)
	for i, r := range recipes[:links] {
		g.Go(func() (err error) {
			files[i], err = s.layer(of, l, r, nil)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	where := map[store.Path]digest.Digest{}
	for i, r := range recipes[:links] {
		for _, p := range r.Paths {
			where[p] = files[i].Descriptor.Digest
		}
	}
	if files[links], err = s.layer(ctx, l, recipes[links], where); err != nil {
		return nil, err
	}
	img, err := image.Build(s.settings(c), files)
	if err != nil {
		return nil, err
	}
	text, err := l.Marshal()
	if err != nil {
		return nil, err
	}
	r := &record{Manifest: string(img.Manifest), Config: string(img.Config), Lock: string(text)}
	for i, f := range files {
		r.Layers = append(r.Layers, recordLayer{f.Descriptor.Digest, recipes[i]})
	}
	return r, nil
}

// lock asks the caches for the closure of the packages and checks the signatures. What earlier images have of it isn't asked for again.
func (s *Registry) lock(ctx context.Context, c *contents) (*lock.Lock, error) {
	p := *s.o.Project
	// The layers are planned for all packages together, afterwards.
	p.Channels, p.Roots, p.Strategy, p.Groups = nil, nil, plan.Single, nil
	for i, path := range c.Roots {
		p.Roots = append(p.Roots, project.Root{Name: fmt.Sprintf("r%03d", i), System: c.System, Path: path})
	}
	s.mu.Lock()
	previous := &lock.Lock{Caches: s.knownCaches, Paths: maps.Clone(s.knownPaths)}
	s.mu.Unlock()
	l, err := lock.Make(ctx, lock.Options{Project: &p, Dir: s.o.Dir, LockDir: s.o.Dir, Client: s.o.Client, Previous: previous})
	if err != nil {
		var of *lock.PathError
		if errors.As(err, &of) && ctx.Err() == nil {
			e := serve.Errorf(serve.CodeManifestUnknown, "%v", of)
			e.Err = err
			return nil, e
		}
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.knownPaths == nil || len(s.knownPaths) > maxKnown {
		s.knownPaths = map[store.Path]*lock.Path{}
	}
	s.knownCaches = l.Caches
	maps.Copy(s.knownPaths, l.Paths)
	return l, nil
}

// maxKnown bounds the narinfos that are remembered.
const maxKnown = 1 << 16

// plan returns the layers of an image, lowest first; the last is that of links.
func (s *Registry) plan(c *contents, l *lock.Lock, closure []store.Path) ([]recipe, error) {
	const name = "image"
	p, err := plan.Make([]plan.Image{{Root: name, System: c.System, Roots: c.Roots, Closure: l.PlanPaths(closure)}}, plan.Options{
		Strategy: s.o.Project.Strategy, MaxLayers: s.o.MaxLayers - 1, LayerCost: s.o.Project.LayerCost, Groups: s.o.Project.Groups,
	})
	if err != nil {
		return nil, err
	}
	var out []recipe
	for _, of := range p.Images[name][c.System] {
		out = append(out, recipe{Paths: p.Layers[of]})
	}
	return append(out, recipe{Paths: c.Roots, Links: true, Bash: c.Bash, Coreutils: c.Coreutils}), nil
}

func (s *Registry) settings(c *contents) image.Settings {
	settings := image.Settings{System: c.System, Env: []string{"PATH=/bin:/sbin"}, MaxLayers: s.o.MaxLayers}
	if c.Certificates {
		settings.Env = append(settings.Env, "SSL_CERT_FILE=/etc/ssl/certs/ca-bundle.crt")
	}
	if c.Bash != "" {
		settings.Cmd = []string{"/bin/bash"}
	}
	return settings
}

// manifest is the record's manifest as a server wants it.
func (r *record) manifest() (*serve.Manifest, error) {
	return &serve.Manifest{MediaType: ocispec.MediaTypeImageManifest, Digest: r.digest(), Bytes: []byte(r.Manifest)}, nil
}

// record returns the record of that key; nil if there is none.
func (s *Registry) record(key string) *record {
	b, err := s.cache.get(imagesDir + "/" + key)
	if err != nil {
		return nil
	}
	r := new(record)
	if err := json.Unmarshal(b, r); err != nil {
		return nil
	}
	return r
}

// index makes the record known under its digests.
func (s *Registry) index(key string, r *record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.keys) > maxKeys { // Those of images that the cache has lost are of no use.
		for d, keys := range s.keys {
			if keys = slices.DeleteFunc(keys, func(key string) bool { return !s.cache.has(imagesDir + "/" + key) }); len(keys) == 0 {
				delete(s.keys, d)
			} else {
				s.keys[d] = keys
			}
		}
	}
	for _, d := range r.digests() {
		if keys := s.keys[d]; !slices.Contains(keys, key) {
			s.keys[d] = append(keys, key)
		}
	}
}

// maxKeys is how many digests are known before it is seen which of them are of use still.
const maxKeys = 1 << 18

// recordOf returns a record that has a manifest, config or layer of that digest; nil if there is none any more.
func (s *Registry) recordOf(d digest.Digest) *record {
	s.mu.Lock()
	keys := slices.Clone(s.keys[d])
	s.mu.Unlock()
	for _, key := range keys {
		if r := s.record(key); r != nil {
			return r
		}
		s.mu.Lock() // It was evicted.
		s.keys[d] = slices.DeleteFunc(s.keys[d], func(k string) bool { return k == key })
		if len(s.keys[d]) == 0 {
			delete(s.keys, d)
		}
		s.mu.Unlock()
	}
	return nil
}
