package ondemand

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/opencontainers/go-digest"

	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/layer"
	"github.com/rules-strata/rules_strata/tool/lock"
	"github.com/rules-strata/rules_strata/tool/project"
	"github.com/rules-strata/rules_strata/tool/serve"
	"github.com/rules-strata/rules_strata/tool/store"
)

func testdata(t testing.TB, elem ...string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(append([]string{"../../testdata/web"}, elem...)...))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// webProject is a project of the cache in testdata, whose channel's list is that of its closure, over HTTP where a URL is given.
func webProject(t testing.TB, cacheURL string) *project.Project {
	t.Helper()
	if cacheURL == "" {
		cacheURL = fetch.FileURL(testdata(t, "cache"))
	}
	return parseProject(t, fmt.Sprintf(`{
		"caches": [%q], "public_keys": [%q], "systems": ["x86_64-linux"],
		"channels": {"stable": %q},
		"roots": {"web": "/nix/store/dr6a8bs5f2hyww3awb6nnhxlg3qvfdhr-web-1.0", "Server": {"package": "nginx"}}
	}`, cacheURL, key(t, "strata-web-1"), fetch.FileURL(testdata(t, "closure", "paths"))))
}

func parseProject(t testing.TB, text string) *project.Project {
	t.Helper()
	p, err := project.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func key(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(testdata(t, "keys", name+".public"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// open opens a registry of packages, for as long as the test runs.
func open(t testing.TB, o Options) *Registry {
	t.Helper()
	if o.Project == nil {
		o.Project = webProject(t, "")
	}
	if o.CacheDir == "" {
		o.CacheDir = t.TempDir()
	}
	if o.Client == nil {
		o.Client = fetch.New(fetch.Options{Attempts: 1})
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// listen serves s to clients, by the whole server, and returns its host.
func listen(t testing.TB, s serve.Source) string {
	t.Helper()
	h := httptest.NewServer(serve.NewHandler(s))
	t.Cleanup(h.Close)
	return h.Listener.Addr().String()
}

// pull is what a client does, and what it makes of the digests: the manifest, and each layer to its end.
func pull(ctx context.Context, host, image string) (v1.Image, error) {
	ref, err := name.ParseReference(host+"/"+image, name.Insecure)
	if err != nil {
		return nil, err
	}
	img, err := remote.Image(ref, remote.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	for _, l := range layers {
		in, err := l.Compressed() // It checks the digest.
		if err != nil {
			return nil, err
		}
		_, err = io.Copy(io.Discard, in)
		in.Close()
		if err != nil {
			return nil, err
		}
	}
	return img, nil
}

func mustPull(t testing.TB, host, image string) v1.Image {
	t.Helper()
	img, err := pull(t.Context(), host, image)
	if err != nil {
		t.Fatalf("%s: %v", image, err)
	}
	return img
}

func digestOf(t testing.TB, img v1.Image) string {
	t.Helper()
	d, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

// twenty are images that have layers in common; half of them have the C library.
var twenty = strings.Fields(`sed gnugrep zlib expat ncurses pcre2 gnugrep/sed sed/zlib expat/zlib attr/acl
	busybox-static tzdata multi oddities twin-b many-small-files multi/oddities multi/tzdata busybox-static/multi oddities/twin-b`)

// Two hundred clients at once, of twenty images, before any is made: each gets every byte right, each layer is made once, and
// memory stays bounded. Afterwards the images are what go-containerregistry holds for whole, and made anew they are the same.
func TestRegistry_ManyAtOnce(t *testing.T) {
	s := open(t, Options{})
	host := listen(t, s)
	stop, peak := make(chan struct{}), make(chan uint64)
	go func() {
		most := uint64(0)
		for {
			select {
			case <-stop:
				peak <- most
				return
			case <-time.After(20 * time.Millisecond):
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapInuse)
			}
		}
	}()
	each := 10
	if testing.Short() {
		each = 2
	}
	images := make([]v1.Image, len(twenty)*each)
	var clients sync.WaitGroup
	for i := range images {
		clients.Go(func() {
			var err error
			if images[i], err = pull(t.Context(), host, twenty[i%len(twenty)]); err != nil {
				t.Errorf("%s: %v", twenty[i%len(twenty)], err)
			}
		})
	}
	clients.Wait()
	close(stop)
	if most := <-peak; most > 400<<20 {
		t.Errorf("the heap grew to %d MiB, of server and clients", most>>20)
	}
	if t.Failed() {
		return
	}
	layers := map[string]bool{}
	for i, img := range images {
		if got, want := digestOf(t, img), digestOf(t, images[i%len(twenty)]); got != want {
			t.Errorf("%s: one client got %s, another %s", twenty[i%len(twenty)], got, want)
		}
		all, err := img.Layers()
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range all {
			d, err := l.Digest()
			if err != nil {
				t.Fatal(err)
			}
			layers[d.String()] = true
		}
	}
	if made := s.made.Load(); made != int64(len(layers)) {
		t.Errorf("%d layers were made, and the images have %d", made, len(layers))
	}
	for _, i := range []int{6, 18} {
		if err := validate.Image(images[i]); err != nil {
			t.Errorf("%s: %v", twenty[i], err)
		}
	}
	other := listen(t, open(t, Options{Builds: 1, Workers: 1}))
	for _, i := range []int{18, 0} {
		if got, want := digestOf(t, mustPull(t, other, twenty[i])), digestOf(t, images[i]); got != want {
			t.Errorf("%s: another server, with nothing before, makes %s of it, not %s", twenty[i], got, want)
		}
	}
}

// What an image of packages says, and what is in it beside store paths.
func TestRegistry_Image(t *testing.T) {
	s := open(t, Options{MaxLayers: 5})
	host := listen(t, s)
	img := mustPull(t, host, "shell/sed")
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"PATH=/bin:/sbin", "SSL_CERT_FILE=/etc/ssl/certs/ca-bundle.crt"}
	if config.Architecture != "amd64" || !slices.Equal(config.Config.Env, want) || !slices.Equal(config.Config.Cmd, []string{"/bin/bash"}) {
		t.Errorf("config %+v", config)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if len(layers) != 5 {
		t.Errorf("%d layers, want 5", len(layers))
	}
	tar, err := layers[len(layers)-1].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer tar.Close()
	got := listing(t, tar)
	for path, target := range map[string]string{
		"bin/sed":                       "/nix/store/31ghqicg521gnf9c0bd7xcysfkcjsa5j-sed-4.9/bin/sed",
		"bin/bash":                      "/nix/store/xznc9l6ppin9j93x7xsvaba3qkn46hwr-bash-5.2.15/bin/bash",
		"bin/ls":                        "/nix/store/xh0v1vs3r59gf64s8377bs1b2ik38bzc-coreutils-9.1/bin/ls",
		"usr/bin/env":                   "/nix/store/xh0v1vs3r59gf64s8377bs1b2ik38bzc-coreutils-9.1/bin/env",
		"etc/ssl/certs/ca-bundle.crt":   "/nix/store/rx996as9dr4qb8n50ss0myr56a0hvk9s-nss-cacert-20250419/etc/ssl/certs/ca-bundle.crt",
		"tmp/":                          "",
		"etc/passwd":                    "",
		"root/":                         "",
		"nix/store/does-not-belong-her": "missing",
	} {
		found, ok := got[path]
		if target == "missing" && ok || target != "missing" && (!ok || found != target) {
			t.Errorf("%s: %v, leads to %q, want %q", path, ok, found, target)
		}
	}
	// Web's bin is a link to that of a profile, with links to its programs: there is room for the shell's beside them.
	layers, err = mustPull(t, host, "shell/web").Layers()
	if err != nil {
		t.Fatal(err)
	}
	if tar, err = layers[len(layers)-1].Uncompressed(); err != nil {
		t.Fatal(err)
	}
	defer tar.Close()
	got = listing(t, tar)
	for _, path := range []string{"bin/", "bin/sh", "bin/ls", "bin/nginx", "start"} {
		if _, ok := got[path]; !ok {
			t.Errorf("shell/web has no %s", path)
		}
	}
	if want := "/nix/store/5lmyxh3w0h9xc6qzp6nivvjbiaxc42gi-web-profile/bin/nginx"; got["bin/nginx"] != want {
		t.Errorf("bin/nginx leads to %q, want %q", got["bin/nginx"], want)
	}
	// The order of packages, and one that is there twice, make no other image.
	same := digestOf(t, mustPull(t, host, "gnugrep/sed"))
	for _, other := range []string{"sed/gnugrep", "sed/gnugrep/sed", "sed-4.9/gnugrep", "sed:stable"} {
		if got := digestOf(t, mustPull(t, host, other)); (got == same) == (other == "sed:stable") {
			t.Errorf("%s is %s, gnugrep/sed %s", other, got, same)
		}
	}
	// A root of the project goes by its name, also without capital letters.
	mustPull(t, host, "server")
}

// What can't be made, in the words that clients hear.
func TestRegistry_Unknown(t *testing.T) {
	small := webProject(t, "")
	two := parseProject(t, fmt.Sprintf(`{
		"caches": [%q], "public_keys": [%q], "systems": ["x86_64-linux"],
		"channels": {"old": %q, "new": {"x86_64-linux": %q}},
		"roots": {"web": "/nix/store/dr6a8bs5f2hyww3awb6nnhxlg3qvfdhr-web-1.0"}
	}`, fetch.FileURL(testdata(t, "cache")), key(t, "strata-web-1"), fetch.FileURL(testdata(t, "closure", "paths")), fetch.FileURL(testdata(t, "next", "paths"))))
	untrusted := webProject(t, "")
	untrusted.PublicKeys[0] = parseProject(t, fmt.Sprintf(`{"caches": ["file:x"], "public_keys": [%q], "systems": ["x86_64-linux"], "roots": {"x": "/nix/store/dr6a8bs5f2hyww3awb6nnhxlg3qvfdhr-web-1.0"}}`,
		key(t, "strata-web-2"))).PublicKeys[0]
	none := parseProject(t, fmt.Sprintf(`{"caches": [%q], "public_keys": [%q], "systems": ["x86_64-linux"],
		"roots": {"roots": "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-web-root"}}`, fetch.FileURL(testdata(t, "cache")), key(t, "strata-web-1")))
	for _, tc := range []struct {
		name, repository, tag, code, message string
		o                                    Options
	}{
		{"no such package", "zlb", "latest", serve.CodeManifestUnknown, `^package zlb: no store path in the list is of a package zlb; like this one are zlib$`, Options{}},
		{"two at once", "zlb/sed/gitt", "latest", serve.CodeManifestUnknown, `^package zlb: .*; package gitt: `, Options{}},
		{"another version", "openssl-1", "latest", serve.CodeManifestUnknown, `no store path in the list is openssl-1; there are openssl-3.0.22`, Options{}},
		{"a file", "motd", "latest", serve.CodeManifestUnknown, `^package motd: it is a file`, Options{}},
		{"no such tag", "sed", "nope", serve.CodeManifestUnknown, `^a tag is a channel, and there is none nope; there are latest, stable$`, Options{}},
		{"which channel", "sed", "latest", serve.CodeManifestUnknown, `^say by the tag which channel: one of new, old$`, Options{Project: two}},
		{"no package but an architecture", "amd64", "latest", serve.CodeNameUnknown, `^amd64 names no package`, Options{}},
		{"another architecture", "arm64/sed", "latest", serve.CodeManifestUnknown, `this server has images for x86_64-linux$`, Options{}},
		{"too many", strings.Repeat("a/", 40) + "b", "latest", serve.CodeNameUnknown, `^41 packages in one image, want at most 32$`, Options{}},
		{"no package set", "foopackages.x", "latest", serve.CodeManifestUnknown, `no package set foopackages is known`, Options{}},
		{"no channel", "sed", "latest", serve.CodeManifestUnknown, `it has no channel to look packages up in$`, Options{Project: none}},
		{"a root without a channel", "roots", "latest", "", ``, Options{Project: none}},
		{"too large", "python3-minimal", "latest", serve.CodeDenied, `^the image would have \d+ bytes unpacked, and this server makes none of more than 1000000$`, Options{Project: small, MaxImageSize: 1e6}},
		{"not signed", "sed", "latest", serve.CodeManifestUnknown, `no signature by a trusted key`, Options{Project: untrusted}},
		{"digest", "sed", "sha256:" + strings.Repeat("0", 64), serve.CodeManifestUnknown, `^no image sha256:0+ was made here`, Options{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := open(t, tc.o)
			m, err := s.Manifest(t.Context(), tc.repository, tc.tag)
			if tc.code == "" {
				if err != nil || digest.FromBytes(m.Bytes) != m.Digest {
					t.Fatalf("%v, %v", m, err)
				}
				return
			}
			var e *serve.Error
			if !errors.As(err, &e) || e.Code != tc.code || !regexp.MustCompile(tc.message).MatchString(e.Message) {
				t.Errorf("error %v\nwant %s: %s", err, tc.code, tc.message)
			}
		})
	}
	s := open(t, Options{Project: two})
	old, err1 := s.resolve(t.Context(), "web-root", "old")
	now, err2 := s.resolve(t.Context(), "web-root", "new")
	if err1 != nil || err2 != nil || slices.Equal(old.Roots, now.Roots) {
		t.Errorf("two channels: %v %v", err1, err2)
	}
	tags, err := s.Tags(t.Context(), "sed")
	if slices.Sort(tags); err != nil || !slices.Equal(tags, []string{"new", "old"}) {
		t.Errorf("tags %v, %v", tags, err)
	}
	if tags, err := s.Tags(t.Context(), "zlb"); !serve.IsUnknown(err) {
		t.Errorf("tags of what isn't there: %v, %v", tags, err)
	}
	if _, err := s.Blob(t.Context(), "sed", digest.FromString("x")); !serve.IsUnknown(err) {
		t.Errorf("a blob of none: %v", err)
	}
}

// Names of images have no capital letters, and mean what has some.
func TestRegistry_Case(t *testing.T) {
	dir := t.TempDir()
	hash := func(i int) string { return fmt.Sprintf("/nix/store/%032d-", i) }
	list := hash(1) + "SDL2-2.30\n" + hash(2) + "python3.11-requests-2.28\n" + hash(3) + "Thing-1\n" + hash(4) + "thing-2\n" + hash(5) + "python3.11-PyYAML-6.0\n"
	if err := os.WriteFile(filepath.Join(dir, "paths"), []byte(list), 0o666); err != nil {
		t.Fatal(err)
	}
	p := parseProject(t, fmt.Sprintf(`{"caches": [{"url": "file:cache", "allow_unsigned": true}], "systems": ["x86_64-linux"], "channels": {"x": %q},
		"roots": {"web": {"package": "web"}}}`, fetch.FileURL(filepath.Join(dir, "paths"))))
	s := open(t, Options{Project: p})
	for name, want := range map[string]string{
		"sdl2": hash(1) + "SDL2-2.30", "python3packages.requests": hash(2) + "python3.11-requests-2.28",
		"python311packages.pyyaml": hash(5) + "python3.11-PyYAML-6.0", "thing": hash(4) + "thing-2",
	} {
		c, err := s.resolve(t.Context(), name, "latest")
		if err != nil || len(c.Roots) != 1 || string(c.Roots[0]) != want {
			t.Errorf("%s: %v, %v; want %s", name, c, err, want)
		}
	}
}

// A server that is started again knows what was made before, and believes none of it that isn't whole.
func TestRegistry_Again(t *testing.T) {
	dir := t.TempDir()
	first := open(t, Options{CacheDir: dir})
	want := digestOf(t, mustPull(t, listen(t, first), "gnugrep/sed"))
	if _, err := New(Options{Project: webProject(t, ""), CacheDir: dir, Client: fetch.New(fetch.Options{})}); err == nil || !strings.Contains(err.Error(), "another server uses this folder") {
		t.Errorf("two servers in one folder: %v", err)
	}
	first.Close()
	files := func(folder string) []string {
		names, err := filepath.Glob(filepath.Join(dir, folder, "*"))
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: %v, %v", folder, names, err)
		}
		return names
	}
	damage := func(path string, how int) {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		switch how % 3 {
		case 0:
			b[len(b)/2] ^= 1
		case 1:
			b = b[:len(b)/2]
		case 2:
			b = nil
		}
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name   string
		before func()
		made   func(n int64) bool
	}{
		{"untouched", func() {}, func(n int64) bool { return n == 0 }},
		{"all blobs gone", func() {
			for _, f := range files(blobsDir) {
				os.Remove(f)
			}
		}, func(n int64) bool { return n > 5 }},
		{"blobs damaged", func() {
			for i, f := range files(blobsDir) {
				damage(f, i)
			}
		}, func(n int64) bool { return n > 5 }},
		{"records damaged", func() {
			for i, f := range files(imagesDir) {
				damage(f, i)
			}
			for i, f := range files(layersDir) {
				damage(f, i)
			}
		}, func(n int64) bool { return n > 5 }},
		{"list damaged", func() {
			for _, f := range files(listsDir) {
				damage(f, 1)
			}
		}, func(n int64) bool { return n == 0 }},
		{"half-written files", func() {
			for _, d := range []string{blobsDir, layersDir, imagesDir, listsDir} {
				if err := os.WriteFile(filepath.Join(dir, d, ".new.abc.tmp"), []byte("x"), 0o666); err != nil {
					t.Fatal(err)
				}
			}
		}, func(n int64) bool { return n == 0 }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.before()
			s := open(t, Options{CacheDir: dir})
			if left, _ := filepath.Glob(filepath.Join(dir, "*", ".*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			host := listen(t, s)
			if tc.name != "records damaged" { // Nobody knows then what the digest was of.
				mustPull(t, host, "gnugrep/sed@"+want)
			}
			if got := digestOf(t, mustPull(t, host, "gnugrep/sed")); got != want {
				t.Errorf("%s, want %s", got, want)
			}
			if n := s.made.Load(); !tc.made(n) {
				t.Errorf("%d layers made", n)
			}
			s.Close()
		})
		if t.Failed() {
			return
		}
	}
}

// With a cache that holds next to nothing, all is served right still, and the folder stays small.
func TestRegistry_SmallCache(t *testing.T) {
	dir := t.TempDir()
	const limit = 1 << 20
	s := open(t, Options{CacheDir: dir, CacheSize: limit})
	host := listen(t, s)
	for range 2 {
		for _, image := range []string{"sed", "zlib", "gnugrep"} {
			mustPull(t, host, image)
		}
	}
	size := int64(0)
	largest := int64(0)
	filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() && !strings.Contains(path, listsDir) {
			size += info.Size()
			largest = max(largest, info.Size())
		}
		return err
	})
	if size > limit+largest {
		t.Errorf("the cache has %d bytes, the largest file %d; want at most %d beside it", size, largest, limit)
	}
}

// cacheServer serves the cache in testdata over HTTP; before each file, it asks.
func cacheServer(t *testing.T, before func(r *http.Request)) string {
	files := http.FileServer(http.Dir(testdata(t, "cache")))
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		before(r)
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(h.Close)
	return h.URL
}

// Who goes while an image is made doesn't take it from those who wait; who comes when too many wait is told when to come
// again; and what is being made ends when the server does.
func TestRegistry_Waiting(t *testing.T) {
	goOn, asked := make(chan struct{}), make(chan struct{}, 1000)
	release := sync.OnceFunc(func() { close(goOn) })
	url := cacheServer(t, func(r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".nar.zst") {
			asked <- struct{}{}
			select {
			case <-goOn:
			case <-r.Context().Done():
			}
		}
	})
	defer release()
	s := open(t, Options{Project: webProject(t, url), Builds: 1, MaxWaiting: 1})
	host := listen(t, s)
	ctx, leave := context.WithCancel(t.Context())
	gone, stays := make(chan error, 1), make(chan error, 1)
	go func() { _, err := pull(ctx, host, "sed"); gone <- err }()
	<-asked
	go func() { _, err := pull(t.Context(), host, "sed"); stays <- err }()
	go pull(ctx, host, "gnugrep") // waits
	for s.builds.length() == 0 {
		time.Sleep(time.Millisecond)
	}
	resp, err := http.Get("http://" + host + "/v2/zlib/manifests/latest")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") != "10" || !bytes.Contains(body, []byte("TOOMANYREQUESTS")) {
		t.Errorf("one too many: %s, Retry-After %q, %s", resp.Status, resp.Header.Get("Retry-After"), body)
	}
	leave()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("who has gone: %v", err)
	}
	release()
	if err := <-stays; err != nil {
		t.Errorf("who stays: %v", err)
	}
}

func TestRegistry_CloseWhileMaking(t *testing.T) {
	asked := make(chan struct{}, 1000)
	url := cacheServer(t, func(r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".nar.zst") {
			asked <- struct{}{}
			<-r.Context().Done()
		}
	})
	dir := t.TempDir()
	s := open(t, Options{Project: webProject(t, url), CacheDir: dir})
	failed := make(chan error, 1)
	go func() { _, err := s.Manifest(t.Context(), "sed", "latest"); failed <- err }()
	<-asked
	s.Close()
	if err := <-failed; err == nil {
		t.Error("no error of an image that was not made")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "blobs", "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "blobs", ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := s.Manifest(t.Context(), "sed", "latest"); err == nil {
		t.Error("an image of a closed registry")
	}
}

// A channel's list is fetched again when it is old, and kept when it can't be.
func TestRegistry_Refresh(t *testing.T) {
	list, err := os.ReadFile(testdata(t, "closure", "paths"))
	if err != nil {
		t.Fatal(err)
	}
	var now atomic.Pointer[[]byte]
	now.Store(&list)
	var fetched atomic.Int64
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fetched.Add(1)
		if b := *now.Load(); b != nil {
			w.Write(b)
		} else {
			http.Error(w, "not today", http.StatusNotFound)
		}
	}))
	defer h.Close()
	p := webProject(t, "")
	p.Channels[0].URLs["x86_64-linux"] = h.URL + "/store-paths"
	var said atomic.Int64
	s := open(t, Options{Project: p, Refresh: time.Hour, Log: func(format string, _ ...any) {
		if strings.HasPrefix(format, "store-paths list not fetched anew") {
			said.Add(1)
		}
	}})
	age := func() {
		one := s.lists.known[h.URL+"/store-paths"]
		one.mu.Lock()
		one.fetched = one.fetched.Add(-2 * time.Hour)
		one.mu.Unlock()
	}
	ask := func(name string) store.Path {
		t.Helper()
		c, err := s.resolve(t.Context(), name, "latest")
		if err != nil {
			t.Fatal(err)
		}
		return c.Roots[len(c.Roots)-1]
	}
	before := ask("web-customisation-layer")
	ask("sed")
	if n := fetched.Load(); n != 1 {
		t.Errorf("the list was fetched %d times, want 1", n)
	}
	age()
	ask("sed")
	next := bytes.ReplaceAll(list, []byte("f14gp6azl45il7v2m7cnflw01yidqs42"), []byte("014gp6azl45il7v2m7cnflw01yidqs42"))
	now.Store(&next)
	if after := ask("web-customisation-layer"); after != before {
		t.Errorf("%s before the list is old", after)
	}
	age()
	if after := ask("web-customisation-layer"); after == before {
		t.Errorf("%s, as before", after)
	}
	var none []byte
	now.Store(&none)
	age()
	ask("sed")
	ask("sed")
	if n, s := fetched.Load(), said.Load(); n != 4 || s != 1 {
		t.Errorf("fetched %d times, want 4; said %d times that the list is old, want 1", n, s)
	}
}

