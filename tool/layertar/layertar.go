// Package layertar reads the tar of an image's layer, entry by entry, for those who
// look into layers that exist already.
package layertar

import (
	"archive/tar"
	"context"
	"io"
)

// Each calls f for every entry of the tar that open opens, uncompressed, and reads it to
// its very end: that is where its checks are. Global headers are left out. Once ctx ends it fails with its cause.
func Each(ctx context.Context, open func() (io.ReadCloser, error), f func(*tar.Header, io.Reader) error) error {
	in, err := open()
	if err != nil {
		return err
	}
	defer in.Close()
	r := contextReader{ctx, in}
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			_, err := io.Copy(io.Discard, r)
			return err
		}
		if err == nil && h.Typeflag != tar.TypeXGlobalHeader {
			err = f(h, tr)
		}
		if err != nil {
			return err
		}
	}
}

// contextReader fails once its context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}
