// Package clients_test judges an image by software that nobody here wrote:
// skopeo, umoci, crane, bsdtar, podman, buildah, containerd, docker, runc, crun
// and a registry. The image is the one that //examples/web:image builds; each
// client is asked what it is, unpacks it, moves it, or runs the program in it.
// What the image must hold is written in testdata/web/truth, by an older image
// writer from the same store paths.
//
// Under Bazel the image comes in as the test's data. Under `go test` the tests
// build it from examples/web/strata.lock.json with tool/cmd/strata, or take the
// archive that STRATA_IMAGE_ARCHIVE names.
//
// setup.sh installs the clients. A check whose client is missing, or that needs
// root, is skipped and says so; with STRATA_REQUIRE_CLIENTS=1 it fails.
//
// As root, everything runs in namespaces of its own (isolation_test.go): the
// tests meet no other container, port or mount of the machine, and whatever
// they started is gone when they end, however they end.
package clients_test

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// workDir holds all that the tests write. The outermost process makes it and
// removes it after everything that used it is gone.
var workDir string

// storageDir is where in it the clients' storage and all other large files go.
func storageDir() string { return filepath.Join(workDir, "storage") }

func TestMain(m *testing.M) {
	switch os.Getenv(stageEnv) {
	case stageInit:
		workDir = os.Getenv(workDirEnv)
		os.Exit(runInit())
	case stageTests:
		workDir = os.Getenv(workDirEnv)
		isolated = true
		os.Exit(m.Run())
	}
	os.Exit(runOutermost(m))
}

// runOutermost prepares the folder and the environment of the tests and runs
// them: in namespaces of their own where that is possible.
func runOutermost(m *testing.M) int {
	dir, err := os.MkdirTemp("", "strata-clients-")
	if err == nil {
		workDir = dir
		// A client that runs as a plain user passes through it.
		err = os.Chmod(dir, 0o711)
	}
	if err == nil {
		err = os.Mkdir(storageDir(), 0o711)
	}
	if err == nil {
		err = setEnvironment()
	}
	if err == nil {
		err = buildStrata()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "clients:", err)
		os.RemoveAll(dir)
		return 1
	}
	status, err := runIsolated()
	if err != nil {
		notIsolated = err
		status = m.Run()
	}
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, "clients:", err)
		status = max(status, 1)
	}
	return status
}

// setEnvironment makes the tests independent of what the user has set: the
// clients read their settings from an empty home, find each other, and speak
// to 127.0.0.1 without a proxy.
func setEnvironment() error {
	home := filepath.Join(workDir, "home")
	files := map[string]string{
		".config/containers/policy.json":     `{"default": [{"type": "insecureAcceptAnything"}]}`,
		".config/containers/registries.conf": "",
	}
	for name, text := range files {
		name = filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			return err
		}
	}
	// Bazel's tests have a short PATH, without sbin.
	path := []string{clientsBin(), os.Getenv("PATH"), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	os.Setenv("PATH", strings.Join(path, string(filepath.ListSeparator)))
	for _, name := range []string{"http_proxy", "https_proxy", "all_proxy", "no_proxy"} {
		os.Unsetenv(name)
		os.Unsetenv(strings.ToUpper(name))
	}
	for _, name := range []string{"DOCKER_HOST", "DOCKER_CONTEXT", "CONTAINER_HOST", "CONTAINERD_ADDRESS", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "XDG_DATA_HOME"} {
		os.Unsetenv(name)
	}
	os.Setenv("LC_ALL", "C.UTF-8")
	os.Setenv("TMPDIR", storageDir())
	os.Setenv("PODMAN_IGNORE_CGROUPSV1_WARNING", "1")
	os.Setenv(homeBeforeEnv, os.Getenv("HOME"))
	return os.Setenv("HOME", home)
}

// homeBeforeEnv is HOME as it was: the go command keeps its caches there.
const homeBeforeEnv = "STRATA_CLIENTS_HOME_BEFORE"

// clientsBin is where setup.sh puts what it builds.
func clientsBin() string {
	if bin := os.Getenv("STRATA_CLIENTS_BIN"); bin != "" {
		return bin
	}
	// Not HOME: Bazel's tests have none.
	u, err := user.Current()
	if err != nil {
		return filepath.Join(os.Getenv("HOME"), ".cache/strata-clients/bin")
	}
	return filepath.Join(u.HomeDir, ".cache/strata-clients/bin")
}

// scratch returns a new folder that is removed with the test, after the daemons
// that were started later.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(storageDir(), "t")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// What podman leaves to clean up behind a container may still be at it. It
		// is no fault of the image if that takes long, and the folder goes in the end.
		var err error
		for range 50 {
			if err = removeStorage(dir); err == nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Log(err)
	})
	return dir
}
