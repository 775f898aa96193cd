package lzma

// The states of the LZMA machine are what the last symbols were; all that is
// asked of a state is whether it is afterMatch or later: then the last symbol was no literal.
const (
	states        = 12
	afterMatch    = 7
	posStates     = 1 << maxPB
	literalStates = 1 << maxLCLP
	maxPB         = 4
	maxLCLP       = 4 // of LZMA2 and of lzip; LZMA alone may have more

	minMatch  = 2
	lenStates = 4
	slots     = 1 << 6
	// Distances of slots up to startDist are their slot; those below endDist have all bits but the
	// highest two modelled; of the others only the lowest alignBits are.
	startDist = 4
	endDist   = 14
	alignBits = 4
)

// prob is the probability of a zero bit, out of 1<<probBits. It never comes below 31 or above 2017.
type prob uint16

const (
	probBits = 11
	moveBits = 5
	evenProb = 1 << (probBits - 1)
)

// lengths are the probabilities of a match's length.
type lengths struct {
	choice, choice2 prob
	low, mid        [posStates][8]prob
	high            [256]prob
}

// models are all that the coder learns. Arrays are as large as
// their indexes' masks, not only as what is used of them.
type models struct {
	match, longRep           [16 * posStates]prob // by state<<4 | posState
	rep, rep0, rep1, rep2    [16]prob             // by state
	slot                     [lenStates][slots]prob
	dist                     [128]prob
	align                    [1 << alignBits]prob
	matchLengths, repLengths lengths
	// literal has three trees: the first for literals after a literal, the others for bits that
	// those of the byte at the last distance were equal to so far, where that has a 0 and a 1.
	literal [literalStates][1024]prob
}

func even(probs []prob) {
	for i := range probs {
		probs[i] = evenProb
	}
}

// reset forgets all. Of the trees of literals, it does those that lc and lp use.
func (m *models) reset(lcLP uint) {
	for _, probs := range [][]prob{
		m.match[:], m.longRep[:], m.rep[:], m.rep0[:], m.rep1[:], m.rep2[:], m.dist[:], m.align[:],
	} {
		even(probs)
	}
	for i := range m.slot {
		even(m.slot[i][:])
	}
	for _, l := range []*lengths{&m.matchLengths, &m.repLengths} {
		l.choice, l.choice2 = evenProb, evenProb
		for i := range posStates {
			even(l.low[i][:])
			even(l.mid[i][:])
		}
		even(l.high[:])
	}
	for i := range m.literal[:1<<lcLP] {
		even(m.literal[i][:])
	}
}
