package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/rules-strata/rules_strata/tool/nar/nartest"
	"github.com/rules-strata/rules_strata/tool/narinfo"
)

// newDisk makes a folder with the small paths of the fixtures as they are on the disk of who has
// Nix, and what closureInfo and exportReferencesGraph say of them: store, registration, references.
func newDisk(t testing.TB) string {
	t.Helper()
	dir, cache := t.TempDir(), filepath.Join(webDir, "variants/none")
	if err := os.Mkdir(filepath.Join(dir, "store"), 0o777); err != nil {
		t.Fatal(err)
	}
	nartest.RestoreCache(t, cache, filepath.Join(dir, "store"))
	files, err := filepath.Glob(filepath.Join(cache, "*.narinfo"))
	if err != nil {
		t.Fatal(err)
	}
	var registration, references strings.Builder
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		info, err := narinfo.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		rest := fmt.Sprintf("\n%d\n", len(info.References))
		for _, r := range info.References {
			rest += string(r) + "\n"
		}
		fmt.Fprintf(&registration, "%s\nsha256:%s\n%d\n%s", info.StorePath, info.NarHash.NixBase32(), info.NarSize, rest)
		fmt.Fprintf(&references, "%s\n%s", info.StorePath, rest)
	}
	for name, text := range map[string]string{"registration": registration.String(), "references": references.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// serveput VAR DIR serves a folder over HTTP as serve does, and keeps there what it is PUT.
func cmdServePut(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: serveput VAR DIR")
	}
	dir := ts.MkAbs(args[1])
	ts.Check(os.MkdirAll(dir, 0o777))
	s := httptest.NewServer(putHandler(dir))
	ts.Defer(s.Close)
	ts.Setenv(args[0], s.URL)
}

// putHandler serves a folder, and keeps there what it is PUT.
func putHandler(dir string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPut {
			http.FileServer(http.Dir(dir)).ServeHTTP(w, r)
			return
		}
		b, err := io.ReadAll(r.Body)
		path := filepath.Join(dir, filepath.FromSlash(r.URL.Path))
		if err == nil {
			err = os.MkdirAll(filepath.Dir(path), 0o777)
		}
		if err == nil {
			err = os.WriteFile(path, b, 0o666)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusCreated)
	})
}
