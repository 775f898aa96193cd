package validate_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/image/imagetest"
	"github.com/rules-strata/rules_strata/tool/validate"
)

const testdata = "../../testdata"

// check returns the faults of what lies at path.
func check(t *testing.T, path string) *validate.Report {
	t.Helper()
	r, err := validate.Image(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestImage_RealImagesAreClean(t *testing.T) {
	for _, compression := range []string{"gzip", "zstd", "none"} {
		t.Run(compression, func(t *testing.T) {
			layers := imagetest.Mini(t, testdata, compression)
			// image-spec's own check takes no newline in the environment; we do.
			settings := image.Settings{System: "armv7l-linux", Env: []string{"A=two\nlines"}}
			img, blobs := imagetest.Build(t, settings, layers)
			names := []string{"docker.io/library/web:dev", "example.org:5000/team/web:dev", "docker.io/library/web:1"}
			archive := imagetest.Archive(t, img, blobs, names...)
			layout := filepath.Join(t.TempDir(), "layout")
			if err := image.WriteLayout(t.Context(), layout, img, blobs, names, image.Symlink); err != nil {
				t.Fatal(err)
			}
			for _, path := range []string{archive, layout} {
				r := check(t, path)
				if err := r.Err(); err != nil {
					t.Error(err)
				}
				checkFacts(t, r, img, layers, names)
			}
		})
	}
}

// The report's facts are those of the digest files, which it has not seen.
func checkFacts(t *testing.T, r *validate.Report, img *image.Image, layers []imagetest.Layer, names []string) {
	t.Helper()
	bytes := img.Descriptor.Size + img.ConfigDescriptor.Size
	for _, l := range layers {
		bytes += l.Descriptor.Size
	}
	if r.Blobs != 2+len(layers) || r.Bytes != bytes {
		t.Errorf("%d blobs of %d bytes: want %d of %d", r.Blobs, r.Bytes, 2+len(layers), bytes)
	}
	if len(r.Images) != 1 {
		t.Fatalf("%d images", len(r.Images))
	}
	got := r.Images[0]
	if got.Digest != img.Descriptor.Digest || !slices.Equal(got.Names, names) ||
		got.Platform.Architecture != "arm" || got.Platform.Variant != "v7" || len(got.Layers) != len(layers) {
		t.Errorf("image: %+v", got)
	}
	for i, l := range layers {
		want := validate.LayerFacts{
			Digest: l.Descriptor.Digest, DiffID: l.DiffID, Size: l.Descriptor.Size,
			UncompressedSize: l.UncompressedSize, Entries: l.Entries,
		}
		for _, p := range l.StorePaths {
			want.StorePaths = append(want.StorePaths, string(p.Path))
		}
		if got := got.Layers[i]; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("layer %d: got %+v, want %+v", i+1, got, want)
		}
	}
}

// broken is an image that a test breaks: the files of a layout by name, and
// its documents, which [broken.seal] writes with digests that fit.
type broken struct {
	t        *testing.T
	files    map[string][]byte
	index    ocispec.Index
	manifest ocispec.Manifest
	config   ocispec.Image
	docker   []map[string]any
}

// newBroken is a good image of two layers of real store paths.
func newBroken(t *testing.T, archive []byte) *broken {
	b := &broken{t: t, files: map[string][]byte{}}
	tr := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		b.ok(err)
		if h.Typeflag == tar.TypeReg {
			content, err := io.ReadAll(tr)
			b.ok(err)
			b.files[h.Name] = content
		}
	}
	b.parse("index.json", &b.index)
	b.parse(blob(b.index.Manifests[0]), &b.manifest)
	b.parse(blob(b.manifest.Config), &b.config)
	b.parse("manifest.json", &b.docker)
	return b
}

func blob(d ocispec.Descriptor) string { return "blobs/sha256/" + d.Digest.Encoded() }

func (b *broken) ok(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *broken) parse(name string, v any) {
	b.t.Helper()
	b.ok(json.Unmarshal(b.files[name], v))
}

func (b *broken) json(v any) []byte {
	out, err := json.Marshal(v)
	b.ok(err)
	return out
}

// put stores bytes as a blob and returns its descriptor.
func (b *broken) put(mediaType string, content []byte) ocispec.Descriptor {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
	b.files[blob(d)] = content
	return d
}

// seal writes the documents with digests and sizes that are right, so that
// only what the test broke is wrong.
func (b *broken) seal() {
	delete(b.files, blob(b.manifest.Config))
	b.sealConfig(b.json(b.config))
}

func (b *broken) sealConfig(config []byte) {
	mediaType := b.manifest.Config.MediaType
	delete(b.files, blob(b.manifest.Config))
	b.manifest.Config = b.put(mediaType, config)
	b.sealManifest(b.json(b.manifest))
}

func (b *broken) sealManifest(manifest []byte) {
	delete(b.files, blob(b.index.Manifests[0]))
	d := b.put(b.index.Manifests[0].MediaType, manifest)
	for i := range b.index.Manifests {
		b.index.Manifests[i].Digest, b.index.Manifests[i].Size = d.Digest, d.Size
	}
	b.files["index.json"] = b.json(b.index)
	if b.docker != nil {
		b.docker[0]["Config"] = blob(b.manifest.Config)
		var layers []string
		for _, l := range b.manifest.Layers {
			layers = append(layers, blob(l))
		}
		b.docker[0]["Layers"] = layers
		b.files["manifest.json"] = b.json(b.docker)
	}
}

