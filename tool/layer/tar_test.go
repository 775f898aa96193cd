package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rules-strata/rules_strata/tool/nar"
)

// tarBytes returns what f writes.
var defaultFormat = newTarFormat(Owner{UserName: ownerName, GroupName: ownerName}, mtimeUnix)

func tarBytes(tb testing.TB, f func(*tarWriter) error) []byte {
	tb.Helper()
	r := newRing(tb.Context(), 1)
	var b bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.each(0, func(p []byte) error { b.Write(p); return nil })
	}()
	t := &tarWriter{tarFormat: defaultFormat, out: r}
	if err := f(t); err != nil {
		tb.Fatal(err)
	}
	r.close()
	<-done
	return b.Bytes()
}

// Which names get a pax header, and which records are in it.
func TestHeader_Pax(t *testing.T) {
	const a100 = "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggghhhhhhhhhhiiiiiiiiiijjjjjjjjjj"
	a155 := a100 + a100[:55]
	for _, c := range []struct {
		what, name, link string
		size             int64
		keys             string
	}{
		{"name that fills the field", a100, "", 0, ""},
		{"name one too long", a100 + "a", "", 0, "path"},
		{"longest ustar path", a155 + "/" + a100, "", 0, ""},
		{"prefix one too long", a155 + "a/" + a100, "", 0, "path"},
		{"name after prefix one too long", a155 + "/" + a100 + "a", "", 0, "path"},
		{"several slashes to choose from", "x/" + a100[:90] + "/y/" + a100[:97], "", 0, ""},
		{"directory with a prefix", a155 + "/" + a100[:99] + "/", "", 0, ""},
		{"directory with a prefix, one too long", a155 + "/" + a100 + "/", "", 0, "path"},
		{"directory whose only slash is the last", a100 + "/", "", 0, "path"},
		{"UTF-8", "d\u00e9", "", 0, "path"},
		{"not UTF-8", "d\xe9", "", 0, ""},
		{"not UTF-8, with prefix", a100 + "\xe9/" + a100, "", 0, ""},
		{"not UTF-8, too long", a100 + "\xe9", "", 0, "hdrcharset path"},
		{"target that fills the field", "l", a100, 0, ""},
		{"target one too long", "l", a100 + "a", 0, "linkpath"},
		{"UTF-8 target", "l", "\u00fc", 0, "linkpath"},
		{"target not UTF-8", "l", "\xfc", 0, ""},
		{"long target not UTF-8", "l", a100 + "\xfc", 0, "hdrcharset linkpath"},
		{"UTF-8 name, long target not UTF-8", "d\u00e9", a100 + "\xfc", 0, "hdrcharset linkpath path"},
		{"UTF-8 name, short target not UTF-8", "d\u00e9", "\xfc", 0, "path"},
		{"greatest ustar size", "f", "", 8<<30 - 1, ""},
		{"8 GiB", "f", "", 8 << 30, "size"},
		{"greatest size there is", "f", "", 1<<63 - 1, "size"},
	} {
		h := defaultFormat.regular
		switch {
		case c.link != "":
			h = defaultFormat.symlink
		case strings.HasSuffix(c.name, "/"):
			h = defaultFormat.directory
		}
		b := tarBytes(t, func(t *tarWriter) error { return t.header(h, noMode, []byte(c.name), []byte(c.link), c.size) })
		got, err := tar.NewReader(bytes.NewReader(b)).Next()
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
			continue
		}
		var keys []string
		for k := range got.PAXRecords {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		if got.Name != c.name || got.Linkname != c.link || got.Size != c.size || strings.Join(keys, " ") != c.keys {
			t.Errorf("%s: read back name %q, target %q, size %d, pax records %q; want records %q",
				c.what, got.Name, got.Linkname, got.Size, keys, c.keys)
		}
		if want := len(b) % blockSize; want != 0 {
			t.Errorf("%s: %d bytes, not whole blocks", c.what, len(b))
		}
	}
}

