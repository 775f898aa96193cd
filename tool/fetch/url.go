package fetch

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// hidden stands for what is left out of a URL.
const hidden = "***"

// Redact returns rawURL as people may see it: user, password, query and
// fragment are left out, since they may be credentials.
func Redact(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return strconv.Quote(redactMalformed(rawURL))
	}
	return redactURL(u)
}

// redactMalformed leaves out what may be credentials in a URL that net/url can't
// read, perhaps because of a character in them.
func redactMalformed(rawURL string) string {
	shown, rest := "", rawURL
	if scheme := schemePattern.FindString(rawURL); scheme != "" {
		shown, rest = scheme, rawURL[len(scheme):]
	}
	tail := ""
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		if strings.IndexByte(rest[i:], '@') >= 0 {
			// Either the password has a "?" or "#" in it, or the query an "@".
			return shown + hidden
		}
		rest, tail = rest[:i], rest[i:i+1]+hidden
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		slashes := len(rest) - len(strings.TrimLeft(rest, "/"))
		rest = rest[:slashes] + hidden + rest[at:]
	}
	return shown + rest + tail
}

// schemePattern is a URL's scheme as RFC 3986 has it, section 3.1, with its colon.
var schemePattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:`)

func redactURL(u *url.URL) string {
	shown := *u
	if strings.Contains(u.RawQuery+u.Fragment, "@") { // Perhaps a password with a "?" or "#" in it.
		return schemePattern.FindString(u.String()) + hidden
	}
	if shown.User != nil {
		shown.User = url.User(placeholder)
	}
	if at := strings.LastIndexByte(shown.Opaque, '@'); at >= 0 { // "user:password@host", the scheme forgotten
		shown.Opaque = placeholder + shown.Opaque[at:]
	}
	if at := strings.LastIndexByte(shown.Path, '@'); at >= 0 && shown.Host == "" && shown.Scheme != "file" { // "https:/user:password@host", a slash forgotten
		shown.Path, shown.RawPath = "/"+placeholder+shown.Path[at:], ""
	}
	if shown.RawQuery != "" {
		shown.RawQuery = placeholder
	}
	if shown.Fragment != "" {
		shown.Fragment, shown.RawFragment = placeholder, ""
	}
	return strings.ReplaceAll(shown.String(), placeholder, hidden)
}

// placeholder becomes hidden at last: net/url would write %2A for each asterisk of a user's name.
const placeholder = "REDACTED"

// errURL is all that is said of a URL that net/url can't read: its own errors quote parts of the URL.
var errURL = errors.New("malformed URL")

// urlCharacters are those of RFC 3986: reserved, unreserved, and the percent sign. Bazel's rules take a URL of no others,
// and other programs differ on what others mean.
const urlCharacters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-._~:/?#[]@!$&'()*+,;=%"

// parse reads rawURL and says what this package can't open.
func parse(rawURL string) (*url.URL, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Redact(rawURL), errURL)
	}
	switch u.Scheme {
	case "http", "https":
		if u.Host == "" {
			return nil, fmt.Errorf("%s: the URL names no host", redactURL(u))
		}
	case "file":
		if u.Host != "" && u.Host != "localhost" {
			return nil, fmt.Errorf("%s: a file: URL can't name the host %q; write file:///absolute/path or file:relative/path", redactURL(u), u.Host)
		}
		if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.User != nil {
			return nil, fmt.Errorf("%s: a file: URL has no user, query or fragment (in a file's name, write %%3F for ? and %%23 for #)", redactURL(u))
		}
		if u.Opaque == "" && u.Path == "" {
			return nil, fmt.Errorf("%s: the URL names no file", redactURL(u))
		}
	case "":
		return nil, fmt.Errorf("%q: want a URL (file:, http: or https:); write file:%s for a path", Redact(rawURL), Redact(rawURL))
	default:
		return nil, fmt.Errorf("%s: the scheme %q is not known; want file, http or https", redactURL(u), u.Scheme)
	}
	if !strings.HasPrefix(rawURL, u.Scheme) {
		return nil, fmt.Errorf("%s: write %s: in small letters", redactURL(u), u.Scheme)
	}
	if strings.Trim(rawURL, urlCharacters) != "" {
		return nil, fmt.Errorf("%s: want a URL in which all but ASCII letters, digits and -._~:/?#[]@!$&'()*+,;= is percent-encoded", redactURL(u))
	}
	return u, nil
}

// Check says why rawURL can't be opened by any client, without trying.
func Check(rawURL string) error {
	_, err := parse(rawURL)
	return err
}

// IsFile reports whether rawURL has the scheme file:.
func IsFile(rawURL string) bool {
	return len(rawURL) >= 5 && strings.EqualFold(rawURL[:5], "file:")
}

// FilePath returns the file that the file: URL rawURL names. "file:///a/b" and
// "file:/a/b" are absolute; "file:a/b" and "file:../b" are relative to dir, and
// an error where dir is empty. Percent-encoded characters are decoded.
func FilePath(rawURL, dir string) (string, error) {
	u, err := parse(rawURL)
	if err != nil {
		return "", err
	}
	if u.Scheme != "file" {
		return "", fmt.Errorf("%s: want a file: URL", redactURL(u))
	}
	path := u.Path
	if u.Opaque != "" {
		if path, err = url.PathUnescape(u.Opaque); err != nil {
			return "", fmt.Errorf("%s: %w", redactURL(u), errURL)
		}
	}
	if strings.IndexByte(path, 0) >= 0 {
		return "", fmt.Errorf("%s: the file's name holds a NUL", redactURL(u))
	}
	path = filepath.FromSlash(path)
	if filepath.IsAbs(path) {
		return filepath.Clean(path), nil
	}
	if dir == "" {
		return "", fmt.Errorf("%s: a relative file: URL, and no folder that it could be relative to; write file:///absolute/path", redactURL(u))
	}
	return filepath.Join(dir, path), nil
}

// FileURL returns the file: URL of a path: "file:///a/b" for an absolute one,
// "file:a/b" for a relative one. [FilePath] is its inverse.
func FileURL(path string) string {
	path = filepath.ToSlash(path)
	if strings.HasPrefix(path, "/") {
		return (&url.URL{Scheme: "file", Path: path}).String()
	}
	// net/url would write "./" before a first component with a colon, and
	// treats an opaque part as escaped already.
	return "file:" + (&url.URL{Path: "/" + path}).EscapedPath()[1:]
}