// setLayer puts another tar, plain, in place of a layer, and its digests everywhere.
func (b *broken) setLayer(n int, content []byte) {
	delete(b.files, blob(b.manifest.Layers[n]))
	b.manifest.Layers[n] = b.put(ocispec.MediaTypeImageLayer, content)
	b.config.RootFS.DiffIDs[n] = digest.FromBytes(content)
	b.seal()
}

// layer is a layer's tar.
func (b *broken) layer(n int) []byte {
	z, err := gzip.NewReader(bytes.NewReader(b.files[blob(b.manifest.Layers[n])]))
	b.ok(err)
	out, err := io.ReadAll(z)
	b.ok(err)
	return out
}

// entry is a tar's entry.
type entry struct {
	tar.Header
	content string
}

// entries takes a layer's tar apart, and tarOf makes one.
func (b *broken) entries(n int) (out []entry) {
	tr := tar.NewReader(bytes.NewReader(b.layer(n)))
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return out
		}
		b.ok(err)
		content, err := io.ReadAll(tr)
		b.ok(err)
		out = append(out, entry{*h, string(content)})
	}
}

func (b *broken) tarOf(entries []entry) []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		b.ok(w.WriteHeader(&e.Header))
		_, err := io.WriteString(w, e.content)
		b.ok(err)
	}
	b.ok(w.Close())
	return out.Bytes()
}

// find is the place of the entry whose name ends so.
func find(entries []entry, suffix string) int {
	i := slices.IndexFunc(entries, func(e entry) bool { return strings.HasSuffix(strings.TrimSuffix(e.Name, "/"), suffix) })
	if i < 0 {
		panic("no entry " + suffix)
	}
	return i
}

// write makes the archive and the layout, and returns their paths.
func (b *broken) write() (archive, layout string) {
	dir := b.t.TempDir()
	layout = filepath.Join(dir, "layout")
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(b.files)) {
		content := b.files[name]
		b.ok(w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(content)), Mode: 0o444}))
		_, err := w.Write(content)
		b.ok(err)
		at := filepath.Join(layout, name)
		b.ok(os.MkdirAll(filepath.Dir(at), 0o755))
		b.ok(os.WriteFile(at, content, 0o644))
	}
	b.ok(w.Close())
	archive = filepath.Join(dir, "image.tar")
	b.ok(os.WriteFile(archive, out.Bytes(), 0o644))
	return archive, layout
}

