package filelayer

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/layer"
)

// tarEntry is a header, and a file's contents.
type tarEntry struct {
	tar.Header
	text string
}

// tarOf is a tar as Go writes it.
func tarOf(t testing.TB, entries ...tarEntry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		e.Size = int64(len(e.text))
		check(t, w.WriteHeader(&e.Header))
		_, err := io.WriteString(w, e.text)
		check(t, err)
	}
	check(t, w.Close())
	return b.Bytes()
}

func gzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(b)
	check(t, err)
	check(t, w.Close())
	return out.Bytes()
}

func zstded(t testing.TB, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	check(t, err)
	defer w.Close()
	return w.EncodeAll(b, nil)
}

// aTar has all that a tar can say, in no good order.
func aTar(t testing.TB) []byte {
	now := time.Unix(1700000000, 5)
	return tarOf(
		t,
		tarEntry{Header: tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "a commit"}}},
		tarEntry{Header: tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755}},
		tarEntry{tar.Header{Typeflag: tar.TypeReg, Name: "./z/first", Mode: 0o4755, Uid: 1000, Gid: 100, Uname: "me", Gname: "users", ModTime: now}, "contents"},
		tarEntry{Header: tar.Header{Typeflag: tar.TypeLink, Name: "./a/second", Linkname: "./z/first"}},
		tarEntry{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: "/bin", Linkname: "usr/bin", Mode: 0o777}},
		tarEntry{Header: tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777, Uid: 5}},
		tarEntry{Header: tar.Header{Typeflag: tar.TypeChar, Name: "dev/null", Mode: 0o666, Devmajor: 1, Devminor: 3}},
		tarEntry{Header: tar.Header{Typeflag: tar.TypeFifo, Name: "run/pipe", Mode: 0o600}},
		tarEntry{Header: tar.Header{Typeflag: tar.TypeReg, Name: "etc/.wh.gone"}},
		tarEntry{tar.Header{Typeflag: tar.TypeReg, Name: "bin2/ping", Mode: 0o755, PAXRecords: map[string]string{"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\n="}}, "#!"},
		tarEntry{tar.Header{Typeflag: tar.TypeReg, Name: "twice", Mode: 0o600}, "old"},
		tarEntry{tar.Header{Typeflag: tar.TypeReg, Name: "twice", Mode: 0o644}, "new"},
		tarEntry{tar.Header{Typeflag: tar.TypeReg, Name: "big", Mode: 0o644, Uid: 3000000}, strings.Repeat("0123456789", 100000)},
	)
}

const tarSpec = `{"entries": [{"type": "tar", "from": "t", "path": "opt"}], "rename": {"opt/tmp": "tmp"}}`

// A tar's entries come out in order, with all that the tar says of them but their times; how it is compressed is of no consequence.
func TestTar_Golden(t *testing.T) {
	b := aTar(t)
	dir := t.TempDir()
	var first []byte
	for name, text := range map[string][]byte{"plain": b, "gzip": gzipped(t, b), "zstd": zstded(t, b)} {
		check(t, os.WriteFile(filepath.Join(dir, "t"), text, 0o644))
		got, mtree := mustWrite(t, tarSpec, dir)
		golden(t, "tar.mtree", mtree)
		if first == nil {
			first = got
		}
		if !bytes.Equal(got, first) {
			t.Errorf("%s: other bytes", name)
		}
	}
	// What was written is a tar like any other, and comes out as it is.
	check(t, os.WriteFile(filepath.Join(dir, "t"), first, 0o644))
	again, _ := mustWrite(t, `{"entries": [{"type": "tar", "from": "t", "path": ""}]}`, dir)
	if !bytes.Equal(again, first) {
		t.Error("a layer taken as a tar becomes another layer")
	}
}

