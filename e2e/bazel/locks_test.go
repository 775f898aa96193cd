package bazel

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A workspace has two locks, and a module that it depends on has one too: each
// is a repository under the name that it was given, a NAR that is in several is
// fetched once, and the same root is the same image.
func TestSeveralLocks(t *testing.T) {
	server := newNARServer(t, nil)
	w := newWorkspace(t)
	w.lock("--cache", server.URL+"/first", "--root", "web=/nix/store/dr6a8bs5f2hyww3awb6nnhxlg3qvfdhr-web-1.0", "--root", bashRoot)
	nars := w.narFiles()
	w.lockTo("other/strata.lock.json", "--cache", server.URL+"/second", "--root", bashRoot)
	w.lockTo("lib/strata.lock.json", "--cache", server.URL+"/third", "--root", bashRoot)

	w.edit("MODULE.bazel", `use_repo(strata, "store")`, `strata.lock(
    name = "other",
    lock = "//other:strata.lock.json",
)
use_repo(strata, "other", "store")

bazel_dep(name = "lib")
local_path_override(
    module_name = "lib",
    path = "lib",
)
`)
	w.write("other/BUILD.bazel", "")
	w.write("lib/MODULE.bazel", `module(name = "lib")

bazel_dep(name = "rules_strata")

strata = use_extension("@rules_strata//rules:extension.bzl", "strata")
strata.lock(
    name = "lib_store",
    lock = "//:strata.lock.json",
)
use_repo(strata, "lib_store")
`)
	image := func(root string) string {
		return `load("@rules_strata//rules:image.bzl", "image")

image(
    name = "image",
    contents = ["` + root + `"],
    visibility = ["//visibility:public"],
)
`
	}
	w.write("lib/BUILD.bazel", image("@lib_store//:bash"))
	w.write("first/BUILD.bazel", image("@store//:bash"))
	w.write("second/BUILD.bazel", image("@other//:bash"))

	repositories := "--repository_cache=" + filepath.Join(t.TempDir(), "repositories")
	server.asked()
	w.build(repositories, "--output_groups=digest", "//:web", "//first:image", "//second:image", "@lib//:image")
	// Bazel asks for a NAR where the first lock that has it says.
	if asked, want := server.asked(), map[string]int{"first": nars}; !maps.Equal(asked, want) {
		t.Errorf("locks of %d NARs in all: asked for %v, want %v", nars, asked, want)
	}
	want, _ := w.digest("//first:image", repositories)
	for _, target := range []string{"//second:image", "@lib//:image"} {
		if got, _ := w.digest(target, repositories); got != want {
			t.Errorf("%s is %s, want %s as //first:image", target, got, want)
		}
	}

	// What a module gives its lock's repository is taken.
	w.edit("lib/MODULE.bazel", `"lib_store"`, `"store"`)
	if out := w.buildFails("--output_groups=digest", "//:web"); !strings.Contains(out, `module e2e_bzlmod has a repository named "store", and module lib too`) {
		t.Errorf("two modules with a repository of one name: got:\n%s", out)
	}
}

// A lock's relative URLs start from the folder that it is really in: below its package, or where a link leads.
func TestLockFolders(t *testing.T) {
	w := newWorkspace(t)
	if err := os.CopyFS(filepath.Join(w.dir, "locks/cache"), os.DirFS(filepath.Join(sourceDir(t), "testdata/web/variants/bash-xz"))); err != nil {
		t.Fatal(err)
	}
	w.write("locks/strata.json", `{
  "caches": ["file:cache"],
  "public_keys": ["strata-web-1:f3mF6lUioKmEsF3TziQjGjlDqBeyG+WYPjOdFzlhmBU="],
  "systems": ["x86_64-linux"],
  "roots": {"bash": "`+strings.TrimPrefix(bashRoot, "bash=")+`"}
}`)
	if out, err := exec.Command(tool(t, "strata"), "lock", "--project", filepath.Join(w.dir, "locks/strata.json")).CombinedOutput(); err != nil {
		t.Fatalf("strata lock: %v\n%s", err, out)
	}
	if text := w.read("locks/strata.lock.json"); !strings.Contains(text, `"url": "file:cache/`) {
		t.Fatalf("the lock's URLs are not relative:\n%s", text)
	}
	w.write("linked/BUILD.bazel", "")
	if err := os.Symlink("../locks/strata.lock.json", filepath.Join(w.dir, "linked/strata.lock.json")); err != nil {
		t.Fatal(err)
	}
	// A label's package is the nearest one above: locks is a folder of the top package.
	w.edit("MODULE.bazel", `use_repo(strata, "store")`, `strata.lock(
    name = "other",
    lock = "//:locks/strata.lock.json",
)
use_repo(strata, "other", "store")
`)
	w.write("other/BUILD.bazel", `load("@rules_strata//rules:image.bzl", "image")

image(
    name = "image",
    contents = ["@other//:bash"],
)
`)
	// Each NAR is looked for where the lock says, and not in Bazel's cache of what it has downloaded before.
	below, _ := w.digest("//other:image", "--repository_cache="+t.TempDir())
	w.edit("MODULE.bazel", `lock = "//:locks/strata.lock.json"`, `lock = "//linked:strata.lock.json"`)
	if linked, _ := w.digest("//other:image", "--repository_cache="+t.TempDir()); linked != below {
		t.Errorf("by the link the image is %s, want %s", linked, below)
	}
}

// narFiles is the number of distinct NAR files that strata.lock.json names.
func (w *workspace) narFiles() int {
	w.t.Helper()
	var lock struct {
		Paths map[string]struct {
			FileHash string `json:"file_hash"`
		} `json:"paths"`
	}
	if err := json.Unmarshal([]byte(w.read("strata.lock.json")), &lock); err != nil {
		w.t.Fatal(err)
	}
	files := map[string]bool{}
	for _, p := range lock.Paths {
		files[p.FileHash] = true
	}
	return len(files)
}
