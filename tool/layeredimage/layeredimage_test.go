package layeredimage

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/rules-strata/rules_strata/tool/imagefile"
	"github.com/rules-strata/rules_strata/tool/nar/nartest"
	"github.com/rules-strata/rules_strata/tool/store"
)

const webDir = "../../testdata/web"

// disk is a store with the paths, or with all that the fixtures have.
func disk(tb testing.TB, paths ...store.Path) (dir string, root *os.Root) {
	tb.Helper()
	dir = tb.TempDir()
	nartest.RestoreCache(tb, webDir+"/cache", dir, paths...)
	root, err := os.OpenRoot(dir)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { root.Close() })
	return dir, root
}

// small are a few paths of the document "dirs", and two that are no directories.
var small = []store.Path{
	"/nix/store/fvs78lpr01zrij0j6yxwkvvdpahsav7f-zlib-1.2.13",
	"/nix/store/p18z6w018r2raala26p6cdsy43wspr9m-attr-2.5.1",
	"/nix/store/f14gp6azl45il7v2m7cnflw01yidqs42-web-customisation-layer",
	"/nix/store/q58252lrnsg48cbrmpgimcx343am0x7f-current-start",
	"/nix/store/jbnpmbz98y0dv8y9g0zqpirbl85a6r7f-motd",
}

// read reads one of the documents in testdata.
func read(tb testing.TB, name string) *Conf {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join(webDir, "truth", name, "conf.json"))
	if err != nil {
		tb.Fatal(err)
	}
	c, err := Parse(b)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func stream(tb testing.TB, c *Conf, o Options) (file string, img *imagefile.Image) {
	tb.Helper()
	var b bytes.Buffer
	if err := Stream(context.Background(), &b, c, o); err != nil {
		tb.Fatal(err)
	}
	file = filepath.Join(tb.TempDir(), "image.tar")
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		tb.Fatal(err)
	}
	f, err := imagefile.Open(file)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { f.Close() })
	if img, err = f.Select("", nil); err != nil {
		tb.Fatal(err)
	}
	return file, img
}

// Every layer has the entries that the script, with its faults repaired, makes of
// the same document and the same paths: type, mode, owner, time, size, contents, name and target.
// The script's names begin with a slash; the root directory has an entry in its customisation layer; and where it puts several paths into one layer, it
// does so in the document's order, here they are in byte order.
func TestStream_Truth(t *testing.T) {
	_, root := disk(t)
	for _, name := range []string{"100", "12", "dirs"} {
		t.Run(name, func(t *testing.T) {
			c := read(t, name)
			_, img := stream(t, c, Options{Store: root})
			want := truth(t, name)
			if len(img.Layers) != len(want) {
				t.Fatalf("%d layers, want %d", len(img.Layers), len(want))
			}
			for i, l := range img.Layers {
				got := listing(t, l)
				if i == len(img.Layers)-1 {
					// The root directory's own entry, which would make it read-only.
					want[i] = slices.DeleteFunc(want[i], func(line string) bool { return strings.Split(line, "\t")[9] == "" })
				}
				slices.Sort(got)
				slices.Sort(want[i])
				if !slices.Equal(got, want[i]) {
					for k := range min(len(got), len(want[i])) {
						if got[k] != want[i][k] {
							t.Fatalf("layer %d:\n got %s\nwant %s", i+1, got[k], want[i][k])
						}
					}
					t.Fatalf("layer %d: %d entries, want %d", i+1, len(got), len(want[i]))
				}
			}
			// What the script's own documents say.
			b, err := os.ReadFile(filepath.Join(webDir, "truth", name, "repaired-nar-order/config.json"))
			if err != nil {
				t.Fatal(err)
			}
			var theirs, ours map[string]any
			if err := errors.Join(json.Unmarshal(b, &theirs), json.Unmarshal(img.Config, &ours)); err != nil {
				t.Fatal(err)
			}
			for _, key := range []string{"config", "architecture", "os"} {
				if fmt.Sprint(ours[key]) != fmt.Sprint(theirs[key]) {
					t.Errorf("%s: %v, want %v", key, ours[key], theirs[key])
				}
			}
			if want := []string{"docker.io/library/web:dr6a8bs5f2hyww3awb6nnhxlg3qvfdhr"}; !slices.Equal(img.Names, want) {
				t.Errorf("names %q, want %q", img.Names, want)
			}
		})
	}
}

