package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// expectFrom is the length in bytes from which the server is asked first whether it will take a body.
const expectFrom = 1 << 20

// Put makes the size bytes of r the file that the HTTP URL rawURL names, whole:
// what broke is sent again from its start. That the server stored it is what the
// server says (200, 201 or 204; RFC 9110, 9.3.4). A redirect that would turn the PUT into a GET is an error.
func (c *Client) Put(ctx context.Context, rawURL string, r io.ReaderAt, size int64) error {
	u, err := parseHTTP(rawURL)
	if err != nil {
		return err
	}
	body := func() (io.ReadCloser, error) {
		if size == 0 {
			return http.NoBody, nil
		}
		return io.NopCloser(io.NewSectionReader(r, 0, size)), nil
	}
	tries := retries{c: c}
	for {
		_, err := c.send(ctx, http.MethodPut, u, body, size)
		if err == nil {
			return nil
		}
		if err := tries.again(ctx, 0, err); err != nil {
			return named(u, err)
		}
	}
}

// Size returns the length in bytes of what the HTTP URL rawURL names, -1 if the server
// doesn't say, without reading it. What isn't there is an error with [ErrNotFound].
func (c *Client) Size(ctx context.Context, rawURL string) (int64, error) {
	u, err := parseHTTP(rawURL)
	if err != nil {
		return 0, err
	}
	method := http.MethodHead
	tries := retries{c: c}
	for {
		size, err := c.send(ctx, method, u, nil, 0)
		if err == nil {
			return size, nil
		}
		var status *statusError
		if errors.As(err, &status) && method == http.MethodHead && (status.code == http.StatusMethodNotAllowed || status.code == http.StatusNotImplemented) {
			method = http.MethodGet // Its body isn't read.
			continue
		}
		if err := tries.again(ctx, 0, err); err != nil {
			return 0, named(u, err)
		}
	}
}

func parseHTTP(rawURL string) (*url.URL, error) {
	u, err := parse(rawURL)
	if err == nil && u.Scheme == "file" {
		err = fmt.Errorf("%s: want an http: or https: URL", redactURL(u))
	}
	return u, err
}

// send sends one request, with a body of size bytes if body isn't nil, and returns the
// length of the response, which it doesn't read, if its status says that all is well. Its errors don't name the URL.
func (c *Client) send(ctx context.Context, method string, u *url.URL, body func() (io.ReadCloser, error), size int64) (int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req := (&http.Request{
		Method: method,
		URL:    u,
		Host:   u.Host,
		Header: http.Header{
			"User-Agent":      {c.o.UserAgent},
			"Accept-Encoding": {"identity"},
		},
	}).WithContext(ctx)
	if body != nil {
		idle := time.AfterFunc(c.o.IdleTimeout, func() { cancel(errStalled) })
		defer idle.Stop()
		req.GetBody = func() (io.ReadCloser, error) {
			b, err := body()
			if err != nil || b == http.NoBody {
				return b, err
			}
			return &busyBody{b, idle, c.o}, nil
		}
		var err error
		if req.Body, err = req.GetBody(); err != nil {
			return 0, permanentError{err}
		}
		req.ContentLength = size
		req.Header.Set("Content-Type", "application/octet-stream")
		if size >= expectFrom {
			req.Header.Set("Expect", "100-continue")
		}
	}
	resp, err := c.do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusOK && method == http.MethodGet:
		return resp.ContentLength, nil
	case resp.StatusCode == http.StatusOK,
		method == http.MethodPut && (resp.StatusCode == http.StatusCreated || resp.StatusCode == http.StatusNoContent):
		io.CopyN(io.Discard, resp.Body, maxDrain) // So that the connection can be used again.
		return resp.ContentLength, nil
	}
	return 0, newStatusError(resp)
}

// busyBody puts off the idle time-out as long as the server takes bytes. Behind
// the last of them the time-out for the response's header counts.
type busyBody struct {
	io.ReadCloser
	idle *time.Timer
	o    Options
}

func (b *busyBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.idle.Reset(b.o.IdleTimeout)
	if err == io.EOF {
		b.idle.Reset(b.o.IdleTimeout + b.o.HeaderTimeout)
	}
	return n, err
}
