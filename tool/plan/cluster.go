package plan

import (
	"cmp"
	"container/heap"
	"slices"
)

// cluster is a layer to be: paths, in the images that will have them in this layer.
type cluster struct {
	users  bitset
	paths  group
	needs  bitset // the sources below its paths
	size   int64
	weight int // of needs
	held   bool
	cost   float64
	gone   bool // merged
}

func (c *costs) cluster(users bitset, paths group, size int64, held bool) *cluster {
	needs := make(bitset, len(c.weights))
	for _, x := range paths {
		needs.addAll(c.needs[x])
	}
	return c.fill(&cluster{users: users, paths: paths, needs: needs, size: size, held: held})
}

// fill computes what follows from a cluster's sources and size.
func (c *costs) fill(l *cluster) *cluster {
	l.weight = c.weight(l.needs)
	l.cost = c.of(l.size, l.weight, l.held)
	return l
}

// merger merges clusters, two at a time, where that raises the costs least for each image
// that has too many: greedy, as agglomerative clustering is. Two clusters become one in the images that have both.
type merger struct {
	costs *costs
	all   []*cluster
	room  []int  // by image: how many layers more it may have; negative: too many
	over  bitset // the images that have too many
	queue mergeQueue
}

// merge is the best partner of a cluster among those before it.
type merge struct {
	score float64
	i, j  int
	urges int // how many images of over both are in
}

type mergeQueue []merge

func (q mergeQueue) Len() int { return len(q) }
func (q mergeQueue) Less(a, b int) bool {
	return cmp.Or(cmp.Compare(q[a].score, q[b].score), q[a].i-q[b].i, q[a].j-q[b].j) < 0
}
func (q mergeQueue) Swap(a, b int) { q[a], q[b] = q[b], q[a] }
func (q *mergeQueue) Push(m any)   { *q = append(*q, m.(merge)) }
func (q *mergeQueue) Pop() any {
	last := len(*q) - 1
	m := (*q)[last]
	*q = (*q)[:last]
	return m
}

// agglomerate merges clusters until no image has more layers than its limit. It
// also does where no image has too many as long as that lowers the costs, which
// it can only if a layer costs something beside its bytes.
func (c *costs) agglomerate(clusters []*cluster, limits []int) []*cluster {
	m := &merger{costs: c, all: clusters, room: slices.Clone(limits), over: newBitset(len(limits))}
	for _, l := range clusters {
		l.users.each(func(i int) { m.room[i]-- })
	}
	for i, room := range m.room {
		if room < 0 {
			m.over.add(i)
		}
	}
	for i := range m.all {
		m.seek(i)
	}
	for len(m.queue) > 0 {
		best := heap.Pop(&m.queue).(merge)
		a := m.all[best.i]
		if a.gone {
			continue
		}
		b := m.all[best.j]
		urges := a.users.countAnd(b.users, m.over)
		switch {
		case b.gone || urges != best.urges:
			m.seek(best.i)
		case urges > 0 || best.score < 0:
			m.merge(a, b)
		}
	}
	return slices.DeleteFunc(m.all, func(l *cluster) bool { return l.gone })
}

// seek puts the best merge of cluster i with one before it into the queue. Of
// two clusters, the later has them both in view, so that no pair is forgotten.
func (m *merger) seek(i int) {
	a := m.all[i]
	if a.users.countAnd(a.users, m.over) == 0 && m.costs.layerCost == 0 {
		return
	}
	best := merge{i: i, j: -1}
	for j := range i {
		b := m.all[j]
		if b.gone {
			continue
		}
		urges := a.users.countAnd(b.users, m.over)
		if urges == 0 && m.costs.layerCost == 0 {
			continue
		}
		share := float64(max(urges, 1))
		// No merge is cheaper than if one's sources were all the other's.
		saved := m.saved(a, b)
		least := m.costs.of(a.size+b.size, max(a.weight, b.weight), false) - saved
		if best.j >= 0 && least/share >= best.score {
			continue
		}
		score := (m.costs.of(a.size+b.size, m.costs.weightOr(a.needs, b.needs), false) - saved) / share
		if urges == 0 && score >= 0 {
			continue
		}
		if best.j < 0 || score < best.score {
			best.score, best.j, best.urges = score, j, urges
		}
	}
	if best.j >= 0 {
		heap.Push(&m.queue, best)
	}
}

// saved is what the two cost no more if they become one: nothing of one that other images need as it is.
func (m *merger) saved(a, b *cluster) float64 {
	var saved float64
	if b.users.holds(a.users) {
		saved += a.cost
	}
	if a.users.holds(b.users) {
		saved += b.cost
	}
	return saved
}

func (m *merger) merge(a, b *cluster) {
	both := a.users.and(b.users)
	a.gone, b.gone = true, true
	add := []*cluster{m.costs.fill(&cluster{users: both, paths: slices.Concat(a.paths, b.paths), needs: a.needs.or(b.needs), size: a.size + b.size})}
	for _, l := range []*cluster{a, b} {
		if !both.holds(l.users) {
			rest := *l
			rest.users = slices.Clone(l.users)
			rest.users.removeAll(both)
			rest.gone = false
			add = append(add, &rest)
		}
	}
	both.each(func(i int) {
		m.room[i]++
		if m.room[i] == 0 {
			m.over.remove(i)
		}
	})
	for _, l := range add {
		m.all = append(m.all, l)
		m.seek(len(m.all) - 1)
	}
}
