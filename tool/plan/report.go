package plan

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/rules-strata/rules_strata/tool/store"
)

// Report says what a plan does, for people who look at it.
type Report struct {
	Strategy  string        `json:"strategy"`
	MaxLayers int           `json:"max_layers"`
	Layers    []LayerReport `json:"layers"`
	Images    []ImageReport `json:"images"`
	// UpdateBytes is what an update sends on average to who has all images, by the model of the strategy
	// fleet: each layer's NarBytes by its chance.
	UpdateBytes int64 `json:"update_bytes"`
}

// LayerReport is one layer, with why it is one.
type LayerReport struct {
	Name string `json:"name"`
	// Paths are sorted by size, largest first.
	Paths    []store.Path `json:"paths"`
	NarBytes int64        `json:"nar_bytes"`
	// Images are those that have it, as "ROOT" or "ROOT/SYSTEM" where there are several systems.
	Images []string `json:"images"`
	// Chance is how likely the layer is to be another one after an update, 0 to 1, by the model of the
	// strategy fleet; Alone is what it would be at least: that of its likeliest path.
	Chance float64 `json:"chance"`
	Alone  float64 `json:"alone"`
	// Why says what put its paths together.
	Why string `json:"why"`
}

// ImageReport is one image.
type ImageReport struct {
	Image    string `json:"image"`
	Layers   int    `json:"layers"`
	NarBytes int64  `json:"nar_bytes"`
	// RootMoves is what is sent when the root alone becomes another one: the layers with the paths that
	// nothing else refers to. RootBytes is those paths' own size.
	RootMoves int64 `json:"root_moves"`
	RootBytes int64 `json:"root_bytes"`
}

// Explain reports on p, a plan of images. Layers that before has too are said to be kept; it may be nil. Groups
// are those that p was made with, as far as is known: a layer that one of them means is said to be there for it.
func Explain(p *Plan, images []Image, before *Plan, groups []Group) (*Report, error) {
	g, err := newGraph(images)
	if err != nil {
		return nil, err
	}
	costs := newCosts(g, p.History.rates(g), 0)
	kept := p.keptFrom(before)
	r := &Report{Strategy: p.Strategy, MaxLayers: p.MaxLayers}
	name := imageNames(images)
	users := map[string][]string{}
	wished := map[string]string{} // the group's name by the key of a layer
	for i, image := range images {
		for _, w := range g.wishes(i, groups) {
			wished[w.paths.key()] = w.of
		}
		ir := ImageReport{Image: name[i]}
		roots := map[store.Path]bool{}
		for _, x := range g.images[i].roots {
			roots[g.paths[x].Path] = true
			ir.RootBytes += g.paths[x].NarSize
		}
		for _, l := range p.Images[image.Root][image.System] {
			users[l] = append(users[l], name[i])
			ir.Layers++
			var size int64
			for _, path := range p.Layers[l] {
				x, ok := g.number[path]
				if !ok {
					return nil, fmt.Errorf("layer %s: %s is in no image", l, path)
				}
				size += g.paths[x].NarSize
			}
			ir.NarBytes += size
			if slices.ContainsFunc(p.Layers[l], func(path store.Path) bool { return roots[path] }) {
				ir.RootMoves += size
			}
		}
		r.Images = append(r.Images, ir)
	}
	for l, paths := range p.Layers {
		lr := LayerReport{Name: l, Images: users[l]}
		var members group
		for _, path := range paths {
			x := g.number[path]
			members = append(members, x)
			lr.NarBytes += g.paths[x].NarSize
			lr.Alone = max(lr.Alone, costs.chanceOf(costs.needs[x]))
		}
		whole := costs.cluster(nil, members, lr.NarBytes, false)
		lr.Chance = costs.chanceOf(whole.needs)
		for _, x := range g.largestFirst(members) {
			lr.Paths = append(lr.Paths, g.paths[x].Path)
		}
		slices.Sort(members)
		switch of, ok := wished[members.key()]; {
		case ok:
			lr.Why = "the group " + of
		case kept[l]:
			lr.Why = "kept from the plan before"
		case len(members) == 1:
			lr.Why = "room for a layer of its own"
		case p.Strategy != Fleet:
			lr.Why = "as the strategy " + p.Strategy + " has it"
		case lr.Chance-lr.Alone < 0.01:
			lr.Why = "all change together"
		default:
			lr.Why = "cheapest together"
		}
		r.Layers = append(r.Layers, lr)
	}
	slices.SortFunc(r.Layers, func(a, b LayerReport) int {
		return cmp.Or(cmp.Compare(b.NarBytes, a.NarBytes), cmp.Compare(a.Name, b.Name))
	})
	var sum float64
	for _, l := range r.Layers {
		sum += float64(l.NarBytes) * l.Chance
	}
	r.UpdateBytes = int64(sum)
	return r, nil
}

func (p *Plan) keptFrom(before *Plan) map[string]bool {
	if before == nil {
		return nil
	}
	out := map[string]bool{}
	for l := range p.Layers {
		if _, ok := before.Layers[l]; ok {
			out[l] = true
		}
	}
	return out
}

// chanceOf is the chance that one of the sources changes in an update.
func (c *costs) chanceOf(sources bitset) float64 {
	w := c.weight(sources)
	c.of(0, w, true) // computes it
	return c.chance[w]
}

func imageNames(images []Image) []string {
	systems := map[string]bool{}
	for _, i := range images {
		systems[i.System] = true
	}
	out := make([]string, len(images))
	for i, image := range images {
		out[i] = image.Root
		if len(systems) > 1 {
			out[i] += "/" + image.System
		}
	}
	return out
}

// Move is what an update from one plan to the next sends to who has all layers of the first.
type Move struct {
	// Layers are the new layers' names, sorted.
	Layers []string `json:"layers"`
	// NarBytes is what is in them; NewBytes is the part of it, in paths that the first plan didn't have.
	NarBytes int64 `json:"nar_bytes"`
	NewBytes int64 `json:"new_bytes"`
}

// Moves compares two plans. Sizes are NarSizes of after's paths.
func Moves(before, after *Plan, images []Image) Move {
	size := map[store.Path]int64{}
	for _, i := range images {
		for _, p := range i.Closure {
			size[p.Path] = p.NarSize
		}
	}
	had := map[store.Path]bool{}
	if before != nil {
		for _, paths := range before.Layers {
			for _, p := range paths {
				had[p] = true
			}
		}
	}
	var m Move
	kept := after.keptFrom(before)
	counted := map[store.Path]bool{}
	for l, paths := range after.Layers {
		if kept[l] {
			continue
		}
		m.Layers = append(m.Layers, l)
		for _, p := range paths {
			m.NarBytes += size[p]
			if !had[p] && !counted[p] {
				m.NewBytes += size[p]
				counted[p] = true
			}
		}
	}
	slices.Sort(m.Layers)
	return m
}
