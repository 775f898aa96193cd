package imagefile

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/image/imagetest"
	"github.com/rules-strata/rules_strata/tool/store"
)

const testdata = "../../testdata"

// made is a real image in all forms that strata writes.
type made struct {
	*image.Image
	layers                        []imagetest.Layer
	archive, layout, links, parts string
}

func makeImage(tb testing.TB, compression string) made {
	tb.Helper()
	m := made{layers: imagetest.Mini(tb, testdata, compression)}
	var blobs []image.Blob
	m.Image, blobs = imagetest.Build(tb, image.Settings{System: "x86_64-linux", Cmd: []string{"/x"}}, m.layers)
	m.archive = imagetest.Archive(tb, m.Image, blobs, "mini:1", "registry.example.org/team/mini:2")
	dir := tb.TempDir()
	m.layout, m.links, m.parts = filepath.Join(dir, "layout"), filepath.Join(dir, "links"), filepath.Join(dir, "parts.json")
	for path, how := range map[string]image.Linking{m.layout: image.Copy, m.links: image.Symlink} {
		if err := image.WriteLayout(tb.Context(), path, m.Image, blobs, []string{"mini:1", "registry.example.org/team/mini:2"}, how); err != nil {
			tb.Fatal(err)
		}
	}
	write(tb, filepath.Join(dir, "m.json"), m.Manifest)
	write(tb, filepath.Join(dir, "c.json"), m.Config)
	var layers []map[string]string
	for _, l := range m.layers {
		blob, err := filepath.Rel(dir, l.BlobPath)
		if err != nil {
			tb.Fatal(err)
		}
		layers = append(layers, map[string]string{"digestFile": l.DigestPath, "blob": blob})
	}
	b, err := json.Marshal(map[string]any{"manifest": "m.json", "config": "c.json", "layers": layers, "tags": []string{"mini:1", "registry.example.org/team/mini:2"}})
	if err != nil {
		tb.Fatal(err)
	}
	write(tb, m.parts, b)
	return m
}

func write(tb testing.TB, name string, b []byte) {
	tb.Helper()
	if err := os.WriteFile(name, b, 0o644); err != nil {
		tb.Fatal(err)
	}
}

func mustOpen(tb testing.TB, path string) *File {
	tb.Helper()
	f, err := Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { f.Close() })
	return f
}

// The same image comes out of every form, with its bytes.
func TestOpen(t *testing.T) {
	for _, compression := range []string{"gzip", "zstd", "none"} {
		m := makeImage(t, compression)
		for _, c := range []struct {
			path string
			form Form
		}{{m.archive, HybridArchive}, {m.layout, Layout}, {m.links, Layout}, {m.parts, Parts}} {
			t.Run(compression+" "+string(c.form), func(t *testing.T) {
				f := mustOpen(t, c.path)
				if f.Form != c.form {
					t.Fatalf("form %s, want %s", f.Form, c.form)
				}
				i := only(t, f)
				if i.Descriptor.Digest != m.Descriptor.Digest || !bytes.Equal(i.Manifest, m.Manifest) || !bytes.Equal(i.Config, m.Config) {
					t.Errorf("digest %s, want %s", i.Descriptor.Digest, m.Descriptor.Digest)
				}
				if want := []string{"docker.io/library/mini:1", "registry.example.org/team/mini:2"}; !slices.Equal(i.Names, want) {
					t.Errorf("names %q, want %q", i.Names, want)
				}
				for k, l := range i.Layers {
					if l.DiffID != m.layers[k].DiffID || !l.Present() {
						t.Errorf("layer %d: diff ID %s, want %s", k, l.DiffID, m.layers[k].DiffID)
					}
					judgeLayer(t, l)
				}
				var again bytes.Buffer
				if err := image.WriteArchive(t.Context(), &again, i.Built(), i.Blobs(), i.Names); err != nil {
					t.Fatal(err)
				}
				want, err := os.ReadFile(m.archive)
				if err != nil || !bytes.Equal(again.Bytes(), want) {
					t.Errorf("the archive made of it is another one (%v)", err)
				}
			})
		}
	}
}

