package deflate

import (
	"math/bits"
	"slices"
)

const (
	// maxCodeLength is the most bits that a symbol may have (3.2.7).
	maxCodeLength = 15

	// symbolBits is how many bits name a symbol where it is sorted by its frequency.
	symbolBits = 9
)

// huffman makes codes. What it has is memory.
type huffman struct {
	sorted, tree [numLitLens]uint32
}

// lengths sets length to how many bits each symbol has in the shortest code for those frequencies, limit at most;
// 0 where the frequency is. There are always two symbols or more, as some decoders want a code to be complete.
// Frequencies are less than 1<<23, and so is their sum.
func (h *huffman) lengths(length []uint8, freq []uint32, limit int) {
	clear(length)
	sorted := h.sorted[:0]
	for s, f := range freq {
		if f != 0 {
			sorted = append(sorted, f<<symbolBits|uint32(s))
		}
	}
	switch len(sorted) {
	case 0:
		length[0], length[1] = 1, 1
		return
	case 1:
		s := sorted[0] & (1<<symbolBits - 1)
		length[0], length[max(1, s)] = 1, 1
		return
	}
	slices.Sort(sorted) // by frequency, then by symbol

	var count [maxCodeLength + 1]int // symbols of each length
	h.count(count[:limit+1], sorted)
	i := 0
	for n := limit; n > 0; n-- {
		for range count[n] {
			length[sorted[i]&(1<<symbolBits-1)] = uint8(n)
			i++
		}
	}
}

// count sets count to how many symbols have each length, and the last one to those that have it or would have more.
//
// The tree is made in place, as Moffat and Katajainen do ("In-place calculation of minimum-redundancy codes", 1995): of what is left, the two
// that are least become children of a new node. tree has the weights of nodes, then whose children they are, then how deep they are.
func (h *huffman) count(count []int, sorted []uint32) {
	n := len(sorted)
	tree := h.tree[:n]
	leaf, node := 0, 0 // the least of each that have no parent
	weight := func(limit int) uint32 {
		if leaf < n && (node >= limit || sorted[leaf]>>symbolBits <= tree[node]) {
			leaf++
			return sorted[leaf-1] >> symbolBits
		}
		w := tree[node]
		tree[node] = uint32(limit)
		node++
		return w
	}
	for i := range n - 1 {
		a := weight(i)
		tree[i] = a + weight(i)
	}
	root := n - 2
	tree[root] = 0
	for i := root - 1; i >= 0; i-- {
		tree[i] = tree[tree[i]] + 1
	}

	// At each depth there are twice as many places as nodes above; those that are no nodes are symbols.
	limit := len(count) - 1
	clear(count)
	for places, depth := 1, 0; places > 0; depth++ {
		nodes := 0
		for ; root >= 0 && int(tree[root]) == depth; root-- {
			nodes++
		}
		count[min(depth, limit)] += places - nodes
		places = 2 * nodes
	}

	// Those that were too deep take more places than there are at limit. Each time one of them, and the
	// deepest that is above, become siblings there, there is one less.
	taken := 0
	for l, c := range count {
		taken += c << (limit - l)
	}
	for ; taken > 1<<limit; taken-- {
		l := limit - 1
		for count[l] == 0 {
			l--
		}
		count[l]--
		count[l+1] += 2
		count[limit]--
	}
}

// codes sets code to the codes of those lengths (3.2.2), the first bit lowest.
func codes(code []uint16, length []uint8) {
	var count, next [maxCodeLength + 1]uint16
	for _, l := range length {
		count[l]++
	}
	count[0] = 0
	for l := 1; l < len(next); l++ {
		next[l] = (next[l-1] + count[l-1]) << 1
	}
	for s, l := range length {
		if l > 0 {
			code[s] = bits.Reverse16(next[l]) >> (16 - l)
			next[l]++
		}
	}
}
