package filelayer

import (
	"archive/tar"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/image/imagetest"
	"github.com/rules-strata/rules_strata/tool/layer"
	"github.com/rules-strata/rules_strata/tool/store"
)

var update = flag.Bool("update", false, "write the goldens in testdata anew: go test ./tool/filelayer -update")

// testdata is the folder of the fixtures that real Nix made.
const testdata = "../../testdata"

// Store paths in testdata/web/cache.
const (
	bashPath      = "/nix/store/xznc9l6ppin9j93x7xsvaba3qkn46hwr-bash-5.2.15"
	busyboxPath   = "/nix/store/wnl9zz2m90jmg2k4xnvcc1nlyg08i69j-busybox-static-1.35.0"
	coreutilsPath = "/nix/store/xh0v1vs3r59gf64s8377bs1b2ik38bzc-coreutils-9.1"
	certsPath     = "/nix/store/rx996as9dr4qb8n50ss0myr56a0hvk9s-nss-cacert-20250419"
	zonesPath     = "/nix/store/3g7kyd9ayrs8z97gz2m6wjcbjlay9j31-tzdata-2026f"
	profilePath   = "/nix/store/5lmyxh3w0h9xc6qzp6nivvjbiaxc42gi-web-profile"
	glibcPath     = "/nix/store/fkrb1qrhrnbscg7h6adzd8zp536bkfgb-glibc-2.36-9"
	motdPath      = "/nix/store/jbnpmbz98y0dv8y9g0zqpirbl85a6r7f-motd"
)

// webNARs finds NARs in testdata/web/cache.
func webNARs(t testing.TB) func(store.Path) (layer.NAR, error) {
	all := imagetest.NARs(t, testdata, imagetest.WebCache)
	return func(p store.Path) (layer.NAR, error) {
		for _, n := range all {
			if n.File.StorePath == p {
				return n, nil
			}
		}
		return layer.NAR{}, fmt.Errorf("%s: not in the cache", p)
	}
}

// write makes the layer of a specification in JSON, and returns its tar and its listing.
func write(t testing.TB, spec, dir string) (tarBytes []byte, mtree string, err error) {
	t.Helper()
	s, err := Parse([]byte(spec))
	if err != nil {
		return nil, "", err
	}
	var blob, listing bytes.Buffer
	f, err := Write(t.Context(), &blob, s, Sources{Dir: dir, NAR: webNARs(t)}, layer.Options{Compression: layer.None, Mtree: &listing})
	if err != nil {
		return nil, "", err
	}
	if want := int64(blob.Len()); f.Descriptor.Size != want || f.Entries != int64(strings.Count(listing.String(), "\n"))-1 {
		t.Errorf("the digest file says %d bytes and %d entries, found %d bytes and\n%s", f.Descriptor.Size, f.Entries, want, &listing)
	}
	return blob.Bytes(), listing.String(), nil
}

