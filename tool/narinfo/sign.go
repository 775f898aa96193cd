package narinfo

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// SecretKey is the key of one who signs, as Nix has it. Printed, it shows its name only.
type SecretKey struct {
	name string
	key  ed25519.PrivateKey
}

// maxKeyFile bounds a key's file, in bytes; a key has some 110.
const maxKeyFile = 4 << 10

// ReadSecretKey reads the key in a file, as nix-store --generate-binary-cache-key
// writes it. No error shows any of it.
func ReadSecretKey(path string) (SecretKey, error) {
	f, err := os.Open(path)
	if err != nil {
		return SecretKey{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return SecretKey{}, err
	}
	if len(b) > maxKeyFile {
		return SecretKey{}, fmt.Errorf("%s: no secret key: it is longer than %d bytes", path, maxKeyFile)
	}
	k, err := ParseSecretKey(string(b))
	if err != nil {
		return SecretKey{}, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// ParseSecretKey reads a secret key as Nix writes it: "name:base64" of the 32
// secret bytes and the 32 public ones (nix/src/libutil/signature/local-keys.cc). White space around it
// is ignored. No error shows any of it but the name.
func ParseSecretKey(s string) (SecretKey, error) {
	name, b, err := splitKey(strings.TrimSpace(s))
	if err != nil {
		// Without a colon the "name" would be all there is.
		return SecretKey{}, errors.New("secret key: want name:base64, as nix-store --generate-binary-cache-key writes it")
	}
	switch len(b) {
	case ed25519.PrivateKeySize:
	case ed25519.PublicKeySize:
		return SecretKey{}, fmt.Errorf("secret key %.40q: found a public key", name)
	default:
		return SecretKey{}, fmt.Errorf("secret key %.40q: want %d bytes, found %d", name, ed25519.PrivateKeySize, len(b))
	}
	key := ed25519.NewKeyFromSeed(b[:ed25519.SeedSize])
	if !bytes.Equal(key, b) {
		return SecretKey{}, fmt.Errorf("secret key %.40q: its public half belongs to another key: it is damaged", name)
	}
	return SecretKey{name: name, key: key}, nil
}

// Name is the key's name, which signatures made with it bear.
func (k SecretKey) Name() string { return k.name }

// Public is the key that vouches for what k signs.
func (k SecretKey) Public() PublicKey {
	return PublicKey{name: k.name, key: k.key.Public().(ed25519.PublicKey)}
}

// String is the name, and that the rest is secret.
func (k SecretKey) String() string { return k.name + ":(secret)" }

// GoString is k.String, lest %#v shows the key.
func (k SecretKey) GoString() string { return k.String() }

// Sign adds k's signature of the fingerprint, in place of those that bear k's name.
func (i *Info) Sign(k SecretKey) {
	i.Signatures = slices.DeleteFunc(i.Signatures, func(s Signature) bool { return s.Name == k.name })
	i.Signatures = append(i.Signatures, Signature{Name: k.name, Bytes: ed25519.Sign(k.key, []byte(i.Fingerprint()))})
}

// Marshal is the narinfo's text as Nix 2.34 writes it (nix/src/libstore/nar-info.cc,
// NarInfo::to_string): its order of fields, hashes in nixbase32, signatures
// sorted. FileHash and FileSize may be missing. Alternatives, System and GuixSignature have no place there.
func (i *Info) Marshal() []byte {
	var b bytes.Buffer
	field := func(name, value string) { b.WriteString(name + ": " + value + "\n") }
	field("StorePath", string(i.StorePath))
	field("URL", i.URL)
	field("Compression", i.Compression)
	if !i.FileHash.IsZero() {
		field("FileHash", "sha256:"+i.FileHash.NixBase32())
	}
	if i.FileSize > 0 {
		field("FileSize", strconv.FormatInt(i.FileSize, 10))
	}
	field("NarHash", "sha256:"+i.NarHash.NixBase32())
	field("NarSize", strconv.FormatInt(i.NarSize, 10))
	bases := make([]string, len(i.References))
	for n, r := range i.References {
		bases[n] = r.Base()
	}
	field("References", strings.Join(bases, " "))
	if i.Deriver != "" {
		field("Deriver", i.Deriver)
	}
	sigs := make([]string, len(i.Signatures))
	for n, s := range i.Signatures {
		sigs[n] = s.String()
	}
	slices.Sort(sigs)
	for _, s := range sigs {
		field("Sig", s)
	}
	if i.CA != "" {
		field("CA", i.CA)
	}
	return b.Bytes()
}