// A record's length counts its own digits.
func TestAppendRecord(t *testing.T) {
	for n := range 1100 {
		rec := appendRecord(nil, "path", strings.Repeat("x", n))
		var length int
		if _, err := fmt.Sscanf(string(rec), "%d ", &length); err != nil || length != len(rec) {
			t.Fatalf("value of %d bytes: the record says %d, has %d", n, length, len(rec))
		}
	}
}

// oddTree has all that tells readers of tars apart.
func oddTree() []node {
	s := func(n int) string { return strings.Repeat("s", n) }
	nodes := []node{
		dir(""),
		file(".wh.a", "a name that means something to others"),
		file("a", "contents\n"),
		file("b\u00e9", "UTF-8"),
		file("c\xe9", "not UTF-8"),
		dir("d"),
		file("d/"+s(253), "one long name"),
		file("d/"+s(253)+"\u00e9", "255 bytes of UTF-8"),
		file("d/"+s(253)+"\xff\xfe", "255 bytes, not UTF-8"),
		dir("d/\xff"),
		executable("e x\ne\tc", "#!/bin/sh\n"),
		file("empty", ""),
		dir("empty-dir"),
		file("exactly-one-block", strings.Repeat("b", 512)),
		dir("f"),
	}
	path := "f" // Over 3,000 bytes in the end; clients unpack below 4,096.
	for i := range 30 {
		path += fmt.Sprintf("/%02d", i) + s(97)
		nodes = append(nodes, dir(path))
	}
	return append(nodes,
		file(path+"/deep", "down here"),
		symlink("l-4095", strings.Repeat("0123456789/bcde", 273)),
		symlink("l-absolute", "/etc/passwd"),
		symlink("l-dangling", "nowhere"),
		symlink("l-long-not-utf8", s(120)+"\xe9"),
		symlink("l-not-utf8", "c\xe9"),
		symlink("l-utf8\u00fc", "b\u00e9"),
		symlink("l-utf8\u00fd-long", strings.Repeat("\u00fc", 300)),
		file("name with = and 12 hdrcharset=X", "x"),
		file("z*?[]\\'\"$", "shell"),
	)
}

const oddBase = "00000000000000000000000000000000-odd"

// tree is nodes as name → what: type, mode, contents or target.
func treeOf(nodes []node) map[string]string {
	m := map[string]string{"nix": "dir 755", "nix/store": "dir 755"}
	for _, n := range nodes {
		name := "nix/store/" + oddBase
		if len(n.Path) > 0 {
			name += "/" + string(n.Path)
		}
		switch {
		case n.Kind == nar.Directory:
			m[name] = "dir 555"
		case n.Kind == nar.Symlink:
			m[name] = "symlink " + string(n.Target)
		case n.Executable:
			m[name] = "file 555 " + n.contents
		default:
			m[name] = "file 444 " + n.contents
		}
	}
	return m
}

func compareTrees(t *testing.T, got, want map[string]string) {
	t.Helper()
	for name, w := range want {
		if g, ok := got[name]; !ok {
			t.Errorf("missing: %.300q", name)
		} else if g != w {
			t.Errorf("%.300q: got %.200q, want %.200q", name, g, w)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("should not be there: %.300q", name)
		}
	}
}

// oddNARs are the odd tree, and store paths that are no directory.
func oddNARs(tb testing.TB) []NAR {
	return []NAR{
		fromBytes(oddBase, makeNAR(tb, oddTree()...)),
		fromBytes(oddBase+"-executable", makeNAR(tb, executable("", "#!/bin/sh\n"))),
		fromBytes(oddBase+"-file", makeNAR(tb, file("", "all of it"))),
		fromBytes(oddBase+"-symlink", makeNAR(tb, symlink("", "/nix/store/"+oddBase+"/a"))),
	}
}

