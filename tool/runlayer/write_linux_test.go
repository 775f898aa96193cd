package runlayer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/filelayer"
	"github.com/rules-strata/rules_strata/tool/image/imagetest"
	"github.com/rules-strata/rules_strata/tool/layer"
	"github.com/rules-strata/rules_strata/tool/store"
)

// testdata is the folder of the fixtures that real Nix made.
const testdata = "../../testdata"

// What the programs of the tests are made of, in testdata/web/cache.
var programs = []string{"acl", "attr", "bash", "busybox-static", "coreutils", "expat", "gcc", "glibc", "gmp", "libselinux", "ncurses", "openssl", "pcre2", "python3-minimal", "sed", "zlib"}

// imageSpec is what the image of the tests has beside its programs. Owners, attributes and kinds of all sorts.
const imageSpec = `{
  "entries": [
    {"type": "users", "users": [{"name": "web", "uid": 1000, "groups": ["video"]}], "groups": [{"name": "video", "gid": 44}]},
    {"type": "links", "root": "/nix/store/wnl9zz2m90jmg2k4xnvcc1nlyg08i69j-busybox-static-1.35.0", "subdirs": ["bin"]},
    {"type": "links", "root": "/nix/store/xznc9l6ppin9j93x7xsvaba3qkn46hwr-bash-5.2.15", "subdirs": ["bin"]},
    {"type": "links", "root": "/nix/store/xh0v1vs3r59gf64s8377bs1b2ik38bzc-coreutils-9.1", "subdirs": ["bin"]},
    {"type": "links", "root": "/nix/store/m2mgj4jqma9ycz1gi7a9bsy4v1420i4g-python3-minimal-3.11.2", "subdirs": ["bin"]},
    {"type": "text", "path": "etc/motd", "text": "Welcome.\n"},
    {"type": "text", "path": "etc/old", "text": "old\n"},
    {"type": "text", "path": "srv/tree/a/b", "text": "b\n"},
    {"type": "text", "path": "srv/tree/a/c", "text": "c\n"},
    {"type": "text", "path": "srv/web/owned", "text": "web's\n"},
    {"type": "text", "path": "tmp/inherited", "text": "of the image\n"},
    {"type": "text", "path": "usr/bin/ping", "text": "#!/bin/sh\n"},
    {"type": "symlink", "path": "srv/link", "target": "../etc/motd"},
    {"type": "symlink", "path": "srv/out", "target": "/../../../../../../etc"},
    {"type": "tar", "from": "more.tar", "path": "opt"}
  ],
  "collisions": "first",
  "modes": {"etc/old": "0640", "srv/web": "0750"},
  "owners": {"srv/web": "1000:1000", "srv/web/owned": "1000:44"},
  "capabilities": {"usr/bin/ping": "cap_net_raw=ep"},
  "xattrs": {"etc/motd": ["user.origin=test"]}
}`

var update = flag.Bool("update", false, "write the goldens in testdata anew: go test ./tool/runlayer -update")

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

func TestMain(m *testing.M) {
	Main()
	flag.Parse()
	os.Exit(m.Run())
}

// smallSpec is what an image has beside busybox.
const smallSpec = `{
  "entries": [
    {"type": "users", "users": [{"name": "web", "uid": 1000}]},
    {"type": "links", "root": "/nix/store/wnl9zz2m90jmg2k4xnvcc1nlyg08i69j-busybox-static-1.35.0", "subdirs": ["bin"]},
    {"type": "text", "path": "etc/motd", "text": "Welcome.\n"},
    {"type": "symlink", "path": "srv/link", "target": "../etc/motd"}
  ]
}`

// testImage has programs of all sorts and files of all kinds, smallImage busybox.
func testImage(t *testing.T) *Image  { return newImage(t, programs, imageSpec) }
func smallImage(t *testing.T) *Image { return newImage(t, []string{"busybox-static"}, smallSpec) }

// blobs are the layers of images that were made, by their specification: uncompressed, lowest first.
var blobs = map[string][2][]byte{}

