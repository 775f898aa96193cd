package clients_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// newerUsr is where setup-newer.sh puts newer daemons, with all that they need: the /usr that they run with.
func newerUsr() string {
	if dir := os.Getenv("STRATA_CLIENTS_NEWER"); dir != "" {
		return dir
	}
	return filepath.Join(filepath.Dir(clientsBin()), "newer")
}

// inNewer runs a program of the newer ones, in a root of its own that has their /usr, and all else that the tests
// have: /run, /proc, the cgroups, the tests' files by the same names.
const inNewer = `set -eu
usr=$1 work=$2
shift 2
mount -t tmpfs -o mode=755 newer /mnt
cd /mnt
for dir in etc dev proc run sys tmp usr old "./$work"; do mkdir -p "$dir"; done
for dir in bin lib lib64 sbin; do ln -s usr/$dir $dir; done
printf 'root:x:0:0::/:/bin/sh\n' >etc/passwd
printf 'root:x:0:\n' >etc/group
mount --bind "$usr" usr
for dir in dev proc run sys "$work"; do mount --rbind "/$dir" "./$dir"; done
pivot_root . old
cd /
export PATH=/usr/sbin:/usr/bin
exec "$@"
`

// startNewer is start for a newer daemon.
func startNewer(t *testing.T, args ...string) (ended <-chan struct{}) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(newerUsr(), "recipe")); err != nil {
		missing(t, "no newer clients are there: run e2e/clients/setup.sh")
	}
	need(t, "unshare")
	return start(t, "unshare", append([]string{"--mount", "--propagation=private", "sh", "-c", inNewer, "sh", newerUsr(), workDir}, args...)...)
}

// newerDocker starts a dockerd of 28 or later, with the image store of containerd's or with graph drivers.
func newerDocker(t *testing.T, store string) client {
	t.Helper()
	needIsolation(t)
	need(t, "docker")
	dir := scratch(t)
	config, driver := filepath.Join(dir, "daemon.json"), map[string]string{"containerd": "overlayfs", "graph drivers": "overlay2"}[store]
	text := fmt.Sprintf(`{"features": {"containerd-snapshotter": %t}}`, store == "containerd")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	host := "unix://" + runDir + "/docker.sock"
	ended := startNewer(t, "dockerd", "--config-file", config, "--data-root", filepath.Join(dir, "data"), "--exec-root", runDir+"/docker",
		"--pidfile", runDir+"/docker.pid", "--host", host, "--storage-driver="+driver, "--cgroup-parent", cgroupParent(),
		"--bridge=none", "--iptables=false", "--ip6tables=false")
	d := client{"docker", "--host", host}
	await(t, "dockerd answers", ended, func() bool {
		_, failure := d.try(t, "version")
		return failure == ""
	})
	t.Log("docker ", d.run(t, "version", "--format", "client {{.Client.Version}}, daemon {{.Server.Version}}"))
	return d
}

// newerContainerd starts a containerd of 2.1 or later, and puts its ctr first on the PATH: it can't do without the daemon of its own version.
func newerContainerd(t *testing.T) client {
	t.Helper()
	needIsolation(t)
	bin := scratch(t)
	loader := filepath.Join(newerUsr(), "lib64/ld-linux-x86-64.so.2")
	libraries, err := filepath.Glob(filepath.Join(newerUsr(), "lib", "*-linux-gnu"))
	if err != nil || len(libraries) != 1 {
		missing(t, "no newer clients are there: run e2e/clients/setup.sh")
	}
	wrapper := fmt.Sprintf("#!/bin/sh\nexec %s --library-path %s %s \"$@\"\n", loader, libraries[0], filepath.Join(newerUsr(), "bin/ctr"))
	if err := os.WriteFile(filepath.Join(bin, "ctr"), []byte(wrapper), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	return startContainerd(t, startNewer)
}
