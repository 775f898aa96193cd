package binarycache_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rules-strata/rules_strata/tool/binarycache"
	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/lock"
	"github.com/rules-strata/rules_strata/tool/narinfo"
	"github.com/rules-strata/rules_strata/tool/project"
	"github.com/rules-strata/rules_strata/tool/store"
)

func newClient(t testing.TB, dir string) *fetch.Client {
	t.Helper()
	c := fetch.New(fetch.Options{Dir: dir, Backoff: 1, Attempts: 2})
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// lockOf locks a root out of caches, which are URLs. The lock's folder is dir.
func lockOf(t testing.TB, dir string, root store.Path, caches ...string) *lock.Lock {
	t.Helper()
	guix, err := narinfo.ParsePublicKey(string(readFile(t, testdata, "guix/signing-key.pub")))
	if err != nil {
		t.Fatal(err)
	}
	p := &project.Project{
		PublicKeys: append(publicKeys(t), guix), Systems: []string{"x86_64-linux"},
		Roots: []project.Root{{Name: "root", System: "x86_64-linux", Path: root}}, MaxLayers: 64,
	}
	for _, c := range caches {
		p.Caches = append(p.Caches, project.Cache{URL: c})
	}
	l, err := lock.Make(background, lock.Options{Project: p, Dir: dir, LockDir: dir, Client: newClient(t, dir)})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func marshal(t testing.TB, l *lock.Lock) string {
	t.Helper()
	b, err := l.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func fixture(t testing.TB, name string) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join(testdata, name))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// copyDir makes a copy of a fixture, to be damaged.
func copyDir(t testing.TB, from string) string {
	t.Helper()
	dir := t.TempDir()
	copyTo(t, dir, from)
	return dir
}

// copyTo copies files, not links, which under Bazel the fixtures are.
func copyTo(t testing.TB, dir, from string) {
	t.Helper()
	for name, text := range tree(t, from) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o777); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, name), []byte(text))
	}
}

const guixRoot = store.Path("/gnu/store/w4qs8p8nwnldd2lx0dpigzlqsqk2m3s2-strata-app-1.0")

// A mirror of what a lock names: with it as the only cache, the lock is the same but for URLs.
func TestMirror_LocksAlike(t *testing.T) {
	for _, c := range []struct {
		cache string
		root  store.Path
	}{
		{"variants/xz", mini},
		{"variants/gzip", mini},
		{"variants/two-signatures", mini},
		{"variants/nix-2.34", mini},
		{"guix/cache", guixRoot},
		{"guix/baked", guixRoot},
	} {
		from := fixture(t, c.cache)
		want := lockOf(t, ".", c.root, "file://"+from)
		server, dir := newServer(t), filepath.Join(t.TempDir(), "mirror")
		for url, target := range map[string]string{"file://" + dir: dir, server.URL: server.URL} {
			result, caches, err := binarycache.Mirror(background, open(t, target), binarycache.MirrorOptions{Lock: want, Client: newClient(t, ".")})
			if err != nil {
				t.Fatalf("%s: %v", c.cache, err)
			}
			if len(caches) != 1 || caches[0] != "file://"+from || result.Written != len(want.Paths) || result.There != 0 {
				t.Errorf("%s: got %+v, of %s", c.cache, result, caches)
			}
			got := marshal(t, lockOf(t, ".", c.root, url))
			if strings.ReplaceAll(got, url, "file://"+from) != marshal(t, want) {
				t.Errorf("%s: the lock of the mirror is another: %s", c.cache, got)
			}
		}
		sameTree(t, tree(t, dir), tree(t, server.dir))
		narinfosLast(t, server, server.taken())
		// All that is there is as the cache has it, to the byte.
		all := tree(t, from)
		for name, text := range tree(t, dir) {
			if name != "nix-cache-info" && all[name] != text {
				t.Errorf("%s: %s is another", c.cache, name)
			}
		}
		// Again: nothing is sent.
		for _, target := range []string{dir, server.URL} {
			result, _, err := binarycache.Mirror(background, open(t, target), binarycache.MirrorOptions{Lock: want, Client: newClient(t, ".")})
			if err != nil || result.Written != 0 || result.Files != 0 || result.There != len(want.Paths) {
				t.Errorf("%s: again: got %+v, %v", c.cache, result, err)
			}
		}
		if puts := server.taken(); len(puts) != 0 {
			t.Errorf("%s: again, %s were sent", c.cache, puts)
		}
	}
}