func newImage(t *testing.T, programs []string, text string) *Image {
	t.Helper()
	made, ok := blobs[text]
	if !ok {
		made = makeLayers(t, programs, text)
		blobs[text] = made
	}
	i := &Image{Env: []string{"PATH=/usr/bin:/bin", "FROM=image"}}
	for _, b := range made {
		i.Layers = append(i.Layers, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil })
	}
	return i
}

func makeLayers(t *testing.T, programs []string, text string) [2][]byte {
	t.Helper()
	var nars []layer.NAR
	all := imagetest.NARs(t, testdata, imagetest.WebCache)
	for _, n := range all {
		if slices.ContainsFunc(programs, func(p string) bool { return strings.HasPrefix(n.File.StorePath.Name(), p+"-") }) {
			nars = append(nars, n)
		}
	}
	var paths, files bytes.Buffer
	if _, err := layer.Write(t.Context(), &paths, nars, layer.Options{Compression: layer.None}); err != nil {
		t.Fatal(err)
	}
	spec, err := filelayer.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	writeTar(t, filepath.Join(dir, "more.tar"), []tar.Header{
		{Name: "first", Typeflag: tar.TypeReg, Mode: 0o644, Uid: 7, Gid: 8},
		{Name: "second", Typeflag: tar.TypeLink, Linkname: "first"},
		{Name: "null", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 3},
		{Name: "pipe", Typeflag: tar.TypeFifo, Mode: 0o600},
	})
	if _, err := filelayer.Write(t.Context(), &files, spec, filelayer.Sources{Dir: dir, NAR: func(p store.Path) (layer.NAR, error) {
		for _, n := range all {
			if n.File.StorePath == p {
				return n, nil
			}
		}
		return layer.NAR{}, fmt.Errorf("%s: not in the cache", p)
	}}, layer.Options{Compression: layer.None}); err != nil {
		t.Fatal(err)
	}
	return [2][]byte{paths.Bytes(), files.Bytes()}
}

func writeTar(t *testing.T, name string, headers []tar.Header) {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), os.WriteFile(name, b.Bytes(), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// result is a layer that was made.
type result struct {
	blob  []byte
	mtree string
	file  *digestfile.File
}

// run runs a specification in one way, and sees that nothing is left behind.
func runSpec(ctx context.Context, t *testing.T, img *Image, s *Spec, in way) (result, error) {
	t.Helper()
	dir := t.TempDir()
	var blob, listing bytes.Buffer
	file, err := writeIn(ctx, &blob, s, img, dir, layer.Options{Compression: layer.None, Mtree: &listing}, []way{in})
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("%s: %v is left", in, left)
	}
	return result{blob.Bytes(), listing.String(), file}, err
}

func shell(script string) *Spec { return &Spec{Command: []string{"/bin/sh", "-euc", script}} }

