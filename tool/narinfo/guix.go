package narinfo

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/rules-strata/rules_strata/tool/sexp"
	"github.com/rules-strata/rules_strata/tool/store"
)

// GuixSignature is a Signature field: "1;<host>;<base64>", the last being an
// S-expression with a hash, the signature of that hash, and the key.
type GuixSignature struct {
	// Host is the name that the signer's machine has given itself. Nothing vouches for it.
	Host string

	kind  string  // what it is instead, if it is of no known kind; key is nil then
	key   guixKey // that it says it was made with
	hash  store.Hash
	value guixValue

	signed    store.Hash // of the bytes above the line
	uncovered []string   // fields that are not there
}

// maxGuixSignature bounds the base64 text.
var maxGuixSignature = base64.StdEncoding.EncodedLen(sexp.MaxSize)

// parseGuixSignature reads the field's value. A signature of another kind is no error: it is by a key that can't be trusted.
func parseGuixSignature(v string) (*GuixSignature, error) {
	parts := strings.Split(v, ";")
	if len(parts) != 3 {
		return nil, fmt.Errorf("want 1;<host>;<base64>, found %d parts", len(parts))
	}
	g := &GuixSignature{Host: parts[1]}
	if err := checkWord(g.Host); err != nil {
		return nil, fmt.Errorf("host: %w", err)
	}
	if parts[0] != "1" {
		if err := checkWord(parts[0]); err != nil {
			return nil, fmt.Errorf("version: %w", err)
		}
		g.kind = fmt.Sprintf("version %.20s", parts[0])
		return g, nil
	}
	if len(parts[2]) > maxGuixSignature {
		return nil, fmt.Errorf("want at most %d characters, found %d", maxGuixSignature, len(parts[2]))
	}
	text, err := base64.StdEncoding.Strict().DecodeString(parts[2])
	if err != nil {
		return nil, fmt.Errorf("want 1;<host>;<base64>: %w", err)
	}
	n, err := sexp.Parse(string(text))
	if err != nil {
		return nil, err
	}
	return g, g.read(n)
}

// read reads (signature (data (flags …) (hash sha256 #…#)) (sig-val …) (public-key …)).
func (g *GuixSignature) read(n *sexp.Node) error {
	if n.Name() != "signature" {
		return fmt.Errorf("want a (signature …), found a (%.40q …)", n.Name())
	}
	public, err := n.Child("public-key")
	if err != nil {
		return err
	}
	unknown := func(err error) error {
		var unknown *kindError
		if errors.As(err, &unknown) {
			g.kind = unknown.kind
			return nil
		}
		return err
	}
	key, err := readGuixKey(public)
	if err != nil {
		return unknown(err)
	}
	data, err := n.Child("data")
	if err != nil {
		return err
	}
	hash, err := data.Child("hash")
	if err != nil {
		return err
	}
	if len(hash.List) != 3 || hash.List[1].String != "sha256" || len(hash.List[2].String) != len(g.hash) {
		return errors.New("want a (hash sha256 …) of 32 bytes")
	}
	copy(g.hash[:], hash.List[2].String)
	value, err := n.Child("sig-val")
	if err != nil {
		return err
	}
	if g.value, err = key.readValue(data, value); err != nil {
		return unknown(err)
	}
	g.key = key
	return nil
}

// signer is the key's name and the host's, for errors.
func (g *GuixSignature) signer() string {
	if g.key == nil {
		return fmt.Sprintf("%.80s's Guix key of an unknown kind (%s)", g.Host, g.kind)
	}
	return fmt.Sprintf("%.80s's Guix key %s", g.Host, g.key)
}

// verify reports whether g is the signature of what is above its line by the key
// that it names, and that is all that must be there.
func (g *GuixSignature) verify() bool {
	return len(g.uncovered) == 0 && g.hash == g.signed && g.key.verify(g.signed, g.value)
}
