package layer

import (
	"context"
	"sync/atomic"
)

const (
	// chunkSize is the size of the buffers between the stages, a multiple of a
	// tar block, so that a block never lies across two of them. 256 KiB keeps
	// the hand-over of a chunk below a thousandth of the time its hash takes.
	chunkSize = 256 << 10
	// ringChunks bounds the memory between the stages (2 MiB) and says how far
	// the stage that reads may be ahead of the slowest one.
	ringChunks = 8
)

// chunk is a piece of the tar that every reader of the ring looks at.
type chunk struct {
	n       int          // bytes in use
	readers atomic.Int32 // readers that haven't released it yet
	buf     [chunkSize]byte
}

// ring hands the tar's bytes from the one goroutine that makes them to the
// goroutines that hash and compress them: each gets every chunk, in order, and
// gives it back when done. Chunks are made when first needed, so a small layer
// costs one, and there are never more than [ringChunks].
type ring struct {
	ctx   context.Context
	free  chan *chunk
	made  int
	cur   *chunk // being filled; nil before the first byte and after a flush
	out   []chan *chunk
	bytes int64 // in all chunks passed on
}

// newRing returns a ring with so many readers, which end when it is closed.
// When ctx ends, no further byte can be put in.
func newRing(ctx context.Context, readers int) *ring {
	r := &ring{ctx: ctx, free: make(chan *chunk, ringChunks), out: make([]chan *chunk, readers)}
	for i := range r.out {
		r.out[i] = make(chan *chunk, ringChunks)
	}
	return r
}

// room returns the unused rest of the current chunk, never empty. What was put
// there counts after [ring.advance].
func (r *ring) room() ([]byte, error) {
	if r.cur != nil && r.cur.n == chunkSize {
		r.flush()
	}
	if r.cur == nil {
		if err := r.take(); err != nil {
			return nil, err
		}
	}
	return r.cur.buf[r.cur.n:], nil
}

func (r *ring) advance(n int) { r.cur.n += n }

// block returns the next 512 bytes, already counted, for a header. Their
// contents are left over from earlier use. The ring must be at a block's boundary.
func (r *ring) block() (*[blockSize]byte, error) {
	room, err := r.room()
	if err != nil {
		return nil, err
	}
	r.advance(blockSize)
	return (*[blockSize]byte)(room), nil
}

// Write copies p in.
func (r *ring) Write(p []byte) (int, error) {
	for done := 0; done < len(p); {
		room, err := r.room()
		if err != nil {
			return done, err
		}
		n := copy(room, p[done:])
		r.advance(n)
		done += n
	}
	return len(p), nil
}

// take gets a free chunk, and waits for one if all are in use.
func (r *ring) take() error {
	if r.ctx.Err() != nil {
		return context.Cause(r.ctx)
	}
	select {
	case r.cur = <-r.free:
	default:
		if r.made < ringChunks {
			r.made++
			r.cur = new(chunk)
			break
		}
		select {
		case r.cur = <-r.free:
		case <-r.ctx.Done():
			return context.Cause(r.ctx)
		}
	}
	r.cur.n = 0
	return nil
}

// flush passes the current chunk on. It never blocks: a channel holds as many as there are.
func (r *ring) flush() {
	c := r.cur
	r.cur = nil
	r.bytes += int64(c.n)
	c.readers.Store(int32(len(r.out)))
	for _, out := range r.out {
		out <- c
	}
}

// close passes on what is left and tells the readers that nothing follows.
func (r *ring) close() {
	if r.cur != nil {
		r.flush()
	}
	for _, out := range r.out {
		close(out)
	}
}

// each calls f with every chunk's bytes, as reader number i, until the ring is
// closed. After an error of f it only gives the chunks back.
func (r *ring) each(i int, f func(p []byte) error) error {
	var err error
	for c := range r.out[i] {
		if err == nil {
			err = f(c.buf[:c.n])
		}
		if c.readers.Add(-1) == 0 {
			r.free <- c
		}
	}
	return err
}
