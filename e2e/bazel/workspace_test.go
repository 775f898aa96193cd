package bazel

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// scratch is where the nested Bazel keeps everything; removed at the end.
var scratch string

func TestMain(m *testing.M) {
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	var err error
	// Short, since Bazel makes a socket below it and actions get long paths.
	if scratch, err = os.MkdirTemp("", "strata-e2e-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer removeAll(scratch)
	defer func() {
		for _, w := range idle {
			w.command("shutdown").Run()
		}
	}()
	return m.Run()
}

// removeAll removes dir, though Bazel makes the directories in it read-only.
func removeAll(dir string) {
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			os.Chmod(path, 0o755)
		}
		return nil
	})
	os.RemoveAll(dir)
}

// sourceDir is the checkout. Under Bazel the runfiles are links into it.
func sourceDir(t *testing.T) string {
	t.Helper()
	file, err := filepath.EvalSymlinks("../../MODULE.bazel")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// tool is the path of one of strata's programs: the one that the surrounding
// Bazel built, else one built now.
func tool(t *testing.T, name string) string {
	t.Helper()
	if p := os.Getenv("STRATA_" + strings.ToUpper(name)); p != "" {
		p, err := filepath.Abs(filepath.Join("../..", p))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	out := filepath.Join(scratch, "tools", name)
	if _, err := os.Stat(out); err == nil {
		return out
	}
	cmd := exec.Command("go", "build", "-trimpath", "-o", out, "../../tool/cmd/"+name)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", name, err, b)
	}
	return out
}

// workspace is a copy of e2e/bzlmod with the action binaries prebuilt, so that
// no test compiles Go, and with an output base and a Bazel server that no other
// test uses at the same time.
type workspace struct {
	t          *testing.T
	dir        string
	outputBase string
	// env is added to the environment of Bazel's client, and so of its server.
	env []string
	// umask is the umask that Bazel is started with, as sh takes it.
	umask string
}

// idle are the workspaces that tests are done with. A new server takes long to
// start and to unpack what the modules name, so the next test goes on with one:
// with files, outputs and an action cache of its own, not with repositories.
var idle []*workspace

// newWorkspace copies e2e/bzlmod to where nothing has been built.
func newWorkspace(t *testing.T) *workspace {
	t.Helper()
	if len(idle) > 0 {
		w := idle[len(idle)-1]
		idle = idle[:len(idle)-1]
		w.t, w.env, w.umask = t, nil, ""
		w.lend()
		if out, err := w.command("clean").CombinedOutput(); err != nil {
			t.Fatalf("bazel clean: %v\n%s", err, out)
		}
		return w
	}
	return newServer(t)
}

// newServer is newWorkspace with a Bazel server that no test had before.
func newServer(t *testing.T) *workspace {
	t.Helper()
	dir, err := os.MkdirTemp(scratch, "w")
	if err != nil {
		t.Fatal(err)
	}
	w := &workspace{t: t, dir: dir}
	w.lend()
	w.newOutputBase()
	return w
}

// lend puts the files of e2e/bzlmod and nothing else into the workspace, for
// the time of a test.
func (w *workspace) lend() {
	w.t.Helper()
	old, err := os.ReadDir(w.dir)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range old {
		removeAll(filepath.Join(w.dir, f.Name()))
	}
	src := sourceDir(w.t)
	for _, name := range []string{"MODULE.bazel", "BUILD.bazel", "strata.json", "strata.lock.json"} {
		b, err := os.ReadFile(filepath.Join(src, "e2e/bzlmod", name))
		if err != nil {
			w.t.Fatal(err)
		}
		// The copy lies elsewhere: what was relative to the checkout becomes absolute.
		s := strings.ReplaceAll(string(b), `"file:../../`, `"file://`+src+"/")
		w.write(name, strings.ReplaceAll(s, `path = "../.."`, fmt.Sprintf("path = %q", src)))
	}
	w.write("prebuilt/BUILD.bazel", prebuiltToolchains)
	for _, name := range []string{"layer", "image", "files", "database", "run", "strata"} {
		b, err := os.ReadFile(tool(w.t, name))
		if err != nil {
			w.t.Fatal(err)
		}
		w.write("prebuilt/"+name, string(b))
		if err := os.Chmod(filepath.Join(w.dir, "prebuilt", name), 0o755); err != nil {
			w.t.Fatal(err)
		}
	}
	w.t.Cleanup(func() {
		if len(w.env) > 0 || w.umask != "" {
			w.shutdown() // its server has them for ever
			return
		}
		idle = append(idle, w)
	})
}

// prebuiltToolchains registers programs that are there already, as a user does
// who wants no Go compiler in the build.
const prebuiltToolchains = `load("@rules_strata//rules:toolchain.bzl", "strata_tool_toolchain")

[(
    strata_tool_toolchain(
        name = name + "_tool",
        tool = name,
    ),
    toolchain(
        name = name + "_toolchain",
        toolchain = name + "_tool",
        toolchain_type = "@rules_strata//rules/toolchain:%s_toolchain_type" % name,
    ),
) for name in ["layer", "image", "files", "database", "run", "strata"]]
`

// newOutputBase makes what follows start from nothing: a new Bazel server with an empty output tree.
func (w *workspace) newOutputBase() {
	w.t.Helper()
	if w.outputBase != "" {
		w.shutdown()
	}
	base, err := os.MkdirTemp(scratch, "o")
	if err != nil {
		w.t.Fatal(err)
	}
	w.outputBase = base
}

func (w *workspace) shutdown() {
	w.command("shutdown").Run()
	removeAll(w.outputBase)
}

func (w *workspace) write(name, text string) {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func (w *workspace) read(name string) string {
	w.t.Helper()
	b, err := os.ReadFile(filepath.Join(w.dir, name))
	if err != nil {
		w.t.Fatal(err)
	}
	return string(b)
}

// edit replaces old, which must be there, in the file name.
func (w *workspace) edit(name, old, new string) {
	w.t.Helper()
	text := w.read(name)
	if !strings.Contains(text, old) {
		w.t.Fatalf("%s does not hold %q", name, old)
	}
	w.write(name, strings.ReplaceAll(text, old, new))
}

// lock writes a new strata.lock.json by `strata lock` with the test key.
func (w *workspace) lock(args ...string) {
	w.t.Helper()
	w.lockTo("strata.lock.json", args...)
}

// lockTo writes a new lock into the file name.
func (w *workspace) lockTo(name string, args ...string) {
	w.t.Helper()
	file := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		w.t.Fatal(err)
	}
	args = append([]string{
		"lock", "-o", file,
		"--public-key", "strata-web-1:f3mF6lUioKmEsF3TziQjGjlDqBeyG+WYPjOdFzlhmBU=",
	}, args...)
	cmd := exec.Command(tool(w.t, "strata"), args...)
	cmd.Dir = scratch // where no project file is
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Fatalf("strata lock: %v\n%s", err, out)
	}
}

