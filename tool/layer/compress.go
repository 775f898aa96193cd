package layer

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"runtime"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The compressions of a blob, as [Options.Compression] names them.
const (
	Gzip = "gzip"
	Zstd = "zstd"
	None = "none"
)

// The levels of a compression, as [Options.Level] names them.
const (
	LevelFastest = "fastest"
	LevelDefault = "default"
	LevelBest    = "best"
)

// codec is one compression: its media type (OCI image-spec, layer.md), its
// levels, and how to make an encoder.
type codec struct {
	mediaType string
	levels    map[string]int // nil: it has none
	// open returns an encoder that writes to w; nil: the bytes go to w as they are.
	open func(w io.Writer, level int) (encoder, error)
}

// encoder compresses what is written to it. Which bytes come out depends on
// the bytes that go in and on the level, never on how they were cut into
// writes, nor on the number of cores.
type encoder interface {
	io.Writer
	// Close writes what is left; nothing is written after it returns.
	Close() error
	// abort drops what is left, and waits until nothing will be written any more.
	abort()
}

var codecs = map[string]codec{
	Gzip: {
		mediaType: ocispec.MediaTypeImageLayerGzip,
		levels:    map[string]int{LevelFastest: 1, LevelDefault: 6, LevelBest: 9},
		open:      newGzip,
	},
	Zstd: {
		mediaType: ocispec.MediaTypeImageLayerZstd,
		levels: map[string]int{
			LevelFastest: int(zstd.SpeedFastest),
			LevelDefault: int(zstd.SpeedDefault),
			LevelBest:    int(zstd.SpeedBestCompression),
		},
		open: newZstd,
	},
	None: {mediaType: ocispec.MediaTypeImageLayer},
}

// Compressions lists the names that [Options.Compression] takes, the default first.
func Compressions() []string { return []string{Gzip, Zstd, None} }

// Levels lists the names that [Options.Level] takes.
func Levels() []string { return []string{LevelFastest, LevelDefault, LevelBest} }

// normalised fills in the defaults and refuses what there isn't.
func (o Options) normalised() (Options, codec, error) {
	if o.Compression == "" {
		o.Compression = Gzip
	}
	c, ok := codecs[o.Compression]
	if !ok {
		return o, c, fmt.Errorf("compression %q: want one of %s", o.Compression, strings.Join(Compressions(), ", "))
	}
	if c.levels == nil {
		if o.Level != "" && o.Level != LevelDefault {
			return o, c, fmt.Errorf("level %q: compression %q has no levels", o.Level, o.Compression)
		}
		o.Level = ""
		return o, c, nil
	}
	if o.Level == "" {
		o.Level = LevelDefault
	}
	if _, ok := c.levels[o.Level]; !ok {
		return o, c, fmt.Errorf("level %q: want one of %s", o.Level, strings.Join(Levels(), ", "))
	}
	return o, c, nil
}

// gzipBlockSize is how much of the tar pgzip compresses as one piece, each
// with the end of the one before as its dictionary. It is part of what the
// blob's bytes are, and must not change within one format version.
//
// Measured on 44 MB of programs and libraries (level 6, two workers), the size of
// the blob hardly depends on it: 16,586,117 bytes at 128 KiB, 16,577,154 at 256 KiB, 16,570,870
// at 512 KiB, 16,576,782 at 1 MiB, 16,585,719 as one stream; nor does the CPU
// time (0.44 s each; 0.40 s as one stream). Memory does: 2.5 MB a worker at
// 256 KiB, 4 MB at 512 KiB, 6.5 MB at 1 MiB. And small blocks let small layers use more than one core.
const gzipBlockSize = 256 << 10

// gzipMaxWorkers bounds pgzip's memory on big machines. At some 100 MB/s each
// they take in what one goroutine can unpack and hash.
const gzipMaxWorkers = 16

type gzipEncoder struct{ *pgzip.Writer }

func newGzip(w io.Writer, level int) (encoder, error) {
	z, err := pgzip.NewWriterLevel(w, level)
	if err != nil {
		return nil, err
	}
	if err := z.SetConcurrency(gzipBlockSize, min(runtime.GOMAXPROCS(0), gzipMaxWorkers)); err != nil {
		return nil, err
	}
	// A header says when and where it was made; this one says neither: pgzip
	// would write the year 1 as a wrapped number, and 255 is "unknown" (RFC 1952, 2.3).
	z.ModTime = time.Unix(0, 0)
	z.OS = 255
	return gzipEncoder{z}, nil
}

// abort: Reset ends the goroutine that writes and waits for it.
func (e gzipEncoder) abort() { e.Reset(io.Discard) }

// zstdConcurrency is fixed: with 1 the encoder works in the caller's
// goroutine, with any other number in two of its own, one that looks for
// matches and one that codes and writes. The bytes are the same for 1, 2 and 8
// (13,687,017 for the tar above; zstd -3: 13,670,053).
const zstdConcurrency = 2

type zstdEncoder struct{ *zstd.Encoder }

func newZstd(w io.Writer, level int) (encoder, error) {
	z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.EncoderLevel(level)), zstd.WithEncoderConcurrency(zstdConcurrency))
	if err != nil {
		return nil, err
	}
	return zstdEncoder{z}, nil
}

// abort: Reset waits for the block being written.
func (e zstdEncoder) abort() { e.Reset(nil) }

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
