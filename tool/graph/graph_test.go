package graph_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/graph"
	"github.com/rules-strata/rules_strata/tool/narinfo"
	"github.com/rules-strata/rules_strata/tool/store"
)

// testdata holds what real Nix 2.8 and 2.34 and real Guix wrote.
const testdata = "../../testdata/web"

func readFile(t testing.TB, elem ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(append([]string{testdata}, elem...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// attrsClosure is the list that nixpkgs' closureInfo takes out of the structured attributes.
func attrsClosure(t testing.TB) string {
	_, list, ok := strings.Cut(readFile(t, "closure/attrs.json"), `"closure":`)
	end := strings.Index(list, "}]")
	if !ok || end < 0 {
		t.Fatal("attrs.json has no closure")
	}
	return list[:end+2]
}

// realForms are one closure, as each tool tells it.
func realForms(t testing.TB) map[string]string {
	return map[string]string{
		"registration":             readFile(t, "closure/registration"),
		"path-info, Nix 2.8":       readFile(t, "closure/path-info-nix-2.8.json"),
		"path-info, format 1":      readFile(t, "closure/path-info-nix-2.34-format1.json"),
		"path-info, format 2":      readFile(t, "closure/path-info-nix-2.34-format2.json"),
		"structured attributes":    attrsClosure(t),
		"two references graphs":    readFile(t, "closure/exportReferencesGraph.txt") + readFile(t, "closure/exportReferencesGraph-customisation.txt"),
		"references graph of web":  readFile(t, "closure/exportReferencesGraph.txt"),
		"references graph of more": readFile(t, "closure/exportReferencesGraph-customisation.txt"),
	}
}

// Each form of what real Nix wrote says of each path what its signed narinfo says.
func TestParse_RealForms(t *testing.T) {
	roots := strings.Fields(readFile(t, "closure/roots"))
	for name, text := range realForms(t) {
		g, err := graph.Parse([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := slices.Clone(roots)
		hashes := !strings.Contains(name, "references graph")
		switch name {
		case "two references graphs":
			want = roots[:2]
		case "references graph of web":
			want = roots[:1]
		case "references graph of more":
			want = roots[1:2]
		}
		var tops []string
		for _, p := range g.Tops() {
			tops = append(tops, string(p))
		}
		slices.Sort(want)
		if !slices.Equal(tops, want) {
			t.Errorf("%s: the tops are %s, want %s", name, tops, want)
		}
		if g.StoreDir() != "/nix/store" || len(g.Outputs) != 0 {
			t.Errorf("%s: got store directory %s, outputs %v", name, g.StoreDir(), g.Outputs)
		}
		if hashes && len(g.Nodes) != len(strings.Fields(readFile(t, "closure/paths"))) {
			t.Errorf("%s: %d nodes", name, len(g.Nodes))
		}
		told := 0
		for p, n := range g.Nodes {
			info, err := narinfo.Parse([]byte(readFile(t, "cache", p.HashPart()+".narinfo")))
			if err != nil {
				t.Fatal(err)
			}
			if n.Path != p || !slices.Equal(n.References, info.References) {
				t.Errorf("%s: %s: got references %s, want %s", name, p, n.References, info.References)
			}
			if hashes && (n.NarHash != info.NarHash || n.NarSize != info.NarSize) {
				t.Errorf("%s: %s: got %s, %d bytes, want %s, %d bytes", name, p, n.NarHash, n.NarSize, info.NarHash, info.NarSize)
			}
			if !hashes && (!n.NarHash.IsZero() || n.NarSize != 0) {
				t.Errorf("%s: %s has a hash, a references graph has none", name, p)
			}
			if n.Deriver != "" && n.Deriver != info.Deriver {
				t.Errorf("%s: %s: got the deriver %s, want %s", name, p, n.Deriver, info.Deriver)
			}
			if strings.HasPrefix(name, "path-info") && (n.CA != info.CA || n.Deriver != info.Deriver) {
				t.Errorf("%s: %s: got CA %q, deriver %q, want %q, %q", name, p, n.CA, n.Deriver, info.CA, info.Deriver)
			}
			if n.CA != "" {
				told++
			}
		}
		if strings.HasPrefix(name, "path-info") && told != 4 {
			t.Errorf("%s: %d content addresses, want 4", name, told)
		}
		checkOrder(t, name, g)
	}
}

func checkOrder(t *testing.T, name string, g *graph.Graph) {
	t.Helper()
	seen := map[store.Path]bool{}
	for _, p := range g.Order() {
		for _, r := range g.Nodes[p].References {
			if r != p && g.Nodes[r] != nil && !seen[r] {
				t.Errorf("%s: %s comes before %s, to which it refers", name, p, r)
			}
		}
		seen[p] = true
	}
	if len(seen) != len(g.Nodes) {
		t.Errorf("%s: %d paths in order, want %d", name, len(seen), len(g.Nodes))
	}
}

// The order doesn't depend on the form.
func TestGraph_OrderIsOne(t *testing.T) {
	var want []store.Path
	for name, text := range realForms(t) {
		if strings.Contains(name, "references graph") {
			continue
		}
		g, err := graph.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = g.Order()
		}
		if !slices.Equal(g.Order(), want) {
			t.Errorf("%s: another order", name)
		}
	}
}

// Guix' form is Nix', of another store; the graph is made of real Guix' list of items.
func TestParse_Guix(t *testing.T) {
	var b strings.Builder
	for line := range strings.Lines(readFile(t, "guix/items")) {
		fields := strings.Fields(line)
		refs := fields[2:]
		b.WriteString(fields[0] + "\n\n" + string(rune('0'+len(refs))) + "\n")
		for _, r := range refs {
			b.WriteString(r + "\n")
		}
	}
	g, err := graph.Parse([]byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	root := store.Path(strings.TrimSpace(readFile(t, "guix/root")))
	if g.StoreDir() != "/gnu/store" || !slices.Contains(g.Tops(), root) {
		t.Errorf("got store directory %s, tops %s, want %s among them", g.StoreDir(), g.Tops(), root)
	}
	checkOrder(t, "Guix", g)
}

const (
	hashA = "0c0b1a2d3f4g5h6i7j8k9l0m1n2p3q4r"
	a     = "/nix/store/" + hashA + "-a"
	b     = "/nix/store/1c0b1a2d3f4g5h6i7j8k9l0m1n2p3q4r-b"
	c     = "/nix/store/2c0b1a2d3f4g5h6i7j8k9l0m1n2p3q4r-c"
	drv   = "/nix/store/3c0b1a2d3f4g5h6i7j8k9l0m1n2p3q4r-a.drv"
	hex   = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	sri   = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
	n32   = "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73"
	sig   = "k:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="
)

func lines(all ...string) string { return strings.Join(all, "\n") + "\n" }

func tops(all ...string) (out []store.Path) {
	for _, s := range all {
		out = append(out, store.Path(s))
	}
	return out
}

func TestParse_Takes(t *testing.T) {
	for _, c := range []struct {
		name, text string
		tops       []store.Path
	}{
		{"one path", lines(a, "", "0"), tops(a)},
		{"a self reference", lines(a, "", "1", a), tops(a)},
		{"a deriver", lines(a, drv, "0"), tops(a)},
		{"a diamond, references last", lines(a, "", "2", b, c, b, "", "1", c, c, "", "0"), tops(a)},
		{"two tops", lines(a, "", "1", c, b, "", "1", c, c, "", "0"), tops(a, b)},
		{"one node twice, alike", lines(a, "", "1", c, c, "", "0", b, "", "1", c, c, "", "0"), tops(a, b)},
		{"one reference twice", lines(a, "", "2", c, c, c, "", "0"), tops(a)},
		{"registration with bare hex", lines(a, hex, "120", "", "0"), tops(a)},
		{"registration with a prefixed hash, as closureInfo writes it", lines(a, n32, "120", "", "0"), tops(a)},
		{"registration with an SRI hash", lines(a, sri, "120", "", "0"), tops(a)},
		{"registration with a size that isn't known", lines(a, hex, "0", "", "0"), tops(a)},
		{"white space before JSON", "\n [" + `{"path":"` + a + `","references":[]}]`, tops(a)},
		{"references that aren't listed", `[{"path":"` + a + `","references":["` + b + `"]}]`, tops(a)},
		{"format 1 with nulls", `{"` + a + `":{"references":["` + b + `"],"deriver":null,"ca":null,"narHash":"` + sri + `","new":{"x":[1]}}}`, tops(a)},
		{"format 2", `{"version":2,"storeDir":"/nix/store","info":{"` + a[11:] + `":{"references":["` + b[11:] + `"]}}}`, tops(a)},
		{"format 3, structured signatures", `{"version":3,"storeDir":"/nix/store","info":{"` + a[11:] + `":{"references":[],"signatures":[{"keyName":"k","sig":"` + sig[2:] + `"}]}}}`, tops(a)},
		{"content address by another hash", `{"version":2,"storeDir":"/nix/store","info":{"` + a[11:] + `":{"references":[],"ca":{"method":"nar","hash":"sha512-AA=="}}}}`, tops(a)},
		{"nix build", `[{"drvPath":"` + drv + `","outputs":{"out":"` + b + `","dev":"` + a + `"},"startTime":1}]`, tops(a, b)},
		{"nix build of a store path", `["` + a + `"]`, tops(a)},
		{"nix build of a store path, 2.8", `[{"path":"` + a + `"}]`, tops(a)},
		{"nix build, the same twice", `["` + a + `","` + a + `"]`, tops(a)},
	} {
		g, err := graph.Parse([]byte(c.text))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if !slices.Equal(g.Tops(), c.tops) {
			t.Errorf("%s: got the tops %s, want %s", c.name, g.Tops(), c.tops)
		}
		if (len(g.Nodes) == 0) == (len(g.Outputs) == 0) {
			t.Errorf("%s: %d nodes and %d outputs, want some of one", c.name, len(g.Nodes), len(g.Outputs))
		}
		for _, n := range g.Nodes {
			if !n.NarHash.IsZero() && n.NarHash.Hex() != hex {
				t.Errorf("%s: NarHash %s", c.name, n.NarHash)
			}
			if len(n.Signatures) > 0 && n.Signatures[0].String() != sig {
				t.Errorf("%s: signature %s", c.name, n.Signatures[0])
			}
		}
	}
}

func TestParse_Outputs(t *testing.T) {
	g, err := graph.Parse([]byte(`[{"outputs":{"out":"` + b + `","dev":"` + a + `"}},"` + c + `"]`))
	if err != nil {
		t.Fatal(err)
	}
	want := []graph.Output{{Name: "out", Path: b}, {Name: "dev", Path: a}, {Path: c}}
	if !slices.Equal(g.Outputs, want) {
		t.Errorf("got %v, want %v", g.Outputs, want)
	}
}

func TestParse_Refuses(t *testing.T) {
	info := func(fields string) string { return `[{"path":"` + a + `","references":[]` + fields + `}]` }
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", "it is empty"},
		{"white space", " \n\n", "it is empty"},
		{"something else", "StorePath: " + a, "want a references graph, a registration, or the JSON"},
		{"a picture of a graph", readFile(t, "closure/graph.dot"), "want a references graph"},
		{"a list of paths", readFile(t, "closure/paths"), "found a store path: a mere list of paths doesn't say what they refer to"},
		{"no newline at the end", a + "\n\n0", `line 3: want a newline behind "0": the file is cut`},
		{"cut before the deriver", a + "\n", "line 2: want the deriver, found the end"},
		{"cut before the count", a + "\n\n", "line 3: want the number of references, found the end"},
		{"cut among the references", lines(a, "", "2", a), "line 5: want reference 2 of 2 of " + a + ", found the end"},
		{"cut at a path", lines(a, "", "1", b), "line 1: " + a + " refers to " + b + ", which isn't in the graph: it is cut"},
		{"blank line at the end", lines(a, "", "0", ""), "line 4: want a store path"},
		{"carriage returns", a + "\r\n\r\n0\r\n", "line 1: want a store path"},
		{"not a path", lines("/nix/store/x", "", "0"), "line 1: want a store path"},
		{"not a reference", lines(a, "", "1", "x"), "line 4: want reference 1 of 1 of " + a},
		{"not a count", lines(a, "", "x"), `line 3: want the number of references of ` + a + `: want a number, found "x"`},
		{"a count below zero", lines(a, "", "-1"), "want a number"},
		{"a vast count", lines(a, "", "9223372036854775807", a), "line 5: want reference 2 of 9223372036854775807"},
		{"a count over 2^63", lines(a, "", "9223372036854775808", a), "want a number below 2^63"},
		{"no count", lines(a, "", "", b), "want a number below 2^63"},
		{"a deriver in another store", lines(a, strings.Replace(drv, "nix", "gnu", 1), "0"), "line 2: want the deriver of " + a + " or an empty line: want paths of one store directory"},
		{"two stores", lines(a, "", "0", strings.Replace(b, "nix", "gnu", 1), "", "0"), "line 4: want a store path: want paths of one store directory; /gnu/store"},
		{"a reference into another store", lines(a, "", "1", strings.Replace(b, "nix", "gnu", 1)), "line 4: want reference 1 of 1 of " + a + ": want paths of one store directory"},
		{"one path twice, otherwise", lines(a, "", "0", b, "", "0", a, "", "1", b), "line 7: " + a + " is there twice, and otherwise"},
		{"a cycle of two", lines(a, "", "1", b, b, "", "1", a), "line 5: " + b + " refers to " + a + ", which refers to it"},
		{"a cycle of three", lines(a, "", "1", b, b, "", "1", c, c, "", "1", a), "which refers to it"},
		{"registration without a hash", lines(a, hex, "1", "", "0", b, "", "1", "", "0"), "line 7: want the NarHash of " + b},
		{"a short hash", lines(a, "sha256:abc", "1", "", "0"), "line 2: want the NarHash"},
		{"another algorithm", lines(a, hex, "1", "", "0", b, "sha1:"+hex[:40], "1", "", "0"), "line 7: want the NarHash"},
		{"a size below zero", lines(a, hex, "-1", "", "0"), "line 3: want the NarSize"},
		{"a size that is text", lines(a, hex, "big", "", "0"), "line 3: want the NarSize"},
		{"a size over 2^63", lines(a, hex, "18446744073709551616", "", "0"), "line 3: want the NarSize of " + a + ": want a number below 2^63"},
		{"one path twice, of two sizes", lines(a, hex, "1", "", "0", a, hex, "2", "", "0"), "line 6: " + a + " is there twice"},

		{"an empty list", "[]", "it names no store path"},
		{"an empty object", "{}", "it names no store path"},
		{"no outputs", `[{"outputs":{}}]`, "it names no store path"},
		{"a number", "[1]", "want an object, found a number"},
		{"null", "[null]", "want an object, found null"},
		{"cut JSON", `[{"path":"` + a + `"`, "the document ends too early"},
		{"a field twice", info(`,"references":[]`), `"references" is there twice`},
		{"no path", `[{"references":[]}]`, "line 1, column 2: [0]: want a store path as nix path-info tells it"},
		{"a path that isn't there, 2.8", `[{"path":"` + a + `","valid":false}]`, "store doesn't have this path"},
		{"a path that isn't there, format 1", `{"` + a + `":null}`, "store doesn't have this path"},
		{"an output that isn't built", `[{"outputs":{"out":null}}]`, "[0].outputs.out: this output isn't built"},
		{"both commands' results", `["` + b + `",{"path":"` + a + `","references":[]}]`, "found both in one list"},
		{"a bad path", `["/nix/store/x"]`, "line 1, column 2: [0]: store path"},
		{"two stores in JSON", `["` + a + `","` + strings.Replace(b, "nix", "gnu", 1) + `"]`, "column 50: [1]: want paths of one store directory"},
		{"a bad reference", `[{"path":"` + a + `","references":["` + b + `",7]}]`, "[0].references[1]: want a string"},
		{"references null", `[{"path":"` + a + `","references":null,"narSize":1}]`, "[0]: references missing"},
		{"format 1 without references", `{"` + a + `":{"narSize":1}}`, "references missing"},
		{"a bad hash", info(`,"narHash":"x"`), "[0].narHash: hash"},
		{"a bad size", info(`,"narSize":1.5`), "[0].narSize: want an integer"},
		{"a size below zero in JSON", info(`,"narSize":-1`), "[0].narSize: want a number of bytes, found -1"},
		{"a bad deriver", info(`,"deriver":"x"`), "[0].deriver: store path"},
		{"a bad signature", info(`,"signatures":["x"]`), "[0].signatures[0]: want name:base64"},
		{"a structured signature without a key", info(`,"signatures":[{"sig":"AA=="}]`), `want "keyName" and "sig"`},
		{"a content address with a newline", info(`,"ca":"text:\n"`), "[0].ca: want printable ASCII"},
		{"a content address of another kind", info(`,"ca":{"method":"x","hash":"` + sri + `"}`), "[0].ca.method: unknown method"},
		{"a content address without a hash", info(`,"ca":{"method":"nar"}`), `[0].ca: want "method" and "hash"`},
		{"a content address with a bad hash", info(`,"ca":{"method":"nar","hash":"sha256-x"}`), "[0].ca.hash: want a hash"},
		{"one path twice in JSON, otherwise", `[{"path":"` + a + `","references":[]},{"path":"` + a + `","references":[],"narSize":1}]`, "[1]: " + a + " is there twice"},
		{"a cycle in JSON", `{"` + a + `":{"references":["` + b + `"]},"` + b + `":{"references":["` + a + `"]}}`, "which refers to it"},
		{"an unknown format", `{"version":4,"storeDir":"/nix/store","info":{}}`, "version: format 4 of nix path-info is not known"},
		{"no store directory", `{"version":2,"info":{}}`, `want "version" and "storeDir"`},
		{"a bad store directory", `{"version":2,"storeDir":"/nix/../store","info":{}}`, "storeDir: store directory"},
		{"whole paths in format 2", `{"version":2,"storeDir":"/nix/store","info":{"` + a + `":{"references":[]}}}`, "want a base name in /nix/store"},
		{"climbing in format 2", `{"version":2,"storeDir":"/nix/store","info":{"../store/` + a[11:] + `":{"references":[]}}}`, "want a base name in /nix/store"},
		{"structured attributes as a whole", readFile(t, "closure/attrs.json"), "store path"},
	} {
		g, err := graph.Parse([]byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: want an error with %q, got %v", c.name, c.want, err)
		}
		if err != nil && g != nil {
			t.Errorf("%s: a graph beside the error", c.name)
		}
	}
}

// A real registration that is cut anywhere is refused, unless what is left is a closure of its own.
func TestParse_Cut(t *testing.T) {
	text := readFile(t, "closure/registration")
	taken := 0
	for i := range len(text) {
		if i%97 != 0 && text[i] != '\n' {
			continue
		}
		g, err := graph.Parse([]byte(text[:i+1]))
		if err != nil {
			continue
		}
		taken++
		if text[i] != '\n' {
			t.Errorf("cut after %d bytes, within a line, it is taken", i)
		}
		for _, n := range g.Nodes {
			for _, r := range n.References {
				if g.Nodes[r] == nil {
					t.Errorf("cut after %d bytes: %s isn't there", i, r)
				}
			}
		}
	}
	if taken == 0 {
		t.Error("no prefix at all is taken: the test shows nothing")
	}
}

// A chain as long as a graph can be needs no deep stack, and one path more is refused.
func TestParse_LongChain(t *testing.T) {
	name := func(i int) string {
		const digits = "0123456789abcdfghijklmnpqrsvwxyz"
		h := []byte(hashA)
		for k := range 4 {
			h[k] = digits[i>>(5*k)&31]
		}
		return "/nix/store/" + string(h) + "-n"
	}
	const n = 50_000
	var b strings.Builder
	for i := range n {
		b.WriteString(lines(name(i), "", "1", name(min(i+1, n-1))))
	}
	g, err := graph.Parse([]byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	if order := g.Order(); len(order) != n || string(order[0]) != name(n-1) || !slices.Equal(g.Tops(), tops(name(0))) {
		t.Errorf("got %d paths, first %s, tops %s", len(order), order[0], g.Tops())
	}
}

func TestRead_NamesTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "registration")
	if _, err := graph.Read(file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("no file: got %v", err)
	}
	if err := os.WriteFile(file, []byte(a+"\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := graph.Read(file); err == nil || !strings.HasPrefix(err.Error(), file+": line 2: ") {
		t.Errorf("a bad file: got %v", err)
	}
}

// What is taken holds together, and is taken again when written as the form with all fields.
func FuzzParse(f *testing.F) {
	// Small ones of each form: with real ones, fuzzing is slow.
	for _, text := range []string{
		lines(a, "", "1", b, b, drv, "0"),
		lines(a, hex, "120", drv, "2", a, b, b, n32, "0", "", "0"),
		`[{"path":"` + a + `","references":["` + b + `"],"narHash":"` + sri + `","narSize":120,"deriver":"` + drv + `","ca":"text:` + n32 + `"}]`,
		`{"` + a + `":{"references":["` + b + `"],"deriver":null,"ca":null,"narHash":"` + n32 + `","signatures":["` + sig + `"]}}`,
		`{"version":2,"storeDir":"/nix/store","info":{"` + a[11:] + `":{"references":[],"ca":{"method":"nar","hash":"` + sri + `"},"signatures":[{"keyName":"k","sig":"AA=="}]}}}`,
		`[{"drvPath":"` + drv + `","outputs":{"out":"` + b + `","dev":"` + a + `"}},"` + c + `",{"path":"` + c + `"}]`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		g, err := graph.Parse(text)
		if err != nil {
			if g != nil {
				t.Fatal("a graph beside an error")
			}
			return
		}
		if (len(g.Nodes) == 0) == (len(g.Outputs) == 0) || len(g.Tops()) == 0 || g.StoreDir() == "" {
			t.Fatalf("%d nodes, %d outputs, tops %s", len(g.Nodes), len(g.Outputs), g.Tops())
		}
		checkOrder(t, "fuzz", g)
		for p, n := range g.Nodes {
			if p != n.Path || p.Dir() != g.StoreDir() || n.NarSize < 0 || !slices.IsSorted(n.References) {
				t.Fatalf("%s: %+v", p, n)
			}
			for _, r := range n.References {
				if _, err := store.ParsePath(string(r)); err != nil || r.Dir() != g.StoreDir() {
					t.Fatalf("%s refers to %q", p, r)
				}
			}
		}
	})
}
