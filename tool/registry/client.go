package registry

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Options say how a client speaks to registries. The zero value is good; each zero
// field stands for the default that it names.
type Options struct {
	// Keychain knows the credentials. Default: none.
	Keychain authn.Keychain
	// Insecure are the registries, HOST or HOST:PORT, with which plain HTTP may be spoken though they are no
	// loopback addresses.
	Insecure []string
	// RootCAs are the authorities whose certificates are taken. Default: the system's.
	RootCAs *x509.CertPool
	// UserAgent is sent with each request, before go-containerregistry's own. Default: "strata".
	UserAgent string
	// Jobs is how many blobs are under way at once. Default: 8.
	Jobs int
	// ChunkSize is the most that one request sends of a blob, in bytes. Default: all of it, or what the registry takes.
	ChunkSize int64
	// Attempts is how often something is tried that makes no progress, the first time included. Default: 5.
	Attempts int
	// Backoff is the wait before the second attempt; it doubles with each, up to 16 times, and is spread by up to a
	// quarter. Default: 250 ms.
	Backoff time.Duration
	// MaxRetryAfter bounds the wait that a registry may ask for by Retry-After. Default: 60 s.
	MaxRetryAfter time.Duration
	// IdleTimeout is how long a registry may neither take nor give a byte. Default: 60 s.
	IdleTimeout time.Duration
	// Progress, if not nil, is told what becomes of each blob. It is called by many goroutines at once.
	Progress func(Event)
}

// Client speaks to registries. It may be used by many goroutines at once.
type Client struct {
	o     Options
	guard *guard
}

// New returns a client. Proxies are those of the environment (HTTP_PROXY, HTTPS_PROXY, NO_PROXY).
func New(o Options) *Client {
	setDefault(&o.Keychain, authn.Keychain(authn.NewMultiKeychain()))
	setDefault(&o.UserAgent, "strata")
	setDefault(&o.Jobs, 8)
	setDefault(&o.Attempts, 5)
	setDefault(&o.Backoff, 250*time.Millisecond)
	setDefault(&o.MaxRetryAfter, time.Minute)
	setDefault(&o.IdleTimeout, time.Minute)
	if o.Progress == nil {
		o.Progress = func(Event) {}
	}
	return &Client{o: o, guard: newGuard(o)}
}

func setDefault[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}

// Traffic is what has gone over the network for a client: requests, and bytes of bodies, in either direction.
func (c *Client) Traffic() (requests, sent, received int64) {
	return c.guard.requests.Load(), c.guard.sent.Load(), c.guard.received.Load()
}

// CloseIdleConnections closes the connections that nothing uses.
func (c *Client) CloseIdleConnections() { c.guard.inner.CloseIdleConnections() }

// Repository reads the name of a repository, with the registry before it unless that is docker's.
func (c *Client) Repository(s string) (name.Repository, error) {
	r, err := name.NewRepository(s, c.nameOptions(s)...)
	return r, badName(s, err)
}

// Reference reads REPOSITORY, REPOSITORY:TAG or REPOSITORY@DIGEST. A name alone means the tag "latest".
func (c *Client) Reference(s string) (name.Reference, error) {
	r, err := name.ParseReference(s, c.nameOptions(s)...)
	return r, badName(s, err)
}

func badName(s string, err error) error {
	if err != nil {
		if lower := strings.ToLower(s); lower != s {
			if _, err := name.ParseReference(lower); err == nil {
				return fmt.Errorf("reference %q: the name of a repository has no capital letters", s)
			}
		}
		return fmt.Errorf("reference %q: want [REGISTRY/]REPOSITORY with :TAG, @DIGEST or nothing behind it: %w", s, err)
	}
	return nil
}

func (c *Client) nameOptions(s string) []name.Option {
	host, _, _ := strings.Cut(s, "/")
	if slices.Contains(c.o.Insecure, host) {
		return []name.Option{name.Insecure}
	}
	return nil
}

// repository is a repository that the client is logged in to.
type repository struct {
	c    *Client
	name name.Repository
	http *http.Client
}

// login returns the repository, for actions such as "pull" or "push,pull" (distribution's token scopes), and for reading from others.
func (c *Client) login(ctx context.Context, repo name.Repository, actions string, readable ...name.Repository) (*repository, error) {
	scopes := []string{repo.Scope(actions)}
	for _, r := range readable {
		scopes = append(scopes, r.Scope(transport.PullScope))
	}
	var t http.RoundTripper
	err := c.retry(ctx, nil, func() error {
		auth, err := authn.Resolve(ctx, c.o.Keychain, repo)
		if err != nil {
			return permanentError{fmt.Errorf("credentials: %w", err)}
		}
		c.guard.secrets.addAuth(ctx, auth)
		ctx, watch := c.watch(ctx)
		defer watch.stop()
		t, err = transport.NewWithContext(ctx, repo.Registry, auth, transport.NewUserAgent(c.guard, c.o.UserAgent), scopes)
		return c.failure(ctx, err, repo)
	})
	if err != nil {
		return nil, fmt.Errorf("registry %s: %w", repo.RegistryStr(), err)
	}
	return &repository{c, repo, &http.Client{Transport: t, CheckRedirect: checkRedirect}}, nil
}

