package deflate

import "math/bits"

const (
	// Matches of four bytes are looked up in short, those of seven in long.
	minMatch  = 4
	shortBits = 15
	longBits  = 15

	// margin is how many bytes at the end are literals, unless a match reaches into them:
	// those that can't be loaded at once, and looked beyond.
	margin = 16

	// Where nothing was found for 1<<skipLog bytes only each second one is looked at, then each third…
	skipLog = 7

	// A match shorter than this is compared with what its end hints at.
	endCheck = 30
)

// finder finds matches. Its tables remember where each hash was seen last: the lower 15 bits of the
// position, which say which of the last 32 Ki positions it was. So no entry is ever
// too old to be looked at, nor needs to be checked for it: it may be of something else that long ago had the place, but that
// shows where the bytes are compared. And the tables are half as big as usual, and stay in the caches.
type finder struct {
	short [1 << shortBits]uint16
	long  [1 << longBits]uint32 // the last two positions, the later one in the lower half

	tokens []token // what was found, and isn't written yet
}

func hashShort(v uint64) uint32 { return uint32(v) * 2654435761 >> (32 - shortBits) }

func hashLong(v uint64) uint32 { return uint32(v << 8 * 58295818150454627 >> (64 - longBits)) }

// reset forgets all, and then learns src[:dict].
func (f *finder) reset(src []byte, dict int) {
	clear(f.short[:])
	clear(f.long[:])
	if f.tokens == nil {
		f.tokens = make([]token, 0, maxBlockTokens+3*segmentSize)
	}
	f.tokens = f.tokens[:0]
	for i := max(0, dict-maxDistance); i < min(dict, len(src)-margin); i++ {
		f.put(load64(src, i), i)
	}
}

// put remembers that the bytes of v are at i, and returns what the long table had there.
func (f *finder) put(v uint64, i int) uint32 {
	f.short[hashShort(v)] = uint16(i)
	l := &f.long[hashLong(v)]
	was := *l
	*l = was<<16 | uint32(uint16(i))
	return was
}

// before returns the last position before i that ends in the lower 15 bits of p; 0 if there is none.
// It is less than i, and at most maxDistance less, if i isn't 0.
func before(i int, p uint32) int {
	return max(0, i-1-int((uint32(i-1)-p)&(maxDistance-1)))
}

// same returns how many bytes at i are the same as those at j, which is less than i.
func same(src []byte, i, j int) int {
	start := i
	for i+8 <= len(src) {
		if x := load64(src, i) ^ load64(src, j); x != 0 {
			return i - start + bits.TrailingZeros64(x)>>3
		}
		i += 8
		j += 8
	}
	for i < len(src) && src[i] == src[j] {
		i++
		j++
	}
	return i - start
}

// find appends tokens for src[pos:end], or some more, counts them in h, and returns where it ended. The last piece is all that is left.
//
// Every index into src that is loaded from is between 0 and len(src)-8: positions are
// below limit, which is less by margin, and candidates are before a position ([before]).
func (f *finder) find(src []byte, pos, end int, h *histogram) int {
	limit := min(end, len(src)-margin)
	lits := pos // where the literals begin that have no token yet
	if pos == 0 && limit > 0 {
		f.put(load64(src, 0), 0) // Nothing is before it.
		pos = 1
	}
	for pos < limit {
		// Look for a match, of length bytes that are at from, too.
		var from, length int
		cur := load64(src, pos)
		next := pos
		for {
			pos = next
			next = pos + 1 + (pos-lits)>>skipLog
			if next >= limit {
				return f.rest(src, lits, pos, end, h)
			}
			p := &f.short[hashShort(cur)]
			short := uint32(*p)
			*p = uint16(pos)
			q := &f.long[hashLong(cur)]
			long := *q
			*q = long<<16 | uint32(uint16(pos))
			following := load64(src, next)

			// The last two that had seven bytes in common are best, the longer one of them.
			a, b := before(pos, long), before(pos, long>>16)
			if uint32(cur) == load32(src, a) {
				from, length = a, minMatch+same(src, pos+minMatch, a+minMatch)
			}
			if uint32(cur) == load32(src, b) {
				if n := minMatch + same(src, pos+minMatch, b+minMatch); n > length {
					from, length = b, n
				}
			}
			if length > 0 {
				f.put(following, next)
				break
			}
			// One that had four is taken if there is no longer one a byte further on.
			if a = before(pos, short); uint32(cur) == load32(src, a) {
				from, length = a, minMatch+same(src, pos+minMatch, a+minMatch)
				long = f.put(following, next)
				here := pos
				for range 2 {
					b = before(next, long)
					if uint32(following) == load32(src, b) {
						if n := minMatch + same(src, next+minMatch, b+minMatch); n > length {
							here, from, length = next, b, n
						}
					}
					long >>= 16
				}
				pos = here
				break
			}
			cur = following
		}

		// What follows the match may have been seen elsewhere, and what was before it there be the
		// same as here. The first bytes may differ: that is still longer, if it is.
		if after := pos + length; length < endCheck && after < limit {
			const differ = 2
			i := pos + differ
			j := before(after, f.long[hashLong(load64(src, after))]) - length + differ
			if j >= 0 {
				if n := same(src, i, j); n > length {
					pos, from, length = i, j, n
				}
			}
		}
		for from > 0 && pos > lits && src[from-1] == src[pos-1] {
			pos--
			from--
			length++
		}
		f.literals(src[lits:pos], h)
		f.match(length, pos-from, h)

		// Remember each second position of it in each table.
		i := max(pos, next) + 1
		pos += length
		lits = pos
		if pos >= len(src)-margin {
			break
		}
		for ; i+1 < pos; i += 2 {
			v := load64(src, i)
			l := &f.long[hashLong(v)]
			*l = *l<<16 | uint32(uint16(i))
			f.short[hashShort(v>>8)] = uint16(i + 1)
		}
		pos = max(pos, next+1) // next is in the tables already.
	}
	return f.rest(src, lits, pos, end, h)
}

// rest appends the literals before pos, or all of them at src's end, and returns where they end.
func (f *finder) rest(src []byte, lits, pos, end int, h *histogram) int {
	if end == len(src) {
		pos = end
	}
	f.literals(src[lits:pos], h)
	return pos
}

func (f *finder) literals(src []byte, h *histogram) {
	t := f.tokens
	for _, b := range src {
		t = append(t, literal(b))
		h.litLen[b]++
	}
	f.tokens = t
}

// match appends a match, as several if one can't be so long.
func (f *finder) match(length, distance int, h *histogram) {
	symbol := distSymbol(distance)
	for length > 0 {
		n := min(length, maxLength)
		if rest := length - n; rest > 0 && rest < minLength {
			n = length - minLength
		}
		f.tokens = append(f.tokens, match(n, symbol, distance))
		h.litLen[firstLength+int(lengthSymbol[n-minLength])]++
		h.dist[symbol]++
		length -= n
	}
}
