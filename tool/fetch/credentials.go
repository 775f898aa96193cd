package fetch

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// HelperVariable is the environment variable that names credential helpers, as
// [NewCredentials] takes them, with the separator of PATH between several.
const HelperVariable = "STRATA_CREDENTIAL_HELPER"

// Credentials are what hosts want to see before they hand out a file, by where
// the user keeps it: in the URL itself, with a credential helper, in a netrc. The first of these that has
// something for a URL counts.
//
// They are sent to the host, and in the way (https), that the URL names; not on a redirect to another one,
// nor from https to http. They are in no error. Nil has those of URLs only.
type Credentials struct {
	byHost, bySuffix map[string]*helper
	anyHost          *helper
	// fixed are headers that were given, by origin.
	fixed map[string]http.Header

	netrcOnce sync.Once
	netrcPath string
	netrc     netrc
	netrcErr  error
}

// NewCredentials returns the credentials of the user's environment: of the helpers named, each "[PATTERN=]PATH" as
// Bazel's --credential_helper; of those in $STRATA_CREDENTIAL_HELPER; of the netrc that $NETRC
// names, or ~/.netrc. A pattern is a host's name, or "*.example.org" for that host and all
// below it; the most exact one counts, and of the same the first. Helpers are looked for at once, the netrc when it is needed.
func NewCredentials(helpers ...string) (*Credentials, error) {
	c := &Credentials{byHost: map[string]*helper{}, bySuffix: map[string]*helper{}}
	for _, h := range helpers {
		if err := c.add(h); err != nil {
			return nil, err
		}
	}
	for _, h := range strings.Split(os.Getenv(HelperVariable), string(os.PathListSeparator)) {
		if h == "" {
			continue
		}
		if err := c.add(h); err != nil {
			return nil, fmt.Errorf("$%s: %w", HelperVariable, err)
		}
	}
	return c, nil
}

