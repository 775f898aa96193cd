package clients_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each daemon here is private to a test: storage in a folder of its own, the
// socket in runDir, no network of its own making. It ends with the test.

// docker starts dockerd and returns the client that speaks to it.
func docker(t *testing.T) client {
	t.Helper()
	needIsolation(t)
	need(t, "dockerd", "docker", "containerd", "runc")
	dir := scratch(t)
	config := filepath.Join(dir, "daemon.json")
	if err := os.WriteFile(config, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	host := "unix://" + runDir + "/docker.sock"
	ended := start(t, "dockerd", "--config-file", config, "--data-root", filepath.Join(dir, "data"), "--exec-root", runDir+"/docker",
		"--pidfile", runDir+"/docker.pid", "--host", host, "--storage-driver=overlay2", "--cgroup-parent", cgroupParent(),
		"--bridge=none", "--iptables=false", "--ip6tables=false")
	d := client{"docker", "--host", host}
	await(t, "dockerd answers", ended, func() bool {
		_, failure := d.try(t, "version")
		return failure == ""
	})
	t.Log("docker ", d.run(t, "version", "--format", "client {{.Client.Version}}, daemon {{.Server.Version}}"))
	return d
}

// containerd starts containerd and returns the client that speaks to it.
func containerd(t *testing.T) client {
	t.Helper()
	needIsolation(t)
	need(t, "containerd", "ctr", "runc")
	return startContainerd(t, func(t *testing.T, args ...string) <-chan struct{} { return start(t, args[0], args[1:]...) })
}

// startContainerd has start start a containerd.
func startContainerd(t *testing.T, start func(t *testing.T, args ...string) <-chan struct{}) client {
	t.Helper()
	dir := scratch(t)
	config := filepath.Join(dir, "config.toml")
	address := runDir + "/containerd.sock"
	text := `version = 2
root = "` + dir + `/data"
state = "` + runDir + `/containerd"
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
	ended := start(t, "containerd", "--config", config)
	await(t, "containerd answers", ended, func() bool {
		_, failure := ctr.try(t, "--connect-timeout", "1s", "version")
		return failure == ""
	})
	t.Log(ctr.run(t, "version"))
	return ctr
}

// registry starts the distribution registry, in which nothing is yet, with more lines of
// its configuration if need be, and returns its HOST:PORT.
func registry(t *testing.T, more ...string) string {
	t.Helper()
	needIsolation(t)
	need(t, "docker-registry")
	dir := scratch(t)
	const address = "127.0.0.1:5000" // free: the loopback interface is the tests' own
	config := filepath.Join(dir, "config.yml")
	text := `version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: ` + dir + `/data}}
http: {addr: "` + address + `"}
` + strings.Join(more, "\n")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ended := start(t, "docker-registry", "serve", config)
	await(t, "the registry answers", ended, func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	t.Log(run(t, "docker-registry", "--version"))
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
	t.Cleanup(func() {
		// Also when the test failed before it stopped what it had started.
		args := p.with([]string{"rm", "--all", "--force", "--time=0"})
		if out, err := commandContext(context.Background(), p[0], args...).CombinedOutput(); err != nil {
			t.Errorf("podman rm: %v\n%s", err, out)
		}
	})
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
