package project

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const (
	key  = "strata-web-1:f3mF6lUioKmEsF3TziQjGjlDqBeyG+WYPjOdFzlhmBU="
	web  = "/nix/store/dr6a8bs5f2hyww3awb6nnhxlg3qvfdhr-web-1.0"
	bash = "/nix/store/xznc9l6ppin9j93x7xsvaba3qkn46hwr-bash-5.2.15"
)

func TestParse(t *testing.T) {
	p, err := Parse([]byte(`{
  "systems": ["x86_64-linux", "aarch64-linux"],
  "roots": {
    "web": {"x86_64-linux": "` + web + `", "aarch64-linux": "` + bash + `"},
    "Bash_5.2-x": {"x86_64-linux": "` + bash + `"}
  },
  "public_keys": ["` + key + `"],
  "caches": ["file:../../testdata/web/cache/", {"url": "https://cache.example.org"}, {"url": "file:///", "allow_unsigned": true}],
  "layering": {"max_layers": 125}
}`))
	if err != nil {
		t.Fatal(err)
	}
	wantCaches := []Cache{{URL: "file:../../testdata/web/cache"}, {URL: "https://cache.example.org"}, {URL: "file:///", AllowUnsigned: true}}
	if !reflect.DeepEqual(p.Caches, wantCaches) {
		t.Errorf("caches %v, want %v", p.Caches, wantCaches)
	}
	wantRoots := []Root{
		{Name: "Bash_5.2-x", System: "x86_64-linux", Path: bash},
		{Name: "web", System: "aarch64-linux", Path: bash},
		{Name: "web", System: "x86_64-linux", Path: web},
	}
	if !reflect.DeepEqual(p.Roots, wantRoots) {
		t.Errorf("roots %v, want %v", p.Roots, wantRoots)
	}
	if len(p.PublicKeys) != 1 || p.PublicKeys[0].String() != key || p.MaxLayers != 125 || p.StoreDir() != "/nix/store" {
		t.Errorf("got %+v", p)
	}
}

// minimal is the shortest project file, which the cases below change in one place.
const minimal = `{
  "caches": ["file:cache"],
  "public_keys": ["` + key + `"],
  "systems": ["x86_64-linux"],
  "roots": {"web": "` + web + `"}
}`

func TestParse_Minimal(t *testing.T) {
	p, err := Parse([]byte(minimal))
	if err != nil {
		t.Fatal(err)
	}
	if p.MaxLayers != 64 || !reflect.DeepEqual(p.Roots, []Root{{Name: "web", System: "x86_64-linux", Path: web}}) {
		t.Errorf("got %+v", p)
	}
}

