package lock

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/narinfo"
	"github.com/rules-strata/rules_strata/tool/plan"
	"github.com/rules-strata/rules_strata/tool/project"
	"github.com/rules-strata/rules_strata/tool/store"
)

// counted serves a cache over HTTP and notes what it is asked for.
type counted struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
}

func serveCounted(t testing.TB, dir string) *counted {
	c := new(counted)
	files := http.FileServer(http.Dir(dir))
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.asked = append(c.asked, strings.TrimPrefix(r.URL.Path, "/"))
		c.mu.Unlock()
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(c.Close)
	return c
}

// since returns what was asked for since the last call, sorted.
func (c *counted) since() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	asked := c.asked
	c.asked = nil
	slices.Sort(asked)
	return asked
}

func narinfos(names ...string) []string {
	asked := []string{"nix-cache-info"}
	for _, n := range names {
		asked = append(asked, storePath(n).HashPart()+".narinfo")
	}
	slices.Sort(asked)
	return asked
}

// relock locks p where the lock old is.
func relock(t testing.TB, p *project.Project, dir string, old *Lock) (*Lock, error) {
	t.Helper()
	c := fetch.New(fetch.Options{Dir: dir, Attempts: 2, Backoff: time.Millisecond})
	t.Cleanup(c.CloseIdleConnections)
	if old != nil {
		// As it comes out of a file: whatever a test put into it, it must be one that is taken.
		var err error
		if old, err = Parse(mustMarshal(t, old)); err != nil {
			t.Fatalf("the lock before isn't taken: %v", err)
		}
	}
	return Make(t.Context(), Options{Project: p, Dir: dir, LockDir: dir, Client: c, Previous: old})
}