// goodArchive is an archive of two layers: one store path, and the thirteen others.
func goodArchive(t *testing.T) []byte {
	t.Helper()
	nars := imagetest.NARs(t, testdata, imagetest.MiniCache)
	layers := []imagetest.Layer{imagetest.Write(t, nars[:1], "gzip"), imagetest.Write(t, nars[1:], "gzip")}
	img, blobs := imagetest.Build(t, image.Settings{System: "armv7l-linux", Env: []string{"A=b"}}, layers)
	b, err := os.ReadFile(imagetest.Archive(t, img, blobs, "web:dev", "example.org/web:1"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestImage_Broken breaks a good image in one way each. The fault must be
// told, and nothing but the faults that are listed.
func TestImage_Broken(t *testing.T) {
	good := goodArchive(t)
	const firstPath = "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-web-root"
	layerEdit := func(n int, edit func(e []entry) []entry) func(b *broken) {
		return func(b *broken) { b.setLayer(n, b.tarOf(edit(b.entries(n)))) }
	}
	header := func(n int, suffix string, edit func(e *entry)) func(b *broken) {
		return layerEdit(n, func(e []entry) []entry { edit(&e[find(e, suffix)]); return e })
	}
	tests := []struct {
		name   string
		change func(b *broken)
		want   []string // what the faults have, each one of these, and each of these a fault
	}{
		{"nothing", func(b *broken) {}, nil},
		{"sealed again", func(b *broken) { b.seal() }, nil},

		// The layout's own files.
		{"no oci-layout", func(b *broken) { delete(b.files, "oci-layout") }, []string{"oci-layout: missing"}},
		{"oci-layout's version", func(b *broken) { b.files["oci-layout"] = []byte(`{"imageLayoutVersion":"2.0.0"}`) }, []string{"oci-layout: validation failed", `oci-layout: imageLayoutVersion "2.0.0": want "1.0.0"`}},
		{"oci-layout with more behind", func(b *broken) { b.files["oci-layout"] = append(b.files["oci-layout"], '1') }, []string{"oci-layout: bytes follow the JSON value"}},
		{"oci-layout no JSON", func(b *broken) { b.files["oci-layout"] = []byte(`x`) }, []string{"oci-layout: unable to parse json"}},
		{"no index", func(b *broken) { delete(b.files, "index.json") }, []string{
			"index.json: missing", "manifest.json: image 1: \"blobs/", "nothing refers to it",
		}},
		{"index no JSON", func(b *broken) { b.files["index.json"] = []byte(`{`) }, []string{"index.json: index format mismatch", "manifest.json: image 1: ", "nothing refers"}},
		{"index with more behind", func(b *broken) { b.files["index.json"] = append(b.files["index.json"], "{}"...) }, []string{"index.json: index format mismatch: invalid character '{' after top-level value"}},
		{"index without images", func(b *broken) { b.files["index.json"] = []byte(`{"schemaVersion":2,"manifests":[]}`) }, []string{"index.json: it names no image", "manifest.json: image 1: ", "nothing refers"}},
		{"index's media type", func(b *broken) { b.index.MediaType = ocispec.MediaTypeImageManifest; b.seal() }, []string{`index.json: mediaType "application/vnd.oci.image.manifest.v1+json"`}},
		{"index's schema version", func(b *broken) { b.index.SchemaVersion = 1; b.seal() }, []string{"index.json: validation failed"}},
		{"too large an index", func(b *broken) { b.files["index.json"] = append(b.files["index.json"], make([]byte, 4<<20)...) }, []string{"index.json: 4195", "manifest.json: image 1", "nothing refers"}},
		{"a file of nobody", func(b *broken) { b.files["blobs/sha256/x"] = nil; b.files["README"] = nil }, []string{"README: nothing refers to it", "blobs/sha256/x: nothing refers to it"}},
		{"a blob of nobody", func(b *broken) { b.put("", []byte("x")) }, []string{": nothing refers to it"}},

		// Names.
		{"ref name twice", func(b *broken) {
			b.index.Manifests[1].Annotations[ocispec.AnnotationRefName] = "dev"
			b.index.Manifests[1].Annotations["io.containerd.image.name"] = "example.org/web:dev"
			b.docker[0]["RepoTags"] = []string{"web:dev", "example.org/web:dev"}
			b.seal()
		}, []string{`index.json: the ref name "dev" is there twice`}},
		{"image name twice", func(b *broken) {
			b.index.Manifests[1].Annotations["io.containerd.image.name"] = "docker.io/library/web:dev"
			b.index.Manifests[1].Annotations[ocispec.AnnotationRefName] = "docker.io/library/web:dev"
			b.docker[0]["RepoTags"] = []string{"web:dev"}
			b.seal()
		}, []string{`index.json: the image name "docker.io/library/web:dev" is there twice`}},
		{"image name without ref name", func(b *broken) { delete(b.index.Manifests[0].Annotations, ocispec.AnnotationRefName); b.seal() }, []string{`the image name "docker.io/library/web:dev" has no ref name beside it`}},
		{"ref name empty", func(b *broken) { b.index.Manifests[0].Annotations[ocispec.AnnotationRefName] = ""; b.seal() }, []string{"index.json: a ref name is empty", `index.json: the ref name "" is not the tag`}},
		{"ref name of another tag", func(b *broken) { b.index.Manifests[0].Annotations[ocispec.AnnotationRefName] = "prod"; b.seal() }, []string{`index.json: the ref name "prod" is not the tag of the image name "docker.io/library/web:dev"`}},
		{"image name not whole", func(b *broken) { b.index.Manifests[0].Annotations["io.containerd.image.name"] = "web:dev"; b.seal() }, []string{
			`"web:dev": want the whole reference "docker.io/library/web:dev"`, "RepoTags: docker.io/library/web:dev is no image name", "index.json calls it web:dev, which is not in RepoTags",
		}},
		{"image name no name", func(b *broken) {
			b.index.Manifests[0].Annotations["io.containerd.image.name"] = "docker.io/Web:dev"
			b.seal()
		}, []string{`image name "docker.io/Web:dev": component`, "is no image name", "is not in RepoTags"}},

		// Descriptors in the index.
		{"platform's architecture", func(b *broken) { b.index.Manifests[0].Platform.Architecture = "arm64"; b.seal() }, []string{"platform linux/arm64/v7: its config says linux/arm/v7"}},
		{"platform's os", func(b *broken) { b.index.Manifests[1].Platform.OS = "windows"; b.seal() }, []string{"platform windows/arm/v7: its config says"}},
		{"platform's variant", func(b *broken) { b.index.Manifests[1].Platform.Variant = ""; b.seal() }, []string{"platform linux/arm: its config says linux/arm/v7"}},
		{"manifest's size", func(b *broken) { b.index.Manifests[0].Size++; b.files["index.json"] = b.json(b.index) }, []string{": the descriptor says "}},
		{"manifest's size under its second name", func(b *broken) { b.index.Manifests[1].Size++; b.files["index.json"] = b.json(b.index) }, []string{": the descriptor says "}},
		{"manifest's media type", func(b *broken) {
			b.index.Manifests[0].MediaType = "text/plain"
			b.index.Manifests = b.index.Manifests[:1]
			b.seal()
		}, []string{
			`media type "text/plain": want an image's manifest or an index`, "manifest.json: image 1",
		}},
		{"manifest as an index", func(b *broken) {
			b.index.Manifests = b.index.Manifests[:1]
			b.index.Manifests[0].MediaType = ocispec.MediaTypeImageIndex
			b.seal()
		}, []string{"validation failed", "mediaType \"application/vnd.oci.image.manifest.v1+json\": the descriptor says", "manifest.json: image 1"}},
		{"digest of no form", func(b *broken) {
			b.files["index.json"] = bytes.ReplaceAll(b.files["index.json"], []byte(b.index.Manifests[0].Digest), []byte("sha256:../../x"))
		}, []string{"index.json: validation failed", "index.json: a descriptor of type", "index.json: a descriptor of type", "manifest.json: image 1", "nothing refers"}},
		{"embedded data", func(b *broken) {
			b.index.Manifests = b.index.Manifests[:1]
			b.docker[0]["RepoTags"] = []string{"web:dev"}
			b.index.Manifests[0].Data = []byte("x")
			b.seal()
		}, []string{"the data embedded in its descriptor are other bytes"}},

		// Missing, cut and changed blobs.
		{"no manifest", func(b *broken) { delete(b.files, blob(b.index.Manifests[0])) }, []string{": missing", "manifest.json: image 1"}},
		{"no config", func(b *broken) { delete(b.files, blob(b.manifest.Config)) }, []string{": missing", "manifest.json: image 1 names \"blobs/"}},
		{"no layer", func(b *broken) { delete(b.files, blob(b.manifest.Layers[0])) }, []string{blob(ocispec.Descriptor{Digest: newBroken(t, good).manifest.Layers[0].Digest}) + ": missing", "manifest.json: image 1 names \"blobs/"}},
		{"layer's size", func(b *broken) { b.manifest.Layers[0].Size++; b.seal() }, []string{": the descriptor says "}},
		{"config's size", func(b *broken) { b.manifest.Config.Size--; b.sealManifest(b.json(b.manifest)) }, []string{": the descriptor says "}},
		{"config no JSON", func(b *broken) { b.sealConfig([]byte("x")) }, []string{"config format mismatch"}},
		{"manifest no JSON", func(b *broken) { b.index.Manifests = b.index.Manifests[:1]; b.sealManifest([]byte("x")) }, []string{"manifest format mismatch", "manifest.json: image 1"}},

		// Manifest and config.
		{"manifest's own media type", func(b *broken) { b.manifest.MediaType = ""; b.seal() }, []string{`mediaType "": the descriptor says`}},
		{"manifest's schema", func(b *broken) { b.manifest.SchemaVersion = 1; b.seal() }, []string{"validation failed"}},
		{"config's media type", func(b *broken) { b.manifest.Config.MediaType = "text/plain"; b.seal() }, []string{`config's media type "text/plain": want application/vnd.oci.image.config.v1+json`}},
		{"config's schema", func(b *broken) {
			b.config.Architecture = ""
			b.sealConfig(bytes.ReplaceAll(b.json(b.config), []byte(`"architecture":"",`), nil))
		}, []string{"validation failed", "its config says linux//v7", "its config says linux//v7"}},
		{"config's rootfs type", func(b *broken) { b.config.RootFS.Type = "files"; b.seal() }, []string{"validation failed", `rootfs.type "files"`}},
		{"config's env", func(b *broken) { b.config.Config.Env = []string{"A"}; b.seal() }, []string{`unexpected env: "A"`}},
		{"diff ID", func(b *broken) { b.config.RootFS.DiffIDs[1] = digest.FromString("x"); b.seal() }, []string{"diff ID 2 is sha256:2d71"}},
		{"one diff ID too few", func(b *broken) { b.config.RootFS.DiffIDs = b.config.RootFS.DiffIDs[:1]; b.seal() }, []string{"1 diff IDs: the manifest has 2 layers"}},
		{"layers swapped", func(b *broken) { slices.Reverse(b.manifest.Layers); b.seal() }, swapped(t, good)},
		{"layers swapped with their diff IDs", func(b *broken) {
			slices.Reverse(b.manifest.Layers)
			slices.Reverse(b.config.RootFS.DiffIDs)
			b.seal()
		}, swapped(t, good)[2:]},
		{"a layer twice", func(b *broken) {
			b.manifest.Layers = append(b.manifest.Layers, b.manifest.Layers[0])
			b.config.RootFS.DiffIDs = append(b.config.RootFS.DiffIDs, b.config.RootFS.DiffIDs[0])
			b.config.History = append(b.config.History, b.config.History[0])
			b.seal()
		}, []string{firstPath + " is in two layers: 1 ("}},
		{"no layers", func(b *broken) {
			for _, l := range b.manifest.Layers {
				delete(b.files, blob(l))
			}
			b.manifest.Layers, b.config.RootFS.DiffIDs, b.config.History = nil, []digest.Digest{}, nil
			b.seal()
		}, []string{"validation failed"}},
		{"126 layers", func(b *broken) {
			empty := b.put(ocispec.MediaTypeImageLayer, make([]byte, 1024))
			for len(b.manifest.Layers) < 126 {
				b.manifest.Layers = append(b.manifest.Layers, empty)
				b.config.RootFS.DiffIDs = append(b.config.RootFS.DiffIDs, empty.Digest)
			}
			b.config.History = nil
			b.seal()
		}, []string{"126 layers: docker's graph drivers refuse more than 125"}},

		// History.
		{"no history", func(b *broken) { b.config.History = nil; b.seal() }, nil},
		{"history with an empty layer", func(b *broken) {
			b.config.History = append(b.config.History, ocispec.History{EmptyLayer: true})
			b.seal()
		}, nil},
		{"history too short", func(b *broken) { b.config.History = b.config.History[:1]; b.seal() }, []string{"the history tells of 1 layers: the manifest has 2"}},
		{"history of another path", func(b *broken) {
			b.config.History[0].Comment = strings.Replace(b.config.History[0].Comment, "web-root", "web-rood", 1)
			b.seal()
		}, []string{"history of layer 1 tells of /nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-web-rood: it is not in", "history of layer 1 does not tell of " + firstPath}},
		{"history of more", func(b *broken) { b.config.History[0].Comment += ", and 2 more"; b.seal() }, []string{"history of layer 1 tells of 2 more store paths"}},
		{"history cut", func(b *broken) {
			paths := strings.Split(b.config.History[1].Comment, ", ")
			b.config.History[1].Comment = strings.Join(paths[:3], ", ") + ", and 10 more"
			b.seal()
		}, nil},
		{"history of no form", func(b *broken) { b.config.History[0].Comment = "x"; b.seal() }, []string{"history of layer 1: history comment"}},
		{"history of others", func(b *broken) { b.config.History[0].CreatedBy, b.config.History[0].Comment = "make", "x"; b.seal() }, nil},

		// Layers as blobs.
		{"layer's media type unknown", func(b *broken) { b.manifest.Layers[0].MediaType = "text/plain"; b.seal() }, []string{`media type "text/plain": want a layer's`}},
		{"plain layer called gzip", func(b *broken) {
			b.setLayer(0, b.layer(0))
			b.manifest.Layers[0].MediaType = ocispec.MediaTypeImageLayerGzip
			b.seal()
		}, []string{"but its bytes are neither gzip nor zstd"}},
		{"gzip layer called zstd", func(b *broken) { b.manifest.Layers[0].MediaType = ocispec.MediaTypeImageLayerZstd; b.seal() }, []string{"but its bytes are gzip"}},
		{"bytes behind the gzip", func(b *broken) { b.resize(0, func(l []byte) []byte { return append(l, "x"...) }) }, []string{"of the tar: unexpected EOF"}},
		{"gzip cut off", func(b *broken) { b.resize(0, func(l []byte) []byte { return l[:len(l)-10] }) }, []string{"of the tar: unexpected EOF"}},
		{"gzip empty", func(b *broken) { b.resize(0, func(l []byte) []byte { return nil }) }, []string{"but its bytes are neither", "the tar does not end in two blocks", "diff ID 1", "history of layer 1 tells of"}},
		{"gzip in two members", func(b *broken) {
			plain := b.layer(0)
			b.resize(0, func([]byte) []byte { return append(gz(plain[:700]), gz(plain[700:])...) })
		}, nil},
		{"zstd", func(b *broken) {
			plain := b.layer(0)
			b.manifest.Layers[0].MediaType = ocispec.MediaTypeImageLayerZstd
			b.resize(0, func([]byte) []byte { return zst(plain) })
		}, nil},
		{"zstd cut off", func(b *broken) {
			plain := b.layer(0)
			b.manifest.Layers[0].MediaType = ocispec.MediaTypeImageLayerZstd
			b.resize(0, func([]byte) []byte { z := zst(plain); return z[:len(z)-5] })
		}, []string{"of the tar: unexpected EOF"}},

		// The tar in a layer.
		{"tar cut at an entry", func(b *broken) { b.setLayer(0, b.layer(0)[:1024]) }, []string{"the tar does not end in two blocks", "history of layer 1 tells of"}},
		{"tar cut in a header", func(b *broken) { b.setLayer(0, b.layer(0)[:1000]) }, []string{"bytes of the tar: unexpected EOF"}},
		{"no zeros at the end", func(b *broken) { l := b.layer(0); b.setLayer(0, l[:(len(bytes.TrimRight(l, "\x00"))+511)&^511]) }, []string{"the tar does not end in two blocks"}},
		{"more zeros at the end", func(b *broken) { b.setLayer(0, append(b.layer(0), make([]byte, 10240)...)) }, nil},
		{"bytes behind the end", func(b *broken) { b.setLayer(0, append(b.layer(0), bytes.Repeat([]byte("x"), 512)...)) }, []string{"bytes follow the end of the tar"}},
		{"no tar", func(b *broken) { b.setLayer(0, bytes.Repeat([]byte("x"), 2048)) }, []string{"after 512 bytes of the tar: archive/tar: invalid tar header"}},
		{"a path twice", layerEdit(0, func(e []entry) []entry { return append(e, e[3]) }), []string{" is there twice"}},
		{"a path twice, apart", layerEdit(1, func(e []entry) []entry { return append(e, e[3]) }), []string{" is there twice"}},
		{"absolute name", layerEdit(0, func(e []entry) []entry {
			return append(e, entry{tar.Header{Typeflag: tar.TypeReg, Name: "/etc/passwd"}, ""})
		}), []string{`"/etc/passwd": want a clean relative name`}},
		{"name with ..", layerEdit(0, func(e []entry) []entry {
			return append(e, entry{tar.Header{Typeflag: tar.TypeReg, Name: "nix/../etc/passwd"}, ""})
		}), []string{`"nix/../etc/passwd": want a clean relative name`}},
		{"name that leads out", layerEdit(0, func(e []entry) []entry { return append(e, entry{tar.Header{Typeflag: tar.TypeReg, Name: "../x"}, ""}) }), []string{`"../x": want a clean relative name`}},
		{"name with ./", header(0, "web-root/index.html", func(e *entry) { e.Name = "./" + e.Name }), []string{`index.html": want it without "./"`}},
		{"no parent", layerEdit(0, func(e []entry) []entry { return slices.Delete(e, find(e, "nix/store"), find(e, "nix/store")+1) }), []string{"web-root: its parent is not before it"}},
		{"out of order", layerEdit(0, func(e []entry) []entry {
			i := find(e, "index.html")
			e[i-1], e[i] = e[i], e[i-1]
			return e
		}), []string{" stands behind "}},
		{"mode of a file", header(0, "index.html", func(e *entry) { e.Mode = 0o644 }), []string{"index.html: mode 0644: want 0444 or 0555"}},
		{"setuid", header(0, "index.html", func(e *entry) { e.Mode = 0o4555 }), []string{"index.html: mode 4555: want"}},
		{"mode of a directory", header(0, "web-root", func(e *entry) { e.Mode = 0o755 }), []string{"web-root: mode 0755: want 0555"}},
		{"mode of the store", header(0, "nix/store", func(e *entry) { e.Mode = 0o555 }), []string{"nix/store: mode 0555: want 0755"}},
		{"mode of a link", header(1, "mini-link", func(e *entry) { e.Mode = 0o755 }), []string{"mini-link: mode 0755: want 0777"}},
		{"owner", header(0, "index.html", func(e *entry) { e.Uid = 1000 }), []string{"index.html: owner 1000:0 (root:root): want 0:0"}},
		{"owner's name", header(0, "index.html", func(e *entry) { e.Gname = "users" }), []string{"index.html: owner 0:0 (root:users): want 0:0"}},
		{"mtime", header(0, "index.html", func(e *entry) { e.ModTime = e.ModTime.Add(3600e9) }), []string{"index.html: mtime 3601: entries before it have 1"}},
		{"pax record", header(0, "index.html", func(e *entry) {
			e.Format = tar.FormatPAX
			e.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": "x"}
		}), []string{`pax record "SCHILY.xattr.security.capability"`}},
		{"hard link", header(0, "index.html", func(e *entry) {
			e.Typeflag, e.Linkname, e.Size, e.content = tar.TypeLink, "nix/store", 0, ""
		}), []string{"index.html: an entry of type '1': want a file, a directory or a symbolic link"}},
		{"hard link that leads out", header(0, "index.html", func(e *entry) {
			e.Typeflag, e.Linkname, e.Size, e.content = tar.TypeLink, "../x", 0, ""
		}), []string{`index.html: hard link to "../x": want a clean relative name`, "an entry of type '1'"}},
		{"device", header(0, "index.html", func(e *entry) { e.Typeflag, e.Size, e.content = tar.TypeChar, 0, "" }), []string{"an entry of type '3'"}},
		{"whiteout in a store path", header(0, "index.html", func(e *entry) { e.Name = strings.Replace(e.Name, "index.html", ".wh.index.html", 1) }), []string{".wh.index.html: a whiteout", "stands behind"}},
		{"whiteout of a store path", layerEdit(0, func(e []entry) []entry {
			h := e[find(e, "index.html")]
			h.Name, h.Size, h.content = "nix/store/.wh.x", 0, ""
			return append(e, h)
		}), []string{"nix/store/.wh.x: base name", "nix/store/.wh.x: a whiteout", "nix/store/.wh.x stands behind"}},
		{"something in the store that is no store path", layerEdit(0, func(e []entry) []entry {
			h := e[find(e, "index.html")]
			h.Name, h.Size, h.content = "nix/store/x", 0, ""
			return append(e, h)
		}), []string{"nix/store/x: base name \"x\": want 32 characters"}},
		{"store path in two layers", func(b *broken) {
			first, second := b.entries(0), b.entries(1)
			b.setLayer(1, b.tarOf(append(second[:2:2], append(first[2:], second[2:]...)...)))
		}, []string{"history of layer 2 does not tell of " + firstPath, firstPath + " is in two layers: 1 (sha256:"}},
		// A layer with other things beside store paths is the user's own affair.
		{"files of the user", layerEdit(0, func(e []entry) []entry {
			return append(e, entry{tar.Header{Typeflag: tar.TypeDir, Name: "./tmp/", Mode: 0o1777, Uid: 5}, ""}, entry{tar.Header{Typeflag: tar.TypeReg, Name: "./bin/.wh.sh", Mode: 0o4755}, ""})
		}), nil},
		{"files of the user, twice", layerEdit(0, func(e []entry) []entry {
			h := entry{tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}, ""}
			return append(e, h, h)
		}), []string{"tmp is there twice"}},

		// Docker's manifest.
		{"manifest.json no JSON", func(b *broken) { b.files["manifest.json"] = []byte("{") }, []string{"manifest.json: unexpected EOF"}},
		{"manifest.json an object", func(b *broken) { b.files["manifest.json"] = []byte("{}") }, []string{"manifest.json: json: cannot unmarshal"}},
		{"manifest.json empty", func(b *broken) { b.files["manifest.json"] = []byte("[]") }, []string{"manifest.json: it names no image"}},
		{"manifest.json with more behind", func(b *broken) { b.files["manifest.json"] = append(b.files["manifest.json"], '1') }, []string{"manifest.json: bytes follow the JSON value"}},
		{"manifest.json gone", func(b *broken) { delete(b.files, "manifest.json") }, nil},
		{"manifest.json's config", func(b *broken) { b.setDocker("Config", blob(b.manifest.Layers[0])) }, []string{"is the config of no image in index.json"}},
		{"manifest.json's config missing", func(b *broken) { b.setDocker("Config", "x.json") }, []string{`manifest.json: image 1 names "x.json", which is missing`, "is the config of no image in index.json"}},
		{"manifest.json's layers swapped", func(b *broken) {
			b.setDocker("Layers", []string{blob(b.manifest.Layers[1]), blob(b.manifest.Layers[0])})
		}, []string{"its layers are not those of the manifest"}},
		{"manifest.json's layers too few", func(b *broken) { b.setDocker("Layers", []string{blob(b.manifest.Layers[0])}) }, []string{"its layers are not those of the manifest"}},
		{"manifest.json without names", func(b *broken) { b.setDocker("RepoTags", nil) }, []string{"index.json calls it docker.io/library/web:dev, which is not in RepoTags", "index.json calls it example.org/web:1, which"}},
		{"manifest.json with another name", func(b *broken) { b.setDocker("RepoTags", []string{"web:dev", "example.org/web:1", "x"}) }, []string{"RepoTags: x is no image name of sha256:"}},
		{"manifest.json's names not whole", func(b *broken) { b.setDocker("RepoTags", []string{"web:dev", "example.org/web:1"}) }, nil},
		{"manifest.json with a bad name", func(b *broken) { b.setDocker("RepoTags", []string{"web:dev", "example.org/web:1", "X"}) }, []string{`RepoTags: image name "X"`}},
		{"manifest.json with a name twice", func(b *broken) {
			b.setDocker("RepoTags", []string{"web:dev", "example.org/web:1", "docker.io/web:dev"})
		}, []string{"RepoTags: docker.io/web:dev is there twice"}},
	}
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBroken(t, good)
			test.change(b)
			archive, layout := b.write()
			// In turn, to save time: the two differ in how files are found only.
			checkFaults(t, check(t, []string{archive, layout}[i%2]), test.want)
		})
	}
}

