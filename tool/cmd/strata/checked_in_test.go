package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The locks of the example and of the workspaces in e2e are what strata lock
// makes of the project files beside them, today. To write one anew:
// `go run ./tool/cmd/strata lock --project examples/web/strata.json`.
func TestCheckedInLocks(t *testing.T) {
	top := filepath.Dir(filepath.Dir(webDir))
	for _, dir := range []string{"examples/guix", "examples/guix_profile", "examples/web", "e2e/bzlmod", "e2e/workspace"} {
		t.Run(dir, func(t *testing.T) {
			want, err := os.ReadFile(filepath.Join(top, dir, "strata.lock.json"))
			if errors.Is(err, fs.ErrNotExist) && os.Getenv("TEST_SRCDIR") != "" && !strings.HasPrefix(dir, "examples/") {
				t.Skip("a workspace of its own is no input of a test under Bazel; go test sees it")
			}
			if err != nil {
				t.Fatal(err)
			}
			project, err := os.ReadFile(filepath.Join(top, dir, "strata.json"))
			if err != nil {
				t.Fatal(err)
			}
			// The caches' URLs are relative to the project file, and stay so in the lock.
			root := t.TempDir()
			if err := os.Symlink(filepath.Dir(webDir), filepath.Join(root, "testdata")); err != nil {
				t.Fatal(err)
			}
			at := filepath.Join(root, dir)
			if err := os.MkdirAll(at, 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(at, "strata.json"), project, 0o666); err != nil {
				t.Fatal(err)
			}
			var stdout, stderr bytes.Buffer
			if code := run(t.Context(), []string{"lock", "--project", filepath.Join(at, "strata.json")}, &stdout, &stderr); code != exitOK {
				t.Fatalf("exit code %d: %s", code, &stderr)
			}
			got, err := os.ReadFile(filepath.Join(at, "strata.lock.json"))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s/strata.lock.json is not what strata lock makes of the project file; lock it anew", dir)
			}
		})
	}
}
