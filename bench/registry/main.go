// Command registry measures what a push costs: bytes over the wire, requests and time, of strata push and of crane and skopeo with
// the same image, to distribution's registry on this machine. It prints a table in Markdown.
//
//	go run ./bench/registry
//	go run ./bench/registry -mb 60 -layers 20
//
// The image is an OCI layout of bytes that no compressor makes smaller. Each tool pushes it into a repository of its own: as
// it is, again, with another layer in the place of one, and with another config. What isn't installed is left out
// (e2e/clients/setup.sh installs all). Times on a machine that does other things mean little; bytes and requests do.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/imagefile"
)

func main() {
	megabytes := flag.Int("mb", 600, "the image's size in `MB`")
	layers := flag.Int("layers", 40, "the image's `number` of layers")
	flag.Parse()
	if err := run(os.Stdout, *megabytes, *layers); err != nil {
		fmt.Fprintln(os.Stderr, "registry:", err)
		os.Exit(1)
	}
}

// states are the images that are pushed one after the other: which seed each layer has, and the config.
var states = []struct{ name, config, lastLayer string }{
	{"first", "one", "last"},
	{"again", "one", "last"},
	{"one layer changed", "one", "other"},
	{"config changed", "two", "other"},
}

func run(out io.Writer, megabytes, layers int) error {
	dir, err := os.MkdirTemp("", "strata-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	strata := filepath.Join(dir, "strata")
	if b, err := exec.Command("go", "build", "-o", strata, "./tool/cmd/strata").CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, b)
	}
	host, stop, err := startRegistry(dir)
	if err != nil {
		return err
	}
	defer stop()
	wire := newWire(host)
	defer wire.server.Close()

	var layouts []string
	for i, s := range states {
		layout := filepath.Join(dir, fmt.Sprint("layout", i))
		if err := writeLayout(layout, s.config, s.lastLayer, megabytes*1_000_000/layers, layers); err != nil {
			return err
		}
		layouts = append(layouts, layout)
	}
	tools := []struct {
		name string
		push func(layout, ref string) *exec.Cmd
	}{
		{"strata push", func(layout, ref string) *exec.Cmd { return exec.Command(strata, "push", "-q", layout, ref) }},
		{"crane push", func(layout, ref string) *exec.Cmd { return exec.Command("crane", "push", "--insecure", layout, ref) }},
		{"skopeo copy", func(layout, ref string) *exec.Cmd {
			return exec.Command("skopeo", "copy", "-q", "--dest-tls-verify=false", "oci:"+layout, "docker://"+ref)
		}},
	}
	fmt.Fprintf(out, "%d MB in %d layers\n\n| | tool | MB | requests | s |\n|---|---|---|---|---|\n", megabytes, layers)
	for i, s := range states {
		for k, tool := range tools {
			cmd := tool.push(layouts[i], fmt.Sprintf("%s/tool%d:dev", wire.host, k))
			if _, err := exec.LookPath(cmd.Path); err != nil {
				fmt.Fprintf(out, "| %s | %s | not installed | | |\n", s.name, tool.name)
				continue
			}
			wire.bytes.Store(0)
			wire.requests.Store(0)
			begun := time.Now()
			if b, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("%s: %w\n%s", tool.name, err, b)
			}
			fmt.Fprintf(out, "| %s | %s | %.3f | %d | %.2f |\n", s.name, tool.name, float64(wire.bytes.Load())/1e6, wire.requests.Load(), time.Since(begun).Seconds())
		}
	}
	return nil
}

// startRegistry starts distribution's registry with its data in dir.
func startRegistry(dir string) (host string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	host = l.Addr().String()
	l.Close()
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %q}\n", filepath.Join(dir, "data"), host)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return "", nil, err
	}
	cmd := exec.Command("docker-registry", "serve", config)
	if err := cmd.Start(); err != nil {
		return "", nil, fmt.Errorf("%w (e2e/clients/setup.sh installs it)", err)
	}
	stop = func() {
		cmd.Process.Kill()
		cmd.Wait()
	}
	for range 1200 {
		if resp, err := http.Get("http://" + host + "/v2/"); err == nil {
			resp.Body.Close()
			return host, stop, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	stop()
	return "", nil, fmt.Errorf("docker-registry doesn't answer")
}

// wire is a proxy that counts requests, and bytes in both directions with headers and all.
type wire struct {
	server          *httptest.Server
	host            string
	bytes, requests atomic.Int64
}

func newWire(host string) *wire {
	w := &wire{}
	forward := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: host})
	forward.ErrorLog = log.New(io.Discard, "", 0) // A tool that leaves in the middle of an answer is no fault.
	w.server = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.requests.Add(1)
		forward.ServeHTTP(rw, r)
	}))
	w.server.Listener = counting{w.server.Listener, &w.bytes}
	w.server.Start()
	w.host = w.server.Listener.Addr().String()
	return w
}

type counting struct {
	net.Listener
	n *atomic.Int64
}

func (c counting) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	return countingConn{conn, c.n}, err
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

// writeLayout writes an image whose layers are noise, each of a seed of its own.
func writeLayout(dir, config, last string, size, layers int) error {
	text := []byte(fmt.Sprintf(`{"architecture":"amd64","os":"linux","config":{"Labels":{"config":%q}},"rootfs":{"type":"layers","diff_ids":[]}}`, config))
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: describe(ocispec.MediaTypeImageConfig, text)}
	m.SchemaVersion = 2
	blobs := map[digest.Digest]func() io.Reader{m.Config.Digest: func() io.Reader { return bytes.NewReader(text) }}
	for i := range layers {
		seed := fmt.Sprint(i)
		if i == layers-1 {
			seed = last
		}
		open := func() io.Reader { return noise(seed, size) }
		d, err := digest.FromReader(open())
		if err != nil {
			return err
		}
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: d, Size: int64(size)})
		blobs[d] = open
	}
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	root := describe(m.MediaType, b)
	w, err := imagefile.CreateLayout(dir, root)
	if err != nil {
		return err
	}
	defer w.Abort()
	for _, d := range append([]ocispec.Descriptor{m.Config}, m.Layers...) {
		if err := w.Put(d, blobs[d.Digest]()); err != nil {
			return err
		}
	}
	if err := w.Put(root, bytes.NewReader(b)); err != nil {
		return err
	}
	return w.Commit(root)
}

func describe(mediaType string, b []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
}

// noise is size bytes that depend on the seed alone.
func noise(seed string, size int) io.Reader {
	var key [32]byte
	copy(key[:], seed)
	return io.LimitReader(rand.NewChaCha8(key), int64(size))
}
