// Package cmd holds the programs, a folder each; what concerns all of them is tested here.
package cmd

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// linked is all that the action binaries may link, beside the standard library. A
// change to any of it runs every layer or image action in every workspace again,
// so what reads locks, plans or talks to registries stays out, and so does all
// that belongs to another of them.
var linked = map[string][]string{
	"layer": {
		"github.com/andybalholm/brotli/",
		"github.com/klauspost/compress/",
		"github.com/opencontainers/go-digest",
		"github.com/opencontainers/image-spec/specs-go/",
		"github.com/rules-strata/rules_strata/tool/atomicfile",
		"github.com/rules-strata/rules_strata/tool/cmd/layer",
		"github.com/rules-strata/rules_strata/tool/deflate",
		"github.com/rules-strata/rules_strata/tool/digestfile",
		"github.com/rules-strata/rules_strata/tool/fetch",
		"github.com/pierrec/lz4/v4/",
		"github.com/rules-strata/rules_strata/tool/layer",
		"github.com/rules-strata/rules_strata/tool/lzma",
		"github.com/rules-strata/rules_strata/tool/nar",
		"github.com/rules-strata/rules_strata/tool/narfile",
		"github.com/rules-strata/rules_strata/tool/narsource",
		"github.com/rules-strata/rules_strata/tool/action",
		"github.com/rules-strata/rules_strata/tool/store",
		"github.com/rules-strata/rules_strata/tool/strictjson",
		"github.com/rules-strata/rules_strata/tool/terminal",
	},
	"database": {
		"github.com/andybalholm/brotli/",
		"github.com/klauspost/compress/",
		"github.com/ncruces/",
		"github.com/opencontainers/go-digest",
		"github.com/opencontainers/image-spec/specs-go/",
		"github.com/pierrec/lz4/v4/",
		"github.com/rules-strata/rules_strata/tool/atomicfile",
		"github.com/rules-strata/rules_strata/tool/cmd/database",
		"github.com/rules-strata/rules_strata/tool/database",
		"github.com/rules-strata/rules_strata/tool/deflate",
		"github.com/rules-strata/rules_strata/tool/digestfile",
		"github.com/rules-strata/rules_strata/tool/filelayer",
		"github.com/rules-strata/rules_strata/tool/layer",
		"github.com/rules-strata/rules_strata/tool/lzma",
		"github.com/rules-strata/rules_strata/tool/nar",
		"github.com/rules-strata/rules_strata/tool/narfile",
		"github.com/rules-strata/rules_strata/tool/action",
		"github.com/rules-strata/rules_strata/tool/store",
		"github.com/rules-strata/rules_strata/tool/strictjson",
		"github.com/rules-strata/rules_strata/tool/terminal",
		"golang.org/x/sys/",
	},
	"files": {
		"github.com/andybalholm/brotli/",
		"github.com/klauspost/compress/",
		"github.com/opencontainers/go-digest",
		"github.com/opencontainers/image-spec/specs-go/",
		"github.com/pierrec/lz4/v4/",
		"github.com/rules-strata/rules_strata/tool/atomicfile",
		"github.com/rules-strata/rules_strata/tool/cmd/files",
		"github.com/rules-strata/rules_strata/tool/deflate",
		"github.com/rules-strata/rules_strata/tool/digestfile",
		"github.com/rules-strata/rules_strata/tool/fetch",
		"github.com/rules-strata/rules_strata/tool/filelayer",
		"github.com/rules-strata/rules_strata/tool/layer",
		"github.com/rules-strata/rules_strata/tool/lzma",
		"github.com/rules-strata/rules_strata/tool/nar",
		"github.com/rules-strata/rules_strata/tool/narfile",
		"github.com/rules-strata/rules_strata/tool/narsource",
		"github.com/rules-strata/rules_strata/tool/action",
		"github.com/rules-strata/rules_strata/tool/store",
		"github.com/rules-strata/rules_strata/tool/strictjson",
		"github.com/rules-strata/rules_strata/tool/terminal",
	},
	"run": {
		"github.com/andybalholm/brotli/",
		"github.com/klauspost/compress/",
		"github.com/moby/sys/user",
		"github.com/opencontainers/go-digest",
		"github.com/opencontainers/image-spec/specs-go/",
		"github.com/pierrec/lz4/v4/",
		"github.com/rules-strata/rules_strata/tool/atomicfile",
		"github.com/rules-strata/rules_strata/tool/base",
		"github.com/rules-strata/rules_strata/tool/cmd/run",
		"github.com/rules-strata/rules_strata/tool/deflate",
		"github.com/rules-strata/rules_strata/tool/digestfile",
		"github.com/rules-strata/rules_strata/tool/filelayer",
		"github.com/rules-strata/rules_strata/tool/flatten",
		"github.com/rules-strata/rules_strata/tool/image",
		"github.com/rules-strata/rules_strata/tool/imagefile",
		"github.com/rules-strata/rules_strata/tool/layer",
		"github.com/rules-strata/rules_strata/tool/layertar",
		"github.com/rules-strata/rules_strata/tool/lzma",
		"github.com/rules-strata/rules_strata/tool/nar",
		"github.com/rules-strata/rules_strata/tool/narfile",
		"github.com/rules-strata/rules_strata/tool/action",
		"github.com/rules-strata/rules_strata/tool/runlayer",
		"github.com/rules-strata/rules_strata/tool/store",
		"github.com/rules-strata/rules_strata/tool/strictjson",
		"github.com/rules-strata/rules_strata/tool/terminal",
		"golang.org/x/sys/unix",
	},
	"image": {
		"github.com/klauspost/compress/",
		"github.com/opencontainers/go-digest",
		"github.com/opencontainers/image-spec/specs-go/",
		"github.com/rules-strata/rules_strata/tool/atomicfile",
		"github.com/rules-strata/rules_strata/tool/base",
		"github.com/rules-strata/rules_strata/tool/cmd/image",
		"github.com/rules-strata/rules_strata/tool/digestfile",
		"github.com/rules-strata/rules_strata/tool/image",
		"github.com/rules-strata/rules_strata/tool/imagefile",
		"github.com/rules-strata/rules_strata/tool/nar",
		"github.com/rules-strata/rules_strata/tool/action",
		"github.com/rules-strata/rules_strata/tool/store",
		"github.com/rules-strata/rules_strata/tool/strictjson",
		"github.com/rules-strata/rules_strata/tool/terminal",
	},
}

