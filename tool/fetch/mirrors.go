package fetch

import (
	"context"
	"fmt"
	"io"
	"strings"
)

// OpenAny opens a file that several URLs have, by open, such as [Client.Open]. It is read from
// the first that has it, and where that fails, also in the middle, from the next: so the caller must check a hash.
// Size is its length in bytes, which every URL must give; -1 if it isn't known. The caller closes the stream.
func OpenAny(ctx context.Context, open func(ctx context.Context, rawURL string) (io.ReadCloser, error), urls []string, size int64) (io.ReadCloser, error) {
	m := &mirrors{ctx: ctx, open: open, urls: urls, size: size}
	if err := m.next(); err != nil {
		return nil, err
	}
	return m, nil
}

// mirrors reads one file from the first of several URLs that has it, and goes on
// with the next one where a URL fails, also in the middle: the file is pinned by
// its hash, so the bytes must be the same.
type mirrors struct {
	ctx  context.Context
	open func(ctx context.Context, rawURL string) (io.ReadCloser, error)
	urls []string // not tried yet
	size int64    // of the file; -1: not known
	cur  io.ReadCloser
	url  string // of cur
	n    int64  // bytes passed on
	errs []error
}

// Read implements [io.Reader].
func (m *mirrors) Read(p []byte) (int, error) {
	for {
		n, err := m.cur.Read(p)
		m.n += int64(n)
		if err == io.EOF && m.n < m.size {
			err = fmt.Errorf("%s: it ends after %d of %d bytes", Redact(m.url), m.n, m.size)
		}
		if err == nil || err == io.EOF {
			return n, err
		}
		if err = m.fail(err); err == nil {
			err = m.next()
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// Close closes the URL being read.
func (m *mirrors) Close() error { return m.cur.Close() }

// next opens the first URL that is not tried yet and can give the bytes from
// m.n on; if none can, its error says why for each.
func (m *mirrors) next() error {
	if m.cur != nil {
		m.cur.Close()
	}
	m.cur = io.NopCloser(strings.NewReader("")) // so that Close and Read are safe without one
	for len(m.urls) > 0 {
		m.url, m.urls = m.urls[0], m.urls[1:]
		body, err := m.open(m.ctx, m.url)
		if err == nil {
			if err = m.skip(body); err == nil {
				m.cur = body
				return nil
			}
			body.Close()
		}
		if err := m.fail(err); err != nil {
			return err
		}
	}
	if len(m.errs) == 1 {
		return m.errs[0]
	}
	return mirrorsError(m.errs)
}

// skip reads over what an earlier URL gave.
func (m *mirrors) skip(body io.Reader) error {
	switch n, err := io.CopyN(io.Discard, body, m.n); err {
	case nil:
		return nil
	case io.EOF:
		return fmt.Errorf("%s: it ends after %d bytes; another URL gave %d", Redact(m.url), n, m.n)
	default:
		return err
	}
}

// fail remembers why a URL failed, or returns why no other one is to be tried.
func (m *mirrors) fail(err error) error {
	if m.ctx.Err() != nil {
		return context.Cause(m.ctx)
	}
	m.errs = append(m.errs, err)
	return nil
}

// mirrorsError says why each URL of a file failed.
type mirrorsError []error

func (e mirrorsError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "none of its %d URLs works: ", len(e))
	for i, err := range e {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(err.Error())
	}
	return b.String()
}

func (e mirrorsError) Unwrap() []error { return e }
