// Package deflate compresses to DEFLATE (RFC 1951) what is whole in memory: a piece of a longer
// stream, and what comes before it.
//
// It is for those who cut a stream into pieces and deflate them side by side; that is what
// package layer does for gzip. Other encoders are made for bytes that come little by little: they copy them into a window, move it
// along, and keep positions and ages to check. Here the piece itself is the window. The work is done
// in two steps, and each knows what the other needs:
//
//	match.go    bytes → tokens: greedy, with a look at what else is near (3.2.5)
//	block.go    tokens → blocks: where one ends, and which of three forms is the shortest (3.2.3)
//	huffman.go  how often each symbol occurs → codes (3.2.2)
//	header.go   codes → how a block tells them (3.2.7)
//	bits.go     codes → bytes (3.1.1)
//
// The one entry point is [Encoder.Append]. What comes out depends on the bytes that go in alone:
// no clock, no number of cores, no floating point, no order of bytes in memory has a part in it.
//
// There is one level, which is about as strong as level 6 of zlib and its kin. The package doesn't decompress.
package deflate

// An Encoder deflates one piece after another. It keeps nothing of a piece but its memory, some 600 kB, most of it
// for tokens. The zero Encoder is ready; it must not be copied, nor used by several goroutines at a time.
type Encoder struct {
	finder
	bitWriter
	huffman

	// block counts the symbols of the block to come, segment those of what was found last, and both is their sum.
	block, segment, both histogram

	litLen, dist code // of a block that has codes of its own
	header       header

	// What each token is written as.
	litLenBits [512]uint32 // code and extra bits, and from bit 24 on how many they are
	distBits   [32]uint64  // code; from bit 16 on its length, from 24 on that with extra bits, from 32 on their mask
}

// Append appends src[dict:] to dst, deflated, and returns it. What is in src before dict
// is known to the decoder already; matches refer to it. (More than 32 KiB of it is of no use.)
// If last, the stream ends here; otherwise an empty stored block (3.2.4) fills the last byte, so that
// what follows can be put behind it.
//
// It never grows by more than 5 bytes for each 8 KiB of input, and 16. dst should have room for that; otherwise it may move.
func (e *Encoder) Append(dst, src []byte, dict int, last bool) []byte {
	e.bitWriter.reset(dst)
	e.finder.reset(src, dict)
	e.block.reset()

	start := dict // of the block
	for pos := dict; pos < len(src); {
		e.segment.reset()
		tokens := len(e.tokens)
		end := e.find(src, pos, min(pos+segmentSize, len(src)), &e.segment)
		e.segment.measure()
		e.both.sum(&e.block, &e.segment)
		if tokens > 0 && (tokens > maxBlockTokens || e.block.cost+e.segment.cost+headerCost < e.both.cost) {
			e.writeBlock(src[start:pos], e.tokens[:tokens], false)
			e.tokens = append(e.tokens[:0], e.tokens[tokens:]...)
			start = pos
			e.block = e.segment
		} else {
			e.block = e.both
		}
		pos = end
	}
	if start < len(src) || last {
		e.writeBlock(src[start:], e.tokens, last)
	}
	if !last {
		e.writeStored(nil, false)
	}
	e.align()
	return e.out[:e.pos]
}
