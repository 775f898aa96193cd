package lock

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rules-strata/rules_strata/tool/project"
	"github.com/rules-strata/rules_strata/tool/store"
)

// A cache that makes up references without end is left before it has cost more
// than the names, and with a few goroutines.
func TestMake_CacheWithoutEnd(t *testing.T) {
	const references = 20_000
	var next, asked, goroutines atomic.Int64
	name := func(n int64) string { return strings.ReplaceAll(fmt.Sprintf("%032d", n), "e", "0") + "-x" }
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hash, ok := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/"), ".narinfo")
		if !ok {
			fmt.Fprintln(w, "StoreDir: /nix/store")
			return
		}
		asked.Add(1)
		if n := int64(runtime.NumGoroutine()); n > goroutines.Load() {
			goroutines.Store(n)
		}
		fmt.Fprintf(w, "StorePath: /nix/store/%s-x\nURL: nar/x\nCompression: none\nNarHash: sha256:%s\nNarSize: 8\nReferences:", hash, strings.Repeat("0", 64))
		for range references {
			fmt.Fprint(w, " "+name(next.Add(1)))
		}
		fmt.Fprintln(w)
	}))
	defer server.Close()

	root := store.Path("/nix/store/" + name(0))
	_, err := makeLock(t, projectOf(root, nil, project.Cache{URL: server.URL, AllowUnsigned: true}), t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "more than 262144 store paths") || !strings.Contains(err.Error(), "/nix/store/") {
		t.Errorf("error %v, want one that says there are too many store paths, and names one", err)
	}
	if n, most := asked.Load(), int64(maxPaths/references+1+maxAsking); n > most {
		t.Errorf("%d narinfos were asked for, want at most %d", n, most)
	}
	if n := goroutines.Load(); n > 500 {
		t.Errorf("%d goroutines, want a few for each of %d workers", n, maxAsking)
	}
}
