package fetch

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// took answers a PUT of want by code.
func took(t *testing.T, want []byte, code int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		got, err := io.ReadAll(r.Body)
		if r.Method != http.MethodPut || err != nil || !bytes.Equal(got, want) || r.ContentLength != int64(len(want)) {
			t.Errorf("got %s of %d bytes, %v, want PUT of %d", r.Method, len(got), err, len(want))
		}
		w.WriteHeader(code)
	}
}

// refused reads a PUT's body and answers otherwise: a server that doesn't read may break the connection before its answer is there.
func refused(code int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		status(code, header...)(w, r)
	}
}

func TestPut(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<17) // 2 MiB: asks first
	for _, c := range []struct {
		name     string
		body     []byte
		handlers []http.HandlerFunc
		requests int64
		want     string // of the error
	}{
		{"200", []byte("x"), []http.HandlerFunc{took(t, []byte("x"), 200)}, 1, ""},
		{"201", big, []http.HandlerFunc{took(t, big, 201)}, 1, ""},
		{"204, empty", nil, []http.HandlerFunc{took(t, nil, 204)}, 1, ""},
		{"202 is not stored", []byte("x"), []http.HandlerFunc{took(t, []byte("x"), 202)}, 1, "the server answers 202 Accepted"},
		{"busy, then taken", big, []http.HandlerFunc{refused(503), took(t, big, 201)}, 2, ""},
		{"broken, then taken", big, []http.HandlerFunc{func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, took(t, big, 201)}, 2, ""},
		{"always busy", []byte("x"), []http.HandlerFunc{refused(500)}, 5, "500 Internal Server Error (gave up after 5 attempts)"},
		{"not allowed", []byte("x"), []http.HandlerFunc{refused(405)}, 1, "405 Method Not Allowed"},
		{"no credentials", big, []http.HandlerFunc{refused(401)}, 1, "it wants credentials"},
		{"full", big, []http.HandlerFunc{refused(507)}, 5, "507 Insufficient Storage"},
		{"moved", big, []http.HandlerFunc{refused(307, "Location", "/there"), took(t, big, 201)}, 2, ""},
		{"moved, for GET", big, []http.HandlerFunc{refused(302, "Location", "/there")}, 1, "redirect not followed: it turns PUT into GET"},
	} {
		client, _ := testClient(t, Options{})
		url, requests := serve(t, c.handlers...)
		err := client.Put(context.Background(), url+"/f?token=secret", bytes.NewReader(c.body), int64(len(c.body)))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: want %q, got %v", c.name, c.want, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error shows the query: %v", c.name, err)
		}
		if n := requests.Load(); n != c.requests {
			t.Errorf("%s: %d requests, want %d", c.name, n, c.requests)
		}
	}
}

// A server that takes a connection and then nothing is given up.
func TestPut_Silent(t *testing.T) {
	stop := make(chan struct{})
	url, _ := serve(t, func(http.ResponseWriter, *http.Request) { <-stop })
	defer close(stop)
	client, _ := testClient(t, Options{IdleTimeout: 20 * time.Millisecond, HeaderTimeout: 20 * time.Millisecond, Attempts: 2})
	err := client.Put(context.Background(), url, bytes.NewReader(make([]byte, 64<<20)), 64<<20)
	if err == nil || !strings.Contains(err.Error(), "gave up after 2 attempts") {
		t.Errorf("got %v", err)
	}
}

func TestPut_Stopped(t *testing.T) {
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(context.Background())
	url, _ := serve(t, func(http.ResponseWriter, *http.Request) { cancel(why); <-ctx.Done() })
	client, _ := testClient(t, Options{})
	if err := client.Put(ctx, url, strings.NewReader("x"), 1); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
}

func TestSize(t *testing.T) {
	b := make([]byte, 12345)
	client, _ := testClient(t, Options{})
	for _, c := range []struct {
		name     string
		handlers []http.HandlerFunc
		size     int64
		want     string
	}{
		{"there", []http.HandlerFunc{content(b, "")}, 12345, ""},
		{"busy, then there", []http.HandlerFunc{status(502), content(b, "")}, 12345, ""},
		{"no HEAD", []http.HandlerFunc{status(405), content(b, "")}, 12345, ""},
		{"size unknown", []http.HandlerFunc{func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() }}, -1, ""},
		{"not there", []http.HandlerFunc{status(404)}, 0, "404 Not Found"},
		{"neither HEAD nor there", []http.HandlerFunc{status(501), status(404)}, 0, "404 Not Found"},
	} {
		url, _ := serve(t, c.handlers...)
		size, err := client.Size(context.Background(), url)
		if size != c.size || (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: want %d, %q, got %d, %v", c.name, c.size, c.want, size, err)
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: want ErrNotFound, got %v", c.name, err)
		}
	}
	for _, u := range []string{"file:x", "ftp://h/x"} {
		if _, err := client.Size(context.Background(), u); err == nil {
			t.Errorf("%s: no error", u)
		}
		if err := client.Put(context.Background(), u, strings.NewReader(""), 0); err == nil {
			t.Errorf("%s: no error", u)
		}
	}
}
