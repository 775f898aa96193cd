package layer

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rules-strata/rules_strata/tool/nar"
	"github.com/rules-strata/rules_strata/tool/narfile"
	"github.com/rules-strata/rules_strata/tool/narinfo"
)

// narOfTar makes the NAR again from the tar of a layer that holds one store
// path. Since a tree has one NAR only, getting the same bytes back shows that
// the tar says all that the NAR said, in its order.
func narOfTar(tb fataler, b []byte) []byte {
	tb.Helper()
	var out bytes.Buffer
	w := nar.NewWriter(&out)
	r := tar.NewReader(bytes.NewReader(b))
	for i := 0; ; i++ {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			tb.Fatalf("entry %d: %v", i, err)
		}
		if h.ModTime.Unix() != mtimeUnix || h.Uid != 0 || h.Gid != 0 {
			tb.Fatalf("%q: time %v, owner %d:%d", h.Name, h.ModTime, h.Uid, h.Gid)
		}
		if i < 2 {
			if want := []string{"nix/", "nix/store/"}[i]; h.Name != want || h.Mode != modeStoreDir || h.Typeflag != tar.TypeDir {
				tb.Fatalf("entry %d: %q, mode %o, type %c; want %s", i, h.Name, h.Mode, h.Typeflag, want)
			}
			continue
		}
		name := h.Name
		e := nar.Entry{Size: h.Size, Target: []byte(h.Linkname)}
		switch {
		case h.Typeflag == tar.TypeDir && h.Mode == modeDirectory && strings.HasSuffix(name, "/"):
			e.Kind = nar.Directory
			name = strings.TrimSuffix(name, "/")
		case h.Typeflag == tar.TypeSymlink && h.Mode == modeSymlink:
			e.Kind = nar.Symlink
		case h.Typeflag == tar.TypeReg && (h.Mode == modeRegular || h.Mode == modeExecutable):
			e.Kind = nar.Regular
			e.Executable = h.Mode == modeExecutable
		default:
			tb.Fatalf("%q: type %c with mode %o", name, h.Typeflag, h.Mode)
		}
		path, ok := strings.CutPrefix(name, "nix/store/"+oddBase)
		if !ok || path != "" && path[0] != '/' {
			tb.Fatalf("%q is not in the store path", name)
		}
		e.Path = []byte(strings.TrimPrefix(path, "/"))
		if err := w.WriteEntry(&e); err != nil {
			tb.Fatal(err)
		}
		if _, err := io.Copy(w, r); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// Any tree comes through: names of all lengths and bytes, deep paths, long
// targets, files of every size around a block's and a chunk's.
func TestWrite_RoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawNAR(t)
		var b bytes.Buffer
		if _, err := Write(t.Context(), &b, []NAR{fromBytes(oddBase, in)}, Options{Compression: None, AllowWhiteoutNames: true}); err != nil {
			t.Fatal(err)
		}
		if out := narOfTar(t, b.Bytes()); !bytes.Equal(out, in) {
			t.Fatalf("the tar's tree has another NAR: %d bytes, want %d", len(out), len(in))
		}
	})
}

func drawNAR(t *rapid.T) []byte {
	var nodes []node
	drawNode(t, &nodes, "", rapid.IntRange(0, 12).Draw(t, "depth"))
	return makeNAR(t, nodes...)
}

