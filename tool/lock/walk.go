package lock

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/narfile"
	"github.com/rules-strata/rules_strata/tool/narinfo"
	"github.com/rules-strata/rules_strata/tool/project"
	"github.com/rules-strata/rules_strata/tool/roots"
	"github.com/rules-strata/rules_strata/tool/store"
)

const (
	// maxAsking is how many narinfos are asked for at once: enough to hide the
	// way to a distant cache, and no more than a server takes from a browser or two.
	maxAsking = 24
	// maxPaths bounds the walk of an unsigned cache that makes up one path after the other.
	maxPaths = 1 << 18
)

// cache is a binary cache that is asked.
type cache struct {
	project.Cache
	// inLock is its URL as the lock has it.
	inLock string

	infoOnce sync.Once
	infoErr  error
}

// walk finds the closure of the roots.
type walk struct {
	o      Options
	roots  []roots.Root
	caches []*cache
	keeper *keeper

	mu     sync.Mutex
	more   sync.Cond    // on mu: the queue has got longer, or the walk may be over
	queue  []store.Path // found, and nobody has asked for them
	asking int          // workers that are asking for one
	found  map[store.Path]bool
	done   map[store.Path]*Path
	failed map[store.Path]*PathError
	fatal  error // what ended the walk

	// downloads are the files that must be looked at, since the narinfo says too little.
	downloads map[store.Path]download
	read      int64 // bytes of their files

	settled int // paths of which nothing more will be learned
}

// download is a file whose hash or size the narinfo doesn't say, or whose NAR
// must be seen to have its content address.
type download struct {
	cache *cache
	// files are those that the cache offers, the preferred one first: if it isn't there, the next is taken.
	files []narinfo.File
	file  narfile.File          // without what depends on which of files it is
	ca    *store.ContentAddress // nil if nothing is to be seen
}

func newWalk(o Options, roots []roots.Root) (*walk, error) {
	w := &walk{
		o:         o,
		roots:     roots,
		found:     map[store.Path]bool{},
		done:      map[store.Path]*Path{},
		failed:    map[store.Path]*PathError{},
		downloads: map[store.Path]download{},
	}
	w.more.L = &w.mu
	for _, c := range o.Project.Caches {
		inLock, err := moved(c.URL, o.Dir, o.LockDir)
		if err != nil {
			return nil, err
		}
		w.caches = append(w.caches, &cache{Cache: c, inLock: inLock})
	}
	old := o.Previous
	if o.Refresh {
		old = nil
	}
	w.keeper = newKeeper(old, o.Project.PublicKeys, w.cacheURLs())
	return w, nil
}

// cacheURLs are the caches as the lock has them. Two that differ by their users only are one there.
func (w *walk) cacheURLs() []string {
	var urls []string
	for _, c := range w.caches {
		if !slices.Contains(urls, c.inLock) {
			urls = append(urls, c.inLock)
		}
	}
	return urls
}

// mirrors are the caches' mirrors as the lock has them; nil if there are none.
func (w *walk) mirrors() (map[string][]string, error) {
	var mirrors map[string][]string
	for _, c := range w.caches {
		for _, m := range c.Mirrors {
			url, err := moved(m, w.o.Dir, w.o.LockDir)
			if err != nil {
				return nil, err
			}
			if mirrors == nil {
				mirrors = map[string][]string{}
			}
			if url != c.inLock && !slices.Contains(mirrors[c.inLock], url) {
				mirrors[c.inLock] = append(mirrors[c.inLock], url)
			}
		}
	}
	return mirrors, nil
}

