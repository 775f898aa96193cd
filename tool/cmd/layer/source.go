package main

import (
	"context"
	"io"
	"os"

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
	return func(ctx context.Context) (io.ReadCloser, error) { return fetch.OpenAny(ctx, open, n.urls, n.file.FileSize) }
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
