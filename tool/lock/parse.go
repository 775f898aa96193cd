package lock

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/narfile"
	"github.com/rules-strata/rules_strata/tool/narinfo"
	"github.com/rules-strata/rules_strata/tool/plan"
	"github.com/rules-strata/rules_strata/tool/project"
	"github.com/rules-strata/rules_strata/tool/store"
	"github.com/rules-strata/rules_strata/tool/strictjson"
)

// Parse reads what [Lock.Marshal] wrote and checks that it is whole: every
// field of every path is there, every file is one of a cache, every reference is a path of the lock, no two paths
// refer to each other, every path is in some root's closure, and the plan covers each root's
// closure exactly once. Errors say where in the file.
func Parse(b []byte) (*Lock, error) {
	if len(b) > MaxSize {
		return nil, fmt.Errorf("over %d bytes", MaxSize)
	}
	doc, err := strictjson.Parse(b)
	if err != nil {
		return nil, err
	}
	p := parser{
		lock: &Lock{
			Roots: map[string]map[string]store.Path{},
			Paths: map[store.Path]*Path{},
			Plan:  &plan.Plan{Layers: map[string][]store.Path{}, Images: map[string]map[string][]string{}},
		},
		values: map[store.Path]*strictjson.Value{},
	}
	if err := doc.Members(p.checkVersion); err != nil {
		return nil, err
	}
	err = doc.Fields(
		strictjson.Field{Name: "version", Read: func(*strictjson.Value) error { return nil }},
		strictjson.Field{Name: "caches", Read: p.caches},
		strictjson.Field{Name: "paths", Read: p.paths},
		strictjson.Field{Name: "roots", Read: p.roots},
		strictjson.Field{Name: "sources", Read: p.sources, Optional: true},
		strictjson.Field{Name: "mirrors", Read: p.mirrors, Optional: true},
		strictjson.Field{Name: "plan", Read: p.plan},
	)
	if err != nil {
		return nil, err
	}
	return p.lock, nil
}

type parser struct {
	lock     *Lock
	storeDir string
	// values are where the paths stand, for errors that come later.
	values map[store.Path]*strictjson.Value
}

// checkVersion comes before all: another version may have other fields.
func (p *parser) checkVersion(name string, v *strictjson.Value) error {
	if name != "version" {
		return nil
	}
	n, err := v.Int()
	if err == nil && n != Version {
		err = v.Errorf("this strata reads locks of version %d, found %d; use the release that wrote it, or lock anew", Version, n)
	}
	return err
}

func (p *parser) caches(v *strictjson.Value) error {
	err := v.Each(func(e *strictjson.Value) error {
		var url string
		if err := strictjson.Parsed(&url, parseCacheURL)(e); err != nil {
			return err
		}
		if slices.Contains(p.lock.Caches, url) {
			return e.Errorf("%s is there twice", url)
		}
		p.lock.Caches = append(p.lock.Caches, url)
		return nil
	})
	if err == nil && len(p.lock.Caches) == 0 {
		err = v.Errorf("want at least one")
	}
	return err
}

