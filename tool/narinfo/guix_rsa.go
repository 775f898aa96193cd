package narinfo

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/rules-strata/rules_strata/tool/sexp"
	"github.com/rules-strata/rules_strata/tool/store"
)

// Guix' other keys are of RSA: PKCS #1 v1.5 with SHA-256 (RFC 8017, 8.2), which libgcrypt makes of (flags pkcs1).

// What the modulus of an RSA key may have, in bits: less is broken, more takes a second to check.
const (
	minRSABits = 2048
	maxRSABits = 16384
)

type guixRSAKey struct{ key rsa.PublicKey }

func (k *guixRSAKey) String() string {
	return fmt.Sprintf("(public-key (rsa (n #%s#) (e #%s#)))", libgcryptNumber(k.key.N), libgcryptNumber(big.NewInt(int64(k.key.E))))
}

// libgcryptNumber is a number in hex as libgcrypt writes it: whole bytes, the first of them below 80.
func libgcryptNumber(n *big.Int) string {
	b := n.Bytes()
	if b[0] >= 0x80 {
		b = append([]byte{0}, b...)
	}
	return strings.ToUpper(hex.EncodeToString(b))
}

func (k *guixRSAKey) digits() string { return hex.EncodeToString(k.key.N.Bytes()) }

// readGuixRSAKey reads (rsa (n #…#) (e #…#)).
func readGuixRSAKey(n *sexp.Node) (guixKey, error) {
	var numbers [2]*big.Int
	for i, name := range []string{"n", "e"} {
		c, err := n.Child(name)
		if err != nil {
			return nil, err
		}
		v, err := c.Value()
		if err != nil {
			return nil, err
		}
		numbers[i] = new(big.Int).SetBytes([]byte(v))
	}
	switch bits := numbers[0].BitLen(); {
	case bits < minRSABits || bits > maxRSABits:
		return nil, fmt.Errorf("n: want an RSA key of %d to %d bits, found %d", minRSABits, maxRSABits, bits)
	case numbers[0].Bit(0) == 0:
		return nil, errors.New("n: it is even, and so no RSA key's")
	case numbers[1].BitLen() > 31 || numbers[1].BitLen() < 2 || numbers[1].Bit(0) == 0:
		return nil, errors.New("e: want an odd number from 3 to 2147483647")
	}
	return &guixRSAKey{rsa.PublicKey{N: numbers[0], E: int(numbers[1].Int64())}}, nil
}

// readValue reads (data (flags pkcs1) …) and (sig-val (rsa (s #…#))).
func (k *guixRSAKey) readValue(data, value *sexp.Node) (guixValue, error) {
	flags, err := data.Child("flags")
	if err != nil {
		return nil, err
	}
	if flag, err := flags.Value(); err != nil || flag != "pkcs1" {
		return nil, &kindError{"RSA by another scheme than pkcs1"}
	}
	return readGuixNumbers(value, "rsa", "s")
}

func (k *guixRSAKey) verify(hash store.Hash, value guixValue) bool {
	s := bytes.TrimLeft(value[0], "\x00")
	if len(s) > k.key.Size() {
		return false
	}
	signature := make([]byte, k.key.Size())
	copy(signature[len(signature)-len(s):], s)
	return rsa.VerifyPKCS1v15(&k.key, crypto.SHA256, hash[:], signature) == nil
}
