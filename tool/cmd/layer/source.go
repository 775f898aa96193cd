package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/rules-strata/rules_strata/tool/fetch"
)

// openURL opens what a URL names.
type openURL func(ctx context.Context, rawURL string) (io.ReadCloser, error)

// opener is the client that all NARs of a run share. The action's environment says what credentials there are: Bazel passes
// on $NETRC and $STRATA_CREDENTIAL_HELPER by --action_env.
func opener() (openURL, error) {
	credentials, err := fetch.NewCredentials()
	if err != nil {
		return nil, err
	}
	return fetch.New(fetch.Options{UserAgent: "strata-layer", Credentials: credentials}).Open, nil
}

// source returns how to open the NAR file of n.
func (n *narArgs) source(open openURL) func(context.Context) (io.ReadCloser, error) {
	if n.path != "" {
		return func(ctx context.Context) (io.ReadCloser, error) { return openFile(ctx, n.path) }
	}
	return func(ctx context.Context) (io.ReadCloser, error) {
		m := &mirrors{ctx: ctx, open: open, urls: n.urls, size: n.file.FileSize}
		if err := m.next(); err != nil {
			return nil, err
		}
		return m, nil
	}
}

// openFile opens a file. Once ctx ends, its reads fail, and so does opening a
// pipe that nobody writes to, which waits.
func openFile(ctx context.Context, path string) (io.ReadCloser, error) {
	type opened struct {
		f   *os.File
		err error
	}
	done := make(chan opened, 1)
	go func() {
		f, err := os.Open(path)
		done <- opened{f, err}
	}()
	select {
	case o := <-done:
		if o.err != nil {
			return nil, o.err
		}
		stop := context.AfterFunc(ctx, func() { o.f.Close() })
		return &cancellableFile{o.f, stop}, nil
	case <-ctx.Done(): // The goroutine that waits ends with the program.
		return nil, context.Cause(ctx)
	}
}

type cancellableFile struct {
	*os.File
	stop func() bool
}

func (f *cancellableFile) Close() error {
	f.stop()
	return f.File.Close()
}

// mirrors reads one file from the first of several URLs that has it, and goes on
// with the next one where a URL fails, also in the middle: the file is pinned by
// its hash, so the bytes must be the same.
type mirrors struct {
	ctx  context.Context
	open openURL
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
			err = fmt.Errorf("%s: it ends after %d of %d bytes", fetch.Redact(m.url), m.n, m.size)
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
		return fmt.Errorf("%s: it ends after %d bytes; another URL gave %d", fetch.Redact(m.url), n, m.n)
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
