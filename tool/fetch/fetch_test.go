package fetch

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// testClient waits for nothing, and records what it would have waited.
func testClient(t *testing.T, o Options) (*Client, *[]time.Duration) {
	t.Helper()
	c := New(o)
	var mu sync.Mutex
	waits := new([]time.Duration)
	c.sleep = func(ctx context.Context, d time.Duration) error {
		mu.Lock()
		defer mu.Unlock()
		*waits = append(*waits, d)
		return ctx.Err()
	}
	t.Cleanup(c.CloseIdleConnections)
	return c, waits
}

// serve answers the nth request (from 0) by the nth handler, and all after the last by the last.
func serve(t *testing.T, handlers ...http.HandlerFunc) (url string, requests *atomic.Int64) {
	t.Helper()
	requests = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := int(requests.Add(1)) - 1
		handlers[min(n, len(handlers)-1)](w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, requests
}

func status(code int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		http.Error(w, "a page about it", code)
	}
}

func content(b []byte, etag string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if etag != "" {
			w.Header().Set("ETag", etag)
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
	}
}

// cut sends the header of all of b, and breaks the connection after n bytes from where the client wants them.
func cut(b []byte, n int, etag string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		content(b, etag)(&cutWriter{ResponseWriter: w, left: n}, r)
	}
}

type cutWriter struct {
	http.ResponseWriter
	left int
}

func (w *cutWriter) Write(p []byte) (int, error) {
	if len(p) < w.left {
		w.left -= len(p)
		return w.ResponseWriter.Write(p)
	}
	w.ResponseWriter.Write(p[:w.left])
	w.ResponseWriter.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

// noRange makes a handler that knows nothing of ranges.
func noRange(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Range")
		h(w, r)
	}
}

func testBytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

func readAll(t *testing.T, c *Client, url string) ([]byte, error) {
	t.Helper()
	r, err := c.Open(t.Context(), url)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func TestOpen_Retries(t *testing.T) {
	want := testBytes(5000)
	for _, tc := range []struct {
		name     string
		handlers []http.HandlerFunc
		requests int64
		err      string // "": the bytes come
		notFound bool
	}{
		{name: "first try", handlers: []http.HandlerFunc{content(want, "")}, requests: 1},
		{name: "500 then right", handlers: []http.HandlerFunc{status(500), content(want, "")}, requests: 2},
		{name: "503 502 504 then right", handlers: []http.HandlerFunc{status(503), status(502), status(504), content(want, "")}, requests: 4},
		{name: "429 then right", handlers: []http.HandlerFunc{status(429), content(want, "")}, requests: 2},
		{name: "500 for ever", handlers: []http.HandlerFunc{status(500)}, requests: 5, err: "500 Internal Server Error (gave up after 5 attempts)"},
		{name: "501 isn't retried", handlers: []http.HandlerFunc{status(501)}, requests: 1, err: "501 Not Implemented"},
		{name: "400 isn't retried", handlers: []http.HandlerFunc{status(400)}, requests: 1, err: "400 Bad Request"},
		{name: "401", handlers: []http.HandlerFunc{status(401)}, requests: 1, err: "wants credentials"},
		{name: "404", handlers: []http.HandlerFunc{status(404)}, requests: 1, err: "404 Not Found", notFound: true},
		{name: "403 as S3", handlers: []http.HandlerFunc{status(403)}, requests: 1, err: "403 Forbidden", notFound: true},
		{name: "410", handlers: []http.HandlerFunc{status(410)}, requests: 1, err: "410 Gone", notFound: true},
		{name: "206 unasked", handlers: []http.HandlerFunc{status(206)}, requests: 1, err: "206 Partial Content"},
		{name: "connection broken before the header", handlers: []http.HandlerFunc{func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, content(want, "")}, requests: 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			url, requests := serve(t, tc.handlers...)
			url += "/nar/x.nar"
			for _, way := range []struct {
				name string
				get  func(c *Client) ([]byte, error)
			}{
				{"Open", func(c *Client) ([]byte, error) { return readAll(t, c, url) }},
				{"Get", func(c *Client) ([]byte, error) { return c.Get(t.Context(), url, 5000) }},
			} {
				requests.Store(0)
				c, waits := testClient(t, Options{})
				got, err := way.get(c)
				if requests.Load() != tc.requests {
					t.Errorf("%s: %d requests, want %d", way.name, requests.Load(), tc.requests)
				}
				if int64(len(*waits)) != tc.requests-1 {
					t.Errorf("%s: waited %v, want %d waits", way.name, *waits, tc.requests-1)
				}
				if tc.err == "" {
					if err != nil || !bytes.Equal(got, want) {
						t.Errorf("%s: %d bytes, error %v", way.name, len(got), err)
					}
					continue
				}
				if err == nil || !strings.Contains(err.Error(), tc.err) || !strings.Contains(err.Error(), url) {
					t.Errorf("%s: error %v, want one with %q and the URL", way.name, err, tc.err)
				}
				if errors.Is(err, ErrNotFound) != tc.notFound {
					t.Errorf("%s: errors.Is(%v, ErrNotFound) = %v", way.name, err, !tc.notFound)
				}
			}
		})
	}
}

