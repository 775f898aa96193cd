package rules_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/narfile"
	"github.com/rules-strata/rules_strata/tool/project"
)

// A lock may be for the systems that images can be made for, by the rules as by the tools.
func TestSystems_AreThoseOfImages(t *testing.T) {
	var systems []string
	for _, m := range regexp.MustCompile(`(?m)^    "(.*)": \[`).FindAllStringSubmatch(string(read(t, "../private/systems.bzl")), -1) {
		systems = append(systems, m[1])
	}
	if want := image.Systems(); !slices.Equal(systems, want) {
		t.Errorf("rules/private/systems.bzl has %q, want %q as tool/image/platform.go", systems, want)
	}
}

// The rules take a NAR however the tools can decompress it.
func TestCompressions_HaveThoseOfNARFiles(t *testing.T) {
	compressions := list(t, "NAR_COMPRESSIONS")
	for _, c := range narfile.Compressions() {
		if !slices.Contains(compressions, c) {
			t.Errorf("NAR_COMPRESSIONS in rules/private/store_names.bzl lacks %s", c)
		}
	}
}

// What a lock's repository can't hold, `strata lock` refuses, and so no lock names it.
func TestRootNames_ThatTheRulesRefuse(t *testing.T) {
	for _, name := range list(t, "_NO_ROOTS") {
		if project.CheckRootName(name) == nil {
			t.Errorf("the rules refuse a root called %s, the tools don't", name)
		}
	}
}

// list is the value of a list of strings in rules/private/store_names.bzl.
func list(t *testing.T, name string) []string {
	t.Helper()
	_, rest, found := strings.Cut(string(read(t, "../private/store_names.bzl")), "\n"+name+" = [\n")
	text, _, closed := strings.Cut(rest, "]")
	if !found || !closed {
		t.Fatalf("rules/private/store_names.bzl has no list %s", name)
	}
	var items []string
	for _, m := range regexp.MustCompile(`"(.*)"`).FindAllStringSubmatch(text, -1) {
		items = append(items, m[1])
	}
	if len(items) == 0 {
		t.Fatalf("%s is empty", name)
	}
	return items
}