// importPath is an attribute of a go_library, as `bazel query --output=build` prints it.
var importPath = regexp.MustCompile(`(?m)^  importpath = "([^"]+)",$`)

// packagesOf lists what a program is made of: by the genquery NAME_packages
// under Bazel, by the go command elsewhere.
func packagesOf(t *testing.T, name string) []string {
	t.Helper()
	text, err := os.ReadFile(name + "_packages")
	if err == nil {
		var out []string
		for _, m := range importPath.FindAllStringSubmatch(string(text), -1) {
			out = append(out, m[1])
		}
		return out
	}
	if !errors.Is(err, fs.ErrNotExist) || os.Getenv("TEST_SRCDIR") != "" {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "./"+name)
	cmd.Stderr = os.Stderr
	list, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return strings.Fields(string(list))
}

func TestActionBinaries_Dependencies(t *testing.T) {
	for name, allowed := range linked {
		t.Run(name, func(t *testing.T) {
			got := packagesOf(t, name)
			if !slices.Contains(got, "github.com/rules-strata/rules_strata/tool/cmd/"+name) {
				t.Fatalf("the program itself is not in the list: %q", got)
			}
			used := map[string]bool{}
			for _, p := range got {
				i := slices.IndexFunc(allowed, func(a string) bool {
					return p == strings.TrimSuffix(a, "/") || strings.HasSuffix(a, "/") && strings.HasPrefix(p, a)
				})
				if i < 0 {
					t.Errorf("the %s program links %s", name, p)
					continue
				}
				used[allowed[i]] = true
			}
			for _, a := range allowed {
				if !used[a] {
					t.Errorf("the %s program doesn't link %s any more: take it off the list", name, a)
				}
			}
		})
	}
}
