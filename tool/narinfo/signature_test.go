package narinfo_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/narinfo"
	"github.com/rules-strata/rules_strata/tool/store"
)

func TestParsePublicKey(t *testing.T) {
	real := strings.TrimSpace(readFile(t, testdata, "keys", "strata-web-1.public"))
	for _, s := range []string{real, real + "\n", " " + real + " \n", "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="} {
		k, err := narinfo.ParsePublicKey(s)
		if err != nil || k.String() != strings.TrimSpace(s) {
			t.Errorf("%q: got %s, %v", s, k, err)
		}
	}
	name, b64, _ := strings.Cut(real, ":")
	for _, c := range []struct{ name, key, want string }{
		{"empty", "", "found no colon"},
		{"no colon", b64, "found no colon"},
		{"no name", ":" + b64, "found no printable name"},
		{"no key", name + ":", "found nothing behind the colon"},
		{"not base64", name + ":" + b64[:10] + "!", "illegal base64"},
		{"cut", name + ":" + b64[:40], "want 32 bytes, found 30"},
		{"signature", name + ":" + base64.StdEncoding.EncodeToString(make([]byte, 65)), "want 32 bytes, found 65"},
		{"line end inside", name + ":" + b64[:10] + "\n" + b64[10:], "want base64 on one line"},
		{"secret key", readFile(t, testdata, "keys", "strata-web-1.secret"), "found a secret key; keep it secret"},
	} {
		_, err := narinfo.ParsePublicKey(c.key)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: want an error with %q, got %v", c.name, c.want, err)
		}
		if _, secret, ok := strings.Cut(c.key, ":"); err != nil && ok && len(secret) > 12 && strings.Contains(err.Error(), secret[:12]) {
			t.Errorf("%s: the error shows the key: %v", c.name, err)
		}
	}
}

// Each field that the fingerprint covers makes the signature wrong when it is changed; the others don't.
func TestVerifiedBy_Covers(t *testing.T) {
	keys := []narinfo.PublicKey{key(t, "strata-web-1")}
	for _, c := range []struct {
		name    string
		changes []string
		right   bool
	}{
		{"nothing", nil, true},
		{"StorePath's name", []string{"StorePath", "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-web-roof"}, false},
		{"StorePath's hash", []string{"StorePath", "/nix/store/1i1z7gpjsbqynxvczq9y25iqvl66875x-web-root"}, false},
		{"store directory", []string{"StorePath", "/nix/stor2/" + selfBase}, false},
		{"NarHash", []string{"NarHash", hashOfFile}, false},
		{"NarSize", []string{"NarSize", "2497"}, false},
		{"References", []string{"References", selfBase}, false},
		{"FileHash", []string{"FileHash", hashOfNAR}, true},
		{"FileSize", []string{"FileSize", "1"}, true},
		{"URL", []string{"URL", "x"}, true},
		{"Compression", []string{"Compression", "xz"}, true},
		{"Deriver", []string{"Deriver", "unknown-deriver"}, true},
		{"CA", []string{"CA", "text:sha256:x"}, true},
	} {
		i, err := narinfo.Parse([]byte(text(c.changes...)))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		by, _, err := i.VerifiedBy(keys)
		var wrong *narinfo.SignatureError
		if c.right && (by != "strata-web-1" || err != nil) || !c.right && (by != "" || !errors.As(err, &wrong) || !slices.Equal(wrong.Names, []string{"strata-web-1"})) {
			t.Errorf("%s changed: got %q, %v", c.name, by, err)
		}
	}
}

// Any flipped bit makes a signature wrong.
func TestVerifiedBy_FlippedSignature(t *testing.T) {
	keys := []narinfo.PublicKey{key(t, "strata-web-1")}
	i, err := narinfo.Parse([]byte(text()))
	if err != nil {
		t.Fatal(err)
	}
	for n := range i.Signatures[0].Bytes {
		for bit := range 8 {
			i.Signatures[0].Bytes[n] ^= 1 << bit
			if by, _, err := i.VerifiedBy(keys); err == nil {
				t.Fatalf("byte %d, bit %d: verified by %s", n, bit, by)
			}
			i.Signatures[0].Bytes[n] ^= 1 << bit
		}
	}
	if _, _, err := i.VerifiedBy(keys); err != nil {
		t.Errorf("whole again: %v", err)
	}
}

