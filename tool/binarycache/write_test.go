package binarycache_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/rules-strata/rules_strata/tool/binarycache"
	"github.com/rules-strata/rules_strata/tool/narfile"
	"github.com/rules-strata/rules_strata/tool/narinfo"
)

// Out of what real Nix had in its store comes the cache that real Nix wrote, to the byte.
func TestWrite_AsNix(t *testing.T) {
	s := newDiskStore(t)
	dir := filepath.Join(t.TempDir(), "deep/cache")
	result, err := binarycache.Write(background, open(t, dir), s.options(t))
	if err != nil {
		t.Fatal(err)
	}
	want := tree(t, filepath.Join(testdata, "variants/none"))
	for name := range want {
		if strings.HasSuffix(name, ".ls") {
			delete(want, name)
		}
	}
	sameTree(t, tree(t, dir), want)
	if result.Written != len(s.infos) || result.There != 0 || result.Files < 10 || result.FileBytes < 1000 {
		t.Errorf("got %+v", result)
	}

	// Again, there is nothing to do.
	result, err = binarycache.Write(background, open(t, dir), s.options(t))
	if err != nil || result.Written != 0 || result.There != len(s.infos) || result.Files != 0 {
		t.Errorf("again: got %+v, %v", result, err)
	}
}

// A graph without hashes gives the same, but for what it doesn't say.
func TestWrite_ReferencesGraph(t *testing.T) {
	s := newDiskStore(t)
	o := s.options(t)
	o.Graph = s.graph(t, false)
	dir := t.TempDir()
	if _, err := binarycache.Write(background, open(t, dir), o); err != nil {
		t.Fatal(err)
	}
	got := infos(t, dir)
	for path, want := range s.infos {
		if got[path].Fingerprint() != want.Fingerprint() || got[path].Deriver != "" || got[path].CA != "" {
			t.Errorf("%s: got %+v", path, got[path])
		}
		if _, _, err := got[path].VerifiedBy(publicKeys(t)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	if result, err := binarycache.Write(background, open(t, dir), o); err != nil || result.Written != 0 {
		t.Errorf("again: got %+v, %v", result, err)
	}
}

// Every compression is read back by the reader of caches, and gives the same files whatever the load.
func TestWrite_Compressions(t *testing.T) {
	s := newDiskStore(t)
	for _, compression := range binarycache.Compressions() {
		o := s.options(t)
		o.Compression = compression
		var first map[string]string
		for range 2 {
			dir := t.TempDir()
			if _, err := binarycache.Write(background, open(t, dir), o); err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = tree(t, dir)
			}
			sameTree(t, tree(t, dir), first)
			for path, info := range infos(t, dir) {
				if info.Compression != compression {
					t.Errorf("%s: compression %s", path, info.Compression)
				}
				f, err := os.Open(filepath.Join(dir, info.URL))
				if err != nil {
					t.Fatal(err)
				}
				var r narfile.Reader
				err = r.Reset(f, narfile.File{Compression: compression, FileHash: info.FileHash, FileSize: info.FileSize, NarHash: s.infos[path].NarHash, NarSize: s.infos[path].NarSize})
				if err == nil {
					_, err = io.Copy(io.Discard, &r)
				}
				if err != nil {
					t.Errorf("%s, %s: %v", compression, path, err)
				}
				r.Close()
				f.Close()
			}
		}
	}
}

// Over HTTP it is the same cache, and at no time is there a narinfo whose closure isn't.
func TestWrite_HTTP(t *testing.T) {
	s := newDiskStore(t)
	server := newServer(t)
	if _, err := binarycache.Write(background, open(t, server.URL+"/sub/"), s.options(t)); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := binarycache.Write(background, open(t, dir), s.options(t)); err != nil {
		t.Fatal(err)
	}
	sameTree(t, tree(t, filepath.Join(server.dir, "sub")), tree(t, dir))
	if puts := server.taken(); puts[0] != "sub/nix-cache-info" {
		t.Errorf("%s is written first", puts[0])
	}

	server = newServer(t)
	if _, err := binarycache.Write(background, open(t, server.URL), s.options(t)); err != nil {
		t.Fatal(err)
	}
	narinfosLast(t, server, server.taken())
	// What is there isn't sent again.
	if result, err := binarycache.Write(background, open(t, server.URL), s.options(t)); err != nil || len(server.taken()) != 0 || result.There != len(s.infos) {
		t.Errorf("again: got %+v, %v", result, err)
	}
	// What is gone or damaged is, and nothing else; a NAR that two paths share, once.
	gone := s.infos[mini]
	for _, damage := range []func(){
		func() { os.Remove(filepath.Join(server.dir, gone.URL)) },
		func() { os.Truncate(filepath.Join(server.dir, gone.URL), 10) },
		func() { writeFile(t, filepath.Join(server.dir, mini.HashPart()+".narinfo"), []byte("StorePath: ")) },
		func() {
			other := *gone
			other.NarSize++
			other.Sign(*secretKey(t, "strata-web-1"))
			writeFile(t, filepath.Join(server.dir, mini.HashPart()+".narinfo"), other.Marshal())
		},
	} {
		damage()
		if _, err := binarycache.Write(background, open(t, server.URL), s.options(t)); err != nil {
			t.Fatal(err)
		}
		for _, name := range server.taken() {
			if name != gone.URL && name != mini.HashPart()+".narinfo" {
				t.Errorf("%s was sent again", name)
			}
		}
		sameTree(t, tree(t, server.dir), tree(t, dir))
	}
}

// Signatures that are there stay, of the graph and of the cache, as long as they are of the same NAR.
func TestWrite_KeepsSignatures(t *testing.T) {
	s := newDiskStore(t)
	dir := t.TempDir()
	o := s.options(t)
	o.Key = secretKey(t, "strata-web-2")
	if _, err := binarycache.Write(background, open(t, dir), o); err != nil {
		t.Fatal(err)
	}
	o.Key = secretKey(t, "strata-web-1")
	o.Graph = s.graph(t, false)
	signed, err := narinfo.ParseSignature("somebody:AAAA")
	if err != nil {
		t.Fatal(err)
	}
	o.Graph.Nodes[mini].Signatures = []narinfo.Signature{signed}
	if _, err := binarycache.Write(background, open(t, dir), o); err != nil {
		t.Fatal(err)
	}
	for path, info := range infos(t, dir) {
		want := []string{"strata-web-1", "strata-web-2"}
		if path == mini {
			want = []string{"somebody", "strata-web-1", "strata-web-2"}
		}
		var got []string
		for _, s := range info.Signatures {
			got = append(got, s.Name)
		}
		if !slices.Equal(got, want) || info.Deriver != s.infos[path].Deriver || info.CA != s.infos[path].CA {
			t.Errorf("%s: signed by %s, deriver %q, CA %q", path, got, info.Deriver, info.CA)
		}
	}
	// Without a key, nothing is signed, and nothing is done again.
	o.Key = nil
	if result, err := binarycache.Write(background, open(t, dir), o); err != nil || result.Written != 0 {
		t.Errorf("without a key: got %+v, %v", result, err)
	}
	dir = t.TempDir()
	o.Graph = s.graph(t, true)
	if _, err := binarycache.Write(background, open(t, dir), o); err != nil {
		t.Fatal(err)
	}
	sameTree(t, tree(t, dir), unsigned(t))
}

// unsigned is what real Nix wrote, without the signatures.
func unsigned(t testing.TB) map[string]string {
	files := tree(t, filepath.Join(testdata, "variants/none"))
	for name, text := range files {
		if strings.HasSuffix(name, ".ls") {
			delete(files, name)
		}
		if strings.HasSuffix(name, ".narinfo") {
			var kept strings.Builder
			for line := range strings.Lines(text) {
				if !strings.HasPrefix(line, "Sig: ") {
					kept.WriteString(line)
				}
			}
			files[name] = kept.String()
		}
	}
	return files
}

func TestWrite_Refuses(t *testing.T) {
	s := newDiskStore(t)
	leaf := s.infos[mini].References[0]
	if leaf == mini {
		leaf = s.infos[mini].References[1]
	}
	for _, c := range []struct {
		name, want string
		prepare    func(t *testing.T, o *binarycache.WriteOptions, dir string)
	}{
		{"a path that isn't on disk", "no such file or directory", func(t *testing.T, o *binarycache.WriteOptions, dir string) {
			empty, err := os.OpenRoot(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			o.Store = empty
		}},
		{"a NarHash that isn't", string(mini) + ": NarHash mismatch: want sha256:", func(t *testing.T, o *binarycache.WriteOptions, dir string) {
			o.Graph.Nodes[mini].NarHash[0] ^= 1
		}},
		{"a NarSize that isn't", string(mini) + ": NarSize mismatch: want 1, got ", func(t *testing.T, o *binarycache.WriteOptions, dir string) {
			o.Graph.Nodes[mini].NarSize = 1
		}},
		{"a cache of another store", "the cache is of the store directory /gnu/store, the paths are in /nix/store", func(t *testing.T, o *binarycache.WriteOptions, dir string) {
			writeFile(t, filepath.Join(dir, "nix-cache-info"), []byte("StoreDir: /gnu/store\n"))
		}},
		{"no nix-cache-info but something else", "want lines of", func(t *testing.T, o *binarycache.WriteOptions, dir string) {
			writeFile(t, filepath.Join(dir, "nix-cache-info"), []byte("<html>\n"))
		}},
		{"a graph that isn't closed", "it refers to " + string(leaf) + ", which is neither in the graph nor in ", func(t *testing.T, o *binarycache.WriteOptions, dir string) {
			o.Graph = s.graph(t, true, leaf)
		}},
		{"two paths of one hash part", "it has the hash part of " + string(mini) + ": a cache can't hold both", func(t *testing.T, o *binarycache.WriteOptions, dir string) {
			twin := *o.Graph.Nodes[mini]
			twin.Path += "-twin"
			o.Graph.Nodes[twin.Path] = &twin
		}},
		{"a compression", `compression "rar" is not known`, func(t *testing.T, o *binarycache.WriteOptions, dir string) { o.Compression = "rar" }},
		{"a folder in a file's place", "is no regular file", func(t *testing.T, o *binarycache.WriteOptions, dir string) {
			if err := os.Mkdir(filepath.Join(dir, mini.HashPart()+".narinfo"), 0o777); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		dir := t.TempDir()
		o := s.options(t)
		c.prepare(t, &o, dir)
		_, err := binarycache.Write(background, open(t, dir), o)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: want an error with %q, got %v", c.name, c.want, err)
		}
		for name := range tree(t, dir) {
			if strings.Contains(name, ".tmp") || strings.HasPrefix(name, mini.HashPart()) {
				t.Errorf("%s: %s is left", c.name, name)
			}
		}
	}
	// A reference that is in the cache need not be in the graph.
	dir := t.TempDir()
	if _, err := binarycache.Write(background, open(t, dir), s.options(t)); err != nil {
		t.Fatal(err)
	}
	o := s.options(t)
	o.Graph = s.graph(t, true, leaf)
	if _, err := binarycache.Write(background, open(t, dir), o); err != nil {
		t.Error(err)
	}
}

// Servers that fail, each in its way: an error that says so, and no narinfo of what isn't there.
func TestWrite_BadServers(t *testing.T) {
	s := newDiskStore(t)
	for _, c := range []struct {
		name, want string
		hook       func(w http.ResponseWriter, r *http.Request) bool
	}{
		{"read-only", "nix-cache-info: the server answers 405", func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPut {
				http.Error(w, "", http.StatusMethodNotAllowed)
			}
			return r.Method == http.MethodPut
		}},
		{"wants a password", "wants credentials", func(w http.ResponseWriter, r *http.Request) bool {
			http.Error(w, "", http.StatusUnauthorized)
			return true
		}},
		{"full", "507 Insufficient Storage", func(w http.ResponseWriter, r *http.Request) bool {
			if full := r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/nar/"); full {
				http.Error(w, "", http.StatusInsufficientStorage)
				return true
			}
			return false
		}},
		{"says that it took what it drops", "the server took it, but hasn't got it", func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPut {
				_, _ = io.Copy(io.Discard, r.Body)
				w.WriteHeader(http.StatusCreated)
				return true
			}
			return false
		}},
		{"says yes to everything", "want lines of", func(w http.ResponseWriter, r *http.Request) bool {
			w.Write([]byte("<html>"))
			return true
		}},
		{"keeps half", "bytes, but has 3", func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPut {
				r.Body = io.NopCloser(io.LimitReader(r.Body, 3))
			}
			return false
		}},
	} {
		server := newServer(t)
		server.hook = c.hook
		_, err := binarycache.Write(background, open(t, server.URL), s.options(t))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: want an error with %q, got %v", c.name, c.want, err)
		}
		for _, name := range server.taken() {
			if strings.HasSuffix(name, ".narinfo") {
				t.Errorf("%s: %s was written", c.name, name)
			}
		}
	}
}