var (
	names = rapid.Custom(func(t *rapid.T) string {
		switch rapid.IntRange(0, 5).Draw(t, "sort of name") {
		case 0: // anything that a name may hold
			s := rapid.SliceOfN(rapid.Byte().Filter(func(c byte) bool { return c != 0 && c != '/' }), 1, 20).Draw(t, "bytes")
			if s[0] == '.' && len(s) < 3 {
				return "dots"
			}
			return string(s)
		case 1:
			return rapid.StringMatching(`[äöü€😀a-z]{1,40}`).Draw(t, "text")
		case 2:
			return strings.Repeat("n", rapid.IntRange(1, nar.MaxNameLen).Draw(t, "length"))
		case 3:
			return strings.Repeat("\xfe", rapid.IntRange(1, nar.MaxNameLen).Draw(t, "length"))
		}
		return rapid.StringMatching(`[a-zA-Z0-9._+-]{3,30}`).Draw(t, "name")
	})
	targets = rapid.OneOf(
		rapid.StringMatching(`[a-z./ü]{1,300}`),
		rapid.Map(rapid.IntRange(1, nar.MaxTargetLen), func(n int) string { return strings.Repeat("t", n) }),
		rapid.Map(rapid.IntRange(1, nar.MaxTargetLen), func(n int) string { return strings.Repeat("\xff", n) }),
	)
	sizes = rapid.OneOf(
		rapid.IntRange(0, 2000),
		rapid.SampledFrom([]int{0, 511, 512, 513, 1024, chunkSize - 512, chunkSize - 1, chunkSize, chunkSize + 1, 3*chunkSize + 7}),
	)
)

func drawNode(t *rapid.T, nodes *[]node, path string, depth int) {
	kind := rapid.IntRange(0, 9).Draw(t, "kind")
	switch {
	case kind == 0:
		*nodes = append(*nodes, symlink(path, targets.Draw(t, "target")))
	case kind <= 2 || depth == 0:
		n := file(path, strings.Repeat("x", sizes.Draw(t, "size")))
		n.Executable = kind == 1
		*nodes = append(*nodes, n)
	default:
		*nodes = append(*nodes, dir(path))
		names := rapid.SliceOfNDistinct(names, 0, 3, rapid.ID).Draw(t, "names")
		slices.Sort(names)
		for _, name := range names {
			if path != "" {
				name = path + "/" + name
			}
			drawNode(t, nodes, name, depth-1)
		}
	}
}

// Whatever the bytes, the engine doesn't panic, and when it takes them for a
// NAR, the tar has the very tree: its NAR is those bytes again.
func FuzzWrite(f *testing.F) {
	add := func(dir, base string) {
		n := cached(f, dir, base)
		if n.File.NarSize > 100_000 {
			return
		}
		src, err := n.Open(f.Context())
		if err != nil {
			return // That is what is wrong with this one.
		}
		defer src.Close()
		n.File.FileHash = [32]byte{}
		var r narfile.Reader
		if err := r.Reset(src, n.File); err != nil {
			f.Fatal(err)
		}
		b, _ := io.ReadAll(&r) // As far as it goes.
		f.Add(b)
	}
	bad, err := filepath.Glob(webDir + "/bad/*/*.narinfo")
	if err != nil || len(bad) == 0 {
		f.Fatal("no bad caches", err)
	}
	for _, p := range bad {
		if text, err := os.ReadFile(p); err != nil {
			f.Fatal(err)
		} else if info, err := narinfo.Parse(text); err == nil && info.StorePath.Dir() == "/nix/store" {
			add(filepath.Dir(p), strings.TrimSuffix(filepath.Base(p), ".narinfo"))
		}
	}
	add(webDir+"/cache", "asn0wpn021jshb0g4kh09vy554qv14a2")
	add(webDir+"/variants/not-utf8", "7m2axs1nmhaasyxj9k6h1k6cd5pkqnai")
	f.Add(makeNAR(f, oddTree()...))
	f.Add(makeNAR(f, symlink("", "x")))
	f.Fuzz(func(t *testing.T, in []byte) {
		var b bytes.Buffer
		if _, err := Write(t.Context(), &b, []NAR{fromBytes(oddBase, in)}, Options{Compression: None, AllowWhiteoutNames: true}); err != nil {
			return
		}
		out := narOfTar(t, b.Bytes())
		if !bytes.Equal(out, in) {
			t.Fatalf("accepted, but the tar's tree has another NAR:\n in %q\nout %q", in, out)
		}
	})
}
