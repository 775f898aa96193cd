package ondemand

import (
	"bytes"
	"cmp"
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/rules-strata/rules_strata/tool/atomicfile"
)

// The folders of a cache.
const (
	blobsDir  = "blobs"  // by the hex of the digest
	layersDir = "layers" // digest files, by the layer's key
	imagesDir = "images" // records, by the image's key
	listsDir  = "lists"  // of channels; not counted, not evicted
	lockFile  = "lock"
)

// unfinished is in the name of each file that is being written.
const unfinished = "new"

// touchInterval is how exact the time of last use is on the disk, for the next process.
const touchInterval = time.Minute

// documentsShare is which part of the limit there is beside it for what is known of layers and images: a blob is made again
// from that, so a large one may not drive it out. There is room for minDocuments bytes at least.
const (
	documentsShare = 16
	minDocuments   = 16 << 20
)

// cache is a folder of files of which those used longest ago go when there are too many bytes. It is one process' own.
type cache struct {
	dir  string
	lock io.Closer

	mu        sync.Mutex
	files     map[string]*list.Element
	blobs     pool
	documents pool
}

// pool is files that have a limit together.
type pool struct {
	limit  int64     // bytes
	recent list.List // of *cached, the last used first
	total  int64     // bytes
}

// poolOf is the pool of a file of that name.
func (c *cache) poolOf(name string) *pool {
	if strings.HasPrefix(name, blobsDir+"/") {
		return &c.blobs
	}
	return &c.documents
}

// cached is a file of the cache.
type cached struct {
	name    string // "blobs/<hex>"
	size    int64
	touched time.Time // on the disk

	// verifying is held while the file is hashed; verified says that it was, or that this process wrote it.
	verifying sync.Mutex
	verified  bool
}

// openCache opens the folder, and makes it if it isn't there. What a killed process left unfinished in it is removed.
func openCache(dir string, limit int64) (*cache, error) {
	c := &cache{dir: dir, files: map[string]*list.Element{}}
	c.blobs.limit, c.documents.limit = limit, max(limit/documentsShare, minDocuments)
	for _, d := range []string{blobsDir, layersDir, imagesDir, listsDir} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			return nil, err
		}
	}
	var err error
	if c.lock, err = lockFolder(filepath.Join(dir, lockFile)); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	if err := c.scan(); err != nil {
		c.close()
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.evict(&c.blobs)
	c.evict(&c.documents)
	return c, nil
}

func (c *cache) close() error { return c.lock.Close() }

func (c *cache) scan() error {
	var all []*cached
	for _, d := range []string{blobsDir, layersDir, imagesDir, listsDir} {
		entries, err := os.ReadDir(filepath.Join(c.dir, d))
		if err != nil {
			return err
		}
		for _, e := range entries {
			name := d + "/" + e.Name()
			info, err := e.Info()
			switch {
			case errors.Is(err, fs.ErrNotExist):
			case err != nil:
				return err
			case !info.Mode().IsRegular():
			case isUnfinished(e.Name()):
				if err := os.Remove(c.path(name)); err != nil {
					return err
				}
			case d != listsDir && isKept(e.Name()):
				all = append(all, &cached{name: name, size: info.Size(), touched: info.ModTime()})
			}
		}
	}
	slices.SortFunc(all, func(a, b *cached) int { return cmp.Or(b.touched.Compare(a.touched), cmp.Compare(a.name, b.name)) })
	for _, f := range all {
		p := c.poolOf(f.name)
		c.files[f.name] = p.recent.PushBack(f)
		p.total += f.size
	}
	return nil
}

// isUnfinished reports whether a file of that name was being written, here or by a layer that needs room meanwhile.
func isUnfinished(name string) bool {
	return strings.HasPrefix(name, ".strata-") || strings.HasPrefix(name, ".") && strings.Contains(name, unfinished+".") && strings.HasSuffix(name, ".tmp")
}

// isKept reports whether a file of that name is the cache's own. The folder may have others in it, if somebody named a wrong one.
func isKept(name string) bool {
	b, err := hex.DecodeString(name)
	return err == nil && len(b) == sha256.Size
}

func (c *cache) path(name string) string { return filepath.Join(c.dir, filepath.FromSlash(name)) }

// names are the files of a folder of the cache, the last used first.
func (c *cache) names(folder string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for e := c.poolOf(folder + "/").recent.Front(); e != nil; e = e.Next() {
		if name := e.Value.(*cached).name; strings.HasPrefix(name, folder+"/") {
			names = append(names, name)
		}
	}
	return names
}

