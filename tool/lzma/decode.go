package lzma

import "math/bits"

// norm makes rng large again by a byte of the input. Every bit begins with it.
func norm(rng, code uint32, in *[inputSize]byte, next uint) (uint32, uint32, uint) {
	if rng < 1<<24 {
		rng <<= 8
		code = code<<8 | uint32(in[next])
		next++
	}
	return rng, code, next
}

// zero and one are what becomes of the probability p by such a bit.
func zero(p uint32) prob { return prob(p + (1<<probBits-p)>>moveBits) }
func one(p uint32) prob  { return prob(p - p>>moveBits) }

// choose decodes a bit of probability p without a branch: each of its ifs becomes a conditional move. q is p after the bit.
func choose(rng, code, p uint32) (newRng, newCode uint32, q prob, isOne bool) {
	bound := rng >> probBits * p
	isOne = code >= bound
	newRng, newCode = rng-bound, code-bound
	if !isOne {
		newRng = bound
	}
	if !isOne {
		newCode = code
	}
	// This is zero(p) as well as one(p): the shift rounds down also what is negative.
	off := uint32(0)
	if !isOne {
		off = 1<<probBits - (1<<moveBits - 1)
	}
	return newRng, newCode, prob(p - uint32(int32(p-off)>>moveBits)), isOne
}

// push appends a bit to sym. (No conditional move: if one led to the address of
// a load, the compiler would make branches of all of them.)
func push(isOne bool, sym uint) uint {
	var b uint
	if isOne {
		b = 1
	}
	return sym<<1 | b
}

// descend goes from the node sym of a tree to one of its children, whose probabilities are p0 and p1.
func descend(isOne bool, sym uint, p0, p1 uint32) (uint, uint32) {
	if isOne {
		p0 = p1
	}
	return push(isOne, sym), p0
}

// follow goes down likewise while the hint, the byte at the last distance, is followed: off is 0x100 as
// long as all bits were equal to its, bit is that and its next bit, node is where the probability is.
func follow(isOne bool, if0, if1, hint, sym uint) (off, bit, node uint) {
	var b uint
	if isOne {
		b = 1
	}
	off = if0 ^ (if0^if1)&-b
	bit = hint & off
	return off, bit, (off + bit + sym) & 1023
}

