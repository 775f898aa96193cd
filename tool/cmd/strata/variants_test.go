package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/rules-strata/rules_strata/tool/lock"
	"github.com/rules-strata/rules_strata/tool/narfile"
)

// Every cache that Nix wrote of the same store paths, in whatever compression and of whatever version, locks, and builds into one and the same image.
func TestVariants_SameDigest(t *testing.T) {
	const root = "/nix/store/21c0vs5yp5r1xg52vsmiblv2mlsh0v50-mini-1.0"
	found, err := os.ReadDir(filepath.Join(webDir, "variants"))
	if err != nil {
		t.Fatal(err)
	}
	digests := map[string][]string{}
	var compressions []string
	for _, v := range found {
		if v.Name() == "bash-xz" || v.Name() == "not-utf8" { // other store paths
			continue
		}
		dir := t.TempDir()
		file := filepath.Join(dir, "lock.json")
		url := "file://" + filepath.Join(webDir, "variants", v.Name())
		args := []string{"lock", "--cache", url, "--public-key", webKey(t, "strata-web-1"), "--root", "mini=" + root, "-o", file}
		if v.Name() == "unsigned" {
			args = append(args, "--allow-unsigned", url)
		}
		var out, errs bytes.Buffer
		if code := run(t.Context(), args, &out, &errs); code != exitOK {
			t.Errorf("%s: lock: %s", v.Name(), errs.String())
			continue
		}
		if code := run(t.Context(), []string{"build", "--lock", file, "-o", filepath.Join(dir, "image.tar")}, &out, &errs); code != exitOK {
			t.Errorf("%s: build: %s", v.Name(), errs.String())
			continue
		}
		digests[out.String()] = append(digests[out.String()], v.Name())
		l, err := lock.Read(file)
		if err != nil {
			t.Fatal(err)
		}
		if len(l.Paths) != 13 {
			t.Errorf("%s: %d store paths, want 13", v.Name(), len(l.Paths))
		}
		for _, p := range l.Paths {
			compressions = append(compressions, p.Compression)
		}
	}
	if len(digests) != 1 {
		t.Errorf("the digests differ: %v", digests)
	}
	for _, c := range narfile.Compressions() {
		if !slices.Contains(compressions, c) {
			t.Errorf("no variant is in %s", c)
		}
	}
}