// run walks from the roots until every path is done or failed. A few workers take
// paths from a queue, so that a cache which makes up one reference after the other costs
// no more than the names it was let say.
func (w *walk) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w.mu.Lock()
	for _, r := range w.roots {
		w.add(r.Path)
	}
	w.tell() // The first answer may take its time.
	w.mu.Unlock()
	var workers sync.WaitGroup
	for range maxAsking {
		workers.Go(func() {
			for {
				path, ok := w.take()
				if !ok {
					return
				}
				var err error
				p := w.keeper.entry(path)
				if p == nil {
					p, err = w.lookUp(ctx, path)
				}
				if w.finish(path, p, err) {
					cancel()
				}
			}
		})
	}
	workers.Wait()
	if w.fatal != nil {
		return w.fatal
	}
	return w.explain()
}

// add puts path into the queue, unless it was there before. W.mu is held.
func (w *walk) add(path store.Path) {
	if !w.found[path] {
		w.found[path] = true
		w.queue = append(w.queue, path)
	}
}

// take waits for a path that nobody has asked for; false: none will come.
func (w *walk) take() (store.Path, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) == 0 && w.asking > 0 && w.fatal == nil {
		w.more.Wait()
	}
	if len(w.queue) == 0 || w.fatal != nil {
		return "", false
	}
	path := w.queue[0]
	w.queue = w.queue[1:]
	w.asking++
	return path, true
}

// finish takes down what became of path, and reports whether the walk has to end.
func (w *walk) finish(path store.Path, p *Path, err error) (ended bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asking--
	var wrong *PathError
	switch {
	case err == nil && len(w.found)+len(p.References) > maxPaths && w.fatal == nil:
		w.fatal = fmt.Errorf("%s: the roots' closures have more than %d store paths", path, maxPaths)
	case err == nil:
		w.done[path] = p
		for _, r := range p.References {
			w.add(r)
		}
	case errors.As(err, &wrong):
		w.failed[path] = wrong
	case w.fatal == nil:
		w.fatal = err
	}
	// Whoever waits looks again: there may be more to do, or nothing any more.
	w.more.Broadcast()
	if _, more := w.downloads[path]; !more {
		w.settled++
	}
	w.tell()
	return w.fatal != nil
}

// tell tells the progress. W.mu is held.
func (w *walk) tell() {
	if w.o.Progress != nil {
		w.o.Progress(Progress{
			Done:  w.settled,
			Found: len(w.found),
			Bytes: w.read,
		})
	}
}

// lookUp asks the caches for path. What is wrong with the path is a [PathError]; other errors are of a cache.
func (w *walk) lookUp(ctx context.Context, path store.Path) (*Path, error) {
	var untrusted *PathError
	for _, c := range w.caches {
		if err := w.checkCache(ctx, c); err != nil {
			var wrong *CacheError
			if errors.As(err, &wrong) {
				return nil, &PathError{Path: path, Err: err, Advice: wrong.Advice}
			}
			return nil, &silenceError{path, err}
		}
		url := join(c.URL, path.HashPart()+".narinfo")
		b, err := w.o.Client.Get(ctx, url, narinfo.MaxSize)
		switch {
		case errors.Is(err, fetch.ErrNotFound):
			continue
		case errors.Is(err, fetch.ErrTooLarge):
			return nil, &PathError{Path: path, Err: fmt.Errorf("its narinfo is no narinfo: %w", err)}
		case err != nil:
			return nil, &silenceError{path, err}
		}
		p, wrong := w.check(c, path, b)
		if wrong == nil {
			return p, nil
		}
		wrong.Err = fmt.Errorf("%s: %w", fetch.Redact(url), wrong.Err)
		if !isUntrusted(wrong) {
			return nil, wrong
		}
		if untrusted == nil {
			untrusted = wrong
		}
	}
	if untrusted != nil {
		return nil, untrusted
	}
	return nil, &PathError{Path: path, Err: errNowhere}
}

// silenceError says that a cache didn't answer when it was asked for a path.
type silenceError struct {
	path store.Path
	err  error
}

func (e *silenceError) Error() string { return string(e.path) + ": " + e.err.Error() }
func (e *silenceError) Unwrap() error { return e.err }

