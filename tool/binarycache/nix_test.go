package binarycache_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/binarycache"
	"github.com/rules-strata/rules_strata/tool/graph"
	"github.com/rules-strata/rules_strata/tool/narinfo"
	"github.com/rules-strata/rules_strata/tool/nixtest"
	"github.com/rules-strata/rules_strata/tool/store"
)

func eachNix(t *testing.T, test func(t *testing.T, n *nixtest.Nix)) {
	for _, version := range []string{nixtest.Old, nixtest.New} {
		t.Run(version, func(t *testing.T) { test(t, nixtest.Open(t, version)) })
	}
}

// nixReads has a new, empty Nix copy the closure of path out of a cache, which must be
// signed by key, and checks every path of it as Nix does. It returns their references graph as that Nix tells it.
func nixReads(t *testing.T, version, cacheURL string, key narinfo.PublicKey, path store.Path) *graph.Graph {
	t.Helper()
	n := nixtest.Open(t, version)
	n.MustRun("nix", "copy", "--from", cacheURL, "--option", "trusted-public-keys", key.String(), string(path))
	closure := strings.Fields(n.MustRun("nix-store", "--query", "--requisites", string(path)))
	n.MustRun("nix-store", append([]string{"--verify-path"}, closure...)...)
	return nixGraph(t, n, path)
}

