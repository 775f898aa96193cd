package lock

import (
	"bytes"
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/nar"
	"github.com/rules-strata/rules_strata/tool/narinfo"
	"github.com/rules-strata/rules_strata/tool/project"
	"github.com/rules-strata/rules_strata/tool/store"
)

func hashOf(b []byte) store.Hash { return sha256.Sum256(b) }

// The content-addressed paths that real Nix wrote need no signature; all others do.
func TestMake_ContentAddressed(t *testing.T) {
	keys := []narinfo.PublicKey{webKey(t)} // which signed nothing in this cache
	for path, ca := range map[store.Path]string{
		"/nix/store/khphssziygpj7awffydl1z3aynjfv2kv-ca-flat.txt":      "fixed:sha256:02jhncwq2qh2lqzbalmm28k2h3mfbf5p3iqdg75h5dh0q9vmzcri",
		"/nix/store/l0x5bwzlfsb0w17c6qdpyrfg67978cha-ca-recursive-dir": "fixed:r:sha256:1j5m2dg65kd6abl5h530277c6f0gb79c7i537dlldw349l7nvdvl",
		"/nix/store/6wrvzdad0i13x19kfypnq8ka11iifphd-ca-text.txt":      "text:sha256:0gkg9dnpx96qfq11zrd304dnqvrxzk9vawlnkahl86j943rb472i",
		"/nix/store/nbb5xx79a4bbwn1fimsw65hzn34hsxpj-mini-file":        "",
	} {
		l, err := makeLock(t, projectOf(path, keys, project.Cache{URL: "file:variants/unsigned"}), webData)
		if ca == "" {
			if err == nil || !strings.Contains(err.Error(), "it has no signature") {
				t.Errorf("%s: error %v", path, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if p := l.Paths[path]; p.ContentAddressed != ca || p.Signature != "" || p.AllowedUnsignedBy != "" {
			t.Errorf("%s: %+v", path, p)
		}
		again, err := Parse(mustMarshal(t, l))
		if err != nil || again.Paths[path].ContentAddressed != ca {
			t.Errorf("%s: read again: %v", path, err)
		}
		// The lock can't be made to say otherwise by hand.
		text := string(mustMarshal(t, l))
		for old, changed := range map[string]string{
			ca:                     strings.Replace(ca, "sha256:", "sha256:0", 1)[:len(ca)],
			path.Base():            strings.Replace(path.Base(), "-", "-x", 1),
			path.HashPart():        strings.Repeat("0", store.HashPartLen),
			`"content_addressed":`: `"signed_by": "me", "content_addressed":`,
		} {
			if _, err := Parse([]byte(strings.ReplaceAll(text, old, changed))); err == nil {
				t.Errorf("%s: a lock with %q is taken", path, changed)
			}
		}
		if strings.HasPrefix(ca, "fixed:r:") {
			if _, err := Parse([]byte(strings.ReplaceAll(text, l.Paths[path].NarHash.Hex(), strings.Repeat("1", 64)))); err == nil || !strings.Contains(err.Error(), "content_addressed: content address") {
				t.Errorf("another nar_hash: error %v", err)
			}
		}
	}

	// A signature comes before the content, the content before leave to be unsigned.
	const path = "/nix/store/6wrvzdad0i13x19kfypnq8ka11iifphd-ca-text.txt"
	l, err := makeLock(t, projectOf(path, keys, project.Cache{URL: "file:variants/xz"}), webData)
	if err != nil || !strings.HasPrefix(l.Paths[path].Signature, "strata-web-1:") || l.Paths[path].ContentAddressed != "" {
		t.Errorf("signed: %+v, %v", l, err)
	}
	l, err = makeLock(t, projectOf(path, nil, project.Cache{URL: "file:variants/unsigned", AllowUnsigned: true}), webData)
	if err != nil || l.Paths[path].ContentAddressed == "" || l.Paths[path].AllowedUnsignedBy != "" {
		t.Errorf("with leave to be unsigned: %+v, %v", l, err)
	}
}

// flatContents is what ca-flat.txt holds.
func flatContents(t testing.TB) string {
	t.Helper()
	files, err := filepath.Glob(webData + "/variants/none/nar/*.nar")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		r := nar.NewReader(bytes.NewReader(b))
		if e, err := r.Next(); err != nil || e.Kind != nar.Regular || e.Size > 1000 {
			continue
		}
		contents, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if hashOf(contents).NixBase32() == "02jhncwq2qh2lqzbalmm28k2h3mfbf5p3iqdg75h5dh0q9vmzcri" {
			return string(contents)
		}
	}
	t.Fatal("ca-flat.txt is not there")
	return ""
}

// narOf is the NAR of one file.
func narOf(t testing.TB, contents string, executable bool) []byte {
	t.Helper()
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	if err := w.WriteEntry(&nar.Entry{Kind: nar.Regular, Size: int64(len(contents)), Executable: executable}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(contents)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A cache that says a right content address of other content is found out, though the narinfo is right in itself.
func TestMake_ContentAddressLies(t *testing.T) {
	const flat = store.Path("/nix/store/khphssziygpj7awffydl1z3aynjfv2kv-ca-flat.txt")
	const flatCA = "fixed:sha256:02jhncwq2qh2lqzbalmm28k2h3mfbf5p3iqdg75h5dh0q9vmzcri"
	const tree = store.Path("/nix/store/l0x5bwzlfsb0w17c6qdpyrfg67978cha-ca-recursive-dir")
	const treeCA = "fixed:r:sha256:1j5m2dg65kd6abl5h530277c6f0gb79c7i537dlldw349l7nvdvl"
	var link bytes.Buffer
	w := nar.NewWriter(&link)
	if err := w.WriteEntry(&nar.Entry{Kind: nar.Symlink, Target: []byte("/etc/passwd")}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	contents := flatContents(t)
	for _, tc := range []struct {
		name string
		path store.Path
		ca   string
		nar  []byte
		want string
	}{
		{"what it says", flat, flatCA, narOf(t, contents, false), ""},
		{"other contents", flat, flatCA, narOf(t, contents+"x", false), "the file's contents have another hash"},
		{"executable", flat, flatCA, narOf(t, contents, true), "want a NAR of one file that isn't executable"},
		{"a symlink", flat, flatCA, link.Bytes(), "want a NAR of one file"},
		{"no NAR", flat, flatCA, []byte("nonsense"), "NAR"},
		{"more behind the NAR", flat, flatCA, append(narOf(t, contents, false), 0), "want the end of the archive"},
		{"another path's address", flat, treeCA, narOf(t, contents, false), "nor does its content address vouch for it: content address " + treeCA + ": an object of that content would be /nix/store/"},
		{"another tree", tree, treeCA, narOf(t, contents, false), "NarHash is another"},
		{"SHA-1", flat, "fixed:sha1:4axwrn1qnl2hx4gzgi3dhn1wmjh8l7aq", narOf(t, contents, false), "nor does its content address vouch for it: content address \"fixed:sha1:"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newTestCache(t)
			o := newObject(t, "x")
			o.nar = tc.nar
			o.info.StorePath = tc.path
			o.set("StorePath", string(tc.path)).set("CA", tc.ca).set("URL", "nar/"+tc.path.Base()+".nar")
			o.set("NarHash", hashOf(tc.nar).String()).set("NarSize", strconv.Itoa(len(tc.nar))).set("FileHash", hashOf(tc.nar).String()).set("FileSize", strconv.Itoa(len(tc.nar)))
			c.put(o)
			l, err := makeLock(t, projectOf(tc.path, []narinfo.PublicKey{newTestKey(t, "k").public}, project.Cache{URL: "file://" + c.dir}), ".")
			if tc.want == "" {
				if err != nil || l.Paths[tc.path].ContentAddressed != tc.ca {
					t.Errorf("got %v", err)
				}
				return
			}
			if err == nil || !strings.HasPrefix(err.Error(), string(tc.path)+": file:") || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

// selfReferring is a content-addressed path whose one file holds text, with the path in place of "@".
func selfReferring(t testing.TB, text string) (path store.Path, ca string, contents []byte) {
	t.Helper()
	// Any path of this length has the same hash, and where it should be says the error.
	const any = store.Path("/nix/store/00000000000000000000000000000000-self")
	h := store.NewSelfHash(any)
	h.Write(narOf(t, strings.ReplaceAll(text, "@", string(any)), false))
	hash, _, err := h.Sums()
	if err != nil {
		t.Fatal(err)
	}
	address := store.ContentAddress{Method: store.ContentNAR, Hash: hash}
	_, found, ok := strings.Cut(address.Check(any, []store.Path{any}).Error(), "would be ")
	if !ok {
		t.Fatal("the error doesn't say where it should be")
	}
	return store.Path(found), address.String(), narOf(t, strings.ReplaceAll(text, "@", found), false)
}

// A path that refers to itself has its content address if its NAR, without its own hash part, has that hash.
func TestMake_SelfReference(t *testing.T) {
	path, ca, right := selfReferring(t, "I am @, and shall stay @.")
	for _, tc := range []struct {
		name string
		nar  []byte
		want string
	}{
		{"what it says", right, ""},
		{"other contents", bytes.Replace(right, []byte("shall"), []byte("might"), 1), "the contents, without the path's own hash part, have another hash"},
		{"another path in it", bytes.Replace(right, []byte(path.HashPart()), []byte(strings.Repeat("0", 32)), 1), "the contents, without the path's own hash part, have another hash"},
		{"zeros in place of its path", bytes.Replace(right, []byte(path.HashPart()), make([]byte, 32), 1), "the contents, without the path's own hash part, have another hash"},
		{"no NAR", []byte("I am " + path), "NAR"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newTestCache(t)
			o := newObject(t, "x")
			o.nar, o.info.StorePath = tc.nar, path
			o.set("StorePath", string(path)).set("CA", ca).set("URL", "nar/"+path.Base()+".nar").set("References", path.Base())
			o.set("NarHash", hashOf(tc.nar).String()).set("NarSize", strconv.Itoa(len(tc.nar))).set("FileHash", hashOf(tc.nar).String()).set("FileSize", strconv.Itoa(len(tc.nar)))
			c.put(o)
			p := projectOf(path, []narinfo.PublicKey{newTestKey(t, "k").public}, project.Cache{URL: "file://" + c.dir})
			l, err := makeLock(t, p, ".")
			if tc.want != "" {
				if err == nil || !strings.HasPrefix(err.Error(), string(path)+": file:") || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("error %v, want one with %q", err, tc.want)
				}
				return
			}
			if err != nil || l.Paths[path].ContentAddressed != ca {
				t.Fatalf("got %+v, %v", l, err)
			}
			// Nobody's lock is believed that says so of another NAR: it is read again.
			forged := newObject(t, "x")
			forged.nar = narOf(t, "something else", false)
			c.write("nar/"+path.Base()+".nar", forged.nar)
			if _, err := relock(t, p, ".", l); err == nil {
				t.Error("the NAR isn't read again")
			}
		})
	}
}
