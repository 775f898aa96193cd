package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// firstChunk is the size in bytes of the first pieces for a registry that refuses a whole blob as too large.
	firstChunk = 64 << 20
	// minChunk is where the pieces don't become smaller any more.
	minChunk = 1 << 20
	// hashRate is the least rate at which a registry is thought to look at a blob once it has all of it, in bytes per second.
	hashRate = 16 << 20
)

// upload is the way of one blob into a repository: distribution-spec, "Pushing blobs". A session is begun by POST, filled by
// PATCH, and closed by PUT, which takes the last piece along: mostly the only one. After a break the registry is asked how
// much it has (GET of the session), and where it doesn't know any more, all begins anew.
type upload struct {
	r       *repository
	d       ocispec.Descriptor
	sources []Source
	// from are repositories of the same registry that may have the blob.
	from []name.Repository
	// chunk is the most that one request sends; 0: all.
	chunk int64
	// sent is told of bytes that are on their way; a negative number takes some back.
	sent func(n int64)

	// session is where the next piece goes; nil: none was begun, or it is lost.
	session *url.URL
	// offset is how much the registry has by its own word; doubtful: it must be asked.
	offset   int64
	doubtful bool
	// best is the largest offset so far.
	best int64
	// bad are the sources that have other bytes than they should, with why.
	bad map[int]error
}

// run brings the blob into the repository, and reports whether the registry had it elsewhere.
func (u *upload) run(ctx context.Context) (mounted bool, err error) {
	u.bad = map[int]error{}
	err = u.r.c.retry(ctx, func() int64 { return u.best }, func() error {
		mounted, err = u.try(ctx)
		for errors.Is(err, errSmaller) {
			mounted, err = u.try(ctx)
		}
		return err
	})
	return mounted, err
}

// try goes on from where things are.
func (u *upload) try(ctx context.Context) (mounted bool, err error) {
	if u.session != nil && u.doubtful {
		if err := u.resume(ctx); err != nil {
			return false, err
		}
	}
	if u.session == nil {
		if mounted, err = u.begin(ctx); err != nil || mounted {
			return mounted, err
		}
	}
	if err = u.fill(ctx); err != nil {
		err = u.broken(err)
	}
	return false, err
}

// begin begins a session, unless a mount makes one needless.
func (u *upload) begin(ctx context.Context) (mounted bool, err error) {
	u.moveTo(0)
	for len(u.from) > 0 {
		at := u.r.url("blobs/uploads/")
		at.RawQuery = url.Values{"mount": {u.d.Digest.String()}, "from": {u.from[0].RepositoryStr()}}.Encode()
		a, err := u.r.do(ctx, request{method: http.MethodPost, url: at}, http.StatusCreated, http.StatusAccepted)
		if err != nil && (ctx.Err() != nil || temporary(err)) {
			return false, err
		}
		u.from = u.from[1:]
		switch {
		case err != nil: // It may not be read, or the registry knows no mounts: that costs a transfer, no more.
		case a.status == http.StatusCreated:
			return true, nil
		case len(u.from) == 0:
			return false, u.begun(a)
		}
	}
	a, err := u.r.do(ctx, request{method: http.MethodPost, url: u.r.url("blobs/uploads/")}, http.StatusAccepted)
	if err != nil {
		return false, err
	}
	return false, u.begun(a)
}

// begun takes note of a session.
func (u *upload) begun(a *answer) error {
	if err := u.follow(a); err != nil {
		return err
	}
	if least, err := strconv.ParseInt(a.header.Get("OCI-Chunk-Min-Length"), 10, 64); err == nil && u.chunk > 0 && least <= maxChunk {
		u.chunk = max(u.chunk, least)
	}
	return nil
}

// maxChunk is the largest piece that a registry may ask for, in bytes.
const maxChunk = 5 << 30

// follow takes the place of the next piece from an answer's Location.
func (u *upload) follow(a *answer) error {
	location, err := a.from.Parse(a.header.Get("Location"))
	if err != nil || a.header.Get("Location") == "" {
		u.session = nil
		return permanentError{errors.New("the registry begins an upload and doesn't say where it goes on (Location)")}
	}
	u.session = location
	return nil
}