// truth is the entries of each layer of the script's image.
func truth(tb testing.TB, name string) (layers [][]string) {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join(webDir, "truth", name, "repaired-nar-order/layers.list.zst"))
	if err != nil {
		tb.Fatal(err)
	}
	d, err := zstd.NewReader(nil)
	if err != nil {
		tb.Fatal(err)
	}
	defer d.Close()
	list, err := d.DecodeAll(b, nil)
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(list)) {
		if strings.HasPrefix(line, "# layer ") {
			layers = append(layers, nil)
			continue
		}
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		f[9] = strings.TrimPrefix(f[9], "/")
		last := &layers[len(layers)-1]
		*last = append(*last, strings.Join(f[:11], "\t"))
	}
	return layers
}

// listing is a layer's entries as the truth has them, by archive/tar.
func listing(tb testing.TB, l *imagefile.Layer) (lines []string) {
	tb.Helper()
	in, err := l.Uncompressed()
	if err != nil {
		tb.Fatal(err)
	}
	defer in.Close()
	dash := func(s string) string {
		if s == "" {
			return "-"
		}
		var b strings.Builder
		for _, c := range []byte(s) {
			if 0x21 <= c && c <= 0x7e && c != '\\' {
				b.WriteByte(c)
			} else {
				fmt.Fprintf(&b, `\x%02x`, c)
			}
		}
		return b.String()
	}
	for r := tar.NewReader(in); ; {
		h, err := r.Next()
		if err == io.EOF {
			return lines
		}
		if err != nil {
			tb.Fatal(err)
		}
		kind, sum := map[byte]string{tar.TypeReg: "file", tar.TypeDir: "dir", tar.TypeSymlink: "symlink"}[h.Typeflag], "-"
		if kind == "file" {
			hash := sha256.New()
			if _, err := io.Copy(hash, r); err != nil {
				tb.Fatal(err)
			}
			sum = fmt.Sprintf("%x", hash.Sum(nil))
		}
		lines = append(lines, fmt.Sprintf("%s\t%04o\t%d\t%d\t%s\t%s\t%d\t%d\t%s\t%s\t%s", kind, h.Mode, h.Uid, h.Gid, dash(h.Uname), dash(h.Gname),
			h.ModTime.Unix(), h.Size, sum, dash(strings.TrimPrefix(h.Name, "/")), dash(h.Linkname)))
	}
}

