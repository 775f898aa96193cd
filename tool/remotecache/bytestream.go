package remotecache

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// byteStream reads blobs by google.bytestream.ByteStream/Read, the one call that is needed of the Remote Execution API. gRPC
// over HTTP/2 is simple where there is but one message to send
// (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md), and the call's two messages have three fields and one: net/http
// does it, and the command is spared a library of several times its size.
type byteStream struct {
	url         *url.URL
	o           Options
	client      *http.Client
	idleTimeout time.Duration
}

const (
	readMethod = "/google.bytestream.ByteStream/Read"
	// maxMessage bounds a message in bytes. gRPC's own libraries take 4 MiB unless told otherwise; servers keep to it.
	maxMessage = 16 << 20
	// attempts is how often a read is begun that brings nothing.
	attempts = 4
	// firstWait is the wait before the second; it doubles.
	firstWait = 250 * time.Millisecond
)

func newByteStream(u *url.URL, o Options) *byteStream {
	protocols := new(http.Protocols)
	if u.Scheme == "grpc" {
		protocols.SetUnencryptedHTTP2(true)
	} else {
		protocols.SetHTTP2(true)
	}
	v := httpURL(u)
	if v.Port() == "" { // gRPC's, for either scheme.
		v.Host = net.JoinHostPort(v.Hostname(), "443")
	}
	if o.Instance == "" {
		o.Instance = strings.Trim(u.Path, "/")
	}
	return &byteStream{url: v.JoinPath(readMethod), o: o, idleTimeout: time.Minute, client: &http.Client{
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSHandshakeTimeout:   30 * time.Second,
			ResponseHeaderTimeout: time.Minute,
			Protocols:             protocols,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("a gRPC server answers with a redirect") },
	}}
}

// openAt opens a blob, once its first bytes are there or all of none.
func (s *byteStream) openAt(ctx context.Context, d ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	b := &blobReader{ctx: ctx, s: s, d: d, offset: offset}
	if err := b.open(); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// rpcError is a call's status.
type rpcError struct {
	code    int
	message string
}

// Codes of gRPC.
const (
	codeOK                = 0
	codeUnknown           = 2
	codeDeadlineExceeded  = 4
	codeNotFound          = 5
	codeResourceExhausted = 8
	codeAborted           = 10
	codeInternal          = 13
	codeUnavailable       = 14
	codeUnauthenticated   = 16
	codePermissionDenied  = 7
)

func (e *rpcError) Error() string {
	return strings.TrimSuffix(fmt.Sprintf("the service answers with gRPC status %d: %s", e.code, e.message), ": ")
}

// Unwrap says that a blob isn't there.
func (e *rpcError) Unwrap() error {
	if e.code == codeNotFound {
		return fs.ErrNotExist
	}
	return nil
}

// Hint says what may help.
func (e *rpcError) Hint() string {
	if e.code == codeUnauthenticated || e.code == codePermissionDenied {
		return "give what the cache wants to see by --remote-header NAME=VALUE or a credential helper, as Bazel has it"
	}
	return ""
}

func temporary(err error) bool {
	var rpc *rpcError
	if !errors.As(err, &rpc) {
		return !errors.As(err, new(*formatError))
	}
	switch rpc.code {
	case codeUnknown, codeDeadlineExceeded, codeResourceExhausted, codeAborted, codeInternal, codeUnavailable:
		return true
	}
	return false
}

// formatError says that an answer is none of gRPC.
type formatError struct{ what string }

func (e *formatError) Error() string {
	return "the service answers with something else than gRPC: " + e.what
}

// blobReader is a blob's bytes, taken up again where they broke off.
type blobReader struct {
	ctx context.Context
	s   *byteStream
	d   ocispec.Descriptor

	call     *call
	offset   int64
	failures int
	err      error
}

// open begins a call from the offset on, and has it bring its first bytes.
func (b *blobReader) open() error {
	for {
		c, err := b.s.call(b.ctx, b.d, b.offset)
		if err == nil {
			b.call = c
			return nil
		}
		if err = b.failed(err); err != nil {
			return err
		}
	}
}

// failed waits before another attempt, or returns the error to give up with.
func (b *blobReader) failed(err error) error {
	if b.ctx.Err() != nil {
		return context.Cause(b.ctx)
	}
	if b.failures++; b.failures >= attempts || !temporary(err) {
		return err
	}
	select {
	case <-b.ctx.Done():
		return context.Cause(b.ctx)
	case <-time.After(firstWait << (b.failures - 1)):
		return nil
	}
}

func (b *blobReader) Read(p []byte) (int, error) {
	for {
		if b.err != nil {
			return 0, b.err
		}
		n, err := b.call.Read(p)
		b.offset += int64(n)
		if n > 0 {
			b.failures = 0
			return n, nil
		}
		if err == io.EOF {
			b.err = err
		} else if err != nil {
			b.call.Close()
			if b.err = b.failed(err); b.err == nil {
				b.err = b.open()
			}
		}
	}
}

func (b *blobReader) Close() error {
	if b.call != nil {
		b.call.Close()
	}
	return nil
}

// call is one call of Read under way.
type call struct {
	body    *bufio.Reader
	resp    *http.Response
	cancel  context.CancelCauseFunc
	ctx     context.Context
	idle    *time.Timer
	timeout time.Duration
	data    []byte // of a message, not yet given out
}

var errSilent = errors.New("the service went silent")

// call sends a request. It returns once the service has sent its first message, or ended well.
func (s *byteStream) call(ctx context.Context, d ocispec.Descriptor, offset int64) (_ *call, err error) {
	c := &call{timeout: s.idleTimeout}
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	c.idle = time.AfterFunc(s.idleTimeout, func() { c.cancel(errSilent) })
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	name := fmt.Sprintf("blobs/%s/%d", d.Digest.Encoded(), d.Size)
	if s.o.Instance != "" {
		name = s.o.Instance + "/" + name
	}
	message := readRequest(name, offset)
	frame := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
	// No length is said of the body, as gRPC's own clients do it.
	body := struct{ io.Reader }{strings.NewReader(string(frame) + string(message))}
	req, err := http.NewRequestWithContext(c.ctx, http.MethodPost, s.url.String(), body)
	if err != nil {
		return nil, err
	}
	headers, err := s.o.Credentials.Headers(ctx, s.url.String())
	if err != nil {
		return nil, err
	}
	for key, values := range headers {
		req.Header[key] = values
	}
	req.URL.User = nil
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("Te", "trailers")
	req.Header.Set("User-Agent", s.o.UserAgent)
	if c.resp, err = s.client.Do(req); err != nil {
		var urlErr *url.Error
		if errors.As(err, &urlErr) {
			err = urlErr.Err
		}
		return nil, c.cause(err)
	}
	if c.resp.StatusCode != http.StatusOK || !strings.HasPrefix(c.resp.Header.Get("Content-Type"), "application/grpc") {
		switch c.resp.StatusCode {
		case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return nil, &rpcError{codeUnavailable, c.resp.Status}
		case http.StatusUnauthorized:
			return nil, &rpcError{codeUnauthenticated, c.resp.Status}
		case http.StatusForbidden:
			return nil, &rpcError{codePermissionDenied, c.resp.Status}
		}
		return nil, &formatError{c.resp.Status}
	}
	if status := c.resp.Header.Get("Grpc-Status"); status != "" { // Nothing but trailers.
		if err := statusOf(c.resp.Header); err != nil {
			return nil, err
		}
	}
	c.body = bufio.NewReaderSize(c.resp.Body, 64<<10)
	if err := c.next(); err != nil && err != io.EOF {
		return nil, err
	}
	return c, nil
}

func (c *call) Read(p []byte) (int, error) {
	for len(c.data) == 0 {
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.data)
	c.data = c.data[n:]
	return n, nil
}

// next reads a message; [io.EOF] if there is none more and the call ended well.
func (c *call) next() error {
	c.idle.Reset(c.timeout)
	var head [5]byte
	switch _, err := io.ReadFull(c.body, head[:]); {
	case err == io.EOF:
		if c.resp.Trailer.Get("Grpc-Status") == "" && c.resp.Header.Get("Grpc-Status") != "" {
			return io.EOF // It was good, see call.
		}
		if err := statusOf(c.resp.Trailer); err != nil {
			return err
		}
		return io.EOF
	case err != nil:
		return c.cause(err)
	case head[0] != 0:
		return &formatError{"a compressed message, which was not asked for"}
	}
	size := binary.BigEndian.Uint32(head[1:])
	if size > maxMessage {
		return &formatError{fmt.Sprintf("a message of %d bytes", size)}
	}
	message := make([]byte, size)
	if _, err := io.ReadFull(c.body, message); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return c.cause(err)
	}
	var err error
	c.data, err = readResponse(message)
	return err
}