// resume asks how much the registry has.
func (u *upload) resume(ctx context.Context) error {
	a, err := u.r.do(ctx, request{method: http.MethodGet, url: u.session}, http.StatusNoContent, http.StatusAccepted)
	if err != nil {
		if !temporary(err) && ctx.Err() == nil {
			u.session = nil // It is lost; the next one begins at once.
			return nil
		}
		return err
	}
	// Some write "0-0" for nothing at all, as for one byte.
	end, ok := rangeEnd(a.header.Get("Range"))
	if !ok || end == 0 || end >= u.d.Size {
		u.session = nil
		return nil
	}
	u.moveTo(end + 1)
	if a.header.Get("Location") != "" {
		return u.follow(a)
	}
	return nil
}

// moveTo says how much the registry has.
func (u *upload) moveTo(offset int64) {
	u.sent(offset - u.offset)
	u.offset, u.doubtful = offset, false
	u.best = max(u.best, offset)
}

// rangeEnd reads the header Range of a session, "0-<last byte>".
func rangeEnd(value string) (int64, bool) {
	first, last, ok := strings.Cut(strings.TrimPrefix(value, "bytes="), "-")
	end, err := strconv.ParseInt(last, 10, 64)
	return end, ok && first == "0" && err == nil && end >= 0
}

// fill sends what the session lacks, and closes it.
func (u *upload) fill(ctx context.Context) error {
	for {
		n := u.d.Size - u.offset
		if u.chunk > 0 && n > u.chunk {
			if err := u.piece(ctx, u.chunk); err != nil {
				return err
			}
			continue
		}
		return u.last(ctx, n)
	}
}

// piece sends a piece that is not the last one.
func (u *upload) piece(ctx context.Context, n int64) error {
	a, err := u.put(ctx, request{method: http.MethodPatch, url: u.session}, n, http.StatusAccepted)
	if err != nil {
		return err
	}
	end := u.offset + n - 1
	if r := a.header.Get("Range"); r != "" {
		var ok bool
		if end, ok = rangeEnd(r); !ok || end >= u.d.Size {
			u.session = nil
			return fmt.Errorf("%w: it says to have the range %q of %d bytes", errTrouble, r, u.d.Size)
		}
	}
	if end < u.offset {
		u.session = nil
		return fmt.Errorf("%w: it took a piece at %d and has no more than before", errTrouble, u.offset)
	}
	u.moveTo(end + 1)
	return u.follow(a)
}

// last sends the rest, and has the registry store the blob.
func (u *upload) last(ctx context.Context, n int64) error {
	at := *u.session
	query := at.Query()
	query.Set("digest", u.d.Digest.String())
	at.RawQuery = query.Encode()
	a, err := u.put(ctx, request{
		method: http.MethodPut, url: &at,
		patience: time.Duration(u.d.Size/hashRate) * time.Second,
	}, n, http.StatusCreated, http.StatusOK, http.StatusAccepted, http.StatusNoContent)
	if err != nil {
		return err
	}
	if got := a.header.Get("Docker-Content-Digest"); got != "" && got != u.d.Digest.String() {
		u.session = nil
		return fmt.Errorf("%w: it says to have stored %s, sent %s", errTrouble, u.r.c.printable(got), u.d.Digest)
	}
	if a.status != http.StatusCreated { // Only that says that it is stored.
		there, err := u.r.hasBlob(ctx, u.d)
		if err == nil && !there {
			u.session = nil
			err = fmt.Errorf("%w: it takes the blob with %d %s, and doesn't have it", errTrouble, a.status, http.StatusText(a.status))
		}
		if err != nil {
			return err
		}
	}
	u.moveTo(u.d.Size)
	return nil
}

