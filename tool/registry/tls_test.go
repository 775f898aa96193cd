package registry

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
)

// newTLSFake returns a registry with a certificate for example.com of an authority of its own, and a client's name for it.
func newTLSFake(t *testing.T) (*fake, string) {
	t.Helper()
	f := newFake(t)
	s := httptest.NewUnstartedServer(f)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that end
	s.StartTLS()
	t.Cleanup(s.Close)
	f.Server.Close()
	f.Server = s
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return f, "example.com:" + port
}

// at makes a client find every host where the fake is.
func (f *fake) at(c *Client) *Client {
	c.guard.inner.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, f.Listener.Addr().String())
	}
	return c
}

// A registry behind TLS is believed by its certificate alone: of an authority that is trusted, and for its own name.
func TestTLS(t *testing.T) {
	f, host := newTLSFake(t)
	pool := x509.NewCertPool()
	pool.AddCert(f.Certificate())
	blobs := memory{}
	img := content(t, blobs, newImage(t, blobs, "one", 100, 200))
	push := func(c *Client, host string) error {
		_, err := c.Push(t.Context(), Push{Content: img, Repository: repo(t, c, host+"/r/x"), Tags: []string{"v1"}, Sources: []Source{blobs}})
		return err
	}
	c := f.at(New(Options{RootCAs: pool}))
	defer c.CloseIdleConnections()
	if err := push(c, host); err != nil {
		t.Fatal(err)
	}
	ref, err := c.Reference(host + "/r/x:v1")
	if err != nil {
		t.Fatal(err)
	}
	if d, err := c.Resolve(t.Context(), ref, nil); err != nil || d.Digest != img.Root().Descriptor.Digest {
		t.Errorf("%s, %v", d.Digest, err)
	}

	for name, test := range map[string]struct {
		host string
		pool *x509.CertPool
		want string
		hint string
	}{
		"unknown authority": {host, x509.NewCertPool(), "the certificate of " + host + " can't be trusted: x509: certificate signed by unknown authority", "--ca-file"},
		"the system's":      {host, nil, "can't be trusted: x509: certificate signed by unknown authority", "--ca-file"},
		"another name":      {strings.Replace(host, "example.com", "example.org", 1), pool, "x509: certificate is valid for example.com", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f.requests()
			c := f.at(New(Options{RootCAs: test.pool}))
			defer c.CloseIdleConnections()
			err := push(c, test.host)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want %q", err, test.want)
			}
			var h interface{ Hint() string }
			if !errors.As(err, &h) || !strings.Contains(h.Hint(), test.hint) || (h.Hint() == "") != (test.hint == "") {
				t.Errorf("hint %v", h)
			}
			if got := f.requests(); len(got) > 0 {
				t.Errorf("it was asked all the same: %q", got)
			}
		})
	}
}
