package clients_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// docker and containerd take longer to start than most of what they are asked: each is started once, and handed
// from test to test with nothing in it. A registry is a test's own. All keep what they have in folders of the tests, and
// their sockets in runDir; none makes a network.

// docker returns the client of the machine's dockerd.
func docker(t *testing.T) client {
	t.Helper()
	needIsolation(t)
	need(t, "dockerd", "containerd", "runc")
	return startDocker(t, "docker", "{}", "overlay2")
}

// startDocker starts the dockerd on the PATH, by a name of ours, unless it runs.
func startDocker(t *testing.T, name, config, driver string) client {
	t.Helper()
	need(t, "docker")
	dir := daemonDir(t, name)
	file := filepath.Join(dir, "daemon.json")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	host := "unix://" + runDir + "/" + name + ".sock"
	d := client{"docker", "--host", host}
	share(t, name, func() bool {
		_, failure := d.try(t, "version")
		return failure == ""
	}, "dockerd", "--config-file", file, "--data-root", filepath.Join(dir, "data"), "--exec-root", runDir+"/"+name,
		"--pidfile", runDir+"/"+name+".pid", "--host", host, "--storage-driver="+driver, "--cgroup-parent", cgroupParent(),
		"--bridge=none", "--iptables=false", "--ip6tables=false")
	t.Cleanup(func() {
		if containers := strings.Fields(d.clean(t, "ps", "--all", "--quiet")); len(containers) > 0 {
			d.clean(t, append([]string{"rm", "--force", "--volumes"}, containers...)...)
		}
		d.clean(t, "image", "prune", "--all", "--force")
	})
	t.Log("docker ", d.run(t, "version", "--format", "client {{.Client.Version}}, daemon {{.Server.Version}}"))
	return d
}

// containerd returns the client of the machine's containerd.
func containerd(t *testing.T) client {
	t.Helper()
	needIsolation(t)
	need(t, "containerd", "ctr", "runc")
	return startContainerd(t, "containerd")
}

// startContainerd starts the containerd on the PATH, by a name of ours, unless it runs.
func startContainerd(t *testing.T, name string) client {
	t.Helper()
	dir := daemonDir(t, name)
	config := filepath.Join(dir, "config.toml")
	address := runDir + "/" + name + ".sock"
	text := `version = 2
root = "` + dir + `/data"
state = "` + runDir + `/` + name + `"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "` + address + `"
[ttrpc]
address = "` + address + `.ttrpc"
`
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctr := client{"ctr", "--address", address}
	share(t, name, func() bool {
		_, failure := ctr.try(t, "--connect-timeout", "1s", "version")
		return failure == ""
	}, "containerd", "--config", config)
	t.Cleanup(func() {
		for _, id := range strings.Fields(ctr.clean(t, "tasks", "list", "--quiet")) {
			ctr.clean(t, "tasks", "delete", "--force", id)
		}
		for _, what := range [][]string{{"containers", "delete"}, {"leases", "delete"}, {"images", "remove", "--sync"}} {
			if ids := strings.Fields(ctr.clean(t, what[0], "list", "--quiet")); len(ids) > 0 {
				ctr.clean(t, append(what, ids...)...)
			}
		}
	})
	t.Log(ctr.run(t, "version"))
	return ctr
}

// daemonDir is the folder of a daemon that tests share.
func daemonDir(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(storageDir(), name)
	if err := os.MkdirAll(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

// registry starts distribution's registry 2, in which nothing is yet, with more lines of
// its configuration if need be, and returns its HOST:PORT.
func registry(t *testing.T, more ...string) string {
	t.Helper()
	return startRegistry(t, "docker-registry", "127.0.0.1:5000", more...)
}

// registry3 starts distribution's registry 3, in which nothing is yet, and returns its HOST:PORT.
func registry3(t *testing.T) string {
	t.Helper()
	t.Setenv("OTEL_TRACES_EXPORTER", "none") // it would look for who collects them
	return startRegistry(t, "registry3", "127.0.0.1:5003")
}

// startRegistry starts a registry at an address that is free: the loopback interface is the tests' own.
func startRegistry(t *testing.T, program, address string, more ...string) string {
	t.Helper()
	needIsolation(t)
	need(t, program)
	dir := scratch(t)
	config := filepath.Join(dir, "config.yml")
	text := `version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: ` + dir + `/data}}
http: {addr: "` + address + `"}
` + strings.Join(more, "\n")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ended := start(t, program, "serve", config)
	await(t, "the registry answers", ended, func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	t.Log(run(t, program, "--version"))
	return address
}

// podman returns podman with its storage in a new folder, and runtime (runc or
// crun) for what it runs. It has no daemon; its containers end with the test.
func podman(t *testing.T, runtime string) client {
	t.Helper()
	needIsolation(t)
	need(t, "podman", "conmon", runtime)
	storage, runRoot := containersStorage(t)
	p := append(client{"podman"}, storage...)
	p = append(p, "--tmpdir", filepath.Join(runRoot, "libpod"), "--cgroup-manager=cgroupfs", "--events-backend=none", "--runtime", runtime)
	t.Log(run(t, "podman", "--version"))
	// Also when the test failed before it stopped what it had started.
	t.Cleanup(func() { p.clean(t, "rm", "--all", "--force", "--time=0") })
	return p
}

// containersStorage is the options that podman and buildah share, and a folder
// for sockets and locks.
func containersStorage(t *testing.T) (options []string, runRoot string) {
	t.Helper()
	runRoot, err := os.MkdirTemp(runDir, "c")
	if err != nil {
		t.Fatal(err)
	}
	return []string{"--root", scratch(t), "--runroot", filepath.Join(runRoot, "run"), "--storage-driver=overlay"}, runRoot
}