// What GNU tar writes of a real tree is what a folder entry makes of it.
func TestTar_GNU(t *testing.T) {
	gnu, err := exec.LookPath("tar")
	if err != nil {
		t.Skip("there is no tar")
	}
	dir := tree(t, aTree)
	out := t.TempDir()
	for _, format := range []string{"ustar", "gnu", "pax"} {
		args := []string{"--format=" + format, "--owner=root:0", "--group=root:0", "--mode=u=rwX,go=rX", "-C", dir, "-cf", filepath.Join(out, "t"), "."}
		if text, err := exec.Command(gnu, args...).CombinedOutput(); err != nil {
			t.Fatalf("tar: %v\n%s", err, text)
		}
		got, mtree := mustWrite(t, `{"entries": [{"type": "tar", "from": "t", "path": ""}], "modes": {"run": "0755"}}`, out)
		want, wantMtree := mustWrite(t, `{"entries": [{"type": "folder", "from": ".", "path": ""}]}`, dir)
		if !bytes.Equal(got, want) {
			t.Errorf("%s: got\n%s\nwant\n%s", format, mtree, wantMtree)
		}
		// The other two can say more.
		check(t, os.WriteFile(filepath.Join(dir, strings.Repeat("long", 40)), []byte("x"), 0o644))
	}
}

// Hostile and broken tars: the error names the file and the entry.
func TestTar_Errors(t *testing.T) {
	good := aTar(t)
	file := func(name string) tarEntry {
		return tarEntry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, "x"}
	}
	for _, test := range []struct {
		name string
		tar  []byte
		want string
	}{
		{"empty", nil, "an empty file is no tar"},
		{"text", []byte(strings.Repeat("no tar", 1000)), "archive/tar: invalid tar header"},
		{"cut in a header", good[:1300], "unexpected EOF"},
		{"cut in contents", good[:len(good)-600000], "unexpected EOF"},
		{"cut at an entry", good[:1536], "it doesn't end in two blocks of zeros"},
		{"gzip cut", gzipped(t, good)[:300], "unexpected EOF"},
		{"gzip damaged", append(gzipped(t, good)[:200], 0, 0, 0, 0, 0), "corrupt"},
		{"zstd cut", zstded(t, good)[:300], "unexpected EOF"},
		{"dot dot", tarOf(t, file("a/../../etc/passwd")), `entry "a/../../etc/passwd": the component ".." leads out`},
		{"through a symlink", tarOf(t, tarEntry{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: "x", Linkname: "/etc"}}, file("x/passwd")), "x/passwd (tars: //:t) is below x, which is a symlink to /etc"},
		{"link out", tarOf(t, tarEntry{Header: tar.Header{Typeflag: tar.TypeLink, Name: "x", Linkname: "../x"}}), `hard link: the component ".." leads out`},
		{"link to nothing", tarOf(t, tarEntry{Header: tar.Header{Typeflag: tar.TypeLink, Name: "x", Linkname: "y"}}, file("y")), `hard link to "y": there is no such file before it`},
		{"root as a file", tarOf(t, file(".")), "the root as a file"},
		{"long name", tarOf(t, file(strings.Repeat("x", 256))), "a component of 256 bytes"},
		{"long path", tarOf(t, file(strings.Repeat("x/", 3000)+"x")), "one of 6001 bytes"},
		{"sparse", sparse(t), "a sparse file"},
		{"only a comment", tarOf(t, tarEntry{Header: tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "c"}}}), "the layer is empty"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			check(t, os.WriteFile(filepath.Join(dir, "t"), test.tar, 0o644))
			_, _, err := write(t, `{"entries": [{"type": "tar", "from": "t", "path": "", "by": "tars: //:t"}]}`, dir)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

