package layer

import (
	"io"

	"github.com/klauspost/compress/zstd"
)

// The layer is one zstd frame, made by an encoder of two stages that run beside
// each other, one that looks for matches and one that codes and writes; with the hashes and the tar
// that makes up to six goroutines.
//
// Cutting the tar into pieces for any number of cores was measured and left:
// each piece begins without the window, or with little of it. On 400 MB of programs,
// libraries and headers (two workers; `zstd -3` gives 127,590,700 bytes, 1.6 s of CPU):
//
//	one frame, window 8 MiB, coded literals        127,344,256 bytes   25 MB   2.0 s of CPU
//	the same, literals coded where it seems worth  127,578,600         25      2.0
//	a frame for every 8 MiB                        128,525,014         95      1.9
//	a frame for every 4 MiB                        130,570,309         62      1.9
//	WithConcurrentBlocks, window 4 MiB             127,811,852        158      2.0
//	WithConcurrentBlocks, window 1 MiB             131,633,673         63      2.0
//
// So every cut costs size, and what costs little of it costs memory per worker,
// which the encoder would have to bound by giving up workers.
// The match finder takes in some 300 MB/s. Bazel gives the other cores to other layers.

// zstdLevels are the numbers at which the encoder's level changes: it has four,
// and takes zstd's own numbers for the nearest of them.
var zstdLevels = []int{1, 3, 6, 10}

// zstdEffectiveLevel is the least number that gives what level gives.
func zstdEffectiveLevel(level int) int {
	least := zstdLevels[0]
	for _, n := range zstdLevels {
		if n <= level {
			least = n
		}
	}
	return least
}

type zstdEncoder struct{ *zstd.Encoder }

func newZstd(w io.Writer, level, workers int) (encoder, error) {
	z, err := zstd.NewWriter(
		w,
		zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)),
		// With 1 all happens in the caller's goroutine, with any other number
		// in two more; the bytes are the same.
		zstd.WithEncoderConcurrency(min(workers, 2)),
		zstd.WithAllLitEntropyCompression(true),
	)
	if err != nil {
		return nil, err
	}
	return zstdEncoder{z}, nil
}

// abort: Reset waits for the block being written.
func (e zstdEncoder) abort() { e.Reset(nil) }
