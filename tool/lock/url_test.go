package lock

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"testing"

	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/store"
)

func sum(b []byte) store.Hash { return sha256.Sum256(b) }

func TestMoved(t *testing.T) {
	top := t.TempDir()
	for _, tc := range []struct{ cache, from, to, want string }{
		{"file:../cache", "web", "web", "file:../cache"},
		{"file:../cache", "web", "./web/", "file:../cache"},
		{"file:../cache", "web", ".", "file:cache"},
		{"file:../cache", "web", "", "file:cache"},
		{"file:cache", ".", "web/sub", "file:../../cache"},
		{"file:cache%3Fx", ".", "web", "file:../cache%3Fx"},
		{"file:.", ".", "web", "file:.."},
		{"file:web", ".", "web", "file:."},
		{"file:///cache", ".", "web", "file:///cache"},
		{"https://me:pw@host/x", ".", "web", "https://host/x"},
		{"https://host/x", "web", "web", "https://host/x"},
	} {
		from, to := filepath.Join(top, tc.from), filepath.Join(top, tc.to)
		got, err := moved(tc.cache, from, to)
		if err != nil || got != tc.want {
			t.Errorf("moved(%q, %q, %q) = %q, %v; want %q", tc.cache, tc.from, tc.to, got, err, tc.want)
			continue
		}
		if !fetch.IsFile(tc.cache) {
			continue
		}
		a, err1 := fetch.FilePath(join(tc.cache, "nar/x.nar"), from)
		b, err2 := fetch.FilePath(join(got, "nar/x.nar"), to)
		if err1 != nil || err2 != nil || a != b {
			t.Errorf("%s from %s is %s (%v), %s from %s is %s (%v)", tc.cache, from, a, err1, got, to, b, err2)
		}
	}

	// From folders that are relative to the working directory.
	t.Chdir(top)
	if err := os.Mkdir("web", 0o777); err != nil {
		t.Fatal(err)
	}
	if got, err := moved("file:cache", ".", "web"); err != nil || got != "file:../cache" {
		t.Errorf("got %q, %v", got, err)
	}
}
