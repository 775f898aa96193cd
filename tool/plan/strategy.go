package plan

import (
	"maps"
	"slices"
)

// The strategies that [Make] knows.
const (
	// Fleet plans all images together, stable against the plan before, and by what changes how often.
	Fleet = "fleet"
	// Size gives the largest paths a layer each, and the rest one: Guix since 2023
	// (guix pack -f docker --max-layers; gnu/build/image or guix/docker.scm, "size-sorted-store-items").
	Size = "size"
	// Popularity gives the paths that most lead to a layer each, and the rest one: nixpkgs'
	// dockerTools.buildLayeredImage since 2019 (pkgs/build-support/references-by-popularity).
	Popularity = "popularity"
	// Auto makes the largest paths heads of layers, and groups paths by the heads above them: nixpkgs'
	// flatten-references-graph of 2025 ("auto_layer").
	Auto = "auto"
	// Nixery groups by dominators and rates groups by popularity and size (nixery/layers/layers.go).
	Nixery = "nixery"
	// OnePerPath gives each path a layer.
	OnePerPath = "one-per-path"
	// Single puts all paths of an image into one layer.
	Single = "single"
)

// strategy is one of all and one: what plans all images of a graph at once, by what model and what it learned
// of their past, and what plans the paths of one image that no group of the user's holds.
type strategy struct {
	all func(g *graph, wanted [][]group, o Options) ([][]group, *costs, *History)
	one func(g *graph, image int, paths group, maxLayers int, o Options) []group
}

var strategies = map[string]strategy{
	Fleet:      {all: planFleet},
	Size:       {one: planSize},
	Popularity: {one: planPopularity},
	Auto:       {one: planAuto},
	Nixery:     {one: planNixery},
	OnePerPath: {one: planOnePerPath},
	Single:     {one: planSingle},
}

// Strategies returns the names of the strategies, the default first, the others sorted.
func Strategies() []string {
	names := slices.Sorted(maps.Keys(strategies))
	i := slices.Index(names, Fleet)
	return append([]string{Fleet}, slices.Delete(names, i, i+1)...)
}

func planOnePerPath(_ *graph, _ int, paths group, _ int, _ Options) []group {
	out := make([]group, len(paths))
	for i := range paths {
		out[i] = paths[i : i+1]
	}
	return out
}

func planSingle(_ *graph, _ int, paths group, _ int, _ Options) []group { return []group{paths} }

// headAndTail gives the first k-1 of paths a layer each, and the rest one.
func headAndTail(order []int32, k int) []group {
	if len(order) <= k {
		k = len(order) + 1
	}
	var out []group
	for i := range min(k-1, len(order)) {
		out = append(out, order[i:i+1])
	}
	if k-1 < len(order) {
		tail := slices.Clone(order[k-1:])
		slices.Sort(tail)
		out = append(out, tail)
	}
	return out
}
