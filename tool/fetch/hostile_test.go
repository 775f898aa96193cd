package fetch

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// raw answers each connection's first request by the text, and hangs up.
func raw(t *testing.T, text string) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				c.Read(make([]byte, 4096))
				io.WriteString(c, text)
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// Servers that say something else than they do, and such as no specification knows.
func TestHostileResponses(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       string // the bytes, or
		err        string
	}{
		{name: "right", text: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", want: "abc"},
		{name: "more than Content-Length", text: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef", want: "abc"},
		{name: "less than Content-Length", text: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", err: "unexpected EOF"},
		{name: "no length", text: "HTTP/1.1 200 OK\r\n\r\nabc", want: "abc"},
		{name: "Content-Length of no sense", text: "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nabc", err: "Content-Length"},
		{name: "negative Content-Length", text: "HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\nabc", err: "Content-Length"},
		{name: "two lengths", text: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", err: "Content-Length"},
		{name: "chunks cut", text: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", err: "unexpected EOF"},
		{name: "chunk of no sense", text: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\nabc\r\n", err: "chunk"},
		{name: "no HTTP", text: "SSH-2.0-OpenSSH_9.2\r\n", err: "malformed HTTP response"},
		{name: "nothing", text: "", err: "EOF"},
		{name: "header without end", text: "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 1000), err: "exceeded"},
		{name: "status without sense", text: "HTTP/1.1 99999 OK\r\n\r\n", err: "malformed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			url := raw(t, tc.text)
			c, _ := testClient(t, Options{Attempts: 2})
			for way, get := range map[string]func() ([]byte, error){
				"Open": func() ([]byte, error) { return readAll(t, c, url) },
				"Get":  func() ([]byte, error) { return c.Get(t.Context(), url, 1000) },
			} {
				got, err := get()
				if tc.err == "" && (err != nil || string(got) != tc.want) {
					t.Errorf("%s: %q, %v", way, got, err)
				}
				if tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err) || !strings.Contains(err.Error(), url)) {
					t.Errorf("%s: error %v, want one with %q and the URL", way, err, tc.err)
				}
			}
		})
	}
}

// A body that never ends costs Get what its limit is, and Open what its reader takes.
func TestEndlessBody(t *testing.T) {
	var sent atomic.Int64
	url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for {
			n, err := w.Write(make([]byte, 64<<10))
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	c, _ := testClient(t, Options{})
	if _, err := c.Get(t.Context(), url, 1000); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Get: error %v, want ErrTooLarge", err)
	}
	r, err := c.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, r, 1<<20); err != nil {
		t.Error(err)
	}
	r.Close()
	for before := int64(-1); before != sent.Load(); time.Sleep(20 * time.Millisecond) { // What is in the sockets' buffers is sent, no more.
		before = sent.Load()
	}
}

// A body that drips is as good as one that is silent.
func TestOpen_Drip(t *testing.T) {
	want := testBytes(20_000)
	drip := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"a"`)
		w.Header().Set("Content-Length", "20000")
		for i := 0; r.Context().Err() == nil && i < len(want); i++ {
			w.Write(want[i : i+1])
			w.(http.Flusher).Flush()
			time.Sleep(5 * time.Millisecond)
		}
	}
	url, requests := serve(t, drip, content(want, `"a"`))
	c, _ := testClient(t, Options{IdleTimeout: 100 * time.Millisecond})
	if got, err := readAll(t, c, url); err != nil || !bytes.Equal(got, want) || requests.Load() != 2 {
		t.Errorf("%d bytes in %d requests, %v", len(got), requests.Load(), err)
	}
	url, _ = serve(t, drip)
	c, _ = testClient(t, Options{IdleTimeout: 50 * time.Millisecond, Attempts: 2})
	if _, err := c.Get(t.Context(), url, 1<<20); !errors.Is(err, errStalled) {
		t.Errorf("error %v, want errStalled", err)
	}
}

// What is packed on the way is unpacked where it is safe: small files that no hash covers as they are stored.
func TestGet_Encoding(t *testing.T) {
	pack := func(b []byte) []byte {
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		z.Write(b)
		z.Close()
		return packed.Bytes()
	}
	plain := []byte("StorePath: /nix/store/x\n")
	packed := pack(plain)
	as := func(encoding string, b []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", encoding)
			w.Header().Set("Content-Length", fmt.Sprint(len(packed)))
			w.Write(b)
		}
	}
	for _, tc := range []struct {
		name, path string
		handlers   []http.HandlerFunc
		want       []byte
		err        string
	}{
		{name: "gzip", handlers: []http.HandlerFunc{as("gzip", packed)}, want: plain},
		{name: "x-gzip", handlers: []http.HandlerFunc{as("X-GZIP", packed)}, want: plain},
		{name: "identity", handlers: []http.HandlerFunc{as("identity", packed)}, want: packed},
		{name: "a file that is packed", path: "/list.gz", handlers: []http.HandlerFunc{as("x-gzip", packed)}, want: packed},
		{name: "cut, then whole", handlers: []http.HandlerFunc{as("gzip", packed[:20]), as("gzip", packed)}, want: plain},
		{name: "cut in the header, then whole", handlers: []http.HandlerFunc{as("gzip", packed[:5]), as("gzip", packed)}, want: plain},
		{name: "br", handlers: []http.HandlerFunc{as("br", packed)}, err: `the server sends it packed (Content-Encoding: "br"), which it was asked not to do`},
		{name: "not gzip", handlers: []http.HandlerFunc{as("gzip", bytes.Repeat([]byte("x"), len(packed)))}, err: "can't be unpacked: gzip: invalid header"},
		{name: "damaged", handlers: []http.HandlerFunc{as("gzip", append(bytes.Clone(packed[:len(packed)-8]), 0, 0, 0, 0, 0, 0, 0, 0))}, err: "can't be unpacked: gzip: invalid checksum"},
		{name: "bomb", handlers: []http.HandlerFunc{func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(pack(make([]byte, 10<<20)))
		}}, err: "too large: over 1000 bytes"},
	} {
		url, requests := serve(t, tc.handlers...)
		c, _ := testClient(t, Options{})
		got, err := c.Get(t.Context(), url+tc.path, 1000)
		if tc.err == "" && (err != nil || !bytes.Equal(got, tc.want)) {
			t.Errorf("%s: %q, %v", tc.name, got, err)
		}
		if tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err) || !strings.Contains(err.Error(), url)) {
			t.Errorf("%s: error %v, want one with %q and the URL", tc.name, err, tc.err)
		}
		if int(requests.Load()) != len(tc.handlers) {
			t.Errorf("%s: %d requests, want %d", tc.name, requests.Load(), len(tc.handlers))
		}
	}
}

// proxyGet in the environment makes the test binary get that URL: the proxy of a process is read once, out of its environment.
const proxyGet = "STRATA_TEST_PROXY_GET"

func beProxied(url string) int {
	c := New(Options{Attempts: 3, Backoff: time.Millisecond})
	b, err := c.Get(context.Background(), url, 1000)
	if err != nil {
		fmt.Println("error:", err)
		var h interface{ Hint() string }
		if errors.As(err, &h) {
			fmt.Println("hint:", h.Hint())
		}
		return 0
	}
	fmt.Printf("got: %s\n", b)
	return 0
}

func TestProxy(t *testing.T) {
	var asked atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Header.Get("Proxy-Authorization") != "Basic bWU6aHVudGVyMg==" {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		switch {
		case r.Method == http.MethodConnect:
			http.Error(w, "not there", http.StatusBadGateway)
		default:
			fmt.Fprintf(w, "%s", r.RequestURI)
		}
	}))
	defer proxy.Close()
	host := strings.TrimPrefix(proxy.URL, "http://")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, proxy, url string
		want             []string
		asked            int64
	}{
		{"http", "http://me:hunter2@" + host, "http://cache.example.org/x", []string{"got: http://cache.example.org/x"}, 1},
		{"without password", proxy.URL, "http://cache.example.org/x", []string{"error: http://cache.example.org/x: the server answers 407 Proxy Authentication Required; the proxy wants credentials", "hint: give the proxy's address with user and password: HTTPS_PROXY="}, 1},
		{"https without password", proxy.URL, "https://cache.example.org/x", []string{"error: https://cache.example.org/x: by the proxy: the server answers 407 Proxy Authentication Required; the proxy wants credentials", "hint: give the proxy's"}, 1},
		{"https that the proxy can't reach", "http://me:hunter2@" + host, "https://cache.example.org/x", []string{"by the proxy: the server answers 502 Bad Gateway (gave up after 3 attempts)"}, 3},
	} {
		asked.Store(0)
		cmd := exec.Command(exe)
		cmd.Env = []string{proxyGet + "=" + tc.url, "HTTP_PROXY=" + tc.proxy, "HTTPS_PROXY=" + tc.proxy}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", tc.name, err, out)
		}
		for _, want := range tc.want {
			if !strings.Contains(string(out), want) {
				t.Errorf("%s: %s\nwant %q", tc.name, out, want)
			}
		}
		if strings.Contains(string(out), "hunter2") {
			t.Errorf("%s: the password is shown: %s", tc.name, out)
		}
		if asked.Load() != tc.asked {
			t.Errorf("%s: the proxy was asked %d times, want %d", tc.name, asked.Load(), tc.asked)
		}
	}
}
