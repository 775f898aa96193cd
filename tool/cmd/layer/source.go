package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/layer"
)

// client is what all NARs of a run are fetched by. The action's environment says what credentials there are: Bazel passes
// on $NETRC and $STRATA_CREDENTIAL_HELPER by --action_env.
func client() (*fetch.Client, error) {
	credentials, err := fetch.NewCredentials()
	if err != nil {
		return nil, err
	}
	return fetch.New(fetch.Options{UserAgent: "strata-layer", Credentials: credentials}), nil
}

// nars are the inputs of a layer.
func (c *config) layerNARs() ([]layer.NAR, error) {
	var web *fetch.Client
	out := make([]layer.NAR, len(c.nars))
	for i, n := range c.nars {
		out[i].File = n.file
		if n.path != "" {
			out[i].Open = func(ctx context.Context) (io.ReadCloser, error) { return openFile(ctx, n.path) }
			out[i].Reject = func(err error) error { return fmt.Errorf("%w, in %s", err, n.path) }
			continue
		}
		if web == nil {
			var err error
			if web, err = client(); err != nil {
				return nil, err
			}
		}
		file := web.Alternatives(n.urls, n.file.FileSize)
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
