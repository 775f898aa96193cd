package narinfo_test

import (
	"encoding/base64"
	"strconv"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/narinfo"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

func base64Text(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

const (
	hashOfNAR  = "sha256:1k2pklb9npmjya67cna1p5fcw425spacyiwn3mygp4yfkfkbcbvq"
	hashOfFile = "sha256:194jcb66s47ss799qij6qdf2idzwgfkfyxabnxy0kn4gnrc3q3pp"
	selfBase   = "0i1z7gpjsbqynxvczq9y25iqvl66875x-web-root"
	otherBase  = "fkrb1qrhrnbscg7h6adzd8zp536bkfgb-glibc-2.36-9"
)

// text is a right narinfo in which each given field has the given value instead; "-" takes the field out.
func text(changes ...string) string {
	fields := [][2]string{
		{"StorePath", "/nix/store/" + selfBase},
		{"URL", "nar/194jcb66s47ss799qij6qdf2idzwgfkfyxabnxy0kn4gnrc3q3pp.nar.zst"},
		{"Compression", "zstd"},
		{"FileHash", hashOfFile},
		{"FileSize", "451"},
		{"NarHash", hashOfNAR},
		{"NarSize", "2496"},
		{"References", ""},
		{"Deriver", "a702a1g5vm8kks93cipjlwjx85pd9xs0-web-root.drv"},
		{"Sig", "strata-web-1:BpexBQrjj698MI1TTT24NKQub9bSw1AXB1Ib78qPjt49MexKxLoGCmn4oSWCL1PDm/w7b1Z6xZu6EL0ApuyVAQ=="},
	}
	var b strings.Builder
	known := map[string]bool{}
	for _, f := range fields {
		known[f[0]] = true
		for n := 0; n < len(changes); n += 2 {
			if changes[n] == f[0] {
				f[1] = changes[n+1]
			}
		}
		if f[1] != "-" {
			b.WriteString(f[0] + ": " + f[1] + "\n")
		}
	}
	for n := 0; n < len(changes); n += 2 {
		if !known[changes[n]] {
			b.WriteString(changes[n] + ": " + changes[n+1] + "\n")
		}
	}
	return b.String()
}

func TestParse_Fields(t *testing.T) {
	ref := "/nix/store/" + otherBase
	for _, c := range []struct {
		name, text string
		check      func(i *narinfo.Info) bool
	}{
		{"as it is", text(), func(i *narinfo.Info) bool {
			return i.FileSize == 451 && i.NarSize == 2496 && len(i.References) == 0 && len(i.Signatures) == 1 && i.CA == "" && i.System == ""
		}},
		{"only what must be", text("Compression", "-", "FileHash", "-", "FileSize", "-", "References", "-", "Deriver", "-", "Sig", "-"), func(i *narinfo.Info) bool {
			return i.Compression == "bzip2" && i.FileHash.IsZero() && i.FileSize == -1 && i.Deriver == "" && i.Signatures == nil
		}},
		{"empty compression", text("Compression", ""), func(i *narinfo.Info) bool { return i.Compression == "bzip2" }},
		{"compression nobody knows", text("Compression", "zpaq"), func(i *narinfo.Info) bool { return i.Compression == "zpaq" }},
		{"FileSize 0 is none", text("FileSize", "0"), func(i *narinfo.Info) bool { return i.FileSize == -1 }},
		{"sizes up to 2^63-1", text("FileSize", "9223372036854775807", "NarSize", "9223372036854775807"), func(i *narinfo.Info) bool {
			return i.FileSize == 1<<63-1 && i.NarSize == 1<<63-1
		}},
		{"self reference", text("References", selfBase), func(i *narinfo.Info) bool {
			return len(i.References) == 1 && i.References[0] == i.StorePath
		}},
		{"references twice, unsorted, with many spaces", text("References", " "+otherBase+"  "+selfBase+" "+otherBase+" "), func(i *narinfo.Info) bool {
			return len(i.References) == 2 && i.References[0] == i.StorePath && i.References[1].String() == ref
		}},
		{"other store", text("StorePath", "/gnu/store/"+selfBase, "References", otherBase), func(i *narinfo.Info) bool {
			return i.References[0].String() == "/gnu/store/"+otherBase
		}},
		{"unknown fields", text("Future", "a: b", "sig", "x", "Sig2", "y", "NARHASH", "z"), func(i *narinfo.Info) bool { return len(i.Signatures) == 1 }},
		{"unknown field twice", text("Future", "1", "Future", "2"), func(i *narinfo.Info) bool { return true }},
		{"unknown field, not UTF-8", text("Future", "\xff\xfe"), func(i *narinfo.Info) bool { return true }},
		{"CA", text("CA", "fixed:r:sha256:1k2pklb9npmjya67cna1p5fcw425spacyiwn3mygp4yfkfkbcbvq"), func(i *narinfo.Info) bool {
			return i.CA == "fixed:r:sha256:1k2pklb9npmjya67cna1p5fcw425spacyiwn3mygp4yfkfkbcbvq"
		}},
		{"FileHash as SRI", text("FileHash", "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="), func(i *narinfo.Info) bool {
			return i.FileHash.Hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
		}},
		{"signature of another kind", text("Sig", "future-1:AAAA"), func(i *narinfo.Info) bool {
			return i.Signatures[0].Name == "future-1" && len(i.Signatures[0].Bytes) == 3
		}},

		{"URL in the cache's top", text("URL", "x.nar"), func(i *narinfo.Info) bool { return i.URL == "x.nar" }},
		{"URL with a query", text("URL", "nar/x.nar?hash=0i1z"), func(i *narinfo.Info) bool { return i.URL == "nar/x.nar?hash=0i1z" }},
		{"URL with a query that has dots and slashes", text("URL", "nar/x.nar?a=../b:c"), func(i *narinfo.Info) bool { return true }},
		{"URL percent-encoded, as Guix'", text("URL", "nar/gzip/"+selfBase+"-gtk%2B-3"), func(i *narinfo.Info) bool { return strings.Contains(i.URL, "%2B") }},
		{"URL with a colon behind a slash", text("URL", "nar/a:b"), func(i *narinfo.Info) bool { return true }},
		{"URL with dots in names", text("URL", "nar/..x/...y/.z"), func(i *narinfo.Info) bool { return true }},
	} {
		i, err := narinfo.Parse([]byte(c.text))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if !c.check(i) {
			t.Errorf("%s: got %+v", c.name, i)
		}
	}
}

func TestParse_Refuses(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"StorePath missing", text("StorePath", "-"), "narinfo: StorePath missing"},
		{"URL missing", text("URL", "-"), "narinfo: URL missing"},
		{"NarHash missing", text("NarHash", "-"), "narinfo: NarHash missing"},
		{"NarSize missing", text("NarSize", "-"), "narinfo: NarSize missing"},
		{"nothing but a newline", "\n", `line 1: want "Field: value", found ""`},
		{"empty line at the end", text() + "\n", `line 11: want "Field: value", found ""`},
		{"line without colon", text() + "nonsense\n", `line 11: want "Field: value", found "nonsense"`},
		{"HTML", "<!DOCTYPE html>\n<html>\n", `line 1: want "Field: value", found "<!DOCTYPE html>"`},
		{"JSON", `{"StorePath": "/nix/store"}` + "\n", "StorePath missing"},
		{"cut in a field's name", text() + "Si", "line 11: want a newline at the end"},
		{"no space behind the colon", strings.Replace(text(), "NarSize: ", "NarSize:", 1), "line 7: want a space behind the first colon, found \"NarSize:"},
		{"no space, no value", strings.Replace(text(), "References: ", "References:", 1), "line 8: want a space behind the first colon, found \"References:\""},
		{"tab behind the colon", strings.Replace(text(), "NarSize: ", "NarSize:\t", 1), "line 7: want a space behind the first colon, found \"NarSize:"},
		{"space before the colon", strings.Replace(text(), "NarSize: ", "NarSize : ", 1), "NarSize missing"},
		{"two spaces", strings.Replace(text(), "NarSize: ", "NarSize:  ", 1), "want a number of bytes"},
		{"carriage return in one line", strings.Replace(text(), "2496\n", "2496\r\n", 1), "line 7: want lines that end in a newline only"},
		{"carriage return in an unknown field", text("Future", "x\r"), "want lines that end in a newline only"},
		{"escape in a field's name", "\x1b[31m:x\n", `found "\x1b[31m:x"`},
		{"escape in a field's name, NUL", "\x1b[31m: \x00\n", `"\x1b[31m": found a NUL`},
		{"NUL", text("Future", "x\x00"), "\"Future\": found a NUL"},

		{"StorePath twice", text() + "StorePath: /nix/store/" + selfBase + "\n", "line 11: StorePath: given again after line 1"},
		{"URL twice, the second without compression", text() + "URL: x\n", `no Compression of the URL "x"`},
		{"URL twice, the first without compression", text("Compression", "-") + "URL: x\nCompression: xz\n", "no Compression of the URL"},
		{"URL twice, not in front", "Compression: xz\n" + text("Compression", "-") + "URL: x\n", "URL: given again after line 3"},
		{"Compression twice in the second file", text() + "URL: x\nCompression: xz\nCompression: gzip\n", "Compression: given again after line 12"},
		{"17 files", text() + strings.Repeat("URL: x\nCompression: xz\n", 16), "want at most 16"},
		{"Compression twice", text() + "Compression: xz\n", "Compression: given again"},
		{"FileHash twice", text() + "FileHash: " + hashOfFile + "\n", "FileHash: given again"},
		{"NarSize twice", text() + "NarSize: 1\n", "NarSize: given again"},
		{"References twice", text() + "References: " + otherBase + "\n", "References: given again"},
		{"CA twice", text() + "CA: text:a\nCA: text:b\n", "CA: given again"},

		{"StorePath empty", text("StorePath", ""), "StorePath: store path"},
		{"StorePath is a base name", text("StorePath", selfBase), "want an absolute path"},
		{"StorePath below the path", text("StorePath", "/nix/store/"+selfBase+"/bin"), "StorePath: store path"},
		{"StorePath with ..", text("StorePath", "/nix/store/../"+selfBase), `the component ".."`},

		{"NarHash empty", text("NarHash", ""), "NarHash: hash"},
		{"NarHash without algorithm", text("NarHash", hashOfNAR[7:]), "NarHash: hash"},
		{"NarHash of SHA-512", text("NarHash", "sha512:"+strings.Repeat("0", 103)), "NarHash: hash"},
		{"NarHash with a space behind", text("NarHash", hashOfNAR+" "), "NarHash: hash"},
		{"FileHash broken", text("FileHash", hashOfFile[:30]), "FileHash: hash"},

		{"NarSize 0", text("NarSize", "0"), "NarSize: want a size above 0, found 0"},
		{"NarSize 000", text("NarSize", "000"), "NarSize: want a size above 0, found 0"},
		{"NarSize empty", text("NarSize", ""), "NarSize: want a number of bytes"},
		{"NarSize negative", text("NarSize", "-1"), `NarSize: want a number of bytes, found "-1"`},
		{"NarSize with plus", text("NarSize", "+1"), "NarSize: want a number of bytes"},
		{"NarSize in hex", text("NarSize", "0x10"), "NarSize: want a number of bytes"},
		{"NarSize with underscore", text("NarSize", "1_000"), "NarSize: want a number of bytes"},
		{"NarSize with a point", text("NarSize", "1.5"), "NarSize: want a number of bytes"},
		{"NarSize 2^63", text("NarSize", "9223372036854775808"), "NarSize: want a number of bytes below 2^63"},
		{"NarSize 2^64+1", text("NarSize", "18446744073709551617"), "NarSize: want a number of bytes below 2^63"},
		{"FileSize broken", text("FileSize", "451 "), "FileSize: want a number of bytes"},

		{"reference with directory", text("References", "/nix/store/"+otherBase), "References: base name"},
		{"reference with ..", text("References", "../"+otherBase), "References: base name"},
		{"reference too short", text("References", "glibc"), "References: base name"},
		{"references with tab", text("References", otherBase+"\t"+selfBase), "References: base name"},
		{"references with comma", text("References", otherBase+","+selfBase), "References: base name"},

		{"deriver with directory", text("Deriver", "/nix/store/"+selfBase+".drv"), "Deriver: base name"},
		{"System with spaces", text("System", "x86_64 linux"), "System: want printable ASCII"},
		{"System with escape", text("System", "\x1b[31m"), "System: want printable ASCII"},
		{"Compression with escape", text("Compression", "\x1b[31m"), "Compression: want printable ASCII"},
		{"CA with spaces", text("CA", "fixed r"), "CA: want printable ASCII"},

		{"Sig without colon", text("Sig", "strata-web-1"), "Sig: want name:base64, found no colon"},
		{"Sig without name", text("Sig", ":AAAA"), "Sig: want name:base64, found no printable name"},
		{"Sig without bytes", text("Sig", "strata-web-1:"), "Sig: want name:base64, found nothing behind the colon"},
		{"Sig with spaces in the name", text("Sig", "a b:AAAA"), "found no printable name"},
		{"Sig, not base64", text("Sig", "strata-web-1:!!!!"), "illegal base64"},

		{"URL empty", text("URL", ""), "URL: want a path relative to the cache, found none"},
		{"URL absolute path", text("URL", "/etc/passwd"), "URL: want a path that stays in the cache"},
		{"URL with host", text("URL", "//evil.example/x"), "want a path that stays in the cache"},
		{"URL http", text("URL", "http://evil.example/x"), "found one with a scheme or host"},
		{"URL file", text("URL", "file:///etc/passwd"), "found one with a scheme or host"},
		{"URL scheme only", text("URL", "data:,x"), "found one with a scheme or host"},
		{"URL ..", text("URL", "../x"), `the component ".."`},
		{"URL .. inside", text("URL", "nar/../../x"), `the component ".."`},
		{"URL .. at the end", text("URL", "nar/.."), `the component ".."`},
		{"URL .. encoded", text("URL", "nar/%2e%2E/x"), `the component "%2e%2E"`},
		{"URL half encoded", text("URL", ".%2e/x"), `the component ".%2e"`},
		{"URL slash encoded", text("URL", "nar/..%2f..%2fx"), "an encoded slash"},
		{"URL backslash", text("URL", `nar\..\x`), "without # and"},
		{"URL backslash encoded", text("URL", "nar/..%5cx"), "an encoded slash, backslash or NUL"},
		{"URL NUL encoded", text("URL", "nar/x%00.nar"), "an encoded slash, backslash or NUL"},
		{"URL bad encoding", text("URL", "nar/%zz"), "invalid URL escape"},
		{"URL dot", text("URL", "./x"), `the component "."`},
		{"URL double slash", text("URL", "nar//x"), `the component ""`},
		{"URL slash at the end", text("URL", "nar/"), `the component ""`},
		{"URL query only", text("URL", "?x"), `the component ""`},
		{"URL fragment", text("URL", "nar/x#y"), "without # and"},
		{"URL with space", text("URL", "nar/a b"), "want printable ASCII without spaces"},
		{"URL with control character", text("URL", "nar/a\x1b[0m"), "want printable ASCII"},
		{"URL not ASCII", text("URL", "nar/\u00e9"), "want printable ASCII"},
	} {
		i, err := narinfo.Parse([]byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: want an error with %q, got %v", c.name, c.want, err)
		}
		if err != nil && (i != nil || len(err.Error()) > 600 || strings.ContainsAny(err.Error(), "\x00\r\n\x1b")) {
			t.Errorf("%s: want nothing beside the error, and that short and printable; got %v, %q", c.name, i, err)
		}
	}
}