func (p *parser) paths(v *strictjson.Value) error {
	err := v.Members(func(name string, m *strictjson.Value) error {
		path, err := store.ParsePath(name)
		if err != nil {
			return m.Errorf("%w", err)
		}
		if p.storeDir == "" {
			p.storeDir = path.Dir()
		}
		if path.Dir() != p.storeDir {
			return m.Errorf("want paths of one store directory, found %s and %s", p.storeDir, path.Dir())
		}
		p.values[path] = m
		p.lock.Paths[path], err = p.path(m)
		if err != nil || p.lock.Paths[path].ContentAddressed == "" {
			return err
		}
		out := p.lock.Paths[path]
		ca, err := store.ParseContentAddress(out.ContentAddressed)
		if err == nil {
			err = checkContentAddress(ca, path, out.References, out.NarHash)
		}
		if err != nil {
			return m.Errorf("content_addressed: %w", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, path := range slices.Sorted(maps.Keys(p.lock.Paths)) {
		for _, r := range p.lock.Paths[path].References {
			if p.lock.Paths[r] == nil {
				return p.values[path].Errorf("references: %s is not among the lock's paths", r.Base())
			}
		}
	}
	if cycle := findCycle(p.lock.Paths); cycle != nil {
		return p.values[cycle[0]].Errorf("%w", errCycle(cycle))
	}
	return nil
}

func (p *parser) path(v *strictjson.Value) (*Path, error) {
	out := new(Path)
	err := v.Fields(
		strictjson.Field{Name: "url", Read: strictjson.Parsed(&out.URL, p.parseFileURL)},
		strictjson.Field{Name: "compression", Read: strictjson.Parsed(&out.Compression, func(s string) (string, error) {
			return s, narfile.CheckCompression(s)
		})},
		strictjson.Field{Name: "file_hash", Read: strictjson.Parsed(&out.FileHash, parseHash)},
		strictjson.Field{Name: "file_size", Read: sizeInto(&out.FileSize)},
		strictjson.Field{Name: "nar_hash", Read: strictjson.Parsed(&out.NarHash, parseHash)},
		strictjson.Field{Name: "nar_size", Read: sizeInto(&out.NarSize)},
		strictjson.Field{Name: "references", Read: func(v *strictjson.Value) (err error) {
			out.References, err = p.baseNames(v)
			return err
		}},
		strictjson.Field{Name: "signature", Read: strictjson.Parsed(&out.Signature, parseSignature), Optional: true},
		strictjson.Field{Name: "signed_by", Read: wordInto(&out.SignedBy), Optional: true},
		strictjson.Field{Name: "content_addressed", Read: strictjson.Parsed(&out.ContentAddressed, parseContentAddressed), Optional: true},
		strictjson.Field{Name: "allowed_unsigned_by", Read: strictjson.Parsed(&out.AllowedUnsignedBy, p.parseKnownCache), Optional: true},
	)
	if err != nil {
		return nil, err
	}
	vouching := 0
	for _, s := range []string{out.Signature, out.SignedBy, out.ContentAddressed, out.AllowedUnsignedBy} {
		if s != "" {
			vouching++
		}
	}
	if vouching != 1 {
		return nil, v.Errorf("want one of signature, signed_by, content_addressed and allowed_unsigned_by")
	}
	return out, nil
}

// parseSignature takes a signature of the one kind that Nix makes. Whether it is right
// only who has the public key can say.
func parseSignature(s string) (string, error) {
	sig, err := narinfo.ParseSignature(s)
	if err == nil && len(sig.Bytes) != ed25519.SignatureSize {
		err = fmt.Errorf("want a signature of %d bytes, found %d", ed25519.SignatureSize, len(sig.Bytes))
	}
	return s, err
}

// parseContentAddressed takes the one form that Marshal writes.
func parseContentAddressed(s string) (string, error) {
	ca, err := store.ParseContentAddress(s)
	if err == nil && ca.String() != s {
		err = fmt.Errorf("want %s, found %s", ca, s)
	}
	return s, err
}

// parseFileURL takes the URL of a file of one of the lock's caches.
func (p *parser) parseFileURL(s string) (string, error) {
	if _, err := parseURL(s); err != nil {
		return "", err
	}
	for _, c := range p.lock.Caches {
		if _, ok := below(c, s); ok {
			return s, nil
		}
	}
	return "", fmt.Errorf("%s: want a file of one of the lock's caches: %s", fetch.Redact(s), strings.Join(p.lock.Caches, ", "))
}

// parseKnownCache takes one of the lock's caches.
func (p *parser) parseKnownCache(s string) (string, error) {
	if !slices.Contains(p.lock.Caches, s) {
		return "", fmt.Errorf("%s: want one of the lock's caches: %s", fetch.Redact(s), strings.Join(p.lock.Caches, ", "))
	}
	return s, nil
}

func parseURL(s string) (string, error) {
	if err := fetch.Check(s); err != nil {
		return "", err
	}
	if withoutUser(s) != s {
		return "", fmt.Errorf("%s: a lock holds no credentials", fetch.Redact(s))
	}
	return s, nil
}

// parseHash takes the one form that Marshal writes, so that the same lock is the same text.
func parseHash(s string) (store.Hash, error) {
	h, err := store.ParseHash(s)
	switch {
	case err != nil:
		return h, err
	case s != h.String():
		return h, fmt.Errorf("want %s, found %s", h, s)
	case h.IsZero():
		return h, errors.New("the hash is not set")
	}
	return h, nil
}

func sizeInto(p *int64) func(*strictjson.Value) error {
	return func(v *strictjson.Value) (err error) {
		if *p, err = v.Int(); err == nil && *p <= 0 {
			err = v.Errorf("want a number of bytes above 0, found %d", *p)
		}
		return err
	}
}

func wordInto(p *string) func(*strictjson.Value) error {
	return func(v *strictjson.Value) (err error) {
		if *p, err = v.Text(); err == nil && *p == "" {
			err = v.Errorf("want no empty string; leave the field out")
		}
		return err
	}
}

// baseNames reads a list of store paths by their base names, in ascending order.
func (p *parser) baseNames(v *strictjson.Value) ([]store.Path, error) {
	out := []store.Path{}
	err := v.Each(func(e *strictjson.Value) error {
		base, err := e.Text()
		if err != nil {
			return err
		}
		path, err := store.JoinPath(p.storeDir, base)
		if err != nil {
			return e.Errorf("%w", err)
		}
		if len(out) > 0 && path <= out[len(out)-1] {
			return e.Errorf("want base names in ascending order, each once; found %s after %s", base, out[len(out)-1].Base())
		}
		out = append(out, path)
		return nil
	})
	return out, err
}

func (p *parser) roots(v *strictjson.Value) error {
	reached := map[store.Path]bool{}
	err := v.Members(func(name string, systems *strictjson.Value) error {
		if err := project.CheckRootName(name); err != nil {
			return systems.Errorf("%w", err)
		}
		p.lock.Roots[name] = map[string]store.Path{}
		err := systems.Members(func(system string, v *strictjson.Value) error {
			if _, err := project.ParseSystem(system); err != nil {
				return v.Errorf("%w", err)
			}
			path, err := v.Text()
			if err != nil {
				return err
			}
			if p.lock.Paths[store.Path(path)] == nil {
				return v.Errorf("%s is not among the lock's paths", path)
			}
			p.lock.Roots[name][system] = store.Path(path)
			for _, c := range p.lock.Closure(store.Path(path)) {
				reached[c] = true
			}
			return nil
		})
		if err == nil && len(p.lock.Roots[name]) == 0 {
			err = systems.Errorf("the root has no store path")
		}
		return err
	})
	if err != nil {
		return err
	}
	if len(p.lock.Roots) == 0 {
		return v.Errorf("want at least one")
	}
	for _, path := range slices.Sorted(maps.Keys(p.lock.Paths)) {
		if !reached[path] {
			return p.values[path].Errorf("no root needs this path; lock anew")
		}
	}
	return nil
}

// maxSource bounds the text of a root's source, in bytes.
const maxSource = 4 << 10

func (p *parser) sources(v *strictjson.Value) error {
	p.lock.Sources = map[string]map[string]string{}
	err := v.Members(func(root string, systems *strictjson.Value) error {
		if p.lock.Roots[root] == nil {
			return systems.Errorf("there is no such root")
		}
		of := map[string]string{}
		p.lock.Sources[root] = of
		err := systems.Members(func(system string, v *strictjson.Value) error {
			if p.lock.Roots[root][system] == "" {
				return v.Errorf("the root has no store path for this system")
			}
			text, err := v.Text()
			if err != nil {
				return err
			}
			if text == "" || len(text) > maxSource {
				return v.Errorf("want 1 to %d characters", maxSource)
			}
			of[system] = text
			return nil
		})
		if err == nil && len(of) == 0 {
			err = systems.Errorf("want at least one system; leave the root out")
		}
		return err
	})
	if err == nil && len(p.lock.Sources) == 0 {
		err = v.Errorf("want at least one root; leave the field out")
	}
	return err
}

func (p *parser) mirrors(v *strictjson.Value) error {
	p.lock.Mirrors = map[string][]string{}
	err := v.Members(func(cache string, list *strictjson.Value) error {
		if _, err := p.parseKnownCache(cache); err != nil {
			return list.Errorf("%w", err)
		}
		var mirrors []string
		err := list.Each(func(e *strictjson.Value) error {
			var url string
			if err := strictjson.Parsed(&url, parseCacheURL)(e); err != nil {
				return err
			}
			if url == cache || slices.Contains(mirrors, url) {
				return e.Errorf("%s is there twice", url)
			}
			mirrors = append(mirrors, url)
			return nil
		})
		if err == nil && len(mirrors) == 0 {
			err = list.Errorf("want at least one URL")
		}
		p.lock.Mirrors[cache] = mirrors
		return err
	})
	if err == nil && len(p.lock.Mirrors) == 0 {
		err = v.Errorf("want at least one cache; leave the field out")
	}
	return err
}

// parseCacheURL takes the one form that Marshal writes: without credentials and without a slash at its end.
func parseCacheURL(s string) (string, error) {
	if _, err := parseURL(s); err != nil {
		return "", err
	}
	url, err := project.ParseCacheURL(s)
	if err == nil && url != s {
		err = fmt.Errorf("want %s, found %s", url, s)
	}
	return s, err
}

func (p *parser) plan(v *strictjson.Value) error {
	layers := map[string]*strictjson.Value{}
	used := map[string]bool{}
	pl := p.lock.Plan
	err := v.Fields(
		strictjson.Field{Name: "strategy", Read: wordInto(&pl.Strategy)},
		strictjson.Field{Name: "max_layers", Read: func(v *strictjson.Value) error {
			n, err := v.Int()
			if err != nil {
				return err
			}
			if n < 1 || n > plan.MaxLayers {
				return v.Errorf("want 1 to %d, found %d", plan.MaxLayers, n)
			}
			pl.MaxLayers = int(n)
			return nil
		}},
		strictjson.Field{Name: "layers", Read: func(v *strictjson.Value) error {
			return v.Members(func(name string, m *strictjson.Value) error {
				if err := plan.CheckName(name); err != nil {
					return m.Errorf("%w", err)
				}
				paths, err := p.baseNames(m)
				if err != nil {
					return err
				}
				if len(paths) == 0 {
					return m.Errorf("want at least one store path")
				}
				for _, path := range paths {
					if p.lock.Paths[path] == nil {
						return m.Errorf("%s is not among the lock's paths", path.Base())
					}
				}
				pl.Layers[name], layers[name] = paths, m
				return nil
			})
		}},
		strictjson.Field{Name: "images", Read: func(v *strictjson.Value) error { return p.images(v, used) }},
		strictjson.Field{Name: "history", Read: p.history, Optional: true},
	)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(layers)) {
		if !used[name] {
			return layers[name].Errorf("no image has this layer; lock anew")
		}
		paths := make([]plan.Path, len(pl.Layers[name]))
		for i, path := range pl.Layers[name] {
			paths[i] = plan.Path{Path: path, NarSize: p.lock.Paths[path].NarSize}
		}
		// A name says what a layer holds, to who reviews the lock and to the next plan.
		if want := plan.LayerName(paths); name != want {
			return layers[name].Errorf("a layer of these paths is named %q; lock anew, or give it that name here and in images", want)
		}
	}
	return nil
}

// history reads what the planner remembers. No layer depends on it before the next lock.
func (p *parser) history(v *strictjson.Value) error {
	h := &plan.History{Packages: map[string]plan.PackageHistory{}}
	p.lock.Plan.History = h
	count := func(to *int, most func() int) func(*strictjson.Value) error {
		return func(v *strictjson.Value) error {
			n, err := v.Int()
			if err == nil && (n < 1 || n > int64(most())) {
				err = v.Errorf("want 1 to %d updates, found %d", most(), n)
			}
			*to = int(n)
			return err
		}
	}
	return v.Fields(
		strictjson.Field{Name: "updates", Read: count(&h.Updates, func() int { return plan.MaxUpdates })},
		strictjson.Field{Name: "packages", Read: func(v *strictjson.Value) error {
			return v.Members(func(name string, v *strictjson.Value) error {
				var k plan.PackageHistory
				err := v.Fields(
					strictjson.Field{Name: "since", Optional: true, Read: count(&k.Since, func() int { return h.Updates })},
					strictjson.Field{Name: "changes", Optional: true, Read: count(&k.Changes, func() int { return h.Updates - k.Since })},
				)
				if err == nil && k == (plan.PackageHistory{}) {
					err = v.Errorf("want since or changes; leave the package out")
				}
				h.Packages[name] = k
				return err
			})
		}},
	)
}

func (p *parser) images(v *strictjson.Value, used map[string]bool) error {
	pl := p.lock.Plan
	err := v.Members(func(root string, systems *strictjson.Value) error {
		if p.lock.Roots[root] == nil {
			return systems.Errorf("there is no such root")
		}
		pl.Images[root] = map[string][]string{}
		return systems.Members(func(system string, v *strictjson.Value) error {
			path, ok := p.lock.Roots[root][system]
			if !ok {
				return v.Errorf("the root has no store path for this system")
			}
			names, err := p.image(v, path)
			for _, name := range names {
				used[name] = true
			}
			pl.Images[root][system] = names
			return err
		})
	})
	if err != nil {
		return err
	}
	for _, root := range slices.Sorted(maps.Keys(p.lock.Roots)) {
		for _, system := range slices.Sorted(maps.Keys(p.lock.Roots[root])) {
			if _, ok := pl.Images[root][system]; !ok {
				return v.Errorf("the root %s on %s has no layers", root, system)
			}
		}
	}
	return nil
}

// image reads the layers of the image of root, which must hold its closure exactly once.
func (p *parser) image(v *strictjson.Value, root store.Path) ([]string, error) {
	var names []string
	in := map[store.Path]string{} // path → layer
	err := v.Each(func(e *strictjson.Value) error {
		name, err := e.Text()
		if err != nil {
			return err
		}
		paths, ok := p.lock.Plan.Layers[name]
		if !ok {
			return e.Errorf("there is no layer %q in plan.layers", name)
		}
		for _, path := range paths {
			if other, ok := in[path]; ok {
				return e.Errorf("%s is in two layers of the image: %s and %s", path, other, name)
			}
			in[path] = name
		}
		names = append(names, name)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(names) > p.lock.Plan.MaxLayers {
		return nil, v.Errorf("want at most max_layers = %d layers, found %d", p.lock.Plan.MaxLayers, len(names))
	}
	for _, path := range p.lock.Closure(root) {
		if _, ok := in[path]; !ok {
			return nil, v.Errorf("%s is in no layer of the image", path)
		}
		delete(in, path)
	}
	for _, path := range slices.Sorted(maps.Keys(in)) {
		return nil, v.Errorf("%s is in the layer %s, but not in the closure of %s", path, in[path], root)
	}
	return names, nil
}

// findCycle returns paths each of which refers to the next, and the last to the
// first; nil if there are none. That a path refers to itself is usual and no
// cycle. Of several cycles it always finds the same.
func findCycle(paths map[store.Path]*Path) []store.Path {
	const (
		open = 1 + iota // on the way from the start
		done            // no cycle behind it
	)
	state := make(map[store.Path]int, len(paths))
	type step struct {
		path store.Path
		next int // of its references
	}
	for _, start := range slices.Sorted(maps.Keys(paths)) {
		if state[start] == done {
			continue
		}
		state[start] = open
		way := []step{{path: start}} // a stack of our own: chains may be long
		for len(way) > 0 {
			top := &way[len(way)-1]
			refs := paths[top.path].References
			if top.next == len(refs) {
				state[top.path] = done
				way = way[:len(way)-1]
				continue
			}
			r := refs[top.next]
			top.next++
			switch {
			case r == top.path || state[r] == done || paths[r] == nil:
			case state[r] == open:
				i := slices.IndexFunc(way, func(s step) bool { return s.path == r })
				var cycle []store.Path
				for _, s := range way[i:] {
					cycle = append(cycle, s.path)
				}
				return cycle
			default:
				state[r] = open
				way = append(way, step{path: r})
			}
		}
	}
	return nil
}

func errCycle(cycle []store.Path) error {
	var b strings.Builder
	for _, p := range cycle {
		b.WriteString(string(p))
		b.WriteString(" → ")
	}
	return fmt.Errorf("store paths refer to each other in a circle, which no store holds: %s%s", b.String(), cycle[0])
}