// sparse is a tar as GNU tar writes it of a file with holes: a kilobyte that promises a terabyte.
func sparse(t testing.TB) []byte {
	t.Helper()
	b := tarOf(t, tarEntry{Header: tar.Header{Typeflag: tar.TypeReg, Name: "holes", Mode: 0o644, Format: tar.FormatGNU}})
	h := b[:512]
	h[156] = tar.TypeGNUSparse
	copy(h[386:], "00000000000\x0000000000000\x00") // one piece, at 0, of no bytes
	copy(h[483:], "17777777777777\x00"[3:])         // the size with its holes
	copy(h[148:], "        ")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

// A tar as it is: the digests of its bytes, and of what they hold.
func TestVerbatim(t *testing.T) {
	b := tarOf(t, tarEntry{tar.Header{Typeflag: tar.TypeReg, Name: "./a", Mode: 0o644}, "x"})
	for compression, blob := range map[string][]byte{layer.None: b, layer.Gzip: gzipped(t, b), layer.Zstd: zstded(t, b)} {
		f, err := Verbatim(t.Context(), bytes.NewReader(blob), compression)
		check(t, err)
		if f.Descriptor.Digest != digest.FromBytes(blob) || f.Descriptor.Size != int64(len(blob)) || f.DiffID != digest.FromBytes(b) ||
			f.UncompressedSize != int64(len(b)) || f.Entries != 1 || f.Compression != compression {
			t.Errorf("%s: got %+v", compression, f)
		}
		text, err := f.Marshal()
		check(t, err)
		if _, err := digestfile.Parse(text); err != nil {
			t.Errorf("%s: %v", compression, err)
		}
		if _, err := Verbatim(t.Context(), bytes.NewReader(blob[:len(blob)/2]), ""); err == nil {
			t.Errorf("%s, cut in half: no error", compression)
		}
	}
	for _, test := range []struct {
		name, compression string
		tar               []byte
		want              string
	}{
		{"empty", "", nil, "an empty file is no tar"},
		{"other compression", layer.Zstd, gzipped(t, b), "want the compression zstd, found gzip"},
		{"no entries", "", tarOf(t), "it has no entries"},
		{"absolute", "", tarOf(t, tarEntry{tar.Header{Typeflag: tar.TypeReg, Name: "/a"}, "x"}), `entry "/a": want names relative to the image's root`},
		{"out", "", tarOf(t, tarEntry{tar.Header{Typeflag: tar.TypeReg, Name: "a/../../b"}, "x"}), `found "a/../../b"`},
		{"link out", "", tarOf(t, tarEntry{Header: tar.Header{Typeflag: tar.TypeLink, Name: "a", Linkname: "/etc/passwd"}}), `found "/etc/passwd"`},
		{"a note of an overlay", "", tarOf(t, tarEntry{Header: tar.Header{Typeflag: tar.TypeDir, Name: "nix/store/", PAXRecords: map[string]string{"SCHILY.xattr.trusted.overlay.opaque": "y"}}}), `entry "nix/store/": its attribute "trusted.overlay.opaque" is a note of an overlay`},
		{"a whiteout of nothing", "", tarOf(t, tarEntry{Header: tar.Header{Typeflag: tar.TypeReg, Name: "a/.wh..."}}), `entry "a/.wh...": a whiteout of ".."`},
		{"garbage behind gzip", "", append(gzipped(t, b), "garbage garbage"...), "invalid header"},
		{"no end", "", b[:1024], "it doesn't end in two blocks of zeros"},
	} {
		_, err := Verbatim(t.Context(), bytes.NewReader(test.tar), test.compression)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want one with %q", test.name, err, test.want)
		}
	}
}

