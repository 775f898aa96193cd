package lock

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rules-strata/rules_strata/tool/narinfo"
	"github.com/rules-strata/rules_strata/tool/project"
	"github.com/rules-strata/rules_strata/tool/store"
)

// small is a lock of three paths, a root of two and a root of one, with one layer that two paths share.
const small = `{
  "version": 1,
  "roots": {
    "app": {
      "aarch64-linux": "/nix/store/11111111111111111111111111111111-lib",
      "x86_64-linux": "/nix/store/00000000000000000000000000000000-app"
    },
    "other": {
      "x86_64-linux": "/nix/store/22222222222222222222222222222222-other"
    }
  },
  "caches": [
    "file:nar",
    "https://cache.example.org",
    "file:///cache"
  ],
  "paths": {
    "/nix/store/00000000000000000000000000000000-app": {
      "url": "file:nar/app.nar.xz",
      "compression": "xz",
      "file_hash": "sha256:1111111111111111111111111111111111111111111111111111111111111111",
      "file_size": 10,
      "nar_hash": "sha256:2222222222222222222222222222222222222222222222222222222222222222",
      "nar_size": 20,
      "references": [
        "00000000000000000000000000000000-app",
        "11111111111111111111111111111111-lib"
      ],
      "signature": "key-1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="
    },
    "/nix/store/11111111111111111111111111111111-lib": {
      "url": "https://cache.example.org/nar/lib.nar",
      "compression": "none",
      "file_hash": "sha256:3333333333333333333333333333333333333333333333333333333333333333",
      "file_size": 30,
      "nar_hash": "sha256:3333333333333333333333333333333333333333333333333333333333333333",
      "nar_size": 30,
      "references": [],
      "allowed_unsigned_by": "https://cache.example.org"
    },
    "/nix/store/22222222222222222222222222222222-other": {
      "url": "file:///cache/other.nar.zst",
      "compression": "zstd",
      "file_hash": "sha256:4444444444444444444444444444444444444444444444444444444444444444",
      "file_size": 4611686018427387904,
      "nar_hash": "sha256:5555555555555555555555555555555555555555555555555555555555555555",
      "nar_size": 9223372036854775807,
      "references": [],
      "signed_by": "key-2"
    }
  },
  "plan": {
    "strategy": "largest-first",
    "max_layers": 2,
    "layers": {
      "11111111111111111111111111111111-lib": [
        "11111111111111111111111111111111-lib"
      ],
      "22222222222222222222222222222222-other": [
        "22222222222222222222222222222222-other"
      ],
      "lib-and-1-more-3053b3eb": [
        "00000000000000000000000000000000-app",
        "11111111111111111111111111111111-lib"
      ]
    },
    "images": {
      "app": {
        "aarch64-linux": [
          "11111111111111111111111111111111-lib"
        ],
        "x86_64-linux": [
          "lib-and-1-more-3053b3eb"
        ]
      },
      "other": {
        "x86_64-linux": [
          "22222222222222222222222222222222-other"
        ]
      }
    }
  }
}
`

const signature = "key-1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="

// full is small with all that a lock may have.
var full = strings.NewReplacer(`"caches": [`, `"sources": {
    "app": {
      "x86_64-linux": "channel nixos-25.05: app"
    }
  },
  "caches": [`, `"paths": {`, `"mirrors": {
    "file:nar": [
      "http://inner.example.org"
    ],
    "https://cache.example.org": [
      "file:../mirror",
      "http://mirror.example.org/nix"
    ]
  },
  "paths": {`).Replace(small)

func TestParse_RoundTrip(t *testing.T) {
	l, err := Parse([]byte(small))
	if err != nil {
		t.Fatal(err)
	}
	if got := mustMarshal(t, l); string(got) != small {
		t.Errorf("got:\n%s", got)
	}
	f, err := Parse([]byte(full))
	if err != nil {
		t.Fatal(err)
	}
	if got := mustMarshal(t, f); string(got) != full {
		t.Errorf("got:\n%s", got)
	}
	if got := f.Sources["app"]["x86_64-linux"]; got != "channel nixos-25.05: app" {
		t.Errorf("source %q", got)
	}
	app := l.Paths["/nix/store/00000000000000000000000000000000-app"]
	want := []store.Path{"/nix/store/00000000000000000000000000000000-app", "/nix/store/11111111111111111111111111111111-lib"}
	if !slices.Equal(app.References, want) || app.NarSize != 20 || app.Signature != signature {
		t.Errorf("app: %+v", app)
	}
	if got := l.Closure(want[0]); !slices.Equal(got, want) {
		t.Errorf("closure %v, want %v", got, want)
	}
}