func mustWrite(t testing.TB, spec, dir string) ([]byte, string) {
	t.Helper()
	b, mtree, err := write(t, spec, dir)
	if err != nil {
		t.Fatal(err)
	}
	return b, mtree
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

// tree makes files in a new folder: by path, "dir/" for an empty directory, "-> x" for a symlink.
func tree(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for path, text := range files {
		name := filepath.Join(dir, path)
		check(t, os.MkdirAll(filepath.Dir(name), 0o755))
		switch target, link := strings.CutPrefix(text, "-> "); {
		case strings.HasSuffix(path, "/"):
			check(t, os.MkdirAll(name, 0o755))
		case link:
			check(t, os.Symlink(target, name))
		default:
			check(t, os.WriteFile(name, []byte(text), 0o644))
		}
	}
	return dir
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// aTree has one of each.
var aTree = map[string]string{
	"motd":             "hello\n",
	"run":              "#!/bin/sh\necho hi\n",
	"site/index.html":  "<p>",
	"site/a/deep/file": "x",
	"site/empty/":      "",
	"site/link":        "-> a/deep",
	"site/ü":           "not ASCII",
}

const aSpec = `{
  "entries": [
    {"type": "file", "from": "motd", "path": "/etc/motd"},
    {"type": "file", "from": "run", "path": "usr/bin/run"},
    {"type": "file", "from": "motd", "path": "etc/secret", "mode": "0400", "owner": "7:8 a:b"},
    {"type": "folder", "from": "site", "path": "srv/www/"},
    {"type": "text", "text": "web\n", "path": "etc/hostname"},
    {"type": "symlink", "path": "bin", "target": "usr/bin"},
    {"type": "directory", "path": "var/lib/web", "mode": "0750"},
    {"type": "text", "text": "", "path": "tmp/inner"},
    {"type": "remove", "path": "etc/shadow"},
    {"type": "clear", "path": "var/cache"}
  ],
  "owner": "1000:100", "owner_names": "me:users", "mtime": 1700000000,
  "exclude": ["srv/www/empty"],
  "rename": {"srv/*/a": "srv/$1/b"},
  "modes": {"srv/www/**": "0700", "srv/www/index.html": "4711"},
  "owners": {"var/lib/web": "33:33"},
  "xattrs": {"etc/motd": ["user.b=text", "user.a=0s/w=="]},
  "capabilities": {"usr/bin/run": "cap_net_raw=ep"}
}`

func TestWrite_Golden(t *testing.T) {
	_, mtree := mustWrite(t, aSpec, tree(t, aTree))
	golden(t, "everything.mtree", mtree)
}

// Neither where the files are, nor what is beside their bytes, nor the order of entries, nor the number of cores changes a byte.
func TestWrite_DependsOnBytesAlone(t *testing.T) {
	want, _ := mustWrite(t, aSpec, tree(t, aTree))
	other := tree(t, aTree)
	check(t, os.Chmod(filepath.Join(other, "motd"), 0o755))
	check(t, os.Chmod(filepath.Join(other, "run"), 0o600))
	check(t, os.Chmod(filepath.Join(other, "site"), 0o700))
	for _, workers := range []int{1, 2, 8} {
		s, err := Parse([]byte(aSpec))
		check(t, err)
		slices.Reverse(s.Entries)
		var got bytes.Buffer
		_, err = Write(t.Context(), &got, s, Sources{Dir: other}, layer.Options{Compression: layer.None, Workers: workers})
		check(t, err)
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%d workers: other bytes", workers)
		}
	}
}

// The tar is read by Go as it was meant.
func TestWrite_ReadBack(t *testing.T) {
	b, _ := mustWrite(t, aSpec, tree(t, aTree))
	var names []string
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		check(t, err)
		names = append(names, h.Name)
		switch h.Name {
		case "etc/motd":
			if got := h.PAXRecords; got["SCHILY.xattr.user.a"] != "\xff" || got["SCHILY.xattr.user.b"] != "text" {
				t.Errorf("%s: records %q", h.Name, got)
			}
		case "usr/bin/run":
			// As getfattr shows it of a ping on any Linux.
			if got := h.PAXRecords["SCHILY.xattr.security.capability"]; got != "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" {
				t.Errorf("%s: capabilities %x", h.Name, got)
			}
		case "etc/.wh.shadow", "var/cache/.wh..wh..opq":
			if h.Typeflag != tar.TypeReg || h.Size != 0 {
				t.Errorf("%s: type %q, %d bytes", h.Name, h.Typeflag, h.Size)
			}
		}
	}
	for i, n := range names {
		dir, _ := splitPath(strings.TrimSuffix(n, "/"))
		if dir != "" && !strings.Contains(n, whiteoutPrefix) && !slices.Contains(names[:i], dir+"/") {
			t.Errorf("%s: its directory is not before it", n)
		}
		if slices.Contains(names[:i], n) {
			t.Errorf("%s is there twice", n)
		}
	}
}

