package ondemand

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rules-strata/rules_strata/tool/fetch"
)

// A list that an earlier server fetched is found again, whatever characters its folder's name has.
func TestLists_Found(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a[b*?")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(list, []byte("/nix/store/00000000000000000000000000000000-x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	get := func() (string, error) {
		l := &lists{client: fetch.New(fetch.Options{Attempts: 1}), dir: dir, refresh: time.Hour, log: t.Logf, known: map[string]*keptList{}}
		path, _, err := l.get(t.Context(), fetch.FileURL(list))
		return path, err
	}
	first, err := get()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(list); err != nil {
		t.Fatal(err)
	}
	if again, err := get(); err != nil || again != first {
		t.Errorf("%s, %v; want %s", again, err, first)
	}
}