// Locking again asks for nothing that a signature in the lock vouches for; after a change it asks for what is new.
func TestMake_AsksForNewPathsOnly(t *testing.T) {
	good := newTestKey(t, "good-1")
	c := newTestCache(t)
	c.put(newObject(t, "app-1", "app-1", "lib", "data"), good)
	c.put(newObject(t, "app-2", "lib", "new"), good)
	c.put(newObject(t, "lib"), good)
	c.put(newObject(t, "data"), good)
	c.put(newObject(t, "new", "lib"), good)
	s := serveCounted(t, c.dir)
	keys := []narinfo.PublicKey{good.public}
	p := projectOf(storePath("app-1"), keys, project.Cache{URL: s.URL})
	first, err := relock(t, p, ".", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.since(); !slices.Equal(got, narinfos("app-1", "lib", "data")) {
		t.Errorf("at first it asks for %v", got)
	}
	again, err := relock(t, p, ".", first)
	if err != nil || !bytes.Equal(mustMarshal(t, again), mustMarshal(t, first)) {
		t.Errorf("the same again: %v, another lock", err)
	}
	if got := s.since(); len(got) > 0 {
		t.Errorf("the same again asks for %v", got)
	}

	p.Roots[0].Path = storePath("app-2")
	next, err := relock(t, p, ".", first)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.since(); !slices.Equal(got, narinfos("app-2", "new")) {
		t.Errorf("after the update it asks for %v", got)
	}
	fresh, err := relock(t, p, ".", nil)
	if err != nil || !samePaths(t, next, fresh) {
		t.Errorf("after the update: %v, another lock than a fresh one", err)
	}
}

// What the lock before can't vouch for by itself is asked for again, but no NAR is downloaded that is pinned already.
func TestMake_PinnedNARsStay(t *testing.T) {
	guix := serveCounted(t, filepath.Join(webData, "guix/baked"))
	nix := serveCounted(t, filepath.Join(webData, "variants/unsigned"))
	const (
		flat = "khphssziygpj7awffydl1z3aynjfv2kv-ca-flat.txt"
		tree = "l0x5bwzlfsb0w17c6qdpyrfg67978cha-ca-recursive-dir"
		mini = "nbb5xx79a4bbwn1fimsw65hzn34hsxpj-mini-file"
	)
	webKeys := []narinfo.PublicKey{webKey(t)} // which signed nothing here
	for _, tc := range []struct {
		name     string
		p        *project.Project
		narinfos bool
		nars     int
	}{
		{"signed by Guix", projectOf(guixRoot, []narinfo.PublicKey{guixKey(t)}, project.Cache{URL: guix.URL}), true, 0},
		{"content address of a tree", projectOf("/nix/store/"+tree, webKeys, project.Cache{URL: nix.URL}), false, 0},
		{"content address of a file", projectOf("/nix/store/"+flat, webKeys, project.Cache{URL: nix.URL}), true, 1}, // Its NAR alone proves it.
		{"allowed unsigned", projectOf("/nix/store/"+mini, nil, project.Cache{URL: nix.URL, AllowUnsigned: true}), true, 0},
	} {
		first, err := relock(t, tc.p, ".", nil)
		if err != nil {
			t.Fatal(err)
		}
		guix.since()
		nix.since()
		again, err := relock(t, tc.p, ".", first)
		if err != nil || !bytes.Equal(mustMarshal(t, again), mustMarshal(t, first)) {
			t.Errorf("%s: %v, another lock", tc.name, err)
		}
		infos, nars := 0, 0
		for _, f := range append(guix.since(), nix.since()...) {
			if strings.HasSuffix(f, ".narinfo") {
				infos++
			} else if strings.HasPrefix(f, "nar/") {
				nars++
			}
		}
		if want := len(first.Paths); tc.narinfos != (infos == want) || !tc.narinfos && infos > 0 || nars != tc.nars {
			t.Errorf("%s: %d narinfos and %d NARs are asked for again; %d paths", tc.name, infos, nars, want)
		}
	}
}

// A change in the project file that may concern a path makes the caches be asked for it.
func TestMake_AsksAgain(t *testing.T) {
	one, two := newTestKey(t, "one-1"), newTestKey(t, "two-1")
	a, b := newTestCache(t), newTestCache(t)
	// App is in b only; lib is in both, signed by other keys; both is signed twice.
	b.put(newObject(t, "app", "both", "lib"), one)
	a.put(newObject(t, "lib"), two)
	b.put(newObject(t, "lib"), one)
	b.put(newObject(t, "both"), one, two)
	sa, sb := serveCounted(t, a.dir), serveCounted(t, b.dir)
	ca, cb := project.Cache{URL: sa.URL}, project.Cache{URL: sb.URL}
	key1, key2 := one.public, two.public
	base := projectOf(storePath("app"), []narinfo.PublicKey{key1, key2}, ca, cb)
	first, err := relock(t, base, ".", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		change func(p *project.Project)
		asked  []string // narinfos
		fails  bool
	}{
		{"nothing", func(*project.Project) {}, nil, false},
		{"order of the keys", func(p *project.Project) { slices.Reverse(p.PublicKeys) }, nil, false},
		{"a new cache behind", func(p *project.Project) {
			p.Caches = append(p.Caches, project.Cache{URL: "file:nowhere"})
		}, nil, false},
		{"a cache gone that had nothing", func(p *project.Project) { p.Caches = p.Caches[1:] }, []string{"lib"}, false},
		{"the caches in another order", func(p *project.Project) { p.Caches = []project.Cache{cb, ca} }, []string{"lib"}, false},
		{"a new cache before all", func(p *project.Project) {
			c := newTestCache(t)
			p.Caches = append([]project.Cache{{URL: "file://" + c.dir}}, p.Caches...)
		}, []string{"app", "both", "lib", "lib"}, false}, // lib by both
		{"a key gone", func(p *project.Project) { p.PublicKeys = p.PublicKeys[:1] }, []string{"lib", "lib"}, false},
		{"another key of the same name", func(p *project.Project) {
			k := newTestKey(t, "three-1")
			again, err := narinfo.ParsePublicKey("two-1" + strings.TrimPrefix(k.public.String(), "three-1"))
			if err != nil {
				t.Fatal(err)
			}
			p.PublicKeys[1] = again
		}, []string{"lib", "lib"}, false},
		{"the key of all gone", func(p *project.Project) { p.PublicKeys = p.PublicKeys[1:] }, nil, true},
	} {
		p := *base
		p.PublicKeys = slices.Clone(base.PublicKeys)
		p.Caches = slices.Clone(base.Caches)
		tc.change(&p)
		sa.since()
		sb.since()
		got, err := relock(t, &p, ".", first)
		if tc.fails {
			if err == nil {
				t.Errorf("%s: no error", tc.name)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		var asked, want []string
		for _, f := range append(sa.since(), sb.since()...) {
			if f != narinfo.CacheInfoFile {
				asked = append(asked, f)
			}
		}
		for _, n := range tc.asked {
			want = append(want, storePath(n).HashPart()+".narinfo")
		}
		slices.Sort(asked)
		slices.Sort(want)
		if tc.name == "a new cache before all" { // Which of both has a path isn't the question here.
			asked, want = slices.Compact(asked), slices.Compact(want)
		}
		if !slices.Equal(asked, want) {
			t.Errorf("%s: it asks for %v, want %v", tc.name, asked, want)
		}
		fresh, err := relock(t, &p, ".", nil)
		if strings.Contains(tc.name, "behind") {
			continue // The fresh one doesn't come to ask the cache that isn't there, either: all is in the others.
		}
		if err != nil || !bytes.Equal(mustMarshal(t, got), mustMarshal(t, fresh)) {
			t.Errorf("%s: %v; got another lock than a fresh one:\n%s\n%s", tc.name, err, mustMarshal(t, got), mustMarshal(t, fresh))
		}
	}
}

// A lock that somebody edited brings nothing into the next one that the caches and keys don't vouch for.
func TestMake_HostilePrevious(t *testing.T) {
	good, evil := newTestKey(t, "good-1"), newTestKey(t, "evil-1")
	c := newTestCache(t)
	c.put(newObject(t, "app", "lib", "data"), good)
	c.put(newObject(t, "lib", "data"), good)
	c.put(newObject(t, "data"), good)
	c.put(newObject(t, "evil"), evil)
	dir := t.TempDir()
	if err := os.Symlink(c.dir, filepath.Join(dir, "cache")); err != nil {
		t.Fatal(err)
	}
	p := projectOf(storePath("app"), []narinfo.PublicKey{good.public}, project.Cache{URL: "file:cache"})
	fresh, err := relock(t, p, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	evilEntry := &Path{
		URL: "file:cache/nar/x", Compression: "none", FileHash: sum([]byte("x")), FileSize: 1,
		NarHash: sum([]byte("x")), NarSize: 1, References: []store.Path{},
	}
	for _, tc := range []struct {
		name string
		edit func(l *Lock)
		// kept fields are taken from the old lock: the build checks them against NarHash.
		kept bool
	}{
		{"nothing", func(*Lock) {}, false},
		{"another NarHash", func(l *Lock) { l.Paths[storePath("lib")].NarHash = evilEntry.NarHash }, false},
		{"another NarSize", func(l *Lock) { l.Paths[storePath("lib")].NarSize++ }, false},
		{"a reference left out", func(l *Lock) { l.Paths[storePath("lib")].References = []store.Path{} }, false},
		{"a path more", func(l *Lock) {
			e := *evilEntry
			e.Signature = l.Paths[storePath("lib")].Signature
			l.Paths[storePath("evil")] = &e
			lib := l.Paths[storePath("lib")]
			lib.References = append(lib.References, storePath("evil"))
			slices.Sort(lib.References)
		}, false},
		{"the signature of another path", func(l *Lock) {
			l.Paths[storePath("lib")].Signature = l.Paths[storePath("data")].Signature
		}, false},
		{"a good signature by a strange key", func(l *Lock) {
			e := l.Paths[storePath("lib")]
			e.NarHash = evilEntry.NarHash
			e.Signature = evil.sign(&narinfo.Info{StorePath: storePath("lib"), NarHash: e.NarHash, NarSize: e.NarSize, References: e.References})
		}, false},
		{"a strange key by the good one's name", func(l *Lock) {
			e := l.Paths[storePath("lib")]
			e.NarHash = evilEntry.NarHash
			s := evil.sign(&narinfo.Info{StorePath: storePath("lib"), NarHash: e.NarHash, NarSize: e.NarSize, References: e.References})
			e.Signature = "good-1" + strings.TrimPrefix(s, "evil-1")
		}, false},
		{"a Guix key's name", func(l *Lock) {
			e := l.Paths[storePath("lib")]
			e.Signature, e.SignedBy, e.NarHash = "", "good-1", evilEntry.NarHash
		}, false},
		{"leave to be unsigned", func(l *Lock) {
			e := l.Paths[storePath("lib")]
			e.Signature, e.AllowedUnsignedBy, e.NarHash = "", "file:cache", evilEntry.NarHash
		}, false},
		{"another cache", func(l *Lock) {
			l.Caches = append([]string{"https://evil.example.org"}, l.Caches...)
			l.Paths[storePath("lib")].URL = "https://evil.example.org/nar/x"
		}, false},
		{"another root", func(l *Lock) {
			e := *evilEntry
			e.Signature = evil.sign(&narinfo.Info{StorePath: storePath("evil"), NarHash: e.NarHash, NarSize: e.NarSize})
			l.Paths = map[store.Path]*Path{storePath("evil"): &e}
			l.Roots["root"]["x86_64-linux"] = storePath("evil")
			l.Plan.Layers = map[string][]store.Path{"evil": {storePath("evil")}}
			l.Plan.Images["root"]["x86_64-linux"] = []string{"evil"}
		}, false},
		{"another file", func(l *Lock) {
			e := l.Paths[storePath("lib")]
			e.URL, e.FileHash, e.FileSize, e.Compression = "file:cache/nar/x", evilEntry.FileHash, 1, "xz"
		}, true},
	} {
		old, err := Parse(mustMarshal(t, fresh))
		if err != nil {
			t.Fatal(err)
		}
		tc.edit(old)
		// The plan must fit, else the lock is refused as it is read.
		all := slices.Sorted(maps.Keys(old.Paths))
		if reached := old.Closure(old.Roots["root"]["x86_64-linux"]); len(reached) < len(old.Paths) {
			all = reached
			maps.DeleteFunc(old.Paths, func(p store.Path, _ *Path) bool { return !slices.Contains(reached, p) })
		}
		var held []plan.Path
		for _, path := range all {
			held = append(held, plan.Path{Path: path, NarSize: old.Paths[path].NarSize})
		}
		name := plan.LayerName(held)
		old.Plan.Layers = map[string][]store.Path{name: all}
		old.Plan.Images["root"]["x86_64-linux"] = []string{name}
		got, err := relock(t, p, dir, old)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if tc.kept {
			e, want := got.Paths[storePath("lib")], fresh.Paths[storePath("lib")]
			if e.URL == want.URL || e.NarHash != want.NarHash || e.NarSize != want.NarSize || !slices.Equal(e.References, want.References) {
				t.Errorf("%s: %+v, want the old file and %+v", tc.name, e, want)
			}
			continue
		}
		if !samePaths(t, got, fresh) {
			t.Errorf("%s: it came into the lock:\n%s", tc.name, mustMarshal(t, got))
		}
	}
}

// Whoever forges the NarHash of a content-addressed file in the lock and in the cache, which
// needs no signature then, is found out: the old lock's word that somebody looked into the NAR is not taken.
func TestMake_ForgedContentAddress(t *testing.T) {
	const path = "/nix/store/khphssziygpj7awffydl1z3aynjfv2kv-ca-flat.txt"
	dir := t.TempDir()
	copyDir(t, dir, filepath.Join(webData, "variants/unsigned"))
	p := projectOf(path, []narinfo.PublicKey{webKey(t)}, project.Cache{URL: "file://" + dir})
	old, err := relock(t, p, ".", nil)
	if err != nil {
		t.Fatal(err)
	}
	evil := newObject(t, "evil")
	infoFile := filepath.Join(dir, store.Path(path).HashPart()+".narinfo")
	b, err := os.ReadFile(infoFile)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(b)) {
		switch name, _, _ := strings.Cut(line, ":"); name {
		case "URL":
			line = "URL: nar/evil.nar\n"
		case "Compression":
			line = "Compression: none\n"
		case "FileHash", "NarHash":
			line = name + ": " + evil.info.NarHash.String() + "\n"
		case "FileSize", "NarSize":
			line = fmt.Sprintf("%s: %d\n", name, len(evil.nar))
		}
		lines = append(lines, line)
	}
	for file, b := range map[string][]byte{infoFile: []byte(strings.Join(lines, "")), filepath.Join(dir, "nar/evil.nar"): evil.nar} {
		if err := os.WriteFile(file, b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	e := old.Paths[path]
	e.URL, e.Compression = "file://"+dir+"/nar/evil.nar", "none"
	e.FileHash, e.NarHash, e.FileSize, e.NarSize = evil.info.NarHash, evil.info.NarHash, evil.info.NarSize, evil.info.NarSize
	if _, err := relock(t, p, ".", old); err == nil || !strings.Contains(err.Error(), "the file's contents have another hash") {
		t.Errorf("error %v", err)
	}
}

// Whatever is changed in the entries of the old lock, the next says of every path what the key signed.
func TestMake_AnyPrevious(t *testing.T) {
	good := newTestKey(t, "good-1")
	c := newTestCache(t)
	c.put(newObject(t, "app", "lib", "data"), good)
	c.put(newObject(t, "lib", "data"), good)
	c.put(newObject(t, "data"), good)
	p := projectOf(storePath("app"), []narinfo.PublicKey{good.public}, project.Cache{URL: "file://" + c.dir})
	fresh, err := relock(t, p, ".", nil)
	if err != nil {
		t.Fatal(err)
	}
	text := mustMarshal(t, fresh)
	client := fetch.New(fetch.Options{})
	rnd := rand.New(rand.NewPCG(3, 4))
	taken := 0
	for range 3000 {
		edited := slices.Clone(text)
		for range 1 + rnd.IntN(2) {
			i := rnd.IntN(len(edited))
			if rnd.IntN(2) == 0 {
				edited[i] = text[rnd.IntN(len(text))]
			} else {
				edited[i] ^= 1 << rnd.IntN(4)
			}
		}
		old, err := Parse(edited)
		if err != nil {
			continue
		}
		taken++
		got, err := Make(t.Context(), Options{Project: p, Dir: ".", LockDir: ".", Client: client, Previous: old})
		if err != nil {
			t.Fatalf("%v, with the lock\n%s", err, edited)
		}
		for path, want := range fresh.Paths {
			if e := got.Paths[path]; e == nil || e.NarHash != want.NarHash || e.NarSize != want.NarSize || !slices.Equal(e.References, want.References) || e.Signature != want.Signature {
				t.Fatalf("%s: %+v, with the lock\n%s", path, e, edited)
			}
		}
	}
	if taken < 100 {
		t.Errorf("only %d edited locks were taken", taken)
	}
}

// samePaths reports whether two locks say the same but for the plan, which goes on from the one before.
func samePaths(t *testing.T, a, b *Lock) bool {
	t.Helper()
	x, y := *a, *b
	x.Plan, y.Plan = new(plan.Plan), new(plan.Plan)
	return bytes.Equal(mustMarshal(t, &x), mustMarshal(t, &y))
}