// The four readers that matter unpack what the NARs said, byte for byte, without complaint.
func TestReaders_Unpack(t *testing.T) {
	blob := mustWrite(t, oddNARs(t), Options{AllowWhiteoutNames: true})
	want := treeOf(oddTree())
	want["nix/store/"+oddBase+"-executable"] = "file 555 #!/bin/sh\n"
	want["nix/store/"+oddBase+"-file"] = "file 444 all of it"
	want["nix/store/"+oddBase+"-symlink"] = "symlink /nix/store/" + oddBase + "/a"

	t.Run("Go", func(t *testing.T) {
		got := map[string]string{}
		r := tar.NewReader(bytes.NewReader(blob))
		for {
			h, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			what := map[byte]string{
				tar.TypeDir:     fmt.Sprintf("dir %o", h.Mode),
				tar.TypeSymlink: "symlink " + h.Linkname,
				tar.TypeReg:     fmt.Sprintf("file %o %s", h.Mode, b),
			}[h.Typeflag]
			name := strings.TrimSuffix(h.Name, "/")
			if _, twice := got[name]; twice {
				t.Errorf("twice: %q", name)
			}
			got[name] = what
		}
		compareTrees(t, got, want)
	})
	for _, reader := range []struct {
		name    string
		args    []string
		message string // the only thing it may say
	}{
		// GNU tar follows a pax header that it doesn't know all of, see tarWriter.
		{"tar", []string{"-xpf", "-"}, "Ignoring unknown extended header keyword 'hdrcharset'"},
		{"bsdtar", []string{"-xpf", "-"}, ""},
		{"python3", []string{"-c", "import sys, tarfile; tarfile.open(fileobj=sys.stdin.buffer, mode='r|').extractall('.')"}, ""},
	} {
		t.Run(reader.name, func(t *testing.T) {
			program := lookPath(t, reader.name)
			dir := t.TempDir()
			t.Cleanup(func() { makeWritable(dir) })
			cmd := exec.Command(program, reader.args...)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "PYTHONWARNINGS=ignore")
			cmd.Stdin = bytes.NewReader(blob)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			for line := range strings.Lines(string(out)) {
				if reader.message == "" || !strings.HasSuffix(line, reader.message+"\n") {
					t.Errorf("it says: %s", line)
				}
			}
			compareTrees(t, treeOnDisk(t, dir), want)
		})
	}
}

// lookPath finds a program, or skips the test where it isn't installed, unless STRATA_REQUIRE_CLIENTS=1 says that it must be.
func lookPath(t *testing.T, name string) string {
	t.Helper()
	program, err := exec.LookPath(name)
	switch {
	case err == nil:
	case os.Getenv("STRATA_REQUIRE_CLIENTS") == "1":
		t.Fatalf("%s is not installed", name)
	default:
		t.Skipf("%s is not installed", name)
	}
	return program
}

// treeOnDisk reads what a reader unpacked into root.
func treeOnDisk(t *testing.T, root string) map[string]string {
	t.Helper()
	m := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		var what string
		switch {
		case d.IsDir():
			what = fmt.Sprintf("dir %o", info.Mode().Perm())
		case info.Mode().IsRegular():
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			what = fmt.Sprintf("file %o %s", info.Mode().Perm(), b)
		default:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			what = "symlink " + target
		}
		// Python leaves symlinks the time at which it made them.
		if info.Mode()&os.ModeSymlink == 0 && info.ModTime().Unix() != mtimeUnix {
			what += fmt.Sprintf(" mtime %d", info.ModTime().Unix())
		}
		m[path[len(root)+1:]] = what
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// makeWritable lets the test's directory be removed: directories of a store are read-only.
func makeWritable(root string) {
	filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			os.Chmod(path, 0o755)
		}
		return nil
	})
}

