package narfile

import (
	"bufio"
	"fmt"
	"io"
)

// Decompress returns the contents of src, a file that is compressed as
// compression says, one of [Compressions], and for which nobody gave a hash. More than
// maxSize bytes of contents are an error, and so is a file far longer than
// that. Wrong data are a [DecodeError]; errors of src are returned as they are. The caller closes it, which doesn't close src.
func Decompress(src io.Reader, compression string, maxSize int64) (io.ReadCloser, error) {
	if err := CheckCompression(compression); err != nil {
		return nil, err
	}
	d := &decompressor{left: maxSize, max: maxSize}
	d.r.file = File{Compression: compression, FileSize: -1, NarSize: maxSize}
	d.r.source.reset(src, &d.r.file)
	d.r.buf = bufio.NewReaderSize(&d.r.source, fileBufferSize)
	return d, nil
}

type decompressor struct {
	r         Reader
	left, max int64
	err       error
}

func (d *decompressor) Read(p []byte) (int, error) {
	if d.err != nil || len(p) == 0 {
		return 0, d.err
	}
	if int64(len(p)) > d.left+1 {
		p = p[:d.left+1]
	}
	n, err := (*decoded)(&d.r).Read(p)
	if int64(n) > d.left {
		n, err = int(d.left), fmt.Errorf("it has more than %d bytes of contents", d.max)
	}
	d.left -= int64(n)
	if err == io.EOF {
		err = d.r.finish()
	}
	d.err = err
	return n, err
}

func (d *decompressor) Close() error {
	d.err = errNoFile
	return d.r.Close()
}
