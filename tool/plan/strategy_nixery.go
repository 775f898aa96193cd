package plan

import (
	"cmp"
	"math/big"
	"slices"
)

const (
	// Nixery hangs a path from the top whose closure is larger than this, in bytes…
	nixeryLarge = 100_000_000
	// … or that so many packages depend on.
	nixeryPopular = 100
)

// planNixery is the strategy Nixery: paths that can be reached only by way of one other
// path are grouped with it (dominators, after Cooper, Harvey and Kennedy: "A Simple, Fast
// Dominance Algorithm"), groups are rated by popularity times size, and the lowest are one layer.
func planNixery(g *graph, image int, paths group, k int, o Options) []group {
	const top = -1
	b := g.below(paths)
	isRoot := map[int32]bool{}
	for _, r := range g.images[image].roots {
		isRoot[r] = true
	}
	// Nixery's sizes are those of closures.
	sizes := make([]int64, len(paths))
	for i, set := range b.sets {
		set.each(func(j int) { sizes[i] += g.paths[paths[j]].NarSize })
	}
	popularity := func(i int) int64 { return o.Popularity[g.paths[paths[i]].Package] }
	from := make([][]int, len(paths))
	idom := make([]int, len(paths))
	depth := make([]int, len(paths))
	up := func(i int) int {
		if i == top {
			return 0
		}
		return depth[i]
	}
	meet := func(a, b int) int {
		for a != b {
			if up(a) >= up(b) {
				a = idom[a]
			} else {
				b = idom[b]
			}
		}
		return a
	}
	head := make([]int, len(paths)) // the one below the top
	members := map[int]group{}
	for i := len(paths) - 1; i >= 0; i-- {
		x := paths[i]
		if isRoot[x] || len(from[i]) == 0 || sizes[i] > nixeryLarge || popularity(i) >= nixeryPopular {
			from[i] = append(from[i], top)
		}
		d := from[i][0]
		for _, p := range from[i][1:] {
			d = meet(d, p)
		}
		idom[i], depth[i], head[i] = d, up(d)+1, i
		if d != top {
			head[i] = head[d]
		}
		members[head[i]] = append(members[head[i]], x)
		for _, r := range g.refs[x] {
			if j, ok := b.place[r]; ok {
				from[j] = append(from[j], i)
			}
		}
	}
	rating := map[int]*big.Int{}
	var heads []int
	for h, l := range members {
		var sum big.Int
		for _, x := range l {
			sum.Add(&sum, big.NewInt(sizes[b.place[x]]))
		}
		rating[h] = sum.Mul(&sum, big.NewInt(max(1, popularity(h))))
		slices.Sort(l)
		heads = append(heads, h)
	}
	slices.SortFunc(heads, func(a, b int) int {
		return cmp.Or(rating[b].Cmp(rating[a]), g.byName(paths[a], paths[b]))
	})
	var out []group
	var rest group
	for i, h := range heads {
		if i < k-1 || len(heads) <= k {
			out = append(out, members[h])
		} else {
			rest = append(rest, members[h]...)
		}
	}
	if len(rest) > 0 {
		slices.Sort(rest)
		out = append(out, rest)
	}
	return out
}
