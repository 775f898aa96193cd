package plan

import (
	"cmp"
	"slices"
)

// order puts each image's layers in their order. Runtimes that unpack a layer onto those below it can use
// again what they have only from the bottom up to the first layer that is another one. So what more
// images share lies lower; of layers that as many share, what is less likely to change, then the larger.
func (g *graph) order(layers [][]group, costs *costs) {
	type rank struct {
		weight, users int
		size          int64
	}
	ranks := map[string]rank{}
	users := map[string]int{}
	for _, image := range layers {
		for _, l := range image {
			users[l.key()]++
		}
	}
	for _, image := range layers {
		for _, l := range image {
			if _, ok := ranks[l.key()]; !ok {
				ranks[l.key()] = rank{costs.cluster(nil, l, 0, false).weight, users[l.key()], g.size(l)}
			}
		}
		slices.SortFunc(image, func(a, b group) int {
			p, q := ranks[a.key()], ranks[b.key()]
			return cmp.Or(cmp.Compare(q.users, p.users), cmp.Compare(p.weight, q.weight), cmp.Compare(q.size, p.size), g.byName(a[0], b[0]), slices.Compare(a, b))
		})
	}
}

func (l group) key() string {
	b := make([]byte, 0, 4*len(l))
	for _, x := range l {
		b = append(b, byte(x), byte(x>>8), byte(x>>16), byte(x>>24))
	}
	return string(b)
}
