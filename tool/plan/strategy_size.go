package plan

import (
	"cmp"
	"slices"
)

// planSize is the strategy Size. Guix sorts by NarSize and leaves ties to the order of
// its database; here the name decides, then the whole path.
func planSize(g *graph, _ int, paths group, k int, _ Options) []group {
	return headAndTail(g.largestFirst(paths), k)
}

func (g *graph) largestFirst(paths group) []int32 {
	order := slices.Clone(paths)
	slices.SortFunc(order, func(a, b int32) int {
		return cmp.Or(cmp.Compare(g.paths[b].NarSize, g.paths[a].NarSize), g.byName(a, b))
	})
	return order
}
