package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/lock"
)

// The settings in docs/layering.md and docs/coming-from.md are ones that a project file may have, and they do
// something: what they plan isn't what is planned with the same limit alone.
func TestDocs_Layering(t *testing.T) {
	type example struct{ document, settings string }
	var examples []example
	for name, want := range map[string]int{"layering.md": 1, "coming-from.md": 5} {
		text, err := os.ReadFile(filepath.Join("../../../docs", name))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, block := range strings.Split(string(text), "```json\n")[1:] {
			block, _, _ = strings.Cut(block, "```")
			if strings.HasPrefix(block, `"layering"`) {
				examples = append(examples, example{name, block})
				n++
			}
		}
		if n < want {
			t.Errorf("docs/%s has %d examples of layering: want %d", name, n, want)
		}
	}
	plain := `{
  "caches": ["file://` + webDir + `/cache"],
  "public_keys": ["` + webKey(t, "strata-web-1") + `"],
  "systems": ["x86_64-linux"],
  "roots": {"web": "/nix/store/dr6a8bs5f2hyww3awb6nnhxlg3qvfdhr-web-1.0"},
  `
	t.Chdir(t.TempDir())
	planned := func(settings string) *lock.Lock {
		t.Helper()
		if err := os.WriteFile("strata.json", []byte(plain+settings+"}"), 0o666); err != nil {
			t.Fatal(err)
		}
		os.Remove("strata.lock.json")
		if code := run(t.Context(), []string{"lock", "-q"}, new(bytes.Buffer), os.Stderr); code != exitOK {
			t.Fatalf("%s: strata lock: exit code %d", settings, code)
		}
		l, err := lock.Read("strata.lock.json")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	usual := planned(`"layering": {}`)
	for _, e := range examples {
		got := planned(e.settings)
		same := len(got.Plan.Layers) == len(usual.Plan.Layers)
		for name := range got.Plan.Layers {
			same = same && usual.Plan.Layers[name] != nil
		}
		if same {
			t.Errorf("docs/%s: %s plans what is planned without", e.document, e.settings)
		}
	}
}
