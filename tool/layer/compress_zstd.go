package layer

import (
	"io"

	"github.com/klauspost/compress/zstd"
)

// The layer is one zstd frame, made by an encoder of two stages that run beside
// each other, one that looks for matches and one that codes and writes; with the hashes and the tar
// that makes up to six goroutines.
//
// The library starts goroutines for each block of 128 KiB, and so the one that looks for matches wanders from core to core,
// with the 1.25 MB of its tables and what it knows of the window. Where the cores share no cache (a virtual machine with cores of two AMD
// chips: 490 ns for a cache line to the other and back), that costs more than the second stage saves, and the encoder
// stays in one goroutine, beside those that decode, hash and write the tar. On the corpus of bench/, two such cores:
//
//	                 CPU      wall
//	one core         5.5 s    5.9 s
//	two, one stage   5.9      4.6
//	two, two stages  8.4      6.0
//
// On two cores of one Intel chip, two stages took 3.2 s where one core took 5.7, and no more CPU.
//
// Cutting the tar into pieces for any number of cores was measured and left:
// each piece begins without the window, or with little of it, and each core needs a piece, its window and its tables. On the
// corpus of bench/ (783 MB of tar, which zstd -3 makes 236,324,070 bytes; memory of the encoder alone, by the number of cores it keeps busy):
//
//	one frame, window 8 MiB                      230,640,408 bytes   25 MB
//	a frame for every 8 MiB                      234,550,076         118 at 2 cores, 197 at 4
//	a frame for every 4 MiB                      239,042,588         105 at 4, 181 at 8
//	WithConcurrentBlocks, window 4 MiB           232,864,532         169 at 2, 236 at 4
//	                      window 2 MiB           240,183,597         156 at 4
//	                      window 1 MiB           244,216,109         94 at 4, 139 at 8, 229 at 16
//
// So none that keeps more cores busy stays within 64 MB, and those that come near it make larger blobs than zstd -3 does,
// for as much CPU or more. The match finder takes in some 300 MB/s. Bazel gives the other cores to other layers.
// (Literals are coded always: where the encoder were to guess whether it pays, blobs were 0.2 % larger.)

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
	stages := 1
	if workers > 1 && coresAreNear() {
		stages = 2
	}
	return newZstdStages(w, level, stages)
}

// newZstdStages returns an encoder of one stage or two; the bytes are the same.
func newZstdStages(w io.Writer, level, stages int) (encoder, error) {
	z, err := zstd.NewWriter(
		w,
		zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)),
		// With 1 all happens in the caller's goroutine, with any other number
		// in two more.
		zstd.WithEncoderConcurrency(stages),
		zstd.WithAllLitEntropyCompression(true),
	)
	if err != nil {
		return nil, err
	}
	return zstdEncoder{z}, nil
}

// abort: Reset waits for the block being written.
func (e zstdEncoder) abort() { e.Reset(nil) }