// decode decodes symbols until d.pos is limit, the next one begins behind
// d.in.end, a match is found that is not for the loop to copy (d.pending), or what can't be right.
// The dictionary must have room up to limit, and the input for maxSymbol bytes behind d.in.end.
//
// This is where the time goes. The range coder is in variables, and nothing is called. Input and output are
// checked once a symbol. No index needs a check, but those of input and dictionary. What can be predicted is
// a branch, and what can't be, the bits of a number, is none; meanwhile both children
// of the tree's node are loaded before the bit says which it will be.
func (d *decoder) decode(limit int) error {
	var (
		m                      = &d.models
		rng, code              = d.rng, d.code
		in, next, end          = &d.in.buf, d.in.next, d.in.end
		dict, pos              = d.dict, d.pos
		before                 = d.total - uint64(pos) // before+pos is what was decoded
		state                  = d.state
		rep0, rep1, rep2, rep3 = d.rep[0], d.rep[1], d.rep[2], d.rep[3]
		last                   = d.last
		lc                     = d.lc & 7
		litMask                = uint(1)<<(d.lp&7) - 1
		posMask                = uint(1)<<(d.pb&7) - 1
		pending                = 0
		err                    error // nil or errCorrupt
	)
	for pos < limit && next <= end {
		at := uint(before) + uint(pos)
		posState := at & posMask & (posStates - 1)
		var isOne bool
		var q prob
		var p0, p1 uint32

		rng, code, next = norm(rng, code, in, next)
		pp := &m.match[(state<<maxPB|posState)&(16*posStates-1)]
		p := uint32(*pp)
		bound := rng >> probBits * p
		if code < bound { // a literal
			rng = bound
			*pp = zero(p)
			lit := &m.literal[(at&litMask<<lc|uint(last)>>(8-lc))&(literalStates-1)]
			if state < afterMatch {
				state = max(state, 3) - 3
				t := (*[256]prob)(lit[:])
				p, sym := uint32(t[1]), uint(1)
				rng, code, next = norm(rng, code, in, next)
				p0, p1 = uint32(t[2*sym]), uint32(t[2*sym+1])
				rng, code, q, isOne = choose(rng, code, p)
				t[sym] = q
				sym, p = descend(isOne, sym, p0, p1)
				rng, code, next = norm(rng, code, in, next)
				p0, p1 = uint32(t[2*sym]), uint32(t[2*sym+1])
				rng, code, q, isOne = choose(rng, code, p)
				t[sym] = q
				sym, p = descend(isOne, sym, p0, p1)
				rng, code, next = norm(rng, code, in, next)
				p0, p1 = uint32(t[2*sym]), uint32(t[2*sym+1])
				rng, code, q, isOne = choose(rng, code, p)
				t[sym] = q
				sym, p = descend(isOne, sym, p0, p1)
				rng, code, next = norm(rng, code, in, next)
				p0, p1 = uint32(t[2*sym]), uint32(t[2*sym+1])
				rng, code, q, isOne = choose(rng, code, p)
				t[sym] = q
				sym, p = descend(isOne, sym, p0, p1)
				rng, code, next = norm(rng, code, in, next)
				p0, p1 = uint32(t[2*sym]), uint32(t[2*sym+1])
				rng, code, q, isOne = choose(rng, code, p)
				t[sym] = q
				sym, p = descend(isOne, sym, p0, p1)
				rng, code, next = norm(rng, code, in, next)
				p0, p1 = uint32(t[2*sym]), uint32(t[2*sym+1])
				rng, code, q, isOne = choose(rng, code, p)
				t[sym] = q
				sym, p = descend(isOne, sym, p0, p1)
				rng, code, next = norm(rng, code, in, next)
				p0, p1 = uint32(t[2*sym]), uint32(t[2*sym+1])
				rng, code, q, isOne = choose(rng, code, p)
				t[sym] = q
				sym, p = descend(isOne, sym, p0, p1)
				rng, code, next = norm(rng, code, in, next)
				rng, code, q, isOne = choose(rng, code, p)
				t[sym] = q
				sym = push(isOne, sym)
				last = byte(sym)
			} else {
				if state < 10 {
					state -= 3
				} else {
					state -= 6
				}
				i := pos - int(rep0) - 1
				if i < 0 {
					i += len(dict) - slack
				}
				hint := uint(dict[i]) << 1
				t, sym := lit, uint(1)
				off := uint(0x100)
				bit := hint & off
				node := off + bit + sym
				p := uint32(t[node])
				var if0, if1 uint
				rng, code, next = norm(rng, code, in, next)
				if0, if1 = off^bit, bit
				hint <<= 1
				p0, p1 = uint32(t[(if0+hint&if0+2*sym)&1023]), uint32(t[(if1+hint&if1+2*sym+1)&1023])
				rng, code, q, isOne = choose(rng, code, p)
				t[node] = q
				sym, p = descend(isOne, sym, p0, p1)
				off, bit, node = follow(isOne, if0, if1, hint, sym)
				rng, code, next = norm(rng, code, in, next)
				if0, if1 = off^bit, bit
				hint <<= 1
				p0, p1 = uint32(t[(if0+hint&if0+2*sym)&1023]), uint32(t[(if1+hint&if1+2*sym+1)&1023])
				rng, code, q, isOne = choose(rng, code, p)
				t[node] = q
				sym, p = descend(isOne, sym, p0, p1)
				off, bit, node = follow(isOne, if0, if1, hint, sym)
				rng, code, next = norm(rng, code, in, next)
				if0, if1 = off^bit, bit
				hint <<= 1
				p0, p1 = uint32(t[(if0+hint&if0+2*sym)&1023]), uint32(t[(if1+hint&if1+2*sym+1)&1023])
				rng, code, q, isOne = choose(rng, code, p)
				t[node] = q
				sym, p = descend(isOne, sym, p0, p1)
				off, bit, node = follow(isOne, if0, if1, hint, sym)
				rng, code, next = norm(rng, code, in, next)
				if0, if1 = off^bit, bit
				hint <<= 1
				p0, p1 = uint32(t[(if0+hint&if0+2*sym)&1023]), uint32(t[(if1+hint&if1+2*sym+1)&1023])
				rng, code, q, isOne = choose(rng, code, p)
				t[node] = q
				sym, p = descend(isOne, sym, p0, p1)
				off, bit, node = follow(isOne, if0, if1, hint, sym)
				rng, code, next = norm(rng, code, in, next)
				if0, if1 = off^bit, bit
				hint <<= 1
				p0, p1 = uint32(t[(if0+hint&if0+2*sym)&1023]), uint32(t[(if1+hint&if1+2*sym+1)&1023])
				rng, code, q, isOne = choose(rng, code, p)
				t[node] = q
				sym, p = descend(isOne, sym, p0, p1)
				off, bit, node = follow(isOne, if0, if1, hint, sym)
				rng, code, next = norm(rng, code, in, next)
				if0, if1 = off^bit, bit
				hint <<= 1
				p0, p1 = uint32(t[(if0+hint&if0+2*sym)&1023]), uint32(t[(if1+hint&if1+2*sym+1)&1023])
				rng, code, q, isOne = choose(rng, code, p)
				t[node] = q
				sym, p = descend(isOne, sym, p0, p1)
				off, bit, node = follow(isOne, if0, if1, hint, sym)
				rng, code, next = norm(rng, code, in, next)
				if0, if1 = off^bit, bit
				hint <<= 1
				p0, p1 = uint32(t[(if0+hint&if0+2*sym)&1023]), uint32(t[(if1+hint&if1+2*sym+1)&1023])
				rng, code, q, isOne = choose(rng, code, p)
				t[node] = q
				sym, p = descend(isOne, sym, p0, p1)
				_, _, node = follow(isOne, if0, if1, hint, sym)
				rng, code, next = norm(rng, code, in, next)
				rng, code, q, isOne = choose(rng, code, p)
				t[node] = q
				sym = push(isOne, sym)
				last = byte(sym)
			}
			dict[pos] = last
			pos++
			continue
		}
		rng -= bound
		code -= bound
		*pp = one(p)

		rng, code, next = norm(rng, code, in, next)
		pp = &m.rep[state&15]
		p = uint32(*pp)
		bound = rng >> probBits * p
		lens := &m.matchLengths
		isMatch := code < bound
		if isMatch {
			rng = bound
			*pp = zero(p)
			rep1, rep2, rep3 = rep0, rep1, rep2
			if state < afterMatch {
				state = 7
			} else {
				state = 10
			}
		} else {
			rng -= bound
			code -= bound
			*pp = one(p)
			lens = &m.repLengths

			rng, code, next = norm(rng, code, in, next)
			pp = &m.rep0[state&15]
			p = uint32(*pp)
			bound = rng >> probBits * p
			if code < bound {
				rng = bound
				*pp = zero(p)

				rng, code, next = norm(rng, code, in, next)
				pp = &m.longRep[(state<<maxPB|posState)&(16*posStates-1)]
				p = uint32(*pp)
				bound = rng >> probBits * p
				if code < bound { // the one byte at the last distance
					rng = bound
					*pp = zero(p)
					if before+uint64(pos) <= uint64(rep0) {
						err = errCorrupt
						break
					}
					if state < afterMatch {
						state = 9
					} else {
						state = 11
					}
					i := pos - int(rep0) - 1
					if i < 0 {
						i += len(dict) - slack
					}
					last = dict[i]
					dict[pos] = last
					pos++
					continue
				}
				rng -= bound
				code -= bound
				*pp = one(p)
			} else {
				rng -= bound
				code -= bound
				*pp = one(p)

				rng, code, next = norm(rng, code, in, next)
				pp = &m.rep1[state&15]
				p = uint32(*pp)
				bound = rng >> probBits * p
				if code < bound {
					rng = bound
					*pp = zero(p)
					rep0, rep1 = rep1, rep0
				} else {
					rng -= bound
					code -= bound
					*pp = one(p)

					rng, code, next = norm(rng, code, in, next)
					pp = &m.rep2[state&15]
					p = uint32(*pp)
					bound = rng >> probBits * p
					if code < bound {
						rng = bound
						*pp = zero(p)
						rep0, rep1, rep2 = rep2, rep0, rep1
					} else {
						rng -= bound
						code -= bound
						*pp = one(p)
						rep0, rep1, rep2, rep3 = rep3, rep0, rep1, rep2
					}
				}
			}
			if state < afterMatch {
				state = 8
			} else {
				state = 11
			}
		}

		var length uint
		rng, code, next = norm(rng, code, in, next)
		p = uint32(lens.choice)
		bound = rng >> probBits * p
		if code < bound {
			rng = bound
			lens.choice = zero(p)
			t := &lens.low[posState]
			p, sym := uint32(t[1]), uint(1)
			rng, code, next = norm(rng, code, in, next)
			p0, p1 = uint32(t[2*sym]), uint32(t[2*sym+1])
			rng, code, q, isOne = choose(rng, code, p)
			t[sym] = q
			sym, p = descend(isOne, sym, p0, p1)
			rng, code, next = norm(rng, code, in, next)
			p0, p1 = uint32(t[2*sym]), uint32(t[2*sym+1])
			rng, code, q, isOne = choose(rng, code, p)
			t[sym] = q
			sym, p = descend(isOne, sym, p0, p1)
			rng, code, next = norm(rng, code, in, next)
			rng, code, q, isOne = choose(rng, code, p)
			t[sym] = q
			sym = push(isOne, sym)
			length = sym - 8 + minMatch
		} else {
			rng -= bound
			code -= bound
			lens.choice = one(p)

			rng, code, next = norm(rng, code, in, next)
			p = uint32(lens.choice2)
			bound = rng >> probBits * p
			if code < bound {
				rng = bound
				lens.choice2 = zero(p)
				t := &lens.mid[posState]
				p, sym := uint32(t[1]), uint(1)
				rng, code, next = norm(rng, code, in, next)
				p0, p1 = uint32(t[2*sym]), uint32(t[2*sym+1])
				rng, code, q, isOne = choose(rng, code, p)
				t[sym] = q
				sym, p = descend(isOne, sym, p0, p1)
				rng, code, next = norm(rng, code, in, next)
				p0, p1 = uint32(t[2*sym]), uint32(t[2*sym+1])
				rng, code, q, isOne = choose(rng, code, p)
				t[sym] = q
				sym, p = descend(isOne, sym, p0, p1)
				rng, code, next = norm(rng, code, in, next)
				rng, code, q, isOne = choose(rng, code, p)
				t[sym] = q
				sym = push(isOne, sym)
				length = sym - 8 + minMatch + 8
			} else {
				rng -= bound
				code -= bound
				lens.choice2 = one(p)
				t := &lens.high
				p, sym := uint32(t[1]), uint(1)
				for sym < 128 {
					rng, code, next = norm(rng, code, in, next)
					p0, p1 = uint32(t[2*sym]), uint32(t[2*sym+1])
					rng, code, q, isOne = choose(rng, code, p)
					t[sym] = q
					sym, p = descend(isOne, sym, p0, p1)
				}
				rng, code, next = norm(rng, code, in, next)
				rng, code, q, isOne = choose(rng, code, p)
				t[sym] = q
				sym = push(isOne, sym)
				length = sym - 256 + minMatch + 16
			}
		}

		if isMatch {
			t := &m.slot[min(length-minMatch, lenStates-1)]
			p, sym := uint32(t[1]), uint(1)
			rng, code, next = norm(rng, code, in, next)
			p0, p1 = uint32(t[2*sym]), uint32(t[2*sym+1])
			rng, code, q, isOne = choose(rng, code, p)
			t[sym] = q
			sym, p = descend(isOne, sym, p0, p1)
			rng, code, next = norm(rng, code, in, next)
			p0, p1 = uint32(t[2*sym]), uint32(t[2*sym+1])
			rng, code, q, isOne = choose(rng, code, p)
			t[sym] = q
			sym, p = descend(isOne, sym, p0, p1)
			rng, code, next = norm(rng, code, in, next)
			p0, p1 = uint32(t[2*sym]), uint32(t[2*sym+1])
			rng, code, q, isOne = choose(rng, code, p)
			t[sym] = q
			sym, p = descend(isOne, sym, p0, p1)
			rng, code, next = norm(rng, code, in, next)
			p0, p1 = uint32(t[2*sym]), uint32(t[2*sym+1])
			rng, code, q, isOne = choose(rng, code, p)
			t[sym] = q
			sym, p = descend(isOne, sym, p0, p1)
			rng, code, next = norm(rng, code, in, next)
			p0, p1 = uint32(t[2*sym]), uint32(t[2*sym+1])
			rng, code, q, isOne = choose(rng, code, p)
			t[sym] = q
			sym, p = descend(isOne, sym, p0, p1)
			rng, code, next = norm(rng, code, in, next)
			rng, code, q, isOne = choose(rng, code, p)
			t[sym] = q
			sym = push(isOne, sym)
			slot := uint32(sym - slots)
			rep0 = slot
			if slot >= startDist {
				n := slot>>1 - 1 // bits
				rep0 = 2 | slot&1
				if slot < endDist {
					rep0 <<= n
					// A tree for each slot, one behind the other.
					root, sym := uint(rep0-slot), uint(1)
					for range n {
						pp := &m.dist[(root+sym)&127]
						rng, code, next = norm(rng, code, in, next)
						rng, code, q, isOne = choose(rng, code, uint32(*pp))
						*pp = q
						sym = push(isOne, sym)
					}
					rep0 += uint32(bits.Reverse8(uint8(sym)) >> (8 - n))
				} else {
					for range n - alignBits {
						rng, code, next = norm(rng, code, in, next)
						rng >>= 1
						isOne = code >= rng
						rest := code - rng
						if isOne {
							code = rest
						}
						rep0 = uint32(push(isOne, uint(rep0)))
					}
					t := &m.align
					p, sym := uint32(t[1]), uint(1)
					rng, code, next = norm(rng, code, in, next)
					p0, p1 = uint32(t[2*sym]), uint32(t[2*sym+1])
					rng, code, q, isOne = choose(rng, code, p)
					t[sym] = q
					sym, p = descend(isOne, sym, p0, p1)
					rng, code, next = norm(rng, code, in, next)
					p0, p1 = uint32(t[2*sym]), uint32(t[2*sym+1])
					rng, code, q, isOne = choose(rng, code, p)
					t[sym] = q
					sym, p = descend(isOne, sym, p0, p1)
					rng, code, next = norm(rng, code, in, next)
					p0, p1 = uint32(t[2*sym]), uint32(t[2*sym+1])
					rng, code, q, isOne = choose(rng, code, p)
					t[sym] = q
					sym, p = descend(isOne, sym, p0, p1)
					rng, code, next = norm(rng, code, in, next)
					rng, code, q, isOne = choose(rng, code, p)
					t[sym] = q
					sym = push(isOne, sym)
					rep0 = rep0<<alignBits + uint32(bits.Reverse8(uint8(sym))>>alignBits)
				}
			}
		}

		if back := uint64(rep0); back >= before+uint64(pos) || back >= uint64(d.dictSize) {
			pending, err = int(length), errCorrupt
			break
		}
		n := int(length)
		from := pos - int(rep0) - 1
		if from < 0 {
			from += len(dict) - slack
		}
		if n > limit-pos || n > len(dict)-slack-from {
			pending = n
			break
		}
		// Sixteen bytes at a time, also behind the match's end.
		done := pos + n
		if rep0 < 15 {
			for i := range min(n, 16) {
				dict[pos+i] = dict[from+i]
			}
			pos += 16
			from = pos - int(periods[rep0])
		}
		for pos < done {
			*(*[16]byte)(dict[pos:]) = *(*[16]byte)(dict[from:])
			pos += 16
			from += 16
		}
		pos = done
		last = dict[pos-1]
	}
	d.rng, d.code, d.in.next = norm(rng, code, in, next)
	d.total, d.pos = before+uint64(pos), pos
	d.state, d.rep, d.last, d.pending = state, [4]uint32{rep0, rep1, rep2, rep3}, last, pending
	return err
}
