// Package rules_test checks what the rules say in two places.
package rules_test

import (
	"bufio"
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"
)

// WORKSPACE users get the Go modules that go.mod names, by the same hashes.
// After a change of go.mod, change rules/go_repositories.bzl alike.
func TestGoRepositories_AreThoseOfGoMod(t *testing.T) {
	sums := map[string]string{} // "<module> <version>" -> hash
	lines := bufio.NewScanner(bytes.NewReader(read(t, "../../go.sum")))
	for lines.Scan() {
		if f := strings.Fields(lines.Text()); len(f) == 3 {
			sums[f[0]+" "+f[1]] = f[2]
		}
	}
	goMod := string(read(t, "../../go.mod"))
	declared := regexp.MustCompile(`importpath = "(.*)",\n\s+sum = "(.*)",\n\s+version = "(.*)",`).
		FindAllStringSubmatch(string(read(t, "../go_repositories.bzl")), -1)
	if len(declared) == 0 {
		t.Fatal("rules/go_repositories.bzl declares nothing")
	}
	for _, d := range declared {
		module, sum, version := d[1], d[2], d[3]
		if !strings.Contains(goMod, "\t"+module+" "+version) {
			t.Errorf("%s %s: go.mod has another version", module, version)
		}
		if want := sums[module+" "+version]; sum != want {
			t.Errorf("%s %s: sum %s, want %s as in go.sum", module, version, sum, want)
		}
	}
}

// WORKSPACE users get the modules that MODULE.bazel names, in its versions.
func TestRepositories_AreThoseOfModule(t *testing.T) {
	workspace := string(read(t, "../private/workspace.bzl"))
	for _, d := range regexp.MustCompile(`bazel_dep\(name = "(.*)", version = "(.*)"\)`).
		FindAllStringSubmatch(string(read(t, "../../MODULE.bazel")), -1) {
		if name, version := d[1], d[2]; !regexp.MustCompile(`url = ".*/` + name + `/releases/download/v?` + regexp.QuoteMeta(version) + `/`).
			MatchString(strings.NewReplacer("bazel-skylib", "bazel_skylib", "bazel-gazelle", "gazelle").Replace(workspace)) {
			t.Errorf("rules/private/workspace.bzl: no URL of %s %s, which MODULE.bazel has", name, version)
		}
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
