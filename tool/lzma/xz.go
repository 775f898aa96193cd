package lzma

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"slices"
)

const (
	xzHeaderMagic = "\xfd7zXZ\x00"
	xzFooterMagic = "YZ"
	xzHeader      = 12 // bytes, as the footer
	xzMaxDictBits = 40
)

// IDs of filters (xz file format, 5.3 "Filter IDs").
const (
	xzDelta = 0x03
	xzX86   = 0x04
	xzLZMA2 = 0x21
)

// xzFilters are the names of filters that exist.
var xzFilters = map[uint64]string{
	xzDelta: "delta", xzX86: "x86", 0x05: "PowerPC", 0x06: "IA-64", 0x07: "ARM", 0x08: "ARM-Thumb", 0x09: "SPARC", 0x0a: "ARM64", 0x0b: "RISC-V",
	xzLZMA2: "LZMA2",
}

// xzChecks makes the checks of blocks by their ID (3.4 "Check"). The CRCs' bytes come last first.
var xzChecks = map[byte]func() hash.Hash{
	0x00: nil,
	0x01: func() hash.Hash { return crc32.NewIEEE() },
	0x04: func() hash.Hash { return crc64.New(crc64.MakeTable(crc64.ECMA)) },
	0x0a: sha256.New,
}

// XZReader decompresses one xz file after the other. It is made by [NewXZReader].
type XZReader struct {
	maxDict int
	d       decoder
	chunks  chunks
	out     []byte // decoded, not read yet
	err     error
	step    func(*XZReader) error // takes the file's next part

	// of the stream
	streams int
	flags   [2]byte // of the header; the second is the check's ID
	check   hash.Hash
	blocks  blockList

	// of the block
	block struct {
		start, headerSize uint64
		packed, unpacked  int64          // bytes that the header names; -1 if it doesn't
		size              uint64         // decoded so far
		filters           []*filterStage // the first is the last that was applied
	}
}

// NewXZReader returns an XZReader that is ready for [XZReader.Reset] and allows
// dictionaries of up to maxDict bytes.
func NewXZReader(maxDict int) *XZReader {
	r := &XZReader{maxDict: maxDict, err: io.EOF}
	r.chunks.d = &r.d
	r.blocks.h, r.blocks.indexed = sha256.New(), sha256.New()
	return r
}

// Reset begins to decompress the file in. Nothing is read before the first [XZReader.Read].
func (r *XZReader) Reset(in io.Reader) {
	r.d.in.reset(in)
	r.out, r.err, r.streams, r.step = nil, nil, 0, (*XZReader).streamHeader
}

// Buffered is how many bytes were read of the file but not used yet.
func (r *XZReader) Buffered() int { return r.d.in.buffered() }

// Read gives the data of all blocks of all streams. It gives [io.EOF] only behind a whole last
// stream and its padding, and where the file ends as well; a file that is cut is an
// [io.ErrUnexpectedEOF]. Errors of the file's reader are returned as they are.
func (r *XZReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for r.err == nil && len(r.out) == 0 {
		r.err = r.step(r)
	}
	n := copy(p, r.out)
	r.out = r.out[n:]
	if n == 0 {
		return 0, r.err
	}
	return n, nil
}

// streamHeader takes a stream's header (2.1.1) and the padding before it (2.2), or finds the end of the file.
func (r *XZReader) streamHeader() error {
	in := &r.d.in
	for r.streams > 0 {
		if err := in.fill(1); err != nil {
			return err
		}
		if in.buf[in.next] != 0 {
			break
		}
		b, err := in.take(4)
		if err != nil {
			return err
		}
		if !bytes.Equal(b, make([]byte, 4)) {
			return errors.New("the padding behind a stream isn't zeros, as many as four divide")
		}
	}
	err := in.fill(xzHeader)
	if err != nil && err != io.EOF {
		return err
	}
	found := in.buf[in.next:in.have]
	if n := min(len(found), len(xzHeaderMagic)); string(found[:n]) != xzHeaderMagic[:n] {
		if r.streams > 0 {
			return ErrTrailing
		}
		return fmt.Errorf("want a file that begins with %q, found %q", xzHeaderMagic, found[:n])
	}
	h, err := in.take(xzHeader)
	if err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(h[8:]) != crc32.ChecksumIEEE(h[6:8]) {
		return errors.New("the stream header's checksum is wrong")
	}
	newCheck, ok := xzChecks[h[7]]
	if h[6] != 0 || !ok {
		return fmt.Errorf("want stream flags 0 and a check of 0 (none), 1 (CRC32), 4 (CRC64) or 10 (SHA-256), found %d and %d", h[6], h[7])
	}
	if r.flags != [2]byte(h[6:8]) || r.check == nil {
		r.check = nil
		if newCheck != nil {
			r.check = newCheck()
		}
	}
	r.flags = [2]byte(h[6:8])
	r.blocks.reset()
	r.step = (*XZReader).blockHeader
	return nil
}

