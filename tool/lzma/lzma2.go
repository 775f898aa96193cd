package lzma

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// chunks decodes LZMA2: chunks, each of which is LZMA or stored, and a zero byte.
type chunks struct {
	d      *decoder
	left   int  // bytes of the chunk that are to come
	stored bool // the chunk isn't compressed
	// What the next chunk has to begin with, since it can't be taken over from the one before.
	needDict, needProps, needReset bool
}

func (c *chunks) reset(dictSize int) {
	c.d.empty(dictSize)
	c.left = 0
	c.needDict, c.needProps, c.needReset = true, true, true
}

// next decodes some of a chunk, all decoded before being used up. It returns nothing after the last chunk.
func (c *chunks) next() ([]byte, error) {
	d := c.d
	if c.left == 0 {
		if end, err := c.begin(); end || err != nil {
			return nil, err
		}
	}
	limit := d.room(c.left)
	from := d.pos
	if c.stored {
		if err := d.in.fill(1); err != nil {
			return nil, unexpected(err)
		}
		n := copy(d.dict[from:limit], d.in.buf[d.in.next:d.in.have])
		d.in.next += uint(n)
		d.pos += n
		d.total += uint64(n)
		d.last = d.dict[d.pos-1]
	} else if err := d.run(limit); err != nil {
		return nil, err
	}
	c.left -= d.pos - from
	if !c.stored && (d.pos < limit || d.in.next > d.in.end || c.left == 0 && !c.ended()) {
		return nil, errCorrupt
	}
	return d.dict[from:d.pos], nil
}

// ended tells whether a chunk's last symbol is what its sizes say: the encoder leaves the range coder's code at zero.
func (c *chunks) ended() bool {
	return c.d.in.next == c.d.in.end && c.d.pending == 0 && c.d.code == 0
}

// begin takes a chunk's header. Its control byte is 0 at the end of all, 1 or 2 before stored
// bytes, with 1 emptying the dictionary; from 0x80 on its bits 5 and 6 say what begins anew: nothing, the
// state, the state with new properties, all with the dictionary; and the lower five belong to the size.
func (c *chunks) begin() (end bool, err error) {
	d := c.d
	h, err := d.in.take(1)
	if err != nil {
		return false, err
	}
	control := h[0]
	if control == 0 {
		return true, nil
	}
	if control > 2 && control < 0x80 {
		return false, fmt.Errorf("want an LZMA2 chunk, found one of the unknown kind %#02x", control)
	}
	if control == 1 || control >= 0xe0 {
		d.total, d.last = 0, 0
		c.needDict, c.needProps = false, true
	}
	if c.needDict {
		return false, errors.New("the first LZMA2 chunk doesn't begin with an empty dictionary")
	}
	if c.stored = control < 0x80; c.stored {
		if h, err = d.in.take(2); err != nil {
			return false, err
		}
		c.left = int(binary.BigEndian.Uint16(h)) + 1
		return false, nil
	}
	if h, err = d.in.take(4); err != nil {
		return false, err
	}
	c.left = int(control&0x1f)<<16 + int(binary.BigEndian.Uint16(h)) + 1
	size := uint(binary.BigEndian.Uint16(h[2:])) + 1
	if control >= 0xc0 {
		if h, err = d.in.take(1); err != nil {
			return false, err
		}
		if err := d.setProps(h[0]); err != nil {
			return false, err
		}
		c.needProps = false
	}
	if control >= 0xa0 {
		d.reset()
		c.needReset = false
	}
	if c.needProps || c.needReset {
		return false, errors.New("an LZMA2 chunk goes on with properties that there were none of")
	}
	if err := d.in.fill(size); err != nil {
		return false, unexpected(err)
	}
	if size < 5 {
		return false, errCorrupt
	}
	d.in.end = d.in.next + size
	return false, d.begin()
}

// setProps takes lc, lp and pb as one byte has them: how many bits of the last byte and of
// the position choose a literal's probabilities, and how many of the position a match's.
func (d *decoder) setProps(b byte) error {
	lc, lp, pb := uint(b%9), uint(b/9%5), uint(b/45)
	if pb > maxPB || lc+lp > maxLCLP {
		return fmt.Errorf("want LZMA2 properties with lc+lp up to 4 and pb up to 4, found %#02x", b)
	}
	d.lc, d.lp, d.pb = lc, lp, pb
	return nil
}
