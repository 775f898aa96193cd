package narinfo_test

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"filippo.io/edwards25519"

	"github.com/rules-strata/rules_strata/tool/narinfo"
	"github.com/rules-strata/rules_strata/tool/store"
)

// guixKey is the key that signed testdata/web/guix.
func guixKey(t testing.TB) narinfo.PublicKey {
	t.Helper()
	k, err := narinfo.ParsePublicKey(readFile(t, testdata, "guix/signing-key.pub"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// otherGuixKey is a key that signed nothing here: that of ci.guix.gnu.org.
const otherGuixKey = "ci.guix.gnu.org:(public-key (ecc (curve Ed25519) (q #8D156F295D24B0D9A86FA5741A840FF2D24F60F7B6C4134814AD55625971B394#)))"

// Each narinfo that real Guix wrote is signed by its key, says what the store says, and offers what Guix offers.
func TestGuix_RealNarinfos(t *testing.T) {
	items := map[string]string{}
	for line := range strings.Lines(readFile(t, testdata, "guix/items")) {
		path, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		items[path] = rest
	}
	k := guixKey(t)
	const name = "guix-key-00d10ca16288d46b"
	if !strings.HasPrefix(k.String(), name+":(public-key ") {
		t.Errorf("the key is %s", k)
	}
	other, err := narinfo.ParsePublicKey(otherGuixKey)
	if err != nil {
		t.Fatal(err)
	}
	files := append(narinfos(t, "guix/cache"), narinfos(t, "guix/baked")...)
	if len(files) != 12 {
		t.Errorf("want 12 narinfos, found %d", len(files))
	}
	for _, file := range files {
		i, err := narinfo.Parse([]byte(readFile(t, file)))
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		item := i.NarHash.NixBase32()
		for _, r := range i.References {
			item += " " + r.String()
		}
		if items[i.StorePath.String()] != item {
			t.Errorf("%s: want %s, got %s", file, items[i.StorePath.String()], item)
		}
		want := []string{"lzip", "zstd", "gzip"}
		if strings.Contains(file, "baked") {
			want = []string{"zstd"}
		}
		var offers []string
		for _, f := range i.Files() {
			offers = append(offers, f.Compression)
			if f.URL != "nar/"+f.Compression+"/"+i.StorePath.Base() {
				t.Errorf("%s: URL %s", file, f.URL)
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), f.URL)); err != nil {
				t.Error(err)
			}
		}
		if !slices.Equal(offers, want) {
			t.Errorf("%s: want files in %s, got %s", file, want, offers)
		}
		if i.GuixSignature == nil || i.GuixSignature.Host != "strata" {
			t.Errorf("%s: signature %+v", file, i.GuixSignature)
		}
		if by, _, err := i.VerifiedBy([]narinfo.PublicKey{key(t, "strata-web-1"), other, k}); by != name || err != nil {
			t.Errorf("%s: want it signed by %s, got %q, %v", file, name, by, err)
		}
		var untrusted *narinfo.UntrustedError
		if by, _, err := i.VerifiedBy([]narinfo.PublicKey{key(t, "strata-web-1"), other}); by != "" || !errors.As(err, &untrusted) ||
			!strings.Contains(err.Error(), "signed by strata's Guix key (public-key (ecc (curve Ed25519) (q #00D10CA16288D46B7B5F390A89CD8C83F42EA289C57BCDBCD0C0E9FF61A47A8F#))); trusted are strata-web-1, ci.guix.gnu.org") {
			t.Errorf("%s: want an UntrustedError, got %q, %v", file, by, err)
		}
	}
}

// Whatever bit of what is signed, or of the signature, is another: it isn't verified.
func TestGuix_FlippedAnywhere(t *testing.T) {
	keys := []narinfo.PublicKey{guixKey(t)}
	text := readFile(t, testdata, "guix/baked/w4qs8p8nwnldd2lx0dpigzlqsqk2m3s2.narinfo")
	above, _, _ := strings.Cut(text, "Signature: ")
	end := strings.Index(text, "\nURL: ")
	parsed := 0
	for n := range end {
		for bit := range 8 {
			b := []byte(text)
			b[n] ^= 1 << bit
			i, err := narinfo.Parse(b)
			if err != nil {
				continue
			}
			parsed++
			by, _, err := i.VerifiedBy(keys)
			// The version and the host are nobody's word, and letters of S-expressions come in two cases.
			if n > len(above)+len("Signature: ") && i.GuixSignature != nil && same(t, text, i) {
				continue
			}
			if err == nil {
				t.Fatalf("byte %d (%q), bit %d: verified by %s", n, text[n], bit, by)
			}
		}
	}
	if parsed < 2000 {
		t.Errorf("only %d of the changed narinfos could be read at all", parsed)
	}
}

// same reports whether i says of the NAR what text says.
func same(t testing.TB, text string, i *narinfo.Info) bool {
	t.Helper()
	want, err := narinfo.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return i.StorePath == want.StorePath && i.NarHash == want.NarHash && i.NarSize == want.NarSize && slices.Equal(i.References, want.References)
}

// The signature's own numbers and the key in it: any other makes it wrong.
func TestGuix_Signature(t *testing.T) {
	k := guixKey(t)
	text := readFile(t, testdata, "guix/baked/w4qs8p8nwnldd2lx0dpigzlqsqk2m3s2.narinfo")
	above, rest, _ := strings.Cut(text, "Signature: 1;strata;")
	encoded, below, _ := strings.Cut(rest, "\n")
	decoded, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	const (
		r     = "0B568EC5EACA28DEB2CE50E3B64E55E9C34EF6FC77362CBC138DC41819364D40"
		s     = "0499495D4529F694365E5D80577F21B1683835447" // the beginning
		hash  = "6715260B0A21382883260C6F6A392B422F08238FC9A3D242ED0FD1771A512AB6"
		q     = "00D10CA16288D46B7B5F390A89CD8C83F42EA289C57BCDBCD0C0E9FF61A47A8F"
		order = "1000000000000000000000000000000014DEF9DEA2F79CD65812631A5CF5D3ED"
	)
	sig := string(decoded)
	zeros := strings.Repeat("0", 64)
	for _, c := range []struct{ name, old, new, want string }{
		{"as it is", "", "", ""},
		{"another r", r, strings.Replace(r, "0B", "0C", 1), "doesn't fit"},
		{"r in 33 bytes", r, "00" + r, ""},
		{"r in 34 bytes, not zero", r, "0001" + r, "doesn't fit"},
		{"r zero", r, zeros, "doesn't fit"},
		{"r the order", r, order, "doesn't fit"},
		{"r too large", r, strings.Repeat("F", 64), "doesn't fit"},
		{"r empty", r, "", "doesn't fit"},
		{"another s", s, strings.Replace(s, "049", "048", 1), "doesn't fit"},
		{"another hash", hash, strings.Replace(hash, "67", "66", 1), "doesn't fit"},
		{"a hash of 31 bytes", hash, hash[2:], "Signature: want a (hash sha256 …) of 32 bytes"},
		{"SHA-512", "hash sha256", "hash sha512", "want a (hash sha256 …)"},
		{"key of another", q, "8D156F295D24B0D9A86FA5741A840FF2D24F60F7B6C4134814AD55625971B394", "trusted are guix-key-00d10ca16288d46b"},
		{"key that is no point", q, "02" + zeros[2:], "no point of the curve"},
		{"key of 33 bytes", q, "40" + q, "want 32 bytes, found 33"},
		{"another curve", "Ed25519", "NIST P-256", "(signature"},
		{"another curve, one word", "Ed25519", "secp256k1", `of an unknown kind (the curve "secp256k1")`},
		{"RSA, but no numbers of it", "(ecc", "(rsa", "want (n …) in (rsa …), found none"},
		{"DSA", "(ecc", "(dsa", `of an unknown kind ("dsa")`},
		{"EdDSA", "(curve", "(flags eddsa) (curve", "of an unknown kind (flags)"},
		{"two r", "(r #", "(r #00#) (r #", "found several"},
		{"no r", "(r #", "(t #", "want (r …) in (ecdsa …), found none"},
		{"no data", "(data", "(datum", "want (data …) in (signature …)"},
		{"no signature", "(signature", "(signatura", "want a (signature …)"},
		{"cut", sig[len(sig)-10:], "", "ends before its last parenthesis"},
	} {
		changed := sig
		if c.old != "" {
			if changed = strings.Replace(sig, c.old, c.new, 1); changed == sig {
				t.Fatalf("%s: nothing is changed", c.name)
			}
		}
		if c.name == "another curve" {
			c.want = "want (curve VALUE)"
		}
		err := guixError(above+"Signature: 1;strata;"+base64.StdEncoding.EncodeToString([]byte(changed))+"\n"+below, k)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: want %q, got %v", c.name, c.want, err)
		}
	}

	sized := strings.Replace(above, "NarSize: 1968\n", "", 1)
	line := "Signature: 1;strata;" + encoded + "\n"
	for _, c := range []struct{ name, text, want string }{
		{"another host", strings.Replace(text, "1;strata;", "1;ci.guix.gnu.org;", 1), ""},
		{"another version", strings.Replace(text, "1;strata;", "2;strata;", 1), "of an unknown kind (version 2)"},
		{"two parts", strings.Replace(text, "1;strata;", "strata;", 1), "want 1;<host>;<base64>, found 2 parts"},
		{"no base64", strings.Replace(text, "1;strata;", "1;strata;!", 1), "illegal base64"},
		{"no S-expression", strings.Replace(text, encoded, "aGk=", 1), "want a list"},
		{"signature twice", text + line, "Signature: given again"},
		{"below the signature: unsigned fields", above + line + "System: x\nFuture: y\n" + below, ""},
		{"below the signature: NarSize", sized + line + "NarSize: 1968\n" + below, "doesn't fit"},
		{"below the signature: another NarSize", above + line + "NarSize: 1\n" + below, "NarSize: given again"},
		{"below the signature: other references", above + line + "References: \n" + below, "References: given again"},
		{"below the signature: all", line + above + below, "doesn't fit"},
		{"a line before", "X: y\n" + text, "doesn't fit"},
		{"Nix' signature beside it, of an unknown key", text + "Sig: x:AAAA\n", ""},
	} {
		err := guixError(c.text, k)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: want %q, got %v", c.name, c.want, err)
		}
	}
}

