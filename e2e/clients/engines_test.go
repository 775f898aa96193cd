package clients_test

import (
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// engine is a container runtime with nothing in it, as the tests ask all of them alike.
type engine interface {
	// load loads an archive by the client's own command. Failure is what it says if it doesn't.
	load(t *testing.T, archive string) (failure string)
	// pull pulls a reference.
	pull(t *testing.T, ref string) (failure string)
	// pulled tells whether what is there by the name of a pulled reference has the digest.
	pulled(t *testing.T, ref string, d digest.Digest) bool
	// run runs the program of the image with that name, and returns what it prints.
	run(t *testing.T, name string) string
	// remove removes the image of a name with all that no other needs.
	remove(t *testing.T, name string)
	// place is the options by which strata load finds it.
	place() []string
}

// engines are those that people have, old and new.
var engines = []struct {
	name string
	// noZstd: it can't read layers in zstd.
	noZstd bool
	// noIndex: it has no images of several platforms. An archive of one gives it an image for each.
	noIndex bool
	start   func(t *testing.T) engine
}{
	{name: "docker", noZstd: true, noIndex: true, start: func(t *testing.T) engine { return dockerEngine{docker(t)} }},
	{name: "docker_newer", noIndex: true, start: func(t *testing.T) engine { return dockerEngine{newerDocker(t, "overlay2")} }},
	{name: "docker_newer_containerd_store", start: func(t *testing.T) engine { return dockerEngine{newerDocker(t, "overlayfs")} }},
	{name: "podman", start: func(t *testing.T) engine { return podmanEngine{podman(t, "runc")} }},
	{name: "podman_newer", start: func(t *testing.T) engine { return podmanEngine{newerPodman(t)} }},
	{name: "containerd", start: func(t *testing.T) engine { return containerdEngine{containerd(t)} }},
	{name: "containerd_newer", start: func(t *testing.T) engine { return containerdEngine{newerContainerd(t)} }},
}

// judgeRuns has docker, podman and containerd load an image and run it: its program must print want.
func judgeRuns(t *testing.T, img *image, want string) {
	t.Helper()
	judge := func(t *testing.T, output string) {
		t.Helper()
		if output != want {
			t.Errorf("the container says\n%s\nwant\n%s", output, want)
		}
	}
	t.Run("docker", func(t *testing.T) {
		d := docker(t)
		judge(t, dockerEngine{d}.run(t, dockerLoad(t, d, img)))
	})
	t.Run("podman", func(t *testing.T) {
		p := podman(t, "runc")
		judge(t, podmanEngine{p}.run(t, podmanLoad(t, p, img)))
	})
	t.Run("containerd", func(t *testing.T) {
		ctr := containerd(t)
		judge(t, containerdEngine{ctr}.run(t, containerdImport(t, ctr, img)))
	})
}

type dockerEngine struct{ client }

func (e dockerEngine) load(t *testing.T, archive string) (failure string) {
	t.Helper()
	_, failure = e.try(t, "load", "--quiet", "--input", archive)
	return failure
}

func (e dockerEngine) pull(t *testing.T, ref string) (failure string) {
	t.Helper()
	_, failure = e.try(t, "pull", "--quiet", ref)
	return failure
}

func (e dockerEngine) pulled(t *testing.T, ref string, d digest.Digest) bool {
	t.Helper()
	return strings.Contains(e.client.run(t, "image", "inspect", "--format", "{{.RepoDigests}}", ref), "@"+d.String())
}

func (e dockerEngine) run(t *testing.T, name string) string {
	t.Helper()
	return e.client.run(t, "run", "--rm", "--network=none", name)
}

func (e dockerEngine) remove(t *testing.T, name string) {
	t.Helper()
	e.client.run(t, "image", "rm", "--force", name)
}

func (e dockerEngine) place() []string { return []string{"--runtime=docker", "--host=" + e.client[2]} }

type podmanEngine struct{ client }

func (e podmanEngine) load(t *testing.T, archive string) (failure string) {
	t.Helper()
	_, failure = e.try(t, "load", "--quiet", "--input", archive)
	return failure
}

func (e podmanEngine) pull(t *testing.T, ref string) (failure string) {
	t.Helper()
	_, failure = e.try(t, "pull", "--quiet", "--tls-verify=false", ref)
	return failure
}

func (e podmanEngine) pulled(t *testing.T, ref string, d digest.Digest) bool {
	t.Helper()
	return strings.Contains(e.client.run(t, "image", "inspect", "--format", "{{.RepoDigests}}", ref), "@"+d.String())
}

func (e podmanEngine) run(t *testing.T, name string) string {
	t.Helper()
	return e.client.run(t, podmanRun("--rm", name)...)
}

func (e podmanEngine) remove(t *testing.T, name string) {
	t.Helper()
	e.client.run(t, "image", "rm", "--force", name)
}

func (e podmanEngine) place() []string {
	options := []string{"--runtime=podman"}
	for _, o := range e.client[1:] {
		options = append(options, "--podman-option="+o)
	}
	return options
}

type containerdEngine struct{ client }

func (e containerdEngine) load(t *testing.T, archive string) (failure string) {
	t.Helper()
	_, failure = e.try(t, "images", "import", "--snapshotter=overlayfs", archive)
	return failure
}

func (e containerdEngine) pull(t *testing.T, ref string) (failure string) {
	t.Helper()
	_, failure = e.try(t, "images", "pull", "--plain-http", "--snapshotter=overlayfs", ref)
	return failure
}

func (e containerdEngine) pulled(t *testing.T, ref string, d digest.Digest) bool {
	t.Helper()
	list := e.client.run(t, "images", "check", "--snapshotter=overlayfs", "name=="+ref)
	return strings.Contains(list, d.String()) && strings.Contains(list, " complete ")
}

func (e containerdEngine) run(t *testing.T, name string) string {
	t.Helper()
	return e.client.run(t, "run", "--rm", "--snapshotter=overlayfs", "--cgroup", cgroupParent()+"/engine", name, "engine")
}

func (e containerdEngine) remove(t *testing.T, name string) {
	t.Helper()
	e.client.run(t, "images", "remove", "--sync", name)
}

func (e containerdEngine) place() []string {
	return []string{"--runtime=containerd", "--address=" + e.client[2]}
}

// onPath puts a folder first on the PATH, for the time of the test.
func onPath(t *testing.T, dir string) {
	t.Helper()
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
}
