package binarycache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/lock"
	"github.com/rules-strata/rules_strata/tool/narfile"
	"github.com/rules-strata/rules_strata/tool/narinfo"
	"github.com/rules-strata/rules_strata/tool/store"
)

// maxNARs is how many NARs are copied at once. Each may take a decoder's window of 128 MiB.
const maxNARs = 4

// MirrorOptions say what [Mirror] copies.
type MirrorOptions struct {
	// Lock names the paths and where they are.
	Lock *lock.Lock
	// Client fetches. Its own folder must be the lock file's.
	Client *fetch.Client
	// Progress, if set, is told how far the work is. It is called by one goroutine at a time.
	Progress func(Progress)
}

// Mirror copies what a lock names into the cache c: the NARs' files as they are
// stored, checked by FileHash and NarHash before they are sent, and the narinfos
// byte for byte, checked against the lock. All names stay, so that c may stand in
// as a mirror of the caches where the lock has its files from. It returns these, sorted, without credentials.
//
// Of a path that a cache offers in several files (Guix') the one that the lock names is copied.
func Mirror(ctx context.Context, c *Cache, o MirrorOptions) (result Result, caches []string, err error) {
	if err := c.Prepare(ctx, storeDir(o.Lock)); err != nil {
		return Result{}, nil, err
	}
	m := &mirror{
		jobs: jobs{
			c: c, progress: o.Progress,
			nars: semaphore.NewWeighted(maxNARs), small: semaphore.NewWeighted(maxSmall),
		},
		o: o, used: map[string]bool{}, names: map[string]*lock.Path{}, readers: make(chan *narfile.Reader, maxNARs),
	}
	for range maxNARs {
		m.readers <- new(narfile.Reader)
	}
	defer func() {
		for range maxNARs {
			(<-m.readers).Close()
		}
	}()
	references := make(map[store.Path][]store.Path, len(o.Lock.Paths))
	for p, e := range o.Lock.Paths {
		references[p] = e.References
	}
	err = m.run(ctx, references, m.prepare)
	return m.result, slices.Sorted(maps.Keys(m.used)), err
}

// storeDir is that of all paths of a lock.
func storeDir(l *lock.Lock) string {
	for p := range l.Paths {
		return p.Dir()
	}
	return ""
}

type mirror struct {
	jobs
	o       MirrorOptions
	readers chan *narfile.Reader

	known sync.Mutex
	used  map[string]bool       // caches
	names map[string]*lock.Path // of files: the first path that has it
}

func (m *mirror) prepare(ctx context.Context, p store.Path) (entry, error) {
	e := m.o.Lock.Paths[p]
	if err := m.small.Acquire(ctx, 1); err != nil {
		return entry{}, context.Cause(ctx)
	}
	text, name, err := m.find(ctx, p, e)
	var old []byte
	if err == nil {
		_, old, err = m.c.narinfo(ctx, p)
	}
	m.small.Release(1)
	if err != nil {
		return entry{}, err
	}
	m.known.Lock()
	first := m.names[name]
	if first == nil {
		first = e
		m.names[name] = e
	}
	m.known.Unlock()
	if first.FileHash != e.FileHash || first.FileSize != e.FileSize || first.NarHash != e.NarHash || first.NarSize != e.NarSize || first.Compression != e.Compression {
		return entry{}, fmt.Errorf("the lock has two files of one name, %s: %s, %s and %s, %s", name, first.URL, first.FileHash, e.URL, e.FileHash)
	}
	if err := m.once(name, func() error { return m.copyFile(ctx, p, e, name) }); err != nil {
		return entry{}, err
	}
	if bytes.Equal(old, text) {
		return entry{}, nil
	}
	return entry{narinfo: text}, nil
}

// find fetches the narinfo of p from the cache where the lock has it from, and
// returns its text and the file's name there.
func (m *mirror) find(ctx context.Context, p store.Path, e *lock.Path) (text []byte, name string, err error) {
	err = fmt.Errorf("%s: no cache of the lock has such a file", fetch.Redact(e.URL)) // Reading the lock has made sure of one.
	for _, cache := range m.o.Lock.Caches {
		if !strings.HasPrefix(e.URL, cache+"/") {
			continue
		}
		// One cache's URL may begin with another's: then the first that has it right is meant.
		if text, name, err = m.findIn(ctx, cache, p, e); err == nil {
			m.known.Lock()
			defer m.known.Unlock()
			m.used[cache] = true
			return text, name, nil
		}
		var changed *hintedError
		if !errors.As(err, &changed) {
			break
		}
	}
	return nil, "", err
}

