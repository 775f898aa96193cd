package serve

import (
	"context"
	"io"
	"slices"

	"github.com/opencontainers/go-digest"
)

type clientKey struct{}

// WithClient returns a context that says for which client something is done, by its address.
func WithClient(ctx context.Context, client string) context.Context {
	return context.WithValue(ctx, clientKey{}, client)
}

// ClientOf is the client for which something is done; "" if nobody said.
func ClientOf(ctx context.Context) string {
	client, _ := ctx.Value(clientKey{}).(string)
	return client
}

// Source is where images come from. Its methods are called by many goroutines at once. They get names, tags and
// digests that are well formed, and return an [*Error] for what clients shall be told, as that there is no such thing; any
// other error is told to the log alone.
type Source interface {
	// Manifest returns the manifest or index that reference stands for in a repository: a tag, or a digest "sha256:<hex>".
	// A source may take its time, and make it; ctx ends when the client has gone, and knows the client ([ClientOf]).
	Manifest(ctx context.Context, repository, reference string) (*Manifest, error)
	// Blob opens a layer or a config. What it gives has been checked against the digest.
	Blob(ctx context.Context, repository string, d digest.Digest) (*Blob, error)
	// Tags returns a repository's tags, in any order.
	Tags(ctx context.Context, repository string) ([]string, error)
	// Repositories returns the names of those that can be listed, in any order; a source may have more.
	Repositories(ctx context.Context) ([]string, error)
}

// Manifest is a manifest or an index.
type Manifest struct {
	MediaType string
	Digest    digest.Digest
	// Bytes are what the digest covers. They aren't to be changed.
	Bytes []byte
}

// Blob is an open blob. The handler closes it.
type Blob struct {
	io.ReadSeeker
	io.Closer
	// Size is in bytes.
	Size int64
}

// Join returns a source of what each of sources has. One that says it doesn't know a thing leaves it to the next; the
// last one's word is what clients hear.
func Join(sources ...Source) Source {
	if len(sources) == 1 {
		return sources[0]
	}
	return joined(sources)
}

type joined []Source

func first[T any](sources joined, ask func(Source) (T, error)) (out T, err error) {
	for _, s := range sources {
		if out, err = ask(s); err == nil || !IsUnknown(err) {
			return out, err
		}
	}
	return out, err
}

func (j joined) Manifest(ctx context.Context, repository, reference string) (*Manifest, error) {
	return first(j, func(s Source) (*Manifest, error) { return s.Manifest(ctx, repository, reference) })
}

func (j joined) Blob(ctx context.Context, repository string, d digest.Digest) (*Blob, error) {
	return first(j, func(s Source) (*Blob, error) { return s.Blob(ctx, repository, d) })
}

func (j joined) Tags(ctx context.Context, repository string) ([]string, error) {
	return first(j, func(s Source) ([]string, error) { return s.Tags(ctx, repository) })
}

func (j joined) Repositories(ctx context.Context) ([]string, error) {
	var all []string
	for _, s := range j {
		names, err := s.Repositories(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, names...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}
