package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"time"
)

// ErrNotFound is in the chain of the error that says a file isn't there: no
// such file, or an HTTP status of 404, 410 or 403. (S3 answers 403 for what is
// missing to who may not list the bucket; Nix reads it in the same way.)
var ErrNotFound = errors.New("not found")

// ErrTooLarge is in the chain of the error of [Client.Get] for a file over the limit.
var ErrTooLarge = errors.New("too large")

// Options say how a client fetches. The zero value is good; each zero field
// stands for the default that it names.
type Options struct {
	// Dir is the folder that relative file: URLs are relative to. Empty: they are errors.
	Dir string
	// UserAgent is sent with each request. Default: "strata".
	UserAgent string
	// Credentials are what hosts want to see. Default: those in the URLs.
	Credentials *Credentials
	// ConnectTimeout bounds the name look-up and TCP connect, and again the TLS handshake. Default: 30 s.
	ConnectTimeout time.Duration
	// HeaderTimeout bounds the wait for a response's header. Default: 60 s.
	HeaderTimeout time.Duration
	// IdleTimeout is how long a body may stay silent, or bring less than 4 KiB, before it counts as broken. Default: 60 s.
	IdleTimeout time.Duration
	// Attempts is how often a file is tried that makes no progress, the first
	// time included. Default: 5. Each MiB that comes through is a fresh start.
	Attempts int
	// Backoff is the wait before the second attempt; it doubles with each, up
	// to 16 times, and is spread by up to a quarter. Default: 250 ms.
	Backoff time.Duration
	// MaxRetryAfter bounds the wait that a server may ask for by Retry-After. Default: 60 s.
	MaxRetryAfter time.Duration
}

// Client opens URLs. It keeps connections for reuse, and may be used by many
// goroutines at once.
type Client struct {
	o    Options
	http *http.Client
	// sleep waits, or returns the context's error. Tests put another one here.
	sleep func(context.Context, time.Duration) error
}

// New returns a client. Proxies are those of the environment (HTTP_PROXY,
// HTTPS_PROXY, NO_PROXY).
func New(o Options) *Client {
	setDefault(&o.UserAgent, "strata")
	setDefault(&o.ConnectTimeout, 30*time.Second)
	setDefault(&o.HeaderTimeout, 60*time.Second)
	setDefault(&o.IdleTimeout, 60*time.Second)
	setDefault(&o.Attempts, 5)
	setDefault(&o.Backoff, 250*time.Millisecond)
	setDefault(&o.MaxRetryAfter, 60*time.Second)
	return &Client{o: o, http: newHTTPClient(o), sleep: sleep}
}

func setDefault[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// CloseIdleConnections closes the connections that no open body uses.
func (c *Client) CloseIdleConnections() { c.http.CloseIdleConnections() }

// Open opens what rawURL names. The bytes are those that the server stores: no
// encoding is undone. A body over HTTP that breaks is resumed where it broke,
// provided that the server still has the same file by all that it says (ETag,
// length, Last-Modified); a server that says none of these is believed, so
// who reads must check a hash. The context holds for the reading too. The
// caller closes the stream.
func (c *Client) Open(ctx context.Context, rawURL string) (io.ReadCloser, error) {
	u, err := parse(rawURL)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "file" {
		return c.openFile(rawURL)
	}
	return c.openHTTP(ctx, u)
}

// Get reads all of what rawURL names, and is an error with [ErrTooLarge] when
// that is more than limit bytes. It never puts two responses together: a body
// that breaks is asked for again from its start. What the server, or a proxy that doesn't heed what
// was asked for, has packed by gzip on the way (Content-Encoding) is unpacked, unless the URL itself is of a file *.gz: some
// servers label those so.
func (c *Client) Get(ctx context.Context, rawURL string, limit int64) ([]byte, error) {
	u, err := parse(rawURL)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "file" {
		return c.getHTTP(ctx, u, limit)
	}
	f, err := c.openFile(rawURL)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := readLimited(f, limit)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Redact(rawURL), err)
	}
	return b, nil
}

func readLimited(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%w: over %d bytes", ErrTooLarge, limit)
	}
	return b, nil
}

func (c *Client) openFile(rawURL string) (io.ReadCloser, error) {
	path, err := FilePath(rawURL, c.o.Dir)
	if err != nil {
		return nil, err
	}
	// Looked at before it is opened: opening a pipe would wait for a writer.
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %s is no regular file", Redact(rawURL), path)
	}
	var f *os.File
	if err == nil {
		f, err = os.Open(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w (no file %s)", Redact(rawURL), ErrNotFound, path)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Redact(rawURL), err)
	}
	return f, nil
}