func TestVerifiedBy_Keys(t *testing.T) {
	pair := func(name string, seed byte) (narinfo.PublicKey, ed25519.PrivateKey) {
		secret := ed25519.NewKeyFromSeed(append(make([]byte, 31), seed))
		k, err := narinfo.ParsePublicKey(name + ":" + base64.StdEncoding.EncodeToString(secret.Public().(ed25519.PublicKey)))
		if err != nil {
			t.Fatal(err)
		}
		return k, secret
	}
	a, secretA := pair("a", 1)
	b, secretB := pair("b", 2)
	oldA, _ := pair("a", 3) // another key of the same name
	i := &narinfo.Info{
		StorePath: "/nix/store/" + selfBase, NarHash: store.Hash{1}, NarSize: 5,
		References: []store.Path{"/nix/store/" + selfBase, "/nix/store/" + otherBase},
	}
	sign := func(name string, secret ed25519.PrivateKey, text string) narinfo.Signature {
		return narinfo.Signature{Name: name, Bytes: ed25519.Sign(secret, []byte(text))}
	}
	byA, byB := sign("a", secretA, i.Fingerprint()), sign("b", secretB, i.Fingerprint())
	type keys = []narinfo.PublicKey
	type sigs = []narinfo.Signature
	for _, c := range []struct {
		name string
		sigs sigs
		keys keys
		by   string
		err  string
	}{
		{"one of one", sigs{byA}, keys{a}, "a", ""},
		{"the second signature", sigs{byA, byB}, keys{b}, "b", ""},
		{"the first of two", sigs{byB, byA}, keys{a, b}, "b", ""},
		{"a wrong one, then a right one", sigs{sign("a", secretA, "x"), byB}, keys{a, b}, "b", ""},
		{"a wrong and a right one of the same name", sigs{sign("a", secretA, "x"), byA}, keys{a}, "a", ""},
		{"two keys of the same name", sigs{byA}, keys{oldA, a}, "a", ""},
		{"an unknown kind, then a right one", sigs{{Name: "a", Bytes: make([]byte, 100)}, byA}, keys{a}, "a", ""},

		{"no signature", nil, keys{a}, "", "no signature by a trusted key: it has no signature"},
		{"no signature, no key", nil, nil, "", "it has no signature"},
		{"no key", sigs{byA}, nil, "", "signed by a; no key is trusted"},
		{"other key", sigs{byA}, keys{b}, "", "signed by a; trusted are b"},
		{"other keys", sigs{byA, byA, {Name: "c", Bytes: []byte("x")}}, keys{b, b}, "", "signed by a, c; trusted are b"},
		{"right signature under another's name", sigs{{Name: "b", Bytes: byA.Bytes}}, keys{a, b}, "", "the signature by b doesn't fit"},
		{"right signature under a name that isn't trusted", sigs{{Name: "c", Bytes: byA.Bytes}}, keys{a}, "", "signed by c; trusted are a"},
		{"another key of the same name", sigs{byA}, keys{oldA}, "", "the signature by a doesn't fit"},
		{"other text", sigs{sign("a", secretA, "1;other")}, keys{a}, "", "the signature by a doesn't fit"},
		{"empty signature", sigs{{Name: "a"}}, keys{a}, "", "the signature by a doesn't fit"},
		{"long signature", sigs{{Name: "a", Bytes: append(slices.Clone(byA.Bytes), 0)}}, keys{a}, "", "the signature by a doesn't fit"},
		{"zero signature", sigs{{Name: "a", Bytes: make([]byte, 64)}}, keys{a}, "", "the signature by a doesn't fit"},
		{"name in capitals", sigs{{Name: "A", Bytes: byA.Bytes}}, keys{a}, "", "signed by A; trusted are a"},
		{"two wrong ones", sigs{sign("a", secretA, "x"), sign("b", secretB, "x")}, keys{a, b}, "", "the signature by a, b doesn't fit"},
	} {
		i.Signatures = c.sigs
		by, _, err := i.VerifiedBy(c.keys)
		if by != c.by || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: want %q, %q; got %q, %v", c.name, c.by, c.err, by, err)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "no signature by a trusted key") {
			t.Errorf("%s: want all such errors to begin alike, got %v", c.name, err)
		}
	}
}