func TestRegistry_Compression(t *testing.T) {
	digests := map[string]bool{}
	for _, c := range layer.Compressions() {
		img := mustPull(t, listen(t, open(t, Options{Compression: c})), "busybox-static")
		digests[digestOf(t, img)] = true
	}
	if len(digests) != len(layer.Compressions()) {
		t.Errorf("%d images of %d compressions", len(digests), len(layer.Compressions()))
	}
}

// What was refused is refused again for a while, without looking.
func TestRegistry_Refused(t *testing.T) {
	s := open(t, Options{MaxImageSize: 1000})
	refused := func() bool {
		_, err := s.Manifest(t.Context(), "sed", "latest")
		var e *serve.Error
		return errors.As(err, &e) && e.Code == serve.CodeDenied
	}
	if !refused() {
		t.Fatal("an image that is too large")
	}
	s.o.MaxImageSize = 1 << 30
	if !refused() {
		t.Error("it was looked again")
	}
	for key, r := range s.refused.last {
		r.until = time.Now().Add(-time.Second)
		s.refused.last[key] = r
	}
	if refused() {
		t.Error("it is refused for ever")
	}
	if s.refused.remember("x", errors.New("the network is down")); s.refused.of("x") != nil {
		t.Error("what may go at once is remembered")
	}
	for i := range 2*maxRefusals + 10 {
		s.refused.remember(fmt.Sprint(i), serve.Errorf(serve.CodeDenied, "no"))
	}
	if n := len(s.refused.last); n > maxRefusals {
		t.Errorf("%d are remembered", n)
	}
}

