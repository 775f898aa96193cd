package narinfo_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/narinfo"
)

func secret(t testing.TB, name string) narinfo.SecretKey {
	t.Helper()
	k, err := narinfo.ReadSecretKey(filepath.Join(testdata, "keys", name+".secret"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Every narinfo that real Nix wrote and signed, signed and written anew, is the same to the byte.
func TestSignAndMarshal_AsNix(t *testing.T) {
	k1, k2 := secret(t, "strata-web-1"), secret(t, "strata-web-2")
	if k1.Public().String() != key(t, "strata-web-1").String() {
		t.Errorf("the public key is %s", k1.Public())
	}
	n := 0
	for _, pattern := range []string{"cache", "next/cache", "variants/*"} {
		for _, file := range narinfos(t, pattern) {
			text := readFile(t, file)
			info, err := narinfo.Parse([]byte(text))
			if err != nil {
				t.Fatal(file, err)
			}
			signers := map[string]bool{}
			for _, s := range info.Signatures {
				signers[s.Name] = true
			}
			info.Signatures = nil
			for _, k := range []narinfo.SecretKey{k2, k1, k1} { // sorted in the text, each once
				if signers[k.Name()] {
					info.Sign(k)
				}
			}
			if got := string(info.Marshal()); got != text {
				t.Errorf("%s:\ngot  %s\nwant %s", file, got, text)
			}
			n++
		}
	}
	if n < 150 {
		t.Errorf("only %d narinfos", n)
	}
}

// Signing again with the same name replaces, whatever was there.
func TestSign_Replaces(t *testing.T) {
	info, err := narinfo.Parse([]byte(readFile(t, narinfos(t, "bad/05-bad-signature")[0])))
	if err != nil {
		t.Fatal(err)
	}
	keys := []narinfo.PublicKey{key(t, "strata-web-1")}
	if _, _, err := info.VerifiedBy(keys); err == nil {
		t.Fatal("the bad signature is right")
	}
	info.Sign(secret(t, "strata-web-1"))
	if len(info.Signatures) != 1 {
		t.Errorf("%d signatures, want 1", len(info.Signatures))
	}
	if _, _, err := info.VerifiedBy(keys); err != nil {
		t.Error(err)
	}
}

func TestMarshal_Least(t *testing.T) {
	text := "StorePath: /nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-web-root\nURL: nar/x\nCompression: none\nNarHash: " + hashOfNAR + "\nNarSize: 2496\nReferences: \n"
	info, err := narinfo.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(info.Marshal()); got != text {
		t.Errorf("got %s", got)
	}
}

func TestParseSecretKey_Refuses(t *testing.T) {
	real := strings.TrimSpace(readFile(t, testdata, "keys", "strata-web-1.secret"))
	name, b64, _ := strings.Cut(real, ":")
	raw, err := base64.StdEncoding.DecodeString(b64)
	if err != nil {
		t.Fatal(err)
	}
	flip := func(i int) string {
		b := append([]byte(nil), raw...)
		b[i] ^= 1
		return name + ":" + base64.StdEncoding.EncodeToString(b)
	}
	for _, c := range []struct{ name, key, want string }{
		{"empty", "", "want name:base64"},
		{"no name", b64, "want name:base64"},
		{"not base64", real[:40] + "!", "want name:base64"},
		{"cut", name + ":" + b64[:40], "want 64 bytes, found 30"},
		{"public key", readFile(t, testdata, "keys", "strata-web-1.public"), "found a public key"},
		{"secret half damaged", flip(3), "its public half belongs to another key"},
		{"public half damaged", flip(40), "its public half belongs to another key"},
	} {
		_, err := narinfo.ParseSecretKey(c.key)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: want an error with %q, got %v", c.name, c.want, err)
		}
		if err != nil && strings.Contains(err.Error(), b64[:8]) {
			t.Errorf("%s: the error shows the key: %v", c.name, err)
		}
	}
	k := secret(t, "strata-web-1")
	for _, format := range []string{"%v", "%s", "%+v", "%#v", "%x", "%q"} {
		if s := fmt.Sprintf(format, k); strings.Contains(s, b64[:8]) || strings.Contains(s, fmt.Sprintf("%x", raw[:8])) || strings.Contains(s, fmt.Sprintf("%d %d", raw[0], raw[1])) {
			t.Errorf("%s shows the key: %s", format, s)
		}
	}
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(strings.Repeat("k", 5000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := narinfo.ReadSecretKey(file); err == nil || !strings.Contains(err.Error(), "longer than 4096 bytes") {
		t.Errorf("a long file: got %v", err)
	}
}