// checkFaults wants a fault for each text, and none that has no text.
func checkFaults(t *testing.T, r *validate.Report, want []string) {
	t.Helper()
	for _, w := range want {
		if !slices.ContainsFunc(r.Faults, func(f validate.Fault) bool { return strings.Contains(f.String(), w) }) {
			t.Errorf("not told: %s", w)
		}
	}
	for _, f := range r.Faults {
		if !slices.ContainsFunc(want, func(w string) bool { return strings.Contains(f.String(), w) }) {
			t.Errorf("told as well: %s", f)
		}
	}
}

func swapped(t *testing.T, good []byte) []string {
	b := newBroken(t, good)
	ids := b.config.RootFS.DiffIDs
	return []string{
		"diff ID 1 is " + ids[0].String() + ": layer 1, " + b.manifest.Layers[1].Digest.String() + ", has " + ids[1].String(),
		"diff ID 2 is " + ids[1].String(),
		"history of layer 1 tells of /nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-web-root: it is not in",
		"history of layer 1 does not tell of ",
		"history of layer 2 tells of ",
		"history of layer 2 does not tell of /nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-web-root",
	}
}

// resize puts other bytes in place of a layer's blob and leaves its diff ID.
func (b *broken) resize(n int, change func(l []byte) []byte) {
	old := b.manifest.Layers[n]
	content := change(slices.Clone(b.files[blob(old)]))
	delete(b.files, blob(old))
	b.manifest.Layers[n] = b.put(old.MediaType, content)
	b.seal()
}

