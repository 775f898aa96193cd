package ondemand

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rules-strata/rules_strata/tool/atomicfile"
	"github.com/rules-strata/rules_strata/tool/fetch"
)

const (
	// maxList bounds a list as a channel has it, in bytes.
	maxList = 128 << 20
	// retryList is how long a list that couldn't be fetched anew stays as it is before that is tried again.
	retryList = time.Minute
)

// lists keeps the store-paths lists of channels, as they are at their URLs.
type lists struct {
	client  *fetch.Client
	dir     string
	refresh time.Duration // from this age on a list is fetched anew
	log     func(format string, args ...any)

	mu    sync.Mutex
	known map[string]*keptList // by URL
}

// keptList is one list: a file whose name has the hash of its bytes, so that it never holds others.
type keptList struct {
	mu      sync.Mutex
	path    string
	id      string // hex of the SHA-256
	before  string // the path of the one before, which somebody may read still
	fetched time.Time
}

// get returns the file that has the list at url, and its hash.
func (l *lists) get(ctx context.Context, url string) (path, id string, err error) {
	l.mu.Lock()
	one := l.known[url]
	if one == nil {
		one = new(keptList)
		l.known[url] = one
	}
	l.mu.Unlock()
	one.mu.Lock()
	defer one.mu.Unlock()
	key := sha256.Sum256([]byte(url))
	prefix := filepath.Join(l.dir, hex.EncodeToString(key[:16])+".")
	if one.path == "" {
		one.find(prefix)
	}
	if one.path != "" && time.Since(one.fetched) < l.refresh {
		return one.path, one.id, nil
	}
	switch err := l.fetch(ctx, url, prefix, one); {
	case err == nil:
	case one.path == "" || ctx.Err() != nil:
		return "", "", fmt.Errorf("store-paths list %w", err)
	default:
		l.log("store-paths list not fetched anew, the one of %s ago stays: %v", time.Since(one.fetched).Round(time.Second), err)
		one.fetched = time.Now().Add(min(retryList, l.refresh) - l.refresh)
	}
	return one.path, one.id, nil
}

// find takes what another process has fetched: the latest, if it is whole.
func (one *keptList) find(prefix string) {
	var files []string
	dir := filepath.Dir(prefix)
	entries, _ := os.ReadDir(dir) // What can't be read is fetched.
	for _, e := range entries {
		if f := filepath.Join(dir, e.Name()); strings.HasPrefix(f, prefix) {
			files = append(files, f)
		}
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil || !info.ModTime().After(one.fetched) {
			continue
		}
		if id, err := hashFile(f); err == nil && prefix+id == f {
			one.path, one.id, one.fetched = f, id, info.ModTime()
		}
	}
	for _, f := range files {
		if f != one.path {
			os.Remove(f)
		}
	}
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), err
}

func (l *lists) fetch(ctx context.Context, url, prefix string, one *keptList) error {
	in, err := l.client.Open(ctx, url)
	if err != nil {
		return err
	}
	defer in.Close()
	f, err := atomicfile.Create(prefix + unfinished)
	if err != nil {
		return err
	}
	defer f.Abort()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, h), io.LimitReader(in, maxList+1))
	if err == nil && n > maxList {
		err = fmt.Errorf("%s: over %d bytes", fetch.Redact(url), maxList)
	}
	if err != nil {
		return err
	}
	id := hex.EncodeToString(h.Sum(nil))
	one.fetched = time.Now()
	if id == one.id {
		os.Chtimes(one.path, one.fetched, one.fetched)
		return nil
	}
	if err := f.CommitAs(prefix + id); err != nil {
		return err
	}
	if one.before != "" && one.before != prefix+id {
		if err := os.Remove(one.before); err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.log("%v", err)
		}
	}
	if one.id != "" {
		l.log("store-paths list %s is another one now: %s", fetch.Redact(url), id[:12])
	}
	one.before, one.path, one.id = one.path, prefix+id, id
	return nil
}