// maxRedirects is what browsers and curl users are used to, roughly.
const maxRedirects = 10

func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return permanentError{fmt.Errorf("more than %d redirects in a row", maxRedirects)}
	}
	if req.Method != via[0].Method { // What net/http makes of a PUT that is answered by 301, 302 or 303.
		return permanentError{fmt.Errorf("a redirect turns %s into %s", via[0].Method, req.Method)}
	}
	req.Header.Del("Referer") // The referring URL's query may be a credential of another host.
	return nil
}

// url is the URL of something in the repository, such as "blobs/sha256:…".
func (r *repository) url(path string) *url.URL {
	return &url.URL{Scheme: r.name.Scheme(), Host: r.name.RegistryStr(), Path: "/v2/" + r.name.RepositoryStr() + "/" + path}
}

// request is one request to a registry.
type request struct {
	method string
	url    *url.URL
	header http.Header
	// body opens the body, once for each time that it is sent; nil: there is none. length is its size in bytes.
	body   func() io.ReadCloser
	length int64
	// patience is how much longer than usual the answer may take.
	patience time.Duration
}

// answer is a registry's answer, read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
	// from is the URL that answered in the end, to which a Location is relative.
	from *url.URL
}

// maxAnswer bounds what is read of an answer, in bytes: no manifest may be larger.
const maxAnswer = 4 << 20

// do sends a request once. A status that is not wanted is a [statusError].
func (r *repository) do(ctx context.Context, q request, want ...int) (*answer, error) {
	ctx, watch := r.c.watch(ctx)
	defer watch.stop()
	resp, err := r.send(ctx, q, watch)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, r.c.failure(ctx, err, r.name)
	}
	if !slices.Contains(want, resp.StatusCode) {
		return nil, r.c.newStatusError(r.name, resp, b)
	}
	if len(b) > maxAnswer {
		return nil, permanentError{fmt.Errorf("the registry's answer has over %d bytes", maxAnswer)}
	}
	return &answer{resp.StatusCode, resp.Header, b, resp.Request.URL}, nil
}

// send sends a request once and returns the answer, whatever its status. The watch is the context's.
func (r *repository) send(ctx context.Context, q request, w *watch) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, q.method, q.url.String(), nil)
	if err != nil {
		return nil, permanentError{errors.New("malformed URL")}
	}
	for key, values := range q.header {
		req.Header[key] = values
	}
	w.extra.Store(int64(q.patience))
	if q.body != nil && q.length > 0 {
		// Opened by the guard, anew for each time that login or a redirect has it sent.
		req.GetBody = func() (io.ReadCloser, error) { return &watched{q.body(), w}, nil }
		req.Body, _ = req.GetBody()
		req.ContentLength = q.length
		if q.length >= expectFrom {
			req.Header.Set("Expect", "100-continue")
		}
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return nil, r.c.failure(ctx, err, r.name)
	}
	resp.Body = &watched{resp.Body, w}
	return resp, nil
}

// expectFrom is the length in bytes from which a registry is asked first whether it will take a body.
const expectFrom = 1 << 20

// retry calls try until it succeeds, fails for good, or has failed too often. Where place says how far things are, in bytes,
// progress makes earlier failures forgotten.
func (c *Client) retry(ctx context.Context, place func() int64, try func() error) error {
	failures, since := 0, int64(0)
	for {
		err := try()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !temporary(err) {
			return err
		}
		if place != nil {
			if at := place(); at >= since+freshStart {
				failures, since = 0, at
			}
		}
		if failures++; failures >= c.o.Attempts {
			return fmt.Errorf("%w (gave up after %d attempts)", err, failures)
		}
		wait := c.o.Backoff << min(failures-1, maxDoublings)
		wait += time.Duration(rand.Int64N(int64(wait)/4 + 1)) // so that a crowd of clients doesn't come back at once
		var status *statusError
		if errors.As(err, &status) {
			wait = max(wait, min(status.retryAfter, c.o.MaxRetryAfter))
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		}
	}
}

const (
	// freshStart is the progress in bytes that makes earlier failures forgotten.
	freshStart = 1 << 20
	// maxDoublings bounds the back-off.
	maxDoublings = 4
)
