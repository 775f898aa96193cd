// Package plan decides how the store paths of images are grouped into layers.
// It is pure: the same images give the same plan on every machine, whatever
// the order they are given in. No clock, no files, no map order.
//
// The strategy is largest-first: what is big gets a layer of its own, and the
// rest shares one, so that an update of a big path moves no other. rules/ says
// the same in Starlark for images that a lock has not planned; keep the two alike.
//
// [Make] plans all images of a lock, [LargestFirst] a single one, and [Shrink]
// makes do with fewer layers than were planned.
package plan

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/rules-strata/rules_strata/tool/store"
)

const (
	// StrategyLargestFirst is the name of the one strategy there is.
	StrategyLargestFirst = "largest-first"
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
}

// Image is one image to be: the closure of a root on a system.
type Image struct {
	Root, System string
	// Closure is every path that the image holds, each once, in any order.
	Closure []Path
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
}

// CheckMaxLayers says why n is no limit.
func CheckMaxLayers(n int) error {
	if n < 1 || n > MaxLayers {
		return fmt.Errorf("max_layers %d: want 1 to %d (docker's graph drivers refuse images of more layers)", n, MaxLayers)
	}
	return nil
}

// Make plans images by [StrategyLargestFirst]. Layers of the same paths are one
// layer, whichever images they are in.
func Make(images []Image, maxLayers int) (*Plan, error) {
	p := &Plan{
		Strategy:  StrategyLargestFirst,
		MaxLayers: maxLayers,
		Layers:    map[string][]store.Path{},
		Images:    map[string]map[string][]string{},
	}
	for _, image := range images {
		layers, err := LargestFirst(image.Closure, maxLayers)
		if err != nil {
			return nil, fmt.Errorf("root %s on %s: %w", image.Root, image.System, err)
		}
		names := make([]string, len(layers))
		for i, l := range layers {
			if other, ok := p.Layers[l.Name]; ok && !slices.Equal(other, l.Paths) {
				return nil, fmt.Errorf("root %s on %s: two layers would bear the name %s (their hashes begin alike): choose another max_layers", image.Root, image.System, l.Name)
			}
			p.Layers[l.Name] = l.Paths
			names[i] = l.Name
		}
		if p.Images[image.Root] == nil {
			p.Images[image.Root] = map[string][]string{}
		}
		if _, ok := p.Images[image.Root][image.System]; ok {
			return nil, fmt.Errorf("root %s on %s: given twice", image.Root, image.System)
		}
		p.Images[image.Root][image.System] = names
	}
	return p, nil
}

// LargestFirst groups a closure into at most maxLayers layers, lowest first.
// The paths are taken by NarSize, largest first, and by name where that is
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
		layers = append(layers, group(rest))
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
			rest = append(rest, Path{p, n})
		}
	}
	slices.SortFunc(rest, largestFirst)
	return append(slices.Clone(layers[:maxLayers-1]), group(rest)), nil
}

func largestFirst(a, b Path) int {
	return cmp.Or(cmp.Compare(b.NarSize, a.NarSize), cmp.Compare(a.Path, b.Path))
}

// group makes one layer of two or more paths, the largest of which comes first.
func group(paths []Path) Layer {
	l := Layer{Paths: make([]store.Path, len(paths))}
	for i, p := range paths {
		l.Paths[i] = p.Path
	}
	slices.Sort(l.Paths)
	h := sha256.New()
	for i, p := range l.Paths {
		if i > 0 {
			h.Write([]byte{'\n'})
		}
		h.Write([]byte(p))
	}
	l.Name = fmt.Sprintf("%s-and-%d-more-%s", paths[0].Path.Name(), len(paths)-1, hex.EncodeToString(h.Sum(nil)[:4]))
	return l
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
