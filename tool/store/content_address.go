package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ContentMethod says what of a store object a [ContentAddress] is the hash of.
type ContentMethod string

// The methods, as Nix writes them before the hash.
const (
	// ContentText is a text file with references, as builtins.toFile makes it: the hash of its contents.
	ContentText ContentMethod = "text:"
	// ContentFlat is a file that fetchers make: the hash of its contents.
	ContentFlat ContentMethod = "fixed:"
	// ContentNAR is any object: its NarHash or, if it refers to itself, its [SelfHash].
	ContentNAR ContentMethod = "fixed:r:"
)

// ContentAddress is the CA field of a narinfo: the store path of such an object
// follows from its content and its references, so that whoever has the content
// needs nobody's word for it (Nix manual, "Content-addressing store objects").
type ContentAddress struct {
	Method ContentMethod
	Hash   Hash
}

// ParseContentAddress reads a CA field: "text:sha256:…", "fixed:sha256:…" or
// "fixed:r:sha256:…". Other hashes than SHA-256 are errors, since MD5 and SHA-1
// prove nothing, and so are other methods (git), which strata doesn't know.
func ParseContentAddress(s string) (ContentAddress, error) {
	for _, m := range []ContentMethod{ContentText, ContentNAR, ContentFlat} {
		if text, ok := strings.CutPrefix(s, string(m)); ok && strings.HasPrefix(text, "sha256:") {
			h, err := ParseHash(text)
			return ContentAddress{m, h}, err
		}
	}
	return ContentAddress{}, fmt.Errorf("content address %.100q: want text:sha256:…, fixed:sha256:… or fixed:r:sha256:…", s)
}

// String is the form that Nix writes, with the hash in nixbase32.
func (c ContentAddress) String() string { return string(c.Method) + "sha256:" + c.Hash.NixBase32() }

// IsNarHash reports whether c's hash is the NarHash of path, which has these references. Otherwise only the
// contents show whether it is theirs.
func (c ContentAddress) IsNarHash(path Path, references []Path) bool {
	return c.Method == ContentNAR && !slices.Contains(references, path)
}

// Check says why a store object of this content address would have another
// store path than path, its references being references. The hash itself only who has the content can check.
func (c ContentAddress) Check(path Path, references []Path) error {
	// Nix' makeFixedOutputPathFromCA (nix/src/libstore/store-dir-config.cc).
	self := slices.Contains(references, path)
	kind, inner := "", c.Hash
	switch c.Method {
	case ContentText:
		if self {
			return errors.New("a content-addressed text can't refer to itself")
		}
		kind = "text"
	case ContentNAR:
		kind = "source"
	case ContentFlat:
		if len(references) > 0 {
			return errors.New("a content-addressed file can't have references")
		}
		kind = "output:out"
		inner = sha256.Sum256([]byte("fixed:out:" + c.Hash.String() + ":"))
	default:
		return fmt.Errorf("unknown method %q of content addressing", c.Method)
	}
	if kind != "output:out" {
		sorted := slices.Clone(references)
		slices.Sort(sorted)
		for _, r := range sorted {
			if r != path {
				kind += ":" + string(r)
			}
		}
		if self {
			kind += ":self"
		}
	}
	text := kind + ":sha256:" + hex.EncodeToString(inner[:]) + ":" + path.Dir() + ":" + path.Name()
	if want := hashPart(sha256.Sum256([]byte(text))); want != path.HashPart() {
		return fmt.Errorf("content address %s: an object of that content would be %s/%s-%s", c, path.Dir(), want, path.Name())
	}
	return nil
}

// hashPart is the hash part of the store path whose fingerprint has the hash h:
// 160 bits, folded (Nix manual, "Complete Store Path Calculation").
func hashPart(h Hash) string {
	var folded Hash
	const n = HashPartLen * 5 / 8
	for i, b := range h {
		folded[i%n] ^= b
	}
	// The lowest bits come last; all above the first 20 bytes are zero.
	s := folded.NixBase32()
	return s[len(s)-HashPartLen:]
}