func guixError(text string, k narinfo.PublicKey) error {
	i, err := narinfo.Parse([]byte(text))
	if err != nil {
		return err
	}
	_, _, err = i.VerifiedBy([]narinfo.PublicKey{k})
	return err
}

// guixSigner signs as Guix does, but for how it takes its nonces.
type guixSigner struct{ d *edwards25519.Scalar }

func uniform(text string) *edwards25519.Scalar {
	h := sha512.Sum512([]byte(text))
	s, err := new(edwards25519.Scalar).SetUniformBytes(h[:])
	if err != nil {
		panic(err)
	}
	return s
}

func (g guixSigner) public() string {
	q := new(edwards25519.Point).ScalarBaseMult(g.d).Bytes()
	return fmt.Sprintf("(public-key (ecc (curve Ed25519) (q #%X#)))", q)
}

// line is the Signature line for the text above it.
func (g guixSigner) line(above string) string {
	hash := sha256.Sum256([]byte(above))
	z := new(big.Int).Rsh(new(big.Int).SetBytes(hash[:]), 3)
	wide := make([]byte, 64)
	z.FillBytes(wide)
	slices.Reverse(wide)
	zs, _ := new(edwards25519.Scalar).SetUniformBytes(wide)
	k := uniform("nonce " + above)
	x, _, zz, _ := new(edwards25519.Point).ScalarBaseMult(k).ExtendedCoordinates()
	x.Multiply(x, zz.Invert(zz))
	wide = append(x.Bytes(), make([]byte, 32)...)
	r, _ := new(edwards25519.Scalar).SetUniformBytes(wide)
	s := new(edwards25519.Scalar).Multiply(new(edwards25519.Scalar).Invert(k), new(edwards25519.Scalar).MultiplyAdd(r, g.d, zs))
	big := func(s *edwards25519.Scalar) []byte {
		b := s.Bytes()
		slices.Reverse(b)
		return b
	}
	sig := fmt.Sprintf("(signature (data (flags rfc6979) (hash sha256 #%X#)) (sig-val (ecdsa (r #%X#) (s #%X#))) %s)", hash, big(r), big(s), g.public())
	return "Signature: 1;test;" + base64.StdEncoding.EncodeToString([]byte(sig)) + "\n"
}

