package bazel

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// An image on a base that strata.pull declares, shallow, is pushed beside the base: the base's layers go from
// one repository of the registry to the other, and none comes to the machine.
func TestImage_OnPulledBase(t *testing.T) {
	host := startRegistry(t)
	w := newWorkspace(t)
	status := withPush(w, host)
	base := w.push([]string{status}, "//:push", "--tag", "base")
	w.write("MODULE.bazel", w.read("MODULE.bazel")+fmt.Sprintf(`
strata.pull(
    name = "pulled",
    digest = %q,
    registry = %q,
    repository = "team/web",
)
use_repo(strata, "pulled")
`, base.Digest, host))
	w.write("BUILD.bazel", `load("@rules_strata//rules:file_layer.bzl", "file_layer")
`+w.read("BUILD.bazel")+fmt.Sprintf(`
file_layer(
    name = "motd",
    content = {"etc/motd": "above\n"},
)

image(
    name = "above",
    base = "@pulled",
    contents = ["@store//:web"],
    labels = {"org.example.above": "yes"},
    layers = [":motd"],
    system = "x86_64-linux",
)

image_push(
    name = "push_above",
    image = ":above",
    registry = %q,
    remote_tags = ["dev"],
    repository = "team/above",
)
`, host))
	above := w.push(nil, "//:push_above")
	below, all := layersOf(t, host, "team/web", "base"), layersOf(t, host, "team/above", "dev")
	if len(all) != len(below)+1 { // What is in the base isn't in another layer again.
		t.Errorf("%d layers on a base of %d, want one more", len(all), len(below))
	}
	for l := range below {
		if !all[l] {
			t.Errorf("the base's layer %s is missing", l)
		}
	}
	if above.Sent.Count != 2 || above.There.Count+above.Mounted.Count != int64(len(below)) { // A layer and the config.
		t.Errorf("%+v: want two blobs sent, and %d that are there", above, len(below))
	}

	// The label is as good as the file, once that is there; and it says so if not.
	strata := func(args ...string) (string, string, error) {
		cmd := exec.Command(tool(t, "strata"), args...)
		cmd.Dir = w.dir
		cmd.Env = append(w.command("info").Env, "BAZEL="+w.asProgram())
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		return stdout.String(), stderr.String(), err
	}
	if _, stderr, err := strata("inspect", "//:web"); err == nil || !strings.Contains(stderr, "//:web: ") || !strings.Contains(stderr, " is not built\n") || !strings.Contains(stderr, " build //:web\n") {
		t.Errorf("not built: %v, %s", err, stderr)
	}
	if _, stderr, err := strata("inspect", "//:nothing"); err == nil || !strings.Contains(stderr, "no such target '//:nothing'") {
		t.Errorf("no target: %v, %s", err, stderr)
	}
	w.build("//:web")
	stdout, stderr, err := strata("inspect", "//:web", "--json")
	var inspected struct{ Digest string }
	if err != nil || json.Unmarshal([]byte(stdout), &inspected) != nil || inspected.Digest != base.Digest {
		t.Errorf("%v, digest %s, want %s\n%s", err, inspected.Digest, base.Digest, stderr)
	}
	if stdout, stderr, err := strata("diff", host+"/team/web:base", ":web"); err != nil || !strings.Contains(stdout, "layers  0 new (0 B), ") {
		t.Errorf("%v, %s%s", err, stdout, stderr)
	}
}

// asProgram is a program that runs the workspace's Bazel with the flags that the tests build with.
func (w *workspace) asProgram() string {
	w.t.Helper()
	var rc strings.Builder
	for _, f := range buildFlags {
		fmt.Fprintf(&rc, "common %s\n", f)
	}
	w.write(".bazelrc", rc.String())
	// bazelw would run what BAZEL names.
	w.write("bazel.sh", fmt.Sprintf("#!/bin/sh\nunset BAZEL\nexec %s --output_base=%s --max_idle_secs=60 \"$@\"\n", filepath.Join(sourceDir(w.t), "bazelw"), w.outputBase))
	program := filepath.Join(w.dir, "bazel.sh")
	if err := os.Chmod(program, 0o755); err != nil {
		w.t.Fatal(err)
	}
	return program
}
