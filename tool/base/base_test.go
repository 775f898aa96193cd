package base

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/image/imagetest"
	"github.com/rules-strata/rules_strata/tool/store"
	"github.com/rules-strata/rules_strata/tool/validate"
)

const testdata = "../../testdata"

var amd64 = ocispec.Platform{OS: "linux", Architecture: "amd64"}

// read opens an image and reads all of it.
func read(t *testing.T, path string, o Options) (*Image, *image.Base) {
	t.Helper()
	if o.Platform.OS == "" {
		o.Platform = amd64
	}
	img, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { img.Close() })
	b, err := img.Base(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return img, b
}

// narHashes are those that the layers' digest files have.
func narHashes(layers []imagetest.Layer) map[store.Path]store.Hash {
	m := map[store.Path]store.Hash{}
	for _, l := range layers {
		for _, p := range l.StorePaths {
			m[p.Path] = p.NarHash
		}
	}
	return m
}

// unpack takes an archive apart.
func unpack(t *testing.T, archive string) string {
	t.Helper()
	dir := t.TempDir()
	b, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	for tr := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			writeFrom(t, filepath.Join(dir, h.Name), tr)
		}
	}
}

func writeFrom(t *testing.T, path string, r io.Reader) {
	t.Helper()
	b, err := io.ReadAll(r)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o755)
	}
	if err == nil {
		err = os.WriteFile(path, b, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// One image of real store paths, in all forms that it can have: each gives the same
// base, and knows each store path by its NAR's hash.
func TestOpen_Forms(t *testing.T) {
	for _, compression := range []string{"gzip", "zstd", "none"} {
		t.Run(compression, func(t *testing.T) {
			layers := imagetest.Mini(t, testdata, compression)
			img, blobs := imagetest.Build(t, image.Settings{System: "x86_64-linux", Cmd: []string{"/x"}}, layers)
			hybrid := imagetest.Archive(t, img, blobs, "mini:1", "example.org/mini:2")
			layout := unpack(t, hybrid)
			docker := filepath.Join(t.TempDir(), "docker.tar")
			writeFrom(t, docker, asDocker(t, layout))
			plain, err := os.ReadFile(hybrid)
			if err != nil {
				t.Fatal(err)
			}
			gz, zst := filepath.Join(t.TempDir(), "x.tar.gz"), filepath.Join(t.TempDir(), "x.tar.zst")
			var packed bytes.Buffer
			w := gzip.NewWriter(&packed)
			w.Write(plain)
			w.Close()
			writeFrom(t, gz, &packed)
			zw, _ := zstd.NewWriter(&packed)
			zw.Write(plain)
			zw.Close()
			writeFrom(t, zst, &packed)
			want := narHashes(layers)
			for _, path := range []string{hybrid, layout, filepath.Join(layout, "index.json"), docker, gz, zst} {
				opened, b := read(t, path, Options{})
				if !bytes.Equal(b.Config, img.Config) || fmt.Sprint(b.Layers) != fmt.Sprint(img.Layers) || opened.Layers() != 3 {
					t.Errorf("%s: got %s, %v", path, b.Config, b.Layers)
				}
				if !maps.Equal(b.StorePaths, want) {
					t.Errorf("%s: store paths %v, want %v", path, b.StorePaths, want)
				}
				// What is built on it is an image in the eyes of the oracle, with the base's bytes.
				same, err := image.BuildOn(b, image.Settings{System: "x86_64-linux", Labels: map[string]string{"a": "b"}}, nil)
				if err != nil {
					t.Fatal(err)
				}
				r, err := validate.Image(t.Context(), imagetest.Archive(t, same, opened.Blobs()))
				if err != nil || r.Err() != nil {
					t.Errorf("%s: %v, %v", path, err, r.Err())
				}
			}
			// As parts, the same once more.
			var files []*digestfile.File
			for _, l := range layers {
				files = append(files, l.File)
			}
			parts, err := FromParts(t.Context(), "x", img.Config, img.Manifest, files, nil)
			if err != nil || !maps.Equal(parts.StorePaths, want) || fmt.Sprint(parts.Layers) != fmt.Sprint(img.Layers) {
				t.Errorf("parts: %+v (%v)", parts, err)
			}
		})
	}
}

// asDocker returns a layout's image as docker save of 2017 has it: folders with
// layer.tar, the second of two that are the same a link.
func asDocker(t *testing.T, layout string) io.Reader {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(layout, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var m []struct {
		Config           string
		RepoTags, Layers []string
	}
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	tw := tar.NewWriter(&out)
	put := func(h tar.Header, b []byte) {
		h.Size, h.Mode = int64(len(b)), 0o644
		if err := tw.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	copied := func(from, to string) {
		b, err := os.ReadFile(filepath.Join(layout, from))
		if err != nil {
			t.Fatal(err)
		}
		put(tar.Header{Name: to}, b)
	}
	config := filepath.Base(m[0].Config) + ".json"
	copied(m[0].Config, config)
	for i, l := range m[0].Layers {
		real := fmt.Sprintf("real%d/layer.tar", i)
		copied(l, real)
		m[0].Layers[i] = fmt.Sprintf("./layer%d/layer.tar", i)
		put(tar.Header{Name: fmt.Sprintf("layer%d/layer.tar", i), Typeflag: tar.TypeSymlink, Linkname: "../" + real}, nil)
	}
	m[0].Config = config
	if b, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	put(tar.Header{Name: "manifest.json"}, b)
	tw.Close()
	return &out
}

// A shallow layout has manifest and config: strata's history says what is in its
// layers. Only an archive wants their bytes, and says that they aren't there.
func TestOpen_Shallow(t *testing.T) {
	layers := imagetest.Mini(t, testdata, "gzip")
	img, blobs := imagetest.Build(t, image.Settings{System: "x86_64-linux"}, layers)
	layout := unpack(t, imagetest.Archive(t, img, blobs, "mini:1"))
	for _, l := range img.Layers {
		if err := os.Remove(filepath.Join(layout, "blobs/sha256", l.Digest.Encoded())); err != nil {
			t.Fatal(err)
		}
	}
	opened, b := read(t, layout, Options{})
	if want := narHashes(layers); !maps.Equal(b.StorePaths, want) {
		t.Errorf("store paths %v, want %v", b.StorePaths, want)
	}
	if b, err := image.BuildOn(b, image.Settings{System: "x86_64-linux"}, nil); err != nil || len(b.Layers) != 3 {
		t.Errorf("%v (%v)", b, err)
	}
	err := image.WriteArchive(t.Context(), io.Discard, img, opened.Blobs(), nil)
	if err == nil || !strings.Contains(err.Error(), "a layer of the base "+layout+", which has the layer's name alone: get the base with its layers") {
		t.Errorf("got %v", err)
	}
}

// What a layer that isn't there may do to others, when nobody says what it is.
func TestKnown_Tell(t *testing.T) {
	const a, b = "/nix/store/0g80j8fh4wp8p2jmb0a8giig40jzalcj-a", "/nix/store/171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-b"
	hash := "sha256:" + store.Hash{1}.NixBase32()
	strata := func(comment string) ocispec.History {
		return ocispec.History{CreatedBy: image.HistoryCreatedBy, Comment: comment}
	}
	k := newKnown()
	k.tell(strata("store paths: " + a + " " + hash))
	k.tell(strata(""))
	if k.paths[a] != (store.Hash{1}) {
		t.Errorf("got %v", k.paths)
	}
	k.tell(ocispec.History{CreatedBy: "RUN rm -rf /nix/store/*", Comment: "store paths: ['" + b + "']"})
	if want := map[store.Path]store.Hash{a: {}, b: {}}; !maps.Equal(k.paths, want) {
		t.Errorf("got %v, want %v", k.paths, want)
	}
}

// entry is one of a tar's.
type entry struct {
	name     string
	kind     byte
	mode     int64
	contents string // or the target
	uid      int
	pax      map[string]string
}

func tarOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Mode: e.mode, Uid: e.uid, PAXRecords: e.pax}
		switch e.kind {
		case tar.TypeReg:
			h.Size = int64(len(e.contents))
		case tar.TypeSymlink, tar.TypeLink:
			h.Linkname = e.contents
		}
		if err := tw.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if e.kind == tar.TypeReg {
			if _, err := io.WriteString(tw, e.contents); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// layoutOf writes a layout of an image whose layers are tars, and returns its folder.
func layoutOf(t testing.TB, tars ...[]byte) string {
	t.Helper()
	dir := t.TempDir()
	config := ocispec.Image{Platform: amd64, RootFS: ocispec.RootFS{Type: "layers"}}
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest}
	m.SchemaVersion = 2
	for _, b := range tars {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(b))
		m.Layers = append(m.Layers, putBlob(t, dir, ocispec.MediaTypeImageLayer, b))
	}
	m.Config = putJSON(t, dir, ocispec.MediaTypeImageConfig, config)
	putIndex(t, dir, putJSON(t, dir, ocispec.MediaTypeImageManifest, m))
	return dir
}

func putBlob(t testing.TB, dir, mediaType string, b []byte) ocispec.Descriptor {
	t.Helper()
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	name := filepath.Join(dir, "blobs/sha256", d.Digest.Encoded())
	err := os.MkdirAll(filepath.Dir(name), 0o755)
	if err == nil {
		err = os.WriteFile(name, b, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func putJSON(t testing.TB, dir, mediaType string, v any) ocispec.Descriptor {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return putBlob(t, dir, mediaType, b)
}

func putIndex(t testing.TB, dir string, all ...ocispec.Descriptor) {
	t.Helper()
	index := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: all}
	index.SchemaVersion = 2
	b, err := json.Marshal(index)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "index.json"), b, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

const (
	pathA = "nix/store/0g80j8fh4wp8p2jmb0a8giig40jzalcj-a"
	pathB = "nix/store/171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-b"
)

// A store path counts as there if all of it is, as a store has it, and nothing else touches it.
func TestBase_StorePaths(t *testing.T) {
	dirs := []entry{{name: "nix/", kind: tar.TypeDir, mode: 0o755}, {name: "./nix/store/", kind: tar.TypeDir, mode: 0o755}}
	file := func(name string) entry { return entry{name: name, kind: tar.TypeReg, mode: 0o444, contents: "x"} }
	dir := func(name string) entry { return entry{name: name, kind: tar.TypeDir, mode: 0o555} }
	layer := func(e ...entry) []byte { return tarOf(t, append(dirs[:2:2], e...)...) }
	whole := layer(dir(pathA), file(pathA+"/f"), entry{name: pathA + "/g", kind: tar.TypeReg, mode: 0o555}, entry{name: pathA + "/l", kind: tar.TypeSymlink, mode: 0o777, contents: "f"})
	for name, test := range map[string]struct {
		layers [][]byte
		want   string // "whole", "named", or "" for not there
	}{
		"whole":              {[][]byte{whole}, "whole"},
		"absolute names":     {[][]byte{tarOf(t, entry{name: "/nix/store", kind: tar.TypeDir}, dir("/"+pathA))}, "whole"},
		"one file":           {[][]byte{layer(file(pathA))}, "whole"},
		"others too":         {[][]byte{layer(file("etc/x"), file("nix/store/.links"), dir(pathA), dir(pathB))}, "whole"},
		"a layer above":      {[][]byte{whole, layer(dir(pathB))}, "whole"},
		"no directory":       {[][]byte{layer(file(pathA + "/f"))}, "named"},
		"unsorted":           {[][]byte{layer(dir(pathA), file(pathA+"/b"), file(pathA+"/a"))}, "named"},
		"mode":               {[][]byte{layer(entry{name: pathA, kind: tar.TypeReg, mode: 0o644})}, "named"},
		"setuid":             {[][]byte{layer(entry{name: pathA, kind: tar.TypeReg, mode: 0o4555})}, "named"},
		"owner":              {[][]byte{layer(entry{name: pathA, kind: tar.TypeReg, mode: 0o444, uid: 7})}, "named"},
		"capabilities":       {[][]byte{layer(entry{name: pathA, kind: tar.TypeReg, mode: 0o444, pax: map[string]string{"SCHILY.xattr.security.capability": "x"}})}, "named"},
		"hard link":          {[][]byte{layer(dir(pathA), file(pathA+"/a"), entry{name: pathA + "/b", kind: tar.TypeLink, contents: pathA + "/a"})}, "named"},
		"device":             {[][]byte{layer(entry{name: pathA, kind: tar.TypeChar, mode: 0o444})}, "named"},
		"in pieces":          {[][]byte{layer(dir(pathA), dir(pathB), file(pathA+"/x"))}, "named"},
		"in two layers":      {[][]byte{whole, layer(file(pathA + "/x"))}, "named"},
		"removed":            {[][]byte{whole, layer(file("nix/store/.wh." + filepath.Base(pathA)))}, ""},
		"removed, and again": {[][]byte{layer(file(pathA)), layer(file("nix/store/.wh." + filepath.Base(pathA))), whole}, "whole"},
		"store hidden":       {[][]byte{whole, layer(file("nix/store/.wh..wh..opq"))}, ""},
		"all hidden":         {[][]byte{whole, layer(file(".wh..wh..opq"))}, ""},
		"nix removed":        {[][]byte{whole, tarOf(t, file(".wh.nix"))}, ""},
		"a file removed":     {[][]byte{whole, layer(file(pathA + "/.wh.f"))}, "named"},
		"linked to":          {[][]byte{layer(dir(pathA), file(pathA+"/f"), entry{name: "x", kind: tar.TypeLink, mode: 0o4777, contents: "./" + pathA + "/f"})}, "named"},
		"linked to, above":   {[][]byte{whole, layer(entry{name: "x", kind: tar.TypeLink, mode: 0o4777, contents: "/" + pathA + "/f"})}, "named"},
		"linked to, below":   {[][]byte{layer(file(pathB), entry{name: "x", kind: tar.TypeLink, contents: pathB}), whole}, "whole"},
		"a directory hidden": {[][]byte{whole, layer(file(pathA + "/.wh..wh..opq"))}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, b := read(t, layoutOf(t, test.layers...), Options{})
			hash, ok := b.StorePaths["/"+pathA]
			got := ""
			switch {
			case ok && hash.IsZero():
				got = "named"
			case ok:
				got = "whole"
			}
			if got != test.want {
				t.Errorf("got %q, want %q: %v", got, test.want, b.StorePaths)
			}
		})
	}
}

// Whom the base's lists define is known where its layers are there.
func TestBase_Users(t *testing.T) {
	list := func(name string, names ...string) entry {
		return entry{name: name, kind: tar.TypeReg, mode: 0o644, contents: strings.Join(names, ":x:1:1\n") + ":x:2:2\n"}
	}
	for name, test := range map[string]struct {
		layers        [][]byte
		users, groups string
	}{
		"none":           {[][]byte{tarOf(t, list("srv/x"))}, "removed", "removed"},
		"both":           {[][]byte{tarOf(t, list("./etc/passwd", "root", "web"), list("/etc/group", "users"))}, "[root web]", "[users]"},
		"the last":       {[][]byte{tarOf(t, list("etc/passwd", "root", "web")), tarOf(t, list("etc/passwd", "root")), tarOf(t, list("x"))}, "[root]", "removed"},
		"removed":        {[][]byte{tarOf(t, list("etc/passwd", "root")), tarOf(t, entry{name: ".wh.etc", kind: tar.TypeReg})}, "removed", "removed"},
		"behind a link":  {[][]byte{tarOf(t, entry{name: "etc", kind: tar.TypeSymlink, contents: "usr/etc"}, list("usr/etc/passwd", "root"))}, "/etc is a symlink", "/etc is a symlink"},
		"a link, merged": {[][]byte{tarOf(t, entry{name: "etc/passwd", kind: tar.TypeSymlink, contents: "x"}), tarOf(t, list("etc/group", "users"))}, "a symlink", "[users]"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := layoutOf(t, test.layers...)
			_, b := read(t, dir, Options{})
			if users, groups := listText(b.Users), listText(b.Groups); users != test.users || groups != test.groups {
				t.Errorf("got %s and %s, want %s and %s", users, groups, test.users, test.groups)
			}
			// Without its layers nobody knows.
			for _, l := range test.layers {
				if err := os.Remove(filepath.Join(dir, "blobs/sha256", digest.FromBytes(l).Encoded())); err != nil {
					t.Fatal(err)
				}
			}
			if _, b := read(t, dir, Options{}); b.Users != nil || b.Groups != nil {
				t.Errorf("without layers: got %s and %s", listText(b.Users), listText(b.Groups))
			}
		})
	}
}

func listText(l *digestfile.NameList) string {
	switch {
	case l == nil:
		return "not known"
	case l.Removed:
		return "removed"
	case l.Unknown != "":
		return l.Unknown
	}
	return fmt.Sprint(l.Names)
}

// Of an image's parts the digest files say it; of layers without one, what is below.
func TestFromParts_Users(t *testing.T) {
	list := func(names ...string) *digestfile.NameList { return &digestfile.NameList{Names: names} }
	layers := imagetest.Mini(t, testdata, "gzip")
	img, _ := imagetest.Build(t, image.Settings{System: "x86_64-linux"}, layers)
	files := []*digestfile.File{layers[0].File, layers[1].File, layers[2].File}
	of := func(below *Image, files ...*digestfile.File) string {
		t.Helper()
		b, err := FromParts(t.Context(), "x", img.Config, img.Manifest, files, below)
		if err != nil {
			t.Fatal(err)
		}
		return listText(b.Users) + " " + listText(b.Groups)
	}
	if got := of(nil, files...); got != "removed removed" {
		t.Errorf("no lists: got %s", got)
	}
	files[0].Users, files[2].Users, files[1].Groups = list("a"), list("b"), list("g")
	if got := of(nil, files[2], files[1], files[0]); got != "[b] [g]" { // In any order.
		t.Errorf("three layers: got %s", got)
	}
	if got := of(nil, files[2]); got != "[b] not known" {
		t.Errorf("one of three layers: got %s", got)
	}
	below, _ := read(t, layoutOf(t, tarOf(t, entry{name: "etc/group", kind: tar.TypeReg, contents: "users:x:100:\n"})), Options{})
	if got := of(below, files[2]); got != "[b] [users]" {
		t.Errorf("on a base: got %s", got)
	}
}

func TestBase_Corrupt(t *testing.T) {
	good := tarOf(t, entry{name: "a", kind: tar.TypeReg, contents: strings.Repeat("x", 3000)})
	blob := func(dir string, b []byte) string {
		return filepath.Join(dir, "blobs/sha256", digest.FromBytes(b).Encoded())
	}
	overwrite := func(b []byte) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			if err := os.WriteFile(blob(dir, good), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	flipped := bytes.Clone(good)
	flipped[600] ^= 1
	flippedHeader := bytes.Clone(good)
	flippedHeader[10] ^= 1
	for name, test := range map[string]struct {
		layer []byte
		spoil func(t *testing.T, dir string)
		want  string
	}{
		"good":                      {good, nil, ""},
		"cut":                       {good, overwrite(good[:1000]), "layer 1: blob sha256:"},
		"flipped":                   {good, overwrite(flipped), "mismatch: want sha256:"},
		"flipped in a header":       {good, overwrite(flippedHeader), "mismatch: want sha256:"},
		"longer":                    {good, overwrite(append(bytes.Clone(good), 0)), "layer 1: blob sha256:"},
		"no tar":                    {[]byte(strings.Repeat("no tar ", 200)), nil, "layer 1: archive/tar: invalid tar header"},
		"cut tar":                   {good[:1500], nil, "unexpected EOF"},
		"leads out":                 {tarOf(t, entry{name: "a/../../x", kind: tar.TypeReg}), nil, `entry "a/../../x" leads out of the image`},
		"nix is a link":             {tarOf(t, entry{name: "nix", kind: tar.TypeSymlink, contents: "mnt"}), nil, "/nix is no directory: no store path can be put below it"},
		"store is a link to itself": {tarOf(t, entry{name: "nix", kind: tar.TypeDir}, entry{name: "nix/store", kind: tar.TypeSymlink, contents: "store"}), nil, "/nix/store is no directory"},
		"a pipe": {good, func(t *testing.T, dir string) {
			os.Remove(blob(dir, good))
			if err := syscall.Mkfifo(blob(dir, good), 0o644); err != nil {
				t.Fatal(err)
			}
		}, "want a file, found p"},
		"a link to itself": {good, func(t *testing.T, dir string) {
			os.Remove(blob(dir, good))
			if err := os.Symlink(blob(dir, good), blob(dir, good)); err != nil {
				t.Fatal(err)
			}
		}, "too many levels of symbolic links"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := layoutOf(t, test.layer)
			if test.spoil != nil {
				test.spoil(t, dir)
			}
			img, err := Open(dir, Options{Platform: amd64})
			if err != nil {
				t.Fatal(err)
			}
			defer img.Close()
			_, err = img.Base(t.Context())
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "base "+dir)):
				t.Errorf("error %v: want one with %q", err, test.want)
			case errors.Is(err, fs.ErrNotExist):
				t.Errorf("%v: it would count as a shallow base", err)
			}
		})
	}
	// The config has another diff ID than the bytes.
	lying := layoutOf(t, good)
	replaceConfig(t, lying, ocispec.Image{Platform: amd64, RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromString("x")}}})
	b, err := Open(lying, Options{Platform: amd64})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := b.Base(t.Context()); err == nil || !strings.Contains(err.Error(), "TarHash mismatch: want "+digest.FromString("x").String()) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	if _, err := b.Base(ctx); err == nil || !strings.Contains(err.Error(), "enough") {
		t.Errorf("got %v", err)
	}
}