// Hint is that of the error itself, if it knows better.
func (e *silenceError) Hint() string {
	var h interface{ Hint() string }
	if errors.As(e.err, &h) && h.Hint() != "" {
		return h.Hint()
	}
	return "a cache that doesn't answer is not passed over, so that what is locked doesn't depend on the day: try again, or take the cache out of the project file"
}

// check makes an entry of what the cache c says of path in the narinfo b.
func (w *walk) check(c *cache, path store.Path, b []byte) (*Path, *PathError) {
	info, err := narinfo.Parse(b)
	if err != nil {
		return nil, &PathError{Path: path, Err: err, Advice: "the cache serves a damaged narinfo: have it repaired, or use another cache"}
	}
	if info.StorePath != path {
		return nil, w.otherPath(path, info.StorePath)
	}
	files, err := usable(info.Files())
	if err != nil {
		return nil, &PathError{Path: path, Err: err}
	}
	p := &Path{NarHash: info.NarHash, NarSize: info.NarSize, References: info.References}
	p.setFile(c, files[0])
	var ca *store.ContentAddress
	key, signature, err := info.VerifiedBy(w.o.Project.PublicKeys)
	switch {
	case signature != nil:
		p.Signature = signature.String()
	case err == nil:
		p.SignedBy = key
	case info.CA != "":
		address, wrong := contentAddress(info)
		switch {
		case wrong == nil:
			p.ContentAddressed = address.String()
			if !address.IsNarHash(path, info.References) {
				ca = &address
			}
		case c.AllowUnsigned:
			p.AllowedUnsignedBy = c.inLock
		default:
			return nil, &PathError{Path: path, Err: fmt.Errorf("%w; nor does its content address vouch for it: %w", err, wrong), Advice: adviceOnTrust(err)}
		}
	case c.AllowUnsigned:
		p.AllowedUnsignedBy = c.inLock
	default:
		return nil, &PathError{Path: path, Err: err, Advice: adviceOnTrust(err)}
	}
	if err := fetch.Check(p.URL); err != nil {
		return nil, &PathError{Path: path, Err: err}
	}
	// Whether a file's contents have its content address, the old lock is not believed.
	if ca != nil || (p.FileHash.IsZero() || p.FileSize < 0) && !w.keeper.file(path, p) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.downloads[path] = download{c, files, narfile.File{StorePath: path, NarHash: p.NarHash, NarSize: p.NarSize}, ca}
	}
	return p, nil
}

// otherPath is the error for a narinfo that was asked for path and is about found. A cache
// knows paths by their hash parts; so where somebody wrote the path, its name is likely to be wrong.
func (w *walk) otherPath(path, found store.Path) *PathError {
	i := slices.IndexFunc(w.roots, func(r roots.Root) bool { return r.Path == path })
	if i < 0 || found.HashPart() != path.HashPart() || found.Dir() != path.Dir() {
		return &PathError{
			Path: path, Err: fmt.Errorf("the narinfo is about another path: %s", found),
			Advice: "the cache is wrong: have it repaired, or use another cache",
		}
	}
	return &PathError{
		Path:   path,
		Err:    fmt.Errorf("the root %s on %s: by this hash the cache has the name %s, not %s", w.roots[i].Name, w.roots[i].System, found.Name(), path.Name()),
		Advice: "hash and name must belong together: if the hash is meant, write " + string(found),
	}
}

// preferred are the compressions in the order in which files of one NAR are
// chosen: small ones that are quick to decompress, then those that are slow, then large ones.
var preferred = []string{"zstd", "br", "gzip", "lz4", "xz", "lzip", "bzip2", "none"}

// usable returns the files of compressions that are known, where a cache offers several, as the lock chooses them: in
// the order of preferred, and of those in the narinfo's. There being none is an error.
func usable(files []narinfo.File) ([]narinfo.File, error) {
	var out []narinfo.File
	for _, compression := range preferred {
		for _, f := range files {
			if f.Compression == compression {
				out = append(out, f)
			}
		}
	}
	if out == nil {
		return nil, narfile.CheckCompression(files[0].Compression)
	}
	return out, nil
}

