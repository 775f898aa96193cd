package plan

import (
	"math"
	"math/bits"
	"slices"
	"strings"
)

// The model: a path becomes another one when a source below it changes; a layer, when a source below any
// of its paths does. Sources change independently, each at its rate for one update. A layer of s bytes then costs
//
//	s + layerCost            now, unless clients hold it already
//	(s + layerCost) × P      in each of the next updates, of which horizon count
//
// where P is the chance that one of its sources changes. What changes itself must be sent in any case, so that of
// P × s the rest is waste; but that part is the same however paths are grouped.
const (
	// horizon is how many updates ahead count. Anything from 4 to 16 gives the same within a hundredth.
	horizon = 8
	// A source's rate is counted in quanta, so that that of a union of sources is a sum of whole
	// numbers. maxQuanta bounds one source's.
	quantum   = 0.002
	maxQuanta = 400
)

// costs knows what a layer costs.
type costs struct {
	layerCost float64
	needs     []bitset // by path: the sources below it
	weights   []int    // by word of such a set: the quanta of each source in it
	chance    []float64
	work      int64 // operations on words, for bounds that are the same on every machine
}

// newCosts builds the model of a graph, from each package's rate.
func newCosts(g *graph, rates map[string]float64, layerCost int64) *costs {
	c := &costs{layerCost: float64(layerCost), needs: make([]bitset, len(g.paths))}
	quanta := map[string]int{}
	for _, p := range g.paths {
		n := coarse(min(max(int(math.Round(rates[p.Package]/quantum)), 1), maxQuanta))
		quanta[source(p)] = max(quanta[source(p)], n)
	}
	// All sources of one word of a set have the same quanta.
	names := make([]string, 0, len(quanta))
	for name := range quanta {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if quanta[a] != quanta[b] {
			return quanta[a] - quanta[b]
		}
		if a < b {
			return -1
		}
		return 1
	})
	place := make(map[string]int, len(names))
	next := 0
	for i, name := range names {
		if i > 0 && quanta[name] != quanta[names[i-1]] {
			next = (next + 63) &^ 63
		}
		for next>>6 >= len(c.weights) {
			c.weights = append(c.weights, quanta[name])
		}
		place[name] = next
		next++
	}
	for x, p := range g.paths {
		set := make(bitset, len(c.weights))
		set.add(place[source(p)])
		for _, r := range g.refs[x] {
			set.addAll(c.needs[r])
		}
		c.needs[x] = set
	}
	return c
}

// source names what a path was built of, as far as its name tells: the package, or, where that can't be chance, the
// version: binaries of one source package of a distribution share theirs, with its revision ("12.2.0-14").
func source(p Path) string {
	version := p.Version
	// An output of a Nix derivation ("3.0.13-dev") has its package's source.
	if i := strings.LastIndexByte(version, '-'); i >= 0 && strings.Trim(version[i+1:], "abcdefghijklmnopqrstuvwxyz") == "" {
		version = version[:i]
	}
	const short, long = 5, 8 // Shorter versions are equal by chance, longer ones aren't.
	if len(version) >= long || len(version) >= short && strings.Contains(version, "-") {
		return "version " + version
	}
	return "package " + p.Package
}

// coarse rounds up to one of some twenty numbers, so that there are few kinds of words.
func coarse(n int) int {
	for step := 1; ; step *= 2 {
		if n <= 8*step {
			return (n + step - 1) / step * step
		}
	}
}

// weight is the quanta of the sources in set.
func (c *costs) weight(set bitset) int {
	c.work += int64(len(set))
	n := 0
	for i, w := range set {
		if w != 0 {
			n += bits.OnesCount64(w) * c.weights[i]
		}
	}
	return n
}

// weightOr is the quanta of the sources in either.
func (c *costs) weightOr(a, b bitset) int {
	c.work += int64(len(a))
	n := 0
	for i, w := range a {
		if w |= b[i]; w != 0 {
			n += bits.OnesCount64(w) * c.weights[i]
		}
	}
	return n
}

// of is what a layer costs of so many bytes, whose sources have so many quanta.
func (c *costs) of(size int64, weight int, held bool) float64 {
	for len(c.chance) <= weight {
		c.chance = append(c.chance, chanceAfter(c.chance))
	}
	// Each product is converted, so that no processor fuses it with the sum and rounds once.
	times := float64(horizon * c.chance[weight])
	if !held {
		times++
	}
	return float64((float64(size) + c.layerCost) * times)
}

// chanceAfter returns the chance that one of n sources of one quantum changes, from those of fewer.
func chanceAfter(before []float64) float64 {
	if len(before) == 0 {
		return 0
	}
	remains := 1 - before[len(before)-1]
	return 1 - float64(remains*(1-quantum))
}
