package database

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/rules-strata/rules_strata/tool/narinfo"
	"github.com/rules-strata/rules_strata/tool/store"
)

// Store paths of testdata/web.
const (
	web  store.Path = "/nix/store/dr6a8bs5f2hyww3awb6nnhxlg3qvfdhr-web-1.0"
	bash store.Path = "/nix/store/xznc9l6ppin9j93x7xsvaba3qkn46hwr-bash-5.2.15"
	app  store.Path = "/gnu/store/w4qs8p8nwnldd2lx0dpigzlqsqk2m3s2-strata-app-1.0"
)

// registrationOf is what the narinfos of a binary cache in testdata/web say of the closure of root.
func registrationOf(t testing.TB, cache string, kind Kind, root store.Path) *Registration {
	t.Helper()
	r := &Registration{Kind: kind, Time: DefaultTime, Roots: []store.Path{root}}
	todo, seen := []store.Path{root}, map[store.Path]bool{root: true}
	for len(todo) > 0 {
		b, err := os.ReadFile(filepath.Join("../../testdata/web", cache, todo[0].HashPart()+".narinfo"))
		if err != nil {
			t.Fatal(err)
		}
		info, err := narinfo.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		p := Path{Path: info.StorePath, NarHash: info.NarHash, NarSize: info.NarSize, References: info.References, ContentAddress: info.CA}
		if kind == Nix {
			for _, s := range info.Signatures {
				p.Signatures = append(p.Signatures, s.String())
			}
		}
		r.Paths = append(r.Paths, p)
		todo = todo[1:]
		for _, to := range info.References {
			if !seen[to] {
				seen[to] = true
				todo = append(todo, to)
			}
		}
	}
	return r
}

