package lock

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/narinfo"
	"github.com/rules-strata/rules_strata/tool/project"
	"github.com/rules-strata/rules_strata/tool/store"
)

func verify(t testing.TB, l *Lock, dir string, deep bool, keys ...narinfo.PublicKey) (*VerifyReport, error) {
	t.Helper()
	c := fetch.New(fetch.Options{Dir: dir, Attempts: 1})
	t.Cleanup(c.CloseIdleConnections)
	var paths int
	var read int64
	report, err := Verify(t.Context(), l, VerifyOptions{
		PublicKeys: keys, Client: c, Deep: deep,
		Progress: func(p int, b int64) {
			if p < paths || b < read {
				t.Errorf("progress went back from %d, %d to %d, %d", paths, read, p, b)
			}
			paths, read = p, b
		},
	})
	if err == nil && (paths != len(l.Paths) || read != report.FileBytes) {
		t.Errorf("progress ended at %d paths and %d bytes; want %d and %d", paths, read, len(l.Paths), report.FileBytes)
	}
	return report, err
}

// What real Nix and real Guix serve is right, NARs included, in every compression.
func TestVerify_Real(t *testing.T) {
	for _, tc := range []struct {
		root  store.Path
		key   narinfo.PublicKey
		cache string
	}{
		{webRoot, webKey(t), "cache"},
		{guixRoot, guixKey(t), "guix/baked"},
		{guixRoot, guixKey(t), "guix/cache"},
		{"/nix/store/21c0vs5yp5r1xg52vsmiblv2mlsh0v50-mini-1.0", webKey(t), "variants/br"},
		{"/nix/store/21c0vs5yp5r1xg52vsmiblv2mlsh0v50-mini-1.0", webKey(t), "variants/lzip"},
		{"/nix/store/6wrvzdad0i13x19kfypnq8ka11iifphd-ca-text.txt", webKey(t), "variants/unsigned"},
	} {
		l, err := makeLock(t, projectOf(tc.root, []narinfo.PublicKey{tc.key}, project.Cache{URL: "file:" + tc.cache}), webData)
		if err != nil {
			t.Fatal(err)
		}
		report, err := verify(t, l, webData, true, tc.key)
		if err != nil || len(report.Faults) > 0 || report.Files != len(l.Paths) || report.FileBytes == 0 {
			t.Errorf("%s: %+v, %v", tc.cache, report, err)
		}
	}
}

// Whatever is changed in the cache or in the lock is told, by path.
func TestVerify_Faults(t *testing.T) {
	good, other := newTestKey(t, "good-1"), newTestKey(t, "other-1")
	for _, tc := range []struct {
		name   string
		change func(c *testCache, l *Lock)
		deep   bool
		want   string // of the one fault, behind the path of lib
	}{
		{"nothing", func(*testCache, *Lock) {}, true, ""},
		{"signature of another path", func(_ *testCache, l *Lock) {
			l.Paths[storePath("lib")].Signature = l.Paths[storePath("app")].Signature
		}, false, "signature in the lock: no signature by a trusted key: the signature by good-1 doesn't fit"},
		{"unknown key", func(_ *testCache, l *Lock) {
			l.Paths[storePath("lib")].Signature = other.sign(&newObject(t, "lib", "lib").info)
		}, false, "signature in the lock: no signature by a trusted key: signed by other-1; trusted are good-1"},
		{"no leave to be unsigned", func(_ *testCache, l *Lock) {
			p := l.Paths[storePath("lib")]
			p.Signature, p.AllowedUnsignedBy = "", "file:."
		}, false, "it has no signature, and file:. isn't allowed to be unsigned"},
		{"said to be signed by Guix", func(_ *testCache, l *Lock) {
			p := l.Paths[storePath("lib")]
			p.Signature, p.SignedBy = "", "other-1"
		}, false, "file:./LIB.narinfo: it is signed by good-1, not by other-1 as the lock says"},
		{"narinfo gone", func(c *testCache, _ *Lock) {
			os.Remove(filepath.Join(c.dir, storePath("lib").HashPart()+".narinfo"))
		}, false, "the cache hasn't got it any more: file:./LIB.narinfo: not found"},
		{"narinfo damaged", func(c *testCache, _ *Lock) {
			c.write(storePath("lib").HashPart()+".narinfo", []byte("x"))
		}, false, "file:./LIB.narinfo: narinfo line 1"},
		{"narinfo huge", func(c *testCache, _ *Lock) {
			c.write(storePath("lib").HashPart()+".narinfo", bytes.Repeat([]byte("X: y\n"), narinfo.MaxSize/5+1))
		}, false, "its narinfo is no narinfo: file:./LIB.narinfo: too large"},
		{"narinfo of another path", func(c *testCache, _ *Lock) {
			c.put(newObject(t, "lib", "lib").set("StorePath", string(storePath("lib"))+"x"), good)
		}, false, "file:./LIB.narinfo: the narinfo is about another path: " + string(storePath("lib")) + "x"},
		{"another NarSize", func(c *testCache, _ *Lock) {
			c.put(newObject(t, "lib", "lib").set("NarSize", "7"), good)
		}, false, "file:./LIB.narinfo: NarSize is 7, in the lock it is 120"},
		{"another NarHash", func(c *testCache, _ *Lock) {
			c.put(newObject(t, "lib", "lib").set("NarHash", newObject(t, "x").info.NarHash.String()), good)
		}, false, "file:./LIB.narinfo: NarHash is " + newObject(t, "x").info.NarHash.String() + ", in the lock it is " + newObject(t, "lib").info.NarHash.String()},
		{"a reference less", func(c *testCache, _ *Lock) { c.put(newObject(t, "lib"), good) }, false, "References hasn't " + storePath("lib").Base() + ", in the lock it has"},
		{"a reference more", func(c *testCache, _ *Lock) { c.put(newObject(t, "lib", "lib", "x"), good) }, false, "References has " + storePath("x").Base() + ", in the lock it hasn't"},
		{"another URL", func(c *testCache, _ *Lock) { c.put(newObject(t, "lib", "lib").set("URL", "nar/x"), good) }, false, "URL is nar/x, in the lock it is nar/" + storePath("lib").Base() + ".nar"},
		{"another compression", func(c *testCache, _ *Lock) { c.put(newObject(t, "lib", "lib").set("Compression", "xz"), good) }, false, "Compression is xz, in the lock it is none"},
		{"another FileHash", func(_ *testCache, l *Lock) { l.Paths[storePath("lib")].FileHash[0]++ }, false, "FileHash is sha256:"},
		{"another FileSize", func(_ *testCache, l *Lock) { l.Paths[storePath("lib")].FileSize++ }, false, "FileSize is 120, in the lock it is 121"},
		{"NAR gone", func(c *testCache, _ *Lock) { os.RemoveAll(filepath.Join(c.dir, "nar", storePath("lib").Base()+".nar")) }, true, "its NAR isn't there: file:./nar/"},
		{"NAR changed", func(c *testCache, _ *Lock) {
			o := newObject(t, "lib")
			o.nar[len(o.nar)-30] ^= 1
			c.write("nar/"+storePath("lib").Base()+".nar", o.nar)
		}, true, ".nar: FileHash mismatch"},
		{"NAR cut", func(c *testCache, _ *Lock) {
			o := newObject(t, "lib")
			c.write("nar/"+storePath("lib").Base()+".nar", o.nar[:64])
		}, true, ".nar: FileSize mismatch"},
		{"mirror without the NAR", func(_ *testCache, l *Lock) {
			l.Mirrors = map[string][]string{"file:.": {"file:mirror"}}
			delete(l.Paths, storePath("app"))
		}, true, "its NAR isn't there: file:mirror/nar/"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newTestCache(t)
			c.put(newObject(t, "app", "lib"), good)
			c.put(newObject(t, "lib", "lib"), good)
			l, err := makeLock(t, projectOf(storePath("app"), []narinfo.PublicKey{good.public}, project.Cache{URL: "file:."}), c.dir)
			if err != nil {
				t.Fatal(err)
			}
			tc.change(c, l)
			for _, deep := range []bool{false, true} {
				report, err := verify(t, l, c.dir, deep, good.public)
				if err != nil {
					t.Fatal(err)
				}
				if tc.want == "" || tc.deep && !deep {
					if len(report.Faults) > 0 {
						t.Errorf("deep %v: %v", deep, report.Faults)
					}
					continue
				}
				want := strings.ReplaceAll(tc.want, "LIB", storePath("lib").HashPart())
				i := slices.IndexFunc(report.Faults, func(f *PathError) bool { return strings.Contains(f.Error(), want) })
				if i < 0 || !deep && len(report.Faults) > 1 {
					t.Fatalf("deep %v: %v, want %q", deep, report.Faults, want)
				}
				if f := report.Faults[i]; f.Path != storePath("lib") {
					t.Errorf("%v, want it to be of lib", f)
				}
			}
		})
	}
}