// replaceConfig gives a layout's image another config.
func replaceConfig(t *testing.T, dir string, c ocispec.Image) {
	t.Helper()
	document := func(name string, v any) {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			err = json.Unmarshal(b, v)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var index ocispec.Index
	document("index.json", &index)
	var m ocispec.Manifest
	document("blobs/sha256/"+index.Manifests[0].Digest.Encoded(), &m)
	m.Config = putJSON(t, dir, ocispec.MediaTypeImageConfig, c)
	putIndex(t, dir, putJSON(t, dir, ocispec.MediaTypeImageManifest, m))
}

func TestOpen_Errors(t *testing.T) {
	type change = func(t *testing.T, dir string)
	write := func(name, text string) change {
		return func(t *testing.T, dir string) { writeFrom(t, filepath.Join(dir, name), strings.NewReader(text)) }
	}
	// with puts a manifest into a layout of its own.
	with := func(edit func(m *ocispec.Manifest, d *ocispec.Descriptor)) change {
		return func(t *testing.T, dir string) {
			m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: putJSON(t, dir, ocispec.MediaTypeImageConfig, ocispec.Image{Platform: amd64})}
			m.SchemaVersion = 2
			var d ocispec.Descriptor
			edit(&m, &d)
			if n := len(m.Layers); n > 0 {
				c := ocispec.Image{Platform: amd64}
				for range n {
					c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, digest.FromString(""))
				}
				m.Config = putJSON(t, dir, ocispec.MediaTypeImageConfig, c)
			}
			put := putJSON(t, dir, ocispec.MediaTypeImageManifest, m)
			if d.MediaType != "" {
				put.MediaType = d.MediaType
			}
			put.Size += d.Size
			putIndex(t, dir, put)
		}
	}
	zero := digest.FromString("").String()
	for name, test := range map[string]struct {
		change change
		want   string
	}{
		"nothing":         {func(*testing.T, string) {}, "the directory has no index.json"},
		"index no JSON":   {write("index.json", "{"), "index.json: unexpected EOF"},
		"index empty":     {write("index.json", `{"manifests":[]}`), "index.json names no image"},
		"index too large": {write("index.json", strings.Repeat(" ", image.MaxMetadataSize+1)), "want at most 4194304"},
		"no image":        {write("index.json", `{"manifests":[{"mediaType":"application/vnd.cncf.helm","digest":"`+zero+`"}]}`), `it has no image, but media type "application/vnd.cncf.helm"`},
		"manifest gone":   {write("index.json", `{"manifests":[{"mediaType":"`+ocispec.MediaTypeImageManifest+`","digest":"`+zero+`"}]}`), "manifest: "},
		"digest":          {write("index.json", `{"manifests":[{"mediaType":"`+ocispec.MediaTypeImageManifest+`","digest":"sha256:../../../etc/passwd"}]}`), `digest "sha256:../../../etc/passwd"`},
		"sha512":          {write("index.json", `{"manifests":[{"mediaType":"`+ocispec.MediaTypeImageManifest+`","digest":"`+digest.SHA512.FromString("").String()+`"}]}`), "want sha256"},
		"size":            {with(func(_ *ocispec.Manifest, d *ocispec.Descriptor) { d.Size = 1 }), "bytes, found sha256:"},
		"config's type": {with(func(m *ocispec.Manifest, _ *ocispec.Descriptor) {
			m.Config.MediaType = "application/vnd.oci.empty.v1+json"
		}), `config: media type "application/vnd.oci.empty.v1+json": want`},
		"config gone": {with(func(m *ocispec.Manifest, _ *ocispec.Descriptor) { m.Config.Digest = digest.FromString("y") }), "config: "},
		"layer's type": {with(func(m *ocispec.Manifest, _ *ocispec.Descriptor) {
			m.Layers = []ocispec.Descriptor{{MediaType: "application/x", Digest: digest.FromString("")}}
		}), `layer 1: media type "application/x": want a layer's`},
		"layer's digest": {with(func(m *ocispec.Manifest, _ *ocispec.Descriptor) {
			m.Layers = []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageLayer, Digest: "sha256:x"}}
		}), "layer 1: digest"},
		"two types": {with(func(m *ocispec.Manifest, _ *ocispec.Descriptor) {
			m.MediaType = "application/vnd.docker.distribution.manifest.v2+json"
		}), "the index says"},
		"schema 1": {with(func(m *ocispec.Manifest, _ *ocispec.Descriptor) { m.SchemaVersion = 1 }), "schemaVersion 1: want 2"},
		"126 layers": {with(func(m *ocispec.Manifest, _ *ocispec.Descriptor) {
			m.Layers = slices.Repeat([]ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromString("")}}, 126)
		}), "it has 126 layers"},
		"docker: no JSON": {write("manifest.json", "x"), "manifest.json: invalid"},
		"docker: empty":   {write("manifest.json", "[]"), "manifest.json names no image"},
		"docker: two": {func(t *testing.T, dir string) {
			write("manifest.json", `[{"Config":"c.json","RepoTags":["a:1"]},{"Config":"d.json"}]`)(t, dir)
			write("c.json", `{"os":"linux","architecture":"amd64"}`)(t, dir)
			write("d.json", `{"os":"linux","architecture":"amd64","author":"d"}`)(t, dir)
		}, "want one image for linux/amd64, found 2; choose one by its name or platform: docker.io/library/a:1 for linux/amd64; sha256:"},
		"docker: config": {write("manifest.json", `[{"Config":"../x"}]`), `"../x" leads out`},
		"docker: digest": {func(t *testing.T, dir string) {
			write("manifest.json", `[{"Config":"`+strings.Repeat("0", 64)+`.json"}]`)(t, dir)
			write(strings.Repeat("0", 64)+".json", "{}")(t, dir)
		}, "its bytes have the digest sha256:"},
		"docker: layers": {func(t *testing.T, dir string) {
			write("manifest.json", `[{"Config":"c.json","Layers":["l"]}]`)(t, dir)
			write("c.json", "{}")(t, dir)
		}, "it has 1 layers, and its config 0 diff IDs"},
		"docker: layer gone": {func(t *testing.T, dir string) {
			write("manifest.json", `[{"Config":"c.json","Layers":["l"]}]`)(t, dir)
			write("c.json", `{"rootfs":{"diff_ids":["`+zero+`"]}}`)(t, dir)
		}, "layer 1: stat "},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			test.change(t, dir)
			if img, err := Open(dir, Options{Platform: amd64}); err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "base "+dir+": ") {
				t.Errorf("got %v, error %v: want one with %q", img, err, test.want)
			}
		})
	}
	if _, err := Open(filepath.Join(t.TempDir(), "gone"), Options{}); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got %v", err)
	}
}

