package narfile

import (
	"bufio"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/rules-strata/rules_strata/tool/lzma"
)

// MaxWindow bounds what a compressed file may make its decoder keep in memory, in bytes: the window of
// zstd --long=27, which is the most that zstd -d takes, twice the dictionary of xz -9 and four times that of lzip -9.
// Of itself br ends at 16 MiB (its large windows are refused) and lz4 at blocks of 8 MiB.
const MaxWindow = 128 << 20

// compressions are the names in narinfo files that are known, in the order in which people shall see them.
var compressions = []string{"none", "xz", "zstd", "gzip", "bzip2", "br", "lzip", "lz4"}

// Compressions returns the names that [File.Compression] may have, as narinfo files write them.
func Compressions() []string { return slices.Clone(compressions) }

// CheckCompression says what keeps name from being one of [Compressions].
func CheckCompression(name string) error {
	if !slices.Contains(compressions, name) {
		return fmt.Errorf("compression %q is not known; known are %s", name, strings.Join(compressions, ", "))
	}
	return nil
}

// decoders holds a decoder of each kind that was ever needed, to be used again.
type decoders struct {
	xz   *lzma.XZReader
	zstd *zstd.Decoder
	gzip *gzip.Reader
	br   *brotli.Reader
	lzip *lzma.LzipReader
	lz4  *lz4.Reader
}

// open returns what decompresses in. It may read from in.
func (d *decoders) open(compression string, in *bufio.Reader) (io.Reader, error) {
	switch compression {
	case "none":
		return in, nil
	case "xz":
		if d.xz == nil {
			d.xz = lzma.NewXZReader(MaxWindow)
		}
		d.xz.Reset(in)
		return d.xz, nil
	case "zstd":
		if d.zstd == nil {
			z, err := zstd.NewReader(
				nil,
				zstd.WithDecoderConcurrency(1), // no goroutines
				zstd.WithDecoderLowmem(true),
				zstd.WithDecoderMaxWindow(MaxWindow),
				zstd.WithDecoderMaxMemory(1<<63), // of the whole output, which NarSize bounds
			)
			if err != nil {
				return nil, err
			}
			d.zstd = z
		}
		return d.zstd, d.zstd.Reset(in)
	case "gzip":
		if d.gzip == nil {
			d.gzip = new(gzip.Reader)
		}
		return d.gzip, d.gzip.Reset(in)
	case "bzip2":
		return bzip2.NewReader(in), nil
	case "br":
		if d.br == nil {
			d.br = new(brotli.Reader)
		}
		return d.br, d.br.Reset(&longEnd{in})
	case "lzip":
		if d.lzip == nil {
			d.lzip = lzma.NewLzipReader(MaxWindow)
		}
		d.lzip.Reset(in)
		return d.lzip, nil
	case "lz4":
		if d.lz4 == nil {
			z := lz4.NewReader(nil)
			if err := z.Apply(lz4.ConcurrencyOption(1)); err != nil { // no goroutines
				return nil, err
			}
			d.lz4 = z
		}
		d.lz4.Reset(in)
		return d.lz4, nil
	}
	return nil, CheckCompression(compression)
}

// ErrWindow says that a file wants its decoder to keep more than [MaxWindow].
var ErrWindow = fmt.Errorf("it needs a window of more than %d MiB to decompress", MaxWindow>>20)

// commonError puts one error in place of those that the decoders each have for the same fault.
func commonError(err error) error {
	if errors.Is(err, lzma.ErrDictSize) || errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		return ErrWindow
	}
	return err
}

// plainText is err without the name of its format in front, which is said already.
func plainText(err error) string {
	text := err.Error()
	for _, prefix := range []string{"gzip: ", "bzip2 data invalid: ", "brotli: ", "lz4: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return text
}

func (d *decoders) close() {
	if d.zstd != nil {
		d.zstd.Close()
	}
	*d = decoders{}
}
