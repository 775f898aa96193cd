package lzip

import (
	"bufio"
	"errors"
	"io"
)

// The LZMA of lzip: lc=3, lp=0, pb=2.
const (
	states         = 12
	posStates      = 4 // pb=2
	literalStates  = 8 // lc=3, lp=0
	minMatch       = 2
	lenStates      = 4
	slotBits       = 6
	startDistModel = 4
	endDistModel   = 14
	fullDistances  = 1 << (endDistModel / 2)
	alignBits      = 4

	modelBits = 11
	moveBits  = 5
	topRange  = 1 << 24
)

var errCorrupt = errors.New("lzip: the LZMA stream is damaged")

// input hands out single bytes of a bufio.Reader without a call for each.
type input struct {
	r    *bufio.Reader
	buf  []byte // what r has buffered
	next int    // of buf
	n    uint64 // handed out, since the last reset of the decoder
	err  error
}

func (in *input) reset(r *bufio.Reader) { *in = input{r: r} }

// give tells the bufio.Reader what was taken: others may read from it now.
func (in *input) give() {
	_, _ = in.r.Discard(in.next) // It is buffered.
	in.buf, in.next = nil, 0
}

// byte returns the next byte; 0 after the end, where in.err says so.
func (in *input) byte() byte {
	if in.next == len(in.buf) && !in.fill() {
		return 0
	}
	b := in.buf[in.next]
	in.next++
	in.n++
	return b
}

func (in *input) fill() bool {
	if in.err != nil {
		return false
	}
	in.give()
	if _, err := in.r.Peek(1); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		in.err = err
		return false
	}
	in.buf, _ = in.r.Peek(in.r.Buffered())
	return true
}

// prob is the probability of a zero bit, out of 2^modelBits.
type prob uint16

type lenModel struct {
	choice, choice2 prob
	low, mid        [posStates][8]prob
	high            [256]prob
}

// models are all that the coder learns.
type models struct {
	literal  [literalStates][0x300]prob
	match    [states][posStates]prob
	rep      [states]prob
	rep0     [states]prob
	rep1     [states]prob
	rep2     [states]prob
	longRep  [states][posStates]prob
	slot     [lenStates][1 << slotBits]prob
	dist     [fullDistances - endDistModel + 1]prob
	align    [1 << alignBits]prob
	matchLen lenModel
	repLen   lenModel
}

func fillProbs(p []prob) {
	for i := range p {
		p[i] = 1 << (modelBits - 1)
	}
}

func (m *lenModel) reset() {
	fillProbs(m.high[:])
	for i := range posStates {
		fillProbs(m.low[i][:])
		fillProbs(m.mid[i][:])
	}
	m.choice, m.choice2 = 1<<(modelBits-1), 1<<(modelBits-1)
}

func (m *models) reset() {
	for i := range m.literal {
		fillProbs(m.literal[i][:])
	}
	for i := range states {
		fillProbs(m.match[i][:])
		fillProbs(m.longRep[i][:])
	}
	fillProbs(m.rep[:])
	fillProbs(m.rep0[:])
	fillProbs(m.rep1[:])
	fillProbs(m.rep2[:])
	for i := range m.slot {
		fillProbs(m.slot[i][:])
	}
	fillProbs(m.dist[:])
	fillProbs(m.align[:])
	m.matchLen.reset()
	m.repLen.reset()
}

// decoder decodes one member's LZMA stream into a dictionary, out of which it is read.
type decoder struct {
	in        input
	rng, code uint32
	m         models

	// buf is the dictionary. It grows until it holds dictSize bytes or more, and
	// then begins again at its start. What lies from read to pos waits for the
	// reader; before anything is decoded, all of that must be read.
	buf       []byte
	pos, read int
	dictSize  int
	total     uint64 // bytes decoded of the member

	state      int
	rep        [4]uint32
	pendingLen int // of a match that didn't fit
}