func TestParse_Refuses(t *testing.T) {
	for _, tc := range []struct{ name, old, new, want string }{
		{"not JSON", `],`, `]`, `line 3, column 3: invalid character '"'`},
		{"unknown field", `"roots"`, `"rots"`, "line 5, column 11: rots: unknown field; known are caches, public_keys, systems, channels, roots, layering"},
		{"missing field", `"caches": ["file:cache"],`, ``, "line 1, column 1: caches is missing"},
		{"no cache", `"file:cache"`, ``, "caches: want at least one"},
		{"a path for a URL", `file:cache`, `../cache`, "line 2, column 14: caches[0]: \"../cache\": want a URL (file:, http: or https:); write file:../cache for a path"},
		{"a scheme of Nix", `file:cache`, `s3://bucket`, `caches[0]: s3://bucket: the scheme "s3" is not known`},
		{"a query of Nix", `file:cache`, `https://cache.example.org?priority=1`, "without query and fragment"},
		{"cache twice", `"file:cache"`, `"file:cache/", {"url": "file:cache"}`, "caches: file:cache is listed twice"},
		{"unknown field of a cache", `"file:cache"`, `{"url": "file:cache", "unsigned": true}`, "caches[0].unsigned: unknown field; known are url, allow_unsigned, mirrors"},
		{"leave as a string", `"file:cache"`, `{"url": "file:cache", "allow_unsigned": "yes"}`, "caches[0].allow_unsigned: want true or false, found a string"},
		{"no key", `"` + key + `"`, ``, "public_keys: want the key of who signs for file:cache"},
		{"malformed key", key, `strata-web-1:AAAA`, `line 3, column 19: public_keys[0]: public key "strata-web-1": want 32 bytes, found 3`},
		{"no system", `["x86_64-linux"]`, `[]`, "roots.web: no system is listed that the root could be for"},
		{"two systems", `["x86_64-linux"]`, `["x86_64-linux", "aarch64-linux"]`, "line 5, column 20: roots.web: want an object"},
		{"system twice", `["x86_64-linux"]`, `["x86_64-linux", "x86_64-linux"]`, "systems[1]: x86_64-linux is listed twice"},
		{"unknown system", `["x86_64-linux"]`, `["amd64"]`, `systems[0]: system "amd64": no container platform is known for it`},
		{"one platform by two names", `["x86_64-linux"],
  "roots": {"web": "` + web + `"}`, `["armhf-linux", "x86_64-linux", "armv7l-linux"], "roots": {"web": {"x86_64-linux": "` + web + `"}}`, "systems: armhf-linux and armv7l-linux are the same platform"},
		{"root named after a package", `"web"`, `"path"`, `roots.path: root name "path": a lock's repository has something else of that name`},
		{"root named after a file", `"web"`, `"BUILD.bazel"`, `root name "BUILD.bazel": a lock's repository has something else`},
		{"root named after a system", `"web"`, `"aarch64-linux"`, `root name "aarch64-linux": a lock's repository has something else`},
		{"no root", `"web": "` + web + `"`, ``, "roots: want at least one"},
		{"root without a path", `"web": "` + web + `"`, `"web": {}`, "roots.web: the root has no store path"},
		{"name of a root", `"web"`, `"-web"`, `root name "-web": want letters, digits and . _ -`},
		{"no name of a root", `"web"`, `""`, `root name "": want 1 to 128 characters`},
		{"slash in a root's name", `"web"`, `"a/web"`, `root name "a/web"`},
		{"root no store path", web, "/nix/store/web", `line 5, column 20: roots.web: store path "/nix/store/web"`},
		{"root below a store path", web, web + "/bin/web", `roots.web: store path`},
		{"root of another system", `"` + web + `"`, `{"aarch64-linux": "` + web + `"}`, `roots.web["aarch64-linux"]: the system aarch64-linux is not among the systems: x86_64-linux`},
		{"two stores", `"` + web + `"`, `"` + web + `", "guix": "/gnu/store/xznc9l6ppin9j93x7xsvaba3qkn46hwr-bash-5.2.15"`, "roots.guix: the roots must be of one store directory: web is in /nix/store, guix in /gnu/store"},
		{"root twice", `"` + web + `"`, `"` + web + `", "web": "` + bash + `"`, `"web" is there twice`},
		{"no layers", `"roots"`, `"layering": {"max_layers": 0}, "roots"`, "layering.max_layers: 0: want 1 to 125"},
		{"too many layers", `"roots"`, `"layering": {"max_layers": 126}, "roots"`, "layering.max_layers: 126: want 1 to 125"},
		{"far too many layers", `"roots"`, `"layering": {"max_layers": 4294967300}, "roots"`, "layering.max_layers: 4294967300: want 1 to 125"},
		{"unknown strategy", `"roots"`, `"layering": {"strategy": "x"}, "roots"`, "layering.strategy: unknown field"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			changed := strings.Replace(minimal, tc.old, tc.new, 1)
			if changed == minimal {
				t.Fatal("the case changes nothing")
			}
			_, err := Parse([]byte(changed))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

// A public key may be in a file, beside the project file or anywhere.
func TestRead_PublicKeyFiles(t *testing.T) {
	guix, err := os.ReadFile("../../testdata/web/guix/signing-key.pub")
	if err != nil {
		t.Fatal(err)
	}
	const line = "(public-key (ecc (curve Ed25519) (q #00D10CA16288D46B7B5F390A89CD8C83F42EA289C57BCDBCD0C0E9FF61A47A8F#)))"
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "keys"), 0o777); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"keys/guix.pub": string(guix), "nix.public": key + "\n", "empty": "", "large": strings.Repeat(" ", 1<<16) + key,
		"secret": "(key-data (private-key (ecc (d #1234#))))",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct{ key, want, err string }{
		{`{"file": "keys/guix.pub"}`, "guix-key-00d10ca16288d46b:" + line, ""},
		{`{"file": "` + dir + `/keys/guix.pub", "name": "strata"}`, "strata:" + line, ""},
		{`{"file": "nix.public"}`, key, ""},
		{`"` + line + `"`, "guix-key-00d10ca16288d46b:" + line, ""},
		{`"strata:` + line + `"`, "strata:" + line, ""},
		{`{"file": "nix.public", "name": "x"}`, "", "line 3, column 19: public_keys[0]: public key file " + dir + "/nix.public: the key has a name"},
		{`{"file": "gone"}`, "", "public_keys[0]: public key file: open " + dir + "/gone: no such file"},
		{`{"file": "keys"}`, "", "public_keys[0]: public key file " + dir + "/keys: it is no regular file"},
		{`{"file": "empty"}`, "", "found no colon"},
		{`{"file": "large"}`, "", "over 65536 bytes"},
		{`{"file": "secret"}`, "", "found a secret key"},
		{`{"file": "keys/guix.pub", "name": "a b"}`, "", "printable ASCII"},
		{`{"file": "keys/guix.pub", "names": "x"}`, "", "public_keys[0].names: unknown field; known are file, name"},
		{`{"name": "x"}`, "", "public_keys[0]: file is missing"},
		{`"(public-key)"`, "", "public_keys[0]: public key: want (ecc …) in (public-key …), found none"},
	} {
		file := filepath.Join(dir, DefaultFile)
		if err := os.WriteFile(file, []byte(strings.Replace(minimal, `"`+key+`"`, tc.key, 1)), 0o666); err != nil {
			t.Fatal(err)
		}
		p, err := Read(file)
		switch {
		case tc.err != "":
			if err == nil || !strings.Contains(err.Error(), tc.err) || strings.Contains(err.Error(), "1234") {
				t.Errorf("%s: error %v, want one with %q", tc.key, err, tc.err)
			}
		case err != nil || len(p.PublicKeys) != 1 || p.PublicKeys[0].String() != tc.want:
			t.Errorf("%s: got %v, want %s", tc.key, err, tc.want)
		}
	}
}

// A cache's password and a secret key given by mistake are in no error.
func TestParse_ShowsNoSecret(t *testing.T) {
	for _, doc := range []string{
		strings.Replace(minimal, "file:cache", "https://me:hunter2@cache.example.org?x", 1),
		strings.Replace(minimal, "file:cache", "ftp://me:hunter2@cache.example.org", 1),
		strings.Replace(strings.Replace(minimal, "file:cache", "https://me:hunter2@cache.example.org", 1), `"`+key+`"`, "", 1),
		strings.Replace(minimal, key, "k:QneQBgfGei/pURDugyL86CFT9tXMpcW1i6RmpMc7f3h/eYXqVSKgqYSwXdPOJCMaOUOoF7Ib5Zg+M50XOWGYFQ==", 1),
	} {
		_, err := Parse([]byte(doc))
		if err == nil || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "QneQ") {
			t.Errorf("error %v", err)
		}
	}
}

func TestRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), DefaultFile)
	if _, err := Read(file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("no such file: error %v", err)
	}
	if err := os.WriteFile(file, []byte("{"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(file); err == nil || !strings.Contains(err.Error(), file+": line 1, column 2") {
		t.Errorf("error %v, want one with file and line", err)
	}
}

// What Parse takes holds what Check wants, and every root's name and path are well formed.
func FuzzParse(f *testing.F) {
	f.Add([]byte(minimal))
	f.Add([]byte(`{"caches":[{"url":"file:///","allow_unsigned":true}],"systems":["x86_64-linux","aarch64-linux"],"roots":{"a.b":{"x86_64-linux":"` + bash + `"}},"layering":{"max_layers":1}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Parse(b)
		if err != nil {
			return
		}
		if err := p.Check(); err != nil {
			t.Fatal(err)
		}
		for _, r := range p.Roots {
			if CheckRootName(r.Name) != nil || r.Path.Dir() != p.StoreDir() {
				t.Fatalf("root %+v", r)
			}
		}
		for _, c := range p.Caches {
			if again, err := ParseCacheURL(c.URL); err != nil || again != c.URL {
				t.Fatalf("cache %q becomes %q, %v", c.URL, again, err)
			}
		}
	})
}