// available are the ways that this machine should have, and namespaces as a user.
func available() []way {
	var out []way
	for _, w := range append(ways(), way{User: true}) {
		if !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	return out
}

const everything = `
echo new > /etc/new
echo changed > /etc/motd
rm /etc/old
rm -r /srv/tree/a
mkdir /srv/tree/a
echo d > /srv/tree/a/d
ln -s ../etc/new /srv/new
ln /etc/new /etc/newer
ln /opt/first /opt/third
touch /srv/link /opt/second
echo "web's" > /srv/web/owned
mkfifo /srv/fifo
mkdir -m 2775 /srv/shared
cp /bin/sh /srv/shared/sh && chmod 4755 /srv/shared/sh
echo gone > /tmp/gone
[ ! -e /tmp/inherited ]
echo "$(id -u):$(id -g) $(pwd) $FROM $SOURCE_DATE_EPOCH $HOME $(umask)" > /srv/said
[ -z "$(cat)" ]
echo x > /dev/null
[ "$(head -c 2 /dev/zero | wc -c)" = 2 ]
python3 -c 'import os; os.setxattr("/etc/new", "user.a", b"b")'
`

// All that a program may change is in the layer, whichever way it was run: the listing is in testdata.
func TestWrite(t *testing.T) {
	img := testImage(t)
	var first result
	for _, in := range available() {
		got, err := runSpec(t.Context(), t, img, shell(everything), in)
		if err != nil {
			t.Fatalf("%s: %v", in, err)
		}
		if first.file == nil {
			first = got
			golden(t, "everything.mtree", got.mtree)
		}
		if !bytes.Equal(got.blob, first.blob) || got.file.Descriptor.Digest != first.file.Descriptor.Digest {
			t.Errorf("%s gives another layer:\n%s", in, got.mtree)
		}
	}
}

// The layer on top of the image is the image as the program left it.
func TestWrite_AppliedAgain(t *testing.T) {
	img := testImage(t)
	script := shell("echo x > /etc/new; rm -r /srv/tree; mv /etc/motd /srv/motd; ln -sf b /srv/link")
	script.Scratch = []string{}
	got, err := runSpec(t.Context(), t, img, script, ways()[0])
	if err != nil {
		t.Fatal(err)
	}
	img.Layers = append(img.Layers, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(got.blob)), nil })
	check := shell(`[ "$(cat /etc/new)" = x ]; [ ! -e /srv/tree ]; [ ! -e /etc/motd ]; [ "$(cat /srv/motd)" = "Welcome." ]; [ "$(readlink /srv/link)" = b ]; cat /tmp/inherited; exit 9`)
	check.Scratch = []string{}
	_, err = runSpec(t.Context(), t, img, check, ways()[0])
	var failed *CommandError
	if !errors.As(err, &failed) || failed.Failure != "exit code 9" || string(failed.Output) != "of the image\n" {
		t.Errorf("got %v; want exit code 9 and what /tmp has", err)
	}
}

// Directories that are there only because something scratch is below them are the image's no more than that: removing them changes nothing.
func TestWrite_ScratchBelowNothing(t *testing.T) {
	img := smallImage(t)
	for _, in := range available() {
		s := shell("busybox rm -r /var/cache; echo x > /x")
		s.Scratch = []string{"var/cache/a/b"}
		got, err := runSpec(t.Context(), t, img, s, in)
		if err != nil || strings.Contains(got.mtree, "var") || !strings.Contains(got.mtree, "./x type=file") {
			t.Errorf("%s: removed: %v\n%s", in, err, got.mtree)
		}
		// What is put into their place is in the layer.
		s = shell("busybox rm -r /var/cache; echo x > /var/cache; busybox touch /srv/y")
		s.Scratch = []string{"var/cache/a/b", "srv/none"}
		got, err = runSpec(t.Context(), t, img, s, in)
		if err != nil || !strings.Contains(got.mtree, "./var type=dir mode=755 ") || !strings.Contains(got.mtree, "./var/cache type=file ") ||
			!strings.Contains(got.mtree, "./srv/y type=file") || strings.Contains(got.mtree, ".wh.") || strings.Contains(got.mtree, "none") {
			t.Errorf("%s: replaced: %v\n%s", in, err, got.mtree)
		}
	}
}

// What a command makes of the lists of users is in the digest file, as of any layer.
func TestWrite_Accounts(t *testing.T) {
	img := smallImage(t)
	got, err := runSpec(t.Context(), t, img, shell("echo 'job:x:5:5::/:/bin/sh' >> /etc/passwd; busybox rm /etc/group"), ways()[0])
	if err != nil {
		t.Fatal(err)
	}
	if f := got.file; f.Users == nil || !slices.Equal(f.Users.Names, []string{"job", "nobody", "root", "web"}) || f.Groups == nil || !f.Groups.Removed || f.Touched != nil {
		t.Errorf("users %+v, groups %+v, touched %+v", f.Users, f.Groups, f.Touched)
	}
}

// Owners that are said beside the command.
func TestWrite_Owners(t *testing.T) {
	img := smallImage(t)
	s := shell("mkdir -p /srv/a; echo x > /srv/a/b; rm /etc/motd")
	s.Owners = []OwnerRule{{"srv/**", "5:5"}, {"srv/a/b", "1000:1000 web:web"}}
	got, err := runSpec(t.Context(), t, img, s, ways()[len(ways())-1])
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"./srv/a type=dir mode=755 uid=5 gid=5 time", "./srv/a/b type=file mode=644 uid=1000 gid=1000 uname=web gname=web time", "./etc/.wh.motd type=file mode=0 uid=0"} {
		if !strings.Contains(got.mtree, want) {
			t.Errorf("got\n%s\nwant %s", got.mtree, want)
		}
	}
	s.Owners = append(s.Owners, OwnerRule{"etc/*", "1:1"})
	if _, err := runSpec(t.Context(), t, img, s, ways()[0]); err == nil || !strings.Contains(err.Error(), `owners: "etc/*" matches no entry`) {
		t.Errorf("got %v, want that a pattern matches nothing", err)
	}
}

