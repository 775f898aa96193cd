package store

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
)

// SelfHash is the hash in the content address of an object that refers to itself. Its store path follows from that
// hash, so the hash can't be of bytes that hold the path: it is of the NAR with zeros in place of each
// occurrence of the path's hash part, and of the places, in bytes from the NAR's start, as "|<place>" each
// (nix/src/libstore/references.cc, HashModuloSink).
//
// Nix 2.34 leaves the places out, and so wouldn't notice where a zero was before. It takes
// no others than its own.
type SelfHash struct {
	h      hash.Hash
	part   []byte
	held   []byte // the end of what was written: an occurrence may begin in it
	done   int64  // bytes hashed
	places []int64
}

// maxSelfPlaces bounds what a SelfHash remembers. Real paths hold their own hash part some hundred times.
const maxSelfPlaces = 1 << 20

// NewSelfHash returns the SelfHash of the NAR of path, which is to be written to it.
func NewSelfHash(path Path) *SelfHash {
	return &SelfHash{h: sha256.New(), part: []byte(path.HashPart())}
}

// Write implements [io.Writer]. It never fails.
func (s *SelfHash) Write(p []byte) (int, error) {
	b := append(s.held, p...)
	for from := 0; ; {
		i := bytes.Index(b[from:], s.part)
		if i < 0 {
			break
		}
		from += i
		if len(s.places) <= maxSelfPlaces {
			s.places = append(s.places, s.done+int64(from))
		}
		clear(b[from : from+len(s.part)])
		from += len(s.part)
	}
	keep := min(len(b), len(s.part)-1)
	s.h.Write(b[:len(b)-keep])
	s.done += int64(len(b) - keep)
	s.held = append(b[:0], b[len(b)-keep:]...)
	return len(p), nil
}

// Sums ends the NAR and returns the hash, and the one that Nix 2.34 has. Its only error is that the NAR has too many places.
func (s *SelfHash) Sums() (hash, withoutPlaces Hash, err error) {
	if len(s.places) > maxSelfPlaces {
		return hash, withoutPlaces, fmt.Errorf("the hash part %s is there more than %d times", s.part, maxSelfPlaces)
	}
	s.h.Write(s.held)
	s.h.Sum(withoutPlaces[:0])
	for _, place := range s.places {
		fmt.Fprintf(s.h, "|%d", place)
	}
	s.h.Sum(hash[:0])
	return hash, withoutPlaces, nil
}
