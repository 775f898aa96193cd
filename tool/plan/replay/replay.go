package replay

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rules-strata/rules_strata/tool/plan"
	"github.com/rules-strata/rules_strata/tool/store"
)

// Run says how a history is replayed.
type Run struct {
	Strategy  string
	MaxLayers int
	// Forget makes each plan without the one before.
	Forget bool
	// PullEvery is how many steps lie between two pulls; 0: 1.
	PullEvery int
}

// Result is what a replay comes to. A ratio is bytes sent, by bytes of paths that are
// new to the client: 1 is the least that any grouping can do.
type Result struct {
	// Update is the ratio over all pulls but the first, FirstPull that of the first.
	Update, FirstPull float64
	// App and Packages are Update over the steps in which only an application of the
	// image's own changes (their labels begin with "app:"), and over the others; 0 if there are none.
	App, Packages float64
	// MostLayers is the most that an image had.
	MostLayers int
}

type bytes struct{ sent, fresh float64 }

func (b bytes) ratio() float64 {
	if b.fresh == 0 {
		return 0
	}
	return b.sent / b.fresh
}

// Replay plans each step of t with what it kept of the last, and counts for a client that has
// all layers of its last pull.
func (r Run) Replay(t *Trace) (Result, error) {
	var out Result
	var first, app, packages bytes
	held, heldPaths := map[string]bool{}, map[store.Path]bool{}
	var previous *plan.Previous
	for n, step := range t.Steps {
		p, err := plan.Make(step.Images, plan.Options{Strategy: r.Strategy, MaxLayers: r.MaxLayers, Previous: previous, Popularity: t.Popularity})
		if err != nil {
			return out, fmt.Errorf("step %q: %w", step.Label, err)
		}
		paths := map[store.Path]plan.Path{}
		for _, image := range step.Images {
			for _, q := range image.Closure {
				paths[q.Path] = q
			}
			out.MostLayers = max(out.MostLayers, len(p.Images[image.Root][image.System]))
		}
		if !r.Forget {
			previous = &plan.Previous{Plan: *p, Paths: slices.Collect(maps.Values(paths))}
		}
		if r.PullEvery > 1 && n%r.PullEvery != 0 {
			continue
		}
		var now bytes
		layers, all := map[string]bool{}, map[store.Path]bool{}
		for _, l := range p.Layers {
			// By what is in it: two layers of the same name are the same.
			var key strings.Builder
			for _, q := range l {
				key.WriteString(string(q))
			}
			layers[key.String()] = true
			for _, q := range l {
				all[q] = true
				if !held[key.String()] {
					now.sent += float64(paths[q].NarSize)
				}
			}
		}
		for q := range all {
			if !heldPaths[q] {
				now.fresh += float64(paths[q].NarSize)
			}
		}
		to := &packages
		switch {
		case n == 0:
			to = &first
		case strings.HasPrefix(step.Label, "app:"):
			to = &app
		}
		to.sent += now.sent
		to.fresh += now.fresh
		held, heldPaths = layers, all
	}
	out.FirstPull, out.App, out.Packages = first.ratio(), app.ratio(), packages.ratio()
	out.Update = bytes{app.sent + packages.sent, app.fresh + packages.fresh}.ratio()
	return out, nil
}