// hostPattern is what may stand before a helper's path.
var hostPattern = regexp.MustCompile(`^(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)

func (c *Credentials) add(value string) error {
	pattern, path, ok := strings.Cut(value, "=")
	if !ok {
		pattern, path = "", value
	} else if !hostPattern.MatchString(pattern) {
		return fmt.Errorf("credential helper %q: want [PATTERN=]PATH, the pattern a host's name or *. and a domain", value)
	}
	h, err := newHelper(path)
	if err != nil {
		return err
	}
	pattern = strings.ToLower(pattern)
	if suffix, ok := strings.CutPrefix(pattern, "*."); ok {
		setFirst(c.bySuffix, suffix, h)
	} else if pattern != "" {
		setFirst(c.byHost, pattern, h)
	} else if c.anyHost == nil {
		c.anyHost = h
	}
	return nil
}

func setFirst(m map[string]*helper, key string, h *helper) {
	if m[key] == nil {
		m[key] = h
	}
}

// helper returns the helper for a host; nil if there is none.
func (c *Credentials) helper(host string) *helper {
	host = strings.ToLower(host)
	if h := c.byHost[host]; h != nil {
		return h
	}
	for domain, ok := host, true; ok; _, domain, ok = strings.Cut(domain, ".") {
		if h := c.bySuffix[domain]; h != nil {
			return h
		}
	}
	return c.anyHost
}

// granted are the headers for one URL.
type granted struct {
	headers http.Header
	origin  *url.URL
	// from says where they come from, for errors; "" if there are none.
	from string

	helper *helper
	answer *helperAnswer // of helper
}

// of returns the headers for u.
func (c *Credentials) of(ctx context.Context, u *url.URL) (*granted, error) {
	g := &granted{origin: u}
	login := ""
	if u.User != nil {
		login = u.User.Username()
		if password, ok := u.User.Password(); ok {
			g.basic(login, password, "the URL")
			return g, nil
		}
	}
	if c != nil {
		if h := c.fixed[origin(u)]; h != nil {
			g.headers, g.from = h, "the headers given for it"
			return g, nil
		}
		if h := c.helper(u.Hostname()); h != nil {
			a, err := h.get(ctx, u)
			if err != nil {
				return nil, err
			}
			if len(a.headers) > 0 {
				g.use(h, a)
				return g, nil
			}
		}
		c.readNetrc()
		if c.netrcErr != nil {
			return nil, permanentError{c.netrcErr}
		}
		if e, ok := c.netrc.find(u.Hostname(), login); ok {
			g.basic(e.login, e.password, c.netrcPath)
			return g, nil
		}
	}
	if u.User != nil {
		g.basic(login, "", "the URL")
	}
	return g, nil
}

// basic are user and password by RFC 7617.
func (g *granted) basic(user, password, from string) {
	g.headers = http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))}}
	g.from = from
}

func (g *granted) use(h *helper, a *helperAnswer) {
	g.headers, g.from, g.helper, g.answer = a.headers, "the credential helper "+h.path, h, a
}

// renew asks for other headers after the server has refused these, and reports whether there are any.
func (g *granted) renew(ctx context.Context, status int) (bool, error) {
	if g.helper == nil {
		return false, nil
	}
	a, err := g.helper.again(ctx, g.origin, g.answer, status)
	if err != nil || a == nil {
		return false, err
	}
	g.use(g.helper, a)
	return true, nil
}

// apply sets the headers on a request to the origin that they are for, and takes them off any other.
func (g *granted) apply(req *http.Request) {
	for name, values := range g.headers {
		if sameOrigin(g.origin, req.URL) {
			req.Header[name] = slices.Clone(values)
		} else {
			delete(req.Header, name)
		}
	}
}

// origin is where credentials are good: scheme, host and port.
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}

// sameOrigin reports whether what is for a may be sent to b: b is the same host by the
// same port, or the same host by https where a was plain http, both at their usual ports.
func sameOrigin(a, b *url.URL) bool {
	from, to := origin(a), origin(b)
	host, plain := strings.CutPrefix(from, "http://")
	return from == to || plain && strings.HasSuffix(host, ":80") && to == "https://"+strings.TrimSuffix(host, ":80")+":443"
}

type grantedKey struct{}

// do sends a request with the credentials for its URL. A status of 401 or 403 is the caller's, after other
// credentials were tried where a helper has some.
func (c *Client) do(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	g, err := c.o.Credentials.of(ctx, req.URL)
	if err != nil {
		return nil, err
	}
	bare := *req.URL
	bare.User = nil // It is in the headers, and net/http would send it after redirects of its own accord.
	req.URL = &bare
	for renewed := false; ; renewed = true {
		req := req.Clone(context.WithValue(ctx, grantedKey{}, g))
		if renewed && req.GetBody != nil {
			if req.Body, err = req.GetBody(); err != nil {
				return nil, permanentError{err}
			}
		}
		g.apply(req)
		resp, err := c.http.Do(req)
		if err != nil {
			var urlErr *url.Error
			if errors.As(err, &urlErr) {
				err = urlErr.Err // url.Error quotes the URL, which after a redirect may be a signed one.
			}
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return nil, err
		}
		refused := resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden
		if renewed || !refused || !sameOrigin(g.origin, resp.Request.URL) {
			return resp, nil
		}
		other, err := g.renew(ctx, resp.StatusCode)
		if err != nil || other {
			drain(resp)
		}
		if err != nil {
			return nil, err
		}
		if !other {
			return resp, nil
		}
	}
}

// redirected fits a request that follows a redirect: headers for the first host go to no other.
func redirected(req *http.Request) {
	req.URL.User = nil // The server's choice, not the user's.
	// The referring URL's query may be a credential of another host.
	req.Header.Del("Referer")
	if g, ok := req.Context().Value(grantedKey{}).(*granted); ok {
		g.apply(req)
	}
}

// refusal is what there is to say about the credentials of a request that was answered by 401, 403 or 407.
func refusal(resp *http.Response) (what, hint string) {
	if resp.StatusCode == http.StatusProxyAuthRequired {
		return "the proxy wants credentials", "give the proxy's address with user and password: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT"
	}
	g, _ := resp.Request.Context().Value(grantedKey{}).(*granted)
	if g == nil {
		return "", ""
	}
	host := resp.Request.URL.Hostname()
	switch {
	case !sameOrigin(g.origin, resp.Request.URL):
		return "after a redirect to " + host + ", which gets no credentials", ""
	case g.from != "":
		return "with the credentials of " + g.from, ""
	}
	hint = fmt.Sprintf("if %s wants credentials, put \"machine %s login USER password PASSWORD\" into ~/.netrc (or the file that $NETRC names), "+
		"or name a credential helper ($%s)", host, host, HelperVariable)
	if resp.StatusCode == http.StatusUnauthorized {
		return "it wants credentials, and there are none for " + host, hint
	}
	return "", hint
}
