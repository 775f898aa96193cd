package binarycache

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/rules-strata/rules_strata/tool/store"
)

const (
	// maxSmall is how many small files are asked for or sent at once.
	maxSmall = 16
	// maxAhead is how many paths are begun at once: more than enough to keep all else busy.
	maxAhead = 64
)

// Progress is how far the work is.
type Progress struct {
	// Done and Total are numbers of store paths.
	Done, Total int
	// Bytes are what was read of NARs, before or, by Mirror, as they are stored.
	Bytes int64
}

// Result is what was done.
type Result struct {
	// Written are the paths whose narinfo was written; There those that were there, whole.
	Written, There int
	// Files is the number of NAR files that were written, and FileBytes their sizes' sum.
	Files     int
	FileBytes int64
}

// PathError says what is wrong with one store path.
type PathError struct {
	Path store.Path
	Err  error
}

// Error begins with the store path.
func (e *PathError) Error() string { return string(e.Path) + ": " + e.Err.Error() }

// Unwrap returns e.Err.
func (e *PathError) Unwrap() error { return e.Err }

// jobs puts paths into a cache, several at once: of each, first the NAR, then,
// behind those of its references, the narinfo.
type jobs struct {
	c        *Cache
	progress func(Progress)
	nars     *semaphore.Weighted
	small    *semaphore.Weighted

	mu     sync.Mutex
	result Result
	at     Progress
	files  map[string]*file // by name
}

// file is a NAR's file, which paths with the same contents share.
type file struct {
	once sync.Once
	err  error
}

// once calls put, which puts the file of a name into the cache, for the first path that has it; the others wait for that.
func (j *jobs) once(name string, put func() error) error {
	j.mu.Lock()
	if j.files == nil {
		j.files = map[string]*file{}
	}
	f := j.files[name]
	if f == nil {
		f = new(file)
		j.files[name] = f
	}
	j.mu.Unlock()
	f.once.Do(func() { f.err = put() })
	return f.err
}

// entry is what came of a path's first step.
type entry struct {
	narinfo []byte // to be written; nil: it is there
}

// run puts the paths into the cache: prepare does the first step of one. No two
// paths may refer to each other. References that are not among the paths are not waited for.
func (j *jobs) run(parent context.Context, references map[store.Path][]store.Path, prepare func(ctx context.Context, p store.Path) (entry, error)) error {
	done := make(map[store.Path]chan struct{}, len(references))
	named := make(map[string]store.Path, len(references))
	for _, p := range slices.Sorted(maps.Keys(references)) {
		if other, ok := named[p.HashPart()]; ok {
			return &PathError{p, fmt.Errorf("it has the hash part of %s: a cache can't hold both", other)}
		}
		named[p.HashPart()] = p
		done[p] = make(chan struct{})
	}
	j.at.Total = len(references)
	g, ctx := errgroup.WithContext(parent)
	ahead := semaphore.NewWeighted(maxAhead)
	for _, p := range inOrder(references) {
		if ahead.Acquire(ctx, 1) != nil {
			break // Something failed, or the work is to stop: what is under way says what.
		}
		g.Go(func() error {
			err := j.one(ctx, p, references[p], done, func(ctx context.Context, p store.Path) (entry, error) {
				defer ahead.Release(1) // Who waits for references is no burden.
				return prepare(ctx, p)
			})
			if err == nil || ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
				return err
			}
			return &PathError{p, err}
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return context.Cause(parent)
}

// inOrder returns the paths so that each comes behind those it refers to, so that few have to wait for long.
func inOrder(references map[store.Path][]store.Path) []store.Path {
	sorted := slices.Sorted(maps.Keys(references))
	missing := make(map[store.Path]int, len(references))
	referrers := make(map[store.Path][]store.Path, len(references))
	for _, p := range sorted {
		for _, r := range references[p] {
			if _, ok := references[r]; ok && r != p {
				missing[p]++
				referrers[r] = append(referrers[r], p)
			}
		}
	}
	order := slices.DeleteFunc(sorted, func(p store.Path) bool { return missing[p] > 0 })
	for i := 0; i < len(order); i++ {
		for _, p := range referrers[order[i]] {
			if missing[p]--; missing[p] == 0 {
				order = append(order, p)
			}
		}
	}
	return order
}

func (j *jobs) one(ctx context.Context, p store.Path, references []store.Path, done map[store.Path]chan struct{}, prepare func(context.Context, store.Path) (entry, error)) error {
	e, err := prepare(ctx, p)
	if err != nil {
		return err
	}
	if e.narinfo != nil {
		for _, r := range references {
			if wait := done[r]; wait != nil && r != p {
				select {
				case <-wait:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
		}
		if err := j.small.Acquire(ctx, 1); err != nil {
			return context.Cause(ctx)
		}
		err := j.c.Put(ctx, narinfoName(p), e.narinfo)
		j.small.Release(1)
		if err != nil {
			return err
		}
	}
	close(done[p])
	j.mu.Lock()
	defer j.mu.Unlock()
	if e.narinfo != nil {
		j.result.Written++
	} else {
		j.result.There++
	}
	j.at.Done++
	j.tell()
	return nil
}

// read counts bytes of NARs.
func (j *jobs) read(n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.at.Bytes += int64(n)
	j.tell()
}

// wrote counts a NAR's file.
func (j *jobs) wrote(size int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.result.Files++
	j.result.FileBytes += size
}

func (j *jobs) tell() {
	if j.progress != nil {
		j.progress(j.at)
	}
}

// counter counts what passes, and stops when the work is to stop.
type counter struct {
	ctx context.Context
	j   *jobs
}

func (c counter) Write(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, fmt.Errorf("stopped: %w", context.Cause(c.ctx))
	}
	c.j.read(len(p))
	return len(p), nil
}
