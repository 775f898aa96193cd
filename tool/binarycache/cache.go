package binarycache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/rules-strata/rules_strata/tool/atomicfile"
	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/narinfo"
	"github.com/rules-strata/rules_strata/tool/store"
)

// Cache is a binary cache that is written to. It may be used by many goroutines at once.
type Cache struct {
	url    string // without a slash at the end
	dir    string // of a folder; "": the cache is an HTTP server
	client *fetch.Client
}

// Open opens the cache that target names: an http: or https: URL, a file: URL,
// or a folder, which need not exist. Nothing is read or written yet. Client serves
// for HTTP; a user and a password in the URL are used and never shown.
func Open(target string, client *fetch.Client) (*Cache, error) {
	c := &Cache{client: client}
	scheme, _, isURL := strings.Cut(target, "://")
	switch {
	case fetch.IsFile(target):
		dir, err := fetch.FilePath(target, ".")
		if err != nil {
			return nil, err
		}
		c.dir = dir
	case isURL && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https")):
		if err := fetch.Check(target); err != nil {
			return nil, err
		}
		if strings.ContainsAny(target, "?#") {
			return nil, fmt.Errorf("%s: want a cache's URL without query and fragment: names of files follow it", fetch.Redact(target))
		}
		c.url = strings.TrimRight(target, "/")
		return c, nil
	case isURL:
		return nil, fmt.Errorf("%s: want a folder or an http: or https: URL", fetch.Redact(target))
	case target == "":
		return nil, errors.New("want a folder or an http: or https: URL")
	default:
		c.dir = target
	}
	dir, err := filepath.Abs(c.dir)
	if err != nil {
		return nil, err
	}
	c.dir, c.url = dir, strings.TrimRight(fetch.FileURL(dir), "/")
	return c, nil
}

// String is the folder, or the URL as people may see it.
func (c *Cache) String() string {
	if c.dir != "" {
		return c.dir
	}
	return fetch.Redact(c.url)
}

// URL is the cache's URL without credentials, as a project file may have it: absolute, with no slash at the end.
func (c *Cache) URL() string {
	u, err := url.Parse(c.url)
	if err != nil || u.User == nil {
		return c.url
	}
	u.User = nil
	return u.String()
}

// hintedError is an error with advice.
type hintedError struct {
	error
	hint string
}

func (e *hintedError) Unwrap() error { return e.error }
func (e *hintedError) Hint() string  { return e.hint }

// Prepare makes nix-cache-info for store paths of storeDir; one that is there
// must say the same. In a folder it makes the folders, too.
func (c *Cache) Prepare(ctx context.Context, storeDir string) error {
	if c.dir != "" {
		if err := os.MkdirAll(c.dir, 0o777); err != nil {
			return err
		}
	}
	b, err := c.Get(ctx, narinfo.CacheInfoFile, narinfo.MaxCacheInfo)
	if errors.Is(err, fetch.ErrNotFound) {
		return c.Put(ctx, narinfo.CacheInfoFile, []byte("StoreDir: "+storeDir+"\n"))
	}
	if err != nil {
		return err
	}
	info, err := narinfo.ParseCacheInfo(b)
	if err != nil {
		return fmt.Errorf("%s: %w", c.shown(narinfo.CacheInfoFile), err)
	}
	if info.StoreDir != "" && info.StoreDir != storeDir {
		return &hintedError{
			fmt.Errorf("%s: the cache is of the store directory %s, the paths are in %s", c.shown(narinfo.CacheInfoFile), info.StoreDir, storeDir),
			"a cache holds paths of one store directory: name another folder or URL",
		}
	}
	return nil
}

// shown is a file's URL or path, for people.
func (c *Cache) shown(name string) string { return fetch.Redact(c.url + "/" + name) }

// file is where in a folder the file called name is. Names are relative URLs,
// percent-encoded, that were checked to stay below, as package narinfo does. A query is for servers: a folder has none.
func (c *Cache) file(name string) (string, error) {
	name, _, _ = strings.Cut(name, "?")
	name, err := url.PathUnescape(name)
	if err != nil {
		return "", err
	}
	return filepath.Join(c.dir, filepath.FromSlash(name)), nil
}

