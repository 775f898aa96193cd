// Package narsource says where an action's NARs are: in files that Bazel has made inputs of it, or behind URLs that the
// action fetches itself. [NARs] makes them ready for package layer.
package narsource

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/layer"
	"github.com/rules-strata/rules_strata/tool/narfile"
)

// Source is one NAR.
type Source struct {
	// File says what the NAR is; FileHash must be set where there are URLs, so that what they give is pinned.
	File narfile.File
	// Path is the NAR file; or, if that is empty:
	Path string
	// URLs are where it may be fetched, tried in order.
	URLs []string
}

// NARs opens no source yet; each is opened when it is read. UserAgent is what servers are told.
//
// The action's environment says what credentials there are: Bazel passes on $NETRC and $STRATA_CREDENTIAL_HELPER by
// --action_env.
func NARs(sources []Source, userAgent string) ([]layer.NAR, error) {
	var web *fetch.Client
	out := make([]layer.NAR, len(sources))
	for i, s := range sources {
		out[i].File = s.File
		if s.Path != "" {
			out[i].Open = func(ctx context.Context) (io.ReadCloser, error) { return openFile(ctx, s.Path) }
			out[i].Reject = func(err error) error { return fmt.Errorf("%w, in %s", err, s.Path) }
			continue
		}
		if web == nil {
			credentials, err := fetch.NewCredentials()
			if err != nil {
				return nil, err
			}
			web = fetch.New(fetch.Options{UserAgent: userAgent, Credentials: credentials})
		}
		file := web.Alternatives(s.URLs, s.File.FileSize)
		out[i].Open, out[i].Reject = file.Open, file.Reject
	}
	return out, nil
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