// only is the one image of a file.
func only(tb testing.TB, f *File) *Image {
	tb.Helper()
	all, err := f.Images()
	if err != nil || len(all) != 1 {
		tb.Fatalf("%d images (%v), want 1", len(all), err)
	}
	return all[0]
}

// judgeLayer reads a layer in both forms; both readers check by themselves.
func judgeLayer(t *testing.T, l *Layer) {
	t.Helper()
	for what, open := range map[string]func() (io.ReadCloser, error){"blob": l.Open, "tar": l.Uncompressed} {
		r, err := open()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// tarEntry is an entry of a tar to be made.
type tarEntry struct {
	name, body string
	link       string // of a symlink
	hard       bool
	size       int64 // what the header says, if not 0
}

func makeTar(tb testing.TB, entries ...tarEntry) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: e.name, Size: int64(len(e.body)), Mode: 0o644}
		if e.link != "" {
			h.Typeflag, h.Linkname = tar.TypeSymlink, e.link
			if e.hard {
				h.Typeflag = tar.TypeLink
			}
		}
		if e.size != 0 {
			h.Size = e.size
		}
		if err := w.WriteHeader(h); err != nil {
			tb.Fatal(err)
		}
		if _, err := io.WriteString(w, e.body); err != nil {
			tb.Fatal(err)
		}
		if e.size != 0 {
			return b.Bytes()
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(s string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, s)
	w.Close()
	return b.Bytes()
}

// dockerSave is an archive as docker save once wrote it: layers are plain or
// compressed tars, and equal ones links to the first.
func dockerSave(tb testing.TB) []tarEntry {
	tb.Helper()
	layer := string(makeTar(tb, tarEntry{name: "a", body: "x"}))
	id := digest.FromString(layer)
	config := fmt.Sprintf(`{"architecture":"arm64","os":"linux","rootfs":{"type":"layers","diff_ids":[%q,%q,%q,%q]}}`, id, id, id, id)
	name := digest.FromString(config).Encoded() + ".json"
	return []tarEntry{
		{name: "1/layer.tar", body: layer},
		{name: "2/layer.tar", link: "../1/layer.tar"},
		{name: "3/layer.tar", link: "2/layer.tar", hard: true},
		{name: "4/layer.tar", body: string(gzipped(layer))},
		{name: name, body: config},
		{name: "./manifest.json", body: fmt.Sprintf(`[{"Config":%q,"RepoTags":["a:b"],"Layers":["1/layer.tar","2/layer.tar","3/layer.tar","4/layer.tar"]}]`, name)},
	}
}

func TestOpen_DockerArchive(t *testing.T) {
	file := filepath.Join(t.TempDir(), "save.tar")
	write(t, file, makeTar(t, dockerSave(t)...))
	f := mustOpen(t, file)
	i := only(t, f)
	if f.Form != DockerArchive || len(i.Layers) != 4 || i.Spec.Architecture != "arm64" || !slices.Equal(i.Names, []string{"docker.io/library/a:b"}) {
		t.Fatalf("%s: %+v", f.Form, i)
	}
	for _, l := range i.Layers {
		judgeLayer(t, l)
	}
	want := []string{ocispec.MediaTypeImageLayer, ocispec.MediaTypeImageLayer, ocispec.MediaTypeImageLayer, ocispec.MediaTypeImageLayerGzip}
	for k, l := range i.Layers {
		if l.Descriptor.MediaType != want[k] {
			t.Errorf("layer %d: %s", k, l.Descriptor.MediaType)
		}
	}
	if _, err := image.Parse(i.Config, i.Manifest); err != nil {
		t.Errorf("the manifest made for it: %v", err)
	}
}

func TestOpen_Index(t *testing.T) {
	dir := t.TempDir()
	m := makeImage(t, "none")
	if err := image.WriteLayout(t.Context(), filepath.Join(dir, "l"), m.Image, blobsOf(m), nil, image.Copy); err != nil {
		t.Fatal(err)
	}
	put := func(v any) ocispec.Descriptor {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		d := digest.FromBytes(b)
		write(t, filepath.Join(dir, "l/blobs/sha256", d.Encoded()), b)
		return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: d, Size: int64(len(b))}
	}
	attestation := m.Descriptor
	attestation.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest"}
	inner := put(ocispec.Index{Manifests: []ocispec.Descriptor{m.Descriptor, attestation}})
	inner.Annotations = map[string]string{ocispec.AnnotationRefName: "example.org/mini:multi"}
	b, err := json.Marshal(ocispec.Index{Manifests: []ocispec.Descriptor{inner}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "l/index.json"), b)
	f := mustOpen(t, filepath.Join(dir, "l"))
	only(t, f)
	if d, err := f.Root("example.org/mini:multi"); err != nil || d.Digest != inner.Digest {
		t.Errorf("root %s (%v)", d.Digest, err)
	}
	amd64, arm64 := &ocispec.Platform{OS: "linux", Architecture: "amd64"}, &ocispec.Platform{OS: "linux", Architecture: "arm64"}
	for _, name := range []string{"", "example.org/mini:multi", inner.Digest.String(), m.Descriptor.Digest.String()} {
		if i, err := f.Select(name, amd64); err != nil || i.Descriptor.Digest != m.Descriptor.Digest {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := f.Select("", arm64); err == nil || !strings.Contains(err.Error(), "no image for linux/arm64") {
		t.Errorf("for arm64: %v", err)
	}
	if _, err := f.Select("other:tag", nil); err == nil || !strings.Contains(err.Error(), `no image called "other:tag"`) {
		t.Errorf("by another name: %v", err)
	}

	// Indexes in indexes end somewhere.
	d := inner
	for range maxDepth {
		d = put(ocispec.Index{Manifests: []ocispec.Descriptor{d}})
	}
	b, _ = json.Marshal(ocispec.Index{Manifests: []ocispec.Descriptor{d}})
	write(t, filepath.Join(dir, "l/index.json"), b)
	if _, err := Open(filepath.Join(dir, "l")); err == nil || !strings.Contains(err.Error(), "indexes in one another") {
		t.Errorf("deep: %v", err)
	}
}

func blobsOf(m made) (blobs []image.Blob) {
	for _, l := range m.layers {
		blobs = append(blobs, l.Blob())
	}
	return blobs
}

// A shallow image can be read but for its blobs.
func TestOpen_Shallow(t *testing.T) {
	m := makeImage(t, "gzip")
	if err := os.Remove(filepath.Join(m.layout, "blobs/sha256", m.Layers[1].Digest.Encoded())); err != nil {
		t.Fatal(err)
	}
	l := only(t, mustOpen(t, m.layout)).Layers
	if _, err := l[1].Open(); !errors.Is(err, ErrAbsent) || l[1].Present() {
		t.Errorf("Open: %v", err)
	}
	if _, err := l[1].Uncompressed(); !errors.Is(err, ErrAbsent) {
		t.Errorf("Uncompressed: %v", err)
	}
	judgeLayer(t, l[0])
}

// Damage of a layer shows when it is read, and nowhere is an end without the check.
func TestLayer_Damaged(t *testing.T) {
	for _, compression := range []string{"gzip", "zstd", "none"} {
		m := makeImage(t, compression)
		blob := filepath.Join(m.layout, "blobs/sha256", m.Layers[2].Digest.Encoded())
		good, err := os.ReadFile(blob)
		if err != nil {
			t.Fatal(err)
		}
		l := only(t, mustOpen(t, m.layout)).Layers[2]
		for at := 0; at < len(good); at += len(good)/50 + 1 {
			bad := bytes.Clone(good)
			bad[at] ^= 0x55
			write(t, blob, bad)
			for what, open := range map[string]func() (io.ReadCloser, error){"Open": l.Open, "Uncompressed": l.Uncompressed} {
				r, err := open()
				if err == nil {
					_, err = io.Copy(io.Discard, r)
					r.Close()
				}
				if err == nil || !strings.Contains(err.Error(), l.Descriptor.Digest.String()) {
					t.Errorf("%s: byte %d: %s: %v", compression, at, what, err)
				}
				if mismatch := new(store.HashMismatchError); what == "Open" && !errors.As(err, &mismatch) {
					t.Errorf("%s: byte %d: %s: %v", compression, at, what, err)
				}
			}
		}
		write(t, blob, good[:len(good)-1])
		if _, err := l.Open(); err == nil || !strings.Contains(err.Error(), "want") {
			t.Errorf("cut: %v", err)
		}
	}
}

// What archives may not be, each with the words that say so.
func TestOpen_Bad(t *testing.T) {
	save := dockerSave(t)
	with := func(changes ...tarEntry) []byte { return makeTar(t, append(slices.Clone(save), changes...)...) }
	without := func(name string) []byte {
		return makeTar(t, slices.DeleteFunc(slices.Clone(save), func(e tarEntry) bool { return e.name == name })...)
	}
	config := save[4]
	many := make([]tarEntry, maxEntries+1)
	for i := range many {
		many[i].name = fmt.Sprint(i)
	}
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"empty":             {nil, "neither an index.json nor a manifest.json"},
		"no tar":            {bytes.Repeat([]byte("no tar "), 100), "neither a directory, a tar nor JSON"},
		"compressed, cut":   {[]byte("\x1f\x8b\x08\x00rest"), "gzip: unexpected EOF"},
		"gzip of text":      {gzipped("hello"), "neither a directory, a tar nor JSON"},
		"xz":                {[]byte("\xfd7zXZ\x00rest"), "compressed by xz"},
		"no image":          {makeTar(t, tarEntry{name: "a"}), "neither an index.json nor a manifest.json"},
		"leads out":         {with(tarEntry{name: "../x"}), `"../x" leads out`},
		"absolute":          {with(tarEntry{name: "/etc/x"}), `"/etc/x" leads out`},
		"deep out":          {with(tarEntry{name: "a/../../x"}), "leads out"},
		"link out":          {with(tarEntry{name: "l", link: "../../x"}), `link to "../../x"`},
		"link to root":      {with(tarEntry{name: "l", link: "/etc/passwd"}), `link to "/etc/passwd"`},
		"hard link out":     {with(tarEntry{name: "l", link: "../x", hard: true}), `link to "../x"`},
		"loop":              {with(tarEntry{name: "1/layer.tar", link: "../2/layer.tar"}), "a loop of links"},
		"link to itself":    {with(tarEntry{name: "1/layer.tar", link: "layer.tar"}), "a loop of links"},
		"lying size":        {with(tarEntry{name: "big", body: "x", size: 1 << 40}), "the archive ends within it"},
		"cut":               {with()[:3000], "after"},
		"many entries":      {makeTar(t, many...), "more than 65536 entries"},
		"layer missing":     {without("1/layer.tar"), "1/layer.tar: file does not exist"},
		"config missing":    {without(config.name), "file does not exist"},
		"two manifests":     {with(tarEntry{name: "manifest.json", body: "[]"}), "manifest.json is in the archive twice"},
		"huge manifest":     {makeTar(t, tarEntry{name: "manifest.json", body: strings.Repeat(" ", 5<<20)}), "want at most 4194304"},
		"manifest no JSON":  {makeTar(t, tarEntry{name: "manifest.json", body: "{"}), "manifest.json:"},
		"manifest and more": {makeTar(t, tarEntry{name: "manifest.json", body: "[] []"}), "bytes follow"},
		"no entries":        {makeTar(t, tarEntry{name: "manifest.json", body: "[]"}), "names no image"},
		"config leads out":  {makeTar(t, tarEntry{name: "manifest.json", body: `[{"Config":"../../etc/passwd","Layers":[]}]`}), "file does not exist"},
		"layers and diffs":  {makeTar(t, config, tarEntry{name: "manifest.json", body: fmt.Sprintf(`[{"Config":%q,"Layers":[]}]`, config.name)}), "0 layers, and its config 4 diff IDs"},
		"bad name":          {makeTar(t, tarEntry{name: "c", body: "{}"}, tarEntry{name: "manifest.json", body: `[{"Config":"c","RepoTags":["A B"]}]`}), "image name"},
		"config by digest":  {makeTar(t, tarEntry{name: strings.Repeat("0", 64) + ".json", body: "{}"}, tarEntry{name: "manifest.json", body: `[{"Config":"` + strings.Repeat("0", 64) + `.json"}]`}), "its bytes have the digest"},
		"index no digest":   {makeTar(t, tarEntry{name: "index.json", body: `{"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:../../x","size":1}]}`}), "invalid checksum digest"},
		"index sha512":      {makeTar(t, tarEntry{name: "index.json", body: `{"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha512:` + strings.Repeat("0", 128) + `","size":1}]}`}), "want sha256"},
		"index of nothing":  {makeTar(t, tarEntry{name: "index.json", body: `{"manifests":[]}`}), "names no image"},
		"blob missing":      {makeTar(t, tarEntry{name: "index.json", body: `{"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:` + strings.Repeat("0", 64) + `","size":1}]}`}), "file does not exist"},
		"parts unknown":     {[]byte(`{"manifest":"m","config":"c","layers":[],"more":1}`), "more"},
		"parts missing":     {[]byte(`{"manifest":"gone","config":"gone","layers":[]}`), "gone: no such file"},
		"parts endless":     {[]byte(`{"manifest":"/dev/zero","config":"gone","layers":[]}`), "want a file, found"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "image.tar")
			write(t, file, c.file)
			f, err := Open(file)
			if err == nil {
				_, err = f.Images()
				f.Close()
			}
			if err == nil {
				t.Fatal("taken")
			}
			if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), file) {
				t.Errorf("%v; want the file's name and %q", err, c.want)
			}
		})
	}
	if _, err := Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "no index.json") {
		t.Errorf("an empty directory: %v", err)
	}
	if _, err := Open("/dev/null"); err == nil || !strings.Contains(err.Error(), "want a file or a directory") {
		t.Errorf("a device: %v", err)
	}
}

