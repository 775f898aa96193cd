package narinfo

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Signature is one Sig field: who signed, and the signature's bytes.
type Signature struct {
	// Name is the name of the key that made it, such as "cache.nixos.org-1".
	Name string
	// Bytes are 64 if it is of the one kind that is known, ed25519.
	Bytes []byte
}

// PublicKey is the key of a signer who is trusted: one of Nix or one of Guix.
type PublicKey struct {
	name string
	key  ed25519.PublicKey
	guix guixKey // key is nil then
}

// ParsePublicKeys reads a key as Nix writes it, "name:base64", such as
// "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=", or what
// Guix has in /etc/guix/signing-key.pub,
// "(public-key (ecc (curve Ed25519) (q #8D15…#)))" or "(public-key (rsa (n #…#) (e #…#)))". Guix' keys have no name; "name:"
// in front gives it one, else it is "guix-key-" and the first 16 hexadecimal digits of q or n. Or it reads all keys
// that Guix' access control list /etc/guix/acl lets in archives of. White
// space around it (a key file's newline) is ignored.
func ParsePublicKeys(s string) ([]PublicKey, error) {
	s = strings.TrimSpace(s)
	if i := strings.IndexByte(s, '('); i == 0 || i > 0 && s[i-1] == ':' {
		return parseGuixKeys(s[:max(i-1, 0)], s[i:])
	}
	key, err := parseNixKey(s)
	if err != nil {
		return nil, err
	}
	return []PublicKey{key}, nil
}

// ParsePublicKey is [ParsePublicKeys] for one key.
func ParsePublicKey(s string) (PublicKey, error) {
	keys, err := ParsePublicKeys(s)
	if err != nil {
		return PublicKey{}, err
	}
	if len(keys) != 1 {
		return PublicKey{}, fmt.Errorf("public key: want one, found an access control list of %d", len(keys))
	}
	return keys[0], nil
}

func parseNixKey(s string) (PublicKey, error) {
	name, b, err := splitKey(s)
	if err != nil {
		// What isn't a public key may be a secret one: it isn't shown.
		return PublicKey{}, fmt.Errorf("public key %.40q: %w", name, err)
	}
	switch len(b) {
	case ed25519.PublicKeySize:
		return PublicKey{name: name, key: b}, nil
	case ed25519.PrivateKeySize:
		return PublicKey{}, fmt.Errorf("public key %.40q: found a secret key; keep it secret, and give the public one (nix key convert-secret-to-public)", name)
	}
	return PublicKey{}, fmt.Errorf("public key %.40q: want %d bytes, found %d", name, ed25519.PublicKeySize, len(b))
}

// String is the form that [ParsePublicKey] reads.
func (k PublicKey) String() string {
	if k.guix != nil {
		return k.name + ":" + k.guix.String()
	}
	return k.name + ":" + base64.StdEncoding.EncodeToString(k.key)
}

// ParseSignature reads the value of a Sig field, "name:base64".
func ParseSignature(s string) (Signature, error) {
	name, b, err := splitKey(s)
	if err != nil {
		return Signature{}, err
	}
	return Signature{Name: name, Bytes: b}, nil
}

// String is the form that [ParseSignature] reads.
func (s Signature) String() string {
	return s.Name + ":" + base64.StdEncoding.EncodeToString(s.Bytes)
}

// splitKey reads "name:base64", the form of keys and signatures.
func splitKey(s string) (name string, b []byte, err error) {
	name, text, ok := strings.Cut(s, ":")
	if !ok {
		return "", nil, errors.New("want name:base64, found no colon")
	}
	if name == "" || checkWord(name) != nil {
		return "", nil, errors.New("want name:base64, found no printable name before the colon")
	}
	if strings.ContainsAny(text, "\r\n") { // The decoder would skip them.
		return name, nil, errors.New("want base64 on one line")
	}
	b, err = base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return name, nil, fmt.Errorf("want name:base64: %w", err)
	}
	if len(b) == 0 {
		return name, nil, errors.New("want name:base64, found nothing behind the colon")
	}
	return name, b, nil
}

