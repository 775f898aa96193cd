package load

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

// Where no runtime is, the error says of each what was tried, and what to do.
func TestFind_None(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	t.Setenv("HOME", dir)
	t.Setenv("XDG_RUNTIME_DIR", dir)
	t.Setenv("DOCKER_CONFIG", dir)
	t.Setenv("DOCKER_HOST", "unix://"+filepath.Join(dir, "docker.sock"))
	t.Setenv("CONTAINERD_ADDRESS", filepath.Join(dir, "containerd.sock"))
	_, err := Find(t.Context(), Place{})
	if err == nil {
		t.Fatal("a runtime was found")
	}
	for _, want := range []string{"no container runtime answers", "docker: ", "docker.sock", "podman: ", "containerd: ", "containerd.sock"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %q in it", err, want)
		}
	}
	var h interface{ Hint() string }
	if !errors.As(err, &h) || !strings.Contains(h.Hint(), "--runtime") {
		t.Errorf("hint %v", h)
	}
	for name, test := range map[string]struct {
		place Place
		want  string
	}{
		"unknown":   {Place{Runtime: "rkt"}, `runtime "rkt": want one of docker, podman, containerd`},
		"no host":   {Place{Runtime: "docker", Host: "nowhere"}, "docker: "},
		"scheme":    {Place{Runtime: "docker", Host: "gopher://x"}, "gopher"},
		"no podman": {Place{Runtime: "podman"}, "podman: "},
	} {
		if _, err := Find(t.Context(), test.place); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", name, err, test.want)
		}
	}
}
