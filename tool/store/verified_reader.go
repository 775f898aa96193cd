package store

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
)

// HashMismatchError says that bytes do not have the hash or the length they
// were said to have.
type HashMismatchError struct {
	// What names the claim that failed, such as "NarHash" or "FileSize".
	What string
	// Want and Got are the two values, as text.
	Want, Got string
	// Offset is the number of bytes read when it was found out.
	Offset int64
}

// Error names the claim, both values and the offset.
func (e *HashMismatchError) Error() string {
	return fmt.Sprintf("%s mismatch: want %s, got %s (after %d bytes)", e.What, e.Want, e.Got, e.Offset)
}

// VerifiedReader passes bytes through and gives [io.EOF] only when they had
// the size and the hash that were said; otherwise it gives a
// [HashMismatchError]. It never passes on more than the size. So who reads to
// the end cannot forget the check.
type VerifiedReader struct {
	r    io.Reader
	h    hash.Hash
	want Hash
	size int64 // -1: not known
	what string
	n    int64
	err  error
}

// NewVerifiedReader reads size bytes of hash want from r. A negative size is
// not checked. What is the prefix of the claims in errors: "Nar" gives
// "NarHash" and "NarSize". The caller closes r.
func NewVerifiedReader(r io.Reader, size int64, want Hash, what string) *VerifiedReader {
	v := &VerifiedReader{h: sha256.New()}
	v.Reset(r, size, want, what)
	return v
}

// Reset makes v read other bytes, as [NewVerifiedReader] says, and keeps its buffers.
func (v *VerifiedReader) Reset(r io.Reader, size int64, want Hash, what string) {
	v.h.Reset()
	v.r, v.want, v.size, v.what, v.n, v.err = r, want, size, what, 0, nil
}

// Read implements [io.Reader].
func (v *VerifiedReader) Read(p []byte) (int, error) {
	if v.err != nil {
		return 0, v.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if v.size >= 0 && int64(len(p)) > v.size-v.n {
		p = p[:v.size-v.n]
	}
	if len(p) == 0 { // All is read: only the end may follow.
		v.err = v.end()
		return 0, v.err
	}
	n, err := v.r.Read(p)
	v.h.Write(p[:n])
	v.n += int64(n)
	switch err {
	case nil:
	case io.EOF:
		if v.size >= 0 && v.n != v.size {
			v.err = v.mismatch("Size", fmt.Sprint(v.size), fmt.Sprint(v.n))
		} else {
			v.err = v.checkHash()
		}
	default:
		v.err = err
	}
	return n, v.err
}

// end reads one byte more than the size, which must not be there.
func (v *VerifiedReader) end() error {
	var one [1]byte
	switch n, err := io.ReadFull(v.r, one[:]); {
	case n > 0:
		return v.mismatch("Size", fmt.Sprint(v.size), "more")
	case err != io.EOF:
		return err
	}
	return v.checkHash()
}

func (v *VerifiedReader) checkHash() error {
	var got Hash
	v.h.Sum(got[:0])
	if got != v.want {
		return v.mismatch("Hash", v.want.String(), got.String())
	}
	return io.EOF
}

func (v *VerifiedReader) mismatch(claim, want, got string) error {
	return &HashMismatchError{What: v.what + claim, Want: want, Got: got, Offset: v.n}
}
