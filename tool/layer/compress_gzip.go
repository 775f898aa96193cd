package layer

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"

	"github.com/rules-strata/rules_strata/tool/deflate"
)

const (
	gzipDefaultLevel = 6

	// gzipBlockSize is how much of the tar is deflated as one piece, and
	// gzipDictSize how much of what comes before it the encoder knows then (deflate can
	// refer to 32 KiB). Both are part of what the blob's bytes are, and must not change within one format version.
	//
	// Measured on the corpus of bench/ (783 MB of tar): the sizes of whole blobs, and the CPU of the encoder alone on a part of
	// it, the least of several runs in turns, to that of the first line; after "umoci insert" of the same files (its encoder is an older
	// one of klauspost/compress, at level 5):
	//
	//	klauspost/compress, level 6, 1 MiB, 16 KiB known  269,219,801 bytes   1
	//	                           512 KiB, 32 KiB        269,168,633         1.05
	//	                    level 5                       272,649,230         0.93
	//	                    level 4                       279,527,014         0.73
	//	tool/deflate                1 MiB, 16 KiB         267,140,390         0.61
	//	  with bounds checked (-tags purego)              267,140,390         0.69
	//	umoci 0.4.7                                       271,584,699
	//
	// So the default level is that of tool/deflate, and takes two thirds of the whole program's time with level 6.
	// What is known beforehand must be searched through first, so that small blocks cost time;
	// larger ones cost memory and gain nothing.
	gzipBlockSize = 1 << 20
	gzipDictSize  = 16 << 10

	// gzipMaxWorkers bounds the memory on big machines (the whole program took 53 MB with
	// as many, 25 MB with two). At some 110 MB/s each they take in most of what one goroutine can unpack and hash.
	gzipMaxWorkers = 10
)

// gzipEncoder writes one gzip member (RFC 1952), deflated in blocks by as many
// goroutines as there are workers. Each block but the last ends at a byte's boundary (an empty
// stored block, RFC 1951, 3.2.4), so that blocks can be put one behind the other.
//
//	Write ─ cur ─┬→ todo  → workers: deflate ┐ done
//	             └→ order → writer: ─────────┴→ w, then free → cur
//
// A block is in cur, in both channels, or free; there are never more than made.
type gzipEncoder struct {
	level, workers int

	cur   *gzipBlock
	crc   uint32
	size  uint32 // modulo 2^32, as the trailer has it
	made  int    // blocks; a worker is started with each of the first ones
	free  chan *gzipBlock
	todo  chan *gzipBlock
	order chan *gzipBlock
	wg    sync.WaitGroup

	w       io.Writer
	mu      sync.Mutex
	err     error // w's
	stopped bool
}

// gzipBlock is a piece of the tar, and what becomes of it.
type gzipBlock struct {
	in   []byte // gzipDictSize bytes of room for the end of the block before, then the block's
	dict int    // how many of them are used: the last ones
	last bool
	out  gzipOutput
	done chan struct{} // a token: out is complete
}

// gzipOutput collects what a flate.Writer writes. Its memory is kept.
type gzipOutput []byte

func (o *gzipOutput) Write(p []byte) (int, error) {
	*o = append(*o, p...)
	return len(p), nil
}

func newGzip(w io.Writer, level, workers int) (encoder, error) {
	workers = max(1, min(workers, gzipMaxWorkers))
	blocks := workers + 2 // One is being filled and one written meanwhile.
	e := &gzipEncoder{
		level:   level,
		workers: workers,
		free:    make(chan *gzipBlock, blocks),
		todo:    make(chan *gzipBlock, blocks),
		order:   make(chan *gzipBlock, blocks),
		w:       w,
	}
	// The header says neither when nor where it was made: no time, and 255 for "unknown" (RFC 1952, 2.3.1).
	extra := byte(0)
	switch level {
	case 9:
		extra = 2
	case 1:
		extra = 4
	}
	e.cur = e.block(nil)
	e.wg.Go(func() { e.write([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, extra, 255}) })
	return e, nil
}

