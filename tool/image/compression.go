package image

import (
	"bufio"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// How layers and archives may be compressed.
const (
	compressionNone = "none"
	compressionGzip = "gzip"
	compressionZstd = "zstd"
)

// compressor compresses an archive: by one goroutine, so that the bytes don't depend
// on the number of cores. Close does not close w.
func compressor(w io.Writer, compression string) (io.WriteCloser, error) {
	switch compression {
	case "", compressionNone:
		return nopCloser{w}, nil
	case compressionGzip:
		return gzip.NewWriter(w), nil // without a name and a time
	case compressionZstd:
		return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	}
	return nil, fmt.Errorf("compression %q is not known", compression)
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// maxWindow bounds what decompressing a layer takes, in bytes: as package narfile has it.
const maxWindow = 128 << 20

// decompressor decompresses a layer. Close gives up its buffers; it does not close r.
func decompressor(r io.Reader, compression string) (io.ReadCloser, error) {
	switch compression {
	case compressionNone:
		return io.NopCloser(r), nil
	case compressionGzip:
		return gzip.NewReader(bufio.NewReaderSize(r, copyBufferSize))
	case compressionZstd:
		z, err := zstd.NewReader(
			r,
			zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow),
			zstd.WithDecoderMaxMemory(1<<63), // of the whole output, whose size is checked
		)
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return nil, fmt.Errorf("compression %q is not known", compression)
}