func gzipped(s string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, s)
	w.Close()
	return b.Bytes()
}

// Of several images the one is taken that is meant: by its name, or by the platform.
func TestOpen_Choice(t *testing.T) {
	dir := t.TempDir()
	of := func(p ocispec.Platform, names map[string]string) ocispec.Descriptor {
		m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: putJSON(t, dir, ocispec.MediaTypeImageConfig, ocispec.Image{Platform: p, Author: fmt.Sprint(names)})}
		m.SchemaVersion = 2
		d := putJSON(t, dir, ocispec.MediaTypeImageManifest, m)
		d.Platform, d.Annotations = &p, names
		return d
	}
	arm64 := ocispec.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}
	inner := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{
		of(amd64, nil), of(arm64, nil), of(ocispec.Platform{OS: "unknown", Architecture: "unknown"}, nil),
	}}
	both := putJSON(t, dir, ocispec.MediaTypeImageIndex, inner)
	both.Annotations = map[string]string{ocispec.AnnotationRefName: "both"}
	one := of(amd64, map[string]string{ocispec.AnnotationRefName: "1", "io.containerd.image.name": "docker.io/library/web:1"})
	again := one
	again.Annotations = map[string]string{ocispec.AnnotationRefName: "latest"}
	putIndex(t, dir, both, one, again)
	for _, test := range []struct {
		name     string
		platform ocispec.Platform
		want     string // the author, or an error
	}{
		{"web:1", amd64, "map[io.containerd"},
		{"1", amd64, "map[io.containerd"},
		{"latest", amd64, "map[io.containerd"},
		{one.Digest.String(), amd64, "map[io.containerd"},
		{"both", amd64, "map[]"},
		{"both", ocispec.Platform{OS: "linux", Architecture: "arm64"}, "map[]"},
		{"both", ocispec.Platform{OS: "linux", Architecture: "s390x"}, `it has no image called "both" for linux/s390x; there are: both for linux/amd64; both for linux/arm64/v8; docker.io/library/web:1 for linux/amd64`},
		{"", arm64, "map[]"},
		{"", amd64, "want one image for linux/amd64, found 2; choose one by its name or platform: both for linux/amd64;"},
		{"web:2", amd64, `it has no image called "web:2"; there are: both`},
	} {
		img, err := Open(dir, Options{Name: test.name, Platform: test.platform})
		got := fmt.Sprint(err)
		if err == nil {
			var c ocispec.Image
			if err := json.Unmarshal(img.image.Config, &c); err != nil {
				t.Fatal(err)
			}
			got = c.Author
			if c.Architecture != test.platform.Architecture {
				t.Errorf("%q: it is for %s", test.name, c.Architecture)
			}
		}
		if !strings.Contains(got, test.want) || (err == nil) != strings.HasPrefix(test.want, "map") {
			t.Errorf("%q, %v: got %q, want %q", test.name, test.platform, got, test.want)
		}
	}
}

