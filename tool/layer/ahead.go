package layer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/rules-strata/rules_strata/tool/narfile"
)

const (
	// decoderBuffers times decoderBufferSize bounds the memory of a decoder's queue (1 MiB).
	decoderBuffers    = 8
	decoderBufferSize = 128 << 10

	// maxDecoders bounds the memory of all decoders; each may also have to keep the window
	// that its file demands. Eight xz decoders give what one goroutine can hash.
	maxDecoders = 8

	// spillSize is how much of the NARs ahead a decoder may put into a temporary file.
	spillSize = 512 << 20
)

// slow names the compressions whose decoding takes longer than all that comes
// after it without compression: only for these does it pay to decode far ahead.
var slow = map[string]bool{"xz": true, "bzip2": true, "lzip": true, "br": true}

// ahead decodes and checks several NARs side by side, and gives them one after
// the other. Each decoder is a goroutine that takes the next NAR that none has
// taken, and puts its bytes into a queue of its own; since NARs are taken and read
// in the same order, a queue may hold the end of one and all of several others: many small
// NARs are no more work than one. With a single NAR, decoding still runs beside what follows.
//
// A queue's memory is bounded. A decoder of a slow compression that has filled its queue
// long before its NAR's turn would stand still, and the cores with it;
// it goes on into a temporary file, which is bounded too, and left alone where there
// is none or it is full. That is what keeps two cores busy with xz.
//
// Which NAR fails is decided in the order of reading, whoever finds a fault first.
type ahead struct {
	ctx   context.Context
	nars  []NAR
	spill func() (*os.File, error) // nil: no temporary files

	unwatch func() bool

	wg   sync.WaitGroup
	mu   sync.Mutex
	cond *sync.Cond // any change of what is below

	stopped  bool
	next     int // the first NAR that no decoder has taken
	current  int // the NAR being read
	read     int64
	progress []progress // of each NAR
	queues   []*queue
}

// progress says how far a NAR is decoded.
type progress struct {
	queue *queue // nil: not taken
	size  int64  // bytes put into the queue
	err   error  // io.EOF once all is decoded and right; nil: more will come
}

// queue holds what one decoder has decoded and nobody read: the contents of full,
// and behind them those of file.
type queue struct {
	full  []*decoderBuffer // oldest first
	spare []*decoderBuffer

	file       *os.File
	noFile     bool  // there is none, or it doesn't work
	head, tail int64 // what is in file: bytes head to tail, each at its number modulo spillSize
}

// decoderBuffer is a piece of a NAR.
type decoderBuffer struct {
	n   int // bytes in use
	off int // of which are read
	buf [decoderBufferSize]byte
}

// startAhead starts the decoders, at most as many as workers. Stop must be called.
func startAhead(ctx context.Context, nars []NAR, workers int, spill func() (*os.File, error)) *ahead {
	a := &ahead{ctx: ctx, nars: nars, spill: spill, current: -1, progress: make([]progress, len(nars))}
	a.cond = sync.NewCond(&a.mu)
	a.unwatch = context.AfterFunc(ctx, a.interrupt)
	for range min(len(nars), max(workers, 1), maxDecoders) {
		q := &queue{noFile: spill == nil}
		a.queues = append(a.queues, q)
		a.wg.Go(func() { a.decode(q) })
	}
	return a
}

// stop ends the decoders and waits for them. Whoever reads a NAR file must
// be told by the context to stop.
func (a *ahead) stop() {
	a.unwatch()
	a.interrupt()
	a.wg.Wait()
	for _, q := range a.queues {
		if q.file != nil {
			q.file.Close()
		}
	}
}

// interrupt wakes up all who wait for one another.
func (a *ahead) interrupt() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopped = true
	a.cond.Broadcast()
}

// decode is a decoder: it works on one NAR after the other.
func (a *ahead) decode(q *queue) {
	var r narfile.Reader
	defer r.Close()
	for {
		i, ok := a.take(q)
		if !ok {
			return
		}
		err := a.decodeNAR(q, &r, i)
		a.mu.Lock()
		a.progress[i].err = err
		a.cond.Broadcast()
		a.mu.Unlock()
	}
}

// take says which NAR is to be decoded next.
func (a *ahead) take(q *queue) (i int, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped || a.next == len(a.nars) {
		return 0, false
	}
	i = a.next
	a.next++
	a.progress[i].queue = q
	a.cond.Broadcast()
	return i, true
}

var errStopped = errors.New("stopped")

