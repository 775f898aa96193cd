package plan

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rules-strata/rules_strata/tool/store"
)

const (
	// DefaultMaxLayers is the number of layers where nobody said another.
	DefaultMaxLayers = 64
	// MaxLayers is the most that may be asked for: docker's graph drivers
	// ("max depth exceeded") and others refuse images of more.
	MaxLayers = 125
)

// Path is a store path with what it weighs.
type Path struct {
	Path store.Path
	// NarSize is the size of its NAR in bytes.
	NarSize int64
	// References are the store paths that it refers to; itself may be among them.
	// [LargestFirst] and [Shrink] don't need them.
	References []store.Path
	// Package and Version are what the path is of, as far as is known otherwise than by its
	// name; both empty: they are read from the name, as [store.SplitName] does.
	Package, Version string
}

// named returns p with Package and Version.
func (p Path) named() Path {
	if p.Package == "" && p.Version == "" {
		p.Package, p.Version = store.SplitName(p.Path.Name())
	}
	return p
}

// Image is one image to be: the closure of a root on a system.
type Image struct {
	Root, System string
	// Roots are the store paths whose closure it is; nil: those of Closure that no other path of it refers to.
	Roots []store.Path
	// Closure is every path that the image holds, each once, in any order.
	Closure []Path
}

// where names the image in errors.
func (i Image) where() string {
	if i.System == "" {
		return "root " + i.Root
	}
	return "root " + i.Root + " on " + i.System
}

// Layer is a group of store paths.
type Layer struct {
	// Name says what is in it: layers of the same paths have the same name, and
	// no others. It is made of the characters of a store path's base name.
	Name string
	// Paths are sorted.
	Paths []store.Path
}

// Plan is how all images of a lock are layered.
type Plan struct {
	// Strategy is the name of what made the plan.
	Strategy string
	// MaxLayers is the limit that it kept to.
	MaxLayers int
	// Layers holds the paths of each layer by its name; each is in some image.
	Layers map[string][]store.Path
	// Images holds the layers' names by root and system, lowest layer first.
	Images map[string]map[string][]string
	// History is what is known of earlier plans; only [Fleet] has one.
	History *History
}

// Options say how [Make] plans. The zero value is [Fleet], without a past.
type Options struct {
	// Strategy is one of [Strategies]; empty: [Fleet].
	Strategy string
	// MaxLayers is the most layers that an image may have; 0: [DefaultMaxLayers].
	MaxLayers int
	// LayerCost is what a layer costs beside its bytes, each time it is sent: requests,
	// round trips, in bytes that could have been sent meanwhile. For [Fleet]. With 0, paths
	// are put together only where there are more of them than layers.
	LayerCost int64
	// Groups are what people want to lie together, whatever the strategy.
	Groups []Group
	// Previous is the plan before, and of which paths; nil if there is none. For [Fleet].
	Previous *Previous
	// Popularity is how many others depend on a package, by its name, in all that there
	// is; for the strategy [Nixery].
	Popularity map[string]int64
}

// Previous is what was planned before, and for which paths. It may be of another closure, and even
// damaged: what doesn't fit the images is left.
type Previous struct {
	// Plan is the plan. Only Layers, Images and History are read.
	Plan Plan
	// Paths are those of all images then. Only Path, Package and Version are read.
	Paths []Path
}

// CheckMaxLayers says why n is no limit.
func CheckMaxLayers(n int) error {
	if n < 1 || n > MaxLayers {
		return fmt.Errorf("max_layers %d: want 1 to %d (docker's graph drivers refuse images of more layers)", n, MaxLayers)
	}
	return nil
}

const (
	// maxNarSize bounds a path, in bytes.
	maxNarSize = 1 << 48
	// maxTotal bounds all paths together, so that no sum of sizes overflows.
	maxTotal = 1 << 60
)

