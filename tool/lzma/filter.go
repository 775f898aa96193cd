package lzma

import (
	"encoding/binary"
	"math/bits"
)

// A filter undoes what was done to the data before they were compressed so that they compress better.
type filter interface {
	// undo changes b in place and returns how much of it is done. The rest, a few
	// bytes, comes again at the start of the next b, unless this is the last.
	undo(b []byte, isLast bool) (done int)
}

// filterStage gives pieces of data to a filter.
type filterStage struct {
	f    filter
	buf  []byte
	done int // of buf
}

// add returns what is done once p is there, which is good until the next call.
func (s *filterStage) add(p []byte, isLast bool) []byte {
	s.buf = append(append(s.buf[:0], s.buf[s.done:]...), p...)
	s.done = s.f.undo(s.buf, isLast)
	return s.buf[:s.done]
}

// delta undoes the filter by which a byte is the difference from that distance before it (xz file format, 5.3.3).
type delta struct {
	distance int
	history  [256]byte
	pos      uint8
}

func (f *delta) undo(b []byte, _ bool) int {
	for i := range b {
		b[i] += f.history[f.pos-uint8(f.distance)]
		f.history[f.pos] = b[i]
		f.pos++
	}
	return len(b)
}

// x86 undoes the filter by which the targets of x86 calls and jumps, E8 and E9 with four bytes of which the highest is
// 00 or FF, are absolute instead of relative to the next instruction (5.3.2). Not all such bytes are instructions.
type x86 struct {
	pos uint32 // of b in the program
	// suspects tells of the three bytes before, the latest lowest, which were E8 or E9 and left as they are:
	// what follows might belong to theirs.
	suspects uint32
}

func (f *x86) undo(b []byte, isLast bool) int {
	i := 0
	for i+4 < len(b) {
		if b[i]&0xfe != 0xe8 {
			f.suspects = f.suspects << 1 & 7
			i++
			continue
		}
		s := f.suspects
		latest := bits.Len32(s) // how far behind the target's highest byte that of the farthest suspect lies
		if s&(s-1) != 0 || s != 0 && isSign(b[i+4-latest]) || !isSign(b[i+4]) {
			f.suspects = (s<<1 | 1) & 7
			i++
			continue
		}
		at := f.pos + uint32(i) + 5
		target := binary.LittleEndian.Uint32(b[i+1:])
		rel := target - at
		// Where that gives what would be the highest byte of the suspect's target, the encoder
		// had turned the lower bits over, or this byte would not have been left alone.
		if shift := 32 - 8*latest; s != 0 && isSign(byte(rel>>(shift-8))) {
			rel = (rel ^ (1<<shift - 1)) - at
		}
		binary.LittleEndian.PutUint32(b[i+1:], uint32(int32(rel<<7)>>7)) // 25 bits with their sign
		f.suspects = 0
		i += 5
	}
	f.pos += uint32(i)
	if isLast {
		return len(b)
	}
	return i
}

// isSign tells whether b may be the highest byte of a target.
func isSign(b byte) bool { return b == 0 || b == 0xff }