func TestOpen_BackOff(t *testing.T) {
	url, _ := serve(t, status(500))
	c, waits := testClient(t, Options{Attempts: 9, Backoff: 100 * time.Millisecond})
	if _, err := c.Open(t.Context(), url); err == nil {
		t.Fatal("no error")
	}
	for i, want := range []int{100, 200, 400, 800, 1600, 1600, 1600, 1600} {
		w := time.Duration(want) * time.Millisecond
		if got := (*waits)[i]; got < w || got > w+w/4 {
			t.Errorf("wait %d: %v, want %v and up to a quarter more", i, got, w)
		}
	}
}

func TestOpen_RetryAfter(t *testing.T) {
	url, _ := serve(t,
		status(429, "Retry-After", "7"),
		status(503, "Retry-After", "86400"),
		status(503, "Retry-After", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)),
		status(503, "Retry-After", "soon"),
		content(nil, ""))
	c, waits := testClient(t, Options{MaxRetryAfter: 20 * time.Second})
	if _, err := readAll(t, c, url); err != nil {
		t.Fatal(err)
	}
	want := []time.Duration{7 * time.Second, 20 * time.Second, 20 * time.Second}
	for i, w := range want {
		if (*waits)[i] != w {
			t.Errorf("wait %d: %v, want %v", i, (*waits)[i], w)
		}
	}
	if last := (*waits)[3]; last < 2*time.Second || last > 3*time.Second {
		t.Errorf("Retry-After of no sense: waited %v, want the back-off", last)
	}
}