// A lock out of several caches goes into one mirror, whichever way its URLs are written.
func TestMirror_SeveralCaches(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"some", "some/nar/others"} {
		copyTo(t, filepath.Join(root, name), fixture(t, "variants/zstd"))
	}
	// One has the root only, the other the rest.
	for _, info := range infos(t, filepath.Join(root, "some")) {
		if info.StorePath != mini {
			os.Remove(filepath.Join(root, "some", info.StorePath.HashPart()+".narinfo"))
		}
	}
	l := lockOf(t, root, mini, "file:some", "file:some/nar/others")
	dir := t.TempDir()
	_, caches, err := binarycache.Mirror(background, open(t, dir), binarycache.MirrorOptions{Lock: l, Client: newClient(t, root)})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Join(caches, " ") != "file:some file:some/nar/others" {
		t.Errorf("got the caches %s", caches)
	}
	lockOf(t, ".", mini, "file://"+dir)
}

// NARs need not be below nar/, nor caches at a server's top.
func TestMirror_OtherFolders(t *testing.T) {
	from := copyDir(t, fixture(t, "variants/zstd"))
	if err := os.MkdirAll(filepath.Join(from, "a/b"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(from, "nar"), filepath.Join(from, "a/b/c")); err != nil {
		t.Fatal(err)
	}
	for path, info := range infos(t, from) {
		info.URL = "a/b/c" + strings.TrimPrefix(info.URL, "nar")
		writeFile(t, filepath.Join(from, path.HashPart()+".narinfo"), info.Marshal())
	}
	s := httptest.NewServer(http.StripPrefix("/x/nar/y", http.FileServer(http.Dir(from))))
	defer s.Close()
	l := lockOf(t, ".", mini, s.URL+"/x/nar/y")
	dir := t.TempDir()
	_, caches, err := binarycache.Mirror(background, open(t, dir), binarycache.MirrorOptions{Lock: l, Client: newClient(t, ".")})
	if err != nil || len(caches) != 1 || caches[0] != s.URL+"/x/nar/y" {
		t.Fatalf("got %s, %v", caches, err)
	}
	lockOf(t, ".", mini, "file://"+dir)
}

// A cache that isn't any more what the lock says: an error that names path and URL, and nothing of that path in the mirror.
func TestMirror_Refuses(t *testing.T) {
	narinfoOf := func(dir string) string { return filepath.Join(dir, mini.HashPart()+".narinfo") }
	change := func(f func(info *narinfo.Info)) func(t *testing.T, dir string, info *narinfo.Info) {
		return func(t *testing.T, dir string, info *narinfo.Info) {
			f(info)
			writeFile(t, narinfoOf(dir), info.Marshal())
		}
	}
	for _, c := range []struct {
		name, want string
		damage     func(t *testing.T, dir string, info *narinfo.Info)
	}{
		{"a byte of the NAR", "FileHash mismatch", func(t *testing.T, dir string, info *narinfo.Info) {
			b := readFile(t, dir, info.URL)
			b[len(b)/2] ^= 1
			writeFile(t, filepath.Join(dir, info.URL), b)
		}},
		{"a cut NAR", "FileSize mismatch", func(t *testing.T, dir string, info *narinfo.Info) {
			b := readFile(t, dir, info.URL)
			writeFile(t, filepath.Join(dir, info.URL), b[:len(b)-1])
		}},
		{"a longer NAR", "FileSize mismatch", func(t *testing.T, dir string, info *narinfo.Info) {
			writeFile(t, filepath.Join(dir, info.URL), append(readFile(t, dir, info.URL), 0))
		}},
		{"no NAR", "not found", func(t *testing.T, dir string, info *narinfo.Info) { os.Remove(filepath.Join(dir, info.URL)) }},
		{"no narinfo", "not found", func(t *testing.T, dir string, info *narinfo.Info) { os.Remove(narinfoOf(dir)) }},
		{"no narinfo but a page", "narinfo line 1: want a newline", func(t *testing.T, dir string, info *narinfo.Info) { writeFile(t, narinfoOf(dir), []byte("<html>")) }},
		{"another path's narinfo", "the narinfo is about another path", change(func(info *narinfo.Info) { info.StorePath = info.References[0] + "x" })},
		{"another NarHash", "the narinfo has NarHash sha256:", change(func(info *narinfo.Info) { info.NarHash[0] ^= 1 })},
		{"another NarSize", "the narinfo has NarHash sha256:", change(func(info *narinfo.Info) { info.NarSize++ })},
		{"other references", "the narinfo has other references than the lock", change(func(info *narinfo.Info) { info.References = info.References[1:] })},
		{"no signature", "the narinfo has no more the signature by strata-web-1 that the lock has", change(func(info *narinfo.Info) { info.Signatures = nil })},
		{"another file", "the narinfo names nar/x, the lock file://", change(func(info *narinfo.Info) { info.URL = "nar/x" })},
		{"another FileHash", "the narinfo says of nar/", change(func(info *narinfo.Info) { info.FileHash[0] ^= 1 })},
		{"another compression", "the narinfo says of nar/", change(func(info *narinfo.Info) { info.Compression = "xz" })},
	} {
		from := copyDir(t, fixture(t, "variants/zstd"))
		l := lockOf(t, ".", mini, "file://"+from)
		c.damage(t, from, infos(t, from)[mini])
		dir := t.TempDir()
		_, _, err := binarycache.Mirror(background, open(t, dir), binarycache.MirrorOptions{Lock: l, Client: newClient(t, ".")})
		var of *binarycache.PathError
		if err == nil || !strings.Contains(err.Error(), c.want) || !errors.As(err, &of) || of.Path != mini || !strings.Contains(err.Error(), "file://"+from) {
			t.Errorf("%s: want an error of %s with %q, got %v", c.name, mini, c.want, err)
		}
		for name := range tree(t, dir) {
			if strings.HasSuffix(name, ".tmp") || strings.HasPrefix(name, mini.HashPart()) || name == l.Paths[mini].URL {
				t.Errorf("%s: %s is left", c.name, name)
			}
		}
	}
}

// Hand-edited locks can't make one file's check count for another.
func TestMirror_OneNameTwoFiles(t *testing.T) {
	l := lockOf(t, ".", mini, "file://"+fixture(t, "variants/zstd"))
	from := copyDir(t, fixture(t, "variants/zstd"))
	other := infos(t, from)[mini].References[0]
	if other == mini {
		other = infos(t, from)[mini].References[1]
	}
	e := *l.Paths[other]
	e.URL, e.FileHash, e.FileSize, e.Signature = l.Paths[mini].URL, l.Paths[mini].FileHash, l.Paths[mini].FileSize, ""
	info := infos(t, from)[other]
	mine := infos(t, from)[mini]
	info.File = mine.File
	writeFile(t, filepath.Join(from, other.HashPart()+".narinfo"), info.Marshal())
	for _, p := range l.Paths {
		p.URL = strings.Replace(p.URL, fixture(t, "variants/zstd"), from, 1)
	}
	e.URL, l.Caches = l.Paths[mini].URL, []string{"file://" + from}
	l.Paths[other] = &e
	_, _, err := binarycache.Mirror(background, open(t, t.TempDir()), binarycache.MirrorOptions{Lock: l, Client: newClient(t, ".")})
	if err == nil || !strings.Contains(err.Error(), "the lock has two files of one name") && !strings.Contains(err.Error(), "mismatch") {
		t.Errorf("got %v", err)
	}
}

// Two locks that name other bytes under one URL, as Guix' caches may serve them: the
// first one's stay. Nix' names hold the hash, so bytes that don't fit are damage, and are replaced.
func TestMirror_OtherBytesAreThere(t *testing.T) {
	l := lockOf(t, ".", guixRoot, "file://"+fixture(t, "guix/cache"))
	dir := t.TempDir()
	o := binarycache.MirrorOptions{Lock: l, Client: newClient(t, ".")}
	if _, _, err := binarycache.Mirror(background, open(t, dir), o); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "nar/zstd", guixRoot.Base())
	b := readFile(t, file)
	b[len(b)-1] ^= 1
	writeFile(t, file, b)
	_, _, err := binarycache.Mirror(background, open(t, dir), o)
	if err == nil || !strings.Contains(err.Error(), "is there with other bytes: want sha256:") {
		t.Errorf("got %v", err)
	}
	if !bytes.Equal(readFile(t, file), b) {
		t.Error("they are replaced")
	}

	o.Lock = lockOf(t, ".", mini, "file://"+fixture(t, "variants/zstd"))
	dir = t.TempDir()
	if _, _, err := binarycache.Mirror(background, open(t, dir), o); err != nil {
		t.Fatal(err)
	}
	want := tree(t, dir)
	file = filepath.Join(dir, infos(t, dir)[mini].URL)
	if err := os.Truncate(file, 10); err != nil {
		t.Fatal(err)
	}
	if result, _, err := binarycache.Mirror(background, open(t, dir), o); err != nil || result.Files != 1 {
		t.Errorf("a cut file: got %+v, %v", result, err)
	}
	sameTree(t, tree(t, dir), want)
}