// faultyLock is small or full with one change, and what its error must say; "" if there is none.
type faultyLock struct{ name, old, new, want string }

// text is the changed lock; "" if the change changes nothing.
func (f faultyLock) text() string {
	for _, text := range []string{small, full} {
		if strings.Contains(text, f.old) {
			return strings.Replace(text, f.old, f.new, 1)
		}
	}
	return ""
}

// faultyLocks are the ways to damage or edit a lock.
func faultyLocks() []faultyLock {
	const (
		app   = "/nix/store/00000000000000000000000000000000-app"
		lib   = "11111111111111111111111111111111-lib"
		other = "22222222222222222222222222222222-other"
	)
	return []faultyLock{
		{"cut", `"plan": {`, "\x00", "line 52, column 3: invalid character"},
		{"other version", `"version": 1`, `"version": 2, "new": {}`, "line 2, column 14: version: this strata reads locks of version 1, found 2; use the release that wrote it"},
		{"no version", `"version": 1,`, ``, "line 1, column 1: version is missing"},
		{"unknown field", `"compression": "xz"`, `"compression": "xz", "x": 1`, `line 20, column 33: paths["` + app + `"].x: unknown field; known are url, compression`},
		{"no nar_hash", `"nar_hash": "sha256:2222222222222222222222222222222222222222222222222222222222222222",`, ``, `line 18, column 56: paths["` + app + `"]: nar_hash is missing`},
		{"short hash", "sha256:22222222", "sha256:2222222", `line 23, column 19: paths["` + app + `"].nar_hash: hash "sha256:22`},
		{"hash in another form", `sha256:2222222222222222222222222222222222222222222222222222222222222222`, "sha256-IiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiI=", "nar_hash: want sha256:2222222222222222222222222222222222222222222222222222222222222222, found sha256-Ii"},
		{"zero hash", strings.Repeat("2", 64), strings.Repeat("0", 64), "nar_hash: the hash is not set"},
		{"size of zero", `"nar_size": 20`, `"nar_size": 0`, "nar_size: want a number of bytes above 0, found 0"},
		{"negative size", `"file_size": 10`, `"file_size": -1`, "file_size: want a number of bytes above 0, found -1"},
		{"unknown compression", `"xz"`, `"rot13"`, "line 20, column 22: paths["},
		{"URL with a password", "https://cache.example.org/nar/lib.nar", "https://me:pw@cache.example.org/nar/lib.nar", "url: https://***@cache.example.org/nar/lib.nar: a lock holds no credentials"},
		{"URL of no known scheme", "file:nar/app.nar.xz", "nar/app.nar.xz", "url: \"nar/app.nar.xz\": want a URL"},
		{"no store path", `"` + app + `": {`, `"/nix/store/app": {`, `paths["/nix/store/app"]: store path "/nix/store/app"`},
		{"two stores", `"` + app + `": {`, `"/gnu/store/00000000000000000000000000000000-app": {`, "want paths of one store directory, found /gnu/store and /nix/store"},
		{"path twice", "/nix/store/" + other + `": {`, app + `": {`, `"` + app + `" is there twice`},
		{"reference that isn't there", `"` + lib + "\"\n      ],\n      \"signature\"", `"33333333333333333333333333333333-gone"` + "\n      ],\n      \"signature\"", `line 18, column 56: paths["` + app + `"]: references: 33333333333333333333333333333333-gone is not among the lock's paths`},
		{"reference as a whole path", `"00000000000000000000000000000000-app",`, `"` + app + `",`, "line 26, column 9: paths[\"" + app + "\"].references[0]: store path"},
		{"references out of order", `"00000000000000000000000000000000-app",
        "` + lib + `"
      ],
      "signature"`, `"` + lib + `", "00000000000000000000000000000000-app"], "signature"`, "references[1]: want base names in ascending order, each once; found 00000000000000000000000000000000-app after " + lib},
		{"reference twice", `"00000000000000000000000000000000-app",`, `"` + lib + `",`, "references[1]: want base names in ascending order, each once"},
		{"cycle", `"references": [],` + "\n      \"allowed", `"references": ["00000000000000000000000000000000-app"],` + "\n      \"allowed", "refer to each other in a circle, which no store holds: " + app + " → /nix/store/" + lib + " → " + app},
		{"nobody vouches", ",\n      \"signature\": \"" + signature + "\"", "", `paths["` + app + `"]: want one of signature, signed_by, content_addressed and allowed_unsigned_by`},
		{"signed by both", `"signature":`, `"signed_by": "key-1", "signature":`, "want one of signature, signed_by, content_addressed"},
		{"malformed signature", signature, "key-1:AAA", `paths["` + app + `"].signature: want name:base64: illegal base64`},
		{"short signature", signature, "key-1:AAAA", `paths["` + app + `"].signature: want a signature of 64 bytes, found 3`},
		{"signature of a nameless key", signature, signature[len("key-1"):], "signature: want name:base64, found no printable name"},
		{"signature with bits to spare", signature, signature[:len(signature)-3] + "B==", "signature: want name:base64: illegal base64"},
		{"signed and unsigned", `"signed_by": "key-2"`, `"signed_by": "key-2", "allowed_unsigned_by": "file:nar"`, "want one of signature, signed_by, content_addressed and allowed_unsigned_by"},
		{"signed by nobody", `"signed_by": "key-2"`, `"signed_by": ""`, "signed_by: want no empty string"},
		{"root that isn't there", `"x86_64-linux": "` + app, `"x86_64-linux": "/nix/store/33333333333333333333333333333333-gone`, "line 6, column 23: roots.app[\"x86_64-linux\"]: /nix/store/33333333333333333333333333333333-gone is not among the lock's paths"},
		{"unknown system", `"aarch64-linux": "`, `"arm64": "`, `roots.app.arm64: system "arm64": no container platform`},
		{"root without a system", "{\n      \"x86_64-linux\": \"/nix/store/" + other + "\"\n    }", "{}", "roots.other: the root has no store path"},
		{"bad root name", "\"other\": {\n      \"x86_64-linux\": \"/", "\"o/r\": {\n      \"x86_64-linux\": \"/", `root name "o/r"`},
		{"path that no root needs", ",\n    \"other\": {\n      \"x86_64-linux\": \"/nix/store/" + other + "\"\n    }", "", `line 38, column 58: paths["/nix/store/` + other + `"]: no root needs this path; lock anew`},
		{"no limit", `"max_layers": 2`, `"max_layers": 0`, "plan.max_layers: want 1 to 125, found 0"},
		{"layer that isn't there", "[\n          \"lib-and-1-more-3053b3eb\"", `["app"`, `plan.images.app["x86_64-linux"][0]: there is no layer "app" in plan.layers`},
		{"layer of an unknown path", `"lib-and-1-more-3053b3eb": [`, `"lib-and-1-more-3053b3eb": ["00000000000000000000000000000000-aaa",`, `plan.layers["lib-and-1-more-3053b3eb"]: 00000000000000000000000000000000-aaa is not among the lock's paths`},
		{"layer of nothing", `"lib-and-1-more-3053b3eb": [`, `"empty": [], "lib-and-1-more-3053b3eb": [`, "plan.layers.empty: want at least one store path"},
		{"bad layer name", `"lib-and-1-more-3053b3eb": [`, `"a/b": [`, `plan.layers["a/b"]: layer name "a/b": illegal character '/'`},
		{"layer that no image has", `"layers": {`, `"layers": {"x": ["` + lib + `"],`, "line 55, column 21: plan.layers.x: no image has this layer; lock anew"},
		{"path in two layers", "\"lib-and-1-more-3053b3eb\"\n", "\"lib-and-1-more-3053b3eb\", \"" + lib + "\"\n", "is in two layers of the image: lib-and-1-more-3053b3eb and " + lib},
		{"path in no layer", "3053b3eb\": [\n        \"00000000000000000000000000000000-app\",", "3053b3eb\": [", "plan.images.app[\"x86_64-linux\"]: " + app + " is in no layer of the image"},
		{"path of another image", "\"lib-and-1-more-3053b3eb\"\n", "\"lib-and-1-more-3053b3eb\", \"" + other + "\"\n", "/nix/store/" + other + " is in the layer " + other + ", but not in the closure of " + app},
		{"layer by another name", "lib-and-1-more-3053b3eb\": [\n        \"00000000000000000000000000000000-app\",\n        \"" + lib + "\"\n      ]\n    },\n    \"images\": {\n      \"app\": {\n        \"aarch64-linux\": [\n          \"" + lib + "\"\n        ],\n        \"x86_64-linux\": [\n          \"lib-and-1-more-3053b3eb", "lib\": [\n        \"00000000000000000000000000000000-app\",\n        \"" + lib + "\"\n      ]\n    },\n    \"images\": {\n      \"app\": {\n        \"aarch64-linux\": [\n          \"" + lib + "\"\n        ],\n        \"x86_64-linux\": [\n          \"lib", `plan.layers.lib: a layer of these paths is named "lib-and-1-more-3053b3eb"; lock anew`},
		{"more layers than the limit", `"max_layers": 2`, `"max_layers": 1`, ""},
		{"image of no root", `"images": {`, `"images": {"x": {},`, "plan.images.x: there is no such root"},
		{"image of no system", "\"other\": {\n        \"x86_64-linux\"", "\"other\": {\n        \"i686-linux\"", "plan.images.other[\"i686-linux\"]: the root has no store path for this system"},
		{"root without an image", "\"aarch64-linux\": [\n          \"" + lib + "\"\n        ],", "", "plan.images: the root app on aarch64-linux has no layers"},
		{"source of no root", "\"sources\": {\n    \"app\"", "\"sources\": {\n    \"web\"", "sources.web: there is no such root"},
		{"source of no system", "\"sources\": {\n    \"app\"", "\"sources\": {\n    \"other\": {\"aarch64-linux\": \"x\"}, \"app\"", `sources.other["aarch64-linux"]: the root has no store path for this system`},
		{"source without a system", "\"sources\": {\n    \"app\"", "\"sources\": {\n    \"other\": {}, \"app\"", "sources.other: want at least one system"},
		{"empty source", "channel nixos-25.05: app", "", `sources.app["x86_64-linux"]: want 1 to 4096 characters`},
		{"no sources", `"mirrors": {`, `"sources": {}, "mirrors": {`, `"sources" is there twice`},
		{"empty list of sources", `"paths": {`, `"sources": {}, "paths": {`, "sources: want at least one root; leave the field out"},
		{"empty list of mirrors", `"paths": {`, `"mirrors": {}, "paths": {`, "mirrors: want at least one cache; leave the field out"},
		{"cache without mirrors", `"paths": {`, `"mirrors": {"file:nar": []}, "paths": {`, `mirrors["file:nar"]: want at least one URL`},
		{"mirror twice", `"file:../mirror",`, `"file:../mirror", "file:../mirror",`, `mirrors["https://cache.example.org"][1]: file:../mirror is there twice`},
		{"mirror of itself", `"file:../mirror"`, `"https://cache.example.org"`, `https://cache.example.org is there twice`},
		{"mirror with a slash", `"file:../mirror"`, `"file:../mirror/"`, `want file:../mirror, found file:../mirror/`},
		{"mirror with a password", `"file:../mirror"`, `"http://me:pw@x"`, `http://***@x: a lock holds no credentials`},
		{"mirror of no cache", `"paths": {`, `"mirrors": {"http://x": ["http://y"]}, "paths": {`, `mirrors["http://x"]: http://x: want one of the lock's caches: file:nar, https://cache.example.org, file:///cache`},
		{"no caches", "[\n    \"file:nar\",\n    \"https://cache.example.org\",\n    \"file:///cache\"\n  ]", "[]", "caches: want at least one"},
		{"cache twice", "\"file:nar\",\n", "\"file:nar\", \"file:nar\",\n", "caches[1]: file:nar is there twice"},
		{"cache with a password", `"file:nar",` + "\n", `"http://me:pw@x",`, "caches[0]: http://***@x: a lock holds no credentials"},
		{"file of no cache", "\"file:nar\",\n", "", `paths["` + app + `"].url: file:nar/app.nar.xz: want a file of one of the lock's caches: https://cache.example.org, file:///cache`},
		{"file out of the cache", "file:nar/app.nar.xz", "file:nar/../app.nar.xz", "url: file:nar/../app.nar.xz: want a file of one of the lock's caches"},
		{"file out of the cache, encoded", "file:nar/app.nar.xz", "file:nar/x%2F..%2F..%2Fapp.nar.xz", "want a file of one of the lock's caches"},
		{"unsigned by no cache", `"allowed_unsigned_by": "https://cache.example.org"`, `"allowed_unsigned_by": "https://x"`, "allowed_unsigned_by: https://x: want one of the lock's caches"},
		{"no plan", `"plan": {`, `"plam": {`, "plam: unknown field"},
	}
}