// decodeNAR decodes and checks NAR number i. It returns io.EOF if all is right.
func (a *ahead) decodeNAR(q *queue, r *narfile.Reader, i int) error {
	if a.ctx.Err() != nil {
		return context.Cause(a.ctx)
	}
	n := a.nars[i]
	src, err := n.Open(a.ctx)
	if err != nil {
		return err
	}
	defer src.Close()
	if n.Trusted {
		return a.copyNAR(q, src, i)
	}
	f := n.File
	if f.Compression == "none" && f.FileHash == f.NarHash {
		f.FileHash = [32]byte{} // The file is the NAR: one hash says as much as two.
	}
	if err := r.Reset(src, f); err != nil {
		return err
	}
	return a.copyNAR(q, r, i)
}

// copyNAR puts what r gives into the queue, as NAR number i.
func (a *ahead) copyNAR(q *queue, r io.Reader, i int) (err error) {
	for {
		b := a.buffer(q)
		for b.n < len(b.buf) && err == nil {
			var n int
			n, err = r.Read(b.buf[b.n:])
			b.n += n
		}
		if !a.put(q, i, b) {
			return errStopped
		}
		if err != nil {
			return err
		}
	}
}

// buffer returns an empty buffer. There is one more than the queue takes, and
// the decoder holds none: there is always one to be had.
func (a *ahead) buffer(q *queue) *decoderBuffer {
	a.mu.Lock()
	defer a.mu.Unlock()
	last := len(q.spare) - 1
	if last < 0 {
		return new(decoderBuffer)
	}
	b := q.spare[last]
	q.spare = q.spare[:last]
	b.n, b.off = 0, 0
	return b
}

// put adds the contents of b, which belong to NAR number i, to the queue. It
// waits for room; ok is false if nobody wants them any more.
func (a *ahead) put(q *queue, i int, b *decoderBuffer) (ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for !a.stopped {
		if b.n == 0 {
			q.spare = append(q.spare, b)
			return true
		}
		if q.head == q.tail && len(q.full) < decoderBuffers {
			a.progress[i].size += int64(b.n)
			q.full = append(q.full, b)
			a.cond.Broadcast()
			return true
		}
		// Into the file: before the NAR's turn, and in its turn as long as what is in the file is not read.
		if slow[a.nars[i].File.Compression] && (i != a.current || q.head < q.tail) && !q.noFile && q.tail-q.head+int64(b.n) <= spillSize {
			if q.head == q.tail {
				q.head, q.tail = 0, 0 // Nothing is in it: the pages that the system has of it are used again.
			}
			// Only this goroutine moves tail, or head backwards.
			a.mu.Unlock()
			err := q.writeFile(a.spill, b.buf[:b.n])
			a.mu.Lock()
			if err == nil {
				q.tail += int64(b.n)
				a.progress[i].size += int64(b.n)
				q.spare = append(q.spare, b)
				a.cond.Broadcast()
				return true
			}
			q.noFile = true // No room on the disk, perhaps: it was only to save time.
			continue
		}
		a.cond.Wait()
	}
	return false
}

// writeFile puts p behind tail.
func (q *queue) writeFile(open func() (*os.File, error), p []byte) error {
	if q.file == nil {
		f, err := open()
		if err != nil {
			return err
		}
		q.file = f
	}
	at := q.tail % spillSize
	n := min(int64(len(p)), spillSize-at)
	if _, err := q.file.WriteAt(p[:n], at); err != nil {
		return err
	}
	_, err := q.file.WriteAt(p[n:], 0)
	return err
}

// begin makes number i the NAR that Read reads. They are read in order, each
// to its end or to an error.
func (a *ahead) begin(i int) {
	a.mu.Lock()
	a.current, a.read = i, 0
	a.cond.Broadcast()
	a.mu.Unlock()
}

// Read gives the current NAR's bytes, and io.EOF if they were all and right.
func (a *ahead) Read(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := &a.progress[a.current]
	for s.size == a.read && s.err == nil && !a.stopped {
		a.cond.Wait()
	}
	switch {
	case a.stopped:
		return 0, errStopped
	case s.size == a.read:
		return 0, s.err
	}
	q := s.queue
	n := 0
	if len(q.full) > 0 {
		b := q.full[0] // This goroutine's, until it is among the spare ones.
		a.mu.Unlock()
		n = copy(p, b.buf[b.off:b.n])
		b.off += n
		a.mu.Lock()
		if b.off == b.n {
			q.full = append(q.full[:0], q.full[1:]...)
			q.spare = append(q.spare, b)
			a.cond.Broadcast()
		}
	} else {
		// The file holds bytes of later NARs too.
		m := min(int64(len(p)), s.size-a.read, spillSize-q.head%spillSize)
		a.mu.Unlock()
		var err error
		n, err = q.file.ReadAt(p[:m], q.head%spillSize)
		a.mu.Lock()
		if n == 0 {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return 0, fmt.Errorf("reading a temporary file back: %w", err)
		}
		q.head += int64(n)
		a.cond.Broadcast()
	}
	a.read += int64(n)
	return n, nil
}
