package lzma

import (
	"encoding/binary"
	"errors"
)

const (
	// piece is how much is decoded at a time, in bytes: it stays in the cache for what comes after.
	piece = 32 << 10
	// firstDict is what the dictionary begins with, and growth what it grows by, where the data
	// are that long: in two steps to the 8 MiB of xz -6.
	firstDict = 128 << 10
	growth    = 8
	// slack is what the dictionary has behind its end and before its oldest byte, for the loop
	// copies up to 15 bytes more than a match has.
	slack = 16
)

var (
	// ErrDictSize says that a file wants a dictionary over the reader's limit.
	ErrDictSize = errors.New("the dictionary is larger than allowed")
	errCorrupt  = errors.New("the LZMA data are damaged")
)

// periods are the smallest multiples of 1, 2, … 15 from 16 on.
var periods = [16]uint8{16, 16, 18, 16, 20, 18, 21, 16, 18, 20, 22, 24, 26, 28, 30}

// decoder decodes the symbols of LZMA, out of the input into the dictionary.
type decoder struct {
	in        input
	rng, code uint32
	models    models

	// dict is the dictionary, which grows with the data until it holds
	// dictSize bytes and the slack, and then begins again at its start.
	dict     []byte
	dictSize int
	pos      int    // where the next byte goes
	total    uint64 // bytes decoded since the dictionary was emptied
	last     byte   // the one before pos; 0 if there is none

	lc, lp, pb uint
	state      uint
	rep        [4]uint32 // distances less 1
	pending    int       // bytes of a match that are to be copied yet
}

// empty empties the dictionary, all of which must have been read, and gives it room for size bytes when it has to.
func (d *decoder) empty(size int) {
	d.dictSize = size
	d.pos, d.total, d.last, d.pending = 0, 0, 0, 0
}

// reset forgets what was learned.
func (d *decoder) reset() {
	d.state, d.rep = 0, [4]uint32{}
	d.models.reset(d.lc + d.lp)
}

// begin takes the five bytes with which the range coder begins.
func (d *decoder) begin() error {
	b, err := d.in.take(5)
	if err != nil {
		return err
	}
	if b[0] != 0 {
		return errCorrupt
	}
	d.rng, d.code = 0xffffffff, binary.BigEndian.Uint32(b[1:])
	return nil
}

// room makes room for at least a byte at d.pos and returns up to where there is some, for want bytes at the most.
func (d *decoder) room(want int) (limit int) {
	if d.pos+slack >= len(d.dict) {
		if full := d.dictSize + 2*slack; len(d.dict) < full {
			grown := make([]byte, min(max(growth*len(d.dict), firstDict), full))
			copy(grown, d.dict[:d.pos])
			d.dict = grown
		} else {
			d.pos = 0
		}
	}
	return min(d.pos+min(want, piece), len(d.dict)-slack)
}

// run decodes until d.pos is limit or the input's end is reached.
func (d *decoder) run(limit int) error {
	for {
		d.copyMatch(limit)
		if d.pos >= limit || d.in.next > d.in.end {
			return nil
		}
		if err := d.decode(limit); err != nil {
			return err
		}
	}
}

// copyMatch copies of the pending match what fits below limit.
func (d *decoder) copyMatch(limit int) {
	n := min(d.pending, limit-d.pos)
	if n <= 0 {
		return
	}
	d.pending -= n
	d.total += uint64(n)
	wrap := len(d.dict) - slack
	from := d.pos - int(d.rep[0]) - 1
	if from < 0 {
		from += wrap
	}
	for n > 0 {
		// As much as lies in one piece on both sides; what overlaps repeats.
		k := min(n, wrap-from)
		if from < d.pos {
			k = min(k, d.pos-from)
		}
		copy(d.dict[d.pos:d.pos+k], d.dict[from:from+k])
		d.pos += k
		n -= k
		if from += k; from == wrap {
			from = 0
		}
	}
	d.last = d.dict[d.pos-1]
}
