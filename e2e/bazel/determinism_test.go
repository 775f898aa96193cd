package bazel

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// An image's digest is the same whatever the machine, the options and the way
// to a NAR are, and the one that `strata build` gives.
func TestDigest_DependsOnInputsAlone(t *testing.T) {
	var want string
	lock := filepath.Join(t.TempDir(), "strata.lock.json")
	t.Run("one job", func(t *testing.T) {
		w := newWorkspace(t)
		want, _ = w.digest("//:web", "--jobs=1")
		if err := os.WriteFile(lock, []byte(w.read("strata.lock.json")), 0o644); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("//:web is %s", want)

	variants := []struct {
		name  string
		umask string
		env   []string
		flags []string
	}{
		{name: "again, eight jobs", flags: []string{"--jobs=8"}},
		{name: "-c opt", flags: []string{"-c", "opt"}},
		{name: "umask and locale", umask: "077", env: []string{"LC_ALL=tr_TR.UTF-8", "LANG=tr_TR.UTF-8", "TZ=Asia/Kathmandu"}},
		{name: "path mapping", flags: []string{"--experimental_output_paths=strip"}},
		{name: "NARs fetched in the action, from a folder", flags: []string{"--@rules_strata//:nar_fetch=action"}},
		{name: "no sandbox", flags: []string{"--spawn_strategy=local"}},
	}
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			start := newWorkspace
			if v.umask != "" || v.env != nil {
				start = newServer
			}
			w := start(t)
			w.umask, w.env = v.umask, v.env
			got, ran := w.digest("//:web", v.flags...)
			if got != want {
				t.Errorf("digest %s, want %s", got, want)
			}
			if n := ran.ran("StrataLayer"); n == 0 {
				t.Error("no layer action ran: nothing was compared")
			}
		})
	}

	t.Run("NARs in xz", func(t *testing.T) {
		w := newWorkspace(t)
		want, _ := w.digest("//:bash")
		w.lock("--cache", "file://"+filepath.Join(sourceDir(t), "testdata/web/variants/bash-xz"),
			"--root", "bash=/nix/store/xznc9l6ppin9j93x7xsvaba3qkn46hwr-bash-5.2.15")
		if !strings.Contains(w.read("strata.lock.json"), `"compression": "xz"`) {
			t.Fatal("the lock names no NAR in xz")
		}
		got, ran := w.digest("//:bash")
		if got != want {
			t.Errorf("digest %s from NARs in xz, want %s as from NARs in zstd", got, want)
		}
		if n := ran.ran("StrataLayer"); n == 0 {
			t.Error("no layer action ran: nothing was compared")
		}
	})

	t.Run("strata build", func(t *testing.T) {
		out := filepath.Join(t.TempDir(), "web.tar")
		cmd := exec.Command(tool(t, "strata"), "build", "--lock", lock,
			"--root", "web", "--tag", "web:dev", "--env", "PATH=/bin", "--port", "18080/tcp", "--workdir", "/", "--user", "65534:65534",
			"--cmd", "/nix/store/dr6a8bs5f2hyww3awb6nnhxlg3qvfdhr-web-1.0/start", "-o", out)
		b, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
		got := regexp.MustCompile(`sha256:[0-9a-f]{64}`).FindString(string(b))
		if got != want {
			t.Errorf("strata build says %q, want %s", b, want)
		}
	})
}
