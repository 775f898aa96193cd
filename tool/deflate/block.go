package deflate

import "math/bits"

const (
	// segmentSize is how many bytes make up a segment. Blocks consist of whole ones: the block ends before one whose
	// symbols occur in another way than its own.
	segmentSize = 8 << 10

	// headerCost is what one more block costs, by experience, as [histogram.cost] has it.
	headerCost = 600 << 16

	// maxBlockTokens bounds the memory: a block of more ends.
	maxBlockTokens = 1 << 16

	// maxStored is how much a stored block can hold (3.2.4).
	maxStored = 1<<16 - 1
)

// histogram has how often each symbol occurs.
type histogram struct {
	litLen [numLitLens]uint32
	dist   [numDists]uint32

	// cost is how many bits they need at least, without extra bits, times 65536.
	cost uint64
}

func (h *histogram) reset() { *h = histogram{} }

// sum sets h to a and b together.
func (h *histogram) sum(a, b *histogram) {
	for s := range h.litLen {
		h.litLen[s] = a.litLen[s] + b.litLen[s]
	}
	for s := range h.dist {
		h.dist[s] = a.dist[s] + b.dist[s]
	}
	h.measure()
}

// measure sets cost.
func (h *histogram) measure() { h.cost = entropy(h.litLen[:]) + entropy(h.dist[:]) }

func entropy(freq []uint32) (cost uint64) {
	total := uint32(0)
	for _, f := range freq {
		if f > 0 {
			total += f
			cost -= uint64(f) * log2(f)
		}
	}
	if total > 0 {
		cost += uint64(total) * log2(total)
	}
	return cost
}

// logs are the logarithms of 1 to 2 in steps of 1/512, as log2 has them.
var logs [512]uint16

func init() {
	for i := range logs {
		x := uint64(512+i) << 22 // times 1<<31. Each time it is squared, its logarithm doubles, and the whole part is a bit of it.
		for range 16 {
			x = x * x >> 31
			logs[i] = logs[i]<<1 | uint16(x>>32)
			x >>= x >> 32
		}
	}
}

// log2 returns the logarithm of x, which isn't 0, times 65536: of its upper ten bits, and never too much.
func log2(x uint32) uint64 {
	n := bits.Len32(x) - 1
	return uint64(n)<<16 + uint64(logs[uint64(x)<<9>>n&511])
}

// code is how symbols are written: so many bits of each.
type code struct {
	bits   [288]uint16
	length [288]uint8
}

// The codes of a block that has none of its own (3.2.6).
var fixedLitLen, fixedDist = func() (litLen, dist code) {
	for s := range litLen.length {
		switch {
		case s < 144, s >= 280:
			litLen.length[s] = 8
		case s < 256:
			litLen.length[s] = 9
		default:
			litLen.length[s] = 7
		}
	}
	for s := range dist.length[:32] {
		dist.length[s] = 5
	}
	codes(litLen.bits[:], litLen.length[:])
	codes(dist.bits[:], dist.length[:])
	return litLen, dist
}()

// size returns how many bits symbols of those frequencies take.
func (c *code) size(freq []uint32) (n int) {
	for s, f := range freq {
		n += int(f) * int(c.length[s])
	}
	return n
}

// writeBlock writes e.block, whose tokens stand for in, in the form that takes the fewest bits.
func (e *Encoder) writeBlock(in []byte, tokens []token, last bool) {
	h := &e.block
	h.litLen[endOfBlock] = 1

	extra := 0
	for s, x := range lengthExtra {
		extra += int(h.litLen[firstLength+s]) * int(x)
	}
	for s, x := range distExtra {
		extra += int(h.dist[s]) * int(x)
	}
	e.lengths(e.litLen.length[:numLitLens], h.litLen[:], maxCodeLength)
	e.lengths(e.dist.length[:numDists], h.dist[:], maxCodeLength)
	e.header.make(&e.huffman, e.litLen.length[:numLitLens], e.dist.length[:numDists])
	dynamic := e.header.size + e.litLen.size(h.litLen[:]) + e.dist.size(h.dist[:]) + extra
	fixed := 3 + fixedLitLen.size(h.litLen[:]) + fixedDist.size(h.dist[:]) + extra
	// Each stored block has 40 bits before its bytes; of the first one, five are fewer, up to the end of a byte.
	stored := 8*len(in) + 40*((len(in)+maxStored-1)/maxStored) - 5 + int(-(e.n+3)&7)

	if len(in) > 0 && stored <= min(dynamic, fixed) {
		e.writeStored(in, last)
		return
	}
	e.room(min(dynamic, fixed)/8 + 2)
	litLen, dist := &e.litLen, &e.dist
	if fixed <= dynamic {
		litLen, dist = &fixedLitLen, &fixedDist
		e.write(1<<1|bit(last), 3)
	} else {
		codes(litLen.bits[:], litLen.length[:])
		codes(dist.bits[:], dist.length[:])
		e.write(2<<1|bit(last), 3)
		e.writeHeader()
	}
	e.setBits(litLen, dist)
	e.writeTokens(tokens)
	e.write(uint64(litLen.bits[endOfBlock]), uint(litLen.length[endOfBlock]))
}

// setBits sets what each token is written as.
func (e *Encoder) setBits(litLen, dist *code) {
	for b := range tokenMatch {
		e.litLenBits[b] = uint32(litLen.bits[b]) | uint32(litLen.length[b])<<24
	}
	for n, s := range lengthSymbol {
		bits, length := litLen.bits[firstLength+int(s)], litLen.length[firstLength+int(s)]
		extra := uint32(n) - uint32(lengthBase[s])
		e.litLenBits[tokenMatch+n] = uint32(bits) | extra<<length | uint32(length+lengthExtra[s])<<24
	}
	for s, extra := range distExtra {
		length := dist.length[s]
		e.distBits[s] = uint64(dist.bits[s]) | uint64(length)<<16 | uint64(length+extra)<<24 | (1<<extra-1)<<32
	}
}

// writeStored writes in as it is (3.2.4), in several blocks if one can't hold it.
func (e *Encoder) writeStored(in []byte, last bool) {
	for {
		n := min(len(in), maxStored)
		e.room(n + 6)
		e.write(bit(last && n == len(in)), 3)
		e.align()
		e.write(uint64(n)|uint64(^uint16(n))<<16, 32)
		e.pos += copy(e.out[e.pos:], in[:n])
		if in = in[n:]; len(in) == 0 {
			return
		}
	}
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
