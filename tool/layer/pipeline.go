package layer

import (
	"context"
	"crypto/sha256"
	"hash"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"
)

// pipeline is all that lies behind the tar: a goroutine that hashes it for
// the diff ID, and one that compresses it into the blob (the encoders have further ones).
// Who started it puts the tar into ring and calls finish or abort, once.
type pipeline struct {
	ring   *ring
	blob   *blobWriter
	enc    encoder // nil: the tar is the blob
	cancel context.CancelCauseFunc

	wg      sync.WaitGroup
	hash    hash.Hash
	blobErr error

	diffID, digest digest.Digest // set by finish
}

// startPipeline starts the stages that write a blob to w. When one fails, it
// cancels ctx with its error, so that nothing more comes into the ring.
func startPipeline(ctx context.Context, cancel context.CancelCauseFunc, w io.Writer, e encoding, workers int) (*pipeline, error) {
	p := &pipeline{
		ring:   newRing(ctx, 2),
		blob:   newBlobWriter(w, e.codec.open != nil),
		cancel: cancel,
		hash:   sha256.New(),
	}
	sink := io.Writer(p.blob)
	if e.codec.open != nil {
		enc, err := e.codec.open(p.blob, e.level, workers)
		if err != nil {
			return nil, err
		}
		p.enc, sink = enc, enc
	}
	p.wg.Go(func() {
		p.ring.each(0, func(b []byte) error { p.hash.Write(b); return nil })
	})
	p.wg.Go(func() {
		p.blobErr = p.ring.each(1, func(b []byte) error {
			_, err := sink.Write(b)
			if err != nil {
				p.cancel(err)
			}
			return err
		})
	})
	return p, nil
}

// finish passes on the last bytes and waits until the blob is written.
func (p *pipeline) finish() error {
	p.ring.close()
	p.wg.Wait()
	err := p.blobErr
	if err == nil && p.enc != nil {
		err = p.enc.Close()
	}
	if err != nil {
		p.stop()
		return err
	}
	p.diffID = digestOf(p.hash)
	p.digest = p.diffID
	if p.blob.hash != nil {
		p.digest = digestOf(p.blob.hash)
	}
	return nil
}

// abort drops the blob, and waits until nothing writes to it any more.
func (p *pipeline) abort() {
	p.ring.close()
	p.wg.Wait()
	p.stop()
}

func (p *pipeline) stop() {
	if p.enc != nil {
		p.enc.abort()
	}
}