// query runs a query on a database in memory or in a file, and returns its rows, columns joined by |; null is "".
func query(t testing.TB, file, text string) []string {
	t.Helper()
	db, err := sqlite3.OpenFlags("file:"+file+"?immutable=1", sqlite3.OPEN_READONLY|sqlite3.OPEN_URI)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	stmt, _, err := db.Prepare(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	defer stmt.Close()
	var out []string
	for stmt.Step() {
		var row []string
		for i := range stmt.ColumnCount() {
			row = append(row, stmt.ColumnText(i))
		}
		out = append(out, strings.Join(row, "|"))
	}
	if err := stmt.Err(); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return out
}

// write writes the database into a file.
func write(t testing.TB, r *Registration) string {
	t.Helper()
	b, err := r.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "db.sqlite")
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// The bytes are these on every machine, in whatever order the paths come. Another version of SQLite gives others: take
// the new sum, and raise digestfile.FormatVersion if a release had the old one.
func TestBytes_Golden(t *testing.T) {
	for _, test := range []struct {
		cache string
		kind  Kind
		root  store.Path
		want  string
	}{
		{"cache", Nix, web, "8d1d96c56b774650ed9eb55e56b871d8c9bead5548acd8ece93af98553ee4943"},
		{"guix/cache", Guix, app, "ebd2a51eb40dc809c4c98c44764653f4863151077876789485d7bcaa54d3c37c"},
	} {
		t.Run(string(test.kind), func(t *testing.T) {
			r := registrationOf(t, test.cache, test.kind, test.root)
			b, err := r.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprintf("%x", sha256.Sum256(b)); got != test.want {
				t.Errorf("SHA-256 %s, want %s", got, test.want)
			}
			slices.Reverse(r.Paths)
			for i := range r.Paths {
				r.Paths[i].References = slices.Clone(r.Paths[i].References)
				slices.Reverse(r.Paths[i].References)
			}
			again, err := r.Bytes()
			if err != nil || !bytes.Equal(b, again) {
				t.Errorf("in another order the bytes are others, %v", err)
			}
		})
	}
}

// What SQLite itself finds: a whole database without a freelist, readable without a journal.
func TestBytes_Whole(t *testing.T) {
	r := registrationOf(t, "cache", Nix, web)
	file := write(t, r)
	for pragma, want := range map[string]string{
		"integrity_check": "ok", "foreign_key_check": "", "freelist_count": "0", "page_size": "4096", "encoding": "UTF-8",
		"auto_vacuum": "0", "user_version": "0", "application_id": "0",
	} {
		if got := strings.Join(query(t, file, "PRAGMA "+pragma), "\n"); got != want {
			t.Errorf("%s: %q, want %q", pragma, got, want)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// https://sqlite.org/fileformat2.html#the_database_header: file format versions, and the size, which counts only if the next two agree.
	if b[18] != 1 || b[19] != 1 {
		t.Errorf("the header wants a write-ahead log: %d %d", b[18], b[19])
	}
	if pages := int(binary.BigEndian.Uint32(b[28:])); pages*pageSize != len(b) || !bytes.Equal(b[24:28], b[92:96]) {
		t.Errorf("%d pages in %d bytes, change counter %x, valid for %x", pages, len(b), b[24:28], b[92:96])
	}
	want := []string{fmt.Sprintf("ValidPaths|%d", len(r.Paths))}
	if got := query(t, file, "SELECT name, seq FROM sqlite_sequence"); !slices.Equal(got, want) {
		t.Errorf("sqlite_sequence: %q, want %q", got, want)
	}
}

// Faults are found before anything is made, and are told with the path that has them.
func TestCheck(t *testing.T) {
	const other = "/nix/store/00000000000000000000000000000000-other"
	tests := []struct {
		name string
		edit func(r *Registration)
		want string
	}{
		{"kind", func(r *Registration) { r.Kind = "snix" }, `kind "snix": want nix or guix`},
		{"time", func(r *Registration) { r.Time = -1 }, "registration time -1: want seconds since 1970, 0 or more"},
		{"nothing", func(r *Registration) { r.Paths = nil }, "there is no store path to register"},
		{"no store path", func(r *Registration) { r.Paths[0].Path = "/nix/store/x" }, `/nix/store/x: store path "/nix/store/x": base name "x"`},
		{"another store", func(r *Registration) { r.Kind = Guix }, string(bash) + ": a database of guix knows paths in /gnu/store alone"},
		{"twice", func(r *Registration) { r.Paths = append(r.Paths, r.Paths[0]) }, string(bash) + ": given twice"},
		{"hash", func(r *Registration) { r.Paths[0].NarHash = store.Hash{} }, string(bash) + ": the NarHash is not set"},
		{"size", func(r *Registration) { r.Paths[0].NarSize = 0 }, string(bash) + ": NarSize 0: want a number of bytes above 0"},
		{"unknown reference", func(r *Registration) { r.Paths[0].References = []store.Path{other} }, string(bash) + ": it refers to " + other + ", which is not registered: put that into the image's contents"},
		{"reference twice", func(r *Registration) { r.Paths[0].References = []store.Path{bash, bash} }, string(bash) + ": it refers to " + string(bash) + " twice"},
		{"signature", func(r *Registration) { r.Paths[0].Signatures = []string{"key:abc"} }, string(bash) + `: signature "key:abc": want NAME:BASE64, of 64 bytes`},
		{"two signatures in one", func(r *Registration) { r.Paths[0].Signatures[0] = "a " + r.Paths[0].Signatures[0] }, `want NAME:BASE64, of 64 bytes`},
		{"content address", func(r *Registration) { r.Paths[0].ContentAddress = "fixed:md5:0" }, "md5"},
		{"unknown root", func(r *Registration) { r.Roots = []store.Path{other} }, "root " + other + ": it is not among the paths"},
		{"root twice", func(r *Registration) { r.Roots = []store.Path{bash, bash} }, "root " + string(bash) + ": given twice"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := registrationOf(t, "cache", Nix, bash)
			test.edit(r)
			spec, err := r.Spec()
			if err == nil || !strings.Contains(err.Error(), test.want) || spec != nil {
				t.Errorf("%v, want %s", err, test.want)
			}
		})
	}
}
