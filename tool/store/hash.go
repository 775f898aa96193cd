package store

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// Hash is a SHA-256, the only hash that binary caches use for NARs and files.
// Its text form in the lock and everywhere else in strata is "sha256:<64 hex>".
type Hash [sha256.Size]byte

// nixBase32 is Nix's alphabet: no e, o, t, u.
const nixBase32 = "0123456789abcdfghijklmnpqrsvwxyz"

const nixBase32Len = (sha256.Size*8 + 4) / 5 // 52

var nixBase32Index = func() (t [256]int8) {
	for i := range t {
		t[i] = -1
	}
	for i := range len(nixBase32) {
		t[nixBase32[i]] = int8(i)
	}
	return t
}()

func nixBase32Value(c byte) int { return int(nixBase32Index[c]) }

// ParseHash reads a SHA-256 in any form that Nix writes: "sha256:" with 52
// characters of nixbase32, 64 of hex or 44 of base64, or the SRI form
// "sha256-<base64>". Other algorithms and bare digests are errors.
func ParseHash(s string) (Hash, error) {
	var h Hash
	bad := func(err error) (Hash, error) { return Hash{}, fmt.Errorf("hash %.100q: %w", s, err) }
	text, ok := strings.CutPrefix(s, "sha256:")
	if !ok {
		b64, ok := strings.CutPrefix(s, "sha256-")
		if !ok {
			return bad(errHash)
		}
		if err := h.decodeBase64(b64); err != nil {
			return bad(err)
		}
		return h, nil
	}
	var err error
	switch len(text) {
	case nixBase32Len:
		err = h.decodeNixBase32(text)
	case hex.EncodedLen(len(h)):
		_, err = hex.Decode(h[:], []byte(text))
	case base64.StdEncoding.EncodedLen(len(h)):
		err = h.decodeBase64(text)
	default:
		err = errHash
	}
	if err != nil {
		return bad(err)
	}
	return h, nil
}

func (h *Hash) decodeBase64(text string) error {
	if len(text) != base64.StdEncoding.EncodedLen(len(h)) {
		return fmt.Errorf("%w; found %d characters of base64", errHash, len(text))
	}
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return err
	}
	if len(b) != len(h) { // The decoder skips line ends.
		return fmt.Errorf("%w; found %d bytes of base64", errHash, len(b))
	}
	copy(h[:], b)
	return nil
}

// decodeNixBase32 reads Nix's base 32: the last character holds the lowest five
// bits (nix/src/libutil/hash.cc). Bits beyond the hash must be zero.
func (h *Hash) decodeNixBase32(text string) error {
	*h = Hash{}
	for n := range len(text) {
		c := text[len(text)-1-n]
		v := nixBase32Value(c)
		if v < 0 {
			return fmt.Errorf("%q is no nixbase32 character", c)
		}
		i, j := n*5/8, uint(n*5%8)
		h[i] |= byte(v << j)
		if over := v >> (8 - j); i+1 < len(h) {
			h[i+1] |= byte(over)
		} else if over != 0 {
			return fmt.Errorf("nixbase32 %q says more than 256 bits", text)
		}
	}
	return nil
}

// NixBase32 is the form of narinfo files and of signatures' fingerprints, without "sha256:".
func (h Hash) NixBase32() string {
	var out [nixBase32Len]byte
	for k := range out {
		n := len(out) - 1 - k
		i, j := n*5/8, uint(n*5%8)
		c := h[i] >> j
		if i+1 < len(h) {
			c |= h[i+1] << (8 - j)
		}
		out[k] = nixBase32[c&0x1f]
	}
	return string(out[:])
}

// Hex is 64 lower-case hexadecimal digits.
func (h Hash) Hex() string { return hex.EncodeToString(h[:]) }

// String is "sha256:<64 hex>".
func (h Hash) String() string { return "sha256:" + h.Hex() }

// SRI is "sha256-<base64>", as Bazel's integrity attributes want it.
func (h Hash) SRI() string { return "sha256-" + base64.StdEncoding.EncodeToString(h[:]) }

// IsZero reports whether h was never set.
func (h Hash) IsZero() bool { return h == Hash{} }

// MarshalText returns [Hash.String], so that JSON holds the same form.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads any form that [ParseHash] takes.
func (h *Hash) UnmarshalText(text []byte) error {
	p, err := ParseHash(string(text))
	if err != nil {
		return err
	}
	*h = p
	return nil
}
