package fetch

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestAlternatives(t *testing.T) {
	right, wrong := testBytes(300_000), testBytes(300_001)[1:]
	for _, tc := range []struct {
		name  string
		hosts []http.HandlerFunc
		opens int      // until the bytes are right; 0: they never are
		wants []string // in the last error
	}{
		{name: "the first", hosts: []http.HandlerFunc{content(right, ""), status(500)}, opens: 1},
		{name: "the second", hosts: []http.HandlerFunc{status(404), content(right, "")}, opens: 1},
		{name: "in the middle", hosts: []http.HandlerFunc{content(right[:1000], ""), content(right, "")}, opens: 1},
		{name: "three times in the middle", hosts: []http.HandlerFunc{content(right[:1000], ""), status(403), content(right[:2000], ""), content(right[:500], ""), content(right, "")}, opens: 1},
		{name: "wrong bytes first", hosts: []http.HandlerFunc{content(wrong, ""), content(right, "")}, opens: 2},
		{name: "wrong bytes, then none, then right ones", hosts: []http.HandlerFunc{content(wrong, ""), status(404), content(wrong, ""), content(right, "")}, opens: 3},
		{name: "some wrong bytes, then right ones", hosts: []http.HandlerFunc{content(wrong[:10], ""), content(right, "")}, opens: 2},
		{name: "some right bytes, then wrong ones", hosts: []http.HandlerFunc{content(right[:10], ""), content(wrong, ""), content(right, "")}, opens: 3},
		{name: "none", hosts: []http.HandlerFunc{status(404), status(410)}, wants: []string{"none of its 2 URLs works: ", "/0: the server answers 404 Not Found; ", "/1: the server answers 410 Gone"}},
		{name: "one", hosts: []http.HandlerFunc{status(404)}, wants: []string{"/0: the server answers 404 Not Found"}},
		{name: "all wrong", hosts: []http.HandlerFunc{content(wrong, ""), status(404), content(wrong, "")}, wants: []string{"none of its 2 URLs works: wrong, in ", "/0; ", "wrong, in ", "/2"}},
		{name: "wrong, and then none", hosts: []http.HandlerFunc{content(wrong, ""), status(404)}, wants: []string{"none of its 2 URLs works: wrong, in ", "/0; ", "/1: the server answers 404 Not Found"}},
		{name: "nowhere", wants: []string{"there is no URL that has it"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, _ := testClient(t, Options{Attempts: 1})
			var urls []string
			for i, h := range tc.hosts {
				url, _ := serve(t, h)
				urls = append(urls, url+"/"+string(rune('0'+i)))
			}
			a := c.Alternatives(urls, int64(len(right)))
			for n := 1; ; n++ {
				got, err := func() ([]byte, error) {
					r, err := a.Open(t.Context())
					if err != nil {
						return nil, err
					}
					defer r.Close()
					return io.ReadAll(r)
				}()
				if err == nil && bytes.Equal(got, right) {
					if n != tc.opens {
						t.Errorf("right bytes by Open number %d, want %d", n, tc.opens)
					}
					return
				}
				if err == nil {
					if err = a.Reject(errors.New("wrong")); err == nil {
						continue
					}
				}
				for _, want := range tc.wants {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("error %v, want one with %q", err, want)
					}
				}
				if tc.opens > 0 {
					t.Errorf("error %v", err)
				}
				return
			}
		})
	}
}

// Stopped is stopped: no other URL is tried.
func TestAlternatives_Stopped(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("why")
	first, _ := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel(why)
		<-r.Context().Done()
	})
	second, requests := serve(t, content([]byte("x"), ""))
	c, _ := testClient(t, Options{})
	if _, err := c.Alternatives([]string{first, second}, -1).Open(ctx); !errors.Is(err, why) || requests.Load() != 0 {
		t.Errorf("error %v, %d requests to the second", err, requests.Load())
	}
}