// blockHeader takes a block's header (3.1), or finds the index.
func (r *XZReader) blockHeader() error {
	in := &r.d.in
	b := &r.block
	b.start = in.offset()
	h, err := in.take(1)
	if err != nil {
		return err
	}
	if h[0] == 0 {
		return r.index()
	}
	in.next--
	size := (uint(h[0]) + 1) * 4
	if h, err = in.take(size); err != nil {
		return err
	}
	b.headerSize = uint64(size)
	h, sum := h[:size-4], h[size-4:]
	if binary.LittleEndian.Uint32(sum) != crc32.ChecksumIEEE(h) {
		return errors.New("the block header's checksum is wrong")
	}
	flags := h[1]
	if flags&0x3c != 0 {
		return fmt.Errorf("want block flags that are known, found %#02x", flags)
	}
	f := fields{b: h[2:]}
	b.packed, b.unpacked, b.size = -1, -1, 0
	if flags&0x40 != 0 {
		b.packed = int64(f.number())
	}
	if flags&0x80 != 0 {
		b.unpacked = int64(f.number())
	}
	b.filters = nil
	last := flags & 3
	for i := range last + 1 {
		id := f.number()
		props := f.bytes(f.number())
		if f.bad {
			break
		}
		if (id == xzLZMA2) != (i == last) {
			return errors.New("want a chain of filters of which LZMA2 is the last, and only that")
		}
		switch {
		case id == xzLZMA2 && len(props) == 1:
			if err := r.setDict(props[0]); err != nil {
				return err
			}
		case id == xzDelta && len(props) == 1:
			b.filters = append(b.filters, &filterStage{f: &delta{distance: int(props[0]) + 1}})
		case id == xzX86 && len(props) == 0:
			b.filters = append(b.filters, &filterStage{f: &x86{}})
		case id == xzX86 && len(props) == 4:
			b.filters = append(b.filters, &filterStage{f: &x86{pos: binary.LittleEndian.Uint32(props)}})
		default:
			name := xzFilters[id]
			if name == "" {
				name = "unknown"
			}
			return fmt.Errorf("it needs the filter %s (%#02x, with %d bytes of properties); known are LZMA2, delta and x86", name, id, len(props))
		}
	}
	if f.bad || len(bytes.Trim(f.b, "\x00")) > 0 {
		return errors.New("the block header is damaged")
	}
	slices.Reverse(b.filters)
	if r.check != nil {
		r.check.Reset()
	}
	r.step = (*XZReader).blockData
	return nil
}

// setDict takes the property of LZMA2 (5.3.1): the dictionary's size as a power of two, or one and a half of it.
func (r *XZReader) setDict(prop byte) error {
	if prop > xzMaxDictBits {
		return fmt.Errorf("want a dictionary size of at most %d in LZMA2's property, found %d", xzMaxDictBits, prop)
	}
	size := uint64(2|prop&1) << (prop/2 + 11)
	if size > uint64(r.maxDict) {
		return ErrDictSize
	}
	r.chunks.reset(int(size))
	return nil
}

// blockData takes some of a block's data.
func (r *XZReader) blockData() error {
	b := &r.block
	out, err := r.chunks.next()
	if err != nil {
		return err
	}
	end := len(out) == 0
	for _, f := range b.filters {
		out = f.add(out, end)
	}
	b.size += uint64(len(out))
	if b.unpacked >= 0 && (b.size > uint64(b.unpacked) || end && b.size < uint64(b.unpacked)) {
		return fmt.Errorf("the block has another size than its header says, %d bytes", b.unpacked)
	}
	if r.check != nil {
		r.check.Write(out)
	}
	if end {
		if err := r.blockEnd(); err != nil {
			return err
		}
		r.step = (*XZReader).blockHeader
	}
	r.out = out
	return nil
}

// blockEnd takes a block's padding (3.3) and check (3.4).
func (r *XZReader) blockEnd() error {
	in := &r.d.in
	b := &r.block
	size := in.offset() - b.start // without padding and check
	if b.packed >= 0 && size-b.headerSize != uint64(b.packed) {
		return fmt.Errorf("the block has %d bytes of compressed data, and its header says %d", size-b.headerSize, b.packed)
	}
	if err := r.padding(); err != nil {
		return err
	}
	if r.check != nil {
		want := r.check.Sum(nil)
		if len(want) < sha256.Size {
			slices.Reverse(want)
		}
		got, err := in.take(uint(len(want)))
		if err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			return ErrChecksum
		}
		size += uint64(len(want))
	}
	r.blocks.add(size, b.size)
	return nil
}

