package layer

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
)

// blobWriter is where the blob leaves the engine: it counts and hashes what
// passes. After an error it writes nothing more.
type blobWriter struct {
	w    io.Writer
	hash hash.Hash // nil: nobody asks for it
	n    int64
	err  error
}

func newBlobWriter(w io.Writer, hashed bool) *blobWriter {
	b := &blobWriter{w: w}
	if hashed {
		b.hash = sha256.New()
	}
	return b
}

// Write implements [io.Writer]. Calls come from one goroutine after the other.
func (b *blobWriter) Write(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.w.Write(p)
	b.n += int64(n)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		b.err = fmt.Errorf("writing the blob: %w", err)
		return n, b.err
	}
	if b.hash != nil {
		b.hash.Write(p)
	}
	return n, nil
}
