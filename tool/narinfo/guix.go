package narinfo

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"filippo.io/edwards25519"

	"github.com/rules-strata/rules_strata/tool/sexp"
	"github.com/rules-strata/rules_strata/tool/store"
)

// Guix signs by libgcrypt, with ECDSA over the curve that is known from EdDSA
// (edwards25519; flags rfc6979, curve Ed25519). That is not Ed25519: the
// signature is (r, s), r the affine x of a point on the Edwards curve modulo the
// group's order, and the hash is cut to the order's 253 bits (FIPS 186-5,
// section 6.4, and libgcrypt's ecc-ecdsa.c).

// guixKey is a public key: a point of the curve, encoded as RFC 8032 has it.
type guixKey [32]byte

// String is the key as Guix writes it, on one line.
func (k *guixKey) String() string {
	return fmt.Sprintf("(public-key (ecc (curve Ed25519) (q #%s#)))", strings.ToUpper(hex.EncodeToString(k[:])))
}

// name stands for the name that such keys haven't got.
func (k *guixKey) name() string { return "guix-key-" + hex.EncodeToString(k[:8]) }

// GuixSignature is a Signature field: "1;<host>;<base64>", the last being an
// S-expression with a hash, the signature of that hash, and the key.
type GuixSignature struct {
	// Host is the name that the signer's machine has given itself. Nothing vouches for it.
	Host string

	kind string   // what it is instead, if it is of no known kind; key is nil then
	key  *guixKey // that it says it was made with
	hash store.Hash
	r, s []byte // big-endian

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

// read reads (signature (data (flags rfc6979) (hash sha256 #…#)) (sig-val (ecdsa (r #…#) (s #…#))) (public-key …)).
func (g *GuixSignature) read(n *sexp.Node) error {
	if n.Name() != "signature" {
		return fmt.Errorf("want a (signature …), found a (%.40q …)", n.Name())
	}
	public, err := n.Child("public-key")
	if err != nil {
		return err
	}
	key, err := readGuixKey(public)
	if err != nil {
		var unknown *kindError
		if errors.As(err, &unknown) {
			g.kind = unknown.kind
			return nil
		}
		return err
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
	ecdsa, err := value.Child("ecdsa")
	if err != nil {
		return err
	}
	for name, to := range map[string]*[]byte{"r": &g.r, "s": &g.s} {
		c, err := ecdsa.Child(name)
		if err != nil {
			return err
		}
		v, err := c.Value()
		if err != nil {
			return err
		}
		*to = []byte(v)
	}
	g.key = key
	return nil
}

// kindError says that a key is of a kind that isn't known.
type kindError struct{ kind string }

func (e *kindError) Error() string {
	return fmt.Sprintf("want (ecc (curve Ed25519) (q …)), the one kind that is known, found %s", e.kind)
}

// readGuixKey reads (public-key (ecc (curve Ed25519) (q #…#))).
func readGuixKey(n *sexp.Node) (*guixKey, error) {
	if n.Name() != "public-key" {
		return nil, fmt.Errorf("want a (public-key …), found a (%.40q …)", n.Name())
	}
	ecc, err := n.Child("ecc")
	if err != nil {
		if len(n.List) == 2 && n.List[1].Name() != "" {
			err = &kindError{fmt.Sprintf("%.40q", n.List[1].Name())}
		}
		return nil, err
	}
	c, err := ecc.Child("curve")
	if err != nil {
		return nil, err
	}
	curve, err := c.Value()
	if err != nil {
		return nil, err
	}
	if curve != "Ed25519" {
		return nil, &kindError{fmt.Sprintf("the curve %.40q", curve)}
	}
	if _, err := ecc.Child("flags"); err == nil {
		return nil, &kindError{"flags"} // such as eddsa: another scheme on the same curve
	}
	if c, err = ecc.Child("q"); err != nil {
		return nil, err
	}
	q, err := c.Value()
	if err != nil {
		return nil, err
	}
	key := new(guixKey)
	if len(q) != len(key) {
		return nil, fmt.Errorf("q: want %d bytes, found %d", len(key), len(q))
	}
	copy(key[:], q)
	if _, err := new(edwards25519.Point).SetBytes(key[:]); err != nil {
		return nil, errors.New("q: it is no point of the curve")
	}
	return key, nil
}

// parseGuixKey reads a key file's text. Name may be empty.
func parseGuixKey(name, text string) (PublicKey, error) {
	bad := func(err error) (PublicKey, error) {
		what := "public key"
		if name != "" {
			what += fmt.Sprintf(" %.40q", name)
		}
		return PublicKey{}, fmt.Errorf("%s: %w", what, err)
	}
	if err := checkWord(name); err != nil {
		return bad(err)
	}
	n, err := sexp.Parse(text)
	if err != nil {
		return bad(errors.New("want what is in Guix' signing-key.pub: " + err.Error()))
	}
	if n.Name() == "key-data" || n.Name() == "private-key" {
		return bad(errors.New("found a secret key; keep it secret, and give the public one (signing-key.pub)"))
	}
	key, err := readGuixKey(n)
	if err != nil {
		return bad(err)
	}
	if name == "" {
		name = key.name()
	}
	return PublicKey{name: name, guix: key}, nil
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
	return len(g.uncovered) == 0 && g.hash == g.signed && g.key.verify(g.signed, g.r, g.s)
}

// verify checks the signature r, s of a hash, as ECDSA does: R = (z·s⁻¹)·B + (r·s⁻¹)·Q has the x coordinate r.
// It takes other times for other inputs; all of them are public.
func (k *guixKey) verify(hash store.Hash, rBytes, sBytes []byte) bool {
	r, ok := scalar(rBytes)
	if !ok {
		return false
	}
	s, ok := scalar(sBytes)
	if !ok {
		return false
	}
	q, err := new(edwards25519.Point).SetBytes(k[:])
	if err != nil {
		return false
	}
	// The order has 253 bits: of the hash's 256 the last three are dropped.
	const drop = 3
	var z [32]byte
	for i := range z {
		z[i] = hash[i] >> drop
		if i > 0 {
			z[i] |= hash[i-1] << (8 - drop)
		}
	}
	slices.Reverse(z[:])
	w := new(edwards25519.Scalar).Invert(s)
	u1 := new(edwards25519.Scalar).Multiply(reduced(z[:]), w)
	u2 := new(edwards25519.Scalar).Multiply(r, w)
	point := new(edwards25519.Point).VarTimeDoubleScalarBaseMult(u2, q, u1)
	x, _, zInv, _ := point.ExtendedCoordinates()
	x.Multiply(x, zInv.Invert(zInv))
	return reduced(x.Bytes()).Equal(r) == 1
}

// scalar reads a big-endian number, which must be above 0 and below the order.
func scalar(b []byte) (*edwards25519.Scalar, bool) {
	for len(b) > 0 && b[0] == 0 {
		b = b[1:]
	}
	if len(b) == 0 || len(b) > 32 {
		return nil, false
	}
	var little [32]byte
	for i, c := range b {
		little[len(b)-1-i] = c
	}
	s, err := new(edwards25519.Scalar).SetCanonicalBytes(little[:])
	return s, err == nil
}

// reduced is a little-endian number of 32 bytes modulo the order.
func reduced(b []byte) *edwards25519.Scalar {
	var wide [64]byte
	copy(wide[:], b)
	s, err := new(edwards25519.Scalar).SetUniformBytes(wide[:])
	if err != nil {
		panic(err) // It errs about the length only.
	}
	return s
}