// Whatever is opened, no panic, and layers that are read to their end are what their descriptors say.
func FuzzOpen(f *testing.F) {
	f.Add(makeTar(f, dockerSave(f)...))
	f.Add(makeTar(f, tarEntry{name: "index.json", body: `{"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:` + strings.Repeat("0", 64) + `","size":1}]}`}))
	m := makeImage(f, "zstd")
	small, err := os.ReadFile(m.archive)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(small[:min(len(small), 20<<10)])
	f.Add([]byte(`{"manifest":"m","config":"c","layers":[{"digestFile":"d","blob":"b"}],"tags":["a:b"]}`))
	file := filepath.Join(f.TempDir(), "fuzz")
	f.Fuzz(func(t *testing.T, b []byte) {
		write(t, file, b)
		opened, err := Open(file)
		if err != nil {
			return
		}
		defer opened.Close()
		all, err := opened.Images()
		if err != nil {
			return
		}
		for _, i := range all {
			if got := digest.FromBytes(i.Manifest); got != i.Descriptor.Digest {
				t.Fatalf("the manifest has the digest %s, not %s", got, i.Descriptor.Digest)
			}
			for _, l := range i.Layers {
				r, err := l.Open()
				if err != nil {
					continue
				}
				b, err := io.ReadAll(r)
				if err == nil && digest.FromBytes(b) != l.Descriptor.Digest {
					t.Fatalf("a layer of digest %s came out as %s", digest.FromBytes(b), l.Descriptor.Digest)
				}
				r.Close()
			}
		}
	})
}