// A server that breaks off in the middle, and goes on at the next request: nobody notices.
// One that says what isn't so of what it has: what it serves, the narinfos, shows it.
func TestMirror_BadServers(t *testing.T) {
	l := lockOf(t, ".", mini, "file://"+fixture(t, "variants/zstd"))
	o := binarycache.MirrorOptions{Lock: l, Client: newClient(t, ".")}
	server := newServer(t)
	var seen sync.Map
	server.hook = func(w http.ResponseWriter, r *http.Request) bool {
		if _, again := seen.LoadOrStore(r.Method+r.URL.Path, true); !again {
			panic(http.ErrAbortHandler)
		}
		return false
	}
	if _, _, err := binarycache.Mirror(background, open(t, server.URL), binarycache.MirrorOptions{Lock: l, Client: newClient(t, ".")}); err != nil {
		t.Error(err)
	}
	whole := tree(t, server.dir)

	// HEAD says of everything that it is there, in a size that isn't.
	server = newServer(t)
	server.hook = func(w http.ResponseWriter, r *http.Request) bool {
		if _, err := os.Stat(filepath.Join(server.dir, r.URL.Path)); r.Method == http.MethodHead && err != nil {
			w.Header().Set("Content-Length", "1")
			return true
		}
		return false
	}
	if _, _, err := binarycache.Mirror(background, open(t, server.URL), o); err != nil {
		t.Error(err)
	}
	sameTree(t, tree(t, server.dir), whole)

	// Another narinfo is there: the lock's takes its place.
	other := *infos(t, server.dir)[mini]
	other.Signatures = nil
	writeFile(t, filepath.Join(server.dir, mini.HashPart()+".narinfo"), other.Marshal())
	if result, _, err := binarycache.Mirror(background, open(t, server.URL), o); err != nil || result.Written != 1 || result.Files != 0 {
		t.Errorf("another narinfo: got %+v, %v", result, err)
	}
	sameTree(t, tree(t, server.dir), whole)

	// A mirror of another store directory isn't touched.
	writeFile(t, filepath.Join(server.dir, "nix-cache-info"), []byte("StoreDir: /gnu/store\n"))
	server.taken()
	if _, _, err := binarycache.Mirror(background, open(t, server.URL), o); err == nil || !strings.Contains(err.Error(), "the cache is of the store directory /gnu/store, the paths are in /nix/store") {
		t.Errorf("another store: got %v", err)
	}
	if puts := server.taken(); len(puts) > 0 {
		t.Errorf("another store: %s were sent", puts)
	}
}