// What an image must know of a layer that isn't made of NARs is in its digest file, whether it is written, or taken as it is.
func TestDigestFile_Survey(t *testing.T) {
	const (
		path = "nix/store/0g80j8fh4wp8p2jmb0a8giig40jzalcj-a"
		want = `[{/nix/store/0g80j8fh4wp8p2jmb0a8giig40jzalcj-a ` + path + `/x false}] &{[me root] false } <nil>`
	)
	const passwd = "root:x:0:0::/:/bin/sh\nme:x:5:5::/:/bin/sh\n"
	b := tarOf(t,
		tarEntry{tar.Header{Typeflag: tar.TypeReg, Name: "./" + path + "/x", Mode: 0o644}, "x"},
		tarEntry{tar.Header{Typeflag: tar.TypeReg, Name: "etc//passwd", Mode: 0o644}, passwd})
	got := func(f *digestfile.File, err error) string {
		t.Helper()
		check(t, err)
		return fmt.Sprint(f.Touched, f.Users, f.Groups)
	}
	if s := got(Verbatim(t.Context(), bytes.NewReader(gzipped(t, b)), "")); s != want {
		t.Errorf("as it is: got %s, want %s", s, want)
	}
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "t"), b, 0o644))
	for _, entries := range [][]Entry{
		{{Type: TypeTar, From: "t"}},
		{{Type: TypeText, Path: path + "/x", Text: "x"}, {Type: TypeText, Path: "etc/passwd", Text: passwd}},
	} {
		// With or without the directories above.
		for _, omit := range []bool{false, true} {
			s := &Spec{Entries: entries, Options: Options{OmitParents: omit}}
			if s := got(Write(t.Context(), io.Discard, s, Sources{Dir: dir}, layer.Options{})); s != want {
				t.Errorf("%s, parents omitted %v: got %s, want %s", entries[0].Type, omit, s, want)
			}
		}
	}
	f, err := Write(t.Context(), io.Discard, &Spec{Entries: []Entry{{Type: TypeUsers, Users: &Users{Users: []User{{Name: "web", UID: 7}}}}}}, Sources{}, layer.Options{})
	if s := got(f, err); s != `[] &{[nobody root web] false } &{[nobody root web] false }` {
		t.Errorf("users: got %s", s)
	}
}

// Clients unpack an entry below a symlink where that leads, and give a file's owner and mode by any of its names: so a tar may
// reach into a store path that no entry of it is named for.
func TestVerbatim_Aliases(t *testing.T) {
	const path = "nix/store/0g80j8fh4wp8p2jmb0a8giig40jzalcj-a"
	file := func(name string) tarEntry {
		return tarEntry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, "x"}
	}
	symlink := func(name, target string) tarEntry {
		return tarEntry{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}}
	}
	hardlink := func(name, target string) tarEntry {
		return tarEntry{Header: tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, Mode: 0o4777}}
	}
	directory := func(name string) tarEntry {
		return tarEntry{Header: tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}}
	}
	into := func(entry string, hides bool) string { return fmt.Sprintf("[{/%s %s %v}]", path, entry, hides) }
	for _, test := range []struct {
		what    string
		entries []tarEntry
		want    string
	}{
		{"a hard link", []tarEntry{hardlink("x", "./"+path+"/bin/x")}, into("x", false)},
		{"a symlink to one", []tarEntry{symlink("a", "/"+path), file("a/bin/x")}, into("a/bin/x", false)},
		{"a relative one", []tarEntry{symlink("srv/a", "../nix"), file("srv/a/store/0g80j8fh4wp8p2jmb0a8giig40jzalcj-a/x")}, into("srv/a/store/0g80j8fh4wp8p2jmb0a8giig40jzalcj-a/x", false)},
		{"one above the root", []tarEntry{symlink("a", "../../../"+path), file("a/x")}, into("a/x", false)},
		{"a chain", []tarEntry{symlink("b", "a/store"), symlink("a", "//nix/."), file("b/0g80j8fh4wp8p2jmb0a8giig40jzalcj-a/x")}, into("b/0g80j8fh4wp8p2jmb0a8giig40jzalcj-a/x", false)},
		{"a whiteout behind one", []tarEntry{symlink("a", "/"+path), file("a/.wh.x")}, into("a/.wh.x", true)},
		{"the last of all that has the name", []tarEntry{symlink("a", "/srv"), symlink("./a", "/"+path), file("a/x")}, into("a/x", false)},
		{"a hard link by way of a symlink", []tarEntry{symlink("a", "/"+path), hardlink("x", "a/bin/x")}, into("x", false)},

		{"a symlink with nothing below it", []tarEntry{symlink("a", "/"+path), file("b/x"), file("ab/x")}, "[]"},
		{"a symlink elsewhere", []tarEntry{symlink("lib", "usr/lib"), file("lib/x")}, "[]"},
		{"a directory in a symlink's place", []tarEntry{symlink("a", "/"+path), directory("a/"), file("a/x")}, "[]"},
		{"a symlink that comes later", []tarEntry{file("a/x"), symlink("a", "/"+path)}, "[]"},
		{"a hard link elsewhere", []tarEntry{file("a"), hardlink("b", "a")}, "[]"},
	} {
		f, err := Verbatim(t.Context(), bytes.NewReader(tarOf(t, test.entries...)), "")
		if err != nil || fmt.Sprint(f.Touched) != test.want {
			t.Errorf("%s: got %+v, %v; want %s", test.what, f, err, test.want)
		}
	}
	for what, entries := range map[string][]tarEntry{
		"a loop":           {symlink("a", "b"), symlink("b", "a"), file("a/x")},
		"a link to itself": {symlink("a", "a/b"), file("a/x")},
	} {
		if _, err := Verbatim(t.Context(), bytes.NewReader(tarOf(t, entries...)), ""); err == nil || !strings.Contains(err.Error(), `entry "a/x": more than 40 symlinks on the way`) {
			t.Errorf("%s: error %v", what, err)
		}
	}
}

