package database

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rules-strata/rules_strata/tool/store"
)

// Kind says whose database it is.
type Kind string

// The kinds.
const (
	Nix  Kind = "nix"  // of /nix/store, in /nix/var/nix
	Guix Kind = "guix" // of /gnu/store, in /var/guix
)

// Kinds lists the kinds.
func Kinds() []Kind { return []Kind{Nix, Guix} }

// StoreDir is the store directory whose paths the database knows. Another one has its database where only who built that Nix or Guix
// knows.
func (k Kind) StoreDir() string {
	if k == Guix {
		return "/gnu/store"
	}
	return "/nix/store"
}

// DefaultTime is the registration time of paths for which nobody says another: one second into 1970, as the files of a store.
const DefaultTime = 1

// MaxPaths bounds how many paths a database has, since it is made in memory: some 1 kB each.
const MaxPaths = 1 << 20

// Registration is what a database says.
type Registration struct {
	// Kind says whose database it is.
	Kind Kind
	// Time is when the paths were registered, in seconds since 1970, 0 or more.
	Time int64
	// Roots are what the garbage collector keeps with all that it refers to. Each is one of Paths. Those of Paths that no other refers
	// to are roots in any case: nothing in an image is garbage.
	Roots []store.Path
	// Paths are the valid paths, in any order, none twice. All that they refer to is among them.
	Paths []Path
}

// Path is what a database says of one store path.
type Path struct {
	// Path is the store path.
	Path store.Path
	// NarHash and NarSize (in bytes) are those of its NAR.
	NarHash store.Hash
	NarSize int64
	// References are the store paths that it refers to, itself among them if it does.
	References []store.Path
	// Signatures are as narinfo's Sig has them, "KEY:BASE64". Guix' database has none.
	Signatures []string
	// ContentAddress is as narinfo's CA has it, "" if it isn't known. Guix' database has none.
	ContentAddress string
}

// Check says all that is wrong with r, at most ten faults.
func (r *Registration) Check() error {
	if !slices.Contains(Kinds(), r.Kind) {
		return fmt.Errorf("kind %q: want nix or guix", r.Kind)
	}
	if r.Time < 0 {
		return fmt.Errorf("registration time %d: want seconds since 1970, 0 or more", r.Time)
	}
	if len(r.Paths) == 0 {
		return errors.New("there is no store path to register")
	}
	if len(r.Paths) > MaxPaths {
		return fmt.Errorf("%d store paths: want at most %d", len(r.Paths), MaxPaths)
	}
	var faults []error
	fault := func(err error) {
		if len(faults) < maxFaults {
			faults = append(faults, err)
		}
	}
	known := make(map[store.Path]bool, len(r.Paths))
	for i := range r.Paths {
		p := &r.Paths[i]
		if known[p.Path] {
			fault(fmt.Errorf("%s: given twice", p.Path))
		}
		known[p.Path] = true
		if err := p.check(r.Kind); err != nil {
			fault(fmt.Errorf("%s: %w", p.Path, err))
		}
	}
	for i := range r.Paths {
		for _, to := range r.Paths[i].References {
			if !known[to] {
				fault(fmt.Errorf("%s: it refers to %s, which is not registered: put that into the image's contents", r.Paths[i].Path, to))
			}
		}
	}
	for i, root := range r.Roots {
		if !known[root] {
			fault(fmt.Errorf("root %s: it is not among the paths", root))
		}
		if slices.Contains(r.Roots[:i], root) {
			fault(fmt.Errorf("root %s: given twice", root))
		}
	}
	return errors.Join(faults...)
}

// maxFaults is how many faults are told at once.
const maxFaults = 10

func (p *Path) check(kind Kind) error {
	if _, err := store.ParsePath(string(p.Path)); err != nil {
		return err
	}
	if dir := kind.StoreDir(); p.Path.Dir() != dir {
		return fmt.Errorf("a database of %s knows paths in %s alone", kind, dir)
	}
	if p.NarHash.IsZero() {
		return errors.New("the NarHash is not set")
	}
	if p.NarSize <= 0 {
		return fmt.Errorf("NarSize %d: want a number of bytes above 0", p.NarSize)
	}
	for i, r := range p.References {
		if slices.Contains(p.References[:i], r) {
			return fmt.Errorf("it refers to %s twice", r)
		}
	}
	for _, s := range p.Signatures {
		if err := checkSignature(s); err != nil {
			return err
		}
	}
	if p.ContentAddress != "" {
		if _, err := store.ParseContentAddress(p.ContentAddress); err != nil {
			return err
		}
	}
	return nil
}

// checkSignature takes what Nix takes. Whether it is right only who has the public key can say.
func checkSignature(s string) error {
	name, text, ok := strings.Cut(s, ":")
	b, err := base64.StdEncoding.DecodeString(text)
	if !ok || name == "" || err != nil || len(b) != ed25519.SignatureSize || strings.ContainsAny(s, " \t\r\n") { // Nix joins them by spaces.
		return fmt.Errorf("signature %.200q: want NAME:BASE64, of %d bytes", s, ed25519.SignatureSize)
	}
	return nil
}

// roots are r.Roots with whatever no other path refers to, so that no garbage is among the paths; sorted.
func (r *Registration) roots() []store.Path {
	referred := make(map[store.Path]bool, len(r.Paths))
	for _, p := range r.Paths {
		for _, to := range p.References {
			if to != p.Path {
				referred[to] = true
			}
		}
	}
	roots := map[store.Path]bool{}
	for _, p := range r.Roots {
		roots[p] = true
	}
	for _, p := range r.Paths {
		if !referred[p.Path] {
			roots[p.Path] = true
		}
	}
	return slices.Sorted(maps.Keys(roots))
}

// sorted are r.Paths sorted by path.
func (r *Registration) sorted() []Path {
	return slices.SortedFunc(slices.Values(r.Paths), func(a, b Path) int { return strings.Compare(string(a.Path), string(b.Path)) })
}