func TestOpen_Resumes(t *testing.T) {
	want := testBytes(300_000)
	other := testBytes(300_001)[1:]
	var ranges []string
	note := func(h http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			ranges = append(ranges, r.Header.Get("Range")+" "+r.Header.Get("If-Range"))
			h(w, r)
		}
	}
	for _, tc := range []struct {
		name     string
		handlers []http.HandlerFunc
		ranges   []string
		err      string
	}{
		{
			name:     "strong ETag",
			handlers: []http.HandlerFunc{note(cut(want, 100_000, `"a"`)), note(cut(want, 50_000, `"a"`)), note(content(want, `"a"`))},
			ranges:   []string{" ", `bytes=100000- "a"`, `bytes=150000- "a"`},
		},
		{
			name:     "weak ETag",
			handlers: []http.HandlerFunc{note(cut(want, 100_000, `W/"a"`)), note(content(want, `W/"a"`))},
			ranges:   []string{" ", "bytes=100000- "},
		},
		{
			name:     "no ETag",
			handlers: []http.HandlerFunc{note(cut(want, 100_000, "")), note(content(want, ""))},
			ranges:   []string{" ", "bytes=100000- "},
		},
		{
			name:     "server ignores ranges",
			handlers: []http.HandlerFunc{note(noRange(cut(want, 100_000, `"a"`))), note(noRange(cut(want, 200_000, `"a"`))), note(noRange(content(want, `"a"`)))},
			ranges:   []string{" ", `bytes=100000- "a"`, " "},
		},
		{
			name:     "server answers 416",
			handlers: []http.HandlerFunc{note(cut(want, 100_000, "")), note(status(416)), note(content(want, ""))},
			ranges:   []string{" ", "bytes=100000- ", " "},
		},
		{
			name:     "503 while resuming",
			handlers: []http.HandlerFunc{note(cut(want, 100_000, `"a"`)), note(status(503)), note(content(want, `"a"`))},
			ranges:   []string{" ", `bytes=100000- "a"`, `bytes=100000- "a"`},
		},
		{
			name:     "changed ETag",
			handlers: []http.HandlerFunc{note(cut(want, 100_000, `"a"`)), note(content(other, `"b"`))},
			ranges:   []string{" ", `bytes=100000- "a"`},
			err:      `the file changed while it was read: ETag was "a", is "b"`,
		},
		{
			name:     "changed weak ETag",
			handlers: []http.HandlerFunc{note(cut(want, 100_000, `W/"a"`)), note(content(other, `W/"b"`))},
			ranges:   []string{" ", "bytes=100000- "},
			err:      "the file changed while it was read",
		},
		{
			name:     "changed size",
			handlers: []http.HandlerFunc{note(cut(want, 100_000, "")), note(content(want[:200_000], ""))},
			ranges:   []string{" ", "bytes=100000- "},
			err:      "its size was 300000, is 200000",
		},
		{
			name:     "shorter now",
			handlers: []http.HandlerFunc{note(cut(want, 100_000, "")), note(content(want[:50_000], ""))},
			ranges:   []string{" ", "bytes=100000- ", " "},
			err:      "its size was 300000, is 50000",
		},
		{
			name: "other range than asked for",
			handlers: []http.HandlerFunc{note(cut(want, 100_000, "")), note(func(w http.ResponseWriter, r *http.Request) {
				r.Header.Set("Range", "bytes=99999-")
				content(want, "")(w, r)
			})},
			ranges: []string{" ", "bytes=100000- "},
			err:    "asked for the bytes from 100000 on, the server sends those from 99999 on",
		},
		{
			name:     "206 without Content-Range",
			handlers: []http.HandlerFunc{note(cut(want, 100_000, "")), note(status(206))},
			ranges:   []string{" ", "bytes=100000- "},
			err:      `206 with Content-Range ""`,
		},
		{
			name: "range shorter than the file",
			handlers: []http.HandlerFunc{note(cut(want, 100_000, "")), note(func(w http.ResponseWriter, r *http.Request) {
				r.Header.Set("Range", "bytes=100000-199999")
				content(want, "")(w, r)
			}), note(content(want, ""))},
			ranges: []string{" ", "bytes=100000- ", "bytes=200000- "},
		},
		{
			name:     "404 while resuming",
			handlers: []http.HandlerFunc{note(cut(want, 100_000, `"a"`)), note(status(404))},
			ranges:   []string{" ", `bytes=100000- "a"`},
			err:      "404 Not Found (after 100000 bytes)",
		},
		{
			name:     "cut at the same byte for ever",
			handlers: []http.HandlerFunc{note(cut(want, 100_000, `"a"`)), note(cut(want, 0, `"a"`))},
			ranges:   []string{" ", `bytes=100000- "a"`, `bytes=100000- "a"`, `bytes=100000- "a"`, `bytes=100000- "a"`},
			err:      "gave up after 5 attempts",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ranges = nil
			url, _ := serve(t, tc.handlers...)
			c, _ := testClient(t, Options{})
			got, err := readAll(t, c, url)
			if !bytes.HasPrefix(want, got) {
				t.Errorf("the %d bytes passed on are not those of the file", len(got))
			}
			if fmt.Sprint(ranges) != fmt.Sprint(tc.ranges) {
				t.Errorf("requests %q, want %q", ranges, tc.ranges)
			}
			if tc.err == "" {
				if err != nil || len(got) != len(want) {
					t.Fatalf("%d bytes, error %v", len(got), err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.err) || !strings.Contains(err.Error(), url) {
				t.Fatalf("error %v, want one with %q and the URL", err, tc.err)
			}
		})
	}
}