// Make plans images. Layers of the same paths are one layer, whichever images
// they are in. What is wrong with the images, as a path that is there twice,
// with two sizes or with a reference that leads nowhere or in a circle, is an error that names it.
func Make(images []Image, o Options) (*Plan, error) {
	o.Strategy = cmp.Or(o.Strategy, Fleet)
	o.MaxLayers = cmp.Or(o.MaxLayers, DefaultMaxLayers)
	strategy, ok := strategies[o.Strategy]
	if !ok {
		return nil, fmt.Errorf("strategy %q: want one of %s", o.Strategy, strings.Join(Strategies(), ", "))
	}
	if err := CheckMaxLayers(o.MaxLayers); err != nil {
		return nil, err
	}
	if o.LayerCost < 0 || o.LayerCost > maxNarSize {
		return nil, fmt.Errorf("layer_cost %d: want 0 to %d bytes", o.LayerCost, int64(maxNarSize))
	}
	g, err := newGraph(images)
	if err != nil {
		return nil, err
	}
	p := &Plan{
		Strategy:  o.Strategy,
		MaxLayers: o.MaxLayers,
		Layers:    map[string][]store.Path{},
		Images:    map[string]map[string][]string{},
	}
	layers, err := planAll(g, o, strategy, p)
	if err != nil {
		return nil, err
	}
	for i, image := range images {
		if err := g.check(i, layers[i], o.MaxLayers); err != nil {
			return nil, err
		}
		var names []string
		for _, l := range layers[i] {
			named := g.layer(l)
			if other, ok := p.Layers[named.Name]; ok && !slices.Equal(other, named.Paths) {
				return nil, fmt.Errorf("%s: two layers would bear the name %s (their hashes begin alike): choose another max_layers", image.where(), named.Name)
			}
			p.Layers[named.Name] = named.Paths
			names = append(names, named.Name)
		}
		if p.Images[image.Root] == nil {
			p.Images[image.Root] = map[string][]string{}
		}
		if _, ok := p.Images[image.Root][image.System]; ok {
			return nil, fmt.Errorf("%s: given twice", image.where())
		}
		p.Images[image.Root][image.System] = names
	}
	return p, nil
}

// planAll returns the layers of each image, lowest first: those of o.Groups, and what the strategy makes of the rest.
func planAll(g *graph, o Options, s strategy, p *Plan) ([][]group, error) {
	wanted, err := g.groups(o.Groups, o.MaxLayers)
	if err != nil {
		return nil, err
	}
	if s.all != nil {
		layers, costs, history := s.all(g, wanted, o)
		p.History = history
		g.order(layers, costs)
		return layers, nil
	}
	layers := make([][]group, len(g.images))
	for i := range g.images {
		rest := g.without(i, wanted[i])
		layers[i] = wanted[i]
		if len(rest) > 0 {
			layers[i] = append(layers[i], s.one(g, i, rest, o.MaxLayers-len(wanted[i]), o)...)
		}
	}
	g.order(layers, newCosts(g, firstRates(g), 0))
	return layers, nil
}

// check holds a plan of image i against what must be true of it.
func (g *graph) check(i int, layers []group, maxLayers int) error {
	where := g.images[i].where
	if len(layers) > maxLayers {
		return fmt.Errorf("%s: %d layers, but max_layers is %d", where, len(layers), maxLayers)
	}
	seen := make(map[int32]int, len(g.images[i].paths))
	for n, l := range layers {
		if len(l) == 0 {
			return fmt.Errorf("%s: layer %d is empty", where, n+1)
		}
		for _, x := range l {
			if other, twice := seen[x]; twice {
				return fmt.Errorf("%s: %s is in two layers, %d and %d", where, g.paths[x].Path, other+1, n+1)
			}
			seen[x] = n
		}
	}
	for _, x := range g.images[i].paths {
		if _, ok := seen[x]; !ok {
			return fmt.Errorf("%s: %s is in no layer", where, g.paths[x].Path)
		}
		delete(seen, x)
	}
	for x := range seen {
		return fmt.Errorf("%s: %s is in a layer, but not in the closure", where, g.paths[x].Path)
	}
	return nil
}