// A lock that somebody damaged or edited is an error that says where.
func TestParse_Refuses(t *testing.T) {
	if i := strings.Index(small, `"url": "file:nar/app.nar.xz"`); strings.Count(small[:i], "\n")+1 != 19 {
		t.Fatal("the lines below are wrong")
	}
	for _, tc := range faultyLocks() {
		t.Run(tc.name, func(t *testing.T) {
			text := tc.text()
			if text == "" {
				t.Fatal("the case changes nothing")
			}
			_, err := Parse([]byte(text))
			if tc.want == "" {
				if err != nil {
					t.Errorf("error %v; the lock is right", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

// A real lock, cut or with a byte that is no character, is refused wherever that is.
func TestParse_DamagedBytes(t *testing.T) {
	golden, err := os.ReadFile("../../examples/web/strata.lock.json")
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(golden); n += 997 {
		if _, err := Parse(golden[:n]); err == nil {
			t.Errorf("cut at byte %d, it is taken", n)
		}
		damaged := slices.Clone(golden)
		damaged[n] ^= 0x80 // no character of ours
		if _, err := Parse(damaged); err == nil {
			t.Errorf("with another byte at %d, it is taken", n)
		}
	}
}

func TestRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), DefaultFile)
	if _, err := Read(file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("no such file: error %v", err)
	}
	if err := os.WriteFile(file, []byte(small[:100]), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(file); err == nil || !strings.Contains(err.Error(), "lock "+file+": line 5, column ") {
		t.Errorf("error %v, want one with file and line", err)
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, DefaultFile)
	l, err := Parse([]byte(small))
	if err != nil {
		t.Fatal(err)
	}
	if changed, err := Write(file, l); err != nil || !changed {
		t.Fatalf("changed %v, error %v", changed, err)
	}
	before, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if changed, err := Write(file, l); err != nil || changed {
		t.Errorf("the same again: changed %v, error %v", changed, err)
	}
	if after, err := os.Stat(file); err != nil || !os.SameFile(before, after) {
		t.Errorf("the file was replaced by the same: %v", err)
	}
	// What couldn't be read again isn't written.
	for _, p := range l.Paths {
		p.Signature, p.SignedBy, p.AllowedUnsignedBy = "", "", ""
	}
	if _, err := Write(file, l); err == nil || !strings.Contains(err.Error(), "not written") {
		t.Errorf("error %v", err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != small {
		t.Errorf("the lock that was there is gone: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// FindCycle finds one exactly where sorting by references can't succeed, and what it finds is one.
func TestFindCycle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 12).Draw(t, "n")
		name := func(i int) store.Path {
			return store.Path("/nix/store/" + strings.Repeat("0", 32) + "-" + string(rune('a'+i)))
		}
		paths := map[store.Path]*Path{}
		for i := range n {
			refs := rapid.SliceOfNDistinct(rapid.IntRange(0, n-1), 0, min(n, 3), rapid.ID).Draw(t, "refs")
			slices.Sort(refs)
			p := new(Path)
			for _, r := range refs {
				p.References = append(p.References, name(r))
			}
			paths[name(i)] = p
		}
		// Take away, as long as there is one, a path that refers to none but itself and those taken away.
		left := map[store.Path]bool{}
		for p := range paths {
			left[p] = true
		}
		for again := true; again; {
			again = false
			for p := range left {
				if !slices.ContainsFunc(paths[p].References, func(r store.Path) bool { return r != p && left[r] }) {
					delete(left, p)
					again = true
				}
			}
		}
		cycle := findCycle(paths)
		if (cycle != nil) != (len(left) > 0) {
			t.Fatalf("found %v; in cycles or above them: %v", cycle, left)
		}
		for i, p := range cycle {
			if next := cycle[(i+1)%len(cycle)]; next == p || !slices.Contains(paths[p].References, next) {
				t.Fatalf("%v: %s doesn't refer to %s", cycle, p, next)
			}
		}
		if again := findCycle(paths); !reflect.DeepEqual(again, cycle) {
			t.Fatalf("found %v, then %v", cycle, again)
		}
	})
}

// A chain that recursion would fall down from is walked.
func TestFindCycle_LongChain(t *testing.T) {
	const n = 200_000
	paths := make(map[store.Path]*Path, n)
	name := func(i int) store.Path {
		return store.Path("/nix/store/" + strings.Repeat("0", 32) + "-" + string(rune(i+0x10000)))
	}
	for i := range n {
		paths[name(i)] = &Path{References: []store.Path{name(i), name((i + 1) % n)}}
	}
	if cycle := findCycle(paths); len(cycle) != n {
		t.Errorf("found a cycle of %d, want %d", len(cycle), n)
	}
}

// What Parse takes, it takes again in the form that Marshal gives it, and that form stays.
func FuzzParse(f *testing.F) {
	f.Add([]byte(small))
	f.Add([]byte(full))
	for _, l := range faultyLocks() {
		f.Add([]byte(l.text()))
	}
	f.Add([]byte(strings.ReplaceAll(strings.ReplaceAll(small, "\n", ""), "  ", "")))
	f.Add([]byte(strings.ReplaceAll(small, "/nix/store", "/gnu/store")))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := Parse(b)
		if err != nil {
			return
		}
		text := mustMarshal(t, l)
		again, err := Parse(text)
		if err != nil {
			t.Fatalf("%v:\n%s", err, text)
		}
		if !reflect.DeepEqual(l, again) || !bytes.Equal(mustMarshal(t, again), text) {
			t.Fatalf("another lock comes back:\n%s", text)
		}
	})
}

// A cache's answers are hostile: no narinfo makes a lock that can't be read back, or panics.
func FuzzCheck(f *testing.F) {
	good := newTestKey(f, "good-1")
	o := newObject(f, "app", "app", "lib")
	text := strings.Join(o.lines, "\n") + "\n"
	f.Add([]byte(text))
	f.Add([]byte(text + "Sig: " + good.sign(&o.info) + "\n"))
	real, err := filepath.Glob(webData + "/*/*/*.narinfo")
	if err != nil || len(real) == 0 {
		f.Fatalf("%d narinfos, %v", len(real), err)
	}
	for i := 0; i < len(real); i += 1 + len(real)/50 {
		b, err := os.ReadFile(real[i])
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("StorePath: " + string(storePath("app")) + "\nURL: a?b\nNarHash: sha256:" + o.info.NarHash.Hex() + "\nNarSize: 1\nCompression: br\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		w, err := newWalk(Options{
			Project: projectOf(storePath("app"), []narinfo.PublicKey{good.public}, project.Cache{URL: "file:c", AllowUnsigned: true}),
			Dir:     ".", LockDir: ".",
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		p, wrong := w.check(w.caches[0], storePath("app"), b)
		if wrong != nil {
			return
		}
		if _, err := parseURL(p.URL); err != nil || !strings.HasPrefix(p.URL, "file:c/") {
			t.Fatalf("url %q: %v", p.URL, err)
		}
	})
}
