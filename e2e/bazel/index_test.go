package bazel

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/validate"
)

// One image is built for two platforms: the index is that of the two images by themselves and
// that of `strata build`, to the byte, and so are its archives; the images' planned layers are made
// once, and the index alone needs no blob.
func TestIndex(t *testing.T) {
	w := newWorkspace(t)
	project, err := json.Marshal(map[string]any{
		"caches":      []string{"file://" + filepath.Join(sourceDir(t), "testdata/web/cache")},
		"public_keys": []string{"strata-web-1:f3mF6lUioKmEsF3TziQjGjlDqBeyG+WYPjOdFzlhmBU="},
		"systems":     []string{"x86_64-linux", "aarch64-linux"},
		// Nothing in a store path says which system it is for.
		"roots": map[string]any{"app": map[string]string{
			"x86_64-linux":  "/nix/store/31ghqicg521gnf9c0bd7xcysfkcjsa5j-sed-4.9",
			"aarch64-linux": "/nix/store/ijxvdx78ygdjwpxhq01h3lcvhhcp26rl-gnugrep-3.8",
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.write("strata.json", string(project))
	strata := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(tool(t, "strata"), args...)
		cmd.Dir = w.dir
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("strata %s: %v", strings.Join(args, " "), err)
		}
		return strings.TrimSpace(string(out))
	}
	strata("lock")
	w.write("BUILD.bazel", `load("@rules_strata//rules:image.bzl", "image")
load("@rules_strata//rules:image_archive.bzl", "image_archive")
load("@rules_strata//rules:image_index.bzl", "image_index")

SYSTEMS = ["x86_64-linux", "aarch64-linux"]

image(
    name = "app",
    contents = ["@store//:app"],
    media_types = "docker",
    user = "1:1",
)

image_index(
    name = "index",
    image = ":app",
    repo_tags = ["app:dev"],
    systems = SYSTEMS,
)

[image(
    name = "app_" + system,
    contents = ["@store//%s:app" % system],
    media_types = "docker",
    repo_tags = ["app:" + system],
    user = "1:1",
) for system in SYSTEMS]

image_index(
    name = "index_of_images",
    images = [":app_" + system for system in SYSTEMS],
)

image_archive(
    name = "legacy",
    compression = "gzip",
    format = "docker-archive",
    image = ":index",
    legacy = True,
)

image_archive(
    name = "nixery",
    format = "nixery",
    image = ":app_x86_64-linux",
)
`)
	want := strata("build", "--system", "all", "--media-types", "docker", "--user", "1:1", "--tag", "app:dev", "-o", "index.tar")
	got, ran := w.digest("//:index")
	if got != want {
		t.Errorf("Bazel's index is %s, that of strata build %s", got, want)
	}
	// Six paths and five, of which two are the same.
	if started, want := ran.started(), (map[string]int{"StrataLayer": 9, "StrataImage": 2, "StrataIndex": 1}); !maps.Equal(started, want) {
		t.Errorf("an index of two images: started %v, want %v", started, want)
	}
	if of, ran := w.digest("//:index_of_images"); of != want || ran.ran("StrataLayer") > 0 {
		t.Errorf("of images by their targets it is %s, want %s; %d layers made anew", of, want, ran.ran("StrataLayer"))
	}

	w.build("//:index", "//:legacy", "//:nixery", "--output_groups=+layout")
	strata("build", "--system", "all", "--media-types", "docker", "--user", "1:1", "--tag", "app:dev", "-o", "legacy.tar.gz",
		"--format", "docker-archive", "--legacy", "--archive-compression", "gzip")
	for _, name := range []string{"index.tar", "legacy.tar.gz"} {
		path := w.outputs("//:"+strings.TrimSuffix(strings.TrimSuffix(name, ".gz"), ".tar"), "default")[0]
		built, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(built, []byte(w.read(name))) {
			t.Errorf("%s: Bazel and strata build give two archives", name)
		}
		judge(t, path)
	}
	judge(t, w.outputs("//:index", "layout")[0])
	strata("build", "--system", "x86_64-linux", "--media-types", "docker", "--user", "1:1", "--format", "nixery", "-o", "nixery")
	b, err := os.ReadFile(filepath.Join(w.outputs("//:nixery", "default")[0], "manifest-output.json"))
	if err != nil || string(b) != w.read("nixery/manifest-output.json") {
		t.Errorf("Nixery's output is another one (%v):\n%s", err, b)
	}
}

// judge has the oracle look for faults in an archive or a layout.
func judge(t *testing.T, path string) {
	t.Helper()
	r, err := validate.Image(t.Context(), path)
	if err == nil {
		err = r.Err()
	}
	if err != nil {
		t.Errorf("%s: %v", path, err)
	}
}
