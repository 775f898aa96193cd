package fetch

import (
	"compress/flate"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// maxRedirects is what browsers and curl users are used to, roughly.
	maxRedirects = 10
	// maxConnsPerHost is how many connections stay open for reuse: as many as
	// a walk over a cache uses at once.
	maxConnsPerHost = 32
	// freshStart is the progress in bytes that makes earlier failures forgotten.
	freshStart = 1 << 20
	// minProgress is what a body must bring in bytes in each idle time-out, or else it counts as silent.
	minProgress = 4 << 10
	// maxDrain is how much of an error's body is read so that its connection can be used again.
	maxDrain = 64 << 10
	// maxDoublings bounds the back-off.
	maxDoublings = 4
)

func newHTTPClient(o Options) *http.Client {
	dialer := &net.Dialer{Timeout: o.ConnectTimeout, KeepAlive: 30 * time.Second}
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                 proxy,
			DialContext:           dialer.DialContext,
			ForceAttemptHTTP2:     true,
			TLSHandshakeTimeout:   o.ConnectTimeout,
			ResponseHeaderTimeout: o.HeaderTimeout,
			ExpectContinueTimeout: time.Second,
			IdleConnTimeout:       90 * time.Second,
			MaxIdleConnsPerHost:   maxConnsPerHost,
			// A header is some hundred bytes; the default of 1 MiB is a gift to hostile servers.
			MaxResponseHeaderBytes: 256 << 10,
			// net/http itself would only give the status' text, as an error that might pass.
			OnProxyConnectResponse: func(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
				if resp.StatusCode == http.StatusOK {
					return nil
				}
				return fmt.Errorf("by the proxy: %w", newStatusError(resp))
			},
			// File hashes cover the stored bytes: nothing may be unpacked on the way.
			DisableCompression: true,
		},
		CheckRedirect: checkRedirect,
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

// errRedirect marks redirects that are not followed. Trying again wouldn't help.
var errRedirect = errors.New("redirect not followed")

func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return fmt.Errorf("%w: more than %d in a row", errRedirect, maxRedirects)
	}
	if s := req.URL.Scheme; s != "http" && s != "https" {
		return fmt.Errorf("%w: it leads to the scheme %q", errRedirect, s)
	}
	if via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme == "http" {
		return fmt.Errorf("%w: it leads from https to http", errRedirect)
	}
	if req.Method != via[0].Method { // What net/http makes of a PUT that is answered by 301, 302 or 303.
		return fmt.Errorf("%w: it turns %s into %s", errRedirect, via[0].Method, req.Method)
	}
	redirected(req)
	return nil
}

// statusError is a response that isn't what was asked for.
type statusError struct {
	code       int
	retryAfter time.Duration
	// refusal and hint say what credentials have to do with it, if anything.
	refusal, hint string
}

// newStatusError reads what is left of a response that isn't what was asked for, so that its connection can be used again.
func newStatusError(resp *http.Response) *statusError {
	drain(resp)
	e := &statusError{code: resp.StatusCode, retryAfter: retryAfter(resp.Header.Get("Retry-After"), time.Now())}
	switch e.code {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		e.refusal, e.hint = refusal(resp)
	}
	return e
}

func drain(resp *http.Response) {
	io.CopyN(io.Discard, resp.Body, maxDrain)
	resp.Body.Close()
}

func (e *statusError) Error() string {
	text := strings.TrimRight(fmt.Sprintf("the server answers %d %s", e.code, http.StatusText(e.code)), " ")
	if e.refusal != "" {
		text += "; " + e.refusal
	}
	return text
}

// Hint says what may help.
func (e *statusError) Hint() string { return e.hint }

func (e *statusError) Unwrap() error {
	switch e.code {
	case http.StatusNotFound, http.StatusGone, http.StatusForbidden:
		return ErrNotFound
	}
	return nil
}

