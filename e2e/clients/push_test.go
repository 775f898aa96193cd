package clients_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestPush pushes the image to a registry with strata, skopeo and crane, and has strata and skopeo
// say which manifest they get of what strata pushed. (TestMatrix has all others.)
func TestPush(t *testing.T) {
	img := web(t)
	need(t, "skopeo", "crane")
	host := registry(t)
	// Bazel's layout has links to the blobs, which crane refuses.
	layout := filepath.Join(scratch(t), "layout")
	run(t, "cp", "-r", "-L", img.layout, layout)
	pushes := []struct {
		name string
		push []string
	}{
		{"strata-archive", []string{given(strataEnv), "push", "-q", img.archive, "REF"}},
		{"strata-layout", []string{given(strataEnv), "push", "-q", img.layout, "REF"}},
		{"skopeo-archive", []string{"skopeo", "copy", "--dest-tls-verify=false", "oci-archive:" + img.archive, "docker://REF"}},
		{"skopeo-layout", []string{"skopeo", "copy", "--dest-tls-verify=false", "oci:" + img.ociLayout(), "docker://REF"}},
		{"crane-layout", []string{"crane", "push", "--insecure", layout, "REF"}},
	}
	for _, p := range pushes {
		ref := host + "/" + p.name + ":dev"
		t.Run(p.name, func(t *testing.T) {
			for i, a := range p.push {
				p.push[i] = strings.Replace(a, "REF", ref, 1)
			}
			run(t, p.push[0], p.push[1:]...)
			if got := registryDigest(t, host, p.name, "dev"); got != img.digest {
				t.Errorf("the registry's manifest is %s, want %s", got, img.digest)
			}
			run(t, "crane", "validate", "--insecure", "--remote", ref)
		})
	}
	t.Run("crane-archive", func(t *testing.T) {
		// crane reads a docker archive and makes a manifest of docker's kind.
		ref := host + "/crane-archive:dev"
		run(t, "crane", "push", "--insecure", img.archive, ref)
		var config ocispec.Image
		if err := json.Unmarshal([]byte(run(t, "crane", "config", "--insecure", ref)), &config); err != nil {
			t.Fatal(err)
		}
		judgeConfig(t, "crane config", img, &config)
		var m ocispec.Manifest
		if err := json.Unmarshal([]byte(run(t, "crane", "manifest", "--insecure", ref)), &m); err != nil {
			t.Fatal(err)
		}
		same := func(a, b ocispec.Descriptor) bool { return a.Digest == b.Digest && a.Size == b.Size }
		if !slices.EqualFunc(m.Layers, img.manifest.Layers, same) {
			t.Errorf("layers %v, want %v", m.Layers, img.manifest.Layers)
		}
	})

	ref := host + "/" + pushes[0].name + ":dev"
	t.Run("pull_strata", func(t *testing.T) {
		dir := scratch(t)
		whole, shallow := filepath.Join(dir, "whole"), filepath.Join(dir, "shallow")
		want := host + "/" + pushes[0].name + "@" + img.digest.String()
		if got := run(t, given(strataEnv), "pull", "-q", ref, "-o", whole); got != want {
			t.Errorf("strata pull says %q, want %q", got, want)
		}
		judgeByOracle(t, whole)
		run(t, given(strataEnv), "pull", "-q", "--shallow", want, "-o", shallow)
		entries, err := os.ReadDir(filepath.Join(shallow, "blobs", "sha256"))
		if err != nil || len(entries) != 2 {
			t.Errorf("the shallow layout has the blobs %v (%v), want manifest and config", entries, err)
		}
		run(t, given(strataEnv), "pull", "-q", want, "-o", shallow)
		judgeByOracle(t, shallow)
		run(t, "crane", "validate", "--insecure", "--remote", ref)
	})
	t.Run("pull_skopeo", func(t *testing.T) {
		dir := scratch(t) + "/pulled"
		run(t, "skopeo", "copy", "--src-tls-verify=false", "docker://"+ref, "oci:"+dir+":dev")
		pulled := &image{layout: dir}
		if err := pulled.readLayout(); err != nil {
			t.Fatal(err)
		}
		if pulled.digest != img.digest {
			t.Errorf("pulled %s, want %s", pulled.digest, img.digest)
		}
	})
}

// registryDigest is the SHA-256 of the manifest that the registry serves.
func registryDigest(t *testing.T, host, name, tag string) digest.Digest {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+host+"/v2/"+name+"/manifests/"+tag, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", ocispec.MediaTypeImageManifest)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != ocispec.MediaTypeImageManifest {
		t.Fatalf("%s: %s, %s\n%s", req.URL, resp.Status, resp.Header.Get("Content-Type"), b)
	}
	return digest.FromBytes(b)
}