// What came to the document after 2020: a base image, owners, times.
func TestStream_LaterFields(t *testing.T) {
	dir, root := disk(t, small...)
	const custom = "00000000000000000000000000000000-custom"
	layerTar := makeTar(t)
	for name, b := range map[string][]byte{"layer.tar": layerTar, "checksum": fmt.Appendf(nil, "%x\n", sha256.Sum256(layerTar))} {
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, custom), 0o755), os.WriteFile(filepath.Join(dir, custom, name), b, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	base := read(t, "dirs")
	base.StoreLayers = [][]store.Path{small[:1], small[1:2]}
	base.Config = json.RawMessage(`{"Env":["A=base","B=base"]}`)
	baseFile, baseImage := stream(t, base, Options{Store: root})
	now := time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC)
	c, err := Parse(fmt.Appendf(nil, `{"architecture": "arm64", "config": {"Env": ["B=own", "C=own"], "Healthcheck": {"Test": ["NONE"]}}, "created": "now",
		"mtime": "1970-01-01T00:00:09+00:00", "repo_tag": "later:1", "uid": 1000, "gid": "3000000", "uname": "user", "gname": "group",
		"store_dir": "/nix/store", "from_image": %q, "customisation_layer": "/nix/store/%s",
		"store_layers": [["/nix/store/q58252lrnsg48cbrmpgimcx343am0x7f-current-start", "/nix/store/jbnpmbz98y0dv8y9g0zqpirbl85a6r7f-motd"]]}`,
		baseFile, custom))
	if err != nil {
		t.Fatal(err)
	}
	_, img := stream(t, c, Options{Store: root, Now: now, Tags: []string{"other:2"}})
	if len(img.Layers) != len(baseImage.Layers)+2 {
		t.Fatalf("%d layers", len(img.Layers))
	}
	for i, l := range baseImage.Layers {
		if img.Layers[i].DiffID != l.DiffID {
			t.Errorf("layer %d: %s, want the base's %s", i+1, img.Layers[i].DiffID, l.DiffID)
		}
	}
	if want := []string{"A=base", "B=own", "C=own"}; !slices.Equal(img.Spec.Config.Env, want) {
		t.Errorf("Env %q, want %q", img.Spec.Config.Env, want)
	}
	if !bytes.Contains(img.Config, []byte(`"Healthcheck":{"Test":["NONE"]}`)) {
		t.Errorf("the config is %s", img.Config)
	}
	if !img.Spec.Created.Equal(now) || img.Spec.Architecture != "arm64" || img.Spec.OS != "linux" || !slices.Equal(img.Names, []string{"docker.io/library/other:2"}) {
		t.Errorf("%+v, names %q", img.Spec, img.Names)
	}
	if got := img.Layers[len(img.Layers)-1].DiffID.Encoded(); got != fmt.Sprintf("%x", sha256.Sum256(layerTar)) {
		t.Errorf("the customisation layer is %s", got)
	}
	lines := listing(t, img.Layers[len(baseImage.Layers)])
	if len(lines) != 4 {
		t.Errorf("entries:\n%s", strings.Join(lines, "\n"))
	}
	for _, line := range lines {
		if f := strings.Split(line, "\t"); !slices.Equal(f[2:7], []string{"1000", "3000000", "user", "group", "9"}) {
			t.Errorf("owner and time of %s", line)
		}
	}
}