// Stopped in the middle, a mirror holds whole closures, and the next run goes on from there.
func TestMirror_Stopped(t *testing.T) {
	l := lockOf(t, ".", mini, "file://"+fixture(t, "variants/zstd"))
	dir := t.TempDir()
	why := errors.New("why")
	stopped, sent := 0, 0
	for at := 1; at < 12; at += 3 {
		ctx, cancel := context.WithCancelCause(background)
		result, _, err := binarycache.Mirror(ctx, open(t, dir), binarycache.MirrorOptions{
			Lock: l, Client: newClient(t, "."),
			Progress: func(p binarycache.Progress) {
				if p.Done >= at {
					cancel(why)
				}
			},
		})
		cancel(nil)
		sent += result.Files
		if err != nil {
			stopped++
			if !errors.Is(err, why) {
				t.Errorf("stopped: got %v", err)
			}
		}
		got := infos(t, dir)
		for path, info := range got {
			if _, err := os.Stat(filepath.Join(dir, info.URL)); err != nil {
				t.Errorf("%s: %v", path, err)
			}
			for _, r := range info.References {
				if got[r] == nil {
					t.Errorf("%s is there without %s", path, r)
				}
			}
		}
		for name := range tree(t, dir) {
			if strings.HasSuffix(name, ".tmp") {
				t.Errorf("%s is left", name)
			}
		}
	}
	result, _, err := binarycache.Mirror(background, open(t, dir), binarycache.MirrorOptions{Lock: l, Client: newClient(t, ".")})
	if err != nil {
		t.Fatal(err)
	}
	files := map[store.Hash]bool{}
	for _, e := range l.Paths {
		files[e.FileHash] = true
	}
	if stopped == 0 || sent+result.Files != len(files) {
		t.Errorf("stopped %d times, %d files sent, want %d", stopped, sent+result.Files, len(files))
	}
}
