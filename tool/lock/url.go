package lock

import (
	"net/url"
	"path/filepath"
	"strings"

	"github.com/rules-strata/rules_strata/tool/fetch"
)

// join is the URL of a file of a cache. Rel is relative and percent-encoded, and was checked to stay below.
func join(cache, rel string) string {
	return strings.TrimRight(cache, "/") + "/" + rel
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

// moved returns the URL of a cache as a lock in the folder to has it, where a
// relative file: URL was relative to the folder from.
func moved(cache, from, to string) (string, error) {
	if !fetch.IsFile(cache) || filepath.Clean(from) == filepath.Clean(to) {
		return withoutUser(cache), nil
	}
	if _, err := fetch.FilePath(cache, ""); err == nil { // absolute
		return cache, nil
	}
	path, err := fetch.FilePath(cache, from)
	if err != nil {
		return "", err
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", err
	}
	if to, err = filepath.Abs(to); err != nil {
		return "", err
	}
	rel, err := filepath.Rel(to, path)
	if err != nil {
		return "", err
	}
	return fetch.FileURL(rel), nil
}
