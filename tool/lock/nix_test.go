package lock

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/narfile"
	"github.com/rules-strata/rules_strata/tool/narinfo"
	"github.com/rules-strata/rules_strata/tool/nixtest"
	"github.com/rules-strata/rules_strata/tool/project"
	"github.com/rules-strata/rules_strata/tool/store"
)

const miniRoot = store.Path("/nix/store/21c0vs5yp5r1xg52vsmiblv2mlsh0v50-mini-1.0")

// eachNix runs a test with each of the real Nixes, whose store has the closure of miniRoot, out of the
// fixtures in one compression or the other.
func eachNix(t *testing.T, test func(t *testing.T, n *nixtest.Nix)) {
	for version, variant := range map[string]string{nixtest.Old: "xz", nixtest.New: "lzip"} {
		t.Run(version, func(t *testing.T) {
			n := nixtest.Open(t, version)
			nixReads(t, n, variant)
			test(t, n)
		})
	}
}

// nixReads makes a copy of a variant of the fixtures a store's, of which each path is checked by Nix. (Nix writes into the caches that it reads.)
func nixReads(t *testing.T, n *nixtest.Nix, variant string) {
	t.Helper()
	dir := t.TempDir()
	copyDir(t, dir, webData+"/variants/"+variant)
	n.MustRun("nix", "copy", "--from", "file://"+dir, "--option", "trusted-public-keys", webKey(t).String(), string(miniRoot))
	closure := strings.Fields(n.MustRun("nix-store", "--query", "--requisites", string(miniRoot)))
	n.MustRun("nix-store", append([]string{"--verify-path"}, closure...)...)
}

// Whatever a Nix writes, of each compression, is locked, and right to the last byte; the paths are the same ones.
func TestMake_NixWrites(t *testing.T) {
	want, err := makeLock(t, projectOf(miniRoot, []narinfo.PublicKey{webKey(t)}, project.Cache{URL: "file:variants/none"}), webData)
	if err != nil {
		t.Fatal(err)
	}
	eachNix(t, func(t *testing.T, n *nixtest.Nix) {
		secret, public := filepath.Join(n.Dir, "secret"), filepath.Join(n.Dir, "public")
		n.MustRun("nix-store", "--generate-binary-cache-key", "test-1", secret, public)
		key, err := narinfo.ParsePublicKey(string(mustRead(t, public)))
		if err != nil {
			t.Fatal(err)
		}
		for _, compression := range narfile.Compressions() {
			dir := t.TempDir()
			n.MustRun("nix", "copy", "--to", "file://"+dir+"?compression="+compression+"&secret-key="+secret, string(miniRoot))
			server := httptest.NewServer(http.FileServer(http.Dir(dir)))
			defer server.Close()
			l, err := makeLock(t, projectOf(miniRoot, []narinfo.PublicKey{key}, project.Cache{URL: server.URL}), ".")
			if err != nil {
				t.Errorf("%s: %v", compression, err)
				continue
			}
			if len(l.Paths) != len(want.Paths) {
				t.Errorf("%s: %d paths, want %d", compression, len(l.Paths), len(want.Paths))
			}
			for path, p := range l.Paths {
				w := want.Paths[path]
				if w == nil || p.NarHash != w.NarHash || p.NarSize != w.NarSize || !slices.Equal(p.References, w.References) ||
					p.Compression != compression || !strings.HasPrefix(p.Signature, "test-1:") {
					t.Errorf("%s: %s: got %+v, want %+v", compression, path, p, w)
				}
			}
			if report, err := verify(t, l, ".", true, key); err != nil || len(report.Faults) > 0 || report.Files != len(l.Paths) {
				t.Errorf("%s: %+v, %v", compression, report, err)
			}
		}
	})
}

// Each Nix reads what the other compressions of the fixtures hold, which strata reads too (TestVariants_SameDigest).
func TestNix_ReadsVariants(t *testing.T) {
	for _, version := range []string{nixtest.Old, nixtest.New} {
		for _, compression := range narfile.Compressions() {
			nixReads(t, nixtest.Open(t, version), compression)
		}
	}
}