func (c *call) cause(err error) error {
	if cause := context.Cause(c.ctx); cause != nil {
		return cause
	}
	return err
}

func (c *call) Close() {
	c.idle.Stop()
	c.cancel(nil)
	if c.resp != nil {
		c.resp.Body.Close()
	}
}

// statusOf reads a call's status out of its trailers.
func statusOf(h http.Header) error {
	code, err := strconv.Atoi(h.Get("Grpc-Status"))
	if err != nil {
		return &rpcError{codeUnknown, "the call ends without a status"}
	}
	if code == codeOK {
		return nil
	}
	message, err := url.PathUnescape(h.Get("Grpc-Message"))
	if err != nil {
		message = h.Get("Grpc-Message")
	}
	return &rpcError{code, printable(message)}
}

// printable makes one line of bounded length of what a service says.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	return s[:min(len(s), 300)]
}

// Fields of the two messages (google/bytestream/bytestream.proto), as their tags: number << 3 | type.
const (
	tagResourceName = 1<<3 | wireBytes
	tagReadOffset   = 2<<3 | wireVarint
	tagData         = 10<<3 | wireBytes
)

// Types of fields (https://protobuf.dev/programming-guides/encoding).
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

// readRequest encodes a ReadRequest.
func readRequest(name string, offset int64) []byte {
	b := append([]byte{tagResourceName}, binary.AppendUvarint(nil, uint64(len(name)))...)
	b = append(b, name...)
	if offset > 0 {
		b = binary.AppendUvarint(append(b, tagReadOffset), uint64(offset))
	}
	return b
}

// readResponse returns the data of a ReadResponse, a part of the message.
func readResponse(b []byte) (data []byte, err error) {
	bad := &formatError{"a malformed message"}
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, bad
		}
		b = b[n:]
		size := uint64(0)
		switch tag & 7 {
		case wireVarint:
			_, n := binary.Uvarint(b)
			if n <= 0 {
				return nil, bad
			}
			size = uint64(n)
		case wireFixed64:
			size = 8
		case wireFixed32:
			size = 4
		case wireBytes:
			if size, n = binary.Uvarint(b); n <= 0 {
				return nil, bad
			}
			b = b[n:]
		default:
			return nil, bad
		}
		if size > uint64(len(b)) {
			return nil, bad
		}
		if tag == tagData {
			data = b[:size] // The last one counts, if there are several.
		}
		b = b[size:]
	}
	return data, nil
}
