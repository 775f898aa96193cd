package clients_test

import (
	"strings"
	"testing"
)

// What `bazel run //examples/web:load -- run …` starts is the program that the rule image_load makes: it loads, and becomes the
// runtime's run command, with options in front of -- and arguments behind.
func TestLoad_BazelRun(t *testing.T) {
	program := given("STRATA_LOAD")
	if program == "" {
		t.Skip("only Bazel builds the program of image_load")
	}
	d := docker(t)
	got := run(t, program, "--runtime=docker", "--host="+d[2], "run", "--rm", "--network=none", "--user=1:2",
		"--entrypoint="+bashPath+"/bin/bash", "--", "-c", `echo "$UID: $*"`, "bash", "one", "two words")
	if want := "1: one two words"; got != want {
		t.Errorf("the program says %q, want %q", got, want)
	}
	if again := run(t, program, "--runtime=docker", "--host="+d[2], "--json"); !strings.Contains(again, `"layers_sent": 0`) || !strings.Contains(again, `"docker.io/library/web:dev"`) {
		t.Errorf("loaded again: %s", again)
	}
}
