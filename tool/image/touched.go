package image

import (
	"fmt"
	"strings"

	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/store"
)

// maxTouched is how many faults of one image are told at once.
const maxTouched = 10

// checkTouched refuses layers of files, tars and commands that reach into a store path which another layer, or the base, holds whole: in
// the image it would be otherwise than its NarHash says. (A store path that nothing else holds is theirs.)
func checkTouched(base *Base, layers []*digestfile.File, below int) error {
	type holder struct {
		layer int // -1: the base
		path  store.Path
	}
	held := map[string]holder{}
	byDir := map[string]holder{} // one of each store directory: the lowest
	hold := func(p store.Path, layer int) {
		held[string(p)] = holder{layer, p}
		if h, ok := byDir[p.Dir()]; !ok || layer == h.layer && p < h.path {
			byDir[p.Dir()] = holder{layer, p}
		}
	}
	if base != nil {
		for p, hash := range base.StorePaths {
			if !hash.IsZero() {
				hold(p, -1)
			}
		}
	}
	for i, l := range layers {
		for _, p := range l.StorePaths {
			hold(p.Path, i)
		}
	}
	var faults []error
	for i, l := range layers {
		for _, t := range l.Touched {
			h, ok := held[t.Path]
			if !ok {
				h, ok = byDir[t.Path]
			}
			if !ok || h.layer == i || t.Hides && h.layer > i || len(faults) == maxTouched {
				continue
			}
			of := "the base"
			if h.layer >= 0 {
				of = layerName(layers[h.layer], below+h.layer)
			} else if base.Name != "" {
				of += " " + base.Name
			}
			does := "would change"
			if t.Hides {
				does = "would remove something of"
			}
			faults = append(faults, fmt.Errorf("%s: its entry %q %s %s, which is checked by its NarHash and held by %s; leave store paths as they are: put files elsewhere, or make another store path",
				layerName(l, below+i), strings.TrimSuffix(t.Entry, "/"), does, h.path, of))
		}
	}
	return joinFaults(faults)
}