func makeTar(tb testing.TB) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := errors.Join(w.WriteHeader(&tar.Header{Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o755}), w.Close()); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// What is wrong is an error that names it.
func TestStream_Bad(t *testing.T) {
	dir, root := disk(t, small...)
	set := func(change func(*Conf)) *Conf {
		c := read(t, "dirs")
		c.StoreLayers = [][]store.Path{slices.Clone(small[:1]), slices.Clone(small[1:2])}
		change(c)
		return c
	}
	n := 0
	custom := func(checksum, body string) store.Path {
		n++
		p := store.Path(fmt.Sprintf("/nix/store/%032d-custom", n))
		d := filepath.Join(dir, p.Base())
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"checksum": checksum, "layer.tar": body} {
			if err := os.WriteFile(filepath.Join(d, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return p
	}
	for name, c := range map[string]struct {
		conf *Conf
		want string
	}{
		"no such path":        {set(func(c *Conf) { c.StoreLayers[1][0] = "/nix/store/00000000000000000000000000000000-gone" }), "/nix/store/00000000000000000000000000000000-gone: "},
		"no customisation":    {set(func(c *Conf) { c.CustomisationLayer = "/nix/store/00000000000000000000000000000000-gone" }), "customisation_layer /nix/store/00000000000000000000000000000000-gone: "},
		"wrong checksum":      {set(func(c *Conf) { c.CustomisationLayer = custom(strings.Repeat("0", 64)+"\n", "x") }), "LayerHash mismatch"},
		"a checksum no hash":  {set(func(c *Conf) { c.CustomisationLayer = custom("none", "x") }), "checksum: "},
		"no base":             {set(func(c *Conf) { c.FromImage = "/gone.tar" }), "from_image: /gone.tar: no such file"},
		"a name that is none": {set(func(c *Conf) { c.RepoTag = "A B" }), `image name "A B"`},
		"too many layers": {set(func(c *Conf) {
			c.StoreLayers = slices.Repeat(c.StoreLayers[:1], 125)
		}), "126 layers"},
	} {
		t.Run(name, func(t *testing.T) {
			err := Stream(t.Context(), io.Discard, c.conf, Options{Store: root})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	if err := Stream(ctx, io.Discard, set(func(*Conf) {}), Options{Store: root}); err == nil || !strings.Contains(err.Error(), "enough") {
		t.Errorf("stopped: %v", err)
	}
}

// A file that grows or shrinks while it is read ends in an error, never in a wrong archive.
func TestStream_Changing(t *testing.T) {
	dir := t.TempDir()
	const base = "0i1z7gpjsbqynxvczq9y25iqvl66875x-a"
	file := filepath.Join(dir, base)
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, size := range []int{0, 100_000} {
		if err := os.WriteFile(file, make([]byte, 3000), 0o644); err != nil {
			t.Fatal(err)
		}
		c, err := Parse([]byte(`{"architecture":"amd64","config":{},"created":"now","repo_tag":"a:b","store_layers":[["/nix/store/` + base + `"]]}`))
		if err != nil {
			t.Fatal(err)
		}
		// The header of the layer is written between the walk and the reading.
		w := writerFunc(func([]byte) { os.WriteFile(file, make([]byte, size), 0o644) })
		if err := Stream(t.Context(), w, c, Options{Store: root, Now: time.Unix(1, 0)}); err == nil || !strings.Contains(err.Error(), "changed while they were read") {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

func TestParse_Bad(t *testing.T) {
	const path = "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a"
	good := map[string]any{
		"architecture": "amd64", "config": map[string]any{}, "created": "1970-01-01T00:00:01+00:00", "repo_tag": "a:b", "store_layers": [][]string{{path}},
	}
	for name, c := range map[string]struct {
		key   string
		value any
		want  string
	}{
		"unknown":         {"store_root", "x", `store_root`},
		"missing":         {"architecture", nil, "architecture"},
		"config no map":   {"config", []int{1}, "config: want an object"},
		"created":         {"created", "yesterday", `"yesterday": want a time`},
		"no path":         {"store_layers", [][]string{{"/etc/passwd"}}, "store_layers"},
		"leads out":       {"store_layers", [][]string{{path + "/../../etc"}}, "store_layers"},
		"twice":           {"store_layers", [][]string{{path}, {path}}, "is in layers 1 and 2"},
		"empty layer":     {"store_layers", [][]string{{}}, "layer 1 has no store path"},
		"nothing":         {"store_layers", [][]string{}, "no layers"},
		"other store":     {"store_dir", "/gnu/store", "is not in store_dir, /gnu/store"},
		"negative uid":    {"uid", -1, "uid"},
		"uid no number":   {"uid", "root", "uid"},
		"customisation":   {"customisation_layer", "/etc", "customisation_layer"},
		"store_dir wrong": {"store_dir", "nix", "store_dir"},
	} {
		t.Run(name, func(t *testing.T) {
			m := map[string]any{}
			for k, v := range good {
				m[k] = v
			}
			m[c.key] = c.value
			if c.value == nil {
				delete(m, c.key)
			}
			b, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Parse(b); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"12", "dirs"} {
		b, err := os.ReadFile(filepath.Join(webDir, "truth", name, "conf.json"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"architecture":"a","config":{},"created":"now","mtime":"1970-01-01","repo_tag":"","store_layers":[],"from_image":"x","uid":"0","gid":0}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse(b)
		if err != nil {
			return
		}
		var m map[string]any
		if err := json.Unmarshal(c.Config, &m); err != nil {
			t.Fatalf("config %s: %v", c.Config, err)
		}
		for _, l := range c.StoreLayers {
			for _, p := range l {
				if p.Dir() != c.StoreDir {
					t.Fatal(p)
				}
			}
		}
	})
}