// temporary reports whether asking again may help.
func (e *statusError) temporary() bool {
	switch e.code {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported, http.StatusNetworkAuthenticationRequired:
		return false
	}
	return e.code >= 500
}

// errStalled is why a silent body's request is cancelled.
var errStalled = errors.New("the server went silent")

// permanentError is an error that trying again won't mend.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// temporary reports whether err, of a request or of a body, may pass.
func temporary(err error) bool {
	var status *statusError
	var permanent permanentError
	var cert *tls.CertificateVerificationError
	var dns *net.DNSError
	switch {
	case errors.As(err, &status):
		return status.temporary()
	case errors.As(err, &permanent), errors.As(err, &cert), errors.Is(err, errRedirect):
		return false
	case errors.As(err, &dns):
		return !dns.IsNotFound
	}
	return true
}

// request sends one GET for u from offset on, and returns the response, whose
// status is 200 or, for an offset above 0, 206. Its errors don't name the URL.
func (c *Client) request(ctx context.Context, u *url.URL, offset int64, ifRange string) (*http.Response, error) {
	req := (&http.Request{
		Method: http.MethodGet,
		URL:    u,
		Host:   u.Host,
		Header: http.Header{
			"User-Agent":      {c.o.UserAgent},
			"Accept-Encoding": {"identity"},
		},
	}).WithContext(ctx)
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
		if ifRange != "" {
			req.Header.Set("If-Range", ifRange)
		}
	}
	resp, err := c.do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK || offset > 0 && resp.StatusCode == http.StatusPartialContent {
		return resp, nil
	}
	return nil, newStatusError(resp)
}

// retryAfter reads the header of that name: seconds or a date (RFC 9110, 10.2.3).
func retryAfter(value string, now time.Time) time.Duration {
	if s, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(s) * time.Second
	}
	if t, err := http.ParseTime(value); err == nil {
		return max(t.Sub(now), 0)
	}
	return 0
}

// retries counts the failures of one file.
type retries struct {
	c        *Client
	failures int
	// since is the offset of the last failure, for the fresh start.
	since int64
}

// again waits before the next attempt after err at offset, or returns the error to give up with.
func (r *retries) again(ctx context.Context, offset int64, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !temporary(err) {
		return err
	}
	if offset-r.since >= freshStart {
		r.failures = 0
	}
	r.since = offset
	r.failures++
	if r.failures >= r.c.o.Attempts {
		if r.failures == 1 {
			return err
		}
		return fmt.Errorf("%w (gave up after %d attempts)", err, r.failures)
	}
	wait := r.c.o.Backoff << min(r.failures-1, maxDoublings)
	wait += time.Duration(rand.Int64N(int64(wait)/4 + 1)) // so that a crowd of clients doesn't come back at once
	var status *statusError
	if errors.As(err, &status) {
		wait = max(wait, min(status.retryAfter, r.c.o.MaxRetryAfter))
	}
	return r.c.sleep(ctx, wait)
}

// named puts the URL before an error.
func named(u *url.URL, err error) error {
	return fmt.Errorf("%s: %w", redactURL(u), err)
}

func (c *Client) openHTTP(ctx context.Context, u *url.URL) (io.ReadCloser, error) {
	b := &body{ctx: ctx, u: u, retries: retries{c: c}, total: -1}
	if err := b.connect(); err != nil {
		return nil, named(u, err)
	}
	return b, nil
}

func (c *Client) getHTTP(ctx context.Context, u *url.URL, limit int64) ([]byte, error) {
	r := retries{c: c}
	for {
		b, err := c.getOnce(ctx, u, limit)
		if err == nil {
			return b, nil
		}
		if errors.Is(err, ErrTooLarge) {
			return nil, named(u, err)
		}
		if err := r.again(ctx, 0, err); err != nil {
			return nil, named(u, err)
		}
	}
}