// A user without privileges gets the same layer, so far as it is about files of root's: in a process of its own, since this one may be root.
func TestWrite_Unprivileged(t *testing.T) {
	const variable = "STRATA_RUN_UNPRIVILEGED"
	if os.Getenv(variable) == "" {
		if os.Getuid() != 0 || !mayBecome(nobody) {
			t.Skip("only root can become another user")
		}
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		for d := dir; d != "/" && d != "/tmp"; d = filepath.Dir(d) { // Where it may go.
			if err := os.Chmod(d, 0o777); err != nil {
				t.Fatal(err)
			}
		}
		copied := filepath.Join(dir, "test")
		b, err := os.ReadFile(self)
		if err == nil {
			err = os.WriteFile(copied, b, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(copied, "-test.run=^(TestWrite_Unprivileged|TestWrite_SubordinateIDs)$", "-test.v")
		cmd.Env = append(os.Environ(), variable+"=1", "TMPDIR="+dir)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS")) {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	img := testImage(t)
	if got := ways(); slices.Contains(got, way{}) || !slices.Contains(got, way{User: true}) {
		t.Fatalf("ways are %v", got)
	}
	_, err := runSpec(t.Context(), t, img, shell("exit 1"), way{})
	if none := new(UnavailableError); !errors.As(err, &none) || !strings.Contains(err.Error(), "namespaces as root: clone(2) is not permitted") || none.Hint() == "" {
		t.Errorf("namespaces as root: got %v, want that they are not permitted", err)
	}
	got, err := runSpec(t.Context(), t, img, shell(everything), way{User: true})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "everything.mtree", got.mtree)
	_, err = runSpec(t.Context(), t, img, shell("chown 1000:1000 /etc/motd"), way{User: true})
	if failed := new(CommandError); !errors.As(err, &failed) || !strings.Contains(failed.Hint(), "there is but one user id here") {
		t.Errorf("chown: got %v, want an error that says why", err)
	}
}

const nobody = 65534

func mayBecome(id uint32) bool {
	ids, err := currentIDs()
	return err == nil && ids.users.has(id) && ids.groups.has(id)
}

// With the ids of /etc/subuid an unprivileged user can give files away, and nothing stays behind that belongs to others.
func TestWrite_SubordinateIDs(t *testing.T) {
	in := way{User: true, Subordinate: true}
	if _, ok := subordinateIDs(); !ok {
		t.Skip("no ids of /etc/subuid for this user, or no newuidmap")
	}
	img := testImage(t)
	got, err := runSpec(t.Context(), t, img, shell("chown 1000:1000 /etc/motd; mkdir -m 700 /srv/theirs; echo x > /srv/theirs/x; chown -R 33:33 /srv/theirs"), in)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"./etc/motd type=file mode=644 uid=1000 gid=1000 ", "./srv/theirs type=dir mode=700 uid=33 gid=33 ", "./srv/theirs/x type=file mode=644 uid=33 gid=33 "} {
		if !strings.Contains(got.mtree, want) {
			t.Errorf("got\n%s\nwant %s", got.mtree, want)
		}
	}
	s := shell("id -u > /srv/web/said; id -un >> /srv/web/said")
	s.User = "web"
	if got, err = runSpec(t.Context(), t, img, s, in); err != nil || !strings.Contains(got.mtree, "./srv/web/said type=file mode=644 uid=1000 gid=1000 ") {
		t.Errorf("%v; as the user web:\n%s", err, got.mtree)
	}
	if got, err = runSpec(t.Context(), t, img, shell(everything), in); err != nil {
		t.Fatal(err)
	}
	golden(t, "everything.mtree", got.mtree)
}
