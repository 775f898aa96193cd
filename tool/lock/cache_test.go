package lock

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/nar"
	"github.com/rules-strata/rules_strata/tool/narinfo"
	"github.com/rules-strata/rules_strata/tool/store"
)

// testKey is a key pair made of its name.
type testKey struct {
	name   string
	secret ed25519.PrivateKey
	public narinfo.PublicKey
}

func newTestKey(t testing.TB, name string) testKey {
	t.Helper()
	seed := sha256.Sum256([]byte(name))
	secret := ed25519.NewKeyFromSeed(seed[:])
	public, err := narinfo.ParsePublicKey(name + ":" + base64.StdEncoding.EncodeToString(secret.Public().(ed25519.PublicKey)))
	if err != nil {
		t.Fatal(err)
	}
	return testKey{name, secret, public}
}

// sign returns the value of a Sig field.
func (k testKey) sign(info *narinfo.Info) string {
	return k.name + ":" + base64.StdEncoding.EncodeToString(ed25519.Sign(k.secret, []byte(info.Fingerprint())))
}

// testCache is a binary cache in a folder.
type testCache struct {
	t   testing.TB
	dir string
}

func newTestCache(t testing.TB) *testCache {
	t.Helper()
	c := &testCache{t, t.TempDir()}
	c.write("nix-cache-info", []byte("StoreDir: /nix/store\nWantMassQuery: 1\n"))
	if err := os.Mkdir(filepath.Join(c.dir, "nar"), 0o777); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *testCache) write(name string, b []byte) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, name), b, 0o666); err != nil {
		c.t.Fatal(err)
	}
}

// storePath is the store path of a name: its hash part is made of the name.
func storePath(name string) store.Path {
	const base32 = "0123456789abcdfghijklmnpqrsvwxyz"
	h := sha256.Sum256([]byte(name))
	var b strings.Builder
	for i := range store.HashPartLen {
		b.WriteByte(base32[h[i]%32])
	}
	return store.Path("/nix/store/" + b.String() + "-" + name)
}

// object is a store object that a cache gets, with its narinfo's text still open to change.
type object struct {
	info narinfo.Info
	// narinfo's lines, without the signatures.
	lines []string
	nar   []byte
}

// newObject is a store object of a name: a file that holds the name.
func newObject(t testing.TB, name string, references ...string) *object {
	t.Helper()
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	if err := w.WriteEntry(&nar.Entry{Kind: nar.Regular, Size: int64(len(name))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(name)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	o := &object{nar: b.Bytes()}
	o.info = narinfo.Info{StorePath: storePath(name), NarHash: sha256.Sum256(o.nar), NarSize: int64(len(o.nar))}
	var bases []string
	for _, r := range references {
		bases = append(bases, storePath(r).Base())
	}
	o.lines = []string{
		"StorePath: " + string(o.info.StorePath),
		"URL: nar/" + o.info.StorePath.Base() + ".nar",
		"Compression: none",
		"FileHash: " + o.info.NarHash.String(),
		fmt.Sprintf("FileSize: %d", o.info.NarSize),
		"NarHash: sha256:" + o.info.NarHash.NixBase32(),
		fmt.Sprintf("NarSize: %d", o.info.NarSize),
		"References: " + strings.Join(bases, " "),
	}
	return o
}

// set replaces the line of a field, or removes it where the value is empty.
func (o *object) set(field, value string) *object {
	for i, l := range o.lines {
		if strings.HasPrefix(l, field+":") {
			o.lines = append(o.lines[:i:i], o.lines[i+1:]...)
			break
		}
	}
	if value != "" {
		o.lines = append(o.lines, field+": "+value)
	}
	return o
}

// put adds the object to the cache, signed by keys. The signatures are over what the narinfo says.
func (c *testCache) put(o *object, keys ...testKey) {
	c.t.Helper()
	text := strings.Join(o.lines, "\n") + "\n"
	if info, err := narinfo.Parse([]byte(text)); err == nil {
		for _, k := range keys {
			text += "Sig: " + k.sign(info) + "\n"
		}
	}
	c.write(o.info.StorePath.HashPart()+".narinfo", []byte(text))
	c.write("nar/"+o.info.StorePath.Base()+".nar", o.nar)
}
