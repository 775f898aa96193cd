package clients_test

import (
	"slices"
	"strings"
	"testing"
)

// What `bazel run //examples/web:load -- …` starts is the program that the rule image_load makes. The lines of docs/loading.md:
// it loads and prints the name; or becomes the runtime's run command, with options in front of -- and arguments behind; or
// loads elsewhere, by another name.
func TestLoad_BazelRun(t *testing.T) {
	program := given("STRATA_LOAD")
	if program == "" {
		t.Skip("only Bazel builds the program of image_load")
	}
	d := dockerEngine{docker(t)}
	load := func(e engine, args ...string) string {
		t.Helper()
		return run(t, program, slices.Concat(e.place(), args)...)
	}
	if got := load(d); got != "web:dev" {
		t.Errorf("it says %q, want web:dev", got)
	}
	got := load(d, "run", "--rm", "--network=none", "--user=1:2",
		"--entrypoint="+bashPath+"/bin/bash", "--", "-c", `echo "$UID: $*"`, "bash", "one", "two words")
	if want := "1: one two words"; got != want {
		t.Errorf("the program says %q, want %q", got, want)
	}
	if again := load(d, "--json"); !strings.Contains(again, `"layers_sent": 0`) || !strings.Contains(again, `"docker.io/library/web:dev"`) {
		t.Errorf("loaded again: %s", again)
	}
	p := podmanEngine{podman(t, "runc")}
	if got := load(p, "--tag=web:mine"); got != "web:mine" {
		t.Errorf("it says %q, want web:mine", got)
	}
	p.client.run(t, "image", "exists", "docker.io/library/web:mine")
}
