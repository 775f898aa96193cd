package bazel

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const bashRoot = "bash=/nix/store/xznc9l6ppin9j93x7xsvaba3qkn46hwr-bash-5.2.15"

// narServer serves the cache of testdata/web below several folders, each of
// which behaves in its own way, and counts the NARs that were asked for by folder.
type narServer struct {
	*httptest.Server
	mu   sync.Mutex
	nars map[string]int
}

func newNARServer(t *testing.T, folders map[string]http.HandlerFunc) *narServer {
	t.Helper()
	s := &narServer{nars: map[string]int{}}
	files := http.FileServer(http.Dir(filepath.Join(sourceDir(t), "testdata/web/cache")))
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		folder, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		if !strings.HasPrefix(rest, "nar/") {
			http.StripPrefix("/"+folder, files).ServeHTTP(w, r)
			return
		}
		s.mu.Lock()
		s.nars[folder]++
		s.mu.Unlock()
		if serve := folders[folder]; serve != nil {
			serve(w, r)
			return
		}
		http.StripPrefix("/"+folder, files).ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// asked returns how many NARs each folder was asked for since the last call.
func (s *narServer) asked() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.nars
	s.nars = map[string]int{}
	return asked
}

// A NAR comes from the first of a cache's mirrors that has it, or from the
// cache; mirrors that the extension names come before the lock's. None changes a digest.
func TestMirrors(t *testing.T) {
	cache := filepath.Join(sourceDir(t), "testdata/web/cache")
	server := newNARServer(t, map[string]http.HandlerFunc{
		"cache": http.NotFound,
		"gone":  http.NotFound,
		"wrong": func(w http.ResponseWriter, r *http.Request) {
			b, err := os.ReadFile(filepath.Join(cache, "nar", path.Base(r.URL.Path)))
			if err != nil {
				t.Error(err)
				return
			}
			b[len(b)/2] ^= 1
			w.Write(b)
		},
	})
	w := newWorkspace(t)
	if err := os.CopyFS(filepath.Join(w.dir, "copy"), os.DirFS(cache)); err != nil {
		t.Fatal(err)
	}
	w.lock("--cache", "file://"+cache, "--root", bashRoot)
	want, _ := w.digest("//:bash")
	w.lock("--cache", server.URL+"/cache", "--root", bashRoot)
	lock, module := w.read("strata.lock.json"), w.read("MODULE.bazel")
	nars := strings.Count(lock, `"nar_hash"`)

	for _, c := range []struct {
		name string
		// The mirrors that the extension and the lock name: folders of the server, or URLs.
		extension, lock []string
		// The folders of the server that are asked for each NAR.
		asked []string
	}{
		{
			name:      "neither the first mirror nor the cache has it",
			extension: []string{"gone", "good/"},
			asked:     []string{"gone", "good"},
		},
		{
			name:  "the lock names the mirror",
			lock:  []string{"good"},
			asked: []string{"good"},
		},
		{
			name:      "both name one",
			extension: []string{"good"},
			lock:      []string{"gone"},
			asked:     []string{"good"},
		},
		{
			name:      "the first mirror has other bytes",
			extension: []string{"wrong", "good"},
			asked:     []string{"wrong", "good"},
		},
		{
			name:      "a folder beside the lock",
			extension: []string{"file:nothing", "file:copy"},
		},
	} {
		urls := func(mirrors []string) string {
			var quoted []string
			for _, m := range mirrors {
				if !strings.HasPrefix(m, "file:") {
					m = server.URL + "/" + m
				}
				quoted = append(quoted, strconv.Quote(m))
			}
			return fmt.Sprintf("{%q: [%s]}", server.URL+"/cache", strings.Join(quoted, ", "))
		}
		for _, fetch := range []string{"repository", "action"} {
			t.Run(c.name+", "+fetch, func(t *testing.T) {
				w.t = t
				w.write("strata.lock.json", lock)
				if c.lock != nil {
					w.edit("strata.lock.json", `"version": 1,`, `"version": 1, "mirrors": `+urls(c.lock)+",")
				}
				w.write("MODULE.bazel", module)
				if c.extension != nil {
					w.edit("MODULE.bazel", `lock = "//:strata.lock.json",`, `lock = "//:strata.lock.json", mirrors = `+urls(c.extension)+",")
				}
				flags := []string{"--@rules_strata//:nar_fetch=" + fetch, "--repository_cache=" + filepath.Join(t.TempDir(), "repositories")}
				server.asked()
				got, ran := w.digest("//:bash", flags...)
				if got != want {
					t.Errorf("digest %s, want %s", got, want)
				}
				asked := map[string]int{}
				for _, folder := range c.asked {
					asked[folder] = nars
				}
				if got := server.asked(); !maps.Equal(got, asked) {
					t.Errorf("folders asked for %d NARs: %v, want %v", nars, got, asked)
				}
				if n := ran.ran("StrataLayer"); fetch == "action" && c.asked != nil && n != nars {
					t.Errorf("%d layer actions ran, want %d", n, nars)
				}
			})
		}
	}
}
