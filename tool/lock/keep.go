package lock

import (
	"slices"

	"github.com/rules-strata/rules_strata/tool/narinfo"
	"github.com/rules-strata/rules_strata/tool/store"
)

// keeper knows which entries of an earlier lock hold still. That lock is
// nobody's word: somebody may have edited it. So it keeps what the project's keys or the
// content address vouch for, and nothing else is taken from it but
// what the build checks against that: where the file is, and the file's hash and size.
type keeper struct {
	old  *Lock
	keys []narinfo.PublicKey
	// caches are the project's, as the new lock has them; settled says of each
	// whether those before it were all asked before it when the old lock was made.
	caches  []string
	settled map[string]bool
}

// newKeeper returns the keeper of the entries of old, which may be nil.
func newKeeper(old *Lock, keys []narinfo.PublicKey, caches []string) *keeper {
	k := &keeper{old: old, keys: keys, caches: caches, settled: map[string]bool{}}
	if old == nil {
		return k
	}
	for i, c := range caches {
		at := slices.Index(old.Caches, c)
		k.settled[c] = at >= 0 && !slices.ContainsFunc(caches[:i], func(before string) bool {
			return !slices.Contains(old.Caches[:at], before)
		})
	}
	return k
}

// entry returns what the old lock says of path; nil if it says nothing, or what can't be kept without asking.
func (k *keeper) entry(path store.Path) *Path {
	p := k.of(path)
	if p == nil || !k.isSettled(p.URL) || !k.isVouchedFor(path, p) {
		return nil
	}
	return p
}

func (k *keeper) of(path store.Path) *Path {
	if k.old == nil {
		return nil
	}
	return k.old.Paths[path]
}

// isSettled reports whether url is a file of a cache of the project, and asking would
// begin with the same caches that were asked then and hadn't got the path.
func (k *keeper) isSettled(url string) bool {
	settled := false
	for _, c := range k.caches {
		if _, ok := below(c, url); ok {
			if !k.settled[c] { // Of caches one in the other, the file may be either's.
				return false
			}
			settled = true
		}
	}
	return settled
}

// isVouchedFor reports whether it is certain, by p alone, that path has p's NarHash and References.
func (k *keeper) isVouchedFor(path store.Path, p *Path) bool {
	switch {
	case p.Signature != "":
		return p.checkSignature(path, k.keys) == nil
	case p.ContentAddressed != "":
		// That contents have a content address which isn't the NarHash shows in the NAR only.
		ca, err := store.ParseContentAddress(p.ContentAddressed)
		return err == nil && ca.IsNarHash(path, p.References) && checkContentAddress(ca, path, p.References, p.NarHash) == nil
	}
	return false
}

// checkSignature says why p.Signature isn't one of path, p.NarHash, p.NarSize and
// p.References by one of keys.
func (p *Path) checkSignature(path store.Path, keys []narinfo.PublicKey) error {
	s, err := narinfo.ParseSignature(p.Signature)
	if err != nil {
		return err
	}
	info := narinfo.Info{
		StorePath: path, NarHash: p.NarHash, NarSize: p.NarSize, References: p.References,
		Signatures: []narinfo.Signature{s},
	}
	_, _, err = info.VerifiedBy(keys)
	return err
}

// file completes p, which a narinfo made, by the hash and size of its file, where the narinfo
// doesn't say them and the old lock knows them of the same file: same URL, same
// NAR. It reports whether all is known then.
func (k *keeper) file(path store.Path, p *Path) bool {
	old := k.of(path)
	if old == nil || old.URL != p.URL || old.Compression != p.Compression || old.NarHash != p.NarHash || old.NarSize != p.NarSize ||
		!p.FileHash.IsZero() && p.FileHash != old.FileHash || p.FileSize >= 0 && p.FileSize != old.FileSize {
		return false
	}
	p.FileHash, p.FileSize = old.FileHash, old.FileSize
	return true
}
