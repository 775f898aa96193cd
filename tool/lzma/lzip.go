package lzma

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

const (
	lzipHeader  = 6
	lzipTrailer = 20
	lzipMagic   = "LZIP"
	lzipVersion = 1
	// The sizes of dictionaries that lzip knows.
	lzipMinDict = 1 << 12
	lzipMaxDict = 1 << 29
)

var (
	// ErrTrailing says that something else than the format's next part follows a whole one.
	ErrTrailing = errors.New("more bytes follow the last compressed stream")
	// ErrChecksum says that the data are not those that were compressed.
	ErrChecksum = errors.New("the data are not those that the checksum is of")
)

// LzipReader decompresses one lzip file after the other. It is made by [NewLzipReader].
type LzipReader struct {
	maxDict int
	d       decoder
	out     []byte // decoded, not read yet
	crc     uint32
	start   uint64 // of the member, in the file
	members int
	open    bool // a member is under way
	err     error
}

// NewLzipReader returns an LzipReader that is ready for [LzipReader.Reset] and
// allows dictionaries of up to maxDict bytes.
func NewLzipReader(maxDict int) *LzipReader {
	return &LzipReader{maxDict: maxDict, err: io.EOF}
}

// Reset begins to decompress the file in. Nothing is read before the first [LzipReader.Read].
func (r *LzipReader) Reset(in io.Reader) {
	r.d.in.reset(in)
	r.out, r.members, r.open, r.err = nil, 0, false, nil
}

// Buffered is how many bytes were read of the file but not used yet.
func (r *LzipReader) Buffered() int { return r.d.in.buffered() }

// Read gives the data of all members. It gives [io.EOF] only behind a whole last
// member and where the file ends as well; a file that is cut is an
// [io.ErrUnexpectedEOF]. Errors of the file's reader are returned as they are.
func (r *LzipReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for r.err == nil && len(r.out) == 0 {
		r.out, r.err = r.more()
	}
	n := copy(p, r.out)
	r.out = r.out[n:]
	if n == 0 {
		return 0, r.err
	}
	return n, nil
}

func (r *LzipReader) more() ([]byte, error) {
	if !r.open {
		return nil, r.begin()
	}
	d := &r.d
	limit := d.room(piece)
	from := d.pos
	end, err := r.decode(limit)
	if err != nil {
		return nil, err
	}
	out := d.dict[from:d.pos]
	r.crc = crc32.Update(r.crc, crc32.IEEETable, out)
	if end {
		r.open = false
		if err := r.trailer(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// decode decodes up to limit or the member's end.
func (r *LzipReader) decode(limit int) (end bool, err error) {
	d, in := &r.d, &r.d.in
	for d.pos < limit {
		switch err := in.fill(maxSymbol); err {
		case nil:
			in.end = in.have - maxSymbol
		case io.EOF:
			// The last symbols take what is left. Whatever takes more finds zeros, and is found out.
			clear(in.buf[in.have : in.have+maxSymbol])
			in.end = in.have
		default:
			return false, err
		}
		err := d.run(limit)
		if in.next > in.have {
			return false, io.ErrUnexpectedEOF
		}
		if err != nil {
			// The greatest distance is no fault but the marker of the end, if it is that of a shortest match.
			// (Longer ones are for flushes, which no file has.) The encoder leaves the range coder's code at zero.
			if d.rep[0] == 0xffffffff && d.pending == minMatch && d.code == 0 {
				return true, nil
			}
			return false, err
		}
	}
	return false, nil
}

// begin takes a member's header, or finds the end of the file.
func (r *LzipReader) begin() error {
	in := &r.d.in
	r.start = in.offset()
	err := in.fill(lzipHeader)
	if err != nil && err != io.EOF {
		return err
	}
	h := in.buf[in.next:in.have]
	if len(h) == 0 && r.members > 0 {
		return io.EOF
	}
	if n := min(len(h), len(lzipMagic)); string(h[:n]) != lzipMagic[:n] {
		if r.members > 0 {
			return ErrTrailing
		}
		return fmt.Errorf("want a file that begins with %q, found %q", lzipMagic, h[:n])
	}
	if err != nil {
		return io.ErrUnexpectedEOF
	}
	if h[4] != lzipVersion {
		return fmt.Errorf("want version %d, found %d", lzipVersion, h[4])
	}
	size, err := lzipDictSize(h[5])
	if err != nil {
		return err
	}
	if size > r.maxDict {
		return ErrDictSize
	}
	in.next += lzipHeader
	r.open, r.crc = true, 0
	r.d.lc, r.d.lp, r.d.pb = 3, 0, 2
	r.d.empty(size)
	r.d.reset()
	return r.d.begin()
}

// lzipDictSize decodes the header's last byte: a power of two in the lower five
// bits, less as many sixteenths of it as the upper three say.
func lzipDictSize(b byte) (int, error) {
	log := b & 0x1f
	if log < 12 || log > 29 {
		return 0, fmt.Errorf("want a dictionary of 2^12 to 2^29 bytes, found 2^%d", log)
	}
	size := 1 << log
	size -= size / 16 * int(b>>5)
	if size < lzipMinDict {
		return 0, fmt.Errorf("want a dictionary of at least %d bytes, found %d", lzipMinDict, size)
	}
	return size, nil
}

// trailer takes the end of a member, whose numbers all must be right.
func (r *LzipReader) trailer() error {
	t, err := r.d.in.take(lzipTrailer)
	if err != nil {
		return err
	}
	r.members++
	if binary.LittleEndian.Uint32(t) != r.crc ||
		binary.LittleEndian.Uint64(t[4:]) != r.d.total ||
		binary.LittleEndian.Uint64(t[12:]) != r.d.in.offset()-r.start {
		return ErrChecksum
	}
	return nil
}
