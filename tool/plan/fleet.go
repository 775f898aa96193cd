package plan

import (
	"cmp"
	"maps"
	"slices"
)

// planFleet is the strategy Fleet: layers of the plan before whose paths are all
// still there stay, and only what must be sent anyway is grouped anew, as the
// model of cost.go holds it cheapest, for all images at once.
func planFleet(g *graph, wanted [][]group, o Options) ([][]group, *costs, *History) {
	f := &fleet{g: g, limits: make([]int, len(g.images)), left: make([]bitset, len(g.paths))}
	for i := range g.images {
		f.limits[i] = o.MaxLayers - len(wanted[i])
	}
	for x := range g.paths {
		f.left[x] = slices.Clone(g.users[x])
	}
	for i, layers := range wanted {
		for _, l := range layers {
			for _, x := range l {
				f.left[x].remove(i)
			}
		}
	}
	var made []*cluster
	var costs *costs
	history := &History{Packages: map[string]PackageHistory{}}
	if o.Previous == nil {
		costs = newCosts(g, firstRates(g), o.LayerCost)
		made = f.first(costs, o)
	} else {
		before := make([]Path, len(o.Previous.Paths))
		for i, p := range o.Previous.Paths {
			before[i] = p.named()
		}
		history = o.Previous.Plan.History.next(before, g)
		costs = newCosts(g, history.rates(g), o.LayerCost)
		made = f.next(costs, o.Previous.Plan)
	}
	layers := make([][]group, len(g.images))
	for i, l := range wanted {
		layers[i] = slices.Clone(l)
	}
	for _, l := range made {
		slices.Sort(l.paths)
		l.users.each(func(i int) { layers[i] = append(layers[i], l.paths) })
	}
	return layers, costs, history
}

type fleet struct {
	g      *graph
	limits []int    // by image
	left   []bitset // by path: the images that have it in no layer yet
}

// first plans without a past. Another plan may follow that knows nothing of this
// one, so that what matters is that both are alike: nothing is shuffled after the merging. A single image
// of not many more paths than layers is planned largest first: its tail of small paths is as stable as can be.
func (f *fleet) first(costs *costs, o Options) []*cluster {
	g := f.g
	if len(g.images) == 1 && len(g.images[0].paths) <= 2*f.limits[0] && o.LayerCost == 0 {
		var out []*cluster
		var paths group
		for _, x := range g.images[0].paths {
			if !f.left[x].empty() {
				paths = append(paths, x)
			}
		}
		for _, l := range planSize(g, 0, paths, f.limits[0], o) {
			out = append(out, &cluster{users: bitset{1}, paths: l})
		}
		return out
	}
	return costs.agglomerate(f.singles(costs), f.limits)
}

// next plans with a past.
func (f *fleet) next(costs *costs, before Plan) []*cluster {
	size := func(x int32) int64 { return f.g.paths[x].NarSize }
	clusters := f.kept(costs, before)
	clusters = append(clusters, f.singles(costs)...)
	clusters = costs.agglomerate(clusters, f.limits)
	costs.improve(clusters, size)
	return clusters
}

// kept returns the layers of before whose paths are all there. An image keeps those that it had. Of the other images' layers
// it gets those that fit into what is left of it: they are held already.
func (f *fleet) kept(costs *costs, before Plan) []*cluster {
	g := f.g
	type layer struct {
		paths group
		users bitset
	}
	var layers []*layer
	byName := map[string]*layer{}
	for _, name := range slices.Sorted(maps.Keys(before.Layers)) {
		var l group
		for _, p := range before.Layers[name] {
			if x, ok := g.number[p]; ok {
				l = append(l, x)
			}
		}
		if len(l) == len(before.Layers[name]) && len(l) > 0 {
			slices.Sort(l)
			byName[name] = &layer{slices.Compact(l), newBitset(len(g.images))}
			layers = append(layers, byName[name])
		}
	}
	for i, image := range g.images {
		for _, name := range before.Images[image.root][image.system] {
			l, ok := byName[name]
			if !ok || slices.ContainsFunc(l.paths, func(x int32) bool { return !f.left[x].has(i) }) {
				continue
			}
			l.users.add(i)
			for _, x := range l.paths {
				f.left[x].remove(i)
			}
		}
	}
	// Of two that overlap, the one with more paths.
	slices.SortStableFunc(layers, func(a, b *layer) int {
		return cmp.Or(len(b.paths)-len(a.paths), cmp.Compare(g.paths[a.paths[0]].Path, g.paths[b.paths[0]].Path))
	})
	var out []*cluster
	for _, l := range layers {
		more := slices.Clone(f.left[l.paths[0]])
		for _, x := range l.paths[1:] {
			more = more.and(f.left[x])
		}
		for _, x := range l.paths {
			f.left[x].removeAll(more)
		}
		l.users.addAll(more)
		if !l.users.empty() {
			out = append(out, costs.cluster(l.users, l.paths, g.size(l.paths), true))
		}
	}
	return out
}

const (
	// maxKind is how many clusters of the same images are merged with others at most, and maxClusters
	// how many there are in all: more are merged among themselves first. Time grows with the square.
	maxKind     = 256
	minKind     = 4
	maxClusters = 4000
)

// singles returns the paths that are in no layer yet, mostly one a cluster.
func (f *fleet) singles(costs *costs) []*cluster {
	kinds := map[string][]*cluster{}
	var names []string
	for x := range f.g.paths {
		if f.left[x].empty() {
			continue
		}
		name := f.left[x].key()
		if kinds[name] == nil {
			names = append(names, name)
		}
		kinds[name] = append(kinds[name], costs.cluster(f.left[x], group{int32(x)}, f.g.paths[x].NarSize, false))
	}
	limit := min(max(maxClusters/max(len(names), 1), minKind), maxKind)
	var out []*cluster
	for _, name := range names {
		out = append(out, costs.reduce(kinds[name], limit)...)
	}
	return out
}

// reduce merges clusters of the same images until there are no more than limit: first alike ones, some at a time.
func (c *costs) reduce(clusters []*cluster, limit int) []*cluster {
	if len(clusters) <= limit {
		return clusters
	}
	users := clusters[0].users
	for _, l := range clusters {
		l.users = bitset{1}
	}
	for some := 3 * limit; len(clusters) > some; {
		slices.SortStableFunc(clusters, func(a, b *cluster) int { return a.weight - b.weight })
		var fewer []*cluster
		for part := range slices.Chunk(clusters, some) {
			fewer = append(fewer, c.agglomerate(slices.Clone(part), []int{max(limit, some/3)})...)
		}
		if len(fewer) == len(clusters) {
			break
		}
		clusters = fewer
	}
	clusters = c.agglomerate(clusters, []int{limit})
	for _, l := range clusters {
		l.users = users
	}
	return clusters
}
