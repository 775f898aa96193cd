package narfile

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"

	"github.com/rules-strata/rules_strata/tool/store"
)

// source passes a file's bytes on as they are stored. It gives io.EOF only if the
// file had the size and the hash that were said, and keeps its first
// error: decoders take some errors for an end.
type source struct {
	r     io.Reader
	h     hash.Hash
	want  store.Hash // zero: not checked
	size  int64      // -1: not known
	limit int64      // where a file of unknown size is cut off
	n     int64
	err   error
}

func (s *source) reset(r io.Reader, f *File) {
	if s.h == nil {
		s.h = sha256.New()
	}
	s.h.Reset()
	s.r, s.want, s.size, s.n, s.err = r, f.FileHash, f.FileSize, 0, nil
	s.limit = f.FileSize
	if s.limit < 0 {
		s.limit = maxFileSize(f.NarSize)
	}
}

// maxFileSize is the greatest length of a file whose length nobody said: no
// compression makes a NAR that much longer. So a server that never stops is stopped.
func maxFileSize(narSize int64) int64 {
	const slack = 1 << 20
	if narSize > (1<<62)-slack {
		return 1 << 62
	}
	return narSize + narSize/8 + slack
}

func (s *source) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	left := s.limit - s.n
	if left <= 0 {
		// All is read that may be there: only the end may follow.
		s.err = s.atLimit()
		return 0, s.err
	}
	if int64(len(p)) > left {
		p = p[:left]
	}
	n, err := s.readSome(p)
	s.n += int64(n)
	if !s.want.IsZero() {
		s.h.Write(p[:n])
	}
	switch err {
	case nil:
	case io.EOF:
		s.err = s.atEOF()
	default:
		s.err = err
	}
	return n, s.err
}

// readSome reads at least a byte, or returns an error: decoders would call a
// source for ever that gives neither.
func (s *source) readSome(p []byte) (int, error) {
	const maxEmptyReads = 100
	for range maxEmptyReads {
		n, err := s.r.Read(p)
		if n < 0 || n > len(p) {
			return 0, fmt.Errorf("narfile: source says it read %d bytes into %d", n, len(p))
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

func (s *source) atLimit() error {
	var one [1]byte
	switch n, err := s.readSome(one[:]); {
	case n > 0 && s.size >= 0:
		return s.mismatch("FileSize", fmt.Sprint(s.size), "more")
	case n > 0:
		return s.mismatch("FileSize", fmt.Sprintf("at most %d for this NarSize", s.limit), "more")
	case err != io.EOF:
		return err
	}
	return s.atEOF()
}

func (s *source) atEOF() error {
	if s.size >= 0 && s.n != s.size {
		return s.mismatch("FileSize", fmt.Sprint(s.size), fmt.Sprint(s.n))
	}
	if s.want.IsZero() {
		return io.EOF
	}
	var got store.Hash
	s.h.Sum(got[:0])
	if got != s.want {
		return s.mismatch("FileHash", s.want.String(), got.String())
	}
	return io.EOF
}

func (s *source) mismatch(what, want, got string) error {
	return &store.HashMismatchError{What: what, Want: want, Got: got, Offset: s.n}
}