func TestParse_Bounded(t *testing.T) {
	if _, err := narinfo.Parse(make([]byte, narinfo.MaxSize+1)); err != narinfo.ErrTooLong {
		t.Errorf("want ErrTooLong, got %v", err)
	}
	// As long as it may be, and most of it one line.
	b := text("References", strings.Repeat(otherBase+" ", (narinfo.MaxSize-len(text()))/len(otherBase+" ")))
	if len(b) > narinfo.MaxSize || len(b) < narinfo.MaxSize-1000 {
		t.Fatalf("the test's narinfo has %d bytes", len(b))
	}
	i, err := narinfo.Parse([]byte(b))
	if err != nil || len(i.References) != 1 {
		t.Errorf("want one reference, got %v", err)
	}
	for _, b := range []string{strings.Repeat("x", narinfo.MaxSize), strings.Repeat("x", 1<<20) + "\n", text("URL", strings.Repeat("/", 1<<20)), text("Sig", strings.Repeat("A", 1<<20)), text("References", strings.Repeat("x", 1<<20)), text("Deriver", strings.Repeat("x", 1<<20)), strings.Repeat("x", 1<<20) + ":\n"} {
		if _, err := narinfo.Parse([]byte(b)); err == nil || len(err.Error()) > 1000 {
			t.Errorf("want a short error for a long line %.20q", b)
		}
	}
}