// LargestFirst groups a closure into at most maxLayers layers, lowest first.
// The paths are taken by NarSize, largest first, and by store path where that is
// equal. Up to maxLayers of them get a layer each; of more, the first
// maxLayers-1 do, and the others share the last. An empty closure has no layer.
func LargestFirst(closure []Path, maxLayers int) ([]Layer, error) {
	if err := CheckMaxLayers(maxLayers); err != nil {
		return nil, err
	}
	sorted := slices.Clone(closure)
	slices.SortFunc(sorted, largestFirst)
	seen := make(map[store.Path]bool, len(sorted))
	for _, p := range sorted {
		if p.NarSize < 0 {
			return nil, fmt.Errorf("%s: NarSize %d is negative", p.Path, p.NarSize)
		}
		if seen[p.Path] {
			return nil, fmt.Errorf("%s is in the closure twice", p.Path)
		}
		seen[p.Path] = true
	}
	alone := len(sorted)
	if alone > maxLayers {
		alone = maxLayers - 1
	}
	layers := make([]Layer, 0, min(len(sorted), maxLayers))
	for _, p := range sorted[:alone] {
		layers = append(layers, Layer{Name: p.Path.Base(), Paths: []store.Path{p.Path}})
	}
	if rest := sorted[alone:]; len(rest) > 0 {
		layers = append(layers, newLayer(rest))
	}
	return layers, nil
}

// Shrink returns the layers of an image, whose closure is given, within a
// smaller limit: of more than maxLayers layers the first maxLayers-1 stay as
// they are, so that they are still shared with other images, and what the
// others hold becomes the last. What LargestFirst made, it makes as
// LargestFirst does with the smaller limit.
func Shrink(layers []Layer, closure []Path, maxLayers int) ([]Layer, error) {
	if err := CheckMaxLayers(maxLayers); err != nil {
		return nil, err
	}
	if len(layers) <= maxLayers {
		return layers, nil
	}
	size := make(map[store.Path]int64, len(closure))
	for _, p := range closure {
		size[p.Path] = p.NarSize
	}
	var rest []Path
	for _, l := range layers[maxLayers-1:] {
		for _, p := range l.Paths {
			n, ok := size[p]
			if !ok {
				return nil, fmt.Errorf("%s is in the layer %s, but not in the closure", p, l.Name)
			}
			rest = append(rest, Path{Path: p, NarSize: n})
		}
	}
	return append(slices.Clone(layers[:maxLayers-1]), newLayer(rest)), nil
}

func largestFirst(a, b Path) int {
	return cmp.Or(cmp.Compare(b.NarSize, a.NarSize), cmp.Compare(a.Path, b.Path))
}

// newLayer makes a layer, named after what it holds.
func newLayer(paths []Path) Layer {
	l := Layer{Name: LayerName(paths), Paths: make([]store.Path, len(paths))}
	for i, p := range paths {
		l.Paths[i] = p.Path
	}
	slices.Sort(l.Paths)
	return l
}

// LayerName is the name of the layer that holds paths, in any order and at
// least one: the base name of a single one, else the name of the largest, how
// many there are beside it, and a hash of all.
func LayerName(paths []Path) string {
	largest := slices.MinFunc(paths, largestFirst)
	if len(paths) == 1 {
		return largest.Path.Base()
	}
	all := make([]string, len(paths))
	for i, p := range paths {
		all[i] = string(p.Path)
	}
	slices.Sort(all)
	h := sha256.Sum256([]byte(strings.Join(all, "\n")))
	return fmt.Sprintf("%s-and-%d-more-%s", largest.Path.Name(), len(paths)-1, hex.EncodeToString(h[:4]))
}

// CheckName says why name is no name of a layer: it becomes a Bazel target's
// and part of a file's, so it is made of the characters of a store path's base name.
func CheckName(name string) error {
	const maxLen = 255
	if name == "" || name == "." || name == ".." || len(name) > maxLen {
		return fmt.Errorf("layer name %q: want 1 to %d characters", name, maxLen)
	}
	for i := range len(name) {
		c := name[i]
		if !('0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || strings.IndexByte("+-._?=", c) >= 0) {
			return fmt.Errorf("layer name %q: illegal character %q", name, c)
		}
	}
	return nil
}

var errCycle = errors.New("the references lead in a circle")
