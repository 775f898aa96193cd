package bazel

import (
	"bytes"
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// plannedLayers is the number of layers that the lock plans for a root.
func (w *workspace) plannedLayers(root string) int {
	w.t.Helper()
	var lock struct {
		Plan struct {
			Images map[string]map[string][]string `json:"images"`
		} `json:"plan"`
	}
	if err := json.Unmarshal([]byte(w.read("strata.lock.json")), &lock); err != nil {
		w.t.Fatal(err)
	}
	n := len(lock.Plan.Images[root]["x86_64-linux"])
	if n == 0 {
		w.t.Fatalf("the lock plans no layers for %s", root)
	}
	return n
}

// Two images over one closure share every layer action; what only an archive
// needs is not done for a manifest; a change of cmd reruns the image action
// alone; a disk cache brings every layer back after `bazel clean`.
func TestActions(t *testing.T) {
	w := newWorkspace(t)
	disk := "--disk_cache=" + filepath.Join(t.TempDir(), "disk")
	layers := w.plannedLayers("web")

	ran := w.build(disk, "--output_groups=manifest", "//:web", "//:web_debug")
	want := map[string]int{"StrataLayer": layers, "StrataImage": 2}
	if got := ran.started(); !maps.Equal(got, want) {
		t.Errorf("manifests of two images over one closure of %d layers: started %v, want %v", layers, got, want)
	}
	for _, s := range ran {
		if s.Mnemonic != "StrataImage" {
			continue
		}
		for _, in := range s.Inputs {
			if strings.Contains(in.Path, ".tar") {
				t.Errorf("%s reads %s: the image action must need no blob", s.TargetLabel, in.Path)
			}
		}
	}

	w.edit("BUILD.bazel", `"--debug"`, `"--more-debug"`)
	ran = w.build(disk, "--output_groups=manifest", "//:web", "//:web_debug")
	want = map[string]int{"StrataImage": 1}
	if got := ran.started(); !maps.Equal(got, want) {
		t.Errorf("after a change of one image's cmd: started %v, want %v", got, want)
	}

	// Built by name, under other options, as part of another image: still the same actions.
	ran = w.build(disk, "-c", "opt", "--output_groups=manifest", "//:web", "//:web_debug")
	if n := ran.ran("StrataLayer"); n != 0 {
		t.Errorf("with -c opt, %d layer actions ran again, want 0", n)
	}

	if out, err := w.command("clean").CombinedOutput(); err != nil {
		t.Fatalf("bazel clean: %v\n%s", err, out)
	}
	ran = w.build(disk, "//:web", "//:web_debug")
	if n := ran.ran("StrataLayer"); n != 0 {
		t.Errorf("after bazel clean, with a disk cache, %d layer actions ran again, want 0", n)
	}
	if n := ran.cached("StrataLayer"); n != layers {
		t.Errorf("after bazel clean, %d layers came from the disk cache, want %d", n, layers)
	}
	if n := ran.ran("StrataArchive"); n != 2 {
		t.Errorf("%d archive actions ran for two images, want 2", n)
	}
	t.Logf("two images, %d layers: %d layer actions in all, 0 after bazel clean", layers, layers)
}

// A layer of the user's own comes first, the rest of the closure follows, and
// fewer layers than planned keep the planned ones that stay whole.
func TestLayersOfOnesOwn(t *testing.T) {
	w := newWorkspace(t)
	w.build("--output_groups=manifest", "//:bash", "//:web", "//:web_few_layers")
	var manifest struct {
		Layers []struct {
			Digest string `json:"digest"`
		} `json:"layers"`
	}
	layers := func(target string) (digests []string) {
		readJSON(t, w.outputs(target, "manifest")[0], &manifest)
		for _, l := range manifest.Layers {
			digests = append(digests, l.Digest)
		}
		return digests
	}
	if got := len(layers("//:web_few_layers")); got != 8 {
		t.Errorf("max_layers = 8: the image has %d layers", got)
	}
	web := layers("//:web")
	for i, d := range layers("//:web_few_layers")[:7] {
		if !slices.Contains(web, d) {
			t.Errorf("layer %d of //:web_few_layers is not a layer of //:web", i)
		}
	}
	var libc struct {
		Descriptor struct {
			Digest string `json:"digest"`
		} `json:"descriptor"`
	}
	w.build("--output_groups=digest_file", "//:libc")
	readJSON(t, w.outputs("//:libc", "digest_file")[0], &libc)
	if got := layers("//:bash")[0]; got != libc.Descriptor.Digest {
		t.Errorf("first layer of //:bash is %s, want //:libc's %s", got, libc.Descriptor.Digest)
	}

	// Who builds on a path that is no root is told what that means, and who builds on a root isn't.
	w.write("other/BUILD.bazel", `load("@rules_strata//rules:image.bzl", "image")

image(
    name = "zlib",
    contents = ["@store//path:fvs78lpr01zrij0j6yxwkvvdpahsav7f-zlib-1.2.13"],
    system = "x86_64-linux",
)
`)
	for target, want := range map[string]bool{"//other:zlib": true, "//:bash": false} {
		out, err := w.command("build", append([]string{"--output_groups=digest", target}, buildFlags...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", target, err, out)
		}
		const note = `-zlib-1.2.13, which is none of its roots: the largest paths get a layer each, for this image alone. To share`
		if got := bytes.Contains(out, []byte(note)); got != want {
			t.Errorf("%s: a note about the plan: %t, want %t:\n%s", target, got, want, out)
		}
	}
}