// A file of several MiB over a line that breaks once a MiB comes whole: progress makes failures forgotten.
func TestOpen_ProgressIsAFreshStart(t *testing.T) {
	want := testBytes(12 << 20)
	url, requests := serve(t, cut(want, 1<<20, `"a"`))
	c, _ := testClient(t, Options{Attempts: 2})
	got, err := readAll(t, c, url)
	// The last MiB is cut too, behind its last byte, and nobody cares.
	if err != nil || !bytes.Equal(got, want) || requests.Load() != 12 {
		t.Fatalf("%d bytes in %d requests, error %v", len(got), requests.Load(), err)
	}
}

func TestOpen_StalledBody(t *testing.T) {
	want := testBytes(200_000)
	stall := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(want)))
		w.Header().Set("ETag", `"a"`)
		w.Write(want[:1000])
		w.(http.Flusher).Flush()
		<-r.Context().Done() // the client hangs up
	}
	t.Run("resumed", func(t *testing.T) {
		url, requests := serve(t, stall, content(want, `"a"`))
		c, _ := testClient(t, Options{IdleTimeout: 50 * time.Millisecond})
		got, err := readAll(t, c, url)
		if err != nil || !bytes.Equal(got, want) || requests.Load() != 2 {
			t.Fatalf("%d bytes in %d requests, error %v", len(got), requests.Load(), err)
		}
	})
	t.Run("given up", func(t *testing.T) {
		url, _ := serve(t, stall)
		c, _ := testClient(t, Options{IdleTimeout: 20 * time.Millisecond, Attempts: 2})
		_, err := c.Get(t.Context(), url, 1<<20)
		if !errors.Is(err, errStalled) || !strings.Contains(err.Error(), url) {
			t.Fatalf("error %v, want one that says so and names the URL", err)
		}
	})
	t.Run("slow reader isn't blamed", func(t *testing.T) {
		url, requests := serve(t, content(want, ""))
		c, _ := testClient(t, Options{IdleTimeout: 30 * time.Millisecond})
		r, err := c.Open(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		time.Sleep(100 * time.Millisecond)
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, want) || requests.Load() != 1 {
			t.Fatalf("%d bytes in %d requests, error %v", len(got), requests.Load(), err)
		}
	})
}

func TestOpen_SilentHeader(t *testing.T) {
	url, requests := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	c, _ := testClient(t, Options{HeaderTimeout: 20 * time.Millisecond, Attempts: 2})
	if _, err := c.Open(t.Context(), url); err == nil || !strings.Contains(err.Error(), url) {
		t.Fatalf("error %v, want one with the URL", err)
	}
	if requests.Load() != 2 {
		t.Errorf("%d requests, want 2", requests.Load())
	}
}

func TestOpen_Cancelled(t *testing.T) {
	url, requests := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("x"))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	c, _ := testClient(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := c.Open(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var one [1]byte
	if _, err := io.ReadFull(r, one[:]); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := r.Read(one[:]); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want context.Canceled", err)
	}
	if requests.Load() != 1 {
		t.Errorf("%d requests after the context was cancelled, want 1 in all", requests.Load())
	}
}

