package clients_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// proxy stands between strata and a registry: it counts what passes, and misbehaves by plan.
type proxy struct {
	host     string
	requests atomic.Int64
	wire     atomic.Int64 // bytes, both ways, headers included
	// plan, if not nil, may answer a request itself, or change it.
	plan atomic.Pointer[func(w http.ResponseWriter, r *http.Request) bool]
}

func newProxy(t *testing.T, registry string) *proxy {
	t.Helper()
	p := &proxy{}
	forward := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: registry})
	forward.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	forward.ErrorLog = nil
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.requests.Add(1)
		if plan := p.plan.Load(); plan != nil && (*plan)(w, r) {
			return
		}
		forward.ServeHTTP(w, r)
	}))
	s.Listener = countingListener{s.Listener, &p.wire}
	s.Start()
	t.Cleanup(s.Close)
	p.host = s.Listener.Addr().String()
	return p
}

func (p *proxy) do(plan func(w http.ResponseWriter, r *http.Request) bool) { p.plan.Store(&plan) }

// passed is how many requests and bytes passed since the last call.
func (p *proxy) passed() (requests, bytes int64) { return p.requests.Swap(0), p.wire.Swap(0) }

type countingListener struct {
	net.Listener
	n *atomic.Int64
}

func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return countingConn{c, l.n}, err
}

type countingConn struct {
	net.Conn
	n *atomic.Int64
}

func (c countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.n.Add(int64(n))
	return n, err
}

func (c countingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.n.Add(int64(n))
	return n, err
}

// pushed is what strata push --json says.
type pushed struct {
	Digest               string
	Sent, There, Mounted struct{ Count, Bytes int64 }
}

