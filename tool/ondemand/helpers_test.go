package ondemand

import (
	"archive/tar"
	"io"
	"testing"
)

// listing is a tar's entries, with where symlinks lead.
func listing(t testing.TB, r io.Reader) map[string]string {
	t.Helper()
	out := map[string]string{}
	for in := tar.NewReader(r); ; {
		h, err := in.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out[h.Name] = h.Linkname
	}
}
