package narinfo_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/narinfo"
)

// Real Guix' signatures by a real RSA key, and its access control list with that key in it and those of ci.guix.gnu.org
// and bordeaux.guix.gnu.org, which it came with.
func TestGuix_RSA(t *testing.T) {
	acl, err := narinfo.ParsePublicKeys(readFile(t, testdata, "guix-rsa/acl"))
	if err != nil || len(acl) != 3 {
		t.Fatalf("%v, %v; want 3 keys", acl, err)
	}
	k, err := narinfo.ParsePublicKey(readFile(t, testdata, "guix-rsa/signing-key.pub"))
	if err != nil || k.String() != acl[0].String() {
		t.Fatalf("%v, %v; want %v", k, err, acl[0])
	}
	for i, digits := range []string{"c87ca975e1fd918e", "8d156f295d24b0d9", "7d602902d3a2dbb8"} {
		if name, _, _ := strings.Cut(acl[i].String(), ":"); name != "guix-key-"+digits {
			t.Errorf("key %d is %s, want guix-key-%s", i, name, digits)
		}
	}
	again, err := narinfo.ParsePublicKey("me:" + strings.SplitN(k.String(), ":", 2)[1])
	if err != nil || again.String() != strings.Replace(k.String(), "guix-key-c87ca975e1fd918e", "me", 1) {
		t.Errorf("read again: %v, %v", again, err)
	}
	files := narinfos(t, "guix-rsa/cache")
	if len(files) != 2 {
		t.Fatal(files)
	}
	for _, file := range files {
		text := readFile(t, file)
		i, err := narinfo.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if by, _, err := i.VerifiedBy(acl); by != "guix-key-c87ca975e1fd918e" || err != nil {
			t.Errorf("%s: signed by %q, %v", file, by, err)
		}
		if _, _, err := i.VerifiedBy(acl[1:]); err == nil || !strings.Contains(err.Error(), "trusted are guix-key-8d156f295d24b0d9, guix-key-7d602902d3a2dbb8") {
			t.Errorf("%s: other keys: %v", file, err)
		}
		// Every byte counts that is above the signature or in it.
		above, rest, _ := strings.Cut(text, "Signature: 1;vm;")
		encoded, _, _ := strings.Cut(rest, "\n")
		for at := range len(above) {
			b := []byte(text)
			b[at] ^= 2
			if i, err := narinfo.Parse(b); err == nil {
				if _, _, err := i.VerifiedBy(acl); err == nil {
					t.Errorf("%s: byte %d flipped: taken", file, at)
				}
			}
		}
		sig, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			t.Fatal(err)
		}
		from := strings.Index(string(sig), "(hash ")
		for at := from; at < len(sig); at++ {
			b := append([]byte(nil), sig...)
			b[at] ^= 2
			changed := above + "Signature: 1;vm;" + base64.StdEncoding.EncodeToString(b) + "\n" + rest[len(encoded)+1:]
			i, err := narinfo.Parse([]byte(changed))
			if err != nil {
				continue
			}
			// No hex digit becomes its other case, no white space other white space.
			if _, _, err := i.VerifiedBy(acl); err == nil {
				t.Errorf("%s: byte %d of the signature flipped (%q): taken", file, at, sig[at])
			}
		}
	}
}

func TestGuix_RSASignature(t *testing.T) {
	k, err := narinfo.ParsePublicKey(readFile(t, testdata, "guix-rsa/signing-key.pub"))
	if err != nil {
		t.Fatal(err)
	}
	text := readFile(t, narinfos(t, "guix-rsa/cache")[0])
	above, rest, _ := strings.Cut(text, "Signature: 1;vm;")
	encoded, below, _ := strings.Cut(rest, "\n")
	sig, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, old, new, want string }{
		{"as it is", "", "", ""},
		{"a zero in front", "(s #", "(s #00", ""},
		{"a byte in front", "(s #", "(s #01", "doesn't fit"},
		{"no byte at all", "(s #", "(s ##) (x #", "doesn't fit"},
		{"a byte less", "(s #56", "(s #", "doesn't fit"},
		{"n with more zeros", "(n #00", "(n #0000", ""},
		{"another exponent", "#010001#", "#03#", "no signature by a trusted key: signed by"},
		{"SHA-512", "(hash sha256", "(hash sha512", "want a (hash sha256 …)"},
		{"PSS", "(flags pkcs1)", "(flags pss)", "of an unknown kind (RSA by another scheme than pkcs1)"},
		{"no padding", "(flags pkcs1)", "(flags)", "of an unknown kind (RSA by another scheme than pkcs1)"},
		{"no flags", "(flags pkcs1)", "", "want (flags …) in (data …)"},
		{"ECDSA's", "(rsa \n   (s", "(ecdsa \n   (s", "want (rsa …) in (sig-val …), found none"},
		{"a small key", "(n #00C8", "(n #", "want an RSA key of 2048 to 16384 bits, found 2039"},
	} {
		changed := strings.Replace(string(sig), c.old, c.new, 1)
		if changed == string(sig) && c.old != "" {
			t.Fatalf("%s: nothing is changed in %s", c.name, sig)
		}
		err := guixError(above+"Signature: 1;vm;"+base64.StdEncoding.EncodeToString([]byte(changed))+"\n"+below, k)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: want %q, got %v", c.name, c.want, err)
		}
	}
}

func TestParsePublicKeys_ACL(t *testing.T) {
	const key = "(public-key (ecc (curve Ed25519) (q #8D156F295D24B0D9A86FA5741A840FF2D24F60F7B6C4134814AD55625971B394#)))"
	entry := func(tag string) string { return "(entry " + key + " " + tag + ")" }
	for _, c := range []struct{ text, want string }{
		{"(acl " + entry("(tag (guix import))") + ")", ""},
		{"(acl " + entry("(tag (guix sign))") + entry("(tag (other import))") + entry("(tag (guix import))") + ")", ""},
		{"(acl)", "no entry with a (tag (guix import))"},
		{"(acl " + entry("(tag (guix sign))") + ")", "it lets nobody's archives in"},
		{"(acl " + entry("") + ")", "entry 1 of the acl: want (tag …) in (entry …)"},
		{"(acl " + key + ")", `entry 1 of the acl: want an (entry …), found a ("public-key" …)`},
		{"(acl x)", "entry 1 of the acl: want an (entry …)"},
		{"(acl (entry (tag (guix import))))", "entry 1 of the acl: want (public-key …)"},
		{"(acl " + entry("(tag (guix import))") + "(entry (public-key (dsa (p #01#))) (tag (guix import))))", `entry 2 of the acl: want (ecc (curve Ed25519) (q …)) or (rsa`},
		{"me:(acl " + entry("(tag (guix import))") + ")", "several keys; give no name"},
	} {
		keys, err := narinfo.ParsePublicKeys(c.text)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) || err == nil && len(keys) != 1 {
			t.Errorf("%s: want %q, got %v, %v", c.text, c.want, keys, err)
		}
	}
	if _, err := narinfo.ParsePublicKey(readFile(t, testdata, "guix-rsa/acl")); err == nil || !strings.Contains(err.Error(), "want one, found an access control list of 3") {
		t.Errorf("three where one is wanted: %v", err)
	}
}