// put sends n bytes from the offset on.
func (u *upload) put(ctx context.Context, q request, n int64, want ...int) (*answer, error) {
	q.header = http.Header{"Content-Type": {"application/octet-stream"}}
	if n < u.d.Size { // One piece of several.
		q.header.Set("Content-Range", fmt.Sprintf("%d-%d", u.offset, u.offset+n-1))
	}
	var body *pieceBody
	q.length = n
	q.body = func() io.ReadCloser {
		if body != nil {
			body.takeBack()
		}
		body = &pieceBody{u: u, ctx: ctx, offset: u.offset, n: n}
		return body
	}
	u.doubtful = true
	a, err := u.r.do(ctx, q, want...)
	if body != nil {
		failed := body.takeBack() // What arrived is counted by moveTo.
		if err != nil && failed != nil && ctx.Err() == nil {
			err = failed // What the network says of it is a consequence.
		}
	}
	u.doubtful = err != nil
	return a, err
}

// broken decides what comes after an error of a session.
func (u *upload) broken(err error) error {
	var source *sourceError
	switch code := status(err); {
	case errors.As(err, &source) && !errors.As(err, new(permanentError)):
		u.session = nil
		return err
	case code == http.StatusRequestEntityTooLarge && (u.chunk == 0 || u.chunk > minChunk) && u.d.Size > minChunk:
		u.session = nil
		if u.chunk == 0 {
			u.chunk = min(2*firstChunk, u.d.Size)
		}
		u.chunk = max(u.chunk/2, minChunk)
		return errSmaller
	case says(err, codeBlobUploadUnknown, codeBlobUploadInvalid, codeDigestInvalid, codeRangeInvalid, codeSizeInvalid),
		code == http.StatusNotFound, code == http.StatusRequestedRangeNotSatisfiable:
		// The session is of no use any more, for what reason ever. (fmt hides the status, which would end it.)
		u.session = nil
		return fmt.Errorf("%w: %v", errTrouble, err)
	}
	return err
}

// errSmaller has the blob sent in smaller pieces at once.
var errSmaller = errors.New("the registry takes no body of this size")

// pieceBody is the body of a request: n bytes of a blob from an offset on, opened when they are first read. net/http may
// still read it when the registry has answered: what is read after it was taken back doesn't count.
type pieceBody struct {
	u         *upload
	ctx       context.Context
	offset, n int64

	r io.Reader // Of the reading goroutine.

	mu     sync.Mutex
	file   io.Closer
	source int
	read   int64
	err    error
	closed bool
	over   bool // taken back
}

func (b *pieceBody) Read(p []byte) (int, error) {
	if b.r == nil {
		if err := b.open(); err != nil {
			return 0, b.fail(&sourceError{err})
		}
	}
	n, err := b.r.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over || b.closed {
		return 0, os.ErrClosed
	}
	b.read += int64(n)
	b.u.sent(int64(n))
	if err == io.EOF && b.read < b.n {
		err = fmt.Errorf("it ends after %d bytes of %d", b.offset+b.read, b.u.d.Size)
	}
	if err != nil && err != io.EOF {
		b.u.bad[b.source] = err
		err = &sourceError{err}
		b.err = err
	}
	return n, err
}

func (b *pieceBody) fail(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
	return err
}

func (b *pieceBody) open() error {
	r, source, err := openSource(b.ctx, b.u.sources, b.u.bad, b.u.d, b.offset)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		r.Close()
		return os.ErrClosed
	}
	b.file, b.source = r, source
	if b.offset > 0 || b.n < b.u.d.Size {
		b.r = io.LimitReader(r, b.n) // A blob that goes up in pieces is checked by the registry alone.
		return nil
	}
	// The last byte is given out before the hash is known, but no end: the request fails then, and the registry sees
	// a wrong digest besides.
	b.r, err = verified(r, b.u.d)
	return err
}

func (b *pieceBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.file == nil {
		b.closed = true
		return nil
	}
	b.closed = true
	return b.file.Close()
}

// takeBack takes back from the count what was sent and returns why the bytes couldn't be had, nil if they could.
func (b *pieceBody) takeBack() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.over {
		b.u.sent(-b.read)
	}
	b.over = true
	return b.err
}

// sourceError says that a blob's bytes couldn't be had.
type sourceError struct{ error }

func (e *sourceError) Unwrap() error { return e.error }

// bytesBody is a body that is in memory.
func bytesBody(b []byte) func() io.ReadCloser {
	return func() io.ReadCloser { return io.NopCloser(bytes.NewReader(b)) }
}
