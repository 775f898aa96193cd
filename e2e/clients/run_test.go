package clients_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// webIndex is the page that the image's nginx serves at /, in the truth's tree.
const webIndex = "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-web-root/index.html"

// webURL is where nginx listens: in the container's own network namespace,
// where only the tests of that container look.
const webURL = "http://127.0.0.1:18080/"

// TestRun runs the image's program under each runtime and has its web server
// answer. The image is store paths alone and its user isn't root, so a tmpfs on
// /tmp is all that nginx can write to.
func TestRun(t *testing.T) {
	img := web(t)
	for _, runtime := range []string{"runc", "crun"} {
		t.Run("podman_"+runtime, func(t *testing.T) {
			p := podman(t, runtime)
			name := podmanLoad(t, p, img)
			id := p.run(t, podmanRun("--detach", "--tmpfs=/tmp", name)...)
			state := func(field string) string {
				return p.run(t, "inspect", "--format", "{{.State."+field+"}}", id)
			}
			judgeServer(t, number(t, state("Pid")))
			p.run(t, "stop", "--time=20", id)
			if code := state("ExitCode"); code != "0" {
				t.Errorf("stopped: exit code %s, want 0", code)
			}
		})
	}
	t.Run("docker", func(t *testing.T) {
		d := docker(t)
		name := dockerLoad(t, d, img)
		id := d.run(t, "run", "--detach", "--network=none", "--tmpfs=/tmp", name)
		state := func(field string) string {
			return d.run(t, "inspect", "--format", "{{.State."+field+"}}", id)
		}
		pid := number(t, state("Pid"))
		judgeServer(t, pid)
		// What docker unpacked, as the program sees it.
		judgeTree(t, webTree(t), "/proc/"+strconv.Itoa(pid)+"/root", false)
		d.run(t, "stop", "--time=20", id)
		if code := state("ExitCode"); code != "0" {
			t.Errorf("stopped: exit code %s, want 0", code)
		}
	})
	t.Run("containerd", func(t *testing.T) {
		ctr := containerd(t)
		name := containerdImport(t, ctr, img)
		ctr.run(t, "run", "--detach", "--snapshotter=overlayfs", "--cgroup", cgroupParent()+"/web",
			"--mount", "type=tmpfs,src=tmpfs,dst=/tmp,options=mode=1777", name, "web")
		var pid int
		for line := range strings.Lines(ctr.run(t, "tasks", "list")) {
			if f := strings.Fields(line); len(f) == 3 && f[0] == "web" {
				pid = number(t, f[1])
			}
		}
		judgeServer(t, pid)
		ctr.run(t, "tasks", "kill", "--signal", "SIGTERM", "web")
		await(t, "nginx ends on SIGTERM", nil, func() bool {
			return strings.Contains(ctr.run(t, "tasks", "list"), "STOPPED")
		})
		ctr.run(t, "tasks", "delete", "web")
		ctr.run(t, "containers", "delete", "web")
	})
	for _, runtime := range []string{"runc", "crun"} {
		t.Run("umoci_"+runtime, func(t *testing.T) {
			needIsolation(t)
			need(t, runtime)
			bundle := umociUnpack(t, img)
			editBundle(t, bundle)
			oci := client{runtime, "--root", filepath.Join(runDir, runtime)}
			c := oci.command(t, "run", "--bundle", bundle, "web")
			var output bytes.Buffer
			c.Stdout, c.Stderr = &output, &output
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			var err error
			go func() { err = c.Wait(); close(ended) }()
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("%s run says:\n%s", runtime, &output)
				}
			})
			var state struct{ Pid int }
			await(t, runtime+" has started the container", ended, func() bool {
				out, failure := oci.try(t, "state", "web")
				return failure == "" && json.Unmarshal([]byte(out), &state) == nil && state.Pid != 0
			})
			judgeServer(t, state.Pid)
			oci.run(t, "kill", "web", "TERM")
			<-ended
			if err != nil {
				t.Errorf("%s run: %v, want exit status 0 after SIGTERM", runtime, err)
			}
		})
	}
}

// podmanRun is the arguments of `podman run`. The limits are such that a
// machine without CAP_SYS_RESOURCE can set them.
func podmanRun(args ...string) []string {
	return append([]string{
		"run", "--network=none", "--cgroup-parent=" + cgroupParent(),
		"--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024",
	}, args...)
}

// dockerLoad loads the archive and returns the image's name in docker.
func dockerLoad(t *testing.T, d client, img *image) string {
	t.Helper()
	if got, want := d.run(t, "load", "--input", img.archive), "Loaded image: "+img.short(); got != want {
		t.Fatalf("docker load says %q, want %q", got, want)
	}
	if id := d.run(t, "image", "inspect", "--format", "{{.Id}}", img.short()); id != img.manifest.Config.Digest.String() {
		t.Errorf("docker's ID of the image is %s, want the config's digest %s", id, img.manifest.Config.Digest)
	}
	return img.short()
}

// editBundle makes the bundle that umoci wrote fit for a process without a
// terminal, in a cgroup of the tests, with a /tmp to write in.
func editBundle(t *testing.T, bundle string) {
	t.Helper()
	file := filepath.Join(bundle, "config.json")
	var config map[string]any
	if err := json.Unmarshal([]byte(readFile(t, file)), &config); err != nil {
		t.Fatal(err)
	}
	config["process"].(map[string]any)["terminal"] = false
	config["mounts"] = append(config["mounts"].([]any), map[string]any{
		"type": "tmpfs", "source": "tmpfs", "destination": "/tmp", "options": []string{"mode=1777"},
	})
	config["linux"].(map[string]any)["cgroupsPath"] = cgroupParent() + "/umoci"
	b, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// judgeServer asks for a page from within the network of the process, as long
// as its server may take to start, and compares it with the page in the image.
// The process must be nginx by then: the shell script that started it is gone.
func judgeServer(t *testing.T, pid int) {
	t.Helper()
	need(t, "nsenter", "curl")
	in := strconv.Itoa(pid)
	judgePage(t, "nsenter", "--net", "--target", in, "curl", "--silent", "--show-error", "--fail", webURL)
	if out, failure := try(t, "nsenter", "--net", "--target", in, "curl", "--silent", "--fail", webURL+"no-such-page"); !strings.Contains(failure, "exit status 22") {
		t.Errorf("a page that isn't there: got %q, %s; want curl to exit with status 22", out, failure)
	}
	exe, err := os.Readlink("/proc/" + in + "/exe")
	if err != nil || !strings.HasPrefix(exe, "/nix/store/317swdjdxnw2jxvpycixvw0wkpjkp9lz-nginx-1.22.1/bin/") {
		t.Errorf("the container's process runs %q (%v), want nginx", exe, err)
	}
}

// judgePage runs a command that prints the web server's page, again while it fails.
func judgePage(t *testing.T, name string, args ...string) {
	t.Helper()
	for limit := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		c := command(t, name, args...)
		var stderr bytes.Buffer
		c.Stderr = &stderr
		page, err := c.Output()
		if err == nil {
			judgeIndex(t, page)
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("no answer in half a minute: %v\n%s", err, &stderr)
		}
	}
}

func judgeIndex(t *testing.T, page []byte) {
	t.Helper()
	if got, want := hash(page), webTree(t)[webIndex].sha256; got != want {
		t.Errorf("the server's page is %q (SHA-256 %s), want that of %s, %s", page, got, webIndex, want)
	}
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil || n <= 0 {
		t.Fatalf("%q is no process ID", s)
	}
	return n
}
