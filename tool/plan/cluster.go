package plan

import (
	"cmp"
	"container/heap"
	"math/bits"
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

	// What seek looks at of every cluster, side by side, since it is most of the work: glances, and the words of users.
	glances []glance
	users   []uint64
	words   int     // of each cluster's users
	alive   []int32 // the clusters, in order; not many of them are gone
	dead    int     // how many of alive are
}

// glance is what decides most often that two clusters aren't to be merged.
type glance struct {
	size   int64
	cost   float64
	weight int
	gone   bool
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
	m := &merger{costs: c, room: slices.Clone(limits), over: newBitset(len(limits))}
	m.words = len(m.over)
	for _, l := range clusters {
		l.users.each(func(i int) { m.room[i]-- })
		m.add(l)
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
			m.merge(best.i, best.j)
		}
	}
	return slices.DeleteFunc(m.all, func(l *cluster) bool { return l.gone })
}

// add appends a cluster, and returns its place.
func (m *merger) add(l *cluster) int {
	m.alive = append(m.alive, int32(len(m.all)))
	m.all = append(m.all, l)
	m.glances = append(m.glances, glance{size: l.size, cost: l.cost, weight: l.weight})
	m.users = append(m.users, l.users...)
	return len(m.all) - 1
}

// remove takes cluster i away.
func (m *merger) remove(i int) {
	m.all[i].gone, m.glances[i].gone = true, true
	if m.dead++; m.dead > len(m.alive)/8 {
		m.alive = slices.DeleteFunc(m.alive, func(i int32) bool { return m.glances[i].gone })
		m.dead = 0
	}
}

// seek puts the best merge of cluster i with one before it into the queue. Of
// two clusters, the later has them both in view, so that no pair is forgotten.
func (m *merger) seek(i int) {
	a := m.all[i]
	urged := a.users.and(m.over)
	alone := m.costs.layerCost == 0 // Nobody is merged but for an image that has too many.
	if alone && urged.empty() {
		return
	}
	best := merge{i: i, j: -1}
	for _, next := range m.alive {
		j := int(next)
		if j >= i {
			break
		}
		b := &m.glances[j]
		if b.gone {
			continue
		}
		urges := 0
		for k, w := range m.users[j*m.words:][:len(urged)] {
			urges += bits.OnesCount64(w & urged[k])
		}
		if alone && urges == 0 {
			continue
		}
		share := float64(max(urges, 1))
		// No merge is cheaper than if one's sources were all the other's, and no image went on with one of the two as it is.
		least := m.costs.of(a.size+b.size, max(a.weight, b.weight), false)
		if best.j >= 0 && (least-float64(a.cost+b.cost))/share >= best.score {
			continue
		}
		other := m.all[j]
		saved := saved(a, other)
		if best.j >= 0 && (least-saved)/share >= best.score {
			continue
		}
		score := (m.costs.of(a.size+b.size, m.costs.weightOr(a.needs, other.needs), false) - saved) / share
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
func saved(a, b *cluster) float64 {
	var saved float64
	if b.users.holds(a.users) {
		saved += a.cost
	}
	if a.users.holds(b.users) {
		saved += b.cost
	}
	return saved
}

// merge makes one of clusters i and j, in the images that have both.
func (m *merger) merge(i, j int) {
	a, b := m.all[i], m.all[j]
	both := a.users.and(b.users)
	m.remove(i)
	m.remove(j)
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
		m.seek(m.add(l))
	}
}
