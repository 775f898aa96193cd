package bazel

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"

	"github.com/rules-strata/rules_strata/tool/validate"
)

// startRegistry starts a registry that believes nearly everything: what moves is at issue here. What real ones make of a push is
// tested in e2e/clients.
func startRegistry(t *testing.T) (host string) {
	t.Helper()
	s := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// run runs `bazel run` of a target with arguments behind it, and returns what that printed.
func (w *workspace) run(flags []string, target string, args ...string) string {
	w.t.Helper()
	all := append(append(append([]string{}, buildFlags...), flags...), target, "--")
	cmd := w.command("run", append(all, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		w.t.Fatalf("bazel run %s: %v\n%s%s", target, err, out, &stderr)
	}
	return string(out)
}

// pushed is what strata push --json says.
type pushed struct {
	Reference, Digest    string
	Tags                 []string
	Sent, There, Mounted struct{ Count, Bytes int64 }
}

func (w *workspace) push(flags []string, target string, args ...string) (p pushed) {
	w.t.Helper()
	out := w.run(flags, target, append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), &p); err != nil {
		w.t.Fatalf("%v\n%s", err, out)
	}
	return p
}

// withPush adds a target that pushes :web to a registry.
// The flag that it returns stamps what is built.
func withPush(w *workspace, host string) (status string) {
	w.write("BUILD.bazel", `load("@rules_strata//rules:push.bzl", "image_push")
`+w.read("BUILD.bazel")+fmt.Sprintf(`
image_push(
    name = "push",
    image = ":web",
    registry = %q,
    remote_tags = ["dev", "v-{STABLE_VERSION}"],
    repository = "team/web",
    tag_files = ["tags.txt"],
)
`, host))
	w.write("tags.txt", "from-a-file\n")
	w.write("status.sh", "#!/bin/sh\necho STABLE_VERSION 1.2\n")
	script := filepath.Join(w.dir, "status.sh")
	if err := os.Chmod(script, 0o755); err != nil {
		w.t.Fatal(err)
	}
	return "--workspace_status_command=" + script
}

// A push takes layers from Bazel's output tree; and the base that strata.pull declares is what was pushed.
func TestPush_FromOutputTree(t *testing.T) {
	host := startRegistry(t)
	w := newWorkspace(t)
	status := withPush(w, host)
	p := w.push([]string{status}, "//:push")
	want := []string{host + "/team/web:dev", host + "/team/web:v-1.2", host + "/team/web:from-a-file"}
	if strings.Join(p.Tags, " ") != strings.Join(want, " ") || p.Sent.Count == 0 || p.Reference != host+"/team/web@"+p.Digest {
		t.Errorf("%+v, want tags %q", p, want)
	}
	if again := w.push([]string{status}, "//:push"); again.Sent.Count != 0 || again.There.Count != p.Sent.Count {
		t.Errorf("again: %+v", again)
	}
	if other := w.push([]string{status}, "//:push", "--repository", "team/other", "--tag", "x"); other.Reference != host+"/team/other@"+p.Digest || len(other.Tags) != 1 {
		t.Errorf("elsewhere: %+v", other)
	}
	if got := manifestDigest(t, host, "team/other", "x"); got != p.Digest {
		t.Errorf("the registry has %s, want %s", got, p.Digest)
	}

	for _, shallow := range []bool{true, false} {
		name := map[bool]string{true: "shallow", false: "whole"}[shallow]
		w.write("MODULE.bazel", w.read("MODULE.bazel")+fmt.Sprintf(`
strata.pull(
    name = %q,
    digest = %q,
    registry = %q,
    repository = "team/web",
    shallow = %s,
)
use_repo(strata, %[1]q)
`, name, p.Digest, host, map[bool]string{true: "True", false: "False"}[shallow]))
		w.build("@" + name)
		// cquery's files are relative to the output base, in which external repositories are.
		out, err := w.command("cquery", append([]string{"@" + name, "--output=files"}, buildFlags...)...).Output()
		if err != nil {
			t.Fatal(err)
		}
		dir := ""
		for f := range strings.FieldsSeq(string(out)) {
			if filepath.Base(f) == "index.json" {
				dir = filepath.Join(w.outputBase, filepath.Dir(f))
			}
		}
		if shallow {
			entries, err := os.ReadDir(filepath.Join(dir, "blobs/sha256"))
			if err != nil || len(entries) != 2 {
				t.Errorf("shallow: %v, %v", entries, err)
			}
			continue
		}
		report, err := validate.Image(t.Context(), dir)
		if err != nil || len(report.Faults) > 0 || report.Images[0].Digest.String() != p.Digest {
			t.Errorf("whole: %+v, %v", report, err)
		}
	}
}

// A fresh machine with a remote cache and --remote_download_minimal: nothing comes to it but the layers that the registry lacks.
func TestPush_OnlyMissingBlobsMove(t *testing.T) {
	host := startRegistry(t)
	n := startNginx(t, filepath.Join(sourceDir(t), "testdata/web/cache"))
	w := newWorkspace(t)
	status := withPush(w, host)
	flags := []string{status, "--remote_cache=" + n.cache, "--remote_download_minimal", "--@rules_strata//:remote_cache=" + n.cache}
	w.build(append(flags, "//:push")...)
	if stored := n.since("cache"); stored.count("PUT", "/cas/") == 0 {
		t.Fatal("nothing was stored: what follows would show nothing")
	}

	w.newOutputBase()
	first := w.push(flags, "//:push")
	cache := n.since("cache")
	blobs := layersOf(t, host, "team/web", "dev")
	moved, bytes := cache.of(blobs)
	t.Logf("first push from a fresh machine: %d layers of %d came down, %d bytes; sent %+v", moved, len(blobs), bytes, first.Sent)
	if moved != len(blobs) || first.Sent.Count != int64(len(blobs)+1) {
		t.Errorf("%d layers came down, and %+v was sent; want all %d", moved, first.Sent, len(blobs))
	}

	w.newOutputBase()
	second := w.push(flags, "//:push")
	cache = n.since("cache")
	moved, _ = cache.of(blobs)
	var all int64
	for _, r := range cache {
		all += r.sent
	}
	t.Logf("second push from a fresh machine: %d bytes came down in all", all)
	if moved != 0 || second.Sent.Count != 0 {
		t.Errorf("second push: %d layers came down, %+v was sent; want none", moved, second.Sent)
	}
}

// of counts the requests for blobs, and their bytes.
func (t traffic) of(blobs map[string]bool) (n int, bytes int64) {
	for _, r := range t {
		if r.method == "GET" && blobs[strings.TrimPrefix(r.path, "/cas/")] {
			n++
			bytes += r.sent
		}
	}
	return n, bytes
}

func manifest(t *testing.T, host, repository, tag string) []byte {
	t.Helper()
	resp, err := http.Get("http://" + host + "/v2/" + repository + "/manifests/" + tag)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s:%s: %s, %v", repository, tag, resp.Status, err)
	}
	return b
}

func manifestDigest(t *testing.T, host, repository, tag string) string {
	return digest.FromBytes(manifest(t, host, repository, tag)).String()
}

// layersOf are the layers of an image in a registry, by their hashes.
func layersOf(t *testing.T, host, repository, tag string) map[string]bool {
	t.Helper()
	var m struct {
		Layers []struct{ Digest digest.Digest }
	}
	if err := json.Unmarshal(manifest(t, host, repository, tag), &m); err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for _, l := range m.Layers {
		out[l.Digest.Encoded()] = true
	}
	return out
}
