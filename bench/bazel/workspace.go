package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// bench is one run.
type bench struct {
	ctx        context.Context
	rounds     int
	source     string // the checkout
	tmp        string
	workspaces []*workspace
}

func newBench(ctx context.Context, rounds int) (*bench, error) {
	source, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(source, "bazelw")); err != nil {
		return nil, fmt.Errorf("run it in the checkout's folder: %w", err)
	}
	tmp, err := os.MkdirTemp("", "strata-bench-")
	if err != nil {
		return nil, err
	}
	b := &bench{ctx: ctx, rounds: rounds, source: source, tmp: tmp}
	for _, tool := range []string{"layer", "image"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", filepath.Join(tmp, tool), "./tool/cmd/"+tool)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			b.close()
			return nil, fmt.Errorf("go build ./tool/cmd/%s: %w\n%s", tool, err, out)
		}
	}
	return b, nil
}

// close ends the Bazel servers and removes all that was written.
func (b *bench) close() {
	for _, w := range b.workspaces {
		w.command(context.Background(), "shutdown").Run()
	}
	// Bazel makes folders read-only.
	filepath.WalkDir(b.tmp, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			os.Chmod(path, 0o755)
		}
		return nil
	})
	os.RemoveAll(b.tmp)
}

// workspace is one that uses the checkout's rules and the prebuilt tools, with a Bazel server of its own.
type workspace struct {
	b    *bench
	name string
	dir  string
	// target is what is built in it.
	target string
}

const moduleFile = `bazel_dep(name = "rules_strata")
local_path_override(
    module_name = "rules_strata",
    path = %q,
)
`

const toolsFile = `load("@rules_strata//rules:toolchain.bzl", "strata_tool_toolchain")

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
) for name in ["layer", "image"]]
`

// workspace makes one. Module is what its MODULE.bazel says besides, files are its files.
func (b *bench) workspace(name, module string, files map[string][]byte) (*workspace, error) {
	w := &workspace{b: b, name: name, dir: filepath.Join(b.tmp, "w", name)}
	all := map[string][]byte{
		"MODULE.bazel":      fmt.Appendf(nil, moduleFile+module, b.source),
		"tools/BUILD.bazel": []byte(toolsFile),
	}
	for file, text := range files {
		all[file] = text
	}
	for file, text := range all {
		path := filepath.Join(w.dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return nil, err
		}
	}
	for _, tool := range []string{"layer", "image"} {
		if err := os.Link(filepath.Join(b.tmp, tool), filepath.Join(w.dir, "tools", tool)); err != nil {
			return nil, err
		}
	}
	b.workspaces = append(b.workspaces, w)
	return w, nil
}

func (w *workspace) command(ctx context.Context, args ...string) *exec.Cmd {
	all := append([]string{"--output_base=" + filepath.Join(w.b.tmp, "o", w.name), "--max_idle_secs=120"}, args...)
	cmd := exec.CommandContext(ctx, filepath.Join(w.b.source, "bazelw"), all...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.Dir = w.dir
	return cmd
}

// bazel runs a command, which must succeed, and returns how long it took.
func (w *workspace) bazel(args ...string) (time.Duration, error) {
	cmd := w.command(w.b.ctx, args...)
	start := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%s: bazel %v: %w\n%s", w.name, args, err, out)
	}
	return time.Since(start), nil
}

// serverCPU is the CPU time that the workspace's Bazel server has taken since it was started.
func (w *workspace) serverCPU() (time.Duration, error) {
	pid, err := os.ReadFile(filepath.Join(w.b.tmp, "o", w.name, "server/server.pid.txt"))
	if err != nil {
		return 0, err
	}
	stat, err := os.ReadFile(filepath.Join("/proc", strings.TrimSpace(string(pid)), "stat"))
	if err != nil {
		return 0, err
	}
	// proc(5): behind the name in parentheses, the 14th and 15th fields are ticks, of which Linux has 100 a second.
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%s/stat: %q", pid, stat)
	}
	var ticks time.Duration
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			return 0, fmt.Errorf("/proc/%s/stat: %w", pid, err)
		}
		ticks += time.Duration(n)
	}
	return ticks * 10 * time.Millisecond, nil
}

// buildFlags are for every command that analyses: the prebuilt tools, and no cache.
func buildFlags(args ...string) []string {
	return append([]string{
		"build", "--extra_toolchains=//tools:all", "--disk_cache=", "--experimental_convenience_symlinks=ignore",
		"--lockfile_mode=off", "--color=no", "--curses=no", "--show_progress_rate_limit=60",
	}, args...)
}

func (b *bench) tool(name string, args ...string) *exec.Cmd {
	return exec.CommandContext(b.ctx, filepath.Join(b.tmp, name), args...)
}
