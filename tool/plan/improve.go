package plan

import "slices"

const (
	// maxPasses bounds how often every path is looked at.
	maxPasses = 8
	// maxWork bounds what improve does, in operations on words: some seconds. It is counted, not timed.
	maxWork = 2_000_000_000
)

// improve moves single paths between clusters of the same images where that lowers the costs, until
// none does. Merging looks at two clusters at a time and never takes back what it did; this does.
// Layers that clients hold stay as they are.
func (c *costs) improve(clusters []*cluster, size func(x int32) int64) {
	var kinds [][]*cluster // those of the same images
	for _, l := range clusters {
		if l.held {
			continue
		}
		i := slices.IndexFunc(kinds, func(k []*cluster) bool { return slices.Equal(k[0].users, l.users) })
		if i < 0 {
			i = len(kinds)
			kinds = append(kinds, nil)
		}
		kinds[i] = append(kinds[i], l)
	}
	c.work = 0
	for _, kind := range kinds {
		for range maxPasses {
			moved := false
			for _, from := range kind {
				moved = c.improveOne(from, kind, size) || moved
			}
			if !moved || c.work > maxWork {
				break
			}
		}
	}
}

// improveOne moves paths out of a cluster, and reports whether it did.
func (c *costs) improveOne(from *cluster, to []*cluster, size func(x int32) int64) (moved bool) {
	only := c.onlyOnce(from)
	for i := 0; i < len(from.paths) && len(from.paths) > 1 && c.work <= maxWork; i++ {
		x := from.paths[i]
		// The sources that are below no other path of the cluster go with x.
		left := slices.Clone(from.needs)
		left.removeAll(only.and(c.needs[x]))
		leftWeight := c.weight(left)
		gain := from.cost - c.of(from.size-size(x), leftWeight, false)
		var best *cluster
		for _, l := range to {
			if l == from {
				continue
			}
			if more := c.of(l.size+size(x), c.weightOr(l.needs, c.needs[x]), false) - l.cost; more < gain {
				gain, best = more, l
			}
		}
		if best == nil {
			continue
		}
		best.paths = append(slices.Clone(best.paths), x)
		best.size += size(x)
		best.needs = best.needs.or(c.needs[x])
		c.fill(best)
		from.paths = slices.Delete(slices.Clone(from.paths), i, i+1)
		from.size -= size(x)
		from.needs = left
		c.fill(from)
		only = c.onlyOnce(from)
		moved = true
		i--
	}
	return moved
}

// onlyOnce returns the sources that are below just one path of a cluster.
func (c *costs) onlyOnce(l *cluster) bitset {
	once, more := make(bitset, len(c.weights)), make(bitset, len(c.weights))
	for _, x := range l.paths {
		for i, w := range c.needs[x] {
			more[i] |= once[i] & w
			once[i] |= w
		}
	}
	c.work += int64(len(l.paths) * len(once))
	once.removeAll(more)
	return once
}
