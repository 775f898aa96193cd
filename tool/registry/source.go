package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/store"
)

// Source is where blobs may be: a layout, files, a cache, another repository.
type Source interface {
	// OpenAt opens a blob from an offset on. A blob that isn't there is an error with [fs.ErrNotExist]. Nothing but the
	// digest, which who reads checks, says whether the bytes are right. The caller closes it.
	OpenAt(ctx context.Context, d ocispec.Descriptor, offset int64) (io.ReadCloser, error)
}

// Files are blobs in files, by their digests. Names may be of files that don't exist (yet, or here).
type Files map[string]string

// OpenAt implements [Source].
func (f Files) OpenAt(_ context.Context, d ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	path, ok := f[d.Digest.String()]
	if !ok {
		return nil, fmt.Errorf("no file for it: %w", fs.ErrNotExist)
	}
	return OpenFile(path, d, offset)
}

// OpenFile opens a blob that is in a file of its own from an offset on, as [Source] has it. Its size is checked.
func OpenFile(path string, d ocispec.Descriptor, offset int64) (_ io.ReadCloser, err error) {
	info, err := os.Stat(path) // Before it is opened: opening a pipe would wait for a writer.
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() != d.Size {
		return nil, fmt.Errorf("%s: want a file of %d bytes, found one of %d", path, d.Size, info.Size())
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// openSource opens a blob from the first source that has it and is not among the bad ones, and returns its number.
func openSource(ctx context.Context, sources []Source, bad map[int]error, d ocispec.Descriptor, offset int64) (io.ReadCloser, int, error) {
	var errs []error
	for i, s := range sources {
		if bad[i] != nil {
			errs = append(errs, bad[i])
			continue
		}
		r, err := s.OpenAt(ctx, d, offset)
		if err == nil {
			return r, i, nil
		}
		if ctx.Err() != nil {
			return nil, 0, context.Cause(ctx)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return nil, 0, permanentError{&NoBlobError{d, errors.Join(errs...)}}
	}
	return nil, 0, permanentError{&NoBlobError{d, fs.ErrNotExist}}
}

// NoBlobError says that no source has a blob that the registry lacks.
type NoBlobError struct {
	Descriptor ocispec.Descriptor
	// Err is what is wrong with those that should have it; [fs.ErrNotExist] where none has.
	Err error
}

func (e *NoBlobError) Error() string {
	if e.Err == fs.ErrNotExist {
		return "the registry lacks it, and it is in no place where it was looked for"
	}
	return fmt.Sprintf("the registry lacks it, and it can't be had: %v", e.Err)
}

func (e *NoBlobError) Unwrap() error { return e.Err }

// In returns what is in a repository, as a source.
func (c *Client) In(repo name.Repository) Source { return &remote{c: c, name: repo} }

// remote is a repository that is read from.
type remote struct {
	c    *Client
	name name.Repository

	mu       sync.Mutex
	loggedIn *repository
}

func (s *remote) login(ctx context.Context) (_ *repository, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loggedIn == nil {
		s.loggedIn, err = s.c.login(ctx, s.name, transport.PullScope)
	}
	return s.loggedIn, err
}

// OpenAt implements [Source]. A body that breaks isn't taken up again: that is the caller's.
func (s *remote) OpenAt(ctx context.Context, d ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	r, err := s.login(ctx)
	if err != nil {
		return nil, err
	}
	return r.openBlob(ctx, d, offset)
}

// openBlob opens a blob from an offset on, once it is there; what comes before is skipped where the registry knows no ranges.
func (r *repository) openBlob(ctx context.Context, d ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	q := request{method: http.MethodGet, url: r.url("blobs/" + d.Digest.String())}
	if offset > 0 {
		q.header = http.Header{"Range": {fmt.Sprintf("bytes=%d-", offset)}}
	}
	var out io.ReadCloser
	err := r.c.retry(ctx, nil, func() error {
		ctx, watch := r.c.watch(ctx)
		resp, err := r.send(ctx, q, watch)
		if err != nil {
			watch.stop()
			return err
		}
		skip := int64(0)
		switch {
		case resp.StatusCode == http.StatusPartialContent && offset > 0:
			var first int64
			if _, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-", &first); err != nil || first != offset {
				err = fmt.Errorf("%w: it sends the range %q, asked from %d on", errTrouble, resp.Header.Get("Content-Range"), offset)
				resp.Body.Close()
				watch.stop()
				return err
			}
		case resp.StatusCode == http.StatusOK:
			skip = offset
		default:
			defer watch.stop()
			defer resp.Body.Close()
			b, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
			err := r.c.newStatusError(r.name, resp, b)
			if err.status == http.StatusNotFound {
				return permanentError{fmt.Errorf("%s: %w: %w", r.name, err, fs.ErrNotExist)}
			}
			return err
		}
		body := &answerBody{resp.Body, r, ctx, watch}
		if _, err := io.CopyN(io.Discard, body, skip); err != nil {
			body.Close()
			return err
		}
		out = body
		return nil
	})
	return out, err
}

// answerBody is an answer's body, with errors as people may see them.
type answerBody struct {
	io.ReadCloser
	r   *repository
	ctx context.Context
	w   *watch
}

func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = b.r.c.failure(b.ctx, err, b.r.name)
	}
	return n, err
}

func (b *answerBody) Close() error {
	b.w.stop()
	return b.ReadCloser.Close()
}

// verified checks the bytes of a blob as they pass, from its start to its end.
func verified(r io.Reader, d ocispec.Descriptor) (io.Reader, error) {
	want, err := store.ParseHash(d.Digest.String())
	if err != nil {
		return nil, permanentError{err}
	}
	return store.NewVerifiedReader(r, d.Size, want, "Blob"), nil
}