// Fingerprint is the text that signatures sign:
// "1;<store path>;sha256:<nixbase32>;<size>;<references>", the references as
// full paths in ascending order, joined by commas
// (nix/src/libstore/path-info.cc, ValidPathInfo::fingerprint).
func (i *Info) Fingerprint() string {
	var b strings.Builder
	b.WriteString("1;")
	b.WriteString(string(i.StorePath))
	b.WriteString(";sha256:")
	b.WriteString(i.NarHash.NixBase32())
	b.WriteByte(';')
	b.WriteString(strconv.FormatInt(i.NarSize, 10))
	b.WriteByte(';')
	for n, r := range i.References {
		if n > 0 {
			b.WriteByte(',')
		}
		b.WriteString(string(r))
	}
	return b.String()
}

// ErrUnsigned says that a narinfo has no signature at all.
var ErrUnsigned = errors.New("no signature by a trusted key: it has no signature")

// UntrustedError says that none of a narinfo's signatures is by a trusted key.
type UntrustedError struct {
	// Signers are the names of the keys that signed; Trusted those of the keys that would do.
	Signers, Trusted []string
}

// Error names the keys on both sides.
func (e *UntrustedError) Error() string {
	trusted := "no key is trusted"
	if len(e.Trusted) > 0 {
		trusted = "trusted are " + strings.Join(e.Trusted, ", ")
	}
	return fmt.Sprintf("no signature by a trusted key: signed by %s; %s", strings.Join(e.Signers, ", "), trusted)
}

// SignatureError says that a signature bears a trusted key's name but isn't
// that key's signature of this path, NarHash, NarSize and references.
type SignatureError struct {
	// Names are the keys' names.
	Names []string
}

// Error names the keys.
func (e *SignatureError) Error() string {
	return fmt.Sprintf("no signature by a trusted key: the signature by %s doesn't fit the store path, NarHash, NarSize and references (or that isn't the signer's key)",
		strings.Join(e.Names, ", "))
}

// VerifiedBy returns the name of the first signature's key that is among keys and
// whose signature is right; Nix' signatures come before Guix'. Of Nix' it returns the signature, too:
// it holds for whoever knows the path, NarHash, NarSize and references, while
// Guix' holds for the narinfo's text only. Otherwise the error is [ErrUnsigned], an
// [UntrustedError] or a [SignatureError]. One right signature is enough, whatever the others are.
func (i *Info) VerifiedBy(keys []PublicKey) (name string, nix *Signature, err error) {
	if len(i.Signatures) == 0 && i.GuixSignature == nil {
		return "", nil, ErrUnsigned
	}
	text := []byte(i.Fingerprint())
	var signers, wrong []string
	for _, s := range i.Signatures {
		signers = appendNew(signers, s.Name)
		for _, k := range keys {
			if k.name != s.Name || k.key == nil {
				continue
			}
			if len(s.Bytes) == ed25519.SignatureSize && ed25519.Verify(k.key, text, s.Bytes) {
				return k.name, &s, nil
			}
			wrong = appendNew(wrong, s.Name)
		}
	}
	if g := i.GuixSignature; g != nil {
		signers = appendNew(signers, g.signer())
		for _, k := range keys {
			if k.guix == nil || g.key == nil || k.guix.String() != g.key.String() {
				continue // The host's name is nobody's word: the key says who signed.
			}
			if g.verify() {
				return k.name, nil, nil
			}
			wrong = appendNew(wrong, k.name)
		}
	}
	if len(wrong) > 0 {
		return "", nil, &SignatureError{Names: wrong}
	}
	var trusted []string
	for _, k := range keys {
		trusted = appendNew(trusted, k.name)
	}
	return "", nil, &UntrustedError{Signers: signers, Trusted: trusted}
}

func appendNew(all []string, s string) []string {
	if slices.Contains(all, s) {
		return all
	}
	return append(all, s)
}
