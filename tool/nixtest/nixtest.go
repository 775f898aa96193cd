// Package nixtest runs real Nix, for tests that compare what strata does with
// what Nix does. e2e/nix/setup.sh puts it onto the machine; where it is missing
// a test is skipped, or fails if the environment has STRATA_REQUIRE_NIX=1.
package nixtest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The versions that setup.sh sets up. Where they don't agree on what must be refused, New is right:
// Old takes archives that it shouldn't.
const (
	Old = "2.8"
	New = "2.34"
)

// timeout bounds each run: nothing that tests ask for takes Nix more than a second or two.
const timeout = time.Minute

// Nix is a Nix of one version with a store, a state and a configuration of its own.
// It reads nothing of the user's or the machine's, and asks no network.
type Nix struct {
	// Version is [Old] or [New].
	Version string
	// Dir is the folder below which all of its own is: the store /nix/store is Dir/nix/store.
	Dir string

	tb  testing.TB
	bin string
}

// Open returns the Nix of a version, with an empty store that goes away with the test.
func Open(tb testing.TB, version string) *Nix {
	tb.Helper()
	bin := filepath.Join(Installed(tb, version), "bin")
	n := &Nix{Version: version, Dir: filepath.Join(tempDir(tb), "nix"), tb: tb, bin: bin}
	conf := "build-users-group =\nsandbox = false\nsubstituters =\nexperimental-features = nix-command\n"
	if version == Old {
		conf += "filter-syscalls = false\n"
	}
	for dir, name := range map[string]string{"conf": "nix.conf", "home": "", "cache": ""} {
		if err := os.MkdirAll(filepath.Join(n.Dir, dir), 0o755); err != nil {
			tb.Fatal(err)
		}
		if name != "" {
			if err := os.WriteFile(filepath.Join(n.Dir, dir, name), []byte(conf), 0o644); err != nil {
				tb.Fatal(err)
			}
		}
	}
	return n
}

// Installed returns the folder of a version's programs and libraries, for who runs them elsewhere than on this machine: in a
// container that has this very folder.
func Installed(tb testing.TB, version string) string {
	tb.Helper()
	dir := filepath.Join(home(), version)
	if _, err := os.Stat(filepath.Join(dir, "bin/nix")); err != nil {
		why := "no Nix " + version + " on this machine: run e2e/nix/setup.sh"
		if os.Getenv("STRATA_REQUIRE_NIX") == "1" {
			tb.Fatal(why + " (STRATA_REQUIRE_NIX=1 lets no check be skipped)")
		}
		tb.Skip(why)
	}
	return dir
}

// tempDir is [testing.TB.TempDir], but also takes away what Nix has made read-only.
func tempDir(tb testing.TB) string {
	tb.Helper()
	dir := tb.TempDir()
	tb.Cleanup(func() {
		filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				os.Chmod(path, 0o755)
			}
			return nil
		})
	})
	return dir
}

// home is where setup.sh puts the versions.
func home() string {
	if dir := os.Getenv("STRATA_NIX_HOME"); dir != "" {
		return dir
	}
	// Not HOME: Bazel's tests have none.
	if u, err := user.Current(); err == nil {
		return filepath.Join(u.HomeDir, ".cache/strata-nix")
	}
	return filepath.Join(os.Getenv("HOME"), ".cache/strata-nix")
}

// Command returns the command that runs a program of this Nix ("nix", "nix-store", …).
// Its default store is n's own. The program is killed at the test's end, or when it takes too long.
func (n *Nix) Command(program string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(n.tb.Context(), timeout)
	n.tb.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, filepath.Join(n.bin, program), args...)
	cmd.Env = []string{
		"PATH=" + n.bin,
		"HOME=" + filepath.Join(n.Dir, "home"),
		"XDG_CACHE_HOME=" + filepath.Join(n.Dir, "cache"), // what Nix remembers of caches
		"NIX_CONF_DIR=" + filepath.Join(n.Dir, "conf"),
		"NIX_REMOTE=" + n.Dir,
	}
	return cmd
}

// Error is how a program of Nix failed.
type Error struct {
	// Stderr is what it said, without the newline at the end.
	Stderr string
	Err    error
}

// Error is what Nix said.
func (e *Error) Error() string { return e.Err.Error() + ": " + e.Stderr }

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

// Run runs a program of this Nix and returns its standard output. That the program says no is an
// [*Error]; that it doesn't run, or is killed, ends the test.
func (n *Nix) Run(program string, args ...string) (string, error) {
	n.tb.Helper()
	return n.Finish(n.Command(program, args...))
}

// Finish is [Nix.Run] for a command of [Nix.Command] that has got, say, a standard input.
func (n *Nix) Finish(cmd *exec.Cmd) (string, error) {
	n.tb.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || !exit.Exited()) {
		n.tb.Fatalf("Nix %s: %v: %v: %s", n.Version, cmd.Args, err, &stderr)
	}
	if err != nil {
		return stdout.String(), &Error{strings.TrimSuffix(stderr.String(), "\n"), err}
	}
	return stdout.String(), nil
}

// MustRun is [Nix.Run] for what has to succeed.
func (n *Nix) MustRun(program string, args ...string) string {
	n.tb.Helper()
	out, err := n.Run(program, args...)
	if err != nil {
		n.tb.Fatalf("Nix %s: %s %q: %v", n.Version, program, args, err)
	}
	return out
}
