package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

var zeroTime time.Time

// OpenAt implements [Source].
func (m memory) OpenAt(_ context.Context, d ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	b, ok := m[d.Digest]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(b[offset:])), nil
}

// lazy tells which blobs were opened.
type lazy struct {
	memory
	mu     sync.Mutex
	opened []string
}

func (l *lazy) OpenAt(ctx context.Context, d ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	l.mu.Lock()
	l.opened = append(l.opened, fmt.Sprintf("%s@%d", d.Digest, offset))
	l.mu.Unlock()
	return l.memory.OpenAt(ctx, d, offset)
}

// quick are options that don't wait.
func quick() Options {
	return Options{Backoff: time.Millisecond, IdleTimeout: 30 * time.Second}
}

func repo(t testing.TB, c *Client, s string) name.Repository {
	t.Helper()
	r, err := c.Repository(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func count(log []string, prefix string) int {
	n := 0
	for _, l := range log {
		if strings.HasPrefix(l, prefix) {
			n++
		}
	}
	return n
}

func states(r *Result) map[State]int {
	m := map[State]int{}
	for _, b := range r.Blobs {
		m[b.State]++
	}
	return m
}

// What is there isn't sent, nor even opened; what is new is sent alone; nothing is asked for twice.
func TestPush_OnlyWhatIsNew(t *testing.T) {
	f := newFake(t)
	blobs := memory{}
	first := content(t, blobs, newImage(t, blobs, "one", 100, 2<<20, 0))
	second := content(t, blobs, newImage(t, blobs, "two", 100, 2<<20, 0, 333))
	c := New(quick())
	push := func(content *Content, tags ...string) (*Result, []string, []string) {
		t.Helper()
		l := &lazy{memory: blobs}
		f.requests()
		r, err := c.Push(t.Context(), Push{Content: content, Repository: repo(t, c, f.host()+"/team/web"), Tags: tags, Sources: []Source{l}})
		if err != nil {
			t.Fatal(err)
		}
		f.holds(t, "team/web", content, blobs, tags...)
		return r, f.requests(), l.opened
	}
	r, log, opened := push(first, "a", "b")
	if s := states(r); s[Sent] != 4 || len(opened) != 3 || r.Manifests != 1 || !slices.Equal(r.Tags, []string{"a", "b"}) { // Of the empty layer nothing is read.
		t.Errorf("first push: %v, opened %v, %d manifests, tags %v", s, opened, r.Manifests, r.Tags)
	}
	if last := log[len(log)-5:]; !strings.HasPrefix(last[0], "PUT /v2/team/web/manifests/sha256:") || last[1] != "PUT /v2/team/web/manifests/a" || last[2] != "PUT /v2/team/web/manifests/b" {
		t.Errorf("first push: it ends with %q: want the manifest, then its tags", last)
	}
	r, log, opened = push(first, "a", "b")
	if s := states(r); s[There] != 4 || len(opened) != 0 || len(r.Tags) != 0 || len(log) != 2 { // One for each tag.
		t.Errorf("same again: %v, opened %v, tags %v, requests %q", s, opened, r.Tags, log)
	}
	r, log, opened = push(first)
	if s := states(r); s[There] != 4 || len(opened) != 0 || len(log) != 1 {
		t.Errorf("same again without tags: %v, opened %v, requests %q", s, opened, log)
	}
	r, log, opened = push(second, "a")
	if s := states(r); s[There] != 3 || s[Sent] != 2 || len(opened) != 2 || count(log, "HEAD /v2/team/web/blobs/") != 5 {
		t.Errorf("one layer more: %v, opened %v, requests %q", s, opened, log)
	}
	l := &lazy{memory: blobs}
	f.requests()
	r, err := c.Push(t.Context(), Push{Content: second, Repository: repo(t, c, f.host()+"/other"), Sources: []Source{l}, From: []name.Repository{repo(t, c, f.host()+"/nothing"), repo(t, c, f.host()+"/team/web")}})
	if err != nil {
		t.Fatal(err)
	}
	if s := states(r); s[Mounted] != 5 || len(l.opened) != 0 {
		t.Errorf("mounted: %v, opened %v", s, l.opened)
	}
	f.holds(t, "other", second, blobs)
	// A registry that has the manifest and has lost a blob.
	f.mu.Lock()
	delete(f.blobs, "other@"+second.Root().Layers[1].Digest.String())
	f.mu.Unlock()
	if r, err = c.Push(t.Context(), Push{Content: second, Repository: repo(t, c, f.host()+"/other"), Sources: []Source{l}, Recheck: true}); err != nil || states(r)[Sent] != 1 {
		t.Errorf("recheck: %v, %v", r, err)
	}
	f.holds(t, "other", second, blobs)
}

func TestPush_Index(t *testing.T) {
	f := newFake(t)
	blobs := memory{}
	a, b := newImage(t, blobs, "amd64", 10, 20), newImage(t, blobs, "arm64", 10, 30)
	x := content(t, blobs, newIndex(t, blobs, a, b))
	c := New(quick())
	r, err := c.Push(t.Context(), Push{Content: x, Repository: repo(t, c, f.host()+"/x"), Tags: []string{"latest"}, Sources: []Source{blobs}})
	if err != nil {
		t.Fatal(err)
	}
	f.holds(t, "x", x, blobs, "latest")
	if r.Manifests != 3 || states(r)[Sent] != 5 {
		t.Errorf("%d manifests, %v", r.Manifests, states(r))
	}
	f.requests()
	if r, err = c.Push(t.Context(), Push{Content: x, Repository: repo(t, c, f.host()+"/x"), Tags: []string{"latest"}}); err != nil || r.Manifests != 0 || len(f.requests()) != 1 {
		t.Errorf("again: %v, %v", r, err)
	}
	// Half of it is there: the other image alone is looked at.
	y := content(t, blobs, newIndex(t, blobs, a, newImage(t, blobs, "riscv64", 77)))
	if r, err = c.Push(t.Context(), Push{Content: y, Repository: repo(t, c, f.host()+"/x"), Sources: []Source{blobs}}); err != nil || r.Manifests != 2 || states(r)[Sent] != 2 {
		t.Errorf("half: %v, %v", r, err)
	}
	f.holds(t, "x", y, blobs)
}

// Bodies go up in pieces where the registry wants it or was told so.
func TestPush_Chunks(t *testing.T) {
	blobs := memory{}
	x := content(t, blobs, newImage(t, blobs, "big", 5<<20, 10))
	for _, tc := range []struct {
		name                     string
		chunk, minChunk, maxBody int64
		patches                  int
	}{
		{"asked for", 2 << 20, 0, 0, 2},
		{"exact", 5 << 19, 0, 0, 1},
		{"raised by the registry", 1 << 20, 3 << 20, 0, 1},
		{"413", 0, 0, 1 << 20, 4},
		{"413 though in pieces", 4 << 20, 0, 2 << 20, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFake(t)
			f.minChunk, f.maxBody = tc.minChunk, tc.maxBody
			o := quick()
			o.ChunkSize = tc.chunk
			c := New(o)
			if _, err := c.Push(t.Context(), Push{Content: x, Repository: repo(t, c, f.host()+"/x"), Sources: []Source{blobs}}); err != nil {
				t.Fatal(err)
			}
			f.holds(t, "x", x, blobs)
			// What is refused may be asked for again, since a connection that is closed early may hide the refusal.
			if n := count(f.requests(), "PATCH"); n < tc.patches || tc.maxBody == 0 && n > tc.patches {
				t.Errorf("%d PATCH, want %d", n, tc.patches)
			}
		})
	}
}

// A body that is cut at each tenth of it goes on there where the registry knows the session, and begins anew where it
// doesn't.
func TestPush_CutAtEachTenth(t *testing.T) {
	const size = 3<<20 + 7
	blobs := memory{}
	x := content(t, blobs, newImage(t, blobs, "cut", size))
	for _, forgets := range []bool{false, true} {
		for tenth := range 10 {
			t.Run(fmt.Sprintf("forgets=%v/%d", forgets, tenth), func(t *testing.T) {
				f := newFake(t)
				f.forgets = forgets
				var cut atomic.Bool
				f.plan = func(w http.ResponseWriter, r *http.Request) bool {
					if r.ContentLength == size && cut.CompareAndSwap(false, true) {
						r.Body = io.NopCloser(io.LimitReader(r.Body, int64(size*tenth/10)))
					}
					return false
				}
				l := &lazy{memory: blobs}
				c := New(quick())
				if _, err := c.Push(t.Context(), Push{Content: x, Repository: repo(t, c, f.host()+"/x"), Tags: []string{"a"}, Sources: []Source{l}}); err != nil {
					t.Fatal(err)
				}
				f.holds(t, "x", x, blobs, "a")
				if want := fmt.Sprintf("%s@%d", x.Root().Layers[0].Digest, size*tenth/10); !forgets && !slices.Contains(l.opened, want) {
					t.Errorf("opened %q, want %s among it", l.opened, want)
				}
			})
		}
	}
}

// Whatever a registry does: a push ends well, with all in its place, or with an error and no tag; and a later one, when
// the trouble is over, completes it.
func TestPush_Faults(t *testing.T) {
	blobs := memory{}
	x := content(t, blobs, newImage(t, blobs, "x", 1000, 2<<20))
	layer := x.Root().Layers[1].Digest.String()
	is := func(method, part string) func(r *http.Request) bool {
		return func(r *http.Request) bool { return r.Method == method && strings.Contains(r.URL.Path, part) }
	}
	body := func(r *http.Request) bool { return r.ContentLength > 1<<20 }
	answer := func(status int, header ...string) func(w http.ResponseWriter, r *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
		}
	}
	abort := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	const always = 1 << 30
	for _, tc := range []struct {
		name  string
		when  func(*http.Request) bool
		times int
		do    func(http.ResponseWriter, *http.Request) // nil: it stalls
		want  string                                   // "": it ends well
	}{
		{"429 with Retry-After", is("HEAD", "/blobs/"), 2, answer(429, "Retry-After", "0"), ""},
		{"429 for ever", is("HEAD", "/blobs/"), always, answer(429, "Retry-After", "0"), "answers 429 Too Many Requests (gave up after 5 attempts)"},
		{"500 at the ping", is("GET", "/v2/"), 2, answer(500), ""},
		{"500 at the session", is("POST", "/blobs/uploads/"), 3, answer(500), ""},
		{"503 at the body", body, 3, answer(503), ""},
		{"503 at the body for ever", body, always, answer(503), "answers 503"},
		{"507, the disk is full", body, always, answer(507), "answers 507 Insufficient Storage"},
		{"500 at the manifest", is("PUT", "/manifests/sha256"), 4, answer(500), ""},
		{"500 at the tag for ever", is("PUT", "/manifests/a"), always, answer(500), "tag a: the registry answers 500"},
		{"connections dropped", func(r *http.Request) bool { return r.Method != "GET" }, 4, abort, ""},
		{"connections dropped for ever", body, always, abort, "gave up after 5 attempts"},
		{"body stalled", body, 1, nil, ""},
		{"answer stalled", is("HEAD", layer), 1, nil, ""},
		{"stalled for ever", body, always, nil, "the registry went silent (gave up after 2 attempts)"},
		{"blob unknown when it was said to be there", is("HEAD", "/blobs/"), 3, answer(200), ""},
		{"another blob there", is("HEAD", layer), 1, answer(200, "Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64)), ""},
		{"wrong digest of the stored blob", body, 2, answer(201, "Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64)), ""},
		{"wrong digest of the stored blob for ever", body, always, answer(201, "Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64)), "breaks its word: it says to have stored sha256:000"},
		{"202 to a body", body, 1, answer(202), ""},
		{"202 to a body for ever", body, always, answer(202), "it takes the blob with 202 Accepted, and doesn't have it"},
		{"201, and nothing stored", body, always, answer(201), "MANIFEST_BLOB_UNKNOWN"},
		{"wrong digest of the manifest", is("PUT", "/manifests/sha256"), 1, answer(201, "Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64)), "it says to have stored the manifest sha256:0000"},
		{"the tag is taken and not there", is("PUT", "/manifests/a"), always, answer(201), "reading back a: the registry breaks its word"},
		{"no Location", is("POST", "/blobs/uploads/"), 1, answer(202), "doesn't say where it goes on"},
		{"Location to another host in the clear", is("POST", "/blobs/uploads/"), 1, answer(202, "Location", "http://192.0.2.1/upload"), "plain HTTP would be spoken with 192.0.2.1"},
		{"redirect in the clear", is("HEAD", "/blobs/"), 1, answer(307, "Location", "http://192.0.2.1/upload"), "plain HTTP would be spoken with 192.0.2.1"},
		{"Location of a file", is("POST", "/blobs/uploads/"), 1, answer(202, "Location", "file:///upload"), `leads to a URL of the scheme "file"`},
		{"redirects without end", is("HEAD", "/blobs/"), always, answer(307, "Location", "/v2/x/blobs/again"), "more than 10 redirects"},
		{"refused", is("POST", "/blobs/uploads/"), always, answer(403), "answers 403 Forbidden"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			var n atomic.Int64
			f.plan = func(w http.ResponseWriter, r *http.Request) bool {
				if !tc.when(r) || n.Add(1) > int64(tc.times) {
					return false
				}
				if tc.do == nil {
					<-f.over
					return true
				}
				tc.do(w, r)
				return true
			}
			o := quick()
			if tc.do == nil {
				o.IdleTimeout, o.Attempts = 3*time.Second, 2
			}
			c := New(o)
			p := Push{Content: x, Repository: repo(t, c, f.host()+"/x"), Tags: []string{"a"}, Sources: []Source{blobs}}
			_, err := c.Push(t.Context(), p)
			switch {
			case tc.want == "" && err != nil:
				t.Fatal(err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Fatalf("error %v, want %q", err, tc.want)
			case err != nil && f.manifests["x:a"] != nil:
				t.Error("the tag is there all the same")
			}
			if err != nil {
				f.behave()
				if _, err := c.Push(t.Context(), p); err != nil {
					t.Errorf("again: %v", err)
				}
			}
			f.holds(t, "x", x, blobs, "a")
		})
	}
}

// What a source has that isn't the blob never arrives: the next source is asked.
func TestPush_Sources(t *testing.T) {
	f := newFake(t)
	blobs := memory{}
	x := content(t, blobs, newImage(t, blobs, "x", 1<<20))
	d := x.Root().Layers[0].Digest
	wrong, short, empty := memory{d: noise("other", 1<<20)}, memory{d: blobs[d][:1000]}, memory{}
	c := New(quick())
	p := Push{Content: x, Repository: repo(t, c, f.host()+"/x"), Tags: []string{"a"}, Sources: []Source{empty, wrong, short, blobs}}
	if _, err := c.Push(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	f.holds(t, "x", x, blobs, "a")

	p.Repository, p.Sources = repo(t, c, f.host()+"/y"), []Source{wrong, short}
	_, err := c.Push(t.Context(), p)
	var no *NoBlobError
	if !errors.As(err, &no) || no.Descriptor.Digest != x.Root().Config.Digest && !strings.Contains(err.Error(), "mismatch") {
		t.Errorf("error %v", err)
	}
	p.Sources = []Source{empty}
	if _, err = c.Push(t.Context(), p); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "in no place where it was looked for") {
		t.Errorf("error %v", err)
	}
	if f.manifests["y:a"] != nil {
		t.Error("a tag")
	}
}

// Stopped in the middle, a push says why, and a later one completes it.
func TestPush_Stopped(t *testing.T) {
	f := newFake(t)
	blobs := memory{}
	x := content(t, blobs, newImage(t, blobs, "x", 2<<20, 3<<20))
	ctx, stop := context.WithCancelCause(t.Context())
	f.plan = func(w http.ResponseWriter, r *http.Request) bool {
		if r.ContentLength > 1<<20 {
			io.CopyN(io.Discard, r.Body, 1<<20)
			stop(errors.New("stopped by signal: interrupt"))
			<-f.over
			return true
		}
		return false
	}
	c := New(quick())
	p := Push{Content: x, Repository: repo(t, c, f.host()+"/x"), Tags: []string{"a"}, Sources: []Source{blobs}}
	if _, err := c.Push(ctx, p); err == nil || err.Error() != "stopped by signal: interrupt" {
		t.Errorf("error %v", err)
	}
	if f.manifests["x:a"] != nil {
		t.Error("a tag")
	}
	f.behave()
	if _, err := c.Push(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	f.holds(t, "x", x, blobs, "a")
}

// basic is a keychain with one login.
type basic struct{ user, password string }

func (b basic) Resolve(authn.Resource) (authn.Authenticator, error) {
	return &authn.Basic{Username: b.user, Password: b.password}, nil
}

// Tokens run out in the middle; each is good for a few requests. No error holds a credential, though the registry sends back
// what it got.
func TestPush_Tokens(t *testing.T) {
	const password = "correct-horse-battery"
	f := newFake(t)
	blobs := memory{}
	x := content(t, blobs, newImage(t, blobs, "x", 2<<20, 1000, 1001, 1002))
	var tokens, uses atomic.Int64
	f.plan = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			user, got, _ := r.BasicAuth()
			if user != "user" || got != password {
				refuse(w, 401, "UNAUTHORIZED", "not "+got+", "+r.Header.Get("Authorization"))
				return true
			}
			uses.Store(0)
			fmt.Fprintf(w, `{"token":"secret-token-%d"}`, tokens.Add(1))
			return true
		}
		if r.Header.Get("Authorization") == fmt.Sprintf("Bearer secret-token-%d", tokens.Load()) && uses.Add(1) < 6 {
			return false
		}
		io.Copy(io.Discard, r.Body) // A body that goes up before the answer comes.
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+f.URL+`/token",service="fake",scope="repository:x:pull,push"`)
		refuse(w, 401, "UNAUTHORIZED", "you sent "+r.Header.Get("Authorization"))
		return true
	}
	o := quick()
	o.Keychain = basic{"user", password}
	o.Jobs = 1
	c := New(o)
	p := Push{Content: x, Repository: repo(t, c, f.host()+"/x"), Tags: []string{"a"}, Sources: []Source{blobs}}
	if _, err := c.Push(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	f.holds(t, "x", x, blobs, "a")
	if tokens.Load() < 3 {
		t.Errorf("%d tokens: the test shows nothing", tokens.Load())
	}

	o.Keychain = basic{"user", "wrong-horse-battery"}
	c = New(o)
	_, err := c.Push(t.Context(), p)
	if err == nil || strings.Contains(err.Error(), "horse") || strings.Contains(err.Error(), "d3JvbmctaG9yc2U") || !strings.Contains(err.Error(), "answers 401") {
		t.Errorf("error %v", err)
	}
	var h interface{ Hint() string }
	if !errors.As(err, &h) || !strings.Contains(h.Hint(), "docker login "+f.host()) {
		t.Errorf("hint of %v", err)
	}
	// The token itself is refused for ever.
	f.plan = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodHead { // Its answer has no text.
			return false
		}
		if r.URL.Path == "/token" {
			fmt.Fprint(w, `{"token":"another-secret"}`)
			return true
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+f.URL+`/token",service="fake"`)
		refuse(w, 401, "UNAUTHORIZED", "you sent "+r.Header.Get("Authorization"))
		return true
	}
	p.Tags = []string{"b"}
	p.Recheck = true
	if _, err = c.Push(t.Context(), p); err == nil || strings.Contains(err.Error(), "another-secret") || !strings.Contains(err.Error(), "you sent Bearer ***") {
		t.Errorf("error %v", err)
	}
}

// Plain HTTP is for loopback and for those who are named.
func TestPlainHTTP(t *testing.T) {
	for host, plain := range map[string]bool{
		"127.0.0.1:5000": true, "127.8.9.1": true, "localhost": true, "localhost:5000": true, "[::1]:5000": true, "a.localhost": true,
		"10.0.0.1:5000": false, "192.168.1.1": false, "registry.example.org": false, "localhost.example.org": false,
		"named.example.org:5000": true, "named.example.org": false,
	} {
		g := newGuard(Options{Insecure: []string{"named.example.org:5000"}})
		req, err := http.NewRequest("GET", "http://"+host+"/v2/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := g.mayBePlain(req.URL); got != plain {
			t.Errorf("%s: %v, want %v", host, got, plain)
		}
	}
}
