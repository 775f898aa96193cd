package nar

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

const (
	// readBufferSize is what a Reader asks its source for at a time; it must
	// hold the longest string with its length and padding.
	readBufferSize = 128 << 10
	// minDirectRead is the length from which contents go straight into the caller's buffer.
	minDirectRead = 32 << 10
	// maxTagLen bounds the strings that are keywords (narMaxTag in archive.cc):
	// longer than each of them, so that an error can show what was found.
	maxTagLen = 32
	// maxEmptyReads is how often a source may give nothing and no error.
	maxEmptyReads = 100
)

// FormatError says where and how bytes are not a NAR.
type FormatError struct {
	// Offset is where in the archive the string or number begins that is wrong, in bytes.
	Offset int64
	// Path is the last entry whose name was right, relative to the root; "" for the root itself.
	Path string
	// Want and Found say what belongs there and what is there.
	Want, Found string
	// Err is [io.ErrUnexpectedEOF] when the archive ends too early, else nil.
	Err error
}

// Error is "bad NAR at offset 112, in "bin": want …, found …".
func (e *FormatError) Error() string {
	in := ""
	if e.Path != "" {
		in = fmt.Sprintf(", in %q", e.Path)
	}
	return fmt.Sprintf("bad NAR at offset %d%s: want %s, found %s", e.Offset, in, e.Want, e.Found)
}

// Unwrap returns e.Err.
func (e *FormatError) Unwrap() error { return e.Err }

// Reader reads one archive from a stream. It works in the caller's goroutine
// and allocates nothing per entry: a Reader that is reused by [Reader.Reset]
// needs no memory but its own, some 150 kB.
type Reader struct {
	src    io.Reader
	srcErr error // what src said last; src isn't asked again

	buf    []byte // buf[lo:hi] is read but not consumed
	lo, hi int
	base   int64 // offset of buf[0] in the archive

	state state
	err   error // what Next said last, for good
	entry Entry
	path  []byte // of the current entry
	left  int64  // bytes of the current file's contents not consumed
	pad   int    // bytes of padding behind them

	depth int // number of open directories
	dirs  [MaxDepth]dir
}

// dir is an open directory: where its entries' names begin in Reader.path and
// where the last one read ends. The bytes between are that name, for the check of the order.
type dir struct{ start, end int }

// state says which string of the grammar comes next.
type state uint8

const (
	atStart    state = iota // nothing read yet
	inContents              // contents of a regular file, then ")"
	afterNode               // the current node's ")"
	inDir                   // "entry" or ")" of the innermost open directory
	atEnd                   // the root's ")" is read
)

// sequence is a run of keywords that always follow one another. It is compared
// in one go; tags serve to say which of them is wrong.
type sequence struct {
	tags  []string
	bytes []byte
}

func newSequence(tags ...string) *sequence {
	s := &sequence{tags: tags}
	for _, t := range tags {
		s.bytes = appendString(s.bytes, t)
	}
	return s
}

// appendString appends s as a NAR has it: length, bytes, padding.
func appendString[T string | []byte](b []byte, s T) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(len(s)))
	b = append(b, s...)
	return append(b, zeros[:padding(int64(len(s)))]...)
}

var zeros [8]byte

// padding is the number of zeros behind n bytes.
func padding(n int64) int { return int(-n & 7) }

var (
	seqStart      = newSequence(magic, "(", "type")
	seqEntry      = newSequence("(", "name")
	seqNode       = newSequence("node", "(", "type")
	seqExecutable = newSequence("", "contents")
	seqTarget     = newSequence("target")
	seqClose      = newSequence(")")
)

// NewReader returns a Reader of the archive that r gives. The caller closes r.
func NewReader(r io.Reader) *Reader {
	n := &Reader{buf: make([]byte, readBufferSize), path: make([]byte, 0, MaxDepth*(MaxNameLen+1))}
	n.Reset(r)
	return n
}

// Reset makes r read another archive, from src, with the buffers it has.
func (r *Reader) Reset(src io.Reader) {
	*r = Reader{src: src, buf: r.buf, path: r.path[:0]}
}

