package lock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/narfile"
	"github.com/rules-strata/rules_strata/tool/narinfo"
	"github.com/rules-strata/rules_strata/tool/project"
	"github.com/rules-strata/rules_strata/tool/store"
)

// VerifyOptions are what [Verify] needs.
type VerifyOptions struct {
	// PublicKeys are those whose signatures are believed.
	PublicKeys []narinfo.PublicKey
	// Unsigned are the caches, as the lock names them, whose paths need no signature.
	Unsigned []string
	// Client fetches. Its own folder must be that of the lock file.
	Client *fetch.Client
	// Deep says that every NAR is read, too, from its cache and from each of its mirrors.
	Deep bool
	// Progress, if set, is told how many paths are done, and how many bytes of files have
	// been read. It is called by one goroutine at a time.
	Progress func(paths int, bytes int64)
}

// VerifyReport is what [Verify] looked at and found.
type VerifyReport struct {
	// Paths is how many store paths the lock has.
	Paths int
	// Files and FileBytes are the files whose NARs were read.
	Files     int
	FileBytes int64
	// Faults are sorted by path and text.
	Faults []*PathError
}

// Verify checks a lock again, from its start: that who vouches for each path is trusted and does
// so, and that the cache still says of it what the lock says; with o.Deep also the bytes of
// every NAR, and that they are an archive that Nix would take. All that is wrong with paths is in the report. An
// error is that a cache doesn't answer as it should: what was found before is in the report all the same.
func Verify(ctx context.Context, l *Lock, o VerifyOptions) (*VerifyReport, error) {
	v := &verifier{o: o, lock: l, report: VerifyReport{Paths: len(l.Paths)}, readers: make(chan *narfile.Reader, maxMeasuring)}
	for range maxMeasuring {
		v.readers <- new(narfile.Reader)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(maxAsking)
	for _, path := range slices.Sorted(maps.Keys(l.Paths)) {
		g.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return v.path(ctx, path, l.Paths[path])
		})
	}
	err := g.Wait()
	for range maxMeasuring {
		(<-v.readers).Close()
	}
	slices.SortFunc(v.report.Faults, func(a, b *PathError) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Err.Error(), b.Err.Error()))
	})
	return &v.report, err
}

type verifier struct {
	o       VerifyOptions
	lock    *Lock
	readers chan *narfile.Reader

	mu     sync.Mutex
	report VerifyReport
	done   int
}

func (v *verifier) fault(path store.Path, advice, format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.report.Faults = append(v.report.Faults, &PathError{Path: path, Err: fmt.Errorf(format, args...), Advice: advice})
}

const (
	adviceRefresh = "if the cache may have changed that, `strata lock --refresh` asks it for all anew"
	adviceForged  = "the lock was changed by hand, or the cache was changed: find out which before you use either"
)

