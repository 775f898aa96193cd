package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/lock"
	"github.com/rules-strata/rules_strata/tool/plan"
)

// described is an image as the rule image_push describes it, in a folder that stands for Bazel's.
func described(t *testing.T, lockFile string) (dir string, layers []builtLayer) {
	t.Helper()
	dir = t.TempDir()
	l, err := lock.Read(lockFile)
	if err != nil {
		t.Fatal(err)
	}
	b := &builder{lock: l, client: fetch.New(fetch.Options{Dir: lock.Folder(lockFile)}), progress: &progress{console: console{w: io.Discard}}}
	var plans []plan.Layer
	for _, name := range l.Plan.Images["web"]["x86_64-linux"][:5] {
		plans = append(plans, plan.Layer{Name: name, Paths: l.Plan.Layers[name]})
	}
	if layers, err = b.buildLayers(t.Context(), dir, plans, nil); err != nil {
		t.Fatal(err)
	}
	write := func(name string, b []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d := pushDescription{
		Path: "x.push.json", Repository: "team/{STABLE_TEAM}", Tags: []string{"v-{BUILD_NUMBER}"}, TagFiles: []string{"tags"},
		StatusFiles: []string{"stable", "volatile"}, Images: make([]imageDescription, 1),
	}
	write("tags", []byte("from-a-file\n"))
	write("stable", []byte("STABLE_TEAM web\n"))
	write("volatile", []byte("BUILD_NUMBER 7\nEMPTY \n"))
	var files []*digestfile.File
	for i, l := range layers {
		b, err := l.file.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		write(fmt.Sprintf("%d.json", i), b)
		files = append(files, l.file)
		d.Images[0].Layers = append(d.Images[0].Layers, struct {
			DigestFile string `json:"digestFile"`
			Blob       string `json:"blob"`
		}{fmt.Sprintf("%d.json", i), fmt.Sprint(i)})
	}
	img, err := image.Build(image.Settings{System: "x86_64-linux"}, files)
	if err != nil {
		t.Fatal(err)
	}
	d.Images[0].Manifest, d.Images[0].Config = "manifest.json", "config.json"
	write("manifest.json", img.Manifest)
	write("config.json", img.Config)
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	write("x.push.json", text)
	return dir, layers
}

// What image_push describes is pushed, its blobs taken from wherever they are: and if they are nowhere, it is said what
// to do.
func TestPush_Description(t *testing.T) {
	lockFile, err := filepath.Abs("../../../examples/web/strata.lock.json")
	if err != nil {
		t.Fatal(err)
	}
	dir, layers := described(t, lockFile)
	push := func(args ...string) (out, errs string, code int) {
		t.Helper()
		s := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
		defer s.Close()
		var stdout, stderr bytes.Buffer
		host := s.Listener.Addr().String()
		code = run(t.Context(), append([]string{"push", filepath.Join(dir, "x.push.json"), "--registry", host}, args...), &stdout, &stderr)
		return strings.ReplaceAll(stdout.String(), host, "HOST"), stderr.String(), code
	}
	good := func(why string, args ...string) {
		t.Helper()
		out, errs, code := push(args...)
		if code != exitOK || !strings.Contains(errs, ": 6 (") || !strings.HasSuffix(out, "HOST/team/web:v-7\nHOST/team/web:from-a-file\n") {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q", why, code, out, errs)
		}
	}
	good("from Bazel's folder")

	cache := t.TempDir()
	for i, l := range layers {
		hex := l.file.Descriptor.Digest.Encoded()
		if err := os.MkdirAll(filepath.Join(cache, "cas", hex[:2]), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, fmt.Sprint(i)), filepath.Join(cache, "cas", hex[:2], hex)); err != nil {
			t.Fatal(err)
		}
	}
	out, errs, code := push()
	if code != exitFailed || out != "" || !strings.Contains(errs, "the registry lacks it, and it is in no place where it was looked for\n") || !strings.Contains(errs, "strata: hint: name the cache that Bazel has it in (--remote-cache") {
		t.Errorf("from nowhere: exit code %d, stdout %q, stderr %q", code, out, errs)
	}
	good("from a disk cache", "--remote-cache", cache)
	t.Setenv(remoteCacheVariable, "/nowhere "+cache)
	good("from a cache in the environment")
	t.Setenv(remoteCacheVariable, "")
	good("made from the lock", "--lock", lockFile)
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "strata-push-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}

	// A file of another build is in the way, of the same size.
	size := layers[0].file.Descriptor.Size
	if err := os.WriteFile(filepath.Join(dir, "0"), make([]byte, size), 0o644); err != nil {
		t.Fatal(err)
	}
	good("a stale file", "--remote-cache", cache)
	if out, errs, code = push(); code != exitFailed || !strings.Contains(errs, "BlobHash mismatch") && !strings.Contains(errs, "in no place") {
		t.Errorf("a stale file alone: exit code %d, stdout %q, stderr %q", code, out, errs)
	}
}

// A key without a value is an error wherever it stands.
func TestPushDescription_Stamped(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "status"), []byte("A 1\nB two\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	small := func(name string) string { return filepath.Join(dir, name) }
	d := pushDescription{Registry: "{A}.example.org", Repository: "x/{B}", Tags: []string{"v{A}-{B}.{A}"}, StatusFiles: []string{"status"}}
	if to, err := d.target(small); err != nil || to.registry != "1.example.org" || to.repository != "x/two" || to.tags[0] != "v1-two.1" {
		t.Errorf("%+v, %v", to, err)
	}
	for what, d := range map[string]pushDescription{
		"registry": {Registry: "{C}"}, "repository": {Repository: "{C}"}, "tag": {Tags: []string{"a", "{C}"}},
	} {
		d.StatusFiles = []string{"status"}
		if to, err := d.target(small); err == nil || err.Error() != what+` "{C}": {C} has no value: the build's status has A, B` {
			t.Errorf("%s: %+v, %v", what, to, err)
		}
	}
}
