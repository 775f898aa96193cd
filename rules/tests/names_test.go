package rules_test

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/narfile"
	"github.com/rules-strata/rules_strata/tool/project"
)

// cpus are the constraint values by which Bazel knows the platforms of images.
var cpus = map[string]string{
	"linux/386": "x86_32", "linux/amd64": "x86_64", "linux/arm/v6": "aarch32", "linux/arm/v7": "armv7", "linux/arm64": "aarch64",
	"linux/loong64": "loongarch64", "linux/mips64le": "mips64", "linux/ppc64le": "ppc64le", "linux/riscv64": "riscv64", "linux/s390x": "s390x",
}

// A lock may be for the systems that images can be made for, by the rules as by the tools; where the rules choose a root by Bazel's
// platform, the image is for that platform.
func TestSystems_AreThoseOfImages(t *testing.T) {
	var systems []string
	for _, m := range regexp.MustCompile(`(?m)^    "(.*)": \["@platforms//cpu:(.*)", "@platforms//os:linux"\],$`).FindAllStringSubmatch(string(read(t, "../private/systems.bzl")), -1) {
		systems = append(systems, m[1])
		p, err := image.PlatformOf(m[1])
		if err != nil {
			t.Errorf("rules/private/systems.bzl: %v", err)
		} else if want := cpus[image.PlatformText(p)]; m[2] != want {
			t.Errorf("%s runs on Bazel's CPU %s, and images for it are for %s: want the CPU %q", m[1], m[2], image.PlatformText(p), want)
		}
	}
	if want := image.Systems(); !slices.Equal(systems, want) {
		t.Errorf("rules/private/systems.bzl has %q, want %q as tool/image/platform.go", systems, want)
	}
}

// The rules take a NAR if the tools can decompress it.
func TestCompressions_AreThoseOfNARFiles(t *testing.T) {
	if got, want := list(t, "NAR_COMPRESSIONS"), slices.Sorted(slices.Values(narfile.Compressions())); !slices.Equal(got, want) {
		t.Errorf("NAR_COMPRESSIONS in rules/private/store_names.bzl is %q, want %q as tool/narfile", got, want)
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

// A URL that the tools take, and so write into a lock, the rules take too: of the same characters, and of the schemes they know.
func TestURLs_ThatTheRulesTake(t *testing.T) {
	text := string(read(t, "../private/store_names.bzl"))
	_, rest, _ := strings.Cut(text, "\n_URL_CHARACTERS = \"")
	characters, _, ok := strings.Cut(rest, "\"\n")
	if !ok {
		t.Fatal("rules/private/store_names.bzl has no _URL_CHARACTERS")
	}
	for c := range rune(0x180) {
		url := "https://host/a" + string(c) + "b"
		if c == '%' {
			url = "https://host/a%20b"
		}
		if err := fetch.Check(url); err == nil && !strings.ContainsRune(characters, c) {
			t.Errorf("the tools take %q, the rules don't", url)
		} else if err != nil && strings.ContainsRune(characters, c) && c != '[' && c != ']' {
			t.Errorf("the rules take %q, the tools don't: %v", url, err)
		}
	}
	_, rest, _ = strings.Cut(string(read(t, "store_names_test.bzl")), "def _nar_impl(ctx):")
	good, rest, _ := strings.Cut(rest, "nar_url_error(s))")
	bad, _, ok := strings.Cut(rest, "nar_url_error(s)")
	if !ok {
		t.Fatal("store_names_test.bzl has no test of nar_url_error as this one knows it")
	}
	for text, wantErr := range map[string]bool{good: false, bad: true} {
		all := regexp.MustCompile(`"(?:[^"\\]|\\.)*"`).FindAllString(text[strings.Index(text, "for s in "):], -1)
		if len(all) < 4 {
			t.Errorf("only the URLs %q in the rules' test", all)
		}
		for _, quoted := range all {
			url, err := strconv.Unquote(quoted)
			if err != nil {
				t.Fatal(err)
			}
			if err := fetch.Check(url); (err != nil) != wantErr && url != "%r should be refused" {
				t.Errorf("%q: the tools say %v", url, err)
			}
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
