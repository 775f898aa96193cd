package remotecache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/fetch"
)

// Options say how a cache is reached.
type Options struct {
	// Instance is the name of a remote execution service's instance, as Bazel's --remote_instance_name. Default: none.
	Instance string
	// Header is sent with each request, as Bazel's --remote_header.
	Header http.Header
	// Credentials are what hosts want to see; nil: none. The header above is added to them.
	Credentials *fetch.Credentials
	// UserAgent is sent with each request.
	UserAgent string
}

// Cache is a cache that blobs are read from. It may be used by many goroutines at once.
type Cache struct {
	address string
	openAt  func(ctx context.Context, d ocispec.Descriptor, offset int64) (io.ReadCloser, error)
}

// Open returns the cache at an address. It is not asked for anything yet.
func Open(address string, o Options) (*Cache, error) {
	c := &Cache{address: fetch.Redact(address)}
	if o.Credentials == nil {
		o.Credentials = new(fetch.Credentials)
	}
	scheme, _, ok := strings.Cut(address, "://")
	if !ok {
		c.address = address
		c.openAt = folder(address).openAt
		return c, nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("remote cache %s: malformed URL", c.address)
	}
	if len(o.Header) > 0 {
		if err := o.Credentials.Set(httpURL(u).String(), o.Header); err != nil {
			return nil, fmt.Errorf("remote cache %s: %w", c.address, err)
		}
	}
	switch scheme {
	case "http", "https":
		c.openAt = newHTTPCache(u, o).openAt
	case "grpc", "grpcs":
		c.openAt = newByteStream(u, o).openAt
	default:
		return nil, fmt.Errorf("remote cache %s: want http:, https:, grpc:, grpcs:, or a folder", c.address)
	}
	return c, nil
}

// OpenAt opens a blob from an offset on. The caller closes it.
func (c *Cache) OpenAt(ctx context.Context, d ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	r, err := c.openAt(ctx, d, offset)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("remote cache %s: %w", c.address, err)
	}
	return r, nil
}

// folder is a disk cache: its blobs are in cas/<two digits>/<digest>.
type folder string

func (f folder) openAt(_ context.Context, d ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	hex := d.Digest.Encoded()
	file, err := os.Open(filepath.Join(string(f), "cas", hex[:2], hex))
	if err != nil {
		return nil, err
	}
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// httpCache is a server that has blobs under cas/.
type httpCache struct {
	base   string
	client *fetch.Client
}

func newHTTPCache(u *url.URL, o Options) *httpCache {
	return &httpCache{
		strings.TrimSuffix(u.String(), "/"),
		fetch.New(fetch.Options{UserAgent: o.UserAgent, Credentials: o.Credentials}),
	}
}

func (c *httpCache) openAt(ctx context.Context, d ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	r, err := c.client.Open(ctx, c.base+"/cas/"+d.Digest.Encoded())
	if errors.Is(err, fetch.ErrNotFound) {
		return nil, fmt.Errorf("%w: %w", err, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	// Going on behind the start is rare: only after a break of the way on from here.
	if _, err := io.CopyN(io.Discard, r, offset); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// httpURL is the URL that requests to a service go to, gRPC's too: it is HTTP.
func httpURL(u *url.URL) *url.URL {
	v := &url.URL{Scheme: u.Scheme, User: u.User, Host: u.Host}
	switch u.Scheme {
	case "grpc":
		v.Scheme = "http"
	case "grpcs":
		v.Scheme = "https"
	}
	return v
}