// No archive is a crash, and what is read of one is no more than it holds.
func FuzzOpen(f *testing.F) {
	layer := tarOf(f, entry{name: "nix/store", kind: tar.TypeDir, mode: 0o755}, entry{name: pathA, kind: tar.TypeReg, mode: 0o444, contents: "x"})
	dir := layoutOf(f, layer)
	var files []entry
	for _, glob := range []string{"index.json", "blobs/sha256/*"} {
		names, err := filepath.Glob(filepath.Join(dir, glob))
		if err != nil {
			f.Fatal(err)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			rel, _ := filepath.Rel(dir, name)
			files = append(files, entry{name: rel, kind: tar.TypeReg, contents: string(b)})
		}
	}
	f.Add(tarOf(f, files...))
	config := fmt.Sprintf(`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["%s"]}}`, digest.FromBytes(layer))
	f.Add(tarOf(f, entry{name: "manifest.json", kind: tar.TypeReg, contents: `[{"Config":"c","Layers":["l"]}]`},
		entry{name: "c", kind: tar.TypeReg, contents: config}, entry{name: "l", kind: tar.TypeSymlink, contents: "m"}, entry{name: "m", kind: tar.TypeReg, contents: string(layer)}))
	f.Add(tarOf(f, entry{name: "manifest.json", kind: tar.TypeReg, contents: `[{"Config":"c","Layers":["l"]}]`},
		entry{name: "c", kind: tar.TypeReg, contents: config}, entry{name: "l", kind: tar.TypeReg, contents: string(gzipped(string(layer)))}))
	f.Fuzz(func(t *testing.T, in []byte) {
		path := filepath.Join(t.TempDir(), "x.tar")
		if err := os.WriteFile(path, in, 0o644); err != nil {
			t.Fatal(err)
		}
		img, err := Open(path, Options{Platform: amd64})
		if err != nil {
			return
		}
		defer img.Close()
		b, err := img.Base(t.Context())
		if err != nil {
			return
		}
		if _, err := image.BuildOn(b, image.Settings{System: "x86_64-linux"}, nil); err == nil && len(b.Layers) == 0 {
			t.Error("an image without layers")
		}
	})
}
