package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Alternatives is one file that several URLs have, the same bytes at each. It is
// read from the first URL that has it, and from the next one where that fails, also in the
// middle. Who reads knows the file's hash, and says by [Alternatives.Reject] that the bytes were
// wrong: then it can be read again, from other URLs.
//
// An Alternatives is read once at a time.
type Alternatives struct {
	c    *Client
	urls []string // that may be good
	size int64    // of the file; -1: not known

	// Of the last Open: used is how many of urls were tried when the first byte came, the one that it came from
	// included; failed, that all were, and none worked.
	used   int
	failed bool
	errs   []error // of the URLs that were rejected
}

// Alternatives returns the file of size bytes (-1: not known) that each of the URLs names.
func (c *Client) Alternatives(urls []string, size int64) *Alternatives {
	return &Alternatives{c: c, urls: urls, size: size}
}

// Open opens the file; the context holds for the reading too. That no URL works
// is an error that says why for each.
func (a *Alternatives) Open(ctx context.Context) (io.ReadCloser, error) {
	r := &alternativesReader{a: a, ctx: ctx}
	a.used, a.failed = 0, false
	if err := r.next(); err != nil {
		return nil, err
	}
	return r, nil
}

// Reject says that the bytes of the last Open were wrong, and why. It returns nil if the next Open will read from
// URLs that gave none of them, or only later ones; else the error that says what is wrong with each URL.
func (a *Alternatives) Reject(why error) error {
	if a.failed || a.used == 0 {
		return why
	}
	a.errs = append(a.errs, fmt.Errorf("%w, in %s", why, Redact(a.urls[a.used-1])))
	a.urls, a.used = a.urls[a.used:], 0
	if len(a.urls) == 0 {
		return alternativesError(a.errs)
	}
	return nil
}

// alternativesReader reads from one URL after the other.
type alternativesReader struct {
	a    *Alternatives
	ctx  context.Context
	i    int // of the URL after that of cur
	cur  io.ReadCloser
	n    int64 // bytes passed on
	errs []error
}

// Read implements [io.Reader].
func (r *alternativesReader) Read(p []byte) (int, error) {
	for {
		n, err := r.cur.Read(p)
		r.n += int64(n)
		if err == io.EOF && r.n < r.a.size {
			err = fmt.Errorf("%s: it ends after %d of %d bytes", Redact(r.a.urls[r.i-1]), r.n, r.a.size)
		}
		if err == nil || err == io.EOF {
			return n, err
		}
		if err = r.fail(err); err == nil {
			err = r.next()
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// Close closes the URL being read.
func (r *alternativesReader) Close() error { return r.cur.Close() }

// next opens the first URL that is not tried yet and can give the bytes from
// r.n on.
func (r *alternativesReader) next() error {
	if r.cur != nil {
		r.cur.Close()
	}
	r.cur = io.NopCloser(strings.NewReader("")) // so that Close and Read are safe without one
	for r.i < len(r.a.urls) {
		url := r.a.urls[r.i]
		r.i++
		body, err := r.a.c.Open(r.ctx, url)
		if err == nil {
			if err = r.skip(url, body); err == nil {
				r.cur = body
				if r.n == 0 {
					r.a.used = r.i
				}
				return nil
			}
			body.Close()
		}
		if err := r.fail(err); err != nil {
			return err
		}
	}
	r.a.failed = true
	return alternativesError(append(r.a.errs[:len(r.a.errs):len(r.a.errs)], r.errs...))
}

// skip reads over what an earlier URL gave.
func (r *alternativesReader) skip(url string, body io.Reader) error {
	switch n, err := io.CopyN(io.Discard, body, r.n); err {
	case nil:
		return nil
	case io.EOF:
		return fmt.Errorf("%s: it ends after %d bytes; another URL gave %d", Redact(url), n, r.n)
	default:
		return err
	}
}

// fail remembers why a URL failed, or returns why no other one is to be tried.
func (r *alternativesReader) fail(err error) error {
	if r.ctx.Err() != nil {
		return context.Cause(r.ctx)
	}
	r.errs = append(r.errs, err)
	return nil
}

// alternativesError makes one error of those of all URLs.
func alternativesError(errs []error) error {
	switch len(errs) {
	case 0:
		return errors.New("there is no URL that has it")
	case 1:
		return errs[0]
	}
	return manyErrors(errs)
}

// manyErrors says why each URL of a file failed.
type manyErrors []error

func (e manyErrors) Error() string {
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

func (e manyErrors) Unwrap() []error { return e }
