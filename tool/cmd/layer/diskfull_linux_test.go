package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rules-strata/rules_strata/tool/action"
)

// A disk that is full in the middle: an error that says so, and no file is left.
func TestRun_DiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("strata-test", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("mounting a small file system: %v", err)
	}
	defer syscall.Unmount(dir, 0)
	info := readInfo(t, webDir+"/cache", "xznc9l6ppin9j93x7xsvaba3qkn46hwr") // 1 MB
	for _, compression := range []string{"none", "gzip", "zstd"} {
		code, stderr := runIn(t, dir, append(group(info, fromFile(webDir+"/cache", info)), "--compression="+compression)...)
		if code != action.ExitFailure || !strings.Contains(stderr, "no space left on device") || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: exit code %d: %s", compression, code, stderr)
		}
		checkNames(t, dir)
	}

	// Nor do the blob alone, or all but the listing, fit.
	small := readInfo(t, webDir+"/cache", "171i7j9q1s51y1w5a5lwh4j9jxgzaqkr")
	if err := os.WriteFile(filepath.Join(dir, "filler"), make([]byte, 252<<10), 0o666); err != nil {
		t.Fatal(err)
	}
	code, stderr := runIn(t, dir, append(group(small, fromFile(webDir+"/cache", small)), "--compression=gzip", "--mtree="+filepath.Join(dir, "m"))...)
	if code != action.ExitFailure || !strings.Contains(stderr, "no space left on device") {
		t.Errorf("nearly full: exit code %d: %s", code, stderr)
	}
	checkNames(t, dir, "filler")
}
