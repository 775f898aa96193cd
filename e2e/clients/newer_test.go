package clients_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// newerUsr is where setup-newer.sh puts newer clients, with all that they need: the /usr that they run with.
func newerUsr() string {
	if dir := os.Getenv("STRATA_CLIENTS_NEWER"); dir != "" {
		return dir
	}
	return filepath.Join(filepath.Dir(clientsBin()), "newer")
}

// newerRoot makes a mount namespace for the newer programs, and keeps it: a root of its own that has their /usr, and all else that
// the tests have: /run, /proc, the cgroups, the tests' files by the same names.
const newerRoot = `set -eu
usr=$1 work=$2 ready=$3
mount -t tmpfs -o mode=755 newer /mnt
cd /mnt
for dir in etc dev proc run sys tmp usr var/tmp old "./$work"; do mkdir -p "$dir"; done
chmod 1777 tmp var/tmp
for dir in bin lib lib64 sbin; do ln -s usr/$dir $dir; done
printf 'root:x:0:0::/:/bin/sh\n' >etc/passwd
printf 'root:x:0:\n' >etc/group
: >etc/hosts
: >etc/resolv.conf
mount --bind "$usr" usr
for dir in dev proc run sys "$work"; do mount --rbind "/$dir" "./$dir"; done
mkfifo "$ready.end"
pivot_root . old
cd /
: >"$ready"
read -r end <"$ready.end" # by nobody
`

// newer puts newer programs first on the PATH, for the time of the test: wrappers that run them in their root.
func newer(t *testing.T, programs ...string) {
	t.Helper()
	needIsolation(t)
	need(t, "unshare", "nsenter")
	if _, err := os.Stat(filepath.Join(newerUsr(), "recipe")); err != nil {
		missing(t, "no newer clients are there: run e2e/clients/setup.sh")
	}
	ready := runDir + "/newer"
	root := share(t, "newer", func() bool {
		_, err := os.Stat(ready)
		return err == nil
	}, "unshare", "--mount", "--propagation=private", "sh", "-c", newerRoot, "sh", newerUsr(), workDir, ready)
	bin := scratch(t)
	for _, p := range programs {
		in := ""
		for _, dir := range []string{"bin", "sbin"} {
			if _, err := os.Stat(filepath.Join(newerUsr(), dir, p)); err == nil {
				in = "/usr/" + dir + "/" + p
			}
		}
		if in == "" {
			missing(t, "there is no newer "+p+": run e2e/clients/setup.sh")
		}
		wrapper := fmt.Sprintf("#!/bin/sh\nexec nsenter --mount --target=%d %s \"$@\"\n", root.process.Pid, in)
		if err := os.WriteFile(filepath.Join(bin, p), []byte(wrapper), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	onPath(t, bin)
}

// newerDocker is docker for a daemon of 28 or later, with the storage driver overlay2, or with containerd's image store and its overlayfs.
func newerDocker(t *testing.T, driver string) client {
	t.Helper()
	newer(t, "dockerd")
	return startDocker(t, "docker28-"+driver, fmt.Sprintf(`{"features": {"containerd-snapshotter": %s}}`, strconv.FormatBool(driver == "overlayfs")), driver)
}

// newerContainerd is containerd for one of 2.1 or later, and puts its ctr first on the PATH: it can't do without the daemon of its own version.
func newerContainerd(t *testing.T) client {
	t.Helper()
	newer(t, "containerd", "ctr")
	return startContainerd(t, "containerd2")
}

// newerPodman is podman for one of 5 or later.
func newerPodman(t *testing.T) client {
	t.Helper()
	newer(t, "podman")
	return podman(t, "runc")
}