// Get reads the file called name, of at most limit bytes. If it isn't there, the error has [fetch.ErrNotFound].
func (c *Cache) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	r, err := c.open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%w: over %d bytes", fetch.ErrTooLarge, limit)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.shown(name), err)
	}
	return b, nil
}

// open opens the file called name for reading.
func (c *Cache) open(ctx context.Context, name string) (io.ReadCloser, error) {
	if c.dir == "" {
		return c.client.Open(ctx, c.url+"/"+name)
	}
	path, err := c.file(name)
	if err != nil {
		return nil, err
	}
	return c.client.Open(ctx, fetch.FileURL(path))
}

// Size returns the length in bytes of the file called name; -1 if the server
// doesn't say. If it isn't there, the error has [fetch.ErrNotFound].
func (c *Cache) Size(ctx context.Context, name string) (int64, error) {
	if c.dir == "" {
		return c.client.Size(ctx, c.url+"/"+name)
	}
	path, err := c.file(name)
	if err != nil {
		return 0, err
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, fmt.Errorf("%s: %w", path, fetch.ErrNotFound)
	case err != nil:
		return 0, err
	case !info.Mode().IsRegular():
		return 0, fmt.Errorf("%s: it exists and is no regular file", path)
	}
	return info.Size(), nil
}

// Put makes b the contents of the file called name.
func (c *Cache) Put(ctx context.Context, name string, b []byte) error {
	if c.dir == "" {
		return c.send(ctx, name, bytes.NewReader(b), int64(len(b)))
	}
	path, err := c.file(name)
	if err != nil {
		return err
	}
	_, err = atomicfile.WriteIfChanged(path, b)
	return err
}

// send uploads a file, and asks whether it is there: there are servers that say yes to everything.
func (c *Cache) send(ctx context.Context, name string, r io.ReaderAt, size int64) error {
	if err := c.client.Put(ctx, c.url+"/"+name, r, size); err != nil {
		return err
	}
	got, err := c.client.Size(ctx, c.url+"/"+name)
	switch {
	case errors.Is(err, fetch.ErrNotFound):
		return fmt.Errorf("the server took it, but hasn't got it: %w", err)
	case err != nil:
		return err
	case got >= 0 && got != size:
		return fmt.Errorf("%s: the server took %d bytes, but has %d", c.shown(name), size, got)
	}
	return nil
}

// narinfo reads and parses the narinfo of path; nil where there is none, or a damaged one, which is to be replaced.
func (c *Cache) narinfo(ctx context.Context, path store.Path) (*narinfo.Info, []byte, error) {
	b, err := c.Get(ctx, narinfoName(path), narinfo.MaxSize)
	switch {
	case errors.Is(err, fetch.ErrNotFound), errors.Is(err, fetch.ErrTooLarge):
		return nil, nil, nil
	case err != nil:
		return nil, nil, err
	}
	info, err := narinfo.Parse(b)
	if err != nil || info.StorePath != path {
		return nil, nil, nil
	}
	return info, b, nil
}

func narinfoName(path store.Path) string { return path.HashPart() + ".narinfo" }

// upload is a file on its way into the cache, whose name may still be unknown.
type upload struct {
	c      *Cache
	folder *atomicfile.File // of a folder
	spool  *os.File         // else: without a name, so that nothing is left of it whatever happens
	n      int64
}

// begin begins a NAR's file.
func (c *Cache) begin() (*upload, error) {
	if c.dir != "" {
		dir := filepath.Join(c.dir, "nar")
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return nil, err
		}
		f, err := atomicfile.Create(filepath.Join(dir, "upload"))
		return &upload{c: c, folder: f}, err
	}
	f, err := os.CreateTemp("", "strata-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return &upload{c: c, spool: f}, nil
}

func (u *upload) Write(p []byte) (n int, err error) {
	if u.folder != nil {
		n, err = u.folder.Write(p)
	} else {
		n, err = u.spool.Write(p)
	}
	u.n += int64(n)
	return n, err
}

// commit puts the file into the cache.
func (u *upload) commit(ctx context.Context, name string) error {
	if u.folder == nil {
		return u.c.send(ctx, name, u.spool, u.n)
	}
	path, err := u.c.file(name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	return u.folder.CommitAs(path)
}

// close lets go of the file; of one that wasn't committed nothing is left.
func (u *upload) close() {
	if u.folder != nil {
		u.folder.Abort()
		return
	}
	u.spool.Close()
}
