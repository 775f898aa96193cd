package registry

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
)

// guard is what every request goes through in the end, whoever makes it:
// the client, the login, a redirect, a Location. It speaks plain HTTP with no host that it may not, opens bodies
// anew for each time that they are sent, and counts.
type guard struct {
	inner    *http.Transport
	insecure []string
	secrets  secrets

	requests, sent, received atomic.Int64
}

func newGuard(o Options) *guard {
	dialer := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	return &guard{
		insecure: o.Insecure,
		inner: &http.Transport{
			Proxy:                 proxy,
			DialContext:           dialer.DialContext,
			ForceAttemptHTTP2:     true,
			TLSHandshakeTimeout:   30 * time.Second,
			TLSClientConfig:       &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12},
			ExpectContinueTimeout: time.Second,
			IdleConnTimeout:       90 * time.Second,
			MaxIdleConnsPerHost:   o.Jobs,
			// A header is some hundred bytes; the default of 1 MiB is a gift to hostile servers.
			MaxResponseHeaderBytes: 256 << 10,
			DisableCompression:     true,
		},
	}
}

// proxy is the environment's, with an error that doesn't quote it: it may hold a password.
func proxy(req *http.Request) (*url.URL, error) {
	u, err := http.ProxyFromEnvironment(req)
	if err != nil {
		return nil, permanentError{errors.New("the environment's proxy address is malformed (HTTP_PROXY, HTTPS_PROXY)")}
	}
	return u, nil
}

// RoundTrip implements [http.RoundTripper].
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	g.secrets.addHeader(req.Header.Get("Authorization"))
	if req.Response != nil { // It follows a redirect, to a store of blobs perhaps.
		g.secrets.addQuery(req.URL)
	}
	if err := g.check(req.URL); err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, permanentError{err}
	}
	if req.GetBody != nil {
		// What follows a 401 sends the same request again, whose body may be read already.
		body, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		req.Body.Close()
		req = req.Clone(req.Context())
		req.Body = counted{body, &g.sent}
	}
	g.requests.Add(1)
	resp, err := g.inner.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = counted{resp.Body, &g.received}
	return resp, nil
}

// check refuses what is neither HTTPS nor allowed to be plain HTTP.
func (g *guard) check(u *url.URL) error {
	switch {
	case u.Scheme == "https", u.Scheme == "http" && g.mayBePlain(u):
		return nil
	case u.Scheme == "http":
		return &plainHTTPError{u.Host}
	}
	return fmt.Errorf("the registry leads to a URL of the scheme %q: want https or http", u.Scheme)
}

// mayBePlain reports whether plain HTTP may be spoken with a host: it is on loopback (RFC 6761 for *.localhost), or the user named it.
func (g *guard) mayBePlain(u *url.URL) bool {
	host := u.Hostname()
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
		return true
	}
	return slices.Contains(g.insecure, u.Host)
}

// plainHTTPError says that a host would be spoken to in the clear.
type plainHTTPError struct{ host string }

func (e *plainHTTPError) Error() string {
	return fmt.Sprintf("plain HTTP would be spoken with %s, where anyone on the way can read and change what is sent", e.host)
}

// Hint says how to allow it.
func (e *plainHTTPError) Hint() string {
	return fmt.Sprintf("if that is meant, allow it by --insecure %s", e.host)
}

// counted adds up what is read.
type counted struct {
	io.ReadCloser
	n *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// watch ends a context when nothing has moved for too long.
type watch struct {
	timer  *time.Timer
	idle   time.Duration
	extra  atomic.Int64 // time.Duration, for what the registry does once it has all of a body
	cancel context.CancelCauseFunc
}

func (c *Client) watch(ctx context.Context) (context.Context, *watch) {
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, &watch{timer: time.AfterFunc(c.o.IdleTimeout, func() { cancel(errStalled) }), idle: c.o.IdleTimeout, cancel: cancel}
}

// moved puts off the end.
func (w *watch) moved(atEnd bool) {
	d := w.idle
	if atEnd {
		d += time.Duration(w.extra.Load())
	}
	w.timer.Reset(d)
}

func (w *watch) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// watched is a body whose reading puts off the end of its context.
type watched struct {
	io.ReadCloser
	w *watch
}

func (b *watched) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 || err == io.EOF {
		b.w.moved(err == io.EOF)
	}
	return n, err
}

// secrets are the credentials that were used: registries may put into an error what they were sent.
type secrets struct {
	mu   sync.Mutex
	seen map[string]bool
}

// minSecret is the length in bytes from which a secret is told from text that happens to be the same.
const minSecret = 4

func (s *secrets) add(texts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range texts {
		if len(t) < minSecret || s.seen[t] {
			continue
		}
		if s.seen == nil {
			s.seen = map[string]bool{}
		}
		s.seen[t] = true
	}
}

func (s *secrets) addAuth(ctx context.Context, a authn.Authenticator) {
	if c, err := authn.Authorization(ctx, a); err == nil && c != nil {
		s.add(c.Password, c.Auth, c.IdentityToken, c.RegistryToken)
	}
}

// addHeader adds what an Authorization header has behind its scheme.
func (s *secrets) addHeader(value string) {
	scheme, secret, _ := strings.Cut(value, " ")
	s.add(secret)
	if strings.EqualFold(scheme, "basic") {
		if b, err := base64.StdEncoding.DecodeString(secret); err == nil {
			_, password, _ := strings.Cut(string(b), ":")
			s.add(password)
		}
	}
}

// minSigned is the length in bytes from which a value in a redirect's query is taken for a part of a signature.
const minSigned = 16

// addQuery adds what a signed URL is signed by. Who has it may fetch the blob, and push it if it was signed for that.
func (s *secrets) addQuery(u *url.URL) {
	for part := range strings.SplitSeq(u.RawQuery, "&") {
		_, value, _ := strings.Cut(part, "=")
		if len(value) < minSigned {
			continue
		}
		s.add(value)
		if plain, err := url.QueryUnescape(value); err == nil && !strings.HasPrefix(plain, "sha256:") {
			s.add(plain)
		}
	}
}

// hide replaces all secrets in a text.
func (s *secrets) hide(text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	// Longer ones first: one may be part of another.
	for _, secret := range slices.SortedFunc(maps.Keys(s.seen), func(a, b string) int { return len(b) - len(a) }) {
		text = strings.ReplaceAll(text, secret, "***")
	}
	return text
}