// Offset is the number of bytes of the archive consumed so far.
func (r *Reader) Offset() int64 { return r.base + int64(r.lo) }

// Next goes on to the next entry, in the archive's order: directories before
// what is in them, names in byte order. Contents not read are skipped. The
// entry and what it points to are valid until the next call. After the last
// entry Next reads the source to its end: [io.EOF] says that the archive is
// whole, that nothing follows it, and that the source gave io.EOF too. A
// source's other errors are returned as they are.
func (r *Reader) Next() (*Entry, error) {
	if r.err == nil {
		r.err = r.next()
	}
	if r.err != nil {
		return nil, r.err
	}
	return &r.entry, nil
}

func (r *Reader) next() error {
	switch r.state {
	case atStart:
		if err := r.expect(seqStart); err != nil {
			return err
		}
		return r.node()
	case inContents:
		if err := r.endContents(); err != nil {
			return err
		}
		if err := r.closeNode(); err != nil {
			return err
		}
	case afterNode:
		if err := r.closeNode(); err != nil {
			return err
		}
	}
	for r.state == inDir {
		at := r.Offset()
		tag, err := r.tag()
		if err != nil {
			return err
		}
		switch string(tag) {
		case "entry":
			return r.entryNode()
		case ")":
			d := r.dirs[r.depth-1]
			r.path = r.path[:max(d.start-1, 0)]
			r.depth--
			if err := r.closeEntry(); err != nil {
				return err
			}
		default:
			return r.fault(at, `"entry" or ")"`, fmt.Sprintf("%q", tag))
		}
	}
	return r.end()
}

// closeNode reads the ")" of a file or symlink, and that of its entry.
func (r *Reader) closeNode() error {
	if err := r.expect(seqClose); err != nil {
		return err
	}
	return r.closeEntry()
}

// closeEntry reads what follows a node that is complete: the ")" of its entry, or nothing behind the root.
func (r *Reader) closeEntry() error {
	if r.depth == 0 {
		r.state = atEnd
		return nil
	}
	r.state = inDir
	return r.expect(seqClose)
}

// entryNode reads the rest of a directory entry behind "entry", up to where its node's type says what follows.
func (r *Reader) entryNode() error {
	if err := r.expect(seqEntry); err != nil {
		return err
	}
	at := r.Offset()
	if r.depth >= MaxDepth {
		return r.fault(at, fmt.Sprintf("at most %d levels", MaxDepth), "one more")
	}
	name, err := r.string(MaxNameLen, "a name")
	if err != nil {
		return err
	}
	d := &r.dirs[r.depth-1]
	if f := nameFault(name); f != "" {
		return r.fault(at, `a name of 1 to 255 bytes, not ".", "..", and without slash or NUL`, f)
	}
	if last := r.path[d.start:d.end]; d.end > d.start && bytes.Compare(name, last) <= 0 {
		return r.fault(at, fmt.Sprintf("names in ascending order, each once: one behind %q", last), fmt.Sprintf("%q", name))
	}
	r.path = append(r.path[:d.start], name...)
	d.end = len(r.path)
	if err := r.expect(seqNode); err != nil {
		return err
	}
	return r.node()
}

// node reads a node from its type on, into r.entry.
func (r *Reader) node() error {
	r.entry = Entry{Path: r.path}
	at := r.Offset()
	kind, err := r.tag()
	if err != nil {
		return err
	}
	switch string(kind) {
	case "regular":
		return r.regular()
	case "directory":
		start := len(r.path)
		if start > 0 {
			r.path = append(r.path, '/') // Entry.Path ends before it.
			start++
		}
		r.dirs[r.depth] = dir{start: start, end: start}
		r.depth++
		r.entry.Kind = Directory
		r.state = inDir
	case "symlink":
		if err := r.expect(seqTarget); err != nil {
			return err
		}
		at := r.Offset()
		target, err := r.string(MaxTargetLen, "a symlink's target")
		if err != nil {
			return err
		}
		if f := targetFault(target); f != "" {
			return r.fault(at, "a target of 1 to 4095 bytes without NUL", f)
		}
		// It stays where it is in buf: nothing is read before the next call of Next.
		r.entry.Kind, r.entry.Target = Symlink, target
		r.state = afterNode
	default:
		return r.fault(at, `"regular", "directory" or "symlink"`, fmt.Sprintf("%q", kind))
	}
	return nil
}

