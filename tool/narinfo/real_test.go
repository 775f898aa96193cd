package narinfo_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/narinfo"
)

// testdata holds binary caches written by real Nix, and broken ones.
const testdata = "../../testdata/web"

func readFile(t testing.TB, elem ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func key(t testing.TB, name string) narinfo.PublicKey {
	t.Helper()
	k, err := narinfo.ParsePublicKey(readFile(t, testdata, "keys", name+".public"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(k.String(), name+":") {
		t.Fatalf("want the key %s, got %s", name, k)
	}
	return k
}

func narinfos(t testing.TB, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(testdata, pattern, "*.narinfo"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Each narinfo that real Nix wrote is read, is what its file name says, and is
// signed as its cache says; what was read spells out every line again.
func TestRealNarinfos(t *testing.T) {
	one, two := key(t, "strata-web-1"), key(t, "strata-web-2")
	count := map[string]int{}
	for _, file := range append(narinfos(t, "cache"), narinfos(t, "variants/*")...) {
		cache := filepath.Base(filepath.Dir(file))
		text := readFile(t, file)
		i, err := narinfo.Parse([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		count[cache]++
		if want := strings.TrimSuffix(filepath.Base(file), ".narinfo"); i.StorePath.HashPart() != want {
			t.Errorf("%s: store path %s", file, i.StorePath)
		}
		if _, err := os.Stat(filepath.Join(filepath.Dir(file), i.URL)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if got := spell(i); got != text {
			t.Errorf("%s: want\n%s\ngot\n%s", file, text, got)
		}
		by, _, err := i.VerifiedBy([]narinfo.PublicKey{one})
		by2, _, err2 := i.VerifiedBy([]narinfo.PublicKey{two})
		var untrusted *narinfo.UntrustedError
		switch cache {
		case "unsigned":
			if by != "" || err != narinfo.ErrUnsigned {
				t.Errorf("%s: want ErrUnsigned, got %q, %v", file, by, err)
			}
		case "two-signatures":
			if by != "strata-web-1" || err != nil || by2 != "strata-web-2" || err2 != nil {
				t.Errorf("%s: want both keys, got %q, %v and %q, %v", file, by, err, by2, err2)
			}
		default:
			if by != "strata-web-1" || err != nil {
				t.Errorf("%s: want strata-web-1, got %q, %v", file, by, err)
			}
			if by2 != "" || !errors.As(err2, &untrusted) {
				t.Errorf("%s: want it not signed by strata-web-2, got %q, %v", file, by2, err2)
			}
		}
	}
	if count["cache"] != 42 || len(count) != 15 {
		t.Errorf("want 42 narinfos in the main cache and 14 variants, got %v", count)
	}
}

// spell writes i as Nix writes narinfo files (nar-info.cc, NarInfo::to_string).
func spell(i *narinfo.Info) string {
	var b strings.Builder
	line := func(field, value string) { b.WriteString(field + ": " + value + "\n") }
	line("StorePath", i.StorePath.String())
	line("URL", i.URL)
	line("Compression", i.Compression)
	line("FileHash", "sha256:"+i.FileHash.NixBase32())
	line("FileSize", itoa(i.FileSize))
	line("NarHash", "sha256:"+i.NarHash.NixBase32())
	line("NarSize", itoa(i.NarSize))
	var refs []string
	for _, r := range i.References {
		refs = append(refs, r.Base())
	}
	line("References", strings.Join(refs, " "))
	if i.Deriver != "" {
		line("Deriver", i.Deriver)
	}
	for _, s := range i.Signatures {
		line("Sig", s.Name+":"+base64Text(s.Bytes))
	}
	if i.CA != "" {
		line("CA", i.CA)
	}
	return b.String()
}

// The broken caches: which are refused here, and how. Of all others the narinfo is right, and signed.
func TestBadCaches(t *testing.T) {
	wants := map[string]string{
		"05-bad-signature":     "the signature by strata-web-1 doesn't fit",
		"06-untrusted-key":     "no signature by a trusted key: signed by strata-web-2; trusted are strata-web-1",
		"07-no-signature":      "no signature by a trusted key: it has no signature",
		"18-crlf-narinfo":      "narinfo line 1: want lines that end in a newline only, found a carriage return",
		"19-duplicate-keys":    "narinfo line 7: NarHash: given again after line 6; want it once",
		"23-empty-narinfo":     "narinfo: StorePath missing",
		"24-narinfo-cut":       "narinfo line 7: want a newline at the end",
		"58-no-newline-at-end": "narinfo line 9: want a newline at the end",
	}
	keys := []narinfo.PublicKey{key(t, "strata-web-1")}
	seen := 0
	for _, file := range narinfos(t, "bad/*") {
		name := filepath.Base(filepath.Dir(file))
		i, err := narinfo.Parse([]byte(readFile(t, file)))
		if err == nil {
			_, _, err = i.VerifiedBy(keys)
		}
		want := wants[name]
		if want != "" {
			seen++
		}
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: want an error with %q, got %v", name, want, err)
		}
	}
	if seen != len(wants) {
		t.Errorf("want %d broken caches, found %d", len(wants), seen)
	}
}

// What is unusual in the caches from 50 on comes out as in an ordinary narinfo.
func TestUnusualCaches(t *testing.T) {
	load := func(name string) *narinfo.Info {
		files := narinfos(t, filepath.Join("bad", name))
		if len(files) == 0 {
			t.Fatalf("no narinfo in %s", name)
		}
		request := strings.TrimSpace(readFile(t, testdata, "bad", name, "REQUEST"))
		for _, f := range files {
			i, err := narinfo.Parse([]byte(readFile(t, f)))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if i.StorePath.String() == request {
				return i
			}
		}
		t.Fatalf("%s: %s is not there", name, request)
		return nil
	}
	control := load("00-control")
	if i := load("50-no-filehash"); !i.FileHash.IsZero() || i.FileSize != -1 {
		t.Errorf("no FileHash: got %s, %d", i.FileHash, i.FileSize)
	}
	if i := load("52-order"); i.NarHash != control.NarHash || i.NarSize != control.NarSize || i.Compression != "zstd" {
		t.Errorf("reverse order: got %+v", i)
	}
	for _, name := range []string{"54-narhash-hex", "55-narhash-sri"} {
		if i := load(name); i.NarHash != control.NarHash {
			t.Errorf("%s: got %s", name, i.NarHash)
		}
	}
	if i := load("56-no-compression-field"); i.Compression != "bzip2" {
		t.Errorf("no Compression: got %q", i.Compression)
	}
	if i := load("57-unsorted-references"); len(i.References) < 2 || !slices.IsSorted(i.References) {
		t.Errorf("unsorted references: got %v", i.References)
	}
	if i := load("59-deriver-unknown"); i.Deriver != "" || i.System != "x86_64-linux" {
		t.Errorf("unknown deriver: got %q, system %q", i.Deriver, i.System)
	}
	if i := load("53-second-signature-good"); len(i.Signatures) != 2 || i.Signatures[0].Name != "strata-web-2" {
		t.Errorf("two signatures: got %v", i.Signatures)
	}
}

// Fingerprints as Nix computes them: real Nix' signatures fit them (above); here is one spelled out.
func TestFingerprint(t *testing.T) {
	i, err := narinfo.Parse([]byte(readFile(t, testdata, "cache", "317swdjdxnw2jxvpycixvw0wkpjkp9lz.narinfo")))
	if err != nil {
		t.Fatal(err)
	}
	want := "1;/nix/store/317swdjdxnw2jxvpycixvw0wkpjkp9lz-nginx-1.22.1;sha256:1537n3zl3n6f5k6kzzq6m6wky0jm46jbxp2vs4dx8cc03many4vk;1329104;" +
		"/nix/store/ac9ina8snnirybg59nws86msa78d0ppq-openssl-3.0.22,/nix/store/fkrb1qrhrnbscg7h6adzd8zp536bkfgb-glibc-2.36-9," +
		"/nix/store/fvs78lpr01zrij0j6yxwkvvdpahsav7f-zlib-1.2.13,/nix/store/pvdzj99jln62pgy6896pcn3cbsq69qll-libxcrypt-4.4.33," +
		"/nix/store/rficayy36gbgz9rl1h8j65kp5kgvpk62-pcre2-10.42"
	if got := i.Fingerprint(); got != want {
		t.Errorf("want %s\ngot %s", want, got)
	}
}