// path checks one path. What is wrong with it becomes a fault; the error is that of a cache.
func (v *verifier) path(ctx context.Context, path store.Path, p *Path) error {
	if p.Signature != "" {
		if err := p.checkSignature(path, v.o.PublicKeys); err != nil {
			advice := adviceOnTrust(err)
			if errors.As(err, new(*narinfo.SignatureError)) {
				advice = adviceForged
			}
			v.fault(path, advice, "signature in the lock: %w", err)
		}
	}
	if p.AllowedUnsignedBy != "" && !slices.Contains(v.o.Unsigned, p.AllowedUnsignedBy) {
		v.fault(path, adviceOnTrust(narinfo.ErrUnsigned), "it has no signature, and %s isn't allowed to be unsigned", fetch.Redact(p.AllowedUnsignedBy))
	}
	if err := v.narinfo(ctx, path, p); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if v.o.Deep {
		for _, url := range v.lock.URLs(p) {
			if err := v.file(ctx, url, path, p); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.done++
	v.progress()
	return nil
}

// progress tells how far it is. V.mu is held.
func (v *verifier) progress() {
	if v.o.Progress != nil {
		v.o.Progress(v.done, v.report.FileBytes)
	}
}

// narinfo compares what the cache says of path with what the lock does.
func (v *verifier) narinfo(ctx context.Context, path store.Path, p *Path) error {
	cache, rel := v.cacheOf(p.URL)
	url := join(cache, path.HashPart()+".narinfo")
	shown := fetch.Redact(url)
	b, err := v.o.Client.Get(ctx, url, narinfo.MaxSize)
	switch {
	case errors.Is(err, fetch.ErrNotFound):
		v.fault(path, "copy the path to the cache again, or lock it from another one", "the cache hasn't got it any more: %w", err)
		return nil
	case errors.Is(err, fetch.ErrTooLarge):
		v.fault(path, "", "its narinfo is no narinfo: %w", err)
		return nil
	case err != nil:
		return err
	}
	info, err := narinfo.Parse(b)
	if err != nil {
		v.fault(path, "have the cache repaired", "%s: %w", shown, err)
		return nil
	}
	if info.StorePath != path {
		v.fault(path, "have the cache repaired", "%s: the narinfo is about another path: %s", shown, info.StorePath)
		return nil
	}
	want := func(field string, inLock, inCache any) {
		if inLock != inCache {
			v.fault(path, adviceForged, "%s: %s is %v, in the lock it is %v", shown, field, inCache, inLock)
		}
	}
	want("NarHash", p.NarHash, info.NarHash)
	want("NarSize", p.NarSize, info.NarSize)
	for _, r := range info.References {
		if !slices.Contains(p.References, r) {
			v.fault(path, adviceForged, "%s: References has %s, in the lock it hasn't", shown, r.Base())
		}
	}
	for _, r := range p.References {
		if !slices.Contains(info.References, r) {
			v.fault(path, adviceForged, "%s: References hasn't %s, in the lock it has", shown, r.Base())
		}
	}
	if p.SignedBy != "" {
		if key, _, err := info.VerifiedBy(v.o.PublicKeys); err != nil {
			v.fault(path, adviceOnTrust(err), "%s: %w", shown, err)
		} else if key != p.SignedBy {
			v.fault(path, adviceRefresh, "%s: it is signed by %s, not by %s as the lock says", shown, key, p.SignedBy)
		}
	}
	v.offered(path, p, rel, shown, info.Files())
	return nil
}

// offered checks that the file which the lock names is one of those that the narinfo does.
func (v *verifier) offered(path store.Path, p *Path, rel, shown string, files []narinfo.File) {
	i := slices.IndexFunc(files, func(f narinfo.File) bool { return f.URL == rel })
	if i < 0 {
		v.fault(path, adviceRefresh, "%s: URL is %s, in the lock it is %s", shown, files[0].URL, rel)
		return
	}
	f := files[i]
	if f.Compression != p.Compression {
		v.fault(path, adviceRefresh, "%s: Compression is %s, in the lock it is %s", shown, f.Compression, p.Compression)
	}
	if !f.FileHash.IsZero() && f.FileHash != p.FileHash {
		v.fault(path, adviceRefresh, "%s: FileHash is %s, in the lock it is %s", shown, f.FileHash, p.FileHash)
	}
	if f.FileSize >= 0 && f.FileSize != p.FileSize {
		v.fault(path, adviceRefresh, "%s: FileSize is %d, in the lock it is %d", shown, f.FileSize, p.FileSize)
	}
}

// cacheOf is the cache of a file; of caches one in the other, the inner one.
func (v *verifier) cacheOf(url string) (cache, rel string) {
	for _, c := range v.lock.Caches {
		if r, ok := below(c, url); ok && len(c) > len(cache) {
			cache, rel = c, r
		}
	}
	return cache, rel
}

// file reads the NAR at url.
func (v *verifier) file(ctx context.Context, url string, path store.Path, p *Path) error {
	r := <-v.readers
	defer func() { v.readers <- r }()
	src, err := v.o.Client.Open(ctx, url)
	if errors.Is(err, fetch.ErrNotFound) {
		v.fault(path, adviceRefresh, "its NAR isn't there: %w", err)
		return nil
	}
	if err != nil {
		return err
	}
	defer src.Close()
	counted := &counter{src, func(n int) {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.report.FileBytes += int64(n)
		v.progress()
	}}
	if err := r.Reset(counted, narfile.File{
		StorePath: path, Compression: p.Compression, FileHash: p.FileHash, FileSize: p.FileSize,
		NarHash: p.NarHash, NarSize: p.NarSize,
	}); err != nil {
		return err
	}
	if err := checkNAR(r, path, p); err != nil {
		err = fmt.Errorf("%s: %w", fetch.Redact(url), err)
		if !isContentError(err) {
			return err
		}
		v.fault(path, adviceForged, "%w", err)
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.report.Files++
	return nil
}

// checkNAR reads all of a NAR. Its hash is checked by r.
func checkNAR(r io.Reader, path store.Path, p *Path) error {
	if p.ContentAddressed != "" {
		ca, err := store.ParseContentAddress(p.ContentAddressed)
		if err != nil {
			return err
		}
		if !ca.IsNarHash(path, p.References) {
			return checkContents(r, ca, path)
		}
	}
	return readArchive(r)
}

// UnsignedCaches are the caches that the project p lets be unsigned, as a lock in the folder
// lockDir names them, where p's relative file: URLs are relative to dir.
func UnsignedCaches(p *project.Project, dir, lockDir string) ([]string, error) {
	var urls []string
	for _, c := range p.Caches {
		if !c.AllowUnsigned {
			continue
		}
		url, err := moved(c.URL, dir, lockDir)
		if err != nil {
			return nil, err
		}
		urls = append(urls, url)
	}
	return urls, nil
}