func (r *Reader) regular() error {
	at := r.Offset()
	tag, err := r.tag()
	if err != nil {
		return err
	}
	switch string(tag) {
	case "contents":
	case "executable":
		if err := r.expect(seqExecutable); err != nil {
			return err
		}
		r.entry.Executable = true
	default:
		return r.fault(at, `"executable" or "contents"`, fmt.Sprintf("%q", tag))
	}
	at = r.Offset()
	b, err := r.need(8, "a file's length")
	if err != nil {
		return err
	}
	size := binary.LittleEndian.Uint64(b)
	if size > math.MaxInt64 {
		return r.fault(at, "a file's length below 2^63", fmt.Sprint(size))
	}
	r.lo += 8
	r.entry.Kind, r.entry.Size = Regular, int64(size)
	r.left, r.pad = int64(size), padding(int64(size))
	r.state = inContents
	return nil
}

// Read reads from the contents of the current entry, a regular file; at their
// end, and for other entries, it gives [io.EOF].
func (r *Reader) Read(p []byte) (int, error) {
	switch {
	case r.err != nil && r.err != io.EOF:
		return 0, r.err
	case r.state != inContents || r.left == 0:
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil
	}
	if int64(len(p)) > r.left {
		p = p[:r.left]
	}
	if r.lo == r.hi {
		if len(p) >= minDirectRead {
			return r.readDirect(p)
		}
		if err := r.fillContents(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.buf[r.lo:r.hi])
	r.lo += n
	r.left -= int64(n)
	return n, nil
}

// readDirect reads contents past the empty buffer.
func (r *Reader) readDirect(p []byte) (int, error) {
	n, err := r.readSource(p)
	r.base += int64(r.lo + n)
	r.lo, r.hi = 0, 0
	r.left -= int64(n)
	if n == 0 {
		r.err = r.sourceFault(err, "a file's contents")
		return 0, r.err
	}
	return n, nil
}

// WriteTo writes what is left of the current file's contents to w, out of the Reader's own buffer.
func (r *Reader) WriteTo(w io.Writer) (int64, error) {
	if r.err != nil && r.err != io.EOF {
		return 0, r.err
	}
	var total int64
	for r.state == inContents && r.left > 0 {
		if r.lo == r.hi {
			if err := r.fillContents(); err != nil {
				return total, err
			}
		}
		b := r.buf[r.lo:r.hi]
		if int64(len(b)) > r.left {
			b = b[:r.left]
		}
		n, err := w.Write(b)
		if n < 0 || n > len(b) {
			return total, fmt.Errorf("nar: writer says it took %d of %d bytes", n, len(b))
		}
		r.lo += n
		r.left -= int64(n)
		total += int64(n)
		if err != nil {
			return total, err
		}
		if n < len(b) {
			return total, io.ErrShortWrite
		}
	}
	return total, nil
}

// endContents skips what is left of a file's contents and reads their padding.
func (r *Reader) endContents() error {
	for r.left > 0 {
		if r.lo == r.hi {
			if err := r.fillContents(); err != nil {
				return err
			}
		}
		n := int(min(int64(r.hi-r.lo), r.left))
		r.lo += n
		r.left -= int64(n)
	}
	if r.pad == 0 {
		return nil
	}
	at := r.Offset()
	b, err := r.need(r.pad, "padding")
	if err != nil {
		return err
	}
	if !bytes.Equal(b, zeros[:r.pad]) {
		return r.fault(at, "padding of zeros", fmt.Sprintf("%#x", b))
	}
	r.lo += r.pad
	return nil
}

// fillContents gets at least a byte of a file's contents into the empty buffer.
func (r *Reader) fillContents() error {
	if _, err := r.need(1, "a file's contents"); err != nil {
		r.err = err
		return err
	}
	return nil
}

// end makes sure that the source ends where the archive does.
func (r *Reader) end() error {
	at := r.Offset()
	if r.lo == r.hi {
		if err := r.fill(1); err != nil {
			return err // io.EOF, if all is well
		}
	}
	return r.fault(at, "the end of the archive", "more bytes")
}

// tag reads a keyword, whichever.
func (r *Reader) tag() ([]byte, error) { return r.string(maxTagLen, "a keyword") }

// expect reads the keywords of s.
func (r *Reader) expect(s *sequence) error {
	if err := r.fill(len(s.bytes)); err == nil && bytes.Equal(r.buf[r.lo:r.lo+len(s.bytes)], s.bytes) {
		r.lo += len(s.bytes)
		return nil
	}
	for _, want := range s.tags {
		at := r.Offset()
		got, err := r.string(maxTagLen, fmt.Sprintf("%q", want))
		if err != nil {
			return err
		}
		if string(got) != want {
			return r.fault(at, fmt.Sprintf("%q", want), fmt.Sprintf("%q", got))
		}
	}
	return nil
}

// string reads a string of at most limit bytes, to be found in the buffer until
// the next reading. The length is checked before anything is read by it.
func (r *Reader) string(limit int, what string) ([]byte, error) {
	at := r.Offset()
	b, err := r.need(8, what)
	if err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint64(b)
	if size > uint64(limit) {
		return nil, r.fault(at, fmt.Sprintf("%s (at most %d bytes)", what, limit), fmt.Sprintf("a length of %d", size))
	}
	n := int(size)
	end := 8 + n + padding(int64(n))
	if b, err = r.need(end, what); err != nil {
		return nil, err
	}
	if pad := b[8+n:]; !bytes.Equal(pad, zeros[:len(pad)]) {
		return nil, r.fault(at+int64(8+n), "padding of zeros", fmt.Sprintf("%#x", pad))
	}
	r.lo += end
	return b[8 : 8+n], nil
}

// need returns the next n bytes without consuming them. Their absence is an
// error that says what they were to be.
func (r *Reader) need(n int, what string) ([]byte, error) {
	if err := r.fill(n); err != nil {
		return nil, r.sourceFault(err, what)
	}
	return r.buf[r.lo : r.lo+n], nil
}

// sourceFault turns the source's early end into a FormatError; other errors stay.
func (r *Reader) sourceFault(err error, what string) error {
	if err != io.EOF {
		return err
	}
	e := r.fault(r.base+int64(r.hi), what, "the end of the input")
	e.Err = io.ErrUnexpectedEOF
	return e
}

// fill reads until the buffer holds n bytes, n being at most its length. If the source ends before, it
// returns the source's error, io.EOF even if some bytes are there.
func (r *Reader) fill(n int) error {
	if r.hi-r.lo >= n {
		return nil
	}
	if r.lo > 0 { // Only a piece of a string is ever left: this copies little.
		r.base += int64(r.lo)
		r.hi = copy(r.buf, r.buf[r.lo:r.hi])
		r.lo = 0
	}
	for r.hi < n {
		m, err := r.readSource(r.buf[r.hi:])
		r.hi += m
		if m == 0 {
			return err
		}
	}
	return nil
}

// readSource reads at least a byte or returns an error. The source's error is
// kept until its last bytes have been passed on.
func (r *Reader) readSource(p []byte) (int, error) {
	for range maxEmptyReads {
		if r.srcErr != nil {
			return 0, r.srcErr
		}
		n, err := r.src.Read(p)
		if n < 0 || n > len(p) {
			return 0, fmt.Errorf("nar: source says it read %d bytes into %d", n, len(p))
		}
		r.srcErr = err
		if n > 0 {
			return n, nil
		}
	}
	return 0, io.ErrNoProgress
}

func (r *Reader) fault(at int64, want, found string) *FormatError {
	return &FormatError{Offset: at, Path: string(r.entryPath()), Want: want, Found: found}
}

// entryPath is r.path without the slash that an open directory leaves there.
func (r *Reader) entryPath() []byte { return bytes.TrimSuffix(r.path, []byte{'/'}) }