// What Nix has made content-addressed needs no signature, though the paths refer to themselves, and to each other in a chain.
func TestMake_NixContentAddressed(t *testing.T) {
	eachNix(t, func(t *testing.T, n *nixtest.Nix) {
		var made struct {
			Rewrites map[store.Path]store.Path `json:"rewrites"`
		}
		out := n.MustRun("nix", "store", "make-content-addressed", "--extra-experimental-features", "ca-derivations", "--json", string(miniRoot))
		if err := json.Unmarshal([]byte(out), &made); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		root := made.Rewrites[miniRoot]
		dir := t.TempDir()
		n.MustRun("nix", "copy", "--to", "file://"+dir, string(root))
		l, err := makeLock(t, projectOf(root, []narinfo.PublicKey{newTestKey(t, "k").public}, project.Cache{URL: "file://" + dir}), ".")
		if err != nil {
			t.Fatal(err)
		}
		selves := 0
		for path, p := range l.Paths {
			if p.ContentAddressed == "" {
				t.Errorf("%s: %+v", path, p)
			}
			if slices.Contains(p.References, path) {
				selves++
			}
		}
		if selves < 2 {
			t.Errorf("%d paths refer to themselves: the test shows little", selves)
		}
		again, err := Parse(mustMarshal(t, l))
		if err != nil {
			t.Fatal(err)
		}
		if report, err := verify(t, again, ".", true); err != nil || len(report.Faults) > 0 {
			t.Errorf("%+v, %v", report, err)
		}
	})
}

// What each Nix makes of a cache that isn't as it should be, where it and strata differ: the lines of docs/formats.md that say so.
func TestNix_Differs(t *testing.T) {
	const path = store.Path("/nix/store/nbb5xx79a4bbwn1fimsw65hzn34hsxpj-mini-file")
	type change func(dir string, info []byte) []byte // returns another narinfo
	behind := func(dir string, info []byte) []byte {
		file := filepath.Join(dir, fileOf(t, info))
		if err := os.WriteFile(file, append(mustRead(t, file), "behind"...), 0o666); err != nil {
			t.Fatal(err)
		}
		return info
	}
	elsewhere := func(url func(dir string) string) change {
		return func(dir string, info []byte) []byte {
			if err := os.Rename(filepath.Join(dir, fileOf(t, info)), filepath.Join(filepath.Dir(dir), "x.nar")); err != nil {
				t.Fatal(err)
			}
			return bytes.Replace(info, []byte(fileOf(t, info)), []byte(url(dir)), 1)
		}
	}
	type tc struct {
		name, variant string
		change        change
		takes         []string // the versions of Nix that do
		want          string   // of the error in locking; empty: only reading the NAR shows it; "taken": strata takes it
	}
	none, both := []string{}, []string{nixtest.Old, nixtest.New}
	cases := []tc{
		{"out of the cache", "zstd", elsewhere(func(string) string { return "../x.nar" }), []string{nixtest.Old}, "want a path that stays in the cache"},
		{"a whole URL", "zstd", elsewhere(func(dir string) string { return "file://" + filepath.Dir(dir) + "/x.nar" }), none, "want a path relative to the cache"},
		{"two files, the first is there", "zstd", func(_ string, info []byte) []byte {
			return append(info, "URL: nar/gone.nar.xz\nCompression: xz\n"...)
		}, none, "taken"},
	}
	for _, compression := range narfile.Compressions() {
		takes := both
		if compression == "xz" || compression == "zstd" {
			takes = none
		}
		cases = append(cases, tc{"behind " + compression, compression, behind, takes, ""})
	}
	for _, tc := range cases {
		dir := filepath.Join(t.TempDir(), "cache")
		copyDir(t, dir, webData+"/variants/"+tc.variant)
		file := filepath.Join(dir, path.HashPart()+".narinfo")
		if err := os.WriteFile(file, tc.change(dir, mustRead(t, file)), 0o666); err != nil {
			t.Fatal(err)
		}
		for _, version := range both {
			n := nixtest.Open(t, version)
			_, err := n.Run("nix", "copy", "--from", "file://"+dir, "--no-check-sigs", string(path))
			if takes := slices.Contains(tc.takes, version); (err == nil) != takes {
				t.Errorf("%s: Nix %s says %v", tc.name, version, err)
			}
		}
		l, err := makeLock(t, projectOf(path, []narinfo.PublicKey{webKey(t)}, project.Cache{URL: "file://" + dir}), ".")
		if tc.want == "taken" {
			if err != nil {
				t.Errorf("%s: strata says %v", tc.name, err)
			}
			continue
		}
		if tc.want != "" {
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: strata says %v, want %q", tc.name, err, tc.want)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		if report, err := verify(t, l, ".", true, webKey(t)); err != nil || len(report.Faults) == 0 {
			t.Errorf("%s: strata finds nothing: %+v, %v", tc.name, report, err)
		}
	}
}

// fileOf is the URL in a narinfo.
func fileOf(t testing.TB, text []byte) string {
	t.Helper()
	info, err := narinfo.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return info.URL
}

func mustRead(t testing.TB, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
