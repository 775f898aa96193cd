package lock

import (
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

func mustRead(t testing.TB, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