// By notes of overlays a layer could hide what is in lower ones without a whiteout: they are no part of a file.
func TestTar_OverlayNotes(t *testing.T) {
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "t"), tarOf(t, tarEntry{Header: tar.Header{Typeflag: tar.TypeDir, Name: "d/", Mode: 0o755, PAXRecords: map[string]string{
		"SCHILY.xattr.trusted.overlay.opaque": "y", "SCHILY.xattr.user.overlay.redirect": "/x", "SCHILY.xattr.user.kept": "z",
	}}}), 0o644))
	b, _ := mustWrite(t, `{"entries": [{"type": "tar", "from": "t", "path": ""}]}`, dir)
	h, err := tar.NewReader(bytes.NewReader(b)).Next()
	check(t, err)
	if got := fmt.Sprint(h.PAXRecords); got != "map[SCHILY.xattr.user.kept:z]" {
		t.Errorf("attributes %s: want those of the file alone", got)
	}
}

// Whatever bytes come as a tar: no panic, and what is taken is a tar that stays as it is when it is taken again.
func FuzzTar(f *testing.F) {
	good := aTar(f)
	f.Add(good[:20480])
	f.Add(gzipped(f, good[:8192]))
	f.Add(zstded(f, good[:8192]))
	f.Add(tarOf(f, tarEntry{tar.Header{Typeflag: tar.TypeReg, Name: "a/../../b", Mode: 0o644}, "x"}))
	f.Add(tarOf(f, tarEntry{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: "x", Linkname: "/etc"}}, tarEntry{tar.Header{Typeflag: tar.TypeReg, Name: "x/y"}, "z"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		name := filepath.Join(t.TempDir(), "t")
		check(t, os.WriteFile(name, b, 0o644))
		take := func(path string) ([]byte, error) {
			var out bytes.Buffer
			s := &Spec{Entries: []Entry{{Type: TypeTar, From: name, Path: path, By: "tars: //:t"}}}
			_, err := Write(t.Context(), &out, s, Sources{}, layer.Options{Compression: layer.None})
			return out.Bytes(), err
		}
		first, err := take("")
		if err != nil {
			return
		}
		for r := tar.NewReader(bytes.NewReader(first)); ; {
			h, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("what was written is no tar: %v", err)
			}
			if clean, err := tarName(h.Name); err != nil || clean != strings.TrimSuffix(h.Name, "/") {
				t.Fatalf("an entry %q", h.Name)
			}
		}
		check(t, os.WriteFile(name, first, 0o644))
		again, err := take("")
		if err != nil {
			t.Fatalf("taken again: %v", err)
		}
		if !bytes.Equal(again, first) {
			t.Fatal("taken again, it is another layer")
		}
	})
}
