package lock

import (
	"net/url"
	"path/filepath"
	"strings"

	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/narinfo"
)

// join is the URL of a file of a cache. Rel is relative and percent-encoded, and was checked to stay below.
func join(cache, rel string) string {
	return strings.TrimRight(cache, "/") + "/" + rel
}

// below returns the part of url behind that of the cache; false: it is no file of the cache.
func below(cache, url string) (rel string, ok bool) {
	rel, ok = strings.CutPrefix(url, join(cache, ""))
	return rel, ok && narinfo.CheckURL(rel) == nil
}

// withoutUser returns rawURL without user and password.
func withoutUser(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil || u.User == nil {
		return rawURL
	}
	u.User = nil
	return u.String()
}

// Folder is the folder that the relative file: URLs in file, a lock or a project file, are
// relative to: the one that it really is in, whatever symbolic links lead there. So they
// mean the same to whoever reads it, by whatever way. The file need not exist.
func Folder(file string) string {
	if real, err := filepath.EvalSymlinks(file); err == nil {
		return filepath.Dir(real)
	}
	dir := filepath.Dir(file)
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		return real
	}
	return dir // Whoever opens the file finds out.
}

// moved returns the URL of a cache as a lock in the folder to has it, where a
// relative file: URL was relative to the folder from.
func moved(cache, from, to string) (string, error) {
	if !fetch.IsFile(cache) || filepath.Clean(from) == filepath.Clean(to) {
		return withoutUser(cache), nil
	}
	if _, err := fetch.FilePath(cache, ""); err == nil { // absolute
		return cache, nil
	}
	from, err := realFolder(from)
	if err != nil {
		return "", err
	}
	if to, err = realFolder(to); err != nil {
		return "", err
	}
	if from == to {
		return cache, nil
	}
	path, err := fetch.FilePath(cache, from)
	if err != nil {
		return "", err
	}
	rel, err := filepath.Rel(to, path)
	if err != nil {
		return "", err
	}
	return fetch.FileURL(rel), nil
}

// realFolder is the folder dir, absolute and by no links if it exists.
func realFolder(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		return real, nil
	}
	return dir, nil
}