func (w *workspace) command(command string, args ...string) *exec.Cmd {
	umask := w.umask
	if umask == "" {
		umask = "022"
	}
	all := []string{
		"-c", `umask "$0"; exec "$@"`, umask,
		filepath.Join(sourceDir(w.t), "bazelw"), "--output_base=" + w.outputBase, "--max_idle_secs=60", command,
	}
	cmd := exec.Command("sh", append(all, args...)...)
	cmd.Dir = w.dir
	for _, e := range os.Environ() {
		// What the surrounding Bazel set for its test is not for this one.
		if !strings.HasPrefix(e, "TEST_") && !strings.HasPrefix(e, "RUNFILES") && !strings.HasPrefix(e, "BAZEL_TEST") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.Env = append(cmd.Env, w.env...)
	return cmd
}

// buildFlags hold for every build and query: the prebuilt tools, no cache but
// the one that a test names, and no convenience links.
var buildFlags = []string{
	"--extra_toolchains=//prebuilt:all",
	"--disk_cache=",
	"--experimental_convenience_symlinks=ignore",
	"--lockfile_mode=off",
	"--color=no", "--curses=no", "--show_progress_rate_limit=60",
}

// build runs `bazel build`, which must succeed, and returns the spawns that
// its execution log lists: those that ran and those found in a cache.
func (w *workspace) build(args ...string) spawns {
	w.t.Helper()
	log := filepath.Join(scratch, "execution-log.json")
	os.Remove(log)
	flags := append([]string{"--execution_log_json_file=" + log}, buildFlags...)
	out, err := w.command("build", append(flags, args...)...).CombinedOutput()
	if err != nil {
		w.t.Fatalf("bazel build %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return readSpawns(w.t, log)
}

// buildFails runs `bazel build`, which must fail, and returns what it printed.
func (w *workspace) buildFails(args ...string) string {
	w.t.Helper()
	out, err := w.command("build", append(append([]string{}, buildFlags...), args...)...).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		w.t.Fatalf("bazel build %s: want a failure, got %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// outputs are the files of a target's output group, as paths that can be opened.
func (w *workspace) outputs(target, group string, flags ...string) []string {
	w.t.Helper()
	args := append([]string{target, "--output=files", "--output_groups=" + group}, buildFlags...)
	cmd := w.command("cquery", append(args, flags...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		w.t.Fatalf("bazel cquery %s: %v\n%s", target, err, &stderr)
	}
	var files []string
	for f := range strings.FieldsSeq(string(out)) {
		files = append(files, filepath.Join(w.execRoot(), f))
	}
	if len(files) == 0 {
		w.t.Fatalf("%s has no file in output group %s", target, group)
	}
	return files
}

func (w *workspace) execRoot() string {
	return filepath.Join(w.outputBase, "execroot", "_main")
}

// digest builds a target's digest file alone and returns what is in it, with
// the spawns that it took.
func (w *workspace) digest(target string, flags ...string) (string, spawns) {
	w.t.Helper()
	ran := w.build(append([]string{target, "--output_groups=digest"}, flags...)...)
	b, err := os.ReadFile(w.outputs(target, "digest", flags...)[0])
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.TrimSpace(string(b)), ran
}
