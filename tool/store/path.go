package store

import (
	"errors"
	"fmt"
	"strings"
)

// Limits of a store path, as Nix has them (nix/src/libstore/path.cc).
const (
	// HashPartLen is the number of nixbase32 characters before the first dash of a store path's base name.
	HashPartLen = 32
	// MaxNameLen is the greatest length of the name after that dash, in bytes.
	MaxNameLen = 211
)

// Path is the absolute name of a store object, such as
// "/nix/store/xznc9l6ppin9j93x7xsvaba3qkn46hwr-bash-5.2.15". A value made by
// [ParsePath] or [JoinPath] is well formed; the zero value is no path.
type Path string

// ParsePath checks that s names a store object directly below a store
// directory, and returns it. The directory may be any clean absolute path; the
// caller compares [Path.Dir] where only one will do.
func ParsePath(s string) (Path, error) {
	slash := strings.LastIndexByte(s, '/')
	if slash <= 0 {
		return "", fmt.Errorf("store path %.300q: want an absolute path such as /nix/store/<hash>-<name>", s)
	}
	if err := CheckDir(s[:slash]); err != nil {
		return "", fmt.Errorf("store path %.300q: %w", s, err)
	}
	if err := CheckBase(s[slash+1:]); err != nil {
		return "", fmt.Errorf("store path %.300q: %w", s, err)
	}
	return Path(s), nil
}

// JoinPath returns the store path of base name base below the store directory
// dir, both checked.
func JoinPath(dir, base string) (Path, error) {
	return ParsePath(dir + "/" + base)
}

// Dir is the store directory, such as "/nix/store".
func (p Path) Dir() string { return string(p)[:max(strings.LastIndexByte(string(p), '/'), 0)] }

// Base is the path below the store directory: "<hash part>-<name>".
func (p Path) Base() string { return string(p)[strings.LastIndexByte(string(p), '/')+1:] }

// HashPart is the 32 characters that a binary cache files the path's narinfo under.
func (p Path) HashPart() string { b := p.Base(); return b[:min(HashPartLen, len(b))] }

// Name is what follows the hash part and its dash, such as "bash-5.2.15".
func (p Path) Name() string { b := p.Base(); return b[min(HashPartLen+1, len(b)):] }

// String returns the path as it is.
func (p Path) String() string { return string(p) }

// SplitName splits the name of a store path into the package's name and its version, as Nix does:
// the version begins behind the first dash that no letter follows (Nix manual, builtins.parseDrvName).
func SplitName(name string) (pkg, version string) {
	for i := range len(name) - 1 {
		if letter := name[i+1] | 0x20; name[i] == '-' && (letter < 'a' || letter > 'z') {
			return name[:i], name[i+1:]
		}
	}
	return name, ""
}

// CheckDir says what keeps dir from being a store directory: it must be an
// absolute path below the root, of characters out of [0-9a-zA-Z+-._=/], with no
// empty, "." or ".." component. Nix takes more, but no store is known to need
// it, and so a store path may stand unquoted in a label, a URL or a command line.
func CheckDir(dir string) error {
	if dir == "" || dir[0] != '/' || dir == "/" {
		return fmt.Errorf("store directory %.300q: want an absolute path below /", dir)
	}
	for part := range strings.SplitSeq(dir[1:], "/") {
		if part == "" || part == "." || part == ".." {
			return fmt.Errorf("store directory %.300q: want a clean path, found the component %q", dir, part)
		}
		for i := range len(part) {
			if !isAlphanumeric(part[i]) && strings.IndexByte("+-._=", part[i]) < 0 {
				return fmt.Errorf("store directory %.300q: illegal character %q; want letters, digits and + - . _ =", dir, part[i])
			}
		}
	}
	return nil
}

// CheckBase says what keeps base from being the last component of a store
// path: 32 characters of nixbase32, a dash, and a name of 1 to 211 characters
// out of [0-9a-zA-Z+-._?=] that isn't "." or ".." and doesn't begin with ".-" or "..-"
// (nix.dev, "Store path", and nix/src/libstore/path.cc checkName).
func CheckBase(base string) error {
	if len(base) < HashPartLen+2 || base[HashPartLen] != '-' {
		return fmt.Errorf("base name %.300q: want 32 characters of hash, a dash and a name", base)
	}
	for i := range HashPartLen {
		if nixBase32Value(base[i]) < 0 {
			return fmt.Errorf("base name %.300q: %q is no nixbase32 character", base, base[i])
		}
	}
	name := base[HashPartLen+1:]
	if len(name) > MaxNameLen {
		return fmt.Errorf("base name %.300q: the name has %d characters, want at most %d", base, len(name), MaxNameLen)
	}
	if name == "." || name == ".." || strings.HasPrefix(name, ".-") || strings.HasPrefix(name, "..-") {
		return fmt.Errorf("base name %.300q: the name %q is not allowed", base, name)
	}
	for i := range len(name) {
		c := name[i]
		if !isAlphanumeric(c) && strings.IndexByte("+-._?=", c) < 0 {
			return fmt.Errorf("base name %.300q: the name holds the illegal character %q", base, c)
		}
	}
	return nil
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

var errHash = errors.New("want sha256:<52 nixbase32>, sha256:<64 hex> or sha256-<base64>")
