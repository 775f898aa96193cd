package inventory

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rules-strata/rules_strata/tool/graph"
	"github.com/rules-strata/rules_strata/tool/image/imagetest"
	"github.com/rules-strata/rules_strata/tool/layer"
	"github.com/rules-strata/rules_strata/tool/store"
)

const testdata = "../../testdata"

// Real layers give back the hashes and sizes of the NARs that they were made of, and
// the references that real Nix found.
func TestRead_Real(t *testing.T) {
	g, err := graph.Read(testdata + "/web/closure/registration")
	if err != nil {
		t.Fatal(err)
	}
	var layers []Layer
	known := map[store.Path]layer.NAR{}
	nars := imagetest.NARs(t, testdata, imagetest.WebCache)
	for _, n := range nars {
		known[n.File.StorePath] = n
	}
	for _, l := range imagetest.Web(t, testdata, "none", 6) {
		layers = append(layers, func() (io.ReadCloser, error) { return os.Open(l.BlobPath) })
	}
	inv, err := Read(t.Context(), layers)
	if err != nil {
		t.Fatal(err)
	}
	if err := inv.References(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(inv.Paths) != len(nars) || inv.Other != (Size{}) {
		t.Errorf("%d paths, %v beside them; want %d", len(inv.Paths), inv.Other, len(nars))
	}
	for _, p := range inv.Paths {
		n := known[p.Path].File
		if p.NarHash != n.NarHash || p.NarSize != n.NarSize || p.NarFault != nil {
			t.Errorf("%s: NarHash %s, NarSize %d (%v), want %s, %d", p.Path, p.NarHash, p.NarSize, p.NarFault, n.NarHash, n.NarSize)
		}
	}
	compared := 0
	for _, node := range g.Nodes {
		p := inv.Find(node.Path)
		if p == nil {
			continue
		}
		compared++
		var got, want []string
		for _, r := range p.References {
			got = append(got, string(r.Path))
		}
		for _, r := range node.References {
			if r != node.Path {
				want = append(want, string(r))
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s refers to\n%s\nwant\n%s", p.Path, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	if compared < 40 {
		t.Errorf("%d paths compared", compared)
	}
	web, zlib := inv.Find("/nix/store/dr6a8bs5f2hyww3awb6nnhxlg3qvfdhr-web-1.0"), inv.Find("/nix/store/fvs78lpr01zrij0j6yxwkvvdpahsav7f-zlib-1.2.13")
	chain := inv.Why([]*Path{web}, zlib)
	if len(chain) < 2 || chain[0] != web || chain[len(chain)-1] != zlib {
		t.Errorf("web leads to zlib by %v", chain)
	}
	for i := range chain[1:] {
		if !slices.Contains(chain[i].References, chain[i+1]) {
			t.Errorf("%s doesn't refer to %s", chain[i].Path, chain[i+1].Path)
		}
	}
	if inv.Why([]*Path{zlib}, web) != nil {
		t.Error("zlib leads to web")
	}
}

// A hash part is found wherever the pieces part.
func TestScanner(t *testing.T) {
	const part = "dr6a8bs5f2hyww3awb6nnhxlg3qvfdhr"
	p := &Path{Path: "/nix/store/" + part + "-web-1.0"}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SliceOfN(rapid.SampledFrom([]byte("abe/-dr6")), 0, 100)
		before, after := text.Draw(t, "before"), text.Draw(t, "after")
		whole := slices.Concat(before, []byte(part), after)
		if !rapid.Bool().Draw(t, "there") {
			whole[len(before)+rapid.IntRange(0, len(part)-1).Draw(t, "at")] = 'e' // no character of base 32
		}
		s := &scanner{known: map[string][]*Path{part: {p}}, found: map[*Path]bool{}}
		rest := whole
		for len(rest) > 0 {
			n := rapid.IntRange(1, len(rest)).Draw(t, "piece")
			s.scan(rest[:n])
			rest = rest[n:]
		}
		if got, want := s.found[p], bytes.Contains(whole, []byte(part)); got != want {
			t.Fatalf("found: %v, want %v", got, want)
		}
	})
}

func TestRead_Odd(t *testing.T) {
	const a, b = "nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "./nix/store/171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-b"
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, h := range []tar.Header{
		{Typeflag: tar.TypeDir, Name: "nix/"},
		{Typeflag: tar.TypeDir, Name: a},
		{Typeflag: tar.TypeReg, Name: "/" + b[2:], Mode: 0o555},
		{Typeflag: tar.TypeReg, Name: a + "/z", Mode: 0o444},
		{Typeflag: tar.TypeReg, Name: "etc/passwd", Mode: 0o444},
		{Typeflag: tar.TypeDir, Name: "opt/store/5lmyxh3w0h9xc6qzp6nivvjbiaxc42gi-c/"},
		{Typeflag: tar.TypeFifo, Name: "opt/store/5lmyxh3w0h9xc6qzp6nivvjbiaxc42gi-c/pipe"},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	inv, err := Read(t.Context(), []Layer{func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil }})
	if err != nil {
		t.Fatal(err)
	}
	if len(inv.Paths) != 3 || inv.Other.Entries != 1 {
		t.Fatalf("%d paths, %d others", len(inv.Paths), inv.Other.Entries)
	}
	for i, want := range []string{"aren't all in one place", "", "which no NAR has"} {
		p := inv.Paths[i]
		if want == "" && p.NarFault != nil || want != "" && (p.NarFault == nil || !strings.Contains(p.NarFault.Error(), want) || !p.NarHash.IsZero()) {
			t.Errorf("%s: %v, want %q", p.Path, p.NarFault, want)
		}
	}
}

// No tar makes it panic; what it says of a path's NAR are the bytes of one.
func FuzzRead(f *testing.F) {
	b, err := os.ReadFile(imagetest.Mini(f, testdata, "none")[2].BlobPath)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b[:min(len(b), 30<<10)])
	f.Fuzz(func(t *testing.T, b []byte) {
		l := []Layer{func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }}
		inv, err := Read(context.Background(), l)
		if err != nil {
			return
		}
		for _, p := range inv.Paths {
			if _, err := store.ParsePath(string(p.Path)); err != nil || p.NarHash.IsZero() != (p.NarFault != nil) {
				t.Fatalf("%+v (%v)", p, err)
			}
		}
		if err := inv.References(context.Background()); err != nil {
			t.Fatal(err)
		}
	})
}
