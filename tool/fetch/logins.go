package fetch

import (
	"context"
	"net/http"
	"net/url"
)

// Set has these headers sent to the server of the HTTP URL rawURL, in place of what a helper or the netrc has for it. It is for
// before the credentials are used.
func (c *Credentials) Set(rawURL string, headers http.Header) error {
	u, err := parseHTTP(rawURL)
	if err != nil {
		return err
	}
	if c.fixed == nil {
		c.fixed = map[string]http.Header{}
	}
	c.fixed[origin(u)] = headers
	return nil
}

// Headers returns the headers that the server of the HTTP URL rawURL wants to see, from where the user keeps them, for
// those who speak to it in another way than by a [Client]. They go to no other server and into no message.
func (c *Credentials) Headers(ctx context.Context, rawURL string) (http.Header, error) {
	u, err := parseHTTP(rawURL)
	if err != nil {
		return nil, err
	}
	g, err := c.of(ctx, u)
	if err != nil {
		return nil, named(u, err)
	}
	return g.headers, nil
}

// Login returns what the user's netrc says of a host, which may have a port; "" if it says nothing.
func (c *Credentials) Login(host string) (user, password string, err error) {
	c.readNetrc()
	if c.netrcErr != nil {
		return "", "", c.netrcErr
	}
	e, _ := c.netrc.find((&url.URL{Host: host}).Hostname(), "")
	return e.login, e.password, nil
}

func (c *Credentials) readNetrc() {
	c.netrcOnce.Do(func() {
		c.netrcPath = netrcPath()
		c.netrc, c.netrcErr = readNetrc(c.netrcPath)
	})
}