// use returns the file of that name as one that is used now; nil if there is none.
func (c *cache) use(name string) *cached {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.files[name]
	if e == nil {
		return nil
	}
	c.poolOf(name).recent.MoveToFront(e)
	f := e.Value.(*cached)
	if now := time.Now(); now.Sub(f.touched) > touchInterval {
		f.touched = now
		os.Chtimes(c.path(name), now, now) // Where it fails, the next process has an older time.
	}
	return f
}

// has reports whether there is a file of that name; it doesn't count as used.
func (c *cache) has(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.files[name] != nil
}

// blob opens a blob that has its digest; fs.ErrNotExist if there is none.
func (c *cache) blob(ctx context.Context, d digest.Digest) (*os.File, error) {
	name := blobsDir + "/" + d.Encoded()
	f := c.use(name)
	if f == nil {
		return nil, fs.ErrNotExist
	}
	in, err := os.Open(c.path(name))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			c.drop(f)
		}
		return nil, err
	}
	err = f.verify(ctx, in, d)
	if err == nil {
		_, err = in.Seek(0, io.SeekStart)
	}
	if err != nil {
		in.Close()
		if errors.Is(err, errDamaged) {
			c.drop(f)
			err = fmt.Errorf("%w: %w", fs.ErrNotExist, err)
		}
		return nil, err
	}
	return in, nil
}

var errDamaged = errors.New("the cache's file is damaged")

// verify hashes a file that another process wrote, once.
func (f *cached) verify(ctx context.Context, in *os.File, want digest.Digest) error {
	f.verifying.Lock()
	defer f.verifying.Unlock()
	if f.verified {
		return nil
	}
	h := sha256.New()
	buf := make([]byte, 128<<10)
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := in.Read(buf)
		h.Write(buf[:n])
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if hex.EncodeToString(h.Sum(nil)) != want.Encoded() {
		return errDamaged
	}
	f.verified = true
	return nil
}

// drop forgets a file and removes it.
func (c *cache) drop(f *cached) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.files[f.name]; e != nil && e.Value == f {
		c.remove(e)
	}
}

// remove is drop for who holds mu.
func (c *cache) remove(e *list.Element) {
	f := e.Value.(*cached)
	p := c.poolOf(f.name)
	p.recent.Remove(e)
	delete(c.files, f.name)
	p.total -= f.size
	os.Remove(c.path(f.name))
}

// create begins a file of a folder.
func (c *cache) create(folder string) (*atomicfile.File, error) {
	return atomicfile.Create(filepath.Join(c.dir, folder, unfinished))
}

// commit makes f a file of that name, and makes room for it. Who wrote it vouches for what is in it.
func (c *cache) commit(f *atomicfile.File, name string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// A link that somebody left there would say where the bytes go.
	if there, err := os.Lstat(c.path(name)); err == nil && !there.Mode().IsRegular() {
		if err := os.Remove(c.path(name)); err != nil {
			return err
		}
	}
	if err := f.CommitAs(c.path(name)); err != nil {
		return err
	}
	p := c.poolOf(name)
	if e := c.files[name]; e != nil {
		p.total -= p.recent.Remove(e).(*cached).size
	}
	c.files[name] = p.recent.PushFront(&cached{name: name, size: info.Size(), touched: time.Now(), verified: true})
	p.total += info.Size()
	c.evict(p)
	return nil
}

// evict removes what was used longest ago, until the rest is within the limit; but for the file used last, which may be over it alone.
func (c *cache) evict(p *pool) {
	for p.total > p.limit && p.recent.Len() > 1 {
		c.remove(p.recent.Back())
	}
}

// put makes a document a file of that name: its bytes behind a line with their hash.
func (c *cache) put(name string, b []byte) error {
	f, err := c.create(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := fmt.Fprintf(f, "%x\n%s", sha256.Sum256(b), b); err != nil {
		return err
	}
	return c.commit(f, name)
}

// get returns the document of that name; fs.ErrNotExist if there is none that is whole.
func (c *cache) get(name string) ([]byte, error) {
	f := c.use(name)
	if f == nil {
		return nil, fs.ErrNotExist
	}
	b, err := os.ReadFile(c.path(name))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			c.drop(f)
		}
		return nil, err
	}
	sum, b, _ := bytes.Cut(b, []byte("\n"))
	if hash := sha256.Sum256(b); hex.EncodeToString(hash[:]) != string(sum) {
		c.drop(f)
		return nil, fmt.Errorf("%s: %w: %w", name, fs.ErrNotExist, errDamaged)
	}
	return b, nil
}
