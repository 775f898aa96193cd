package clients_test

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// probeForm is an archive of an image that prints probeOutput, in a form that args say, and the image's digest.
func probeForm(t *testing.T, lock string, args ...string) (archive string, d digest.Digest) {
	t.Helper()
	dir := scratch(t)
	archive = filepath.Join(dir, "archive")
	all := append(probeSettings("--lock", lock, "--root", "probe", "--tag", "probe:dev", "-o", archive, "--digest-file", archive+".digest"), args...)
	if err := strata(all...); err != nil {
		t.Fatal(err)
	}
	return archive, digest.Digest(strings.TrimSpace(readFile(t, archive+".digest")))
}

// probeLock locks bash for two systems. Nothing in a store path says which it is for, so that both of
// its images run here.
func probeLock(t *testing.T) string {
	t.Helper()
	cache, err := filepath.Abs(filepath.Join(root, "testdata/web/cache"))
	if err != nil {
		t.Fatal(err)
	}
	project, err := json.Marshal(map[string]any{
		"caches":      []string{"file://" + cache},
		"public_keys": []string{testKey},
		"systems":     []string{"x86_64-linux", "aarch64-linux"},
		"roots":       map[string]any{"probe": map[string]string{"x86_64-linux": bashPath, "aarch64-linux": bashPath}},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(scratch(t), "strata.json")
	if err := os.WriteFile(file, project, 0o600); err != nil {
		t.Fatal(err)
	}
	lock := filepath.Join(filepath.Dir(file), "strata.lock.json")
	if err := strata("lock", "--project", file, "-o", lock); err != nil {
		t.Fatal(err)
	}
	return lock
}

// judgeProbe wants the program's output to be probeOutput.
func judgeProbe(t *testing.T, what, output string) {
	t.Helper()
	if output != probeOutput {
		t.Errorf("%s: the program says %q, want %q", what, output, probeOutput)
	}
}

// TestFormats has each client take the forms of archive that are made for it, and run what is in them.
func TestFormats(t *testing.T) {
	const amd64 = "--system=x86_64-linux"
	lock := probeLock(t)
	forms := map[string][]string{
		// Layers that docker 20.10 couldn't read, as tars.
		"docker-archive":      {amd64, "--format=docker-archive", "--compression=zstd"},
		"docker-archive.gzip": {amd64, "--format=docker-archive", "--archive-compression=gzip"},
		"docker-archive.zstd": {amd64, "--format=docker-archive", "--archive-compression=zstd"},
		"legacy":              {amd64, "--format=docker-archive", "--legacy"},
		"oci-archive":         {amd64, "--format=oci-archive"},
		"oci-archive.gzip":    {amd64, "--format=oci-archive", "--archive-compression=gzip"},
		"archive.gzip":        {amd64, "--archive-compression=gzip"},
		"archive.zstd":        {amd64, "--archive-compression=zstd"},
		"docker's types":      {amd64, "--media-types=docker"},
	}
	archives, digests := map[string]string{}, map[string]digest.Digest{}
	for name, args := range forms {
		archives[name], digests[name] = probeForm(t, lock, args...)
		judgeByOracle(t, archives[name])
	}
	t.Run("docker", func(t *testing.T) {
		d := docker(t)
		for _, name := range []string{"docker-archive", "docker-archive.gzip", "legacy", "archive.gzip", "docker's types"} {
			if got := d.run(t, "load", "--input", archives[name]); got != "Loaded image: probe:dev" {
				t.Errorf("%s: docker load says %q", name, got)
			}
			judgeProbe(t, name, d.run(t, "run", "--rm", "--network=none", "probe:dev"))
			d.run(t, "image", "rm", "--force", "probe:dev")
		}
		// Without manifest.json docker reads what its versions before 1.10 read.
		old := filepath.Join(scratch(t), "old.tar")
		withoutEntry(t, archives["legacy"], old, "manifest.json")
		d.run(t, "load", "--input", old)
		judgeProbe(t, "legacy alone", d.run(t, "run", "--rm", "--network=none", "probe:dev"))
	})
	t.Run("podman", func(t *testing.T) {
		// Not docker-archive.gzip: podman 4.3 and skopeo 1.9 refuse one ("invalid tar header"), made by gzip(1) either.
		p := podman(t, "runc")
		for _, name := range []string{"docker-archive", "docker-archive.zstd", "legacy", "oci-archive", "oci-archive.gzip", "archive.gzip", "archive.zstd", "docker's types"} {
			p.run(t, "load", "--input", archives[name])
			judgeProbe(t, name, p.run(t, podmanRun("--rm", "docker.io/library/probe:dev")...))
			p.run(t, "image", "rm", "--force", "docker.io/library/probe:dev")
		}
	})
	t.Run("containerd", func(t *testing.T) {
		ctr := containerd(t)
		for _, name := range []string{"oci-archive", "docker's types"} {
			ctr.run(t, "images", "import", "--snapshotter=overlayfs", archives[name])
			list := ctr.run(t, "images", "check", "--snapshotter=overlayfs", "name==docker.io/library/probe:dev")
			if !strings.Contains(list, digests[name].String()) || !strings.Contains(list, " complete ") {
				t.Errorf("%s: ctr images check says\n%s\nwant %s, complete", name, list, digests[name])
			}
			judgeProbe(t, name, ctr.run(t, "run", "--rm", "--snapshotter=overlayfs", "--cgroup", cgroupParent()+"/probe", "docker.io/library/probe:dev", "probe"))
		}
	})
	t.Run("skopeo", func(t *testing.T) {
		need(t, "skopeo")
		for _, from := range []struct{ transport, name string }{
			{"docker-archive", "docker-archive"},
			{"docker-archive", "legacy"},
			{"docker-archive", "archive.zstd"},
			{"oci-archive", "oci-archive"},
			{"oci-archive", "oci-archive.gzip"},
			{"oci-archive", "docker's types"},
		} {
			ref := from.transport + ":" + archives[from.name]
			dir := filepath.Join(scratch(t), "copy")
			run(t, "skopeo", "copy", ref, "dir:"+dir)
			got := digest.FromString(readFile(t, filepath.Join(dir, "manifest.json")))
			if from.transport == "oci-archive" && got != digests[from.name] {
				t.Errorf("%s: digest %s, want %s", ref, got, digests[from.name])
			}
			var config ocispec.Image
			if err := json.Unmarshal([]byte(run(t, "skopeo", "inspect", "--config", ref)), &config); err != nil {
				t.Fatal(err)
			}
			if config.Architecture != "amd64" || config.Config.WorkingDir != "/nix/store" || config.Config.User != "1234:5678" {
				t.Errorf("%s: config %+v", ref, config)
			}
		}
	})
	t.Run("registry", func(t *testing.T) {
		address := registry(t)
		need(t, "skopeo")
		to := "docker://" + address + "/probe:dev"
		run(t, "skopeo", "copy", "--preserve-digests", "--dest-tls-verify=false", "oci-archive:"+archives["docker's types"], to)
		if got := digest.FromString(run(t, "skopeo", "inspect", "--raw", "--tls-verify=false", to)); got != digests["docker's types"] {
			t.Errorf("in the registry it is %s, want %s", got, digests["docker's types"])
		}
	})
}

// TestIndex has each client take an image of two platforms as one, and run the one of this machine.
func TestIndex(t *testing.T) {
	lock := probeLock(t)
	archive, index := probeForm(t, lock, "--system=all")
	judgeByOracle(t, archive)
	single := map[string]digest.Digest{}
	for arch, system := range map[string]string{"amd64": "x86_64-linux", "arm64": "aarch64-linux"} {
		_, single[arch] = probeForm(t, lock, "--system="+system)
	}
	t.Run("skopeo", func(t *testing.T) {
		need(t, "skopeo")
		raw := run(t, "skopeo", "inspect", "--raw", "oci-archive:"+archive)
		if got := digest.FromString(raw); got != index {
			t.Errorf("it is %s, want %s", got, index)
		}
		var x ocispec.Index
		if err := json.Unmarshal([]byte(raw), &x); err != nil {
			t.Fatal(err)
		}
		if len(x.Manifests) != 2 {
			t.Fatalf("%d manifests", len(x.Manifests))
		}
		for _, d := range x.Manifests {
			if d.Digest != single[d.Platform.Architecture] {
				t.Errorf("%s is %s in the index, and %s alone", d.Platform.Architecture, d.Digest, single[d.Platform.Architecture])
			}
		}
		for arch, want := range single {
			dir := filepath.Join(scratch(t), "copy")
			run(t, "skopeo", "--override-arch", arch, "copy", "oci-archive:"+archive, "dir:"+dir)
			if got := digest.FromString(readFile(t, filepath.Join(dir, "manifest.json"))); got != want {
				t.Errorf("%s: skopeo takes %s, want %s", arch, got, want)
			}
			run(t, "skopeo", "copy", "docker-archive:"+archive+":probe:dev-"+arch, "dir:"+filepath.Join(scratch(t), "copy"))
		}
	})
	t.Run("registry", func(t *testing.T) {
		address := registry(t)
		need(t, "skopeo")
		to := "docker://" + address + "/probe:dev"
		run(t, "skopeo", "copy", "--all", "--preserve-digests", "--dest-tls-verify=false", "oci-archive:"+archive, to)
		if got := digest.FromString(run(t, "skopeo", "inspect", "--raw", "--tls-verify=false", to)); got != index {
			t.Errorf("in the registry it is %s, want %s", got, index)
		}
	})
	t.Run("podman", func(t *testing.T) {
		p := podman(t, "runc")
		p.run(t, "load", "--input", archive)
		if arch := p.run(t, "image", "inspect", "--format", "{{.Architecture}}", "docker.io/library/probe:dev"); arch != "amd64" {
			t.Errorf("podman has the image for %s", arch)
		}
		judgeProbe(t, "podman", p.run(t, podmanRun("--rm", "docker.io/library/probe:dev")...))
	})
	t.Run("containerd", func(t *testing.T) {
		ctr := containerd(t)
		ctr.run(t, "images", "import", "--all-platforms", "--snapshotter=overlayfs", archive)
		list := ctr.run(t, "images", "ls", "name==docker.io/library/probe:dev")
		for _, want := range []string{index.String(), "linux/amd64", "linux/arm64"} {
			if !strings.Contains(list, want) {
				t.Errorf("ctr images ls says\n%s\nwant %s in it", list, want)
			}
		}
		for arch := range single {
			dir := filepath.Join(scratch(t), arch)
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			ctr.run(t, "images", "mount", "--platform=linux/"+arch, "--snapshotter=overlayfs", "docker.io/library/probe:dev", dir)
			judgeTree(t, treeOf(t, probePaths...), dir, true)
			ctr.run(t, "images", "unmount", "--rm", "--snapshotter=overlayfs", dir)
		}
		judgeProbe(t, "containerd", ctr.run(t, "run", "--rm", "--platform=linux/amd64", "--snapshotter=overlayfs", "--cgroup", cgroupParent()+"/probe", "docker.io/library/probe:dev", "probe"))
	})
	t.Run("docker", func(t *testing.T) {
		d := docker(t)
		d.run(t, "load", "--input", archive)
		for arch := range single {
			if got := d.run(t, "image", "inspect", "--format", "{{.Architecture}}", "probe:dev-"+arch); got != arch {
				t.Errorf("probe:dev-%s is for %s", arch, got)
			}
		}
		judgeProbe(t, "docker", d.run(t, "run", "--rm", "--network=none", "probe:dev-amd64"))
	})
}

// withoutEntry copies a tar without one of its entries.
func withoutEntry(t *testing.T, from, to, name string) {
	t.Helper()
	err := func() error {
		in, err := os.Open(from)
		if err != nil {
			return err
		}
		defer in.Close()
		out, err := os.Create(to)
		if err != nil {
			return err
		}
		defer out.Close()
		w := tar.NewWriter(out)
		for r, found := tar.NewReader(in), false; ; {
			h, err := r.Next()
			switch {
			case err == io.EOF && !found:
				return fmt.Errorf("%s has no entry %s", from, name)
			case err == io.EOF:
				return w.Close()
			case err != nil:
				return err
			case h.Name == name:
				found = true
				continue
			}
			if err := w.WriteHeader(h); err != nil {
				return err
			}
			if _, err := io.Copy(w, r); err != nil {
				return err
			}
		}
	}()
	if err != nil {
		t.Fatal(err)
	}
}
