package plan

import (
	"math"
	"slices"
	"strings"
)

// History is what the strategy [Fleet] remembers of the updates that it has seen: how often each package became
// another one by itself, not only because something below it did. What isn't in Packages was there from the first plan on, and never changed.
type History struct {
	// Updates is the number of plans whose paths were not those of the plan before.
	Updates int
	// Packages are the others, by name.
	Packages map[string]PackageHistory
}

// PackageHistory is what is known of one package.
type PackageHistory struct {
	// Since is the update that brought the package; 0: it was there before.
	Since int
	// Changes is the number of updates since then that brought it in another version.
	Changes int
}

// versions are the versions that paths are of, by package.
func versions(paths []Path) map[string]string {
	all := map[string][]string{}
	for _, p := range paths {
		all[p.Package] = append(all[p.Package], p.Version)
	}
	out := make(map[string]string, len(all))
	for name, list := range all {
		slices.Sort(list)
		out[name] = strings.Join(slices.Compact(list), " ")
	}
	return out
}

// MaxUpdates is the most updates that a history counts.
const MaxUpdates = 1 << 30

// next is the history after an update from the paths before to those of g. It
// is the same one if they are the same paths. Numbers that can't be, of a damaged history, are brought within bounds.
func (h *History) next(before []Path, g *graph) *History {
	out := &History{Packages: map[string]PackageHistory{}}
	if h == nil {
		h = &History{}
	}
	out.Updates = min(max(h.Updates, 0), MaxUpdates)
	same := len(before) == len(g.paths)
	if same {
		was := make(map[string]bool, len(before))
		for _, p := range before {
			was[string(p.Path)] = true
		}
		same = !slices.ContainsFunc(g.paths, func(p Path) bool { return !was[string(p.Path)] })
	}
	if !same {
		out.Updates = min(out.Updates+1, MaxUpdates)
	}
	old, now := versions(before), versions(g.paths)
	for name, version := range now {
		known := h.Packages[name]
		known.Since = min(max(known.Since, 0), out.Updates)
		known.Changes = min(max(known.Changes, 0), out.Updates)
		was, there := old[name]
		switch {
		case same:
		case !there:
			known = PackageHistory{Since: out.Updates}
		case was != version:
			known.Changes++
		}
		known.Changes = min(known.Changes, out.Updates-known.Since)
		if known != (PackageHistory{}) {
			out.Packages[name] = known
		}
	}
	return out
}

// The rates of change that a package may have, in changes for each update. What isn't known to change
// often is as most are: at the fleet's own rate, which is learned too. How likely a package is to be of the
// others before anything is known of it: hot, each alike.
var hotRates = []float64{0.06, 0.15, 0.4, 0.8}

const (
	hot = 0.05
	// startRate is the rate where nothing is known: that of a source package of
	// Debian in a thirtieth part of a release. It counts as much as startSeen packages seen in one update.
	startRate = 0.016
	startSeen = 1000
	// longSeen bounds how many updates count: what a package was long ago tells little.
	longSeen = 200
)

// firstRate is the rate of change that the first plan reckons with. It is higher than
// startRate, since what is planned without a past is mostly planned without one the
// next time too: then each update groups anew, and layers live shorter.
const firstRate = 0.08

// firstRates are the rates of all packages for a plan without a past.
func firstRates(g *graph) map[string]float64 {
	rates := map[string]float64{}
	for _, p := range g.paths {
		rates[p.Package] = firstRate
	}
	return rates
}

// rates returns how likely each package is to change by itself in one update.
// Nil is a history of nothing.
func (h *History) rates(g *graph) map[string]float64 {
	if h == nil {
		h = &History{}
	}
	type seen struct{ updates, changes int }
	of := map[string]seen{}
	// The fleet's rate: of all packages but those that change far more often than startRate lets expect.
	var updates, changes int
	for name := range versions(g.paths) {
		p := h.Packages[name]
		s := seen{h.Updates - p.Since, p.Changes}
		of[name] = s
		expected := 4 * startRate * float64(s.updates)
		if float64(s.changes) <= expected+2*math.Sqrt(expected)+1 {
			updates += s.updates
			changes += s.changes
		}
	}
	cold := (float64(changes) + startSeen*startRate) / (float64(updates) + startSeen)
	known := map[seen]float64{}
	out := make(map[string]float64, len(of))
	for name, s := range of {
		rate, ok := known[s]
		if !ok {
			rate = rateOf(s.updates, s.changes, cold)
			known[s] = rate
		}
		out[name] = rate
	}
	return out
}

// rateOf is the mean rate of a package, by Bayes, that changed so often in so many updates.
func rateOf(updates, changes int, cold float64) float64 {
	if updates > longSeen {
		changes, updates = changes*longSeen/updates, longSeen
	}
	rates := append([]float64{cold}, hotRates...)
	likely := []float64{1 - hot}
	for range hotRates {
		likely = append(likely, hot/float64(len(hotRates)))
	}
	// Products only, each rounded: logarithms are not the same on every machine.
	times := func(n int, of func(rate float64) float64) {
		for range n {
			var most float64
			for i, r := range rates {
				likely[i] = float64(likely[i] * of(r))
				most = max(most, likely[i])
			}
			for i := range likely {
				likely[i] /= most
			}
		}
	}
	times(changes, func(r float64) float64 { return r })
	times(updates-changes, func(r float64) float64 { return 1 - r })
	var sum, all float64
	for i, r := range rates {
		sum += float64(likely[i] * r)
		all += likely[i]
	}
	return sum / all
}
