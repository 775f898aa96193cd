// Command registry measures what getting an image to where it runs costs: bytes over the wire, requests and time, of strata push
// next to crane, skopeo and docker push, to distribution's registry on this machine; and of strata load next to docker load, into a
// dockerd that it starts (as root). It prints two tables in Markdown.
//
//	go run ./bench/registry
//	go run ./bench/registry -mb 60 -layers 20
//
// The image is an OCI layout whose layers are tars of bytes that no compressor makes smaller. Each tool handles it
// as it is, again, with another layer in the place of one, and with another config; into a repository of its own. What isn't installed is left out
// (e2e/clients/setup.sh installs all). Times on a machine that does other things mean little; bytes and requests do.
package main

import (
	"archive/tar"
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
	daemon, err := startDocker(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, "registry: left out:", err)
	} else {
		defer daemon.stop()
	}
	b := &bench{out: out, strata: strata, wire: wire, docker: daemon, layouts: layouts}
	fmt.Fprintf(out, "%d MB in %d layers\n", megabytes, layers)
	if err := b.loads(filepath.Join(dir, "archive.tar")); err != nil {
		return err
	}
	return b.pushes()
}

type bench struct {
	out     io.Writer
	strata  string
	wire    *wire
	docker  *docker // nil: none runs
	layouts []string
}

// tool is a way to get the layout of a state to its place.
type tool struct {
	name string
	// before, which may be nil, is not measured.
	before, command func(layout string) *exec.Cmd
}

// measure runs all tools over all states, and prints a table of what count says of each.
func (b *bench) measure(tools []tool, counted func() (bytes, requests int64)) error {
	for i, s := range states {
		for _, tool := range tools {
			if tool.before != nil {
				if out, err := tool.before(b.layouts[i]).CombinedOutput(); err != nil {
					return fmt.Errorf("%s: %w\n%s", tool.name, err, out)
				}
			}
			cmd := tool.command(b.layouts[i])
			if _, err := exec.LookPath(cmd.Path); err != nil {
				fmt.Fprintf(b.out, "| %s | %s | not installed | | |\n", s.name, tool.name)
				continue
			}
			counted()
			begun := time.Now()
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("%s: %w\n%s", tool.name, err, out)
			}
			took := time.Since(begun)
			bytes, requests := counted()
			n := fmt.Sprint(requests)
			if requests < 0 {
				n = ""
			}
			fmt.Fprintf(b.out, "| %s | %s | %.3f | %s | %.2f |\n", s.name, tool.name, float64(bytes)/1e6, n, took.Seconds())
		}
	}
	return nil
}

// loads are into docker.
func (b *bench) loads(archive string) error {
	if b.docker == nil {
		return nil
	}
	fmt.Fprintf(b.out, "\n| load | tool | MB | | s |\n|---|---|--:|---|--:|\n")
	return b.measure([]tool{
		{"strata load", nil, func(layout string) *exec.Cmd {
			return exec.Command(b.strata, "load", "-q", "--runtime=docker", "--host="+b.docker.wire, "--tag=bench:dev", layout)
		}},
		{"docker load", func(layout string) *exec.Cmd {
			return exec.Command(b.strata, "stream", "--tag=bench:other", "-o", archive, layout)
		}, func(string) *exec.Cmd {
			return exec.Command("docker", "--host="+b.docker.wire, "load", "-q", "-i", archive)
		}},
	}, func() (int64, int64) { return b.docker.bytes.Swap(0), -1 })
}

// pushes are to the registry.
func (b *bench) pushes() error {
	ref := func(tool string) string { return b.wire.host + "/" + tool + ":dev" }
	tools := []tool{
		{"strata push", nil, func(layout string) *exec.Cmd { return exec.Command(b.strata, "push", "-q", layout, ref("strata")) }},
		{"crane push", nil, func(layout string) *exec.Cmd {
			return exec.Command("crane", "push", "--insecure", layout, ref("crane"))
		}},
		{"skopeo copy", nil, func(layout string) *exec.Cmd {
			return exec.Command("skopeo", "copy", "-q", "--dest-tls-verify=false", "oci:"+layout, "docker://"+ref("skopeo"))
		}},
	}
	if b.docker != nil {
		tools = append(tools, tool{"docker push", func(layout string) *exec.Cmd {
			return exec.Command(b.strata, "load", "-q", "--runtime=docker", "--host="+b.docker.host, "--tag="+ref("docker"), layout)
		}, func(string) *exec.Cmd {
			return exec.Command("docker", "--host="+b.docker.host, "push", "-q", ref("docker"))
		}})
	}
	fmt.Fprintf(b.out, "\n| push | tool | MB | requests | s |\n|---|---|--:|--:|--:|\n")
	return b.measure(tools, func() (int64, int64) { return b.wire.bytes.Swap(0), b.wire.requests.Swap(0) })
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

// writeLayout writes an image whose layers are tars of noise, each of a seed of its own.
func writeLayout(dir, config, last string, size, layers int) error {
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest}
	blobs := map[digest.Digest]func() io.Reader{}
	spec := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}, RootFS: ocispec.RootFS{Type: "layers"}}
	spec.Config.Labels = map[string]string{"config": config}
	for i := range layers {
		seed := fmt.Sprint(i)
		if i == layers-1 {
			seed = last
		}
		open, total, err := noiseTar(seed, size)
		if err != nil {
			return err
		}
		d, err := digest.FromReader(open())
		if err != nil {
			return err
		}
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: d, Size: total})
		spec.RootFS.DiffIDs = append(spec.RootFS.DiffIDs, d)
		blobs[d] = open
	}
	text, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	m.Config = describe(ocispec.MediaTypeImageConfig, text)
	blobs[m.Config.Digest] = func() io.Reader { return bytes.NewReader(text) }
	m.SchemaVersion = 2
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

// noiseTar is a tar of one file of noise, and its size.
func noiseTar(seed string, size int) (open func() io.Reader, total int64, err error) {
	var head bytes.Buffer
	if err := tar.NewWriter(&head).WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "noise-" + seed, Size: int64(size), Mode: 0o444}); err != nil {
		return nil, 0, err
	}
	const block = 512
	end := make([]byte, (block-size%block)%block+2*block)
	return func() io.Reader {
		return io.MultiReader(bytes.NewReader(head.Bytes()), noise(seed, size), bytes.NewReader(end))
	}, int64(head.Len() + size + len(end)), nil
}
