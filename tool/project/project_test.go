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

// forms has each form of a root, of channels and of mirrors.
const forms = `{
  "caches": [{"url": "https://cache.example.org", "mirrors": ["https://m.example.org/nix/", "file:../mirror"]}],
  "public_keys": ["` + key + `"],
  "systems": ["x86_64-linux", "aarch64-linux"],
  "channels": {
    "stable": "https://channels.example.org/stable/store-paths.xz",
    "own": {"x86_64-linux": "file:x86.txt"}
  },
  "roots": {
    "a": {"package": "nginx", "channel": "stable"},
    "b": {"aarch64-linux": {"package": "openssl.bin", "channel": "stable"}, "x86_64-linux": {"package": "python3Packages.six", "output": "dist", "channel": "own"}},
    "c": {"x86_64-linux": {"file": "result.json"}, "aarch64-linux": {"file": "/tmp/a b", "output": "dev", "name": "app-1.0"}},
    "d": {"x86_64-linux": "` + web + `", "aarch64-linux": {"package": "web-1.0", "channel": "stable", "output": "out"}}
  }
}`

func TestParse_Forms(t *testing.T) {
	p, err := Parse([]byte(forms))
	if err != nil {
		t.Fatal(err)
	}
	wantCaches := []Cache{{URL: "https://cache.example.org", Mirrors: []string{"https://m.example.org/nix", "file:../mirror"}}}
	if !reflect.DeepEqual(p.Caches, wantCaches) {
		t.Errorf("caches %v, want %v", p.Caches, wantCaches)
	}
	const stable = "https://channels.example.org/stable/store-paths.xz"
	wantChannels := []Channel{
		{"own", map[string]string{"x86_64-linux": "file:x86.txt"}},
		{"stable", map[string]string{"x86_64-linux": stable, "aarch64-linux": stable}},
	}
	if !reflect.DeepEqual(p.Channels, wantChannels) {
		t.Errorf("channels %v, want %v", p.Channels, wantChannels)
	}
	var got []string
	for _, r := range p.Roots {
		text := r.Name + " " + r.System + ": "
		switch {
		case r.Package != nil:
			url, err := p.ListURL(r)
			if err != nil {
				t.Error(err)
			}
			text += r.Package.String() + " in " + url
		case r.File != nil:
			text += r.File.FileIn("images") + " " + r.File.Output + " " + r.File.Name
		default:
			text += r.Path.String()
		}
		got = append(got, text)
	}
	want := []string{
		"a aarch64-linux: nginx in " + stable,
		"a x86_64-linux: nginx in " + stable,
		"b aarch64-linux: openssl^bin in " + stable,
		"b x86_64-linux: python3Packages.six^dist in file:x86.txt",
		"c aarch64-linux: /tmp/a b dev app-1.0",
		"c x86_64-linux: images/result.json  ",
		"d aarch64-linux: web-1.0^out in " + stable,
		"d x86_64-linux: " + web,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got roots\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if p.StoreDir() != "/nix/store" {
		t.Errorf("got the store directory %s", p.StoreDir())
	}
}

func TestParse_FormsRefuses(t *testing.T) {
	for _, tc := range []struct{ name, old, new, want string }{
		{"a mirror with a password", "https://m.", "https://me:hunter2@m.", "line 2, column 63: caches[0].mirrors[0]: https://***@m.example.org/nix: want a URL without user and password, which belong into ~/.netrc"},
		{"a mirror with a query", "/nix/", "/nix?token=hunter2", "caches[0].mirrors[0]: https://m.example.org/nix?***: want a cache's URL without query"},
		{"a mirror twice", "file:../mirror", "https://m.example.org/nix", "caches[0].mirrors[1]: https://m.example.org/nix is the cache itself, or listed twice"},
		{"the cache as its mirror", "file:../mirror", "https://cache.example.org/", "caches[0].mirrors[1]: https://cache.example.org is the cache itself"},
		{"a mirror that isn't a URL", "file:../mirror", "../mirror", "caches[0].mirrors[1]: \"../mirror\": want a URL"},
		{"a channel with a password", "https://channels.", "https://me:hunter2@channels.", "line 6, column 15: channels.stable: https://***@channels"},
		{"a channel that is a folder", "store-paths.xz", "", "channels.stable: https://channels.example.org/stable/: want the URL of the list itself"},
		{"an endless channel", "store-paths.xz", strings.Repeat("x", 2048), "channels.stable: the URL is longer than 2048 bytes"},
		{"a channel's name", `"stable": "h`, `"a/b": "h`, `channels["a/b"]: channel name "a/b": want 1 to 128 letters`},
		{"a channel of no such system", `{"x86_64-linux": "file:x86.txt"}`, `{"i686-linux": "file:x86.txt"}`, `channels.own["i686-linux"]: the system i686-linux is not among the systems`},
		{"a channel that is a list", `{"x86_64-linux": "file:x86.txt"}`, `["file:x86.txt"]`, "channels.own: want an object, found a list"},
		{"no channel of that name", `"nginx", "channel": "stable"`, `"nginx", "channel": "stale"`, `line 10, column 10: roots.a: channel "stale" is not among the channels: stable, own`},
		{"one of several channels", `"nginx", "channel": "stable"`, `"nginx"`, `roots.a: say in which channel to look the package up: "channel": one of stable, own`},
		{"a channel without that system", `"nginx", "channel": "stable"`, `"nginx", "channel": "own"`, `roots.a: channel own has no list for aarch64-linux`},
		{"a package that is none", `"nginx"`, `"a b"`, `line 10, column 22: roots.a.package: package "a b": illegal character ' '`},
		{"two outputs", `"openssl.bin"`, `"openssl.bin", "output": "dev"`, `line 11, column 28: roots.b["aarch64-linux"]: package names the output bin, and output dev; keep one`},
		{"an output that is none", `"output": "dist"`, `"output": ""`, `roots.b["x86_64-linux"].output: the output has no name; write "out"`},
		{"package and file", `"package": "nginx"`, `"package": "nginx", "file": "x"`, `roots.a.package: unknown field; known are file, output, name`},
		{"an unknown field", `"package": "nginx"`, `"package": "nginx", "version": "1"`, `roots.a.version: unknown field; known are package, output, channel`},
		{"a form in a form", `{"file": "result.json"}`, `{"x86_64-linux": "` + web + `"}`, `roots.c["x86_64-linux"]["x86_64-linux"]: unknown field; known are package, output, channel`},
		{"a root that is a list", `{"file": "result.json"}`, `["` + web + `"]`, `roots.c["x86_64-linux"]: want an object, found a list`},
		{"a root that is nothing", `{"file": "result.json"}`, `null`, `roots.c["x86_64-linux"]: want an object, found null`},
		{"a root that is a number", `{"package": "nginx", "channel": "stable"}`, `7`, `roots.a: want an object, found a number`},
		{"no file", `"result.json"`, `""`, `roots.c["x86_64-linux"].file: file "": want the name of a file`},
		{"a file's name of two lines", `"result.json"`, `"a\nb"`, `want the name of a file`},
		{"a name of two lines", `"app-1.0"`, `"a\nb"`, `roots.c["aarch64-linux"].name: name "a\nb": want the name of a store path`},
		{"a file for all systems", `{"x86_64-linux": {"file": "result.json"}, "aarch64-linux": {"file": "/tmp/a b", "output": "dev", "name": "app-1.0"}}`, `{"file": "x"}`, `line 12, column 10: roots.c: want an object such as {"x86_64-linux": …, "aarch64-linux": …}: what a file names is of one system, and there are 2`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			changed := strings.Replace(forms, tc.old, tc.new, 1)
			if changed == forms {
				t.Fatal("the case changes nothing")
			}
			_, err := Parse([]byte(changed))
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
	noChannel := strings.Replace(minimal, `"`+web+`"`, `{"package": "nginx"}`, 1)
	if _, err := Parse([]byte(noChannel)); err == nil || !strings.Contains(err.Error(), `line 5, column 20: roots.web: there is no channel to look the package up in; add "channels": {`) {
		t.Errorf("no channel: error %v", err)
	}
	// A root by package that flags or code have put together is checked, too.
	p := &Project{Caches: []Cache{{URL: "file:x", AllowUnsigned: true}}, Systems: []string{"x86_64-linux"}, MaxLayers: 1, Roots: []Root{{Name: "a", System: "x86_64-linux", Package: new(Package)}}}
	if err := p.Check(); err == nil || !strings.Contains(err.Error(), "roots: a: there is no channel") {
		t.Errorf("error %v", err)
	}
}

func TestParseRoot(t *testing.T) {
	for s, want := range map[string]Root{
		"web=" + web:     {Path: web},
		"web=@a=b.json":  {File: &File{Path: "a=b.json"}},
		"web=/nix/store": {},
		"web":            {},
		"a/b=" + web:     {},
		"web=a b":        {},
		"web=":           {},
	} {
		got, err := ParseRoot(s, "x86_64-linux")
		if want == (Root{}) {
			if err == nil {
				t.Errorf("%s is taken", s)
			}
			continue
		}
		want.Name, want.System = "web", "x86_64-linux"
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v", s, got, err)
		}
	}
	if got, err := ParseRoot("web=nginx-1.26.3", "x86_64-linux"); err != nil || got.Package == nil || got.Package.String() != "nginx-1.26.3" {
		t.Errorf("got %+v, %v", got, err)
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
		{"unknown strategy", `"roots"`, `"layering": {"strategy": "x"}, "roots"`, `layering.strategy: "x": want one of fleet, auto`},
		{"layer cost", `"roots"`, `"layering": {"layer_cost": -1}, "roots"`, "layering.layer_cost: -1: want 0 to 1073741824 bytes"},
		{"group of nothing", `"roots"`, `"layering": {"groups": [{"name": "x"}]}, "roots"`, "layering.groups[0]: want one of packages and below"},
		{"group of both", `"roots"`, `"layering": {"groups": [{"name": "x", "packages": ["a"], "below": "b"}]}, "roots"`, "layering.groups[0]: want one of packages and below"},
		{"no pattern", `"roots"`, `"layering": {"groups": [{"name": "x", "packages": ["[a"]}]}, "roots"`, `layering.groups[0]: "[a" is no pattern`},
		{"group twice", `"roots"`, `"layering": {"groups": [{"name": "x", "below": "b"}, {"name": "x", "below": "c"}]}, "roots"`, `layering: groups: "x": want a name for each group, each once`},
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
		{`"(public-key)"`, "", "public_keys[0]: public key: want (public-key (KIND …))"},
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
	f.Add([]byte(forms))
	f.Add([]byte(`{"caches":[{"url":"file:c","allow_unsigned":true,"mirrors":["file:m"]}],"systems":["x86_64-linux"],"channels":{"c":"file:l"},"roots":{"a":{"package":"b"},"c":{"file":"d"}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Parse(b)
		if err != nil {
			return
		}
		if err := p.Check(); err != nil {
			t.Fatal(err)
		}
		for _, r := range p.Roots {
			forms := 0
			if r.Path != "" {
				forms++
				if r.Path.Dir() != p.StoreDir() {
					t.Fatalf("root %+v", r)
				}
			}
			if r.File != nil {
				forms++
			}
			if r.Package != nil {
				forms++
				url, err := p.ListURL(r)
				if again, err2 := ParseChannelURL(url); err != nil || err2 != nil || again != url {
					t.Fatalf("root %+v: list %q, %v, %v", r, url, err, err2)
				}
			}
			if CheckRootName(r.Name) != nil || forms != 1 {
				t.Fatalf("root %+v", r)
			}
		}
		for _, c := range p.Caches {
			if again, err := ParseCacheURL(c.URL); err != nil || again != c.URL {
				t.Fatalf("cache %q becomes %q, %v", c.URL, again, err)
			}
			for _, m := range c.Mirrors {
				if again, err := ParseMirrorURL(m); err != nil || again != m || m == c.URL {
					t.Fatalf("mirror %q becomes %q, %v", m, again, err)
				}
			}
		}
	})
}
