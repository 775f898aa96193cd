package plan

import "slices"

// planAuto is the strategy Auto. Path by path, the largest first, a path becomes the
// head of a layer: what it needs hangs from it instead of from what is above it. A layer is the paths that hang
// from the same heads. The first path that would make too many layers ends it.
func planAuto(g *graph, _ int, paths group, k int, _ Options) []group {
	b := g.below(paths)
	above := b.above()
	heads := make([]bitset, len(paths)) // by place: those that the path hangs from
	for i := range heads {
		heads[i] = newBitset(len(paths))
	}
	for _, x := range g.largestFirst(paths) {
		i := b.place[x]
		next := slices.Clone(heads)
		next[i] = newBitset(len(paths))
		next[i].add(i)
		needs := slices.Clone(b.sets[i])
		needs.remove(i)
		users := slices.Clone(above[i])
		users.remove(i)
		needs.each(func(j int) {
			h := slices.Clone(next[j])
			h.removeAll(users)
			if h.and(needs).empty() {
				h.add(i)
			}
			next[j] = h
		})
		if len(byHeads(next)) > k {
			break
		}
		heads = next
	}
	var out []group
	for _, places := range byHeads(heads) {
		var l group
		for _, i := range places {
			l = append(l, paths[i])
		}
		out = append(out, l)
	}
	return out
}

// byHeads returns the places that hang from the same heads, in the order of the first of each.
func byHeads(heads []bitset) [][]int {
	var out [][]int
	at := map[string]int{}
	for i, h := range heads {
		n, ok := at[h.key()]
		if !ok {
			n = len(out)
			at[h.key()] = n
			out = append(out, nil)
		}
		out[n] = append(out[n], i)
	}
	return out
}
