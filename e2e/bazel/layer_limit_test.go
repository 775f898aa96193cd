package bazel

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/nar"
)

// A lock may plan more than the 64 layers that contents without a plan get, or
// fewer: the rules keep to it where the image says nothing, as `strata build` does.
func TestMaxLayers_AsTheLockPlans(t *testing.T) {
	const paths = 70
	cache := t.TempDir()
	root := writeCache(t, cache, paths)
	w := newWorkspace(t)
	w.write("BUILD.bazel", `load("@rules_strata//rules:image.bzl", "image")

image(
    name = "web",
    contents = ["@store//:web"],
)
`)
	for _, planned := range []int{100, 5} {
		w.lock("--cache", "file://"+cache, "--allow-unsigned", "file://"+cache, "--root", "web="+root, "--max-layers", fmt.Sprint(planned))
		got, _ := w.digest("//:web")
		if n, want := len(w.outputs("//:web", "digest_files")), min(paths, planned); n != want {
			t.Errorf("planned for at most %d: %d layers, want %d", planned, n, want)
		}
		digest := filepath.Join(t.TempDir(), "digest")
		out, err := exec.Command(tool(t, "strata"), "build", "--lock", filepath.Join(w.dir, "strata.lock.json"),
			"--root", "web", "--digest-file", digest, "-o", filepath.Join(t.TempDir(), "web.tar")).CombinedOutput()
		if err != nil {
			t.Fatalf("strata build: %v\n%s", err, out)
		}
		if want := strings.TrimSpace(readFile(t, digest)); got != want {
			t.Errorf("planned for at most %d: digest %s, want %s as by strata build", planned, got, want)
		}
	}
}

// writeCache writes an unsigned binary cache of n store paths into dir, the
// last of which refers to all others, and returns that one.
func writeCache(t *testing.T, dir string, n int) string {
	t.Helper()
	write := func(name string, b []byte) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("nix-cache-info", []byte("StoreDir: /nix/store\n"))
	var base string
	var references []string
	for i := range n {
		var b bytes.Buffer
		w := nar.NewWriter(&b)
		contents := strings.Repeat("x", i) // sizes differ, but not all: NARs are padded
		if err := w.WriteEntry(&nar.Entry{Kind: nar.Regular, Size: int64(len(contents))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(contents)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		hash := fmt.Sprintf("sha256:%x", sha256.Sum256(b.Bytes()))
		base = fmt.Sprintf("%032d-file-%d", i, i)
		url := fmt.Sprintf("nar/%d.nar", i)
		write(url, b.Bytes())
		info := fmt.Sprintf("StorePath: /nix/store/%s\nURL: %s\nCompression: none\nFileHash: %[3]s\nFileSize: %[4]d\nNarHash: %[3]s\nNarSize: %[4]d\n",
			base, url, hash, b.Len())
		if i == n-1 {
			info += "References: " + strings.Join(references, " ") + "\n"
		} else {
			info += "References: \n"
		}
		write(base[:32]+".narinfo", []byte(info))
		references = append(references, base)
	}
	return "/nix/store/" + base
}