// reset begins a member with a dictionary of size bytes. All of the last one must have been read.
func (d *decoder) reset(size int) error {
	d.dictSize = size
	d.pos, d.read, d.total = 0, 0, 0
	d.state, d.rep, d.pendingLen = 0, [4]uint32{}, 0
	d.m.reset()
	d.in.n = 0
	d.rng, d.code = 0xffffffff, 0
	if d.in.byte() != 0 {
		return errCorrupt
	}
	for range 4 {
		d.code = d.code<<8 | uint32(d.in.byte())
	}
	return d.in.err
}

// makeRoom makes room for at least a byte at d.pos, which it returns.
func (d *decoder) makeRoom() int {
	if d.pos < len(d.buf) {
		return d.pos
	}
	if len(d.buf) < d.dictSize {
		grown := make([]byte, min(max(2*len(d.buf), firstDict), max(d.dictSize, MinDictSize)))
		copy(grown, d.buf)
		d.buf = grown
	} else {
		d.pos, d.read = 0, 0
	}
	return d.pos
}

// bit decodes a bit by the model p.
func (d *decoder) bit(p *prob) uint32 {
	bound := (d.rng >> modelBits) * uint32(*p)
	var b uint32
	if d.code < bound {
		d.rng = bound
		*p += (1<<modelBits - *p) >> moveBits
	} else {
		d.rng -= bound
		d.code -= bound
		*p -= *p >> moveBits
		b = 1
	}
	if d.rng < topRange {
		d.rng <<= 8
		d.code = d.code<<8 | uint32(d.in.byte())
	}
	return b
}

// direct decodes n bits that no model knows.
func (d *decoder) direct(n uint32) uint32 {
	var v uint32
	for range n {
		d.rng >>= 1
		v <<= 1
		if d.code >= d.rng {
			d.code -= d.rng
			v |= 1
		}
		if d.rng < topRange {
			d.rng <<= 8
			d.code = d.code<<8 | uint32(d.in.byte())
		}
	}
	return v
}

// tree decodes a number of as many bits as len(probs) has, the highest first.
func (d *decoder) tree(probs []prob) uint32 {
	v := uint32(1)
	for v < uint32(len(probs)) {
		v = v<<1 | d.bit(&probs[v])
	}
	return v - uint32(len(probs))
}

// reversed decodes a number of n bits, the lowest first.
func (d *decoder) reversed(probs []prob, n uint32) uint32 {
	var v uint32
	m := uint32(1)
	for i := range n {
		b := d.bit(&probs[m])
		m = m<<1 | b
		v |= b << i
	}
	return v
}

func (d *decoder) length(m *lenModel, posState int) int {
	if d.bit(&m.choice) == 0 {
		return minMatch + int(d.tree(m.low[posState][:]))
	}
	if d.bit(&m.choice2) == 0 {
		return minMatch + 8 + int(d.tree(m.mid[posState][:]))
	}
	return minMatch + 16 + int(d.tree(m.high[:]))
}

// back returns the byte that is dist+1 before d.pos. It must be there.
func (d *decoder) back(dist int) byte {
	i := d.pos - dist - 1
	if i < 0 {
		i += len(d.buf)
	}
	return d.buf[i]
}

func (d *decoder) literal() byte {
	var before byte
	if d.total > 0 {
		before = d.back(0)
	}
	probs := &d.m.literal[before>>5]
	v := uint32(1)
	if d.state >= 7 { // after a match: the byte that would have gone on it is a hint
		hint := uint32(d.back(int(d.rep[0])))
		for v < 0x100 {
			hint <<= 1
			want := hint & 0x100
			b := d.bit(&probs[0x100+want+v])
			v = v<<1 | b
			if want>>8 != b {
				break
			}
		}
	}
	for v < 0x100 {
		v = v<<1 | d.bit(&probs[v])
	}
	return byte(v)
}

