package plan

import (
	"math/big"
	"slices"
)

// planPopularity is the strategy Popularity. A path counts the walks that lead
// from the image's contents to it, and those to all that is above it. dockerTools' contents
// hang from one path more, the customisation layer's, which has all roots as its references.
func planPopularity(g *graph, image int, paths group, k int, _ Options) []group {
	b := g.below(paths)
	walks := make([]big.Int, len(paths)) // their number doubles with each diamond in the graph
	for _, r := range g.images[image].roots {
		if i, ok := b.place[r]; ok {
			walks[i].SetInt64(1)
		}
	}
	for i := len(paths) - 1; i >= 0; i-- { // What refers comes behind what it refers to.
		for _, r := range g.refs[paths[i]] {
			if j, ok := b.place[r]; ok {
				walks[j].Add(&walks[j], &walks[i])
			}
		}
	}
	popularity := make([]big.Int, len(paths))
	for i, up := range b.above() {
		up.each(func(j int) { popularity[i].Add(&popularity[i], &walks[j]) })
	}
	order := slices.Clone(paths)
	slices.SortFunc(order, func(x, y int32) int {
		if c := popularity[b.place[y]].Cmp(&popularity[b.place[x]]); c != 0 {
			return c
		}
		return g.byName(x, y)
	})
	return headAndTail(order, k)
}