// A NAR that has all the right hashes and is none that Nix would take is found by reading it.
func TestVerify_BadNAR(t *testing.T) {
	good := newTestKey(t, "good-1")
	c := newTestCache(t)
	o := newObject(t, "app")
	o.nar = append(o.nar, make([]byte, 8)...)
	o.info.NarHash, o.info.NarSize = hashOf(o.nar), int64(len(o.nar))
	o.set("NarHash", o.info.NarHash.String()).set("FileHash", o.info.NarHash.String()).set("NarSize", "128").set("FileSize", "128")
	c.put(o, good)
	l, err := makeLock(t, projectOf(storePath("app"), []narinfo.PublicKey{good.public}, project.Cache{URL: "file:."}), c.dir)
	if err != nil {
		t.Fatal(err)
	}
	if report, err := verify(t, l, c.dir, false, good.public); err != nil || len(report.Faults) > 0 {
		t.Errorf("%v, %v", report.Faults, err)
	}
	report, err := verify(t, l, c.dir, true, good.public)
	if err != nil || len(report.Faults) != 1 || !strings.Contains(report.Faults[0].Error(), ".nar: ") {
		t.Errorf("%v, %v", report.Faults, err)
	}
}

// A cache that doesn't answer is an error, and what was found before is told all the same.
func TestVerify_CacheThatFails(t *testing.T) {
	good := newTestKey(t, "good-1")
	c := newTestCache(t)
	c.put(newObject(t, "app", "lib"), good)
	c.put(newObject(t, "lib"), good)
	files := http.FileServer(http.Dir(c.dir))
	ill := false
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ill && strings.Contains(r.URL.Path, storePath("lib").HashPart()) {
			time.Sleep(50 * time.Millisecond) // so that the other is done
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		files.ServeHTTP(w, r)
	}))
	defer s.Close()
	l, err := makeLock(t, projectOf(storePath("app"), []narinfo.PublicKey{good.public}, project.Cache{URL: s.URL}), c.dir)
	if err != nil {
		t.Fatal(err)
	}
	ill = true
	l.Paths[storePath("app")].FileSize++
	report, err := verify(t, l, c.dir, false, good.public)
	if err == nil || !strings.Contains(err.Error(), string(storePath("lib"))+": "+s.URL) || !strings.Contains(err.Error(), "502") {
		t.Errorf("error %v, want one with path and URL", err)
	}
	if len(report.Faults) != 1 || report.Faults[0].Path != storePath("app") {
		t.Errorf("faults %v, want that of app", report.Faults)
	}
}