// distance decodes the distance of a match of length n.
func (d *decoder) distance(n int) uint32 {
	slot := d.tree(d.m.slot[min(n-minMatch, lenStates-1)][:])
	if slot < startDistModel {
		return slot
	}
	bits := slot>>1 - 1
	dist := (2 | slot&1) << bits
	if slot < endDistModel {
		return dist + d.reversed(d.m.dist[dist-slot:], bits)
	}
	dist += d.direct(bits-alignBits) << alignBits
	return dist + d.reversed(d.m.align[:], alignBits)
}

// decode decodes until d.pos is limit, which d.buf has room for, or the end of
// the stream, and reports whether that was it.
func (d *decoder) decode(limit int) (end bool, err error) {
	d.copyMatch(limit)
	for d.pos < limit {
		posState := int(d.total % posStates)
		if d.bit(&d.m.match[d.state][posState]) == 0 {
			b := d.literal()
			d.put(b)
			switch {
			case d.state < 4:
				d.state = 0
			case d.state < 10:
				d.state -= 3
			default:
				d.state -= 6
			}
		} else {
			n, marker := d.match(posState)
			if d.in.err != nil {
				return false, d.in.err
			}
			if marker {
				// A longer one is the marker of a flush, which no file holds. The encoder's
				// last bytes leave the code at zero, whatever else would decode alike (as liblzma has it).
				if n != minMatch || d.code != 0 {
					return false, errCorrupt
				}
				return true, nil
			}
			if dist := uint64(d.rep[0]); dist >= d.total || dist >= uint64(d.dictSize) {
				return false, errCorrupt
			}
			d.pendingLen = n
			d.copyMatch(limit)
		}
		if d.in.err != nil {
			return false, d.in.err
		}
	}
	return false, nil
}

// match decodes a match's length, and its distance into d.rep[0].
func (d *decoder) match(posState int) (n int, marker bool) {
	if d.bit(&d.m.rep[d.state]) == 0 {
		d.rep[3], d.rep[2], d.rep[1] = d.rep[2], d.rep[1], d.rep[0]
		n = d.length(&d.m.matchLen, posState)
		d.rep[0] = d.distance(n)
		d.state = after(d.state, 7, 10)
		return n, d.rep[0] == 0xffffffff
	}
	if d.bit(&d.m.rep0[d.state]) == 0 {
		if d.bit(&d.m.longRep[d.state][posState]) == 0 {
			d.state = after(d.state, 9, 11)
			return 1, false
		}
	} else {
		dist := d.rep[1]
		if d.bit(&d.m.rep1[d.state]) != 0 {
			dist = d.rep[2]
			if d.bit(&d.m.rep2[d.state]) != 0 {
				dist = d.rep[3]
				d.rep[3] = d.rep[2]
			}
			d.rep[2] = d.rep[1]
		}
		d.rep[1] = d.rep[0]
		d.rep[0] = dist
	}
	n = d.length(&d.m.repLen, posState)
	d.state = after(d.state, 8, 11)
	return n, false
}

// after is the state after a match: one of two, by whether a literal was before.
func after(state, literal, match int) int {
	if state < 7 {
		return literal
	}
	return match
}

func (d *decoder) put(b byte) {
	d.buf[d.pos] = b
	d.pos++
	d.total++
}

// copyMatch copies of the pending match what fits below limit.
func (d *decoder) copyMatch(limit int) {
	n := min(d.pendingLen, limit-d.pos)
	if n <= 0 {
		return
	}
	d.pendingLen -= n
	d.total += uint64(n)
	from := d.pos - int(d.rep[0]) - 1
	if from < 0 {
		from += len(d.buf)
	}
	for n > 0 {
		// As much as lies in one piece on both sides; what overlaps repeats.
		piece := min(n, len(d.buf)-from)
		if from < d.pos {
			piece = min(piece, d.pos-from)
		}
		copy(d.buf[d.pos:d.pos+piece], d.buf[from:from+piece])
		d.pos += piece
		n -= piece
		if from += piece; from == len(d.buf) {
			from = 0
		}
	}
}
