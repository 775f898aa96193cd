package main

import (
	"bytes"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// guixScript runs in a mount and a process namespace of its own: $1 is a root file system with Guix, $2 one with the store and its state.
// The daemon is gone with the namespace.
const guixScript = `
set -eu
for dir in gnu var/guix; do mount --bind "$2/$dir" "$1/$dir"; done
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
mount -t tmpfs tmpfs "$1/tmp"
PATH=$PATH:/usr/sbin:/sbin
exec chroot "$1" /usr/bin/busybox sh -euc '
  export PATH=/usr/bin:/usr/sbin HOME=/tmp GUIX_LOCPATH=/nowhere LC_ALL=C
  guix-daemon --disable-chroot --no-substitutes --disable-deduplication >/tmp/log 2>&1 &
  n=0; until [ -S /var/guix/daemon-socket/socket ]; do n=$((n+1)); [ $n -lt 300 ] || { cat /tmp/log; exit 1; }; busybox sleep 0.1; done
  ask() { echo "-- $*"; "$@" 2>/tmp/err || { cat /tmp/err /tmp/log; exit 1; }; busybox grep -E "error|not valid|modified|disappeared" /tmp/err || :; }
  ask guix gc --verify=contents
  ask guix gc --list-roots
  ask guix gc --references ` + guixRoot + `
  ask guix gc --requisites ` + guixRoot + `
  ask guix gc --derivers ` + guixRoot + `
  ask guix gc --list-dead
  ask guix gc >/dev/null
  ask guix gc --verify=contents
'
`

// Real Guix, over the files of an image with --guix-database, finds the store whole, knows references and roots, and deletes nothing.
func TestDatabase_Guix(t *testing.T) {
	guix := guixHome() + "/1.5"
	if _, err := os.Stat(filepath.Join(guix, "usr/bin/guix")); err != nil || os.Geteuid() != 0 {
		why := "no Guix on this machine, or not root: run e2e/guix/setup.sh"
		if os.Getenv("STRATA_REQUIRE_GUIX") == "1" {
			t.Fatal(why + " (STRATA_REQUIRE_GUIX=1 lets no check be skipped)")
		}
		t.Skip(why)
	}
	dir := t.TempDir()
	strata := func(args ...string) {
		t.Helper()
		if code := run(t.Context(), append([]string{"-q"}, args...), new(bytes.Buffer), os.Stderr); code != exitOK {
			t.Fatalf("strata %s: exit code %d", args, code)
		}
	}
	lock, archive, files := filepath.Join(dir, "lock.json"), filepath.Join(dir, "image.tar"), filepath.Join(dir, "root.tar")
	strata("lock", "--cache", "file://"+filepath.Join(webDir, "guix/cache"), "--public-key", "@"+filepath.Join(webDir, "guix/signing-key.pub"), "--root", "app="+guixRoot, "-o", lock)
	strata("build", "--lock", lock, "--guix-database", "-o", archive)
	strata("export", archive, "-o", files)
	root := filepath.Join(dir, "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "tar", "-C", root, "-xf", files).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), "unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", guixScript, "sh", guix, root).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	closure, err := os.ReadFile(filepath.Join(webDir, "guix/closure"))
	if err != nil {
		t.Fatal(err)
	}
	answers := map[string][]string{}
	question := ""
	for line := range strings.Lines(string(out)) {
		if q, ok := strings.CutPrefix(line, "-- guix gc "); ok {
			question, _, _ = strings.Cut(strings.TrimSpace(q), " ")
			answers[question] = nil
			continue
		}
		answers[question] = append(answers[question], strings.TrimSpace(line))
	}
	for question, want := range map[string][]string{
		"--verify=contents": nil,
		"--list-roots":      {"/var/guix/gcroots/docker/" + filepath.Base(guixRoot), "/var/guix/profiles"},
		"--requisites":      strings.Fields(string(closure)),
		"--derivers":        nil,
		"--list-dead":       nil,
	} {
		got, ok := answers[question]
		slices.Sort(got)
		slices.Sort(want)
		if !ok || !slices.Equal(got, want) {
			t.Errorf("guix gc %s: %q, want %q", question, got, want)
		}
	}
	if got := answers["--references"]; len(got) == 0 || !slices.Contains(got, guixRoot) {
		t.Errorf("guix gc --references: %q", got)
	}
	for _, p := range strings.Fields(string(closure)) {
		if _, err := os.Lstat(filepath.Join(root, p)); err != nil {
			t.Error(err)
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}

// guixHome is where e2e/guix/setup.sh puts Guix.
func guixHome() string {
	if dir := os.Getenv("STRATA_GUIX_HOME"); dir != "" {
		return dir
	}
	if u, err := user.Current(); err == nil { // Not HOME: Bazel's tests have none.
		return filepath.Join(u.HomeDir, ".cache/strata-guix")
	}
	return filepath.Join(os.Getenv("HOME"), ".cache/strata-guix")
}
