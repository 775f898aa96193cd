package clients_test

import (
	"encoding/json"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// onBase is an image of the web server, with all that a config can say, on the base in a file.
func onBase(t *testing.T, lock, base string, args ...string) *image {
	t.Helper()
	dir := scratch(t)
	archive := filepath.Join(dir, "image.tar")
	if err := strata(append([]string{
		"build", "--lock", lock, "--root", "web", "--base", base, "-o", archive, "--tag", "child:dev",
		"--env-prepend", "PATH=" + bashPath + "/bin", "--env", "B=two words", "--label", "b=child", "--user", "65534:65534",
		"--entrypoint", webPath + "/start", "--author", "Ada", "--comment", "a line", "--shell", `["` + bashPath + `/bin/bash", "-c"]`, "--on-build", "RUN :",
		"--healthcheck", "CMD", "--healthcheck", bashPath + "/bin/bash", "--healthcheck=-c", "--healthcheck", ": > /dev/tcp/127.0.0.1/18080",
		"--health-interval", "1s", "--health-timeout", "10s", "--health-retries", "60",
	}, args...)...); err != nil {
		t.Fatal(err)
	}
	judgeByOracle(t, archive)
	i, err := readImage(dir, archive, "")
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// TestBaseAndConfig builds on an image that clients have written, and asks them what they make of the result:
// what is inherited, what is set, that the program runs and is found to be well.
func TestBaseAndConfig(t *testing.T) {
	cache, err := filepath.Abs(filepath.Join(root, "testdata/web/cache"))
	if err != nil {
		t.Fatal(err)
	}
	dir := scratch(t)
	lock, base := filepath.Join(dir, "strata.lock.json"), filepath.Join(dir, "base.tar")
	if err := strata("lock", "--cache", "file://"+cache, "--public-key", testKey, "--root", "base="+bashPath, "--root", "web="+webPath, "-o", lock); err != nil {
		t.Fatal(err)
	}
	if err := strata("build", "--lock", lock, "--root", "base", "-o", base, "--tag", "base:dev", "--env", "PATH=/usr/bin", "--env", "A=1",
		"--label", "a=base", "--entrypoint", bashPath+"/bin/bash", "--cmd=-i", "--port", "18080"); err != nil {
		t.Fatal(err)
	}
	const asked = `printf '%s|' "$PATH" "$A" "$B" "$EUID"`
	const answer = bashPath + "/bin:/usr/bin|1|two words|65534|"
	child := onBase(t, lock, base)
	c := child.config
	if got := strings.Join(c.Config.Entrypoint, " "); got != webPath+"/start" || len(c.Config.Cmd) != 0 || c.Config.Labels["a"] != "base" || c.Config.Labels["b"] != "child" {
		t.Errorf("config %+v", c.Config)
	}

	t.Run("podman", func(t *testing.T) {
		p := podman(t, "runc")
		name := podmanLoad(t, p, child)
		if got := p.run(t, podmanRun("--rm", "--entrypoint", bashPath+"/bin/bash", name, "-c", asked)...); got != answer {
			t.Errorf("in the container: %q, want %q", got, answer)
		}
		if got := p.run(t, "image", "inspect", "--format", `{{.Author}}|{{index .Labels "a"}}|{{index .Labels "b"}}`, name); got != "Ada|base|child" {
			t.Errorf("podman says %q", got)
		}
	})
	t.Run("skopeo", func(t *testing.T) {
		need(t, "skopeo")
		// As skopeo writes a docker archive of the base, and as an OCI layout.
		other := filepath.Join(dir, "skopeo.tar")
		run(t, "skopeo", "copy", "--quiet", "docker-archive:"+base, "docker-archive:"+other+":base:dev")
		got := onBase(t, lock, other, "--base-name", "base:dev")
		if len(got.manifest.Layers) != len(child.manifest.Layers) || len(got.config.History) != len(child.config.History) {
			t.Errorf("on skopeo's archive it has %d layers, want %d", len(got.manifest.Layers), len(child.manifest.Layers))
		}
		for i, id := range got.config.RootFS.DiffIDs {
			if id != child.config.RootFS.DiffIDs[i] {
				t.Errorf("layer %d: %s, want %s", i+1, id, child.config.RootFS.DiffIDs[i])
			}
		}
		layout := filepath.Join(dir, "layout")
		run(t, "skopeo", "copy", "--quiet", "docker-archive:"+base, "oci:"+layout+":dev")
		if on := onBase(t, lock, layout); len(on.manifest.Layers) != len(child.manifest.Layers) {
			t.Errorf("on skopeo's layout it has %d layers, want %d", len(on.manifest.Layers), len(child.manifest.Layers))
		}
	})
	t.Run("docker", func(t *testing.T) {
		d := docker(t)
		// The base as docker saves it.
		d.run(t, "load", "--input", base)
		saved := filepath.Join(dir, "saved.tar")
		d.run(t, "save", "--output", saved, "base:dev")
		img := onBase(t, lock, saved)
		if len(img.manifest.Layers) != len(child.manifest.Layers) {
			t.Errorf("on docker's archive it has %d layers, want %d", len(img.manifest.Layers), len(child.manifest.Layers))
		}
		name := dockerLoad(t, d, img)
		if got := d.run(t, "run", "--rm", "--network=none", "--entrypoint", bashPath+"/bin/bash", name, "-c", asked); got != answer {
			t.Errorf("in the container: %q, want %q", got, answer)
		}
		var inspected struct {
			Author, Comment string
			Config          struct {
				Healthcheck struct {
					Test              []string
					Interval, Retries int64
				}
				Shell, OnBuild, Cmd []string
				ExposedPorts        map[string]struct{}
			}
		}
		if err := json.Unmarshal([]byte(d.run(t, "image", "inspect", "--format", "{{json .}}", name)), &inspected); err != nil {
			t.Fatal(err)
		}
		c := inspected.Config
		if inspected.Author != "Ada" || inspected.Comment != "a line" || len(c.Healthcheck.Test) != 4 || c.Healthcheck.Interval != 1e9 || c.Healthcheck.Retries != 60 ||
			len(c.Shell) != 2 || len(c.OnBuild) != 1 || len(c.Cmd) != 0 || len(c.ExposedPorts) != 1 {
			t.Errorf("docker says %+v", inspected)
		}
		id := d.run(t, "run", "--detach", "--network=none", "--tmpfs=/tmp", name)
		state := func(field string) string { return d.run(t, "inspect", "--format", "{{.State."+field+"}}", id) }
		judgeServer(t, number(t, state("Pid")))
		await(t, "docker finds the program well", nil, func() bool { return state("Health.Status") == "healthy" })
		d.run(t, "rm", "--force", id)
	})
	t.Run("shallow", func(t *testing.T) {
		// The same digest without the base's layers; Nixery and CI have them elsewhere.
		layout := filepath.Join(dir, "shallow")
		if err := untarLayout(base, layout); err != nil {
			t.Fatal(err)
		}
		b, err := readImage(dir, base, layout)
		if err != nil {
			t.Fatal(err)
		}
		var removed []digest.Digest
		for _, l := range b.manifest.Layers {
			run(t, "rm", b.blobPath(l.Digest))
			removed = append(removed, l.Digest)
		}
		out := filepath.Join(dir, "shallow.tar")
		err = strata("build", "--lock", lock, "--root", "web", "--base", layout, "-o", out)
		if err == nil || !strings.Contains(err.Error(), "get the base with its layers") || !strings.Contains(err.Error(), removed[0].String()) {
			t.Errorf("%s of %s: %v", out, strconv.Itoa(len(removed)), err)
		}
	})
}
