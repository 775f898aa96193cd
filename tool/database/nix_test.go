package database

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/filelayer"
	"github.com/rules-strata/rules_strata/tool/graph"
	"github.com/rules-strata/rules_strata/tool/layer"
	"github.com/rules-strata/rules_strata/tool/nixtest"
	"github.com/rules-strata/rules_strata/tool/store"
)

// What two databases must have in common, beside derivers and times. Tables are compared by what they are, not by the text that
// made them.
var comparisons = map[string]string{
	"paths":        "SELECT path, hash, narSize, ultimate IS NULL, sigs, ca FROM ValidPaths ORDER BY path",
	"references":   "SELECT a.path, b.path FROM Refs JOIN ValidPaths a ON referrer = a.id JOIN ValidPaths b ON reference = b.id ORDER BY 1, 2",
	"outputs":      "SELECT * FROM DerivationOutputs",
	"columns":      "SELECT m.name, c.name, c.type COLLATE NOCASE, c.\"notnull\", c.dflt_value, c.pk FROM sqlite_schema m, pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name NOT IN ('SchemaMigrations') ORDER BY m.name, c.cid",
	"foreign keys": "SELECT m.name, f.* FROM sqlite_schema m, pragma_foreign_key_list(m.name) f WHERE m.type = 'table' ORDER BY 1, 2, 3",
	"indices":      "SELECT m.name, i.name, i.\"unique\", i.origin, i.partial FROM sqlite_schema m, pragma_index_list(m.name) i WHERE m.type = 'table' AND m.name NOT IN ('SchemaMigrations') ORDER BY 1, 2",
	"triggers":     "SELECT name, tbl_name FROM sqlite_schema WHERE type = 'trigger'",
}

func eachNix(t *testing.T, test func(t *testing.T, n *nixtest.Nix)) {
	for _, version := range []string{nixtest.Old, nixtest.New} {
		t.Run(version, func(t *testing.T) { test(t, nixtest.Open(t, version)) })
	}
}

// nixCopy has Nix copy a closure of testdata/web into its own store.
func nixCopy(t *testing.T, n *nixtest.Nix, root store.Path) {
	t.Helper()
	key, err := os.ReadFile("../../testdata/web/keys/strata-web-1.public")
	if err != nil {
		t.Fatal(err)
	}
	cache, err := filepath.Abs("../../testdata/web/cache")
	if err != nil {
		t.Fatal(err)
	}
	n.MustRun("nix", "copy", "--from", "file://"+cache, "--option", "trusted-public-keys", string(key), string(root))
}

// Over the web server's closure, as each version copies it out of the cache, the database says what its own does; and with the
// layer's files in place of its own that Nix finds all whole, and says of the paths what was registered.
func TestSpec_Nix(t *testing.T) {
	r := registrationOf(t, "cache", Nix, web)
	ours := write(t, r)
	eachNix(t, func(t *testing.T, n *nixtest.Nix) {
		nixCopy(t, n, web)
		sameAsNix(t, n, ours)
		if err := os.RemoveAll(filepath.Join(n.Dir, "nix/var")); err != nil {
			t.Fatal(err)
		}
		unpack(t, r, n.Dir)
		nixReads(t, n, r)
	})
}