func TestOpen_NothingIsUnpacked(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write([]byte("contents"))
	z.Close()
	var asked string
	url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.Header.Get("Accept-Encoding")
		w.Header().Set("Content-Encoding", "gzip") // as Apache labels a file named x.gz
		w.Write(packed.Bytes())
	})
	c, _ := testClient(t, Options{})
	got, err := readAll(t, c, url)
	if err != nil || !bytes.Equal(got, packed.Bytes()) || asked != "identity" {
		t.Fatalf("%d bytes, error %v, Accept-Encoding %q: want the %d stored bytes, identity asked for", len(got), err, asked, packed.Len())
	}
}

func TestOpen_Redirects(t *testing.T) {
	var seen []string
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		seen = append(seen, fmt.Sprintf("%s auth=%s:%s referer=%s", r.URL.Path, user, password, r.Referer()))
		w.Write([]byte("there"))
	}))
	defer target.Close()
	other := strings.Replace(target.URL, "127.0.0.1", "localhost", 1)
	origin, requests := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, other+"/file?X-Signature=hidden", http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/scheme":
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		case "/gone":
			http.Redirect(w, r, "http://127.0.0.1:1/x?X-Signature=hidden", http.StatusFound)
		}
	})
	c, _ := testClient(t, Options{})

	withUser := strings.Replace(origin, "http://", "http://me:secret@", 1)
	got, err := readAll(t, c, withUser+"/away?token=hidden")
	if err != nil || string(got) != "there" {
		t.Fatalf("%q, error %v", got, err)
	}
	if want := []string{"/file auth=: referer="}; fmt.Sprint(seen) != fmt.Sprint(want) {
		t.Errorf("the other host saw %q, want no credentials: %q", seen, want)
	}
	for path, want := range map[string]string{
		"/loop":   "redirect not followed: more than 10 in a row",
		"/scheme": `redirect not followed: it leads to the scheme "file"`,
		"/gone":   "connection refused",
	} {
		requests.Store(0)
		_, err := c.Open(t.Context(), withUser+path+"?token=hidden")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", path, err, want)
		}
		if err != nil && (strings.Contains(err.Error(), "hidden") || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s: the error holds a credential: %v", path, err)
		}
	}
}

func TestOpen_RedirectToPlainHTTP(t *testing.T) {
	plain, requests := serve(t, content([]byte("x"), ""))
	s := httptest.NewTLSServer(http.RedirectHandler(plain, http.StatusFound))
	defer s.Close()
	c, _ := testClient(t, Options{})
	c.http.Transport.(*http.Transport).TLSClientConfig = s.Client().Transport.(*http.Transport).TLSClientConfig
	_, err := c.Open(t.Context(), s.URL)
	if !errors.Is(err, errRedirect) || requests.Load() != 0 {
		t.Fatalf("error %v after %d requests to the plain server, want the redirect refused", err, requests.Load())
	}
}

func TestOpen_HTTP2(t *testing.T) {
	var proto string
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { proto = r.Proto }))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	c, _ := testClient(t, Options{})
	c.http.Transport.(*http.Transport).TLSClientConfig = s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	if _, err := readAll(t, c, s.URL); err != nil || proto != "HTTP/2.0" {
		t.Fatalf("protocol %q, error %v", proto, err)
	}
}

// A certificate that nobody vouches for doesn't get better by asking again.
func TestOpen_UnknownCertificate(t *testing.T) {
	s := httptest.NewUnstartedServer(content([]byte("x"), ""))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	c, waits := testClient(t, Options{})
	if _, err := c.Open(t.Context(), s.URL); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Fatalf("error %v, want one about the certificate", err)
	}
	if len(*waits) != 0 {
		t.Errorf("tried again %d times", len(*waits))
	}
}

