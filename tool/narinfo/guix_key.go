package narinfo

import (
	"errors"
	"fmt"

	"github.com/rules-strata/rules_strata/tool/sexp"
	"github.com/rules-strata/rules_strata/tool/store"
)

// guixKey is a public key of one of the kinds that Guix makes.
type guixKey interface {
	// String is the key as Guix writes it, on one line.
	String() string
	// digits begin the key's name, which it hasn't got: it is its most telling number, in hex.
	digits() string
	// readValue reads what the key's signatures have in (data …) and (sig-val …).
	readValue(data, value *sexp.Node) (guixValue, error)
	// verify checks a signature of a hash.
	verify(hash store.Hash, value guixValue) bool
}

// guixValue are the numbers of a signature, big-endian.
type guixValue [][]byte

// readGuixNumbers reads the named numbers of (sig-val (kind (name #…#) …)).
func readGuixNumbers(value *sexp.Node, kind string, names ...string) (guixValue, error) {
	n, err := value.Child(kind)
	if err != nil {
		return nil, err
	}
	var out guixValue
	for _, name := range names {
		c, err := n.Child(name)
		if err != nil {
			return nil, err
		}
		v, err := c.Value()
		if err != nil {
			return nil, err
		}
		out = append(out, []byte(v))
	}
	return out, nil
}

// kindError says that a key is of a kind that isn't known.
type kindError struct{ kind string }

func (e *kindError) Error() string {
	return fmt.Sprintf("want (ecc (curve Ed25519) (q …)) or (rsa (n …) (e …)), the kinds that are known, found %s", e.kind)
}

// readGuixKey reads (public-key (ecc …)) or (public-key (rsa …)).
func readGuixKey(n *sexp.Node) (guixKey, error) {
	if n.Name() != "public-key" {
		return nil, fmt.Errorf("want a (public-key …), found a (%.40q …)", n.Name())
	}
	if len(n.List) != 2 || n.List[1].Name() == "" {
		return nil, errors.New("want (public-key (KIND …))")
	}
	switch kind := &n.List[1]; kind.Name() {
	case "ecc":
		return readGuixECCKey(kind)
	case "rsa":
		return readGuixRSAKey(kind)
	default:
		return nil, &kindError{fmt.Sprintf("%.40q", kind.Name())}
	}
}

// parseGuixKeys reads a key file's text: one key, or an access control list, whose keys those are that
// Guix takes archives from. Name may be empty, and is for one key only.
func parseGuixKeys(name, text string) ([]PublicKey, error) {
	bad := func(err error) ([]PublicKey, error) {
		what := "public key"
		if name != "" {
			what += fmt.Sprintf(" %.40q", name)
		}
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if err := checkWord(name); err != nil {
		return bad(err)
	}
	n, err := sexp.Parse(text)
	if err != nil {
		return bad(errors.New("want what is in Guix' signing-key.pub or acl: " + err.Error()))
	}
	switch n.Name() {
	case "key-data", "private-key":
		return bad(errors.New("found a secret key; keep it secret, and give the public one (signing-key.pub)"))
	case "acl":
		if name != "" {
			return bad(errors.New("an access control list has several keys; give no name"))
		}
		keys, err := readGuixACL(n)
		if err != nil {
			return bad(err)
		}
		return keys, nil
	}
	key, err := readGuixKey(n)
	if err != nil {
		return bad(err)
	}
	return []PublicKey{newGuixKey(name, key)}, nil
}

// newGuixKey gives a key the name or, if it is empty, one made of its digits.
func newGuixKey(name string, key guixKey) PublicKey {
	if name == "" {
		name = "guix-key-" + key.digits()[:16]
	}
	return PublicKey{name: name, guix: key}
}

// readGuixACL reads (acl (entry (public-key …) (tag (guix import))) …), which is /etc/guix/acl
// (guix/pki.scm). Entries with another tag are about something else than archives.
func readGuixACL(n *sexp.Node) ([]PublicKey, error) {
	var keys []PublicKey
	for i := range n.List[1:] {
		entry := &n.List[i+1]
		bad := func(err error) ([]PublicKey, error) { return nil, fmt.Errorf("entry %d of the acl: %w", i+1, err) }
		if entry.Name() != "entry" {
			return bad(fmt.Errorf("want an (entry …), found a (%.40q …)", entry.Name()))
		}
		tag, err := entry.Child("tag")
		if err != nil {
			return bad(err)
		}
		guix, err := tag.Child("guix")
		if err != nil {
			continue
		}
		if what, err := guix.Value(); err != nil || what != "import" {
			continue
		}
		public, err := entry.Child("public-key")
		if err != nil {
			return bad(err)
		}
		key, err := readGuixKey(public)
		if err != nil {
			return bad(err)
		}
		keys = append(keys, newGuixKey("", key))
	}
	if len(keys) == 0 {
		return nil, errors.New("the acl has no entry with a (tag (guix import)): it lets nobody's archives in")
	}
	return keys, nil
}
