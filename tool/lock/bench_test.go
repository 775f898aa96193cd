package lock

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/narinfo"
	"github.com/rules-strata/rules_strata/tool/project"
)

// bigCache is a cache of n paths, each of which refers to up to eight of those before it, as closures of nixpkgs do.
func bigCache(t testing.TB, n int) (root string, key testKey, c *testCache) {
	t.Helper()
	key, c = newTestKey(t, "good-1"), newTestCache(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	name := func(i int) string { return fmt.Sprintf("package-%d-1.0", i) }
	for i := range n {
		var refs []string
		for range min(rnd.IntN(8), i) {
			refs = append(refs, name(rnd.IntN(i)))
		}
		if i > 0 {
			refs = append(refs, name(i-1-rnd.IntN(min(i, 20))))
		}
		slices.Sort(refs)
		c.put(newObject(t, name(i), slices.Compact(refs)...), key)
	}
	all := make([]string, n)
	for i := range n {
		all[i] = name(i)
	}
	slices.Sort(all)
	c.put(newObject(t, "root", all...), key)
	return "root", key, c
}

// How long a lock of many paths takes, from a cache over HTTP on this machine, the first time and again.
func BenchmarkMake(b *testing.B) {
	for _, n := range []int{1000, 2000} {
		root, key, c := bigCache(b, n)
		s := httptest.NewServer(http.FileServer(http.Dir(c.dir)))
		p := projectOf(storePath(root), []narinfo.PublicKey{key.public}, project.Cache{URL: s.URL})
		client := fetch.New(fetch.Options{})
		var old *Lock
		for _, kind := range []string{"fresh", "again"} {
			b.Run(fmt.Sprintf("%d/%s", n, kind), func(b *testing.B) {
				for b.Loop() {
					o := Options{Project: p, Dir: ".", LockDir: ".", Client: client}
					if kind == "again" {
						o.Previous = old
					}
					l, err := Make(b.Context(), o)
					if err != nil || len(l.Paths) != n+1 {
						b.Fatal(len(l.Paths), err)
					}
					old = l
				}
			})
		}
		b.Run(fmt.Sprintf("%d/Parse", n), func(b *testing.B) {
			text := mustMarshal(b, old)
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if _, err := Parse(text); err != nil {
					b.Fatal(err)
				}
			}
		})
		client.CloseIdleConnections()
		s.Close()
	}
}