func (c *Client) getOnce(ctx context.Context, u *url.URL, limit int64) ([]byte, error) {
	b := &body{ctx: ctx, u: u, retries: retries{c: c}, total: -1}
	if err := b.connectOnce(); err != nil {
		return nil, err
	}
	defer b.Close()
	in := io.Reader(readerFunc(b.readOnce))
	switch encoding := strings.ToLower(b.resp.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
	case "gzip", "x-gzip":
		if strings.HasSuffix(u.Path, ".gz") {
			break
		}
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, unpackError(err)
		}
		in = readerFunc(func(p []byte) (int, error) {
			n, err := z.Read(p)
			return n, unpackError(err)
		})
	default:
		return nil, permanentError{fmt.Errorf("the server sends it packed (Content-Encoding: %.40q), which it was asked not to do", encoding)}
	}
	return readLimited(in, limit)
}

// unpackError makes a permanent error of what is wrong with packed bytes: asking again wouldn't mend it.
func unpackError(err error) error {
	var corrupt flate.CorruptInputError
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || errors.As(err, &corrupt) {
		return permanentError{fmt.Errorf("what the server sends packed (Content-Encoding: gzip) can't be unpacked: %w", err)}
	}
	return err
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// body is the stream of one file over HTTP, through as many responses as it takes.
type body struct {
	ctx     context.Context
	u       *url.URL
	retries retries

	// Of the current response; nil between two.
	resp   *http.Response
	cancel context.CancelCauseFunc
	idle   *time.Timer
	// Of the current idle time-out: how much of it is left, and what has come.
	idleLeft time.Duration
	idleRead int

	offset int64 // bytes passed on
	err    error // of the last Read, when it was final

	// What the first response said of the file.
	total        int64 // -1: not known
	etag         string
	lastModified string
	noRange      bool // the server can't resume
}

// connect makes a response for the bytes from b.offset on.
func (b *body) connect() error {
	for {
		err := b.connectOnce()
		if err == nil {
			return nil
		}
		if err := b.retries.again(b.ctx, b.offset, err); err != nil {
			return err
		}
	}
}

func (b *body) connectOnce() error {
	ctx, cancel := context.WithCancelCause(b.ctx)
	from := b.offset
	if b.noRange {
		from = 0
	}
	resp, err := b.retries.c.request(ctx, b.u, from, b.ifRange())
	if err != nil {
		cancel(nil)
		var status *statusError
		if from > 0 && errors.As(err, &status) && status.code == http.StatusRequestedRangeNotSatisfiable {
			b.noRange = true // The next attempt asks for all and finds out what changed.
			return errors.New(status.Error())
		}
		return err
	}
	b.resp, b.cancel = resp, cancel
	b.idle = time.AfterFunc(b.retries.c.o.IdleTimeout, func() { cancel(errStalled) })
	b.idle.Stop()
	b.idleLeft, b.idleRead = b.retries.c.o.IdleTimeout, 0
	if err := b.begin(from); err != nil {
		b.disconnect()
		return err
	}
	return nil
}

// ifRange is the validator that keeps a resumed body from being mixed of two
// files. Only a strong ETag is fit for it (RFC 9110, 13.1.5).
func (b *body) ifRange() string {
	if strings.HasPrefix(b.etag, `"`) {
		return b.etag
	}
	return ""
}

// begin checks that the response is of the same file as those before it, and
// skips what was passed on already.
func (b *body) begin(from int64) error {
	h := b.resp.Header
	total, start := b.resp.ContentLength, int64(0)
	if b.resp.StatusCode == http.StatusPartialContent {
		var err error
		if start, total, err = parseContentRange(h.Get("Content-Range")); err != nil {
			return permanentError{err}
		}
		if start != from {
			return permanentError{fmt.Errorf("asked for the bytes from %d on, the server sends those from %d on", from, start)}
		}
	}
	if b.offset == 0 {
		b.total, b.etag, b.lastModified = total, h.Get("ETag"), h.Get("Last-Modified")
		return nil
	}
	changed := func(what, before, now string) error {
		return permanentError{fmt.Errorf("the file changed while it was read: %s was %s, is %s", what, before, now)}
	}
	if etag := h.Get("ETag"); b.etag != "" && etag != "" && etag != b.etag {
		return changed("ETag", b.etag, etag)
	}
	if t := h.Get("Last-Modified"); b.lastModified != "" && t != "" && t != b.lastModified {
		return changed("Last-Modified", b.lastModified, t)
	}
	if b.total >= 0 && total >= 0 && total != b.total {
		return changed("its size", strconv.FormatInt(b.total, 10), strconv.FormatInt(total, 10))
	}
	if start == 0 {
		b.noRange = true
		n, err := io.CopyN(io.Discard, readerFunc(b.readOnce), b.offset)
		if err == io.EOF {
			return permanentError{fmt.Errorf("the file changed while it was read: %d bytes were there, now it ends after %d", b.offset, n)}
		}
		return err
	}
	return nil
}

// parseContentRange reads "bytes first-last/total", total -1 for "*".
func parseContentRange(s string) (start, total int64, err error) {
	bad := func() (int64, int64, error) {
		return 0, 0, fmt.Errorf("the server answers 206 with Content-Range %q", s)
	}
	spec, ok := strings.CutPrefix(s, "bytes ")
	if !ok {
		return bad()
	}
	span, size, ok := strings.Cut(spec, "/")
	first, last, ok2 := strings.Cut(span, "-")
	if !ok || !ok2 {
		return bad()
	}
	start, err1 := strconv.ParseInt(first, 10, 64)
	end, err2 := strconv.ParseInt(last, 10, 64)
	total = -1
	var err3 error
	if size != "*" {
		total, err3 = strconv.ParseInt(size, 10, 64)
	}
	if err1 != nil || err2 != nil || err3 != nil || start < 0 || end < start || size != "*" && end >= total {
		return bad()
	}
	return start, total, nil
}

// readOnce reads from the current response under the idle time-out, which runs while the server is waited for.
func (b *body) readOnce(p []byte) (int, error) {
	start := time.Now()
	b.idle.Reset(b.idleLeft)
	n, err := b.resp.Body.Read(p)
	b.idle.Stop()
	b.idleLeft -= time.Since(start)
	if b.idleRead += n; b.idleRead >= minProgress {
		b.idleLeft, b.idleRead = b.retries.c.o.IdleTimeout, 0
	}
	if err != nil && err != io.EOF {
		if cause := context.Cause(b.resp.Request.Context()); cause != nil {
			err = cause
		}
	}
	return n, err
}

// disconnect gives up the current response.
func (b *body) disconnect() {
	if b.resp == nil {
		return
	}
	b.idle.Stop()
	b.cancel(nil)
	b.resp.Body.Close()
	b.resp = nil
}

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if b.resp == nil {
			if err := b.connect(); err != nil {
				return 0, b.fail(err)
			}
		}
		n, err := b.readOnce(p)
		b.offset += int64(n)
		if err == io.EOF && b.total >= 0 && b.offset < b.total {
			err = io.ErrUnexpectedEOF // A 206 may end before the file does.
		}
		switch {
		case err == io.EOF:
			b.err = io.EOF
			b.disconnect()
			return n, io.EOF
		case err != nil:
			b.disconnect()
			if err := b.retries.again(b.ctx, b.offset, err); err != nil {
				return n, b.fail(err)
			}
			if n == 0 {
				continue
			}
		}
		return n, nil
	}
}

func (b *body) fail(err error) error {
	b.err = named(b.u, err)
	if b.offset > 0 {
		b.err = fmt.Errorf("%w (after %d bytes)", b.err, b.offset)
	}
	return b.err
}

// Close implements [io.Closer]. It breaks the connection unless all was read.
func (b *body) Close() error {
	b.disconnect()
	if b.err == nil {
		b.err = fmt.Errorf("%s: read after close", redactURL(b.u))
	}
	return nil
}