func nixGraph(t *testing.T, n *nixtest.Nix, path store.Path) *graph.Graph {
	t.Helper()
	g, err := graph.Parse([]byte(n.MustRun("nix", "path-info", "--json", "--recursive", string(path))))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// What strata writes, real Nix, old and new, reads back, and finds signed and whole.
func TestWrite_NixReads(t *testing.T) {
	s := newDiskStore(t)
	key := secretKey(t, "strata-web-1")
	for _, compression := range binarycache.Compressions() {
		t.Run(compression, func(t *testing.T) {
			o := s.options(t)
			o.Compression = compression
			dir := t.TempDir()
			target, url := dir, "file://"+dir
			if compression == "gzip" { // One of them over HTTP.
				server := newServer(t)
				dir, target, url = server.dir, server.URL, server.URL
			}
			if _, err := binarycache.Write(background, open(t, target), o); err != nil {
				t.Fatal(err)
			}
			eachNix(t, func(t *testing.T, n *nixtest.Nix) {
				g := nixReads(t, n.Version, url, key.Public(), mini)
				for p, node := range g.Nodes {
					want := s.infos[p]
					if node.NarHash != want.NarHash || node.NarSize != want.NarSize || !slices.Equal(node.References, want.References) || node.CA != want.CA {
						t.Errorf("%s: Nix has %+v", p, node)
					}
				}
				// With another key it takes nothing.
				_, err := n.Run("nix", "copy", "--from", "file://"+dir, "--option", "trusted-public-keys", secretKey(t, "strata-web-2").Public().String(), string(mini))
				if err == nil {
					t.Error("it takes what an unknown key signed")
				}
			})
		})
	}
}

// From Nix to Nix: its database says what, by each of its commands, and its folder has it. What comes of
// it is what its own nix copy writes, to the byte.
func TestWrite_FromNix(t *testing.T) {
	eachNix(t, func(t *testing.T, n *nixtest.Nix) {
		n.MustRun("nix", "copy", "--from", "file://"+copyDir(t, fixture(t, "variants/zstd")), "--no-check-sigs", string(mini))
		secretFile := filepath.Join(n.Dir, "secret")
		n.MustRun("nix-store", "--generate-binary-cache-key", "test-1", secretFile, filepath.Join(n.Dir, "public"))
		key, err := narinfo.ReadSecretKey(secretFile)
		if err != nil {
			t.Fatal(err)
		}
		if public := strings.TrimSpace(string(readFile(t, n.Dir, "public"))); key.Public().String() != public {
			t.Errorf("the public key is %s, Nix says %s", key.Public(), public)
		}
		theirs := t.TempDir()
		n.MustRun("nix", "copy", "--to", "file://"+theirs+"?compression=none&secret-key="+secretFile, string(mini))
		want := tree(t, theirs)

		closure := strings.Fields(n.MustRun("nix-store", "--query", "--requisites", string(mini)))
		graphs := map[string]string{
			"path-info": n.MustRun("nix", "path-info", "--json", "--recursive", string(mini)),
			"dump-db":   n.MustRun("nix-store", append([]string{"--dump-db"}, closure...)...),
		}
		if n.Version == nixtest.New {
			graphs["path-info, format 2"] = n.MustRun("nix", "path-info", "--json", "--json-format", "2", "--recursive", string(mini))
		}
		for form, text := range graphs {
			g, err := graph.Parse([]byte(text))
			if err != nil {
				t.Errorf("%s: %v", form, err)
				continue
			}
			if tops := g.Tops(); len(tops) != 1 || tops[0] != mini {
				t.Errorf("%s: the tops are %s", form, tops)
			}
			root, err := os.OpenRoot(filepath.Join(n.Dir, "nix/store"))
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			dir := t.TempDir()
			o := binarycache.WriteOptions{Graph: g, Store: root, Key: &key, Compression: "none"}
			if _, err := binarycache.Write(background, open(t, dir), o); err != nil {
				t.Errorf("%s: %v", form, err)
				continue
			}
			got := tree(t, dir)
			if form == "dump-db" { // It has neither signatures nor content addresses.
				for path, info := range infos(t, dir) {
					theirs, err := narinfo.Parse([]byte(want[path.HashPart()+".narinfo"]))
					if err != nil {
						t.Fatal(err)
					}
					if info.Fingerprint() != theirs.Fingerprint() || info.File != theirs.File || info.Deriver != theirs.Deriver {
						t.Errorf("%s: %s is %+v", form, path, info)
					}
				}
				continue
			}
			sameTree(t, got, want)
		}
	})
}

// What nix build says of its results, as each version writes it.
func TestGraph_NixBuild(t *testing.T) {
	eachNix(t, func(t *testing.T, n *nixtest.Nix) {
		n.MustRun("nix", "copy", "--from", "file://"+copyDir(t, fixture(t, "variants/zstd")), "--no-check-sigs", string(mini))
		out := n.MustRun("nix", "build", "--json", "--no-link", string(mini))
		g, err := graph.Parse([]byte(out))
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if want := []graph.Output{{Path: mini}}; !slices.Equal(g.Outputs, want) {
			t.Errorf("got %v of %s", g.Outputs, out)
		}
		// A build, in a store that is where it says it is: elsewhere Nix would need a sandbox. The hook says that no other machine builds.
		dir := t.TempDir()
		expr, hook := filepath.Join(dir, "two.nix"), filepath.Join(dir, "hook")
		writeFile(t, expr, []byte(`derivation {
			name = "two"; system = builtins.currentSystem; builder = "/bin/sh"; outputs = [ "out" "dev" ];
			args = [ "-c" "echo o > $out; echo $out > $dev" ];
		}`))
		writeFile(t, hook, []byte("#!/bin/sh\necho '# decline-permanently' >&2\nexec cat >/dev/null\n"))
		if err := os.Chmod(hook, 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := n.Command("nix", "build", "--json", "--no-link", "--impure", "--option", "build-hook", hook, "--file", expr)
		cmd.Env = slices.DeleteFunc(cmd.Env, func(v string) bool { return strings.HasPrefix(v, "NIX_REMOTE=") })
		cmd.Env = append(cmd.Env, "NIX_STORE_DIR="+dir+"/store", "NIX_STATE_DIR="+dir+"/var", "NIX_LOG_DIR="+dir+"/log")
		if out, err = n.Finish(cmd); err != nil {
			t.Fatal(err)
		}
		if g, err = graph.Parse([]byte(out)); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		paths := map[string]string{}
		for _, o := range g.Outputs {
			paths[o.Name] = o.Path.Name()
		}
		if g.StoreDir() != dir+"/store" || paths["out"] != "two" || len(g.Outputs) > 1 && paths["dev"] != "two-dev" {
			t.Errorf("got %v of %s", g.Outputs, out)
		}
	})
}

// A mirror is a cache that real Nix reads.
func TestMirror_NixReads(t *testing.T) {
	key := secretKey(t, "strata-web-1").Public()
	eachNix(t, func(t *testing.T, n *nixtest.Nix) {
		for _, variant := range []string{"xz", "zstd"} {
			l := lockOf(t, ".", mini, "file://"+fixture(t, "variants/"+variant))
			server := newServer(t)
			if _, _, err := binarycache.Mirror(background, open(t, server.URL), binarycache.MirrorOptions{Lock: l, Client: newClient(t, ".")}); err != nil {
				t.Fatal(err)
			}
			g := nixReads(t, n.Version, server.URL, key, mini)
			if len(g.Nodes) != len(l.Paths) {
				t.Errorf("%s: Nix has %d paths, want %d", variant, len(g.Nodes), len(l.Paths))
			}
		}
	})
}

// What nix-store --load-db refuses, strata refuses, and beside it cycles, which Nix 2.8 refuses and 2.34 doesn't see.
func TestGraph_NixLoads(t *testing.T) {
	const a, b = "/nix/store/0c0b1a2d3f4g5h6i7j8k9l0m1n2p3q4r-a", "/nix/store/1c0b1a2d3f4g5h6i7j8k9l0m1n2p3q4r-b"
	node := func(path string, references ...string) string {
		return path + "\n" + strings.Repeat("0", 64) + "\n120\n\n" + strconv.Itoa(len(references)) + "\n" + strings.Join(append(references, ""), "\n")
	}
	eachNix(t, func(t *testing.T, n *nixtest.Nix) {
		for _, c := range []struct {
			name, text string
			takes      bool
		}{
			{"whole", node(a, b, a) + node(b), true},
			{"a reference that isn't there", node(a, strings.Replace(b, "-b", "-x", 1)), false},
			{"a cycle", node(strings.Replace(a, "-a", "-c", 1), strings.Replace(b, "-b", "-c", 1)) + node(strings.Replace(b, "-b", "-c", 1), strings.Replace(a, "-a", "-c", 1)), false},
			{"cut", node(a, b, a) + node(b, a)[:150], false},
			{"not a number", strings.Replace(node(a), "120", "many", 1), false},
		} {
			cmd := n.Command("nix-store", "--load-db")
			cmd.Stdin = strings.NewReader(c.text)
			_, err := n.Finish(cmd)
			if takes := c.takes || c.name == "a cycle" && n.Version == nixtest.New; (err == nil) != takes {
				t.Errorf("%s: Nix says %v", c.name, err)
			}
			if _, err := graph.Parse([]byte(c.text)); (err == nil) != c.takes {
				t.Errorf("%s: strata says %v", c.name, err)
			}
		}
	})
}