// What Parse takes is sound whatever the bytes.
func FuzzParse(f *testing.F) {
	f.Add([]byte(text()))
	f.Add([]byte(text("References", otherBase+" "+selfBase, "CA", "text:sha256:x", "System", "x86_64-linux")))
	f.Add([]byte(text("URL", "nar/%2e%2e/x")))
	f.Add([]byte(readFile(f, testdata, "bad", "18-crlf-narinfo", "b98q5m2slr7qxp7xj3wn2a30fqnam057.narinfo")))
	k := key(f, "strata-web-1")
	f.Fuzz(func(t *testing.T, b []byte) {
		i, err := narinfo.Parse(b)
		if err != nil {
			return
		}
		if i.NarSize <= 0 || i.FileSize == 0 || i.FileSize < -1 || i.URL == "" || i.Compression == "" {
			t.Fatalf("%q: got %+v", b, i)
		}
		if strings.HasPrefix(i.URL, "/") || strings.Contains(i.URL, "://") && !strings.Contains(i.URL, "?") && !strings.Contains(strings.SplitN(i.URL, "://", 2)[0], "/") {
			t.Fatalf("%q leads out of the cache", i.URL)
		}
		for n, r := range i.References {
			if r.Dir() != i.StorePath.Dir() || n > 0 && i.References[n-1] >= r {
				t.Fatalf("references %v", i.References)
			}
		}
		if by, _, err := i.VerifiedBy([]narinfo.PublicKey{k}); err == nil && !strings.Contains(i.Fingerprint(), selfBase) {
			t.Fatalf("%q is verified by %s", b, by)
		}
		// Written as Nix writes it, it says the same.
		if !i.FileHash.IsZero() && i.FileSize > 0 {
			again, err := narinfo.Parse([]byte(spell(i)))
			if err != nil || again.Fingerprint() != i.Fingerprint() || again.URL != i.URL {
				t.Fatalf("%q: spelled again it is %+v, %v", b, again, err)
			}
		}
	})
}