// Errors name the entry, the option and the value.
func TestWrite_Errors(t *testing.T) {
	dir := tree(t, map[string]string{"f": "x", "d/f": "x", "d/.wh.f": "x", "loop/in": "-> .", "gone": "-> nowhere", "tar": "no tar"})
	entries := func(e ...string) string { return `{"entries": [` + strings.Join(e, ",") + `]}` }
	f := `{"type": "file", "from": "f", "path": "a/f", "by": "files: //:f"}`
	for _, test := range []struct{ name, spec, want string }{
		{"empty", `{}`, "the layer is empty"},
		{"unknown type", entries(`{"type": "flie", "from": "f", "path": "a"}`), `entries[0]: type: want one of file, text, folder`},
		{"unknown field", entries(`{"type": "text", "from": "f", "path": "a", "text": ""}`), `entries[0].from: unknown field`},
		{"dot dot", entries(`{"type": "file", "from": "f", "path": "a/../b"}`), `entries[0].path: "a/../b": want a path in the image, found the component ".."`},
		{"double slash", entries(`{"type": "file", "from": "f", "path": "a//b"}`), `found a double slash`},
		{"root", entries(`{"type": "file", "from": "f", "path": "/"}`), `"/": want a path in the image`},
		{"long name", entries(`{"type": "text", "text": "", "path": "` + strings.Repeat("x", 256) + `"}`), `found a component of 256 bytes`},
		{"mode", entries(`{"type": "directory", "path": "a", "mode": "0888"}`), `entries[0].mode: "0888": want octal digits, at most 7777`},
		{"large mode", entries(`{"type": "directory", "path": "a", "mode": "17777"}`), `"17777": want octal digits`},
		{"owner", entries(`{"type": "directory", "path": "a", "owner": "me:users"}`), `entries[0].owner: "me:users": want UID:GID`},
		{"owners", `{"owners": {"a": "1"}}`, `owners.a: "1": want UID:GID`},
		{"owner names alone", `{"owner_names": "a:b"}`, `owner_names: "a:b": want owner too`},
		{"mtime", `{"mtime": -1}`, `mtime: -1: want 0 to`},
		{"pattern", `{"modes": {"a**": "1"}}`, `pattern "a**": ** stands alone`},
		{"root pattern", `{"exclude": ["/"]}`, `the image's root is no entry`},
		{"capability", `{"capabilities": {"a": "cap_fly=ep"}}`, `capabilities.a: "cap_fly=ep": there is no capability "cap_fly"`},
		{"capability flags", `{"capabilities": {"a": "cap_chown=x"}}`, `want flags out of e, i and p`},
		{"capability effective", `{"capabilities": {"a": "cap_chown=ep cap_kill=p"}}`, `want e for all capabilities or for none`},
		{"xattr", `{"xattrs": {"a": ["mime=x"]}}`, `"mime=x": want NAME=VALUE`},
		{"xattr of an overlay", `{"xattrs": {"a": ["trusted.overlay.opaque=y"]}}`, `"trusted.overlay.opaque=y": overlay file systems keep notes`},
		{"xattr value", `{"xattrs": {"a": ["user.x=0sü"]}}`, `want at most 65536 bytes: text, 0s and base64`},
		{"collisions", `{"collisions": "sometimes"}`, `collisions: "sometimes": want one of error, first, last`},
		{"rename group", `{"rename": {"a/*": "$2"}}`, `rename["a/*"]: "$2": want $1 to $9 for what a wildcard of "a/*" matches (it has 1)`},
		{"rename out", `{"entries": [` + f + `], "rename": {"a": "../b"}}`, `files: //:f: rename: "a" makes "../b/f" of "a/f": want a path in the image, found the component ".."`},
		{"twice", entries(f, `{"type": "text", "text": "y", "path": "a/f", "by": "content: a/f"}`), `a/f is there twice: files: //:f wants a file, content: a/f wants a file; say which by collisions`},
		{"below a file", entries(f, `{"type": "text", "text": "y", "path": "a/f/g"}`), `a/f/g (entries[1]) is below a/f, which is a file (files: //:f), no directory`},
		{"below a symlink", entries(`{"type": "symlink", "target": "/etc", "path": "x"}`, `{"type": "text", "text": "y", "path": "x/passwd"}`), `x/passwd (entries[1]) is below x, which is a symlink to /etc (entries[0])`},
		{"removed and there", entries(f, `{"type": "remove", "path": "a/f"}`), `a/f is both removed (entries[1]) and there (files: //:f)`},
		{"two modes", entries(`{"type": "directory", "path": "a"}`, `{"type": "directory", "path": "a", "mode": "0700"}`), `a is there twice`},
		{"missing", entries(`{"type": "file", "from": "none", "path": "a"}`), `entries[0]: stat `},
		{"a folder as a file", entries(`{"type": "file", "from": "d", "path": "a"}`), `d is a directory: want an entry of type "folder"`},
		{"a file as a folder", entries(`{"type": "folder", "from": "f", "path": "a"}`), `f is no directory`},
		{"a link loop", entries(`{"type": "folder", "from": "loop", "path": "a", "follow": true}`), `a symlink leads back to a directory that it is in`},
		{"whiteout name", entries(`{"type": "folder", "from": "d", "path": "a"}`), `the name "a/.wh.f" begins with .wh.`},
		{"no tar", entries(`{"type": "tar", "from": "tar", "path": ""}`), `entries[0]: `},
		{"unused exclude", `{"entries": [` + f + `], "exclude": ["a/g"]}`, `exclude: "a/g" matches no entry of the layer`},
		{"unused mode", `{"entries": [` + f + `], "modes": {"a/g": "4755"}}`, `modes: "a/g" matches no file or directory of the layer`},
		{"unused capabilities", `{"entries": [` + f + `], "capabilities": {"a": "cap_kill=p"}}`, `capabilities: "a" matches no file of the layer`},
		{"symlink without a target", entries(`{"type": "symlink", "path": "a"}`), `entries[0]: want a target, or from`},
		{"root by name", entries(`{"type": "shell", "root": "bash"}`), `root "bash": want a store path`},
		{"unknown store path", entries(`{"type": "shell", "root": "/nix/store/00000000000000000000000000000000-x"}`), `not in the cache`},
		{"no shell", entries(`{"type": "shell", "root": "` + zonesPath + `"}`), zonesPath + ` has none of bin/sh, bin/bash`},
		{"no certificates", entries(`{"type": "ca_certificates", "root": "` + zonesPath + `"}`), zonesPath + ` has none of etc/ssl/certs/ca-bundle.crt`},
		{"zone", entries(`{"type": "time_zones", "root": "` + zonesPath + `", "zone": "Europe/Atlantis"}`), `zone: ` + zonesPath + ` has no time zone "Europe/Atlantis"`},
		{"zone out", entries(`{"type": "time_zones", "root": "` + zonesPath + `", "zone": "../x"}`), `entries[0].zone: "../x": want a time zone`},
		{"two shells", entries(`{"type": "links", "root": "`+bashPath+`", "by": "roots: //:bash"}`, `{"type": "links", "root": "`+busyboxPath+`", "by": "roots: //:busybox"}`), `bin/sh is in two store paths: ` + bashPath + ` (roots: //:bash) and ` + busyboxPath + ` (roots: //:busybox)`},
		{"links of a file", entries(`{"type": "links", "root": "` + motdPath + `"}`), motdPath + ` is a file, no directory`},
		{"no subdirectory", entries(`{"type": "links", "root": "` + bashPath + `", "subdirs": ["lib"]}`), `subdirs: "lib" is in none of the store paths: ` + bashPath},
		{"user name", entries(`{"type": "users", "users": [{"name": "a b", "uid": 1}]}`), `users[0].name: "a b": want a name of letters`},
		{"uid", entries(`{"type": "users", "users": [{"name": "a", "uid": 4294967295}]}`), `users[0].uid: 4294967295: want a number from 0 to 4294967294`},
		{"gid", entries(`{"type": "users", "users": [{"name": "a", "uid": 1, "gid": 5}]}`), `user a: gid 5 is no group's`},
		{"unknown group", entries(`{"type": "users", "users": [{"name": "a", "uid": 1, "groups": ["wheel"]}]}`), `user a: groups: there is no group "wheel"`},
		{"user twice", entries(`{"type": "users", "users": [{"name": "a", "uid": 1}, {"name": "a", "uid": 2, "gid": 1}]}`), `users: "a" is there twice`},
		{"user of one number twice", entries(`{"type": "users", "users": [{"name": "a", "uid": 1}, {"name": "a", "uid": 1}]}`), `users: "a" is there twice`},
		{"user twice, each with a group of one's own", entries(`{"type": "users", "users": [{"name": "a", "uid": 1}, {"name": "a", "uid": 2}]}`), `users: "a" is there twice`},
		{"uid twice, each with a group of one's own", entries(`{"type": "users", "users": [{"name": "a", "uid": 1}, {"name": "b", "uid": 1}]}`), `users: uid 1 is both a's and b's`},
		{"group twice", entries(`{"type": "users", "users": [{"name": "a", "uid": 1}], "groups": [{"name": "a", "gid": 2}]}`), `groups: "a" is there twice; root, nobody and users without a gid`},
		{"gid twice", entries(`{"type": "users", "users": [{"name": "a", "uid": 1}], "groups": [{"name": "b", "gid": 1}]}`), `groups: gid 1 is both b's and a's`},
		{"uid twice", entries(`{"type": "users", "users": [{"name": "a", "uid": 1}, {"name": "b", "uid": 1, "gid": 0}]}`), `users: uid 1 is both a's and b's`},
		{"field", entries(`{"type": "users", "users": [{"name": "a", "uid": 1, "comment": "a:b"}]}`), `a colon or a line break can't be part`},
		{"home", entries(`{"type": "users", "users": [{"name": "a", "uid": 1, "home": "home/a"}]}`), `"home/a": want an absolute path`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := write(t, test.spec, dir)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

// Which of two entries for one path is taken.
func TestWrite_Collisions(t *testing.T) {
	const entries = `"entries": [
		{"type": "text", "text": "1", "path": "a", "mode": "0601"},
		{"type": "text", "text": "2", "path": "a", "mode": "0602"}
	]`
	for collisions, mode := range map[string]string{"first": "mode=601", "last": "mode=602"} {
		_, mtree := mustWrite(t, `{`+entries+`, "collisions": "`+collisions+`"}`, "")
		if !strings.Contains(mtree, mode) {
			t.Errorf("%s: got\n%s", collisions, mtree)
		}
	}
	// The same twice is no collision.
	_, mtree := mustWrite(t, `{"entries": [{"type": "text", "text": "1", "path": "a"}, {"type": "text", "text": "1", "path": "a"}]}`, "")
	if strings.Count(mtree, "\n") != 2 {
		t.Errorf("got\n%s", mtree)
	}
}

func TestWrite_OmitParents(t *testing.T) {
	_, mtree := mustWrite(t, `{"entries": [{"type": "text", "text": "1", "path": "a/b/c"}, {"type": "directory", "path": "a/d"}], "parents": false}`, "")
	if strings.Contains(mtree, "./a ") || strings.Contains(mtree, "./a/b ") || !strings.Contains(mtree, "./a/d ") {
		t.Errorf("got\n%s", mtree)
	}
}

// Bazel's sandboxes are made of symlinks: followed, the layer is the same.
func TestWrite_Follow(t *testing.T) {
	dir := tree(t, map[string]string{"real/a/f": "x", "real/g": "#!"})
	links := tree(t, map[string]string{"d/a/f": "-> " + dir + "/real/a/f", "d/g": "-> " + dir + "/real/g"})
	spec := func(from string) string {
		return `{"entries": [{"type": "folder", "from": "` + from + `", "path": "", "follow": true}]}`
	}
	want, _ := mustWrite(t, spec("real"), dir)
	got, _ := mustWrite(t, spec("d"), links)
	if !bytes.Equal(got, want) {
		t.Error("other bytes")
	}
}

// Files that are shared are one file with several names, if they are alike in all.
func TestWrite_Shared(t *testing.T) {
	dir := tree(t, map[string]string{"f": "x"})
	_, mtree := mustWrite(t, `{
	  "entries": [
	    {"type": "file", "from": "f", "path": "b", "shared": true},
	    {"type": "file", "from": "f", "path": "a", "shared": true},
	    {"type": "file", "from": "f", "path": "c", "shared": true},
	    {"type": "file", "from": "f", "path": "d"}
	  ],
	  "modes": {"c": "0600"}}`, dir)
	golden(t, "shared.mtree", mtree)
}

// Runfiles that lead nowhere are symlinks; those that lead to a file are the file, whether Bazel's sandbox has put them for it or the
// source tree has them.
func TestWrite_SharedSymlinks(t *testing.T) {
	dir := tree(t, map[string]string{"f": "x", "relative": "-> ../a b", "source": "-> f", "store": "-> /nix/store/none/bin/x"})
	check(t, os.Symlink(filepath.Join(dir, "f"), filepath.Join(dir, "sandboxed")))
	_, mtree := mustWrite(t, `{
	  "entries": [
	    {"type": "file", "from": "relative", "path": "relative", "shared": true},
	    {"type": "file", "from": "sandboxed", "path": "sandboxed", "shared": true},
	    {"type": "file", "from": "source", "path": "source", "shared": true},
	    {"type": "file", "from": "store", "path": "store", "shared": true}
	  ]}`, dir)
	golden(t, "shared_symlinks.mtree", mtree)
}

// A file that is shorter or longer than it was is an error, not a layer of other bytes.
func TestWrite_ChangedFile(t *testing.T) {
	for _, text := range []string{"", "longer than before"} {
		dir := tree(t, map[string]string{"f": "before"})
		s := &Spec{Entries: []Entry{{Type: TypeFile, From: "f", Path: "f", By: "files: //:f"}}}
		g := &gatherer{ctx: t.Context(), spec: s, src: Sources{Dir: dir}}
		nodes, err := g.gather()
		check(t, err)
		check(t, os.WriteFile(filepath.Join(dir, "f"), []byte(text), 0o644))
		_, err = layer.WriteTar(t.Context(), io.Discard, layer.Options{}, func(ctx context.Context, to *layer.Tar) error {
			return writeNodes(ctx, to, s, nodes)
		})
		if err == nil || !strings.Contains(err.Error(), "files: //:f: f: it changed while it was read") {
			t.Errorf("%q: error %v", text, err)
		}
	}
}

// Links and copies of real store paths.
func TestWrite_Roots(t *testing.T) {
	links := func(root, more string) string {
		return `{"type": "links", "root": "` + root + `"` + more + `}`
	}
	_, mtree := mustWrite(t, `{"entries": [`+links(bashPath, "")+`,`+links(coreutilsPath, `, "subdirs": ["bin"]`)+`], "exclude": ["share/info"]}`, "")
	golden(t, "links.mtree", mtree)

	// Another profile's links to the same programs are the same programs.
	_, mtree = mustWrite(t, `{"entries": [`+links(profilePath, `, "subdirs": ["bin"]`)+`,`+links(coreutilsPath, `, "subdirs": ["bin"]`)+`]}`, "")
	if !strings.Contains(mtree, "./bin/cat type=link mode=777 uid=0 gid=0 uname=root gname=root time=1.0 link="+profilePath+"/bin/cat\n") {
		t.Errorf("got\n%s", mtree)
	}

	for collisions, shell := range map[string]string{"first": bashPath, "last": busyboxPath} {
		_, mtree := mustWrite(t, `{"entries": [`+links(bashPath, "")+`,`+links(busyboxPath, "")+`], "collisions": "`+collisions+`"}`, "")
		if !strings.Contains(mtree, "./bin/sh type=link mode=777 uid=0 gid=0 uname=root gname=root time=1.0 link="+shell+"/bin/sh\n") {
			t.Errorf("%s: got\n%s", collisions, mtree)
		}
		if !strings.Contains(mtree, "./bin/bash ") || !strings.Contains(mtree, "./bin/busybox ") {
			t.Errorf("%s: not merged:\n%s", collisions, mtree)
		}
	}

	_, mtree = mustWrite(t, `{"entries": [{"type": "copies", "root": "`+bashPath+`", "path": "opt"}]}`, "")
	golden(t, "copies.mtree", mtree)
}

// A directory here and a symlink to one there are merged.
func TestMerge_SymlinkToDirectory(t *testing.T) {
	dir := func(children map[string]*object) *object { return &object{kind: 2, children: children} }
	file := &object{kind: 1}
	link := func(target string) *object { return &object{kind: 3, target: target} }
	roots := map[store.Path]*rootObject{
		"/nix/store/a": {"/nix/store/a", dir(map[string]*object{"bin": dir(map[string]*object{"x": file}), "sbin": link("bin")})},
		"/nix/store/b": {"/nix/store/b", dir(map[string]*object{"sbin": dir(map[string]*object{"y": file})})},
		"/nix/store/c": {"/nix/store/c", dir(map[string]*object{"sbin": link("/nix/store/c/libexec/s"), "libexec": dir(map[string]*object{"s": dir(map[string]*object{"z": file})})})},
		"/nix/store/d": {"/nix/store/d", dir(map[string]*object{"sbin": link("sbin")})},
	}
	targets := func(paths ...store.Path) (map[string]string, []error) {
		g := &gatherer{spec: &Spec{}, nodes: map[string]*node{}, used: map[string]bool{}, roots: roots}
		for _, p := range paths {
			g.spec.Entries = append(g.spec.Entries, Entry{Type: TypeLinks, Root: p, By: string(p)})
		}
		g.farms()
		got := map[string]string{}
		for path, n := range g.nodes {
			got[path] = n.target
		}
		return got, g.faults
	}
	got, faults := targets("/nix/store/a", "/nix/store/b", "/nix/store/c")
	want := map[string]string{
		"bin": "", "bin/x": "/nix/store/a/bin/x", "sbin": "", "sbin/x": "/nix/store/a/bin/x", "sbin/y": "/nix/store/b/sbin/y",
		"sbin/z": "/nix/store/c/libexec/s/z", "libexec": "", "libexec/s": "", "libexec/s/z": "/nix/store/c/libexec/s/z",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) || len(faults) > 0 {
		t.Errorf("got %v, %v; want %v", got, faults, want)
	}
	// A link that leads nowhere is no directory, however long one follows it.
	if _, faults := targets("/nix/store/b", "/nix/store/d"); len(faults) != 1 {
		t.Errorf("faults %v, want one", faults)
	}
}

// A NAR that isn't the one that was promised makes no layer of links; one that can be had from elsewhere does.
func TestWrite_WrongNAR(t *testing.T) {
	find := webNARs(t)
	bash, err := find(bashPath)
	check(t, err)
	wrong := bash
	opened := 0
	wrong.Open = func(ctx context.Context) (io.ReadCloser, error) {
		if opened++; opened == 1 {
			other, err := find(motdPath)
			check(t, err)
			return other.Open(ctx)
		}
		return bash.Open(ctx)
	}
	s, err := Parse([]byte(`{"entries": [{"type": "shell", "root": "` + bashPath + `"}]}`))
	check(t, err)
	src := Sources{NAR: func(store.Path) (layer.NAR, error) { return wrong, nil }}
	if _, err = Write(t.Context(), io.Discard, s, src, layer.Options{}); err == nil || !strings.HasPrefix(err.Error(), bashPath+": ") {
		t.Errorf("error %v, want one about the store path", err)
	}
	opened = 0
	wrong.Reject = func(error) error { return nil }
	if _, err = Write(t.Context(), io.Discard, s, src, layer.Options{}); err != nil || opened != 2 {
		t.Errorf("opened %d times: error %v", opened, err)
	}
}

func TestUsers_Golden(t *testing.T) {
	b, mtree := mustWrite(t, `{"entries": [
	  {"type": "users", "shadow": true,
	   "users": [
	     {"name": "web", "uid": 1000, "groups": ["video", "adm"], "comment": "Web server"},
	     {"name": "job", "uid": 1001, "gid": 4, "home": "/", "shell": "/sbin/nologin"},
	     {"name": "root", "uid": 0, "gid": 0, "home": "/root", "shell": "/bin/bash"}
	   ],
	   "groups": [{"name": "video", "gid": 44}, {"name": "adm", "gid": 4}]},
	  {"type": "ca_certificates", "root": "`+certsPath+`"},
	  {"type": "time_zones", "root": "`+zonesPath+`", "zone": "Europe/Berlin"},
	  {"type": "shell", "root": "`+bashPath+`"},
	  {"type": "env", "root": "`+coreutilsPath+`"}
	]}`, "")
	golden(t, "users.mtree", mtree)
	var text strings.Builder
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		check(t, err)
		if h.Typeflag == tar.TypeReg {
			fmt.Fprintf(&text, "== %s\n", h.Name)
			_, err := io.Copy(&text, r)
			check(t, err)
		}
	}
	golden(t, "users.txt", text.String())
}

// Renames, by table.
func TestRename(t *testing.T) {
	for _, test := range []struct{ pattern, to, path, want string }{
		{"share", "usr/share", "share", "usr/share"},
		{"share", "usr/share", "share/man/x", "usr/share/man/x"},
		{"share", "usr/share", "shared", "-"},
		{"app", "", "app/x", "x"},
		{"app", "", "app", ""},
		{"lib/*.so.?", "usr/lib/$1.so.$2", "lib/libc.so.6", "usr/lib/libc.so.6"},
		{"a/**/b", "c/$1/d", "a/b", "c/d"},
		{"a/**/b", "c/$1/d", "a/x/y/b/z", "c/x/y/d/z"},
		{"a/**", "$1", "a/x/y", "x/y"},
		{"*", "pre/$1", "a/b", "pre/a/b"},
		{`\*`, "star", "*", "star"},
		{`\*`, "star", "x", "-"},
		{"a.b", "c", "axb", "-"},
		{"a", "$$", "a", "$"},
		{"/etc", "/usr/etc/", "etc/x", "usr/etc/x"},
	} {
		r, err := newRename(test.pattern, test.to)
		check(t, err)
		got, ok := r.apply(test.path)
		if !ok {
			got = "-"
		}
		if got != test.want {
			t.Errorf("%q to %q: %q becomes %q, want %q", test.pattern, test.to, test.path, got, test.want)
		}
		// Whether it matches is what the pattern itself says, of the path or of one above it.
		p, err := parsePattern(test.pattern)
		check(t, err)
		matches := false
		for i := range len(test.path) + 1 {
			if i == len(test.path) || test.path[i] == '/' {
				matches = matches || p.Match([]byte(test.path[:i]))
			}
		}
		if matches != ok {
			t.Errorf("%q: matches %q: %v, as a pattern %v", test.pattern, test.path, ok, matches)
		}
	}
}
