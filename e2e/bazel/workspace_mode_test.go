package bazel

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// A WORKSPACE file instead of modules, tools built from source by what it
// declares: the images are those that a workspace with modules gets.
func TestWorkspaceMode_SameImages(t *testing.T) {
	w := newWorkspaceModeWorkspace(t)
	out := w.run("build", "//:web", "//:web_libc_first", "--output_groups=+manifest,+digest,+layout")
	if !regexp.MustCompile(`(?m)^INFO: Build completed successfully`).MatchString(out) {
		t.Errorf("bazel build says:\n%s", out)
	}
	// Bazel warns of what it will not support much longer, and of toolchains that a WORKSPACE declares too late.
	for _, line := range regexp.MustCompile(`(?m)^(WARNING|DEBUG).*`).FindAllString(out, -1) {
		t.Errorf("bazel build says: %s", line)
	}

	digest := strings.TrimSpace(readFile(t, w.output("//:web", "digest")))
	if want, _ := newWorkspace(t).digest("//:web"); digest != want {
		t.Errorf("//:web is %s, want %s as with modules", digest, want)
	}

	var manifest struct {
		Layers []struct {
			Digest string `json:"digest"`
		} `json:"layers"`
	}
	if err := json.Unmarshal([]byte(readFile(t, w.output("//:web_libc_first", "manifest"))), &manifest); err != nil {
		t.Fatal(err)
	}
	w.run("build", "//:libc", "--output_groups=digest_file")
	var libc struct {
		Descriptor struct {
			Digest string `json:"digest"`
		} `json:"descriptor"`
	}
	if err := json.Unmarshal([]byte(readFile(t, w.output("//:libc", "digest_file"))), &libc); err != nil {
		t.Fatal(err)
	}
	if len(manifest.Layers) == 0 || manifest.Layers[0].Digest != libc.Descriptor.Digest {
		t.Errorf("//:web_libc_first has layers %v, want the first to be //:libc's %s", manifest.Layers, libc.Descriptor.Digest)
	}
}

// The WORKSPACE of the checkout declares all that its own example needs.
func TestWorkspaceMode_Checkout(t *testing.T) {
	w := workspaceMode{&workspace{t: t, dir: sourceDir(t)}}
	w.newOutputBase()
	t.Cleanup(w.shutdown)
	w.needWorkspaceMode()
	out := w.run("query", "--config=workspace", "deps(//examples/web:image, 3) intersect @store//...")
	for _, want := range []string{"@store//:web\n", "@store//layer:"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q among what //examples/web:image is made of:\n%s", want, out)
		}
	}
}

// workspaceMode is a copy of e2e/workspace with an output base of its own.
type workspaceMode struct{ *workspace }

func newWorkspaceModeWorkspace(t *testing.T) workspaceMode {
	t.Helper()
	src := sourceDir(t)
	dir, err := os.MkdirTemp(scratch, "w")
	if err != nil {
		t.Fatal(err)
	}
	w := workspaceMode{&workspace{t: t, dir: dir}}
	for _, name := range []string{"WORKSPACE", ".bazelrc", ".bazelversion", "BUILD.bazel", "strata.lock.json"} {
		text := readFile(t, filepath.Join(src, "e2e/workspace", name))
		// The copy lies elsewhere: what was relative to the checkout becomes absolute.
		text = strings.ReplaceAll(text, `"file:../../`, `"file://`+src+"/")
		w.write(name, strings.ReplaceAll(text, `path = "../.."`, `path = `+strconv.Quote(src)))
	}
	w.newOutputBase()
	t.Cleanup(w.shutdown)
	w.needWorkspaceMode()
	return w
}

// needWorkspaceMode skips the test where Bazel knows modules only: from 9 on.
func (w workspaceMode) needWorkspaceMode() {
	w.t.Helper()
	if m := regexp.MustCompile(`(?m)^release (\d+)\.`).FindStringSubmatch(w.run("info", "release")); m != nil {
		if major, _ := strconv.Atoi(m[1]); major > 8 {
			w.t.Skipf("Bazel %s reads no WORKSPACE", m[1])
		}
	}
}

// run runs Bazel, which must succeed, and returns what it printed. Unlike
// workspace.build it uses the disk cache of the machine, if there is one: the
// tools are built from source, Go's standard library included.
func (w workspaceMode) run(command string, args ...string) string {
	w.t.Helper()
	flags := []string{"--color=no", "--curses=no", "--show_progress_rate_limit=60"}
	if command == "build" {
		flags = append(flags, "--experimental_convenience_symlinks=ignore")
		// A sandbox has a /tmp of its own: a checkout in /tmp must be named, for its sources to be there.
		if src := sourceDir(w.t); strings.HasPrefix(src, "/tmp/") {
			flags = append(flags, "--sandbox_add_mount_pair="+src)
		}
	}
	out, err := w.command(command, append(flags, args...)...).CombinedOutput()
	if err != nil {
		w.t.Fatalf("bazel %s %s: %v\n%s", command, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// output is the one file of a target's output group.
func (w workspaceMode) output(target, group string) string {
	w.t.Helper()
	ask := func(command string, args ...string) string {
		out, err := w.command(command, args...).Output()
		if err != nil {
			w.t.Fatalf("bazel %s %s: %v", command, strings.Join(args, " "), err)
		}
		return strings.TrimSpace(string(out))
	}
	files := strings.Fields(ask("cquery", target, "--output=files", "--output_groups="+group))
	if len(files) != 1 {
		w.t.Fatalf("%s has files %v in output group %s, want one", target, files, group)
	}
	return filepath.Join(ask("info", "execution_root"), files[0])
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