func (m *mirror) findIn(ctx context.Context, cache string, p store.Path, e *lock.Path) (text []byte, name string, err error) {
	const hint = "the cache isn't what it was when the lock was made: lock again (strata lock --refresh)"
	url := cache + "/" + narinfoName(p)
	text, err = m.o.Client.Get(ctx, url, narinfo.MaxSize)
	switch {
	case errors.Is(err, fetch.ErrNotFound), errors.Is(err, fetch.ErrTooLarge):
		return nil, "", &hintedError{err, hint}
	case err != nil:
		return nil, "", err
	}
	if name, err = check(text, p, e, cache); err != nil {
		return nil, "", &hintedError{fmt.Errorf("%s: %w", fetch.Redact(url), err), hint}
	}
	return text, name, nil
}

// check compares a narinfo with the lock, and returns the name of the file that the lock means.
func check(b []byte, p store.Path, e *lock.Path, cache string) (name string, err error) {
	info, err := narinfo.Parse(b)
	if err != nil {
		return "", err
	}
	if info.StorePath != p {
		return "", fmt.Errorf("the narinfo is about another path: %s", info.StorePath)
	}
	if info.NarHash != e.NarHash || info.NarSize != e.NarSize {
		return "", fmt.Errorf("the narinfo has NarHash %s, %d bytes, the lock %s, %d bytes", info.NarHash, info.NarSize, e.NarHash, e.NarSize)
	}
	if !slices.Equal(info.References, e.References) {
		return "", errors.New("the narinfo has other references than the lock")
	}
	if e.Signature != "" && !slices.ContainsFunc(info.Signatures, func(s narinfo.Signature) bool { return s.String() == e.Signature }) {
		signer, _, _ := strings.Cut(e.Signature, ":")
		return "", fmt.Errorf("the narinfo has no more the signature by %s that the lock has", signer)
	}
	if e.SignedBy != "" && info.GuixSignature == nil {
		return "", fmt.Errorf("the narinfo has no signature of Guix, the lock one by %s", e.SignedBy)
	}
	for _, f := range info.Files() {
		if cache+"/"+f.URL != e.URL {
			continue
		}
		if f.Compression != e.Compression || !f.FileHash.IsZero() && f.FileHash != e.FileHash || f.FileSize >= 0 && f.FileSize != e.FileSize {
			return "", fmt.Errorf("the narinfo says of %s: %s, FileHash %s, %d bytes, the lock: %s, %s, %d bytes",
				f.URL, f.Compression, f.FileHash, f.FileSize, e.Compression, e.FileHash, e.FileSize)
		}
		return f.URL, nil
	}
	return "", fmt.Errorf("the narinfo names %s, the lock %s", info.URL, fetch.Redact(e.URL))
}

// copyFile copies the file called name, unless it is there.
func (m *mirror) copyFile(ctx context.Context, p store.Path, e *lock.Path, name string) error {
	if err := m.nars.Acquire(ctx, 1); err != nil {
		return context.Cause(ctx)
	}
	defer m.nars.Release(1)
	there, err := m.there(ctx, e, name)
	if err != nil || there {
		return err
	}
	u, err := m.c.begin()
	if err != nil {
		return err
	}
	defer u.close()
	src, err := m.o.Client.Open(ctx, e.URL)
	if err != nil {
		return err
	}
	defer src.Close()
	r := <-m.readers
	defer func() { m.readers <- r }()
	err = r.Reset(io.TeeReader(src, io.MultiWriter(counter{ctx, &m.jobs}, u)), narfile.File{
		StorePath: p, Compression: e.Compression, FileHash: e.FileHash, FileSize: e.FileSize, NarHash: e.NarHash, NarSize: e.NarSize,
	})
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return fmt.Errorf("%s: %w", fetch.Redact(e.URL), err)
	}
	if err := u.commit(ctx, name); err != nil {
		return err
	}
	m.wrote(u.n)
	return nil
}

// there reports whether the cache has the file. Where its name holds its hash,
// as Nix' do, the size is enough, and what has another size is damaged; elsewhere the file is
// read, and if it is another one that stays: another lock may name it.
func (m *mirror) there(ctx context.Context, e *lock.Path, name string) (bool, error) {
	size, err := m.c.Size(ctx, name)
	if errors.Is(err, fetch.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if strings.Contains(name, e.FileHash.NixBase32()) || strings.Contains(name, e.FileHash.Hex()) {
		return size == e.FileSize, nil // Of a size that isn't said, nobody knows.
	}
	r, err := m.c.open(ctx, name)
	if err != nil {
		return false, err
	}
	defer r.Close()
	got := &hashWriter{h: sha256.New()}
	if _, err := io.Copy(io.MultiWriter(got, stopper{ctx}), r); err != nil {
		return false, err
	}
	if got.sum() == e.FileHash {
		return true, nil
	}
	return false, &hintedError{
		fmt.Errorf("%s is there with other bytes: want %s, found %s", m.c.shown(name), e.FileHash, got.sum()),
		"another lock may name those; mirror to another folder or URL, or, if no lock does, remove the file",
	}
}

// stopper ends a copy when the work is to stop.
type stopper struct{ ctx context.Context }

func (s stopper) Write(p []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	return len(p), nil
}
