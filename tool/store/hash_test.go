package store

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Real Nix wrote these: one hash in its four forms (nix hash convert), and what the empty string and "abc" hash to.
var hashForms = []struct{ name, nix32, hex, base64 string }{
	{"empty", "0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="},
	{"abc", "1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="},
}

func TestParseHash_Forms(t *testing.T) {
	for _, f := range hashForms {
		forms := []string{"sha256:" + f.nix32, "sha256:" + f.hex, "sha256:" + strings.ToUpper(f.hex), "sha256:" + f.base64, "sha256-" + f.base64}
		for _, text := range forms {
			h, err := ParseHash(text)
			if err != nil {
				t.Errorf("%s: %v", f.name, err)
				continue
			}
			if h.Hex() != f.hex || h.NixBase32() != f.nix32 || h.SRI() != "sha256-"+f.base64 || h.String() != "sha256:"+f.hex {
				t.Errorf("%s from %s: got %s, %s, %s, %s", f.name, text, h.Hex(), h.NixBase32(), h.SRI(), h)
			}
		}
	}
}

func TestParseHash_Refuses(t *testing.T) {
	abc := hashForms[1]
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "want sha256:"},
		{"bare hex", abc.hex, "want sha256:"},
		{"bare nixbase32", abc.nix32, "want sha256:"},
		{"other algorithm", "sha512:" + abc.hex, "want sha256:"},
		{"md5 as SRI", "md5-" + abc.base64, "want sha256:"},
		{"capitals", "SHA256:" + abc.hex, "want sha256:"},
		{"nothing behind the colon", "sha256:", "want sha256:"},
		{"nothing behind the dash", "sha256-", "found 0 characters"},
		{"short nixbase32", "sha256:" + abc.nix32[1:], "want sha256:"},
		{"long hex", "sha256:" + abc.hex + "0", "want sha256:"},
		{"no hex", "sha256:" + strings.Replace(abc.hex, "a", "g", 1), "invalid byte"},
		{"no nixbase32 letter", "sha256:" + strings.Replace(abc.nix32, "b", "e", 1), `'e' is no nixbase32 character`},
		{"nixbase32 of 257 bits", "sha256:2" + abc.nix32[1:], "more than 256 bits"},
		{"nixbase32 of 260 bits", "sha256:z" + abc.nix32[1:], "more than 256 bits"},
		{"nixbase32 in capitals", "sha256:" + strings.ToUpper(abc.nix32), "is no nixbase32 character"},
		{"SRI without padding", "sha256-" + strings.TrimSuffix(abc.base64, "="), "found 43 characters"},
		{"SRI in hex", "sha256-" + abc.hex, "found 64 characters"},
		{"SRI of 31 bytes", "sha256-" + base64.StdEncoding.EncodeToString(make([]byte, 31)), "found 31 bytes"},
		{"SRI of 33 bytes", "sha256-" + base64.StdEncoding.EncodeToString(make([]byte, 33)), "found 33 bytes"},
		{"SRI with stray bits", "sha256-" + abc.base64[:42] + "1=", "illegal base64"},
		{"SRI, URL alphabet", "sha256-" + strings.Replace(abc.base64, "+", "-", 1), "illegal base64"},
		{"carriage return", "sha256-" + abc.base64 + "\r", "found 45 characters"},
		{"newline inside", "sha256-" + abc.base64[:20] + "\n" + abc.base64[20:], "found 45 characters"},
		{"newlines for letters", "sha256:" + abc.base64[:40] + "\n\n\n\n", "found 30 bytes"},
		{"space", "sha256: " + abc.hex, "want sha256:"},
		{"two hashes", "sha256-" + abc.base64 + " sha256-" + abc.base64, "characters"},
	} {
		h, err := ParseHash(c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: want an error with %q, got %v", c.name, c.want, err)
		}
		if err != nil && !h.IsZero() {
			t.Errorf("%s: want no hash beside the error, got %s", c.name, h)
		}
		if err != nil && !strings.Contains(err.Error(), "hash \"") {
			t.Errorf("%s: want the text named, got %v", c.name, err)
		}
	}
	if _, err := ParseHash(strings.Repeat("x", 1<<20)); err == nil || len(err.Error()) > 300 {
		t.Error("want a short error for a long text")
	}
}

func TestHash_RoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h Hash
		copy(h[:], rapid.SliceOfN(rapid.Byte(), len(h), len(h)).Draw(t, "hash"))
		for _, text := range []string{h.String(), h.SRI(), "sha256:" + h.NixBase32(), "sha256:" + h.Hex()} {
			if got, err := ParseHash(text); err != nil || got != h {
				t.Fatalf("%s: got %s, %v", text, got, err)
			}
		}
		b, err := json.Marshal(h)
		if err != nil || string(b) != `"`+h.String()+`"` {
			t.Fatalf("JSON: got %s, %v", b, err)
		}
		var back Hash
		if err := json.Unmarshal(b, &back); err != nil || back != h {
			t.Fatalf("JSON: got %s, %v", back, err)
		}
	})
	h := Hash{1}
	if err := h.UnmarshalText([]byte("sha256:")); err == nil || h != (Hash{1}) {
		t.Errorf("a bad text: want an error and the hash as it was, got %s, %v", h, err)
	}
}

// What is taken is the one text of its form, but for the case of hex digits.
func FuzzParseHash(f *testing.F) {
	for _, h := range hashForms {
		f.Add("sha256:" + h.nix32)
		f.Add("sha256:" + h.hex)
		f.Add("sha256:" + h.base64)
		f.Add("sha256-" + h.base64)
	}
	f.Fuzz(func(t *testing.T, text string) {
		h, err := ParseHash(text)
		if err != nil {
			return
		}
		for _, form := range []string{h.String(), "sha256:" + h.NixBase32(), h.SRI(), "sha256:" + strings.TrimPrefix(h.SRI(), "sha256-")} {
			if strings.EqualFold(text, form) {
				return
			}
		}
		t.Fatalf("%q is taken as %s", text, h)
	})
}
