package remotecache

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/fetch"
)

// blob is some bytes and their descriptor.
func blob(n int) ([]byte, ocispec.Descriptor) {
	b := bytes.Repeat([]byte("0123456789abcdef"), n/16+1)[:n]
	return b, ocispec.Descriptor{Digest: digest.FromBytes(b), Size: int64(n)}
}

func read(t *testing.T, c *Cache, d ocispec.Descriptor, offset int64) ([]byte, error) {
	t.Helper()
	r, err := c.OpenAt(t.Context(), d, offset)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func open(t *testing.T, address string, o Options) *Cache {
	t.Helper()
	c, err := Open(address, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Each kind of cache gives a blob from any offset on, and says by fs.ErrNotExist that it has none.
func TestCache_Kinds(t *testing.T) {
	b, d := blob(5 << 20)
	_, other := blob(7)
	dir := t.TempDir()
	path := filepath.Join(dir, "cas", d.Digest.Encoded()[:2], d.Digest.Encoded())
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/base/cas/"+d.Digest.Encoded() {
			http.NotFound(w, r)
			return
		}
		w.Write(b)
	}))
	defer web.Close()
	s := newService(t, b, d)
	for _, c := range []*Cache{
		open(t, dir, Options{}),
		open(t, web.URL+"/base/", Options{}),
		open(t, s.address(), Options{}),
		open(t, s.address()+"/main", Options{}),
		open(t, s.address(), Options{Instance: "main"}),
	} {
		for _, offset := range []int64{0, 1, 1 << 20, 5<<20 - 1, 5 << 20} {
			if got, err := read(t, c, d, offset); err != nil || !bytes.Equal(got, b[offset:]) {
				t.Errorf("%s from %d: %d bytes, %v", c.address, offset, len(got), err)
			}
		}
		if _, err := read(t, c, other, 0); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: error %v of a blob that isn't there", c.address, err)
		}
	}
}

// service is a server of ByteStream/Read.
type service struct {
	*httptest.Server
	// plan sees each call first, and reports whether it has answered.
	plan  func(w http.ResponseWriter, r *http.Request, n int64) bool
	calls atomic.Int64
}

func newService(t *testing.T, b []byte, d ocispec.Descriptor) *service {
	s := &service{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := s.calls.Add(1)
		w.Header().Set("Content-Type", "application/grpc")
		if s.plan != nil && s.plan(w, r, n) {
			return
		}
		request, err := io.ReadAll(r.Body)
		if err != nil || r.URL.Path != readMethod || r.Header.Get("Te") != "trailers" || len(request) < 5 || int(binary.BigEndian.Uint32(request[1:5])) != len(request)-5 {
			t.Errorf("call %s %q: %v", r.URL, request, err)
		}
		name, offset := parseRequest(t, request[5:])
		switch strings.TrimPrefix(name, "main/") {
		case fmt.Sprintf("blobs/%s/%d", d.Digest.Encoded(), d.Size):
		default:
			w.Header().Set("Grpc-Status", "5")
			w.Header().Set("Grpc-Message", "no%20such blob")
			return
		}
		send(w, b[offset:])
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
	}))
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	s.Config.Protocols = p
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func (s *service) address() string { return strings.Replace(s.URL, "http://", "grpc://", 1) }

// parseRequest decodes a ReadRequest as it stands in bytestream.proto.
func parseRequest(t *testing.T, b []byte) (name string, offset int64) {
	for len(b) > 0 {
		tag := b[0]
		v, n := binary.Uvarint(b[1:])
		b = b[1+n:]
		switch tag {
		case 0x0a:
			name, b = string(b[:v]), b[v:]
		case 0x10:
			offset = int64(v)
		default:
			t.Errorf("tag %#x", tag)
			return
		}
	}
	return name, offset
}

// send writes bytes as messages, with a field that nobody asked for before each.
func send(w http.ResponseWriter, b []byte) {
	for len(b) > 0 {
		n := min(len(b), 100_000)
		message := append([]byte{0x08, 0x96, 0x01, 0x52}, binary.AppendUvarint(nil, uint64(n))...)
		message = append(message, b[:n]...)
		w.Write(append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...))
		b = b[n:]
	}
}