// Stopped in the middle, it leaves what is whole, and goes on from there.
func TestWrite_Stopped(t *testing.T) {
	s := newDiskStore(t)
	dir := t.TempDir()
	why := errors.New("why")
	stopped := 0
	for at := 1; at < 12; at += 3 {
		ctx, cancel := context.WithCancelCause(background)
		o := s.options(t)
		o.Progress = func(p binarycache.Progress) {
			if p.Done >= at {
				cancel(why)
			}
		}
		if _, err := binarycache.Write(ctx, open(t, dir), o); err != nil {
			stopped++
			if !errors.Is(err, why) {
				t.Errorf("stopped: got %v", err)
			}
		}
		cancel(nil)
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
	if stopped == 0 {
		t.Error("it was never stopped")
	}
	if _, err := binarycache.Write(background, open(t, dir), s.options(t)); err != nil {
		t.Fatal(err)
	}
	whole := t.TempDir()
	if _, err := binarycache.Write(background, open(t, whole), s.options(t)); err != nil {
		t.Fatal(err)
	}
	sameTree(t, tree(t, dir), tree(t, whole))
}

// A full disk is an error, and leaves nothing half-made.
func TestDiskFull(t *testing.T) {
	s := newDiskStore(t)
	l := lockOf(t, ".", mini, "file://"+fixture(t, "variants/none"))
	for name, write := range map[string]func(c *binarycache.Cache) error{
		"Write": func(c *binarycache.Cache) error {
			_, err := binarycache.Write(background, c, s.options(t))
			return err
		},
		"Mirror": func(c *binarycache.Cache) error {
			_, _, err := binarycache.Mirror(background, c, binarycache.MirrorOptions{Lock: l, Client: newClient(t, ".")})
			return err
		},
	} {
		dir := t.TempDir()
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
			t.Skipf("no file system of its own: %v", err)
		}
		t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
		if err := write(open(t, dir)); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: got %v", name, err)
		}
		for file := range tree(t, dir) {
			if strings.HasSuffix(file, ".tmp") {
				t.Errorf("%s: %s is left", name, file)
			}
		}
		for path, info := range infos(t, dir) {
			if _, err := os.Stat(filepath.Join(dir, info.URL)); err != nil {
				t.Errorf("%s: %s: %v", name, path, err)
			}
		}
	}
}

func TestOpen(t *testing.T) {
	for _, c := range []struct{ target, url, shown, want string }{
		{"/a/b", "file:///a/b", "/a/b", ""},
		{"file:///a%20b/", "file:///a%20b", "/a b", ""},
		{"http://h/c/", "http://h/c", "http://h/c", ""},
		{"https://me:secret@h/c", "https://h/c", "https://***@h/c", ""},
		{"", "", "", "want a folder or"},
		{"s3://bucket", "", "", "s3://bucket: want a folder or an http: or https: URL"},
		{"http://h/c?token=secret", "", "", "without query"},
		{"http://", "", "", "names no host"},
		{"file://host/a", "", "", "can't name the host"},
	} {
		cache, err := binarycache.Open(c.target, nil)
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: want an error with %q, got %v", c.target, c.want, err)
			}
			continue
		}
		if err != nil || cache.URL() != c.url || cache.String() != c.shown {
			t.Errorf("%s: got %v, %v", c.target, cache, err)
		}
	}
}