// sameAsNix compares the database in the file ours with Nix' own.
func sameAsNix(t *testing.T, n *nixtest.Nix, ours string) {
	t.Helper()
	theirs := filepath.Join(n.Dir, "nix/var/nix/db/db.sqlite")
	for what, text := range comparisons {
		if got, want := lower(query(t, ours, text)), lower(query(t, theirs, text)); !slices.Equal(got, want) {
			t.Errorf("%s: got\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	version, err := os.ReadFile(filepath.Join(n.Dir, "nix/var/nix/db/schema"))
	if err != nil || string(version) != states[Nix].version {
		t.Errorf("schema %q, want %q, %v", states[Nix].version, version, err)
	}
}

// lower is for what SQL writes in either case.
func lower(rows []string) []string {
	return strings.Split(strings.ToLower(strings.Join(rows, "\n")), "\n")
}

// And what dockerTools' includeNixDB has: the registration of closureInfo, loaded by nix-store.
func TestBytes_AsLoadDB(t *testing.T) {
	r := registrationOf(t, "cache", Nix, web)
	var registration strings.Builder
	for _, p := range r.Paths {
		lines := []string{string(p.Path), p.NarHash.String(), strconv.FormatInt(p.NarSize, 10), "", strconv.Itoa(len(p.References))}
		for _, to := range p.References {
			lines = append(lines, string(to))
		}
		registration.WriteString(strings.Join(lines, "\n") + "\n")
	}
	for i := range r.Paths { // They aren't in a registration.
		r.Paths[i].Signatures, r.Paths[i].ContentAddress = nil, ""
	}
	ours := write(t, r)
	eachNix(t, func(t *testing.T, n *nixtest.Nix) {
		cmd := n.Command("nix-store", "--load-db")
		cmd.Stdin = strings.NewReader(registration.String())
		if _, err := n.Finish(cmd); err != nil {
			t.Fatal(err)
		}
		theirs := filepath.Join(n.Dir, "nix/var/nix/db/db.sqlite")
		for _, text := range []string{comparisons["paths"], comparisons["references"], "SELECT path, deriver FROM ValidPaths ORDER BY path"} {
			if got, want := query(t, ours, text), query(t, theirs, text); !slices.Equal(got, want) {
				t.Errorf("%s: got\n%s\nwant\n%s", text, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
	})
}

// unpack writes the layer's files below dir.
func unpack(t *testing.T, r *Registration, dir string) {
	t.Helper()
	spec, err := r.Spec()
	if err != nil {
		t.Fatal(err)
	}
	in, out := io.Pipe()
	go func() {
		_, err := filelayer.Write(t.Context(), out, spec, filelayer.Sources{}, layer.Options{Compression: "none"})
		out.CloseWithError(err)
	}()
	for entries := tar.NewReader(in); ; {
		h, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, h.Name)
		switch h.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(name, h.FileInfo().Mode().Perm())
		case tar.TypeSymlink:
			err = os.Symlink(h.Linkname, name)
		default:
			var b []byte
			if b, err = io.ReadAll(entries); err == nil {
				err = os.WriteFile(name, b, h.FileInfo().Mode().Perm())
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// nixReads has Nix, whose store the registration is of, check it and tell what it knows.
func nixReads(t *testing.T, n *nixtest.Nix, r *Registration) {
	t.Helper()
	if out, err := n.Command("nix-store", "--verify", "--check-contents").CombinedOutput(); err != nil || strings.Contains(string(out), "error") || strings.Contains(string(out), "warning") {
		t.Errorf("nix-store --verify: %v: %s", err, out)
	}
	paths := map[store.Path]Path{}
	for _, p := range r.Paths {
		paths[p.Path] = p
	}
	known, err := graph.Parse([]byte(n.MustRun("nix", "path-info", "--json", "--recursive", string(web))))
	if err != nil {
		t.Fatal(err)
	}
	if len(known.Nodes) != len(paths) {
		t.Errorf("it knows %d paths, want %d", len(known.Nodes), len(paths))
	}
	for path, node := range known.Nodes {
		if p := paths[path]; node.NarHash != p.NarHash || node.NarSize != p.NarSize || !slices.Equal(node.References, p.References) || node.CA != p.ContentAddress || node.Deriver != "" {
			t.Errorf("%s: it says %+v, want %+v", path, node, p)
		}
	}
	b := paths[bash]
	var references, requisites []string
	var size int64
	for _, to := range b.References {
		references = append(references, string(to))
	}
	for _, p := range registrationOf(t, "cache", Nix, bash).Paths {
		requisites = append(requisites, string(p.Path))
		size += p.NarSize
	}
	for _, test := range []struct {
		args []string
		want []string
	}{
		{[]string{"nix-store", "--query", "--references"}, references},
		{[]string{"nix-store", "--query", "--requisites"}, requisites},
		{[]string{"nix-store", "--query", "--hash"}, []string{"sha256:" + b.NarHash.NixBase32()}},
		{[]string{"nix-store", "--query", "--size"}, []string{strconv.FormatInt(b.NarSize, 10)}},
		{[]string{"nix-store", "--query", "--deriver"}, []string{"unknown-deriver"}},
		{[]string{"nix", "path-info", "--closure-size", "--sigs"}, append([]string{string(bash), strconv.FormatInt(size, 10)}, b.Signatures...)},
	} {
		args := append(test.args[1:], string(bash))
		got := strings.Fields(n.MustRun(test.args[0], args...))
		if !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(test.want))) {
			t.Errorf("%s %q: %q, want %q", test.args[0], args, got, test.want)
		}
	}
	var roots string
	for line := range strings.Lines(strings.NewReplacer(n.Dir, "", `"`, "").Replace(n.MustRun("nix-store", "--gc", "--print-roots"))) {
		// Programs that run on this machine are roots too, those of other tests' images among them.
		if !strings.HasPrefix(line, "/proc/") {
			roots += line
		}
	}
	if want := "/nix/var/nix/gcroots/docker/" + web.Base() + " -> " + string(web) + "\n"; roots != want {
		t.Errorf("roots: %q, want %q", roots, want)
	}
	key, err := os.ReadFile("../../testdata/web/keys/strata-web-1.public")
	if err != nil {
		t.Fatal(err)
	}
	n.MustRun("nix", "store", "verify", "--recursive", "--sigs-needed", "1", "--option", "trusted-public-keys", string(key), string(bash))
	// More can be registered, and is the only garbage.
	garbage := filepath.Join(t.TempDir(), "garbage")
	if err := os.WriteFile(garbage, []byte("garbage"), 0o644); err != nil {
		t.Fatal(err)
	}
	added := strings.TrimSpace(n.MustRun("nix-store", "--add", garbage))
	if n.MustRun("nix-store", "--gc"); !missing(filepath.Join(n.Dir, added)) {
		t.Errorf("%s is still there", added)
	}
	for path := range paths {
		if missing(filepath.Join(n.Dir, string(path))) {
			t.Errorf("%s is gone", path)
		}
	}
}

func missing(name string) bool {
	_, err := os.Lstat(name)
	return err != nil
}

// A store that can't be written is read as it is: the database needs neither a journal nor a shared-memory file, and no table is missing.
func TestSpec_NixReadOnly(t *testing.T) {
	r := registrationOf(t, "cache", Nix, bash)
	n := nixtest.Open(t, nixtest.New)
	nixCopy(t, n, bash)
	if err := os.RemoveAll(filepath.Join(n.Dir, "nix/var")); err != nil {
		t.Fatal(err)
	}
	unpack(t, r, n.Dir)
	out := n.MustRun("nix", "--extra-experimental-features", "read-only-local-store", "--store", "local?read-only=true&root="+n.Dir, "path-info", "--recursive", string(bash))
	if got := strings.Fields(out); len(got) != len(r.Paths) {
		t.Errorf("it knows %q", got)
	}
}
