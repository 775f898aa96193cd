package main

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Killed at any moment and started again, strata serve gives right bytes: what it left behind is whole, or not believed.
func TestServe_Killed(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	project := `{"caches": ["file://` + webDir + `/cache"], "public_keys": ["` + webKey(t, "strata-web-1") + `"], "systems": ["x86_64-linux"],
		"channels": {"x": "file://` + webDir + `/closure/paths"}, "roots": {"web": "/nix/store/dr6a8bs5f2hyww3awb6nnhxlg3qvfdhr-web-1.0"}}`
	if err := os.WriteFile(filepath.Join(dir, "strata.json"), []byte(project), 0o666); err != nil {
		t.Fatal(err)
	}
	// start returns a server's host; it is killed by kill.
	start := func(cache string) (host string, kill func()) {
		t.Helper()
		address := filepath.Join(dir, "address")
		os.Remove(address)
		c := exec.Command(program, "serve", "--listen", "127.0.0.1:0", "--address-file", address, "--cache", cache, "-q")
		c.Args[0], c.Dir = "strata", dir // This test's program is strata, too, under that name.
		var stderr bytes.Buffer
		c.Stderr = &stderr
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { c.Wait(); close(ended) }()
		kill = func() {
			c.Process.Kill()
			<-ended
		}
		t.Cleanup(kill)
		for {
			if b, err := os.ReadFile(address); err == nil {
				return strings.TrimSpace(string(b)), kill
			}
			select {
			case <-ended:
				t.Fatalf("strata serve: %s", &stderr)
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
	pull := func(ctx context.Context, host, image string, args ...string) (digest string, ok bool) {
		var out bytes.Buffer
		code := run(ctx, append([]string{"pull", "-q", host + "/" + image}, args...), &out, new(bytes.Buffer))
		_, digest, _ = strings.Cut(strings.TrimSpace(out.String()), "@")
		return digest, code == exitOK
	}
	images := []string{"shell/sed", "openssl", "shell/gnugrep", "zlib/sed"}
	want := map[string]string{}
	host, kill := start("whole")
	for _, image := range images {
		digest, ok := pull(t.Context(), host, image, "--resolve")
		if !ok {
			t.Fatalf("%s isn't to be had", image)
		}
		want[image] = digest
	}
	kill()
	for range 8 {
		host, kill := start("killed")
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for _, image := range images {
				pull(ctx, host, image, "--resolve")
			}
		}()
		time.Sleep(time.Duration(rand.IntN(150)) * time.Millisecond)
		kill()
		stop()
		<-ended
	}
	host, kill = start("killed")
	for i, image := range images {
		output := filepath.Join(dir, images[i][strings.LastIndexByte(images[i], '/')+1:]+string(rune('0'+i))+".oci")
		if digest, ok := pull(t.Context(), host, image, "-o", output); !ok || digest != want[image] { // pull checks each byte
			t.Errorf("%s: %s, %v; want %s", image, digest, ok, want[image])
		}
	}
	kill()
	if left, err := filepath.Glob(filepath.Join(dir, "killed", "*", ".*.tmp")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