// Write implements [io.Writer]. The error is that of an earlier block.
func (e *gzipEncoder) Write(p []byte) (int, error) {
	e.crc = crc32.Update(e.crc, crc32.IEEETable, p)
	e.size += uint32(len(p))
	n := len(p)
	for len(p) > 0 {
		if len(e.cur.in) == cap(e.cur.in) {
			if err := e.failed(); err != nil {
				return n - len(p), err
			}
			e.cur = e.submit(e.cur)
		}
		room := e.cur.in[len(e.cur.in):cap(e.cur.in)]
		m := copy(room, p)
		e.cur.in = e.cur.in[:len(e.cur.in)+m]
		p = p[m:]
	}
	return n, nil
}

// submit passes b on, and returns the block that follows it.
func (e *gzipEncoder) submit(b *gzipBlock) *gzipBlock {
	next := e.block(b)
	e.order <- b
	e.todo <- b
	return next
}

// block returns an empty block that follows after; it waits for one if all are in use.
func (e *gzipEncoder) block(after *gzipBlock) *gzipBlock {
	var b *gzipBlock
	select {
	case b = <-e.free:
	default:
		if e.made == cap(e.free) {
			b = <-e.free
			break
		}
		e.made++
		b = &gzipBlock{
			in:   make([]byte, gzipDictSize+gzipBlockSize),
			out:  make([]byte, 0, gzipBlockSize+gzipBlockSize/64), // what can't be compressed is stored
			done: make(chan struct{}, 1),
		}
		if e.made <= e.workers {
			e.wg.Go(e.deflate)
		}
	}
	b.in, b.out, b.dict, b.last = b.in[:gzipDictSize], b.out[:0], 0, false
	if after != nil {
		b.dict = copy(b.in, after.in[len(after.in)-gzipDictSize:]) // A block that has one after it is full.
	}
	return b
}

// deflate is a worker.
func (e *gzipEncoder) deflate() {
	deflate := newBlockDeflater(e.level)
	for b := range e.todo {
		if e.failed() == nil {
			if err := deflate(b); err != nil {
				e.fail(err)
			}
		}
		b.done <- struct{}{}
	}
}

// newBlockDeflater returns what deflates one block after another: an encoder made for such blocks at the
// default level, a library's at others.
func newBlockDeflater(level int) func(*gzipBlock) error {
	if level == gzipDefaultLevel {
		z := new(deflate.Encoder)
		return func(b *gzipBlock) error {
			b.out = z.Append(b.out, b.in[gzipDictSize-b.dict:], b.dict, b.last)
			return nil
		}
	}
	// No step fails: the level was checked, and memory takes all.
	z, err := flate.NewWriterDict(nil, level, nil)
	return func(b *gzipBlock) error {
		if err != nil {
			return err
		}
		z.ResetDict(&b.out, b.in[gzipDictSize-b.dict:gzipDictSize])
		_, err := z.Write(b.in[gzipDictSize:])
		if b.last {
			return errors.Join(err, z.Close())
		}
		return errors.Join(err, z.Flush())
	}
}

// write writes header and blocks in order.
func (e *gzipEncoder) write(header []byte) {
	put := func(p []byte) {
		if e.failed() == nil {
			if _, err := e.w.Write(p); err != nil {
				e.fail(err)
			}
		}
	}
	put(header)
	for b := range e.order {
		<-b.done
		put(b.out)
		e.free <- b
	}
}

func (e *gzipEncoder) fail(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err == nil {
		e.err = err
	}
}

func (e *gzipEncoder) failed() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}

// Close implements [encoder].
func (e *gzipEncoder) Close() error {
	e.cur.last = true
	e.order <- e.cur
	e.todo <- e.cur
	e.stop()
	if e.err == nil {
		var trailer [8]byte
		binary.LittleEndian.PutUint32(trailer[:], e.crc)
		binary.LittleEndian.PutUint32(trailer[4:], e.size)
		_, e.err = e.w.Write(trailer[:])
	}
	return e.err
}

var errAborted = errors.New("aborted")

// abort implements [encoder]; it may follow Close.
func (e *gzipEncoder) abort() {
	e.fail(errAborted)
	e.stop()
}

// stop ends the goroutines, once.
func (e *gzipEncoder) stop() {
	if !e.stopped {
		e.stopped = true
		close(e.todo)
		close(e.order)
	}
	e.wg.Wait()
}
