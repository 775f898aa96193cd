package deflate

import (
	"encoding/binary"
	"slices"
)

// bitWriter appends bits to bytes, the first ones lowest (3.1.1). Before bits
// are written, room must be made for them.
type bitWriter struct {
	out []byte // up to its capacity
	pos int    // how many of them are written
	acc uint64 // up to seven bits that are not
	n   uint   // how many
}

func (w *bitWriter) reset(dst []byte) {
	w.out, w.pos, w.acc, w.n = dst[:cap(dst)], len(dst), 0, 0
}

// room makes room for so many bytes.
func (w *bitWriter) room(n int) {
	n += 8 // They are stored eight at a time.
	if len(w.out)-w.pos < n {
		out := slices.Grow(w.out[:w.pos], n)
		w.out = out[:cap(out)]
	}
}

// write writes the lower n bits of v, 56 at most. All others must be 0.
func (w *bitWriter) write(v uint64, n uint) {
	w.acc |= v << (w.n & 63)
	w.n += n
	binary.LittleEndian.PutUint64(w.out[w.pos:], w.acc)
	w.pos += int(w.n >> 3)
	w.acc >>= w.n &^ 7 & 63
	w.n &= 7
}

// align fills the last byte.
func (w *bitWriter) align() {
	if w.n > 0 {
		w.room(1)
		w.write(0, 8-w.n)
	}
}

// writeTokens writes each token by what the tables have for it: a literal or length of 20 bits
// at most, and a distance of 28.
func (e *Encoder) writeTokens(tokens []token) {
	out, pos, acc, n := e.out, e.pos, e.acc, uint64(e.n)
	litLens, dists := &e.litLenBits, &e.distBits
	for _, t := range tokens {
		l := litLens[t&511]
		acc |= uint64(l&0xffffff) << (n & 63)
		n += uint64(l >> 24)
		d := dists[t>>tokenDistance&31]
		extra := uint64(t>>tokenOffset) & (d >> 32)
		acc |= (d&0xffff | extra<<(d>>16&31)) << (n & 63)
		n += d >> 24 & 0xff
		binary.LittleEndian.PutUint64(out[pos:], acc)
		pos += int(n >> 3)
		acc >>= n &^ 7 & 63
		n &= 7
	}
	e.pos, e.acc, e.n = pos, acc, uint(n)
}
