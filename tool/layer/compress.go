package layer

import (
	"fmt"
	"io"
	"strconv"
	"strings"

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
	// levels are what each name means, by number; nil: it has none.
	levels map[string]int
	// maxLevel is the greatest level by number; the least is 1.
	maxLevel int
	// effective is the least number that gives the same bytes as level does; nil: level itself.
	effective func(level int) int
	// open returns an encoder that writes to w, and keeps so many cores busy
	// as it can use; nil: the bytes go to w as they are.
	open func(w io.Writer, level, workers int) (encoder, error)
}

// encoder compresses what is written to it. Which bytes come out depends on
// the bytes that go in and on the level, never on how they were cut into
// writes, nor on the number of workers.
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
		levels:    map[string]int{LevelFastest: 1, LevelDefault: gzipDefaultLevel, LevelBest: 9},
		maxLevel:  9,
		open:      newGzip,
	},
	Zstd: {
		mediaType: ocispec.MediaTypeImageLayerZstd,
		levels:    map[string]int{LevelFastest: 1, LevelDefault: 3, LevelBest: 10},
		maxLevel:  22,
		effective: zstdEffectiveLevel,
		open:      newZstd,
	},
	None: {mediaType: ocispec.MediaTypeImageLayer},
}

// Compressions lists the names that [Options.Compression] takes, the default first.
func Compressions() []string { return []string{Gzip, Zstd, None} }

// Levels lists the names that [Options.Level] takes, beside numbers.
func Levels() []string { return []string{LevelFastest, LevelDefault, LevelBest} }

// CheckLevel says what keeps level from being one of compression, a name of [Compressions] or "".
func CheckLevel(compression, level string) error {
	_, _, err := Options{Compression: compression, Level: level}.encoding()
	return err
}

// encoding returns the codec that o names, with its defaults, and the level as a number.
// In o, Level is then what the digest file says: a name where there is one for what the encoder
// does, so that the same bytes never have two digest files.
func (o Options) encoding() (Options, encoding, error) {
	if o.Compression == "" {
		o.Compression = Gzip
	}
	c, ok := codecs[o.Compression]
	if !ok {
		return o, encoding{}, fmt.Errorf("compression %q: want one of %s", o.Compression, strings.Join(Compressions(), ", "))
	}
	e := encoding{codec: c}
	if c.levels == nil {
		if o.Level != "" && o.Level != LevelDefault {
			return o, e, fmt.Errorf("level %q: compression %q has no levels", o.Level, o.Compression)
		}
		o.Level = ""
		return o, e, nil
	}
	if o.Level == "" {
		o.Level = LevelDefault
	}
	if n, ok := c.levels[o.Level]; ok {
		e.level = n
		return o, e, nil
	}
	n, err := strconv.Atoi(o.Level)
	if err != nil || n < 1 || n > c.maxLevel || strconv.Itoa(n) != o.Level {
		return o, e, fmt.Errorf("level %q: want one of %s, or for %s a number from 1 to %d", o.Level, strings.Join(Levels(), ", "), o.Compression, c.maxLevel)
	}
	if c.effective != nil {
		n = c.effective(n)
	}
	e.level, o.Level = n, strconv.Itoa(n)
	for name, number := range c.levels {
		if number == n {
			o.Level = name
		}
	}
	return o, e, nil
}

// encoding is a codec at one of its levels.
type encoding struct {
	codec
	level int
}
