package nixtest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/nixtest"
)

// Each version is what it is called, and keeps to its own folder.
func TestOpen(t *testing.T) {
	for _, version := range []string{nixtest.Old, nixtest.New} {
		t.Run(version, func(t *testing.T) {
			n := nixtest.Open(t, version)
			if out := n.MustRun("nix-store", "--version"); !strings.Contains(out, " "+version+".") {
				t.Errorf("it says it is %q", out)
			}
			file := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(file, []byte("text"), 0o644); err != nil {
				t.Fatal(err)
			}
			path := strings.TrimSpace(n.MustRun("nix-store", "--add", file))
			if b, err := os.ReadFile(n.Dir + path); err != nil || string(b) != "text" {
				t.Errorf("%s in its own store: %q, %v", path, b, err)
			}
			if _, err := n.Run("nix-store", "--verify-path", path); err != nil {
				t.Error(err)
			}
			if _, err := n.Run("nix-store", "--verify-path", strings.Replace(path, "file", "elif", 1)); err == nil {
				t.Error("a path that isn't there is valid")
			}
		})
	}
}