// The links to what packages have are made out of the layers, so that each NAR is fetched once; where a layer is gone, out of the
// NARs, and come to the same bytes.
func TestRegistry_EachNarOnce(t *testing.T) {
	var fetched atomic.Int64
	url := cacheServer(t, func(r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/nar/") {
			fetched.Add(1)
		}
	})
	for _, compression := range layer.Compressions() {
		fetched.Store(0)
		s := open(t, Options{Project: webProject(t, url), MaxLayers: 5, Compression: compression})
		if _, err := s.Manifest(t.Context(), "shell/web", "latest"); err != nil {
			t.Fatal(err)
		}
		record := s.record(strings.TrimPrefix(s.cache.names(imagesDir)[0], imagesDir+"/"))
		l, err := lock.Parse([]byte(record.Lock))
		if err != nil {
			t.Fatal(err)
		}
		if n := fetched.Load(); n != int64(len(l.Paths)) { // Of each path, though some have the same NAR.
			t.Errorf("%s: %d NARs were fetched, for %d store paths", compression, n, len(l.Paths))
		}
		top := record.Layers[len(record.Layers)-1]
		file, err := s.makeLayer(t.Context(), l, top.Recipe, nil, s.key(l, top.Recipe))
		if err != nil || file.Descriptor.Digest != top.Digest {
			t.Errorf("%s: out of NARs the links are %v (%v), out of layers %s", compression, file, err, top.Digest)
		}
	}
}
