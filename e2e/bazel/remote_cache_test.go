package bazel

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/digestfile"
)

// A fresh machine with a remote cache, NARs fetched in actions: the manifest of
// an image that did not change costs neither a NAR nor a blob.
func TestRemoteCache_UnchangedImageMovesNoNARAndNoBlob(t *testing.T) {
	n := startNginx(t, filepath.Join(sourceDir(t), "testdata/web/cache"))
	w := newWorkspace(t)
	w.lock("--cache", n.nars, "--root", "web=/nix/store/dr6a8bs5f2hyww3awb6nnhxlg3qvfdhr-web-1.0")
	layers := w.plannedLayers("web")
	n.since("nars") // what the lock asked for

	flags := func() []string {
		return []string{
			"--remote_cache=" + n.cache, "--remote_download_minimal",
			"--@rules_strata//:nar_fetch=action", "--repository_cache=" + filepath.Join(t.TempDir(), "repositories"),
		}
	}
	first := w.build(append(flags(), "--output_groups=manifest", "//:web")...)
	nars, cache := n.since("nars"), n.since("cache")
	t.Logf("first build:  NARs %v; remote cache %v", nars, cache)
	if got := first.ran("StrataLayer"); got != layers {
		t.Fatalf("first build: %d layer actions ran, want %d", got, layers)
	}
	if nars.count("GET", "/nar/") == 0 || cache.count("PUT", "/cas/") == 0 {
		t.Fatal("first build: no NAR was fetched or nothing was stored: what follows would show nothing")
	}

	w.newOutputBase()
	second := w.build(append(flags(), "--output_groups=manifest", "//:web")...)
	nars, cache = n.since("nars"), n.since("cache")
	t.Logf("second build, empty output base and repository cache: NARs %v; remote cache %v", nars, cache)
	if got := second.cached("StrataLayer"); got != layers {
		t.Errorf("second build: %d layer actions were remote cache hits, want %d", got, layers)
	}
	if len(nars) != 0 {
		t.Errorf("second build: %d requests for NARs, want none; the first: %+v", len(nars), nars[0])
	}

	// Which of the cache's entries are layers, their digest files say.
	w.build(append(flags(), "--output_groups=digest_files", "--remote_download_outputs=toplevel", "//:web")...)
	n.since("cache")
	blobs := map[string]bool{}
	for _, path := range w.outputs("//:web", "digest_files", "--@rules_strata//:nar_fetch=action") {
		f, err := digestfile.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		blobs["/cas/"+f.Descriptor.Digest.Encoded()] = true
	}
	if len(blobs) == 0 {
		t.Fatal("no digest files")
	}
	for _, r := range cache {
		if r.method == "GET" && blobs[r.path] {
			t.Errorf("second build: the blob %s came down (%d bytes)", strings.TrimPrefix(r.path, "/cas/"), r.sent)
		}
	}

	// The other way to a NAR gives the same image.
	action, _ := w.digest("//:web", append(flags(), "--remote_download_outputs=toplevel")...)
	w.newOutputBase()
	if repository, _ := w.digest("//:web"); repository != action {
		t.Errorf("digest %s with NARs fetched in the action, %s with NARs as repositories", action, repository)
	}
}