func strataPush(t *testing.T, args ...string) pushed {
	t.Helper()
	var out pushed
	if err := json.Unmarshal([]byte(run(t, given(strataEnv), append([]string{"push", "-q", "--json"}, args...)...)), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestStrataPush_OnlyWhatIsNew counts what goes over the wire to a real registry.
func TestStrataPush_OnlyWhatIsNew(t *testing.T) {
	p := newProxy(t, registry(t))
	small, img := probe(t, "gzip"), web(t)
	strataPush(t, small.archive, p.host+"/x:probe")
	p.passed()

	// The three layers of the probe are three of web's.
	first := strataPush(t, img.archive, p.host+"/x:web")
	if first.There.Count != 3 || first.Sent.Count != int64(len(img.manifest.Layers)-3+1) {
		t.Errorf("first push: %+v: want all but three sent", first)
	}
	if _, wire := p.passed(); wire < first.Sent.Bytes || wire > first.Sent.Bytes+200_000 {
		t.Errorf("first push: %d bytes of blobs, %d over the wire", first.Sent.Bytes, wire)
	}
	again := strataPush(t, img.archive, p.host+"/x:web")
	requests, wire := p.passed()
	if again.Sent.Count != 0 || requests > int64(len(img.manifest.Layers)) || wire > 10_000 {
		t.Errorf("second push: %+v, %d requests, %d bytes: want at most one a layer and 10 kB", again, requests, wire)
	}
	t.Logf("second push: %d requests, %d bytes", requests, wire)
	tagged := strataPush(t, img.archive, p.host+"/x:other")
	if requests, wire = p.passed(); tagged.Sent.Count != 0 || wire > 20_000 {
		t.Errorf("another tag: %+v, %d requests, %d bytes", tagged, requests, wire)
	}
	mounted := strataPush(t, img.archive, p.host+"/y:web", "--from", "x")
	if _, wire = p.passed(); mounted.Mounted.Count != int64(len(img.manifest.Layers)+1) || wire > 200_000 {
		t.Errorf("to another repository: %+v, %d bytes: want all mounted", mounted, wire)
	}
	if got := registryDigest(t, p.host, "y", "web"); got != img.digest {
		t.Errorf("the registry has %s, want %s", got, img.digest)
	}
}

// TestStrataPush_Faults has a real registry behind a network that misbehaves.
func TestStrataPush_Faults(t *testing.T) {
	need(t, "skopeo")
	host := registry(t)
	p := newProxy(t, host)
	img := probe(t, "zstd")
	// Each body over 100 kB is cut once, at each tenth of it.
	for tenth := range int64(10) {
		name := fmt.Sprintf("cut%d", tenth)
		cut := map[int64]bool{}
		var mu sync.Mutex
		p.do(func(_ http.ResponseWriter, r *http.Request) bool {
			mu.Lock()
			defer mu.Unlock()
			if n := r.ContentLength; n > 100_000 && !cut[n] {
				cut[n] = true
				r.Body = io.NopCloser(io.LimitReader(r.Body, n*tenth/10))
			}
			return false
		})
		strataPush(t, img.archive, p.host+"/"+name+":dev")
		if got := registryDigest(t, p.host, name, "dev"); got != img.digest {
			t.Errorf("cut at %d tenths: the registry has %s, want %s", tenth, got, img.digest)
		}
	}
	p.do(func(http.ResponseWriter, *http.Request) bool { return false })
	run(t, "skopeo", "copy", "--src-tls-verify=false", "docker://"+p.host+"/cut5:dev", "oci:"+filepath.Join(scratch(t), "pulled")+":dev")

	// Every fifth request fails, in one of four ways.
	var n atomic.Int64
	p.do(func(w http.ResponseWriter, r *http.Request) bool {
		i := n.Add(1)
		if i%5 != 0 {
			return false
		}
		switch i / 5 % 4 {
		case 0:
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusTooManyRequests)
		case 1:
			w.WriteHeader(http.StatusInternalServerError)
		case 2:
			w.WriteHeader(http.StatusBadGateway)
		default:
			panic(http.ErrAbortHandler)
		}
		return true
	})
	strataPush(t, img.archive, p.host+"/flaky:dev")
	if got := registryDigest(t, host, "flaky", "dev"); got != img.digest {
		t.Errorf("flaky: the registry has %s, want %s", got, img.digest)
	}
	dir := filepath.Join(scratch(t), "flaky")
	run(t, given(strataEnv), "pull", "-q", p.host+"/flaky:dev", "-o", dir)
	judgeByOracle(t, dir)
}

// Who may push, by the ways in which docker, podman and curl keep credentials; and no error says what they are.
func TestStrataPush_Credentials(t *testing.T) {
	const password = "correct-horse"
	dir := scratch(t)
	// htpasswd -nbB user correct-horse
	if err := os.WriteFile(filepath.Join(dir, "htpasswd"), []byte("user:$2b$04$37b.fgljWXWwpid/coj0UeUl/5IBXHOCfvyeepmgAwzatALuMsikG\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	host := registry(t, "auth: {htpasswd: {realm: test, path: "+dir+"/htpasswd}}")
	img := probe(t, "none")
	login := func(password string) string {
		return fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, host, base64.StdEncoding.EncodeToString([]byte("user:"+password)))
	}
	helper := "#!/bin/sh\necho '{\"Username\": \"user\", \"Secret\": \"" + password + "\"}'\n"
	for _, tc := range []struct {
		name  string
		files map[string]string
		env   []string
		fails bool
	}{
		{"config.json", map[string]string{"home/.docker/config.json": login(password)}, nil, false},
		{"credential_helper", map[string]string{"home/.docker/config.json": `{"credsStore": "test"}`, "bin/docker-credential-test": helper}, nil, false},
		{"REGISTRY_AUTH_FILE", map[string]string{"home/.docker/config.json": login("wrong-horse"), "auth.json": login(password)}, []string{"REGISTRY_AUTH_FILE=DIR/auth.json"}, false},
		{"netrc", map[string]string{"home/.netrc": "machine 127.0.0.1 login user password " + password + "\n"}, nil, false},
		{"none", nil, nil, true},
		{"wrong", map[string]string{"home/.docker/config.json": login("wrong-horse")}, nil, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := scratch(t)
			for name, text := range tc.files {
				name = filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			c := command(t, given(strataEnv), "push", img.archive, host+"/"+strings.ToLower(tc.name)+":dev")
			c.Env = append(os.Environ(), "HOME="+dir+"/home", "PATH="+dir+"/bin:"+os.Getenv("PATH"))
			for _, e := range tc.env {
				c.Env = append(c.Env, strings.Replace(e, "DIR", dir, 1))
			}
			var out bytes.Buffer
			c.Stdout, c.Stderr = &out, &out
			err := c.Run()
			if (err != nil) != tc.fails {
				t.Errorf("%v\n%s", err, &out)
			}
			if tc.fails && (!strings.Contains(out.String(), "docker login "+host) || strings.Contains(out.String(), "@sha256")) {
				t.Errorf("it says\n%s\nwant a hint, and no reference", &out)
			}
			if strings.Contains(out.String(), "horse") {
				t.Errorf("it says the password:\n%s", &out)
			}
		})
	}
}