// Paths over PATH_MAX can't be unpacked anywhere, but are right in the tar; and
// a file of 8 GiB or more is read with its whole size (the tar is a sparse file).
func TestReaders_List(t *testing.T) {
	const size = 8<<30 + 5
	long := []byte("nix/store/" + oddBase + strings.Repeat("/"+strings.Repeat("p", 255), 60))
	head := tarBytes(t, func(w *tarWriter) error {
		if err := w.header(defaultFormat.regular, noMode, long, nil, 0); err != nil {
			return err
		}
		return w.header(defaultFormat.executable, noMode, []byte("nix/big"), nil, size)
	})
	path := filepath.Join(t.TempDir(), "big.tar")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(head); err != nil {
		t.Fatal(err)
	}
	end := int64(len(head)) + (size+blockSize-1)/blockSize*blockSize
	last := tarBytes(t, func(w *tarWriter) error {
		if err := w.header(defaultFormat.symlink, noMode, []byte("nix/last"), []byte("x"), 0); err != nil {
			return err
		}
		return w.end()
	})
	if _, err := f.WriteAt(last, end); err != nil {
		t.Skipf("no sparse file of 8 GiB can be had here: %v", err)
	}
	want := fmt.Sprintf("0 %s\n%d nix/big\n0 nix/last\n", long, int64(size))

	t.Run("Go", func(t *testing.T) {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		r := tar.NewReader(f)
		var got strings.Builder
		for {
			h, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&got, "%d %s\n", h.Size, h.Name)
		}
		if got.String() != want {
			t.Errorf("got %q", got.String())
		}
	})
	for _, reader := range []struct {
		name string
		args []string
		size int // the column of the size; the name is what follows the last time, or all
	}{
		{"tar", []string{"--numeric-owner", "--full-time", "-tvf", path}, 2},
		{"bsdtar", []string{"-tvf", path}, 4},
		{"python3", []string{"-c", "import sys, tarfile\nfor m in tarfile.open(sys.argv[1]): print('-', m.size, m.name)", path}, 1},
	} {
		t.Run(reader.name, func(t *testing.T) {
			program := lookPath(t, reader.name)
			cmd := exec.CommandContext(context.Background(), program, reader.args...)
			cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			var got strings.Builder
			for line := range strings.Lines(strings.TrimSuffix(strings.ReplaceAll(string(out), " -> x", ""), "\n")) {
				f := strings.Fields(line)
				fmt.Fprintf(&got, "%s %s\n", f[reader.size], f[len(f)-1])
			}
			if got.String() != want {
				t.Errorf("got %.400q", got.String())
			}
		})
	}
}

