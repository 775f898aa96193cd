package lzma

import "io"

const (
	// maxSymbol is more than the bytes that a symbol takes: its bits of a probability, at most 22, shrink the range
	// by 2048/31 each at the worst, 26 others halve it, and the last byte may have been taken for the symbol before.
	maxSymbol = 24
	// inputSize holds the longest chunk of LZMA2 with its header, and what makes filling it up cheap.
	inputSize = 128<<10 + maxSymbol
)

// input holds a piece of the compressed file.
type input struct {
	r          io.Reader
	buf        [inputSize]byte
	next, have uint   // what of buf isn't used yet
	end        uint   // a symbol may begin here, but not behind it
	used       uint64 // bytes of the file before buf
	err        error  // of r
}

func (in *input) reset(r io.Reader) {
	in.r, in.next, in.have, in.end, in.used, in.err = r, 0, 0, 0, 0, nil
}

// offset is how many bytes of the file are used.
func (in *input) offset() uint64 { return in.used + uint64(in.next) }

// buffered is how many bytes are read but not used.
func (in *input) buffered() int { return int(in.have - min(in.next, in.have)) }

// fill reads until n bytes are there, at most inputSize-maxSymbol. Its error is io.EOF if the file ends before.
func (in *input) fill(n uint) error {
	if in.have-in.next >= n {
		return nil
	}
	in.used += uint64(in.next)
	in.have = uint(copy(in.buf[:], in.buf[in.next:in.have]))
	in.next = 0
	for empty := 0; in.have < n; {
		if in.err != nil {
			return in.err
		}
		var k int
		k, in.err = in.r.Read(in.buf[in.have : inputSize-maxSymbol])
		in.have += uint(k)
		if empty++; k > 0 {
			empty = 0
		}
		if empty == 100 && in.err == nil {
			in.err = io.ErrNoProgress
		}
	}
	return nil
}

// take returns the next n bytes, for as long as nothing more is read.
// A file that ends before is an io.ErrUnexpectedEOF.
func (in *input) take(n uint) ([]byte, error) {
	if err := in.fill(n); err != nil {
		return nil, unexpected(err)
	}
	b := in.buf[in.next : in.next+n]
	in.next += n
	return b, nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
