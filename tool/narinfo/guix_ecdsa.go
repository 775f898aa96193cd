package narinfo

import (
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

// guixECCKey is a public key: a point of the curve, encoded as RFC 8032 has it.
type guixECCKey [32]byte

func (k *guixECCKey) String() string {
	return fmt.Sprintf("(public-key (ecc (curve Ed25519) (q #%s#)))", strings.ToUpper(hex.EncodeToString(k[:])))
}

func (k *guixECCKey) digits() string { return hex.EncodeToString(k[:]) }

// readGuixECCKey reads (ecc (curve Ed25519) (q #…#)).
func readGuixECCKey(ecc *sexp.Node) (guixKey, error) {
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
	key := new(guixECCKey)
	if len(q) != len(key) {
		return nil, fmt.Errorf("q: want %d bytes, found %d", len(key), len(q))
	}
	copy(key[:], q)
	if _, err := new(edwards25519.Point).SetBytes(key[:]); err != nil {
		return nil, errors.New("q: it is no point of the curve")
	}
	return key, nil
}

// readValue reads (sig-val (ecdsa (r #…#) (s #…#))).
func (k *guixECCKey) readValue(_, value *sexp.Node) (guixValue, error) {
	return readGuixNumbers(value, "ecdsa", "r", "s")
}

// verify checks the signature r, s of a hash, as ECDSA does: R = (z·s⁻¹)·B + (r·s⁻¹)·Q has the x coordinate r.
// It takes other times for other inputs; all of them are public.
func (k *guixECCKey) verify(hash store.Hash, value guixValue) bool {
	r, ok := scalar(value[0])
	if !ok {
		return false
	}
	s, ok := scalar(value[1])
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