func TestGet_Limit(t *testing.T) {
	b := testBytes(1000)
	url, requests := serve(t, content(b, ""))
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, b, 0o666); err != nil {
		t.Fatal(err)
	}
	c, _ := testClient(t, Options{})
	for _, u := range []string{url, FileURL(file)} {
		if got, err := c.Get(t.Context(), u, 1000); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%s: %d bytes, error %v", u, len(got), err)
		}
		if _, err := c.Get(t.Context(), u, 999); !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), u) {
			t.Errorf("%s: error %v, want ErrTooLarge and the URL", u, err)
		}
	}
	if requests.Load() != 2 {
		t.Errorf("%d requests, want 2: what is too large stays so", requests.Load())
	}
}

// Get must not join two responses, even where Open would.
func TestGet_StartsAnew(t *testing.T) {
	a, b := testBytes(1000), testBytes(1001)[1:]
	url, _ := serve(t, cut(a, 500, ""), content(b, ""))
	c, _ := testClient(t, Options{})
	if got, err := c.Get(t.Context(), url, 1000); err != nil || !bytes.Equal(got, b) {
		t.Fatalf("error %v; got the second file: %v", err, bytes.Equal(got, b))
	}
}

func TestOpen_Files(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"plain": "1", "with space": "2", "a%b#c?d": "3", "sub/x:y": "4"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		c := New(Options{Dir: dir})
		for _, u := range []string{FileURL(path), FileURL(name)} {
			if got, err := readAll(t, c, u); err != nil || string(got) != text {
				t.Errorf("%s: %q, error %v", u, got, err)
			}
		}
		if got, err := FilePath(FileURL(name), dir); err != nil || got != path {
			t.Errorf("FilePath(%s) = %s, %v; want %s", FileURL(name), got, err, path)
		}
	}
	c := New(Options{Dir: filepath.Join(dir, "sub")})
	for _, u := range []string{"file:../plain", "file://localhost" + dir + "/plain", "file:" + dir + "/plain"} {
		if got, err := readAll(t, c, u); err != nil || string(got) != "1" {
			t.Errorf("%s: %q, error %v", u, got, err)
		}
	}
	for u, want := range map[string]string{
		"file:nowhere":              "not found",
		"file:///nowhere/at/all":    "not found",
		"file:..":                   "no regular file",
		"file:///dev/null":          "no regular file",
		"file://cache/x":            "write file:///absolute/path or file:relative/path",
		"file:x?y":                  "no user, query or fragment",
		"file:x#y":                  "no user, query or fragment",
		"file:":                     "names no file",
		"file:a%00b":                "NUL",
		"file:a%zz":                 "malformed URL",
		"FILE:a":                    "write file: in small letters",
		"HTTPS://host/a":            "write https: in small letters",
		"file:ä":                    "is percent-encoded",
		"file:///a b":               "is percent-encoded",
		"https://host/\"a\"":        "is percent-encoded",
		"https://host/a|b?c={d}":    "is percent-encoded",
		"https://hößt/":             "is percent-encoded",
		"https://me:sec^ret@host/a": "malformed URL",
		"/etc/passwd":               "write file:/etc/passwd for a path",
		"s3://bucket/x":             `scheme "s3" is not known`,
		"http:///x":                 "names no host",
		"http://me:secret@ho st/":   "malformed URL",
		"http://me:sec/ret@host/":   "malformed URL",
		"me:secret@host/x":          `scheme "me" is not known`,
		"gopher://me:secret@host/x": `scheme "gopher" is not known`,
	} {
		_, err := c.Open(t.Context(), u)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", u, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "sec") {
			t.Errorf("%s: the error holds the password: %v", u, err)
		}
		if errors.Is(err, ErrNotFound) != (want == "not found") {
			t.Errorf("%s: errors.Is(%v, ErrNotFound) = %v", u, err, want != "not found")
		}
	}
	if _, err := New(Options{}).Open(t.Context(), "file:plain"); err == nil || !strings.Contains(err.Error(), "relative") {
		t.Errorf("relative file: URL without a folder: error %v", err)
	}
}