// A signature that leaves out a field vouches for nothing, even if the key's owner made it: the field could be added by anybody.
func TestGuix_MustCoverAll(t *testing.T) {
	g := guixSigner{uniform("secret")}
	k, err := narinfo.ParsePublicKey("test:" + g.public())
	if err != nil {
		t.Fatal(err)
	}
	fields := []string{
		"StorePath: /gnu/store/" + selfBase + "\n", "NarHash: " + hashOfNAR + "\n", "NarSize: 2496\n", "References: " + otherBase + "\n",
	}
	const below = "URL: nar/x\nCompression: none\n"
	all := strings.Join(fields, "")
	if err := guixError(all+g.line(all)+below, k); err != nil {
		t.Fatal(err)
	}
	for _, f := range fields {
		above := strings.Replace(all, f, "", 1)
		err := guixError(above+g.line(above)+f+below, k)
		var wrong *narinfo.SignatureError
		if !errors.As(err, &wrong) {
			t.Errorf("%q below the signature: got %v", f, err)
		}
	}
	// Nor does it vouch for another narinfo.
	if err := guixError(all+g.line(all+" ")+below, k); err == nil {
		t.Error("a signature of other bytes is taken")
	}
}

func TestParsePublicKey_Guix(t *testing.T) {
	file := readFile(t, testdata, "guix/signing-key.pub")
	const line = "(public-key (ecc (curve Ed25519) (q #00D10CA16288D46B7B5F390A89CD8C83F42EA289C57BCDBCD0C0E9FF61A47A8F#)))"
	for _, c := range []struct{ text, name string }{
		{file, "guix-key-00d10ca16288d46b"},
		{line, "guix-key-00d10ca16288d46b"},
		{strings.ToLower(strings.Replace(line, "Ed", "\x00", 1)), ""},
		{"strata:" + file, "strata"},
		{"strata:" + line, "strata"},
		{"(10:public-key(3:ecc(5:curve7:Ed25519)(1:q #00D10CA16288D46B7B5F390A89CD8C83F42EA289C57BCDBCD0C0E9FF61A47A8F#)))", "guix-key-00d10ca16288d46b"},
	} {
		k, err := narinfo.ParsePublicKey(c.text)
		if c.name == "" {
			if err == nil {
				t.Errorf("%q: taken", c.text)
			}
			continue
		}
		if err != nil || k.String() != c.name+":"+line {
			t.Errorf("%q: got %s, %v", c.text, k, err)
			continue
		}
		again, err := narinfo.ParsePublicKey(k.String())
		if err != nil || again.String() != k.String() {
			t.Errorf("%q: read again: %s, %v", c.text, again, err)
		}
	}
	for _, c := range []struct{ text, want string }{
		{"(public-key", "want what is in Guix' signing-key.pub or acl: s-expression, byte 11: it ends"},
		{"(x)", "want a (public-key …), found a (\"x\" …)"},
		{"a b:" + line, "printable ASCII"},
		{"(public-key (dsa (p #01#)))", `or (rsa (n …) (e …)), the kinds that are known, found "dsa"`},
		{"(public-key)", "want (public-key (KIND …))"},
		{"(public-key rsa)", "want (public-key (KIND …))"},
		{"(public-key (rsa (n #01#) (e #03#)))", "n: want an RSA key of 2048 to 16384 bits, found 1"},
		{"(public-key (rsa (n #" + strings.Repeat("FF", 2049) + "#) (e #03#)))", "found 16392"},
		{"(public-key (rsa (n #" + strings.Repeat("FE", 256) + "#) (e #03#)))", "n: it is even"},
		{"(public-key (rsa (n #" + strings.Repeat("FF", 256) + "#) (e #01#)))", "e: want an odd number from 3"},
		{"(public-key (rsa (n #" + strings.Repeat("FF", 256) + "#) (e #04#)))", "e: want an odd number from 3"},
		{"(public-key (rsa (n #" + strings.Repeat("FF", 256) + "#) (e #0100000001#)))", "e: want an odd number from 3"},
		{"(public-key (rsa (n #" + strings.Repeat("FF", 256) + "#)))", "want (e …) in (rsa …), found none"},
		{strings.Replace(line, "Ed25519", "secp256k1", 1), `found the curve "secp256k1"`},
		{strings.Replace(line, "#00D1", "#D1", 1), "q: want 32 bytes, found 31"},
		{"(key-data (public-key (ecc (curve Ed25519) (q #00#))) (private-key (ecc (d #1234#))))", "found a secret key; keep it secret"},
		{"(private-key (ecc (curve Ed25519) (q #00#) (d #1234#)))", "found a secret key"},
	} {
		_, err := narinfo.ParsePublicKey(c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "1234") {
			t.Errorf("%q: want an error with %q, got %v", c.text, c.want, err)
		}
	}
}

