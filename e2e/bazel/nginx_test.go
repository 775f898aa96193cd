package bazel

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// nginx serves a binary cache (reading) and a Bazel remote cache (WebDAV), and
// counts what goes over the wire.
type nginx struct {
	t   *testing.T
	dir string
	// nars and cache are the base URLs of the two.
	nars, cache string
}

// startNginx serves the folder narDir and an empty remote cache on loopback,
// until the test ends.
func startNginx(t *testing.T, narDir string) *nginx {
	t.Helper()
	bin := "/usr/sbin/nginx"
	if _, err := os.Stat(bin); err != nil {
		if os.Getenv("STRATA_REQUIRE_CLIENTS") != "" {
			t.Fatalf("nginx is missing: %v; run e2e/clients/setup.sh", err)
		}
		t.Skip("nginx is missing; e2e/clients/setup.sh installs it")
	}
	dir, err := os.MkdirTemp(scratch, "n")
	if err != nil {
		t.Fatal(err)
	}
	n := &nginx{t: t, dir: dir}
	narAddr, cacheAddr := freeAddr(t), freeAddr(t)
	n.nars, n.cache = "http://"+narAddr, "http://"+cacheAddr
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;"
	}
	for _, d := range []string{"data", "tmp"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	conf := fmt.Sprintf(`daemon off; master_process off; %[1]s pid %[2]s/pid; error_log %[2]s/log;
events { worker_connections 512; }
http {
  log_format wire '$request_method $uri $status $bytes_sent $request_length';
  client_max_body_size 0; client_body_temp_path %[2]s/tmp/b; proxy_temp_path %[2]s/tmp/p;
  fastcgi_temp_path %[2]s/tmp/f; uwsgi_temp_path %[2]s/tmp/u; scgi_temp_path %[2]s/tmp/s;
  server { listen %[3]s; root %[4]s; access_log %[2]s/nars wire; }
  server { listen %[5]s; root %[2]s/data; access_log %[2]s/cache wire; location / { dav_methods PUT; create_full_put_path on; } }
}
`, user, dir, narAddr, narDir, cacheAddr)
	if err := os.WriteFile(filepath.Join(dir, "conf"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "-c", filepath.Join(dir, "conf"), "-e", filepath.Join(dir, "log"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	for range 100 {
		if c, err := net.Dial("tcp", cacheAddr); err == nil {
			c.Close()
			return n
		}
		time.Sleep(50 * time.Millisecond)
	}
	log, _ := os.ReadFile(filepath.Join(dir, "log"))
	t.Fatalf("nginx did not start:\n%s", log)
	return nil
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// request is one line of nginx's log.
type request struct {
	method, path   string
	status         int
	sent, received int64
}

type traffic []request

// since returns the requests to "nars" or "cache" since the last call, and forgets them.
func (n *nginx) since(which string) traffic {
	n.t.Helper()
	// nginx logs a request after the answer: give the last one its moment.
	time.Sleep(300 * time.Millisecond)
	path := filepath.Join(n.dir, which)
	f, err := os.Open(path)
	if err != nil {
		n.t.Fatal(err)
	}
	defer f.Close()
	var all traffic
	for s := bufio.NewScanner(f); s.Scan(); {
		var r request
		if _, err := fmt.Sscan(s.Text(), &r.method, &r.path, &r.status, &r.sent, &r.received); err != nil {
			n.t.Fatalf("nginx log line %q: %v", s.Text(), err)
		}
		all = append(all, r)
	}
	if err := os.Truncate(path, 0); err != nil {
		n.t.Fatal(err)
	}
	return all
}

// count is the number of requests of a method whose path begins with prefix.
func (all traffic) count(method, prefix string) (n int) {
	for _, r := range all {
		if r.method == method && strings.HasPrefix(r.path, prefix) {
			n++
		}
	}
	return n
}

func (all traffic) String() string {
	var sent, received int64
	for _, r := range all {
		sent += r.sent
		received += r.received
	}
	return fmt.Sprintf("%d requests, %d bytes down, %d bytes up", len(all), sent, received)
}