// setFile makes f, which the cache c has, the file that p names.
func (p *Path) setFile(c *cache, f narinfo.File) {
	p.URL, p.Compression, p.FileHash, p.FileSize = join(c.inLock, f.URL), f.Compression, f.FileHash, f.FileSize
}

// contentAddress returns the content address of a store object that needs no
// signature: its store path follows from it. Whether the NAR has it is shown by
// NarHash, or, where that isn't what is hashed, by the NAR itself.
func contentAddress(info *narinfo.Info) (store.ContentAddress, error) {
	ca, err := store.ParseContentAddress(info.CA)
	if err != nil {
		return ca, err
	}
	return ca, checkContentAddress(ca, info.StorePath, info.References, info.NarHash)
}

func checkContentAddress(ca store.ContentAddress, path store.Path, references []store.Path, narHash store.Hash) error {
	if err := ca.Check(path, references); err != nil {
		return err
	}
	if ca.IsNarHash(path, references) && ca.Hash != narHash {
		return fmt.Errorf("content address %s: NarHash is another: sha256:%s", ca, narHash.NixBase32())
	}
	return nil
}

func isUntrusted(err error) bool {
	var untrusted *narinfo.UntrustedError
	var wrong *narinfo.SignatureError
	return errors.Is(err, narinfo.ErrUnsigned) || errors.As(err, &untrusted) || errors.As(err, &wrong)
}

func adviceOnTrust(err error) string {
	var untrusted *narinfo.UntrustedError
	var wrong *narinfo.SignatureError
	switch {
	case errors.As(err, &wrong):
		return "the narinfo was changed after it was signed, or the public key is not the signer's: find out which before you trust this cache"
	case errors.As(err, &untrusted):
		return "if you trust that signer, add its public key (public_keys in the project file, or --public-key)"
	}
	return "sign the path (nix store sign), or allow this cache to be unsigned (allow_unsigned in the project file, or --allow-unsigned)"
}

// checkCache reads the cache's nix-cache-info, once: what serves another
// store directory has nothing for these roots.
func (w *walk) checkCache(ctx context.Context, c *cache) error {
	c.infoOnce.Do(func() {
		url := join(c.URL, narinfo.CacheInfoFile)
		b, err := w.o.Client.Get(ctx, url, narinfo.MaxCacheInfo)
		if errors.Is(err, fetch.ErrNotFound) {
			advice := "a cache's URL is that of the folder that holds nix-cache-info"
			var refused interface{ Hint() string } // a 403: perhaps for want of credentials
			if errors.As(err, &refused) && refused.Hint() != "" {
				advice = refused.Hint()
			}
			c.infoErr = &CacheError{Err: fmt.Errorf("no binary cache: %w", err), Advice: advice}
			return
		}
		if err != nil {
			c.infoErr = err
			return
		}
		info, err := narinfo.ParseCacheInfo(b)
		switch want := w.roots[0].Path.Dir(); {
		case err != nil:
			c.infoErr = &CacheError{Err: fmt.Errorf("%s: %w", fetch.Redact(url), err)}
		case info.StoreDir != "" && info.StoreDir != want:
			c.infoErr = &CacheError{
				Err:    fmt.Errorf("%s: the cache is of the store directory %s, the roots are in %s", fetch.Redact(url), info.StoreDir, want),
				Advice: "name a cache of " + want + ", or roots in " + info.StoreDir,
			}
		}
	})
	return c.infoErr
}

// CacheError says what is wrong with a cache as such.
type CacheError struct {
	Err error
	// Advice is what may help; "" if nothing is known to.
	Advice string
}

// Error is that of e.Err, which names the URL.
func (e *CacheError) Error() string { return e.Err.Error() }

// Unwrap returns e.Err.
func (e *CacheError) Unwrap() error { return e.Err }
