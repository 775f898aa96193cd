package deflate

// The symbols for several code lengths at once (3.2.7).
const (
	repeatLast   = 16
	repeatZero   = 17
	repeatZeroes = 18
)

// Their extra bits, and the least that they stand for.
var (
	repeatBits = [19]uint8{repeatLast: 2, repeatZero: 3, repeatZeroes: 7}
	repeatMin  = [19]uint8{repeatLast: 3, repeatZero: 3, repeatZeroes: 11}
)

// codeLengthOrder is the order in which a header has the lengths of its own code (3.2.7).
var codeLengthOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// header is that of a block with codes of its own (3.2.7): their lengths, which are Huffman-coded themselves.
type header struct {
	litLens, dists, codeLengths int // how many of each are written; those after are 0
	symbols                     []headerSymbol
	code                        code
	size                        int // in bits, with the three before any block

	lengths [numLitLens + numDists]uint8
	memory  [numLitLens + numDists]headerSymbol
}

// headerSymbol is a code length, or says how often one is repeated.
type headerSymbol struct{ symbol, extra uint8 }

// make sets h to the header for codes of those lengths.
func (h *header) make(huff *huffman, litLen, dist []uint8) {
	h.litLens, h.dists, h.codeLengths = len(litLen), len(dist), len(codeLengthOrder)
	for litLen[h.litLens-1] == 0 { // The end of the block has a code, which is why 257 remain.
		h.litLens--
	}
	for dist[h.dists-1] == 0 {
		h.dists--
	}
	lengths := append(append(h.lengths[:0], litLen[:h.litLens]...), dist[:h.dists]...)

	var freq [19]uint32
	h.symbols = h.memory[:0]
	add := func(symbol, extra uint8) {
		h.symbols = append(h.symbols, headerSymbol{symbol, extra})
		freq[symbol]++
	}
	for len(lengths) > 0 {
		l := lengths[0]
		run := 1
		for run < len(lengths) && lengths[run] == l {
			run++
		}
		lengths = lengths[run:]
		repeat := func(symbol uint8) {
			least := int(repeatMin[symbol])
			for run >= least {
				n := min(run, least+1<<repeatBits[symbol]-1)
				add(symbol, uint8(n-least))
				run -= n
			}
		}
		if l == 0 {
			repeat(repeatZeroes)
			repeat(repeatZero)
		} else {
			add(l, 0)
			run--
			repeat(repeatLast)
		}
		for range run {
			add(l, 0)
		}
	}

	huff.lengths(h.code.length[:len(freq)], freq[:], 7)
	for h.code.length[codeLengthOrder[h.codeLengths-1]] == 0 {
		h.codeLengths--
	}
	h.size = 3 + 5 + 5 + 4 + 3*h.codeLengths + h.code.size(freq[:])
	for s, x := range repeatBits {
		h.size += int(freq[s]) * int(x)
	}
}

// writeHeader writes e.header, without the three bits before any block.
func (e *Encoder) writeHeader() {
	h := &e.header
	codes(h.code.bits[:], h.code.length[:])
	e.write(uint64(h.litLens-257)|uint64(h.dists-1)<<5|uint64(h.codeLengths-4)<<10, 14)
	for _, s := range codeLengthOrder[:h.codeLengths] {
		e.write(uint64(h.code.length[s]), 3)
	}
	for _, s := range h.symbols {
		e.write(uint64(h.code.bits[s.symbol]), uint(h.code.length[s.symbol]))
		e.write(uint64(s.extra), uint(repeatBits[s.symbol]))
	}
}
