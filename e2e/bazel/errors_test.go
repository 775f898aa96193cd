package bazel

import (
	"path/filepath"
	"strings"
	"testing"
)

// What is wrong with a lock, a NAR or a module file is said by name, and mends
// without more than putting it right.
func TestErrors(t *testing.T) {
	w := newWorkspace(t)
	const (
		lock  = "strata.lock.json"
		motd  = "/nix/store/jbnpmbz98y0dv8y9g0zqpirbl85a6r7f-motd"
		repos = "--repository_cache="
	)
	good, module := w.read(lock), w.read("MODULE.bazel")
	cache := repos + filepath.Join(scratch, "repositories")
	fails := func(name string, want ...string) {
		t.Helper()
		out := w.buildFails(cache, "--output_groups=manifest", "//:web")
		for _, s := range want {
			if !strings.Contains(out, s) {
				t.Errorf("%s: want an error with %q, got:\n%s", name, s, out)
			}
		}
	}

	w.write(lock, "<<<<<<< HEAD\n"+good)
	fails("a merge's marks", "//:"+lock+": not a JSON object", "`strata lock`")

	w.write(lock, strings.Replace(good, `"version": 1`, `"version": 2`, 1))
	fails("another version", "//:"+lock+": version: 2", "reads version 1")

	w.write(lock, strings.Replace(good, `"url": "file:`, `"url": "ftp:`, 1))
	fails("a URL of another kind", "//:"+lock+": paths: /nix/store/", "url: \"ftp:")

	entry, _, _ := strings.Cut(good[strings.Index(good, `"`+motd+`"`):], "}")
	hash := func(field string) string {
		_, rest, _ := strings.Cut(entry, `"`+field+`": "sha256:`)
		return rest[:64]
	}
	bad := func(h string) string { return "0123456789abcdef" + h[16:] }
	w.write(lock, strings.ReplaceAll(good, hash("file_hash"), bad(hash("file_hash"))))
	fails("a FileHash that the NAR hasn't", motd, "FileHash sha256:"+bad(hash("file_hash")))

	w.write(lock, strings.ReplaceAll(good, hash("nar_hash"), bad(hash("nar_hash"))))
	fails("a NarHash that the NAR hasn't", "layer: error: "+motd, bad(hash("nar_hash")), hash("nar_hash"))
	w.write(lock, good)

	w.edit("MODULE.bazel", "use_repo(strata", "strata.lock(\n    name = \"store\",\n    lock = \"//:other.json\",\n)\nuse_repo(strata")
	fails("two repositories of one name", `a repository named "store"`)
	w.write("MODULE.bazel", strings.ReplaceAll(module, "//:"+lock, "//:other.json"))
	fails("a lock that isn't there", "//:other.json does not exist", "`strata lock` writes it")
	w.write("MODULE.bazel", module)

	w.edit("BUILD.bazel", "max_layers = 8", "max_layers = 126")
	out := w.buildFails(cache, "--output_groups=manifest", "//:web_few_layers")
	if !strings.Contains(out, "max_layers: 126: want 1 to 125") {
		t.Errorf("max_layers = 126: got:\n%s", out)
	}
	w.edit("BUILD.bazel", "max_layers = 126", "max_layers = 8")

	// An image whose own settings and layers don't fit together.
	w.write("unfit/BUILD.bazel", `load("@rules_strata//rules:file_layer.bzl", "file_layer")
load("@rules_strata//rules:image.bzl", "image")

file_layer(
    name = "patch",
    content = {"`+motd[1:]+`": "other"},
)

image(
    name = "patched",
    contents = ["@store//:web"],
    layers = [":patch"],
)

image(
    name = "nobody",
    contents = ["@store//:web"],
    user = "web",
)
`)
	for target, want := range map[string]string{
		"//unfit:patched": `/unfit/patch.json: its entry "` + motd[1:] + `" would change ` + motd,
		"//unfit:nobody":  `user: "web": nobody can tell who the user "web" is, since the image has no /etc/passwd`,
	} {
		if out := w.buildFails(cache, "--output_groups=manifest", target); !strings.Contains(out, want) {
			t.Errorf("%s: want an error with %q, got:\n%s", target, want, out)
		}
	}

	w.build(cache, "--output_groups=manifest", "//:web", "//:web_few_layers")
}