func TestParse_Files(t *testing.T) {
	i, err := narinfo.Parse([]byte(text() + "URL: b\nFileSize: 7\nCompression: xz\nURL: c\nCompression: none\nFileHash: " + hashOfNAR + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	f := i.Files()
	if len(f) != 3 || f[0] != i.File || f[0].FileSize != 451 ||
		f[1] != (narinfo.File{URL: "b", Compression: "xz", FileSize: 7}) ||
		f[2].URL != "c" || f[2].Compression != "none" || f[2].FileSize != -1 || f[2].FileHash.NixBase32() != hashOfNAR[len("sha256:"):] {
		t.Errorf("got %+v", f)
	}
}

// Whatever bytes: no panic, and what the fixtures' keys vouch for is what their owners signed.
func FuzzVerifiedBy(f *testing.F) {
	signed := map[string]bool{}
	what := func(i *narinfo.Info) string { return i.Fingerprint() }
	for _, pattern := range []string{"cache", "guix/cache", "guix/baked", "variants/two-signatures"} {
		for _, file := range narinfos(f, pattern) {
			b := []byte(readFile(f, file))
			i, err := narinfo.Parse(b)
			if err != nil {
				f.Fatal(err)
			}
			signed[what(i)] = true
			f.Add(b)
		}
	}
	f.Add([]byte(text()))
	keys := []narinfo.PublicKey{key(f, "strata-web-1"), key(f, "strata-web-2"), guixKey(f)}
	f.Fuzz(func(t *testing.T, b []byte) {
		i, err := narinfo.Parse(b)
		if err != nil {
			return
		}
		if _, _, err := i.VerifiedBy(keys); err == nil && !signed[what(i)] {
			t.Fatalf("%q is taken as signed", b)
		}
		if _, err := store.ParsePath(i.StorePath.String()); err != nil {
			t.Fatal(err)
		}
	})
}