// padding takes zeros up to a multiple of four bytes since the block's or index's start.
func (r *XZReader) padding() error {
	pad, err := r.d.in.take(uint(-(r.d.in.offset() - r.block.start)) % 4)
	if err == nil && len(bytes.Trim(pad, "\x00")) > 0 {
		err = errors.New("the padding behind a block or index isn't zeros")
	}
	return err
}

// index takes a stream's index (4), which must tell of the very blocks that there were, and the footer (2.1.2).
func (r *XZReader) index() error {
	in := &r.d.in
	sum := crc32.NewIEEE()
	sum.Write([]byte{0})
	number := func() (n uint64, err error) {
		f := fields{}
		for i := uint(1); ; i++ {
			// A number is as long as its bytes have their highest bit.
			if err := in.fill(i); err != nil {
				return 0, unexpected(err)
			}
			if b := in.buf[in.next : in.next+i]; b[i-1] < 0x80 || i == maxNumber {
				in.next += i
				sum.Write(b)
				f.b = b
				n = f.number()
				break
			}
		}
		if f.bad {
			return 0, errors.New("the index is damaged")
		}
		return n, nil
	}
	n, err := number()
	if err != nil {
		return err
	}
	if n != r.blocks.n {
		return fmt.Errorf("the index tells of %d blocks, and there are %d", n, r.blocks.n)
	}
	for range n {
		size, err := number()
		if err != nil {
			return err
		}
		unpacked, err := number()
		if err != nil {
			return err
		}
		r.blocks.addIndexed(size, unpacked)
	}
	if !r.blocks.equal() {
		return errors.New("the index tells of blocks of other sizes")
	}
	// The padding is part of what the checksum is of.
	before := in.offset()
	if err := r.padding(); err != nil {
		return err
	}
	sum.Write(make([]byte, in.offset()-before))
	size := in.offset() - r.block.start
	b, err := in.take(4)
	if err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(b) != sum.Sum32() {
		return errors.New("the index' checksum is wrong")
	}
	f, err := in.take(xzHeader)
	if err != nil {
		return err
	}
	if string(f[10:]) != xzFooterMagic || binary.LittleEndian.Uint32(f) != crc32.ChecksumIEEE(f[4:10]) {
		return errors.New("the stream footer's checksum is wrong")
	}
	if backward := (uint64(binary.LittleEndian.Uint32(f[4:])) + 1) * 4; backward != size+4 {
		return fmt.Errorf("the stream footer says that the index has %d bytes, and it has %d", backward, size+4)
	}
	if [2]byte(f[8:10]) != r.flags {
		return errors.New("the flags in the stream's footer are not those in its header")
	}
	r.streams++
	r.step = (*XZReader).streamHeader
	return nil
}

// blockList keeps of a stream's blocks, be they as many as they may, the number and a hash of their sizes, and of those in the index.
type blockList struct {
	n          uint64
	h, indexed hash.Hash
}

func (l *blockList) reset() {
	l.n = 0
	l.h.Reset()
	l.indexed.Reset()
}

func (l *blockList) add(size, unpacked uint64) {
	l.n++
	writeSizes(l.h, size, unpacked)
}

func (l *blockList) addIndexed(size, unpacked uint64) { writeSizes(l.indexed, size, unpacked) }

func (l *blockList) equal() bool { return bytes.Equal(l.h.Sum(nil), l.indexed.Sum(nil)) }

func writeSizes(h hash.Hash, size, unpacked uint64) {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], size)
	binary.LittleEndian.PutUint64(b[8:], unpacked)
	h.Write(b[:])
}

// maxNumber is how many bytes a number has at the most.
const maxNumber = 9

// fields takes the fields of a header apart; bad once there is none.
type fields struct {
	b   []byte
	bad bool
}

// number takes a number (1.2), of seven bits a byte, the lowest first, below 2^63.
func (f *fields) number() (n uint64) {
	for i, c := range f.b[:min(len(f.b), maxNumber)] {
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			f.b = f.b[i+1:]
			f.bad = f.bad || c == 0 && i > 0 // there is a shorter way to write it
			return n
		}
	}
	f.bad = true
	return 0
}

func (f *fields) bytes(n uint64) []byte {
	if n > uint64(len(f.b)) {
		f.bad = true
		return nil
	}
	b := f.b[:n]
	f.b = f.b[n:]
	return b
}