func (b *broken) setDocker(field string, value any) {
	b.docker[0][field] = value
	b.files["manifest.json"] = b.json(b.docker)
}

func gz(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func zst(b []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return w.EncodeAll(b, nil)
}

// Whatever bit is wrong in a blob, the oracle says which blob it is. The three
// documents that no digest covers are told to be wrong where they say
// something else than before.
func TestImage_AnyBitFlipped(t *testing.T) {
	good := newBroken(t, goodArchive(t))
	const flips = 17
	for name, content := range good.files {
		for i := range flips {
			at := i * (len(content) - 1) / (flips - 1)
			changed := slices.Clone(content)
			changed[at] ^= 1 << (i % 8)
			b := &broken{t: t, files: maps.Clone(good.files)}
			b.files[name] = changed
			archive, layout := b.write()
			r := check(t, []string{archive, layout}[i%2])
			if strings.HasPrefix(name, "blobs/") {
				if !slices.ContainsFunc(r.Faults, func(f validate.Fault) bool {
					return f.Where == name && strings.Contains(f.What, "its bytes have the digest")
				}) {
					t.Errorf("%s: byte %d: its digest is not told to be wrong: %v", name, at, r.Err())
				}
			} else if len(r.Faults) == 0 && !sameMeaning(name, content, changed) {
				t.Errorf("%s: byte %d, %q, is %q: nothing told", name, at, content[at], changed[at])
			}
		}
	}
}

// sameMeaning says whether a document still says the same, as it does when the
// case of a key's letter has changed, which encoding/json ignores.
func sameMeaning(name string, a, b []byte) bool {
	parse := func(b []byte) any {
		var v any = new(ocispec.ImageLayout)
		switch name {
		case "index.json":
			v = new(ocispec.Index)
		case "manifest.json":
			v = new([]struct {
				Config           string
				RepoTags, Layers []string
			})
		}
		return []any{v, json.Unmarshal(b, v)}
	}
	return reflect.DeepEqual(parse(a), parse(b))
}

// An archive that is cut anywhere is never clean.
func TestImage_ArchiveCut(t *testing.T) {
	good := goodArchive(t)
	path := filepath.Join(t.TempDir(), "image.tar")
	for i := range 60 {
		at := i * (len(good) - 1) / 59
		if err := os.WriteFile(path, good[:at], 0o644); err != nil {
			t.Fatal(err)
		}
		r, err := validate.Image(context.Background(), path)
		if err == nil && len(r.Faults) == 0 {
			t.Errorf("cut to %d of %d bytes: nothing told", at, len(good))
		}
	}
}

func TestImage_ArchiveItself(t *testing.T) {
	b := newBroken(t, goodArchive(t))
	put := func(w *tar.Writer, h tar.Header, content []byte) {
		h.Size = int64(len(content))
		b.ok(w.WriteHeader(&h))
		_, err := w.Write(content)
		b.ok(err)
	}
	tests := []struct {
		name string
		add  func(w *tar.Writer)
		tail []byte
		want []string
	}{
		{"nothing", func(*tar.Writer) {}, nil, nil},
		{"directories", func(w *tar.Writer) { put(w, tar.Header{Typeflag: tar.TypeDir, Name: "blobs/"}, nil) }, nil, nil},
		{"a name twice", func(w *tar.Writer) {
			put(w, tar.Header{Typeflag: tar.TypeReg, Name: "index.json"}, []byte("{}"))
		}, nil, []string{"archive: index.json is there twice"}},
		{"a name that leads out", func(w *tar.Writer) { put(w, tar.Header{Typeflag: tar.TypeReg, Name: "../x"}, nil) }, nil, []string{`archive: "../x": want a clean relative name`}},
		{"an absolute name", func(w *tar.Writer) { put(w, tar.Header{Typeflag: tar.TypeReg, Name: "/x"}, nil) }, nil, []string{`archive: "/x": want a clean relative name`}},
		{"a link", func(w *tar.Writer) {
			put(w, tar.Header{Typeflag: tar.TypeSymlink, Name: "x", Linkname: "index.json"}, nil)
		}, nil, []string{"archive: x: want a file or a directory, found an entry of type '2'"}},
		{"zeros behind", func(*tar.Writer) {}, make([]byte, 10240), nil},
		{"bytes behind", func(*tar.Writer) {}, append(make([]byte, 4096), 'x'), []string{"archive: bytes follow the end of the tar"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			w := tar.NewWriter(&out)
			for _, name := range slices.Sorted(maps.Keys(b.files)) {
				put(w, tar.Header{Typeflag: tar.TypeReg, Name: name}, b.files[name])
			}
			test.add(w)
			b.ok(w.Close())
			path := filepath.Join(t.TempDir(), "image.tar")
			b.ok(os.WriteFile(path, append(out.Bytes(), test.tail...), 0o644))
			checkFaults(t, check(t, path), test.want)
		})
	}
}

func TestImage_LayoutItself(t *testing.T) {
	b := newBroken(t, goodArchive(t))
	_, layout := b.write()
	b.ok(os.Symlink("nowhere", filepath.Join(layout, "dangling")))
	b.ok(os.Symlink("blobs", filepath.Join(layout, "to-a-directory")))
	named := filepath.Join(t.TempDir(), "link")
	b.ok(os.Symlink(layout, named))
	checkFaults(t, check(t, named), []string{"dangling: a link to nothing", "to-a-directory: want a file, found d"})
}

// Two images of one index, of which the second is in an index of its own, are
// both found; what they share is read once.
func TestImage_IndexInIndex(t *testing.T) {
	b := newBroken(t, goodArchive(t))
	delete(b.files, "manifest.json")
	b.docker = nil
	layers := b.manifest.Layers
	b.config.Architecture, b.config.Variant = "arm64", ""
	second := b.manifest
	second.Config = b.put(ocispec.MediaTypeImageConfig, b.json(b.config))
	d := b.put(ocispec.MediaTypeImageManifest, b.json(second))
	d.Platform = &b.config.Platform
	inner := b.put(ocispec.MediaTypeImageIndex, b.json(ocispec.Index{
		Versioned: b.index.Versioned, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{d},
	}))
	b.index.Manifests = append(b.index.Manifests, inner)
	b.files["index.json"] = b.json(b.index)
	archive, _ := b.write()
	r := check(t, archive)
	if err := r.Err(); err != nil {
		t.Error(err)
	}
	if len(r.Images) != 2 || r.Images[1].Platform.Architecture != "arm64" {
		t.Errorf("images: %+v", r.Images)
	}
	if want := 5 + len(layers); r.Blobs != want {
		t.Errorf("%d blobs read: want %d", r.Blobs, want)
	}
}

// What can't be read at all is an error, not a fault.
func TestImage_Errors(t *testing.T) {
	dir := t.TempDir()
	text, packed := bytes.Repeat([]byte("text "), 1000), gz(goodArchive(t))
	for name, test := range map[string]struct {
		content []byte
		want    string
	}{
		"text":            {text, "neither a directory nor a tar"},
		"compressed text": {gz(text), "neither a directory nor a tar"},
		"cut off":         {packed[:len(packed)/2], "gzip: unexpected EOF"},
		"no gzip":         {packed[:3], "gzip: unexpected EOF"},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, test.content, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := validate.Image(context.Background(), path); err == nil || !strings.Contains(err.Error(), path+": "+test.want) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if _, err := validate.Image(context.Background(), filepath.Join(dir, "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: error %v", err)
	}
	b := newBroken(t, goodArchive(t))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	archive, layout := b.write()
	for _, path := range []string{archive, layout} {
		if _, err := validate.Image(ctx, path); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: error %v: want the context's", path, err)
		}
	}
}

// A layer with very many faults is told of in bounded space.
func TestImage_ManyFaults(t *testing.T) {
	b := newBroken(t, goodArchive(t))
	var entries []entry
	for i := range 5000 {
		entries = append(entries, entry{tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("/%d", i)}, ""})
	}
	b.setLayer(0, b.tarOf(entries))
	archive, _ := b.write()
	r := check(t, archive)
	if n := len(r.Faults); n < validate.MaxFaults || n > validate.MaxFaults+10 {
		t.Errorf("%d faults told", n)
	}
}
