package plan

import (
	"fmt"
	"slices"

	"github.com/rules-strata/rules_strata/tool/store"
)

// OnBase returns the layers that an image needs above a base of baseLayers layers
// that has the paths in present, so that all are at most maxLayers: planned layers
// that the base has nothing of stay as they are, those that it has all of are left out,
// and what is left of others is grouped as [LargestFirst] does it. As many layers as
// there is no room for go together, as [Shrink] does it; rules/private/layer_selection.bzl does the same.
func OnBase(layers []Layer, closure []Path, present map[store.Path]bool, baseLayers, maxLayers int) ([]Layer, error) {
	size := make(map[store.Path]int64, len(closure))
	for _, p := range closure {
		size[p.Path] = p.NarSize
	}
	var kept []Layer
	var left []Path
	leave := func(l Layer) {
		for _, p := range l.Paths {
			if !present[p] {
				left = append(left, Path{Path: p, NarSize: size[p]})
			}
		}
	}
	for _, l := range layers {
		if slices.ContainsFunc(l.Paths, func(p store.Path) bool { return present[p] }) {
			leave(l)
		} else {
			kept = append(kept, l)
		}
	}
	room := maxLayers - baseLayers
	if len(kept) == 0 && len(left) == 0 {
		return nil, nil
	}
	if room < 1 {
		return nil, fmt.Errorf("max_layers %d: the base alone has %d layers, and the image adds to them; set it to more", maxLayers, baseLayers)
	}
	if len(kept) > room || len(kept) == room && len(left) > 0 {
		for _, l := range kept[room-1:] {
			leave(l)
		}
		kept = kept[:room-1]
	}
	if len(left) == 0 {
		return kept, nil
	}
	more, err := LargestFirst(left, room-len(kept))
	if err != nil {
		return nil, err
	}
	return append(slices.Clone(kept), more...), nil
}
