package layer

import (
	"archive/tar"
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rules-strata/rules_strata/tool/nar"
	"github.com/rules-strata/rules_strata/tool/narfile"
)

// referenceTar is what the engine does, done plainly: one goroutine,
// archive/tar, no buffers of its own. The engine must agree with it.
func referenceTar(tb testing.TB, nars []NAR) []byte {
	tb.Helper()
	nars, err := sorted(nars)
	if err != nil {
		tb.Fatal(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	put := func(h *tar.Header, r io.Reader) {
		h.ModTime = time.Unix(1, 0)
		h.Format = tar.FormatUSTAR
		err := w.WriteHeader(h)
		if err != nil { // ustar can't say it; the writer is as it was.
			h.Format = tar.FormatPAX
			err = w.WriteHeader(h)
		}
		if err != nil {
			tb.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg {
			return
		}
		if _, err := io.Copy(w, r); err != nil {
			tb.Fatal(err)
		}
	}
	above := ""
	for part := range strings.SplitSeq(nars[0].File.StorePath.Dir()[1:], "/") {
		above += part + "/"
		put(&tar.Header{Typeflag: tar.TypeDir, Name: above, Mode: 0o755}, nil)
	}
	for _, n := range nars {
		src, err := n.Open(tb.Context())
		if err != nil {
			tb.Fatal(err)
		}
		var f narfile.Reader
		if err := f.Reset(src, n.File); err != nil {
			tb.Fatal(err)
		}
		r := nar.NewReader(&f)
		for {
			e, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				tb.Fatal(err)
			}
			h := &tar.Header{Name: string(n.File.StorePath[1:]), Uname: "root", Gname: "root"}
			if len(e.Path) > 0 {
				h.Name += "/" + string(e.Path)
			}
			switch e.Kind {
			case nar.Directory:
				h.Typeflag, h.Mode = tar.TypeDir, 0o555
				h.Name += "/"
			case nar.Symlink:
				h.Typeflag, h.Mode, h.Linkname = tar.TypeSymlink, 0o777, string(e.Target)
			default:
				h.Typeflag, h.Mode, h.Size = tar.TypeReg, 0o444, e.Size
				if e.Executable {
					h.Mode = 0o555
				}
			}
			put(h, r)
		}
		src.Close()
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// Where no pax header is needed, the tar is archive/tar's to the byte; where
// one is, it says the same.
func TestWrite_Reference(t *testing.T) {
	nars := wholeCache(t, webDir+"/cache")
	plain := 0
	for _, n := range nars {
		got := mustWrite(t, []NAR{n}, Options{})
		want := referenceTar(t, []NAR{n})
		wantLines := listing(t, bytes.NewReader(want))
		if !slices.ContainsFunc(wantLines, func(l string) bool { return !strings.HasSuffix(l, "\t-") }) {
			plain++
			if !bytes.Equal(got, want) {
				t.Errorf("%s: the bytes differ", n.File.StorePath)
			}
		} else if !slices.Equal(listing(t, bytes.NewReader(got)), wantLines) {
			t.Errorf("%s: the entries differ", n.File.StorePath)
		}
	}
	if plain < len(nars)*3/4 {
		t.Errorf("only %d of %d store paths compared byte for byte", plain, len(nars))
	}
}