// What options make of a layer, owners that ustar can't say among it, all four read in the same way.
func TestReaders_Options(t *testing.T) {
	mtime := int64(1<<33 - 1)
	blob := mustWrite(t, []NAR{fromBytes(oddBase, makeNAR(t,
		dir(""), dir("bin"), executable("bin/sudo", "x"), file("etc", "yy"), symlink("link", "etc"), file("out", "z")))}, Options{
		Owner:     &Owner{UID: 4_000_000_000, GID: 3_000_000, UserName: "user", GroupName: "group"},
		MtimeUnix: &mtime,
		Exclude:   []Pattern{pattern(t, "out")},
		Modes:     []ModeRule{{pattern(t, "bin/*"), 0o6755}, {pattern(t, "etc"), 0}},
	})
	const above, owned = " 0 0 8589934591 0 ", " 4000000000 3000000 8589934591 "
	want := strings.Join([]string{
		"755" + above + "nix", "755" + above + "nix/store", "555" + owned + "0 nix/store/" + oddBase, "555" + owned + "0 nix/store/" + oddBase + "/bin",
		"6755" + owned + "1 nix/store/" + oddBase + "/bin/sudo", "0" + owned + "2 nix/store/" + oddBase + "/etc", "777" + owned + "0 nix/store/" + oddBase + "/link", "",
	}, "\n")

	t.Run("Go", func(t *testing.T) {
		var got strings.Builder
		r := tar.NewReader(bytes.NewReader(blob))
		for {
			h, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&got, "%o %d %d %d %d %s\n", h.Mode, h.Uid, h.Gid, h.ModTime.Unix(), h.Size, strings.TrimSuffix(h.Name, "/"))
		}
		if got.String() != want {
			t.Errorf("got\n%swant\n%s", got.String(), want)
		}
	})
	t.Run("python3", func(t *testing.T) {
		cmd := exec.Command(lookPath(t, "python3"), "-c",
			"import sys, tarfile\nfor m in tarfile.open(fileobj=sys.stdin.buffer, mode='r|'): print('%o' % m.mode, m.uid, m.gid, m.mtime, m.size, m.name)")
		cmd.Stdin = bytes.NewReader(blob)
		if got, err := cmd.Output(); err != nil || string(got) != want {
			t.Errorf("%v, got\n%swant\n%s", err, got, want)
		}
	})
	t.Run("bsdtar", func(t *testing.T) {
		cmd := exec.Command(lookPath(t, "bsdtar"), "--format=mtree", "--options=!all,mode,uid,gid,time,size", "-cf", "-", "@-")
		cmd.Stdin = bytes.NewReader(blob)
		text, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); strings.HasPrefix(line, "./") {
				v := map[string]string{"size": "0"}
				for _, word := range f[1:] {
					key, value, _ := strings.Cut(word, "=")
					v[key] = value
				}
				got = append(got, fmt.Sprintf("%s %s %s %s %s %s", v["mode"], v["uid"], v["gid"], strings.TrimSuffix(v["time"], ".0"), v["size"], f[0][2:]))
			}
		}
		slices.SortFunc(got, func(a, b string) int { // It lists directories last.
			return strings.Compare(a[strings.LastIndexByte(a, ' '):], b[strings.LastIndexByte(b, ' '):])
		})
		if got := strings.Join(got, "\n") + "\n"; got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	})
	t.Run("tar", func(t *testing.T) {
		cmd := exec.Command(lookPath(t, "tar"), "--numeric-owner", "--full-time", "-tvf", "-")
		cmd.Stdin = bytes.NewReader(blob)
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TZ=UTC")
		text, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for line := range strings.Lines(strings.ReplaceAll(string(text), " -> etc", "")) {
			f := strings.Fields(line)
			uid, gid, _ := strings.Cut(f[1], "/")
			at, err := time.Parse(time.DateTime, f[3]+" "+f[4])
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			fmt.Fprintf(&got, "%s %s %s %d %s %s\n", modeOfListing(f[0]), uid, gid, at.Unix(), f[2], strings.TrimSuffix(f[5], "/"))
		}
		if got.String() != want {
			t.Errorf("got\n%swant\n%s", got.String(), want)
		}
	})
}

// modeOfListing is the octal mode that "-rwsr-sr-x" says.
func modeOfListing(s string) string {
	mode := 0
	for i, c := range s[1:] {
		bit := 1 << (8 - i)
		switch c {
		case 's', 't':
			mode |= bit
			fallthrough
		case 'S', 'T':
			mode |= 0o4000 >> (i / 3)
		case '-':
		default:
			mode |= bit
		}
	}
	return fmt.Sprintf("%o", mode)
}

// The whole layer of testdata's oddities, as text, so that a change can be
// reviewed. Written anew by: STRATA_UPDATE_GOLDEN=1 go test ./tool/layer -run Golden
func TestWrite_Golden(t *testing.T) {
	const golden = "testdata/oddities.list"
	n := cached(t, webDir+"/cache", "asn0wpn021jshb0g4kh09vy554qv14a2-oddities-1.0")
	blob := mustWrite(t, []NAR{n}, Options{})
	got := "# type mode uid gid user group mtime size sha256 name target pax-records\n" +
		strings.Join(listing(t, bytes.NewReader(blob)), "\n") + "\n"
	if os.Getenv("STRATA_UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(golden, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range min(len(gotLines), len(wantLines)) {
		if gotLines[i] != wantLines[i] {
			t.Fatalf("line %d:\n got %s\nwant %s", i+1, gotLines[i], wantLines[i])
		}
	}
	t.Fatalf("%d lines, want %d", len(gotLines), len(wantLines))
}