// What breaks goes on where it broke; what doesn't pass is an error.
func TestByteStream_Faults(t *testing.T) {
	b, d := blob(1 << 20)
	status := func(code, message string) func(http.ResponseWriter, *http.Request, int64) bool {
		return func(w http.ResponseWriter, _ *http.Request, _ int64) bool {
			w.Header().Set("Grpc-Status", code)
			w.Header().Set("Grpc-Message", message)
			return true
		}
	}
	once := func(do func(http.ResponseWriter, *http.Request, int64) bool) func(http.ResponseWriter, *http.Request, int64) bool {
		return func(w http.ResponseWriter, r *http.Request, n int64) bool { return n == 1 && do(w, r, n) }
	}
	for _, tc := range []struct {
		name string
		plan func(w http.ResponseWriter, r *http.Request, n int64) bool
		want string
	}{
		{"unavailable once", once(status("14", "")), ""},
		{"unavailable for ever", status("14", "gone%0Afishing"), "gRPC status 14: gone fishing"},
		{"refused", status("16", "who are you?"), "gRPC status 16: who are you?"},
		{"cut", once(func(w http.ResponseWriter, _ *http.Request, _ int64) bool {
			send(w, b[:300_000])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}), ""},
		{"ended by a status in the middle", once(func(w http.ResponseWriter, _ *http.Request, _ int64) bool {
			send(w, b[:300_000])
			w.Header().Set(http.TrailerPrefix+"Grpc-Status", "14")
			return true
		}), ""},
		{"no status", func(w http.ResponseWriter, _ *http.Request, _ int64) bool {
			w.WriteHeader(200)
			return true
		}, "without a status"},
		{"not gRPC", func(w http.ResponseWriter, _ *http.Request, _ int64) bool {
			w.Header().Set("Content-Type", "text/html")
			return true
		}, "something else than gRPC: 200 OK"},
		{"503 once", once(func(w http.ResponseWriter, _ *http.Request, _ int64) bool {
			w.WriteHeader(503)
			return true
		}), ""},
		{"a huge message", func(w http.ResponseWriter, _ *http.Request, _ int64) bool {
			w.Write([]byte{0, 0xff, 0xff, 0xff, 0xff})
			return true
		}, "a message of 4294967295 bytes"},
		{"compressed", func(w http.ResponseWriter, _ *http.Request, _ int64) bool {
			w.Write([]byte{1, 0, 0, 0, 0})
			return true
		}, "compressed message"},
		{"malformed", func(w http.ResponseWriter, _ *http.Request, _ int64) bool {
			w.Write([]byte{0, 0, 0, 0, 3, 0x52, 0x7f, 0})
			return true
		}, "malformed message"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newService(t, b, d)
			s.plan = tc.plan
			got, err := read(t, open(t, s.address(), Options{}), d, 0)
			switch {
			case tc.want == "" && (err != nil || !bytes.Equal(got, b)):
				t.Errorf("%d bytes, %v", len(got), err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

// A service that falls silent is given up.
func TestByteStream_Silent(t *testing.T) {
	_, d := blob(1 << 20)
	over := make(chan struct{})
	s := newService(t, nil, d)
	defer close(over)
	s.plan = func(w http.ResponseWriter, _ *http.Request, _ int64) bool {
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		<-over
		return true
	}
	u := mustURL(t, s.address())
	b := newByteStream(u, Options{Credentials: new(fetch.Credentials)})
	b.idleTimeout = 50 * time.Millisecond
	if _, err := b.openAt(t.Context(), d, 0); !errors.Is(err, errSilent) {
		t.Errorf("error %v", err)
	}
	ctx, stop := context.WithCancelCause(t.Context())
	stop(errors.New("stopped"))
	if _, err := b.openAt(ctx, d, 0); err == nil || err.Error() != "stopped" {
		t.Errorf("error %v", err)
	}
}

// What a cache wants to see goes to it alone, and into no error.
func TestCache_Headers(t *testing.T) {
	b, d := blob(1000)
	s := newService(t, b, d)
	s.plan = func(w http.ResponseWriter, r *http.Request, _ int64) bool {
		if r.Header.Get("X-Api-Key") == "secret" {
			return false
		}
		w.Header().Set("Grpc-Status", "16")
		return true
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Api-Key") != "secret" {
			w.WriteHeader(401)
			return
		}
		w.Write(b)
	}))
	defer web.Close()
	for _, address := range []string{s.address(), web.URL} {
		if got, err := read(t, open(t, address, Options{Header: http.Header{"X-Api-Key": {"secret"}}}), d, 0); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%s: %v", address, err)
		}
		if _, err := read(t, open(t, address, Options{Header: http.Header{"X-Api-Key": {"hidden"}}}), d, 0); err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: error %v", address, err)
		}
	}
}

func TestOpen_Refuses(t *testing.T) {
	for _, address := range []string{"ftp://a/b", "grpc://", "http://%zz", "unix:///a"} {
		if _, err := Open(address, Options{}); err == nil {
			t.Errorf("%s: no error", address)
		}
	}
}

// Whatever a service sends: an error, or a part of it.
func FuzzReadResponse(f *testing.F) {
	f.Add([]byte{0x52, 3, 'a', 'b', 'c'})
	f.Add([]byte{0x08, 0x96, 0x01, 0x52, 0, 0x0d, 1, 2, 3, 4, 0x09, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Add([]byte{0x52, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		data, err := readResponse(b)
		if err == nil && !bytes.Contains(b, data) {
			t.Errorf("%x is no part of %x", data, b)
		}
	})
}

func mustURL(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
