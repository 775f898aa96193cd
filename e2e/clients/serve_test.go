package clients_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// strataServe starts strata serve over the cache of the fixtures, and returns its HOST:PORT.
func strataServe(t *testing.T, args ...string) string {
	t.Helper()
	dir := scratch(t)
	fixtures, err := filepath.Abs(filepath.Join(root, "testdata/web"))
	if err != nil {
		t.Fatal(err)
	}
	project := fmt.Sprintf(`{"caches": ["file://%s/cache"], "public_keys": [%q], "systems": ["x86_64-linux"],
		"channels": {"stable": "file://%s/closure/paths"}, "roots": {"web": "/nix/store/dr6a8bs5f2hyww3awb6nnhxlg3qvfdhr-web-1.0"}}`,
		fixtures, testKey, fixtures)
	if err := os.WriteFile(filepath.Join(dir, "strata.json"), []byte(project), 0o600); err != nil {
		t.Fatal(err)
	}
	address := filepath.Join(dir, "address")
	ended := start(t, "env", append([]string{
		given(strataEnv), "serve", "--project", filepath.Join(dir, "strata.json"), "--cache", filepath.Join(dir, "cache"),
		"--listen", "127.0.0.1:0", "--address-file", address,
	}, args...)...)
	host := ""
	await(t, "strata serve listens", ended, func() bool {
		b, err := os.ReadFile(address)
		host = strings.TrimSpace(string(b))
		return err == nil
	})
	return host
}

// TestServe has each client pull an image that strata serve makes of packages' names, and run it; and one that was built.
func TestServe(t *testing.T) {
	needIsolation(t)
	img := web(t)
	host := strataServe(t, "--image", "built:dev="+img.archive, "--image", "built:layout="+img.layout)
	ref := host + "/shell/gnugrep/sed"
	want := registryDigest(t, host, "shell/gnugrep/sed", "latest")
	// What it shall do: a program of each package, found by PATH, /bin/sh and /usr/bin/env.
	script := []string{"-c", "echo serve | sed s/serve/pulled/ | grep -o 'p.*' | /usr/bin/env cat && test -e $SSL_CERT_FILE && touch /tmp/x && echo $(id -un)"}
	const output = "pulled\nroot"

	t.Run("docker", func(t *testing.T) {
		d := docker(t)
		if out := d.run(t, "pull", ref); !strings.Contains(out, "Digest: "+want.String()+"\n") {
			t.Errorf("docker pull says\n%s\nwant digest %s", out, want)
		}
		if got := d.run(t, append([]string{"run", "--rm", "--network=none", ref, "/bin/sh"}, script...)...); got != output {
			t.Errorf("%q", got)
		}
		if _, failure := d.try(t, "pull", host+"/zlb"); !strings.Contains(failure, "like this one are zlib") {
			t.Errorf("docker says of what isn't there: %s", failure)
		}
		d.run(t, "pull", host+"/built:dev")
	})
	t.Run("podman", func(t *testing.T) {
		p := podman(t, "runc")
		p.run(t, "pull", "--tls-verify=false", ref)
		if got := p.run(t, append(podmanRun("--rm", ref, "bash"), script...)...); got != output {
			t.Errorf("%q", got)
		}
		if _, failure := p.try(t, "pull", "--tls-verify=false", host+"/zlb"); !strings.Contains(failure, "like this one are zlib") {
			t.Errorf("podman says of what isn't there: %s", failure)
		}
		p.run(t, "pull", "--tls-verify=false", host+"/built:layout")
	})
	t.Run("containerd", func(t *testing.T) {
		ctr := containerd(t)
		full := ref + ":stable"
		ctr.run(t, "images", "pull", "--plain-http", "--snapshotter=overlayfs", full)
		if out := ctr.run(t, "images", "list", "name=="+full); !strings.Contains(out, want.String()) {
			t.Errorf("ctr images list says\n%s\nwant digest %s", out, want)
		}
		args := append([]string{"run", "--rm", "--snapshotter=overlayfs", "--cgroup", cgroupParent() + "/serve", full, "serve", "/bin/sh"}, script...)
		if got := ctr.run(t, args...); got != output {
			t.Errorf("%q", got)
		}
		ctr.run(t, "images", "pull", "--plain-http", "--snapshotter=overlayfs", host+"/built:dev")
	})
	t.Run("skopeo", func(t *testing.T) {
		need(t, "skopeo")
		dir := scratch(t) + "/pulled"
		run(t, "skopeo", "copy", "--src-tls-verify=false", "docker://"+ref, "oci:"+dir+":dev")
		pulled := &image{layout: dir}
		if err := pulled.readLayout(); err != nil {
			t.Fatal(err)
		}
		if pulled.digest != want {
			t.Errorf("pulled %s, want %s", pulled.digest, want)
		}
		judgeByOracle(t, dir)
		if out := run(t, "skopeo", "list-tags", "--tls-verify=false", "docker://"+ref); !strings.Contains(out, "stable") {
			t.Errorf("skopeo list-tags says %s", out)
		}
	})
	t.Run("crane", func(t *testing.T) {
		need(t, "crane")
		run(t, "crane", "validate", "--insecure", "--remote", ref)
		for _, tag := range []string{"dev", "layout"} {
			run(t, "crane", "validate", "--insecure", "--remote", host+"/built:"+tag)
			if got := digest.Digest(run(t, "crane", "digest", "--insecure", host+"/built:"+tag)); got != img.digest {
				t.Errorf("crane digest says %s of %s, want %s", got, tag, img.digest)
			}
		}
		if got := run(t, "crane", "catalog", "--insecure", host); got != "built\nweb" {
			t.Errorf("crane catalog says %q", got)
		}
		if _, failure := try(t, "crane", "push", "--insecure", img.archive, host+"/x"); !strings.Contains(failure, "UNSUPPORTED") {
			t.Errorf("crane push says %s", failure)
		}
	})
}
