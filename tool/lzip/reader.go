package lzip

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// Sizes of the dictionary that the format knows, in bytes.
const (
	MinDictSize = 1 << 12
	MaxDictSize = 1 << 29
)

const (
	headerSize  = 6
	trailerSize = 20
	magic       = "LZIP"
	version     = 1
	// chunk is how much is decompressed at a time.
	chunk = 32 << 10
	// firstDict is what the dictionary begins with, where the member names a larger one.
	firstDict = 64 << 10
)

var (
	// ErrDictSize says that a member names a dictionary over the Reader's limit.
	ErrDictSize = errors.New("lzip: the dictionary is larger than allowed")
	// ErrTrailing says that something else than a member follows a member.
	ErrTrailing = errors.New("lzip: more bytes follow the last member")
	// ErrChecksum says that the data are not those that the trailer tells of.
	ErrChecksum = errors.New("lzip: the data are not those that the member's trailer tells of")
)

// Reader decompresses one lzip file after the other.
type Reader struct {
	maxDict int
	in      *bufio.Reader
	d       decoder
	crc     uint32
	members int
	open    bool // a member is under way
	err     error
}

// NewReader returns a Reader that is ready for [Reader.Reset] and allows
// dictionaries of up to maxDict bytes.
func NewReader(maxDict int) *Reader {
	return &Reader{maxDict: min(maxDict, MaxDictSize), err: io.EOF}
}

// Reset begins to decompress what in holds. Nothing is read before the first [Reader.Read].
func (r *Reader) Reset(in *bufio.Reader) {
	r.in, r.members, r.open, r.err = in, 0, false, nil
	r.d.in.reset(in)
	r.d.pos, r.d.read = 0, 0
}

// Read gives the data of all members. It gives [io.EOF] only behind a whole last
// member and where in ends as well; a file that is cut is an
// [io.ErrUnexpectedEOF]. Errors of in are returned as they are.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for r.err == nil && r.d.read == r.d.pos {
		r.err = r.more()
	}
	if r.d.read == r.d.pos {
		return 0, r.err
	}
	n := copy(p, r.d.buf[r.d.read:r.d.pos])
	r.d.read += n
	return n, nil
}

// more decompresses the next piece, all earlier ones being read.
func (r *Reader) more() error {
	if !r.open {
		return r.begin()
	}
	from := r.d.makeRoom()
	end, err := r.d.decode(min(from+chunk, len(r.d.buf)))
	r.crc = crc32.Update(r.crc, crc32.IEEETable, r.d.buf[from:r.d.pos])
	if err != nil {
		r.d.read = r.d.pos // What was made before the fault isn't passed on.
		return err
	}
	if end {
		r.open = false
		return r.trailer()
	}
	return nil
}

// begin reads a member's header, or finds the end of the file.
func (r *Reader) begin() error {
	r.d.in.give()
	if _, err := r.in.Peek(1); err != nil {
		if err == io.EOF && r.members == 0 {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	h, err := r.in.Peek(headerSize)
	if err != nil && err != io.EOF {
		return err
	}
	if n := min(len(h), len(magic)); string(h[:n]) != magic[:n] {
		if r.members > 0 {
			return ErrTrailing
		}
		return fmt.Errorf("lzip: want a file that begins with %q, found %q", magic, h[:n])
	}
	if len(h) < headerSize {
		return io.ErrUnexpectedEOF
	}
	if h[4] != version {
		return fmt.Errorf("lzip: want version %d, found %d", version, h[4])
	}
	size, err := dictSize(h[5])
	if err != nil {
		return err
	}
	if size > r.maxDict {
		return ErrDictSize
	}
	if _, err := r.in.Discard(headerSize); err != nil {
		return err
	}
	r.open, r.crc = true, 0
	return r.d.reset(size)
}

// dictSize decodes the header's last byte: a power of two in the lower five
// bits, less as many sixteenths of it as the upper three say.
func dictSize(b byte) (int, error) {
	log := b & 0x1f
	if log < 12 || log > 29 {
		return 0, fmt.Errorf("lzip: want a dictionary of 2^12 to 2^29 bytes, found 2^%d", log)
	}
	size := 1 << log
	size -= size / 16 * int(b>>5)
	if size < MinDictSize {
		return 0, fmt.Errorf("lzip: want a dictionary of at least %d bytes, found %d", MinDictSize, size)
	}
	return size, nil
}

// trailer checks the end of a member.
func (r *Reader) trailer() error {
	r.d.in.give()
	var t [trailerSize]byte
	if _, err := io.ReadFull(r.in, t[:]); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	r.members++
	if binary.LittleEndian.Uint32(t[:]) != r.crc ||
		binary.LittleEndian.Uint64(t[4:]) != r.d.total ||
		binary.LittleEndian.Uint64(t[12:]) != headerSize+r.d.in.n+trailerSize {
		r.d.read = r.d.pos
		return ErrChecksum
	}
	return nil
}
