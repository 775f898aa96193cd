package narfile

import "bufio"

// longEnd hands the bytes of a bufio.Reader to the brotli decoder in pieces the
// last of which is not short. The decoder collects a few bytes in a buffer of its own where a
// piece ends in the middle of a code, and when the stream ends there it
// says "excessive input" of bytes that it has read.
type longEnd struct{ r *bufio.Reader }

// minEnd is twice what the decoder's own buffer holds.
const minEnd = 16

func (l *longEnd) Read(p []byte) (int, error) {
	n := min(len(p), fileBufferSize-minEnd)
	ahead, err := l.r.Peek(n + minEnd)
	switch {
	case len(ahead) == 0:
		return 0, err
	case len(ahead) <= n:
		n = len(ahead)
	case len(ahead) < n+minEnd: // The file, or what came of it, ends here.
		n = max(len(ahead)-minEnd, 1)
	}
	return l.r.Read(p[:n])
}
