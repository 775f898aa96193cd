package binarycache_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rules-strata/rules_strata/tool/binarycache"
	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/graph"
	"github.com/rules-strata/rules_strata/tool/nar/nartest"
	"github.com/rules-strata/rules_strata/tool/narinfo"
	"github.com/rules-strata/rules_strata/tool/store"
)

// testdata holds binary caches that real Nix and real Guix wrote.
const testdata = "../../testdata/web"

const mini = store.Path("/nix/store/21c0vs5yp5r1xg52vsmiblv2mlsh0v50-mini-1.0")

func readFile(t testing.TB, elem ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
}

func secretKey(t testing.TB, name string) *narinfo.SecretKey {
	t.Helper()
	k, err := narinfo.ReadSecretKey(filepath.Join(testdata, "keys", name+".secret"))
	if err != nil {
		t.Fatal(err)
	}
	return &k
}

func publicKeys(t testing.TB) []narinfo.PublicKey {
	return []narinfo.PublicKey{secretKey(t, "strata-web-1").Public()}
}

// infos are the narinfos of a folder.
func infos(t testing.TB, dir string) map[store.Path]*narinfo.Info {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.narinfo"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[store.Path]*narinfo.Info{}
	for _, file := range files {
		info, err := narinfo.Parse(readFile(t, file))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[info.StorePath] = info
	}
	return all
}

// diskStore is a store on disk with the small paths of the fixtures, and its graph.
type diskStore struct {
	dir   string
	root  *os.Root
	infos map[store.Path]*narinfo.Info
}

func newDiskStore(t testing.TB) *diskStore {
	t.Helper()
	cache := filepath.Join(testdata, "variants/none")
	s := &diskStore{dir: t.TempDir(), infos: infos(t, cache)}
	nartest.RestoreCache(t, cache, s.dir)
	var err error
	if s.root, err = os.OpenRoot(s.dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.root.Close() })
	return s
}

// graph is the closure of the whole store, as an exportReferencesGraph or, with hashes, a registration has it.
func (s *diskStore) graph(t testing.TB, hashes bool, without ...store.Path) *graph.Graph {
	t.Helper()
	var b strings.Builder
	b.WriteString("[")
	for p, info := range s.infos {
		if len(without) > 0 && p == without[0] {
			continue
		}
		if b.Len() > 1 {
			b.WriteString(",")
		}
		b.WriteString(`{"path":"` + string(p) + `","references":[`)
		for i, r := range info.References {
			if i > 0 {
				b.WriteString(",")
			}
			b.WriteString(`"` + string(r) + `"`)
		}
		b.WriteString(`]`)
		if hashes {
			b.WriteString(`,"narHash":"` + info.NarHash.SRI() + `","narSize":` + strconv.FormatInt(info.NarSize, 10))
			if info.CA != "" {
				b.WriteString(`,"ca":"` + info.CA + `"`)
			}
			if info.Deriver != "" {
				b.WriteString(`,"deriver":"/nix/store/` + info.Deriver + `"`)
			}
		}
		b.WriteString(`}`)
	}
	b.WriteString("]")
	g, err := graph.Parse([]byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func (s *diskStore) options(t testing.TB) binarycache.WriteOptions {
	return binarycache.WriteOptions{Graph: s.graph(t, true), Store: s.root, Key: secretKey(t, "strata-web-1"), Compression: "none"}
}

func open(t testing.TB, target string) *binarycache.Cache {
	t.Helper()
	client := fetch.New(fetch.Options{Backoff: 1, Attempts: 2})
	t.Cleanup(client.CloseIdleConnections)
	c, err := binarycache.Open(target, client)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// server is an HTTP server that keeps what it is PUT in a folder, as nginx' WebDAV does.
type server struct {
	*httptest.Server
	dir string

	mu   sync.Mutex
	puts []string // in their order
	// hook, if set, answers a request itself when it returns true.
	hook func(w http.ResponseWriter, r *http.Request) bool
}

func newServer(t testing.TB) *server {
	t.Helper()
	s := &server{dir: t.TempDir()}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.hook != nil && s.hook(w, r) {
		return
	}
	if r.Method != http.MethodPut {
		http.FileServer(http.Dir(s.dir)).ServeHTTP(w, r)
		return
	}
	b, err := io.ReadAll(r.Body)
	path := filepath.Join(s.dir, filepath.FromSlash(r.URL.Path))
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o777)
	}
	if err == nil {
		err = os.WriteFile(path, b, 0o666)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	s.mu.Lock()
	s.puts = append(s.puts, strings.TrimPrefix(r.URL.Path, "/"))
	s.mu.Unlock()
	w.WriteHeader(http.StatusCreated)
}

// taken returns what was PUT since the last call.
func (s *server) taken() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	puts := s.puts
	s.puts = nil
	return puts
}

// tree is every file below dir, by its relative name.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		files[filepath.ToSlash(rel)] = string(readFile(t, path))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// sameTree compares two folders.
func sameTree(t testing.TB, got, want map[string]string) {
	t.Helper()
	for name := range want {
		if _, ok := got[name]; !ok {
			t.Errorf("%s is missing", name)
		} else if got[name] != want[name] {
			t.Errorf("%s is another", name)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s is there", name)
		}
	}
}

// narinfosLast fails unless each narinfo was written behind its NAR and behind the narinfos of its references.
func narinfosLast(t testing.TB, s *server, puts []string) {
	t.Helper()
	at := map[string]int{}
	for i, name := range puts {
		at[name] = i + 1
	}
	for path, info := range infos(t, s.dir) {
		mine := at[path.HashPart()+".narinfo"]
		if mine == 0 {
			continue
		}
		if at[info.URL] > mine {
			t.Errorf("%s: the narinfo came before the NAR", path)
		}
		for _, r := range info.References {
			if at[r.HashPart()+".narinfo"] > mine {
				t.Errorf("%s: its narinfo came before that of %s", path, r)
			}
		}
	}
}

var background = context.Background()
