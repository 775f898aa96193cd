package image

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/schema"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"pgregory.net/rapid"

	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/store"
)

var update = flag.Bool("update", false, "write the goldens in testdata anew: go test ./tool/image -update")

// golden compares with a file of testdata, byte for byte.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

// testLayer is a layer whose blob is the bytes of content.
func testLayer(content string, paths ...store.Path) *digestfile.File {
	f := &digestfile.File{
		FormatVersion:    digestfile.FormatVersion,
		Descriptor:       ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: digest.FromString(content), Size: int64(len(content))},
		DiffID:           digest.FromString("tar of " + content),
		UncompressedSize: 1 << 20,
		Compression:      "gzip",
	}
	for _, p := range paths {
		f.StorePaths = append(f.StorePaths, digestfile.StorePath{Path: p})
	}
	return f
}

func storePath(n int) store.Path {
	return store.Path(fmt.Sprintf("/nix/store/%032d-path-%d", n, n))
}

func fullSettings() Settings {
	return Settings{
		System:      "armv7l-linux",
		Entrypoint:  []string{"/nix/store/x/bin/server", "--root=<html>&more"},
		Cmd:         []string{"--port", "8080"},
		ConfigJSON:  `{"User":"nobody","Env":["Z=z","A=replaced"],"Labels":{"org.example.c":"3"},"Tty":true,"MacAddress":null}`,
		Env:         []string{"PATH=/bin", "A=b=c"},
		EnvPrepend:  []string{"PATH=/first", "MANPATH=/man"},
		Healthcheck: []string{"CMD", "/bin/ask", "--now"},
		HealthcheckOptions: map[string]string{
			"interval": "1m30s", "timeout": "2s", "start-period": "10s", "start-interval": "1s", "retries": "3",
		},
		Shell:        []string{"/bin/sh", "-c"},
		OnBuild:      []string{"RUN make"},
		Author:       "Ada <ada@example.org>",
		Comment:      "a comment",
		Labels:       map[string]string{"org.example.b": "2", "org.example.a": "1"},
		User:         "65534:65534",
		WorkingDir:   "/srv",
		ExposedPorts: []string{"8080", "53/udp"},
		Volumes:      []string{"/data", "/cache"},
		StopSignal:   "SIGTERM",
		Created:      "2024-02-29T12:00:00+01:00",
		Annotations:  map[string]string{"org.opencontainers.image.title": "web"},
	}
}

// The bytes of config and manifest are what digests depend on: a change of
// these goldens is a change of every image.
func TestBuild_Golden(t *testing.T) {
	layers := []*digestfile.File{
		testLayer("one", storePath(1)),
		testLayer("two", storePath(2), storePath(3)),
		testLayer("three"),
	}
	for name, s := range map[string]Settings{"least": {System: "x86_64-linux"}, "full": fullSettings()} {
		img, err := Build(s, layers)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name+".config.json", img.Config)
		golden(t, name+".manifest.json", img.Manifest)
		descriptor, err := json.Marshal(img.Descriptor)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name+".descriptor.json", descriptor)
		for v, b := range map[schema.Validator][]byte{
			schema.ValidatorMediaTypeImageConfig: img.Config,
			schema.ValidatorMediaTypeManifest:    img.Manifest,
			schema.ValidatorMediaTypeDescriptor:  descriptor,
		} {
			if err := v.Validate(bytes.NewReader(b)); err != nil {
				t.Errorf("%s: %s: %v", name, v, err)
			}
		}
		again, err := Parse(img.Config, img.Manifest)
		if err != nil {
			t.Fatal(err)
		}
		if d, err := json.Marshal(again.Descriptor); err != nil || !bytes.Equal(d, descriptor) {
			t.Errorf("%s: read back, its descriptor is %s (%v)", name, d, err)
		}
		if len(again.Layers) != 3 || again.Layers[1].Digest != layers[1].Descriptor.Digest {
			t.Errorf("%s: read back, its layers are %v", name, again.Layers)
		}
	}
}

// The manifest has the layers' descriptors as their digest files have them.
func TestBuild_DescriptorsVerbatim(t *testing.T) {
	l := testLayer("one", storePath(1))
	l.Descriptor.Annotations = map[string]string{"k": "v"}
	l.Descriptor.MediaType = ocispec.MediaTypeImageLayerZstd
	img, err := Build(Settings{System: "x86_64-linux"}, []*digestfile.File{l})
	if err != nil {
		t.Fatal(err)
	}
	want, err := json.Marshal(l.Descriptor)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(img.Manifest, want) {
		t.Errorf("the manifest has not %s: %s", want, img.Manifest)
	}
}

func TestBuild_Errors(t *testing.T) {
	many := func(n int) (out []*digestfile.File) {
		for i := range n {
			out = append(out, testLayer(fmt.Sprint(i), storePath(i)))
		}
		return out
	}
	bad := func(change func(*digestfile.File)) []*digestfile.File {
		l := testLayer("one", storePath(1))
		change(l)
		return []*digestfile.File{l}
	}
	tests := []struct {
		name   string
		s      Settings
		layers []*digestfile.File
		want   string
	}{
		{"settings", Settings{}, many(1), "system: want a system"},
		{"no layers", Settings{}, nil, "the image has no layers: it wants store paths, a base or a layer of files"},
		{"126 layers", Settings{}, many(126), "126 layers, but docker's graph drivers (overlay2, vfs) refuse more than 125"},
		{
			"store path in two layers",
			Settings{},
			[]*digestfile.File{testLayer("one", storePath(1)), testLayer("two", storePath(2), storePath(1))},
			"/nix/store/00000000000000000000000000000001-path-1 is in two layers: sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed (layer 1 of the image) and sha256:3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3 (layer 2)",
		},
		{"digest", Settings{}, bad(func(f *digestfile.File) { f.Descriptor.Digest = "sha256:../../x" }), `layer 1: digest "sha256:../../x"`},
		{"sha512", Settings{}, bad(func(f *digestfile.File) { f.Descriptor.Digest = digest.SHA512.FromString("x") }), "want sha256, found sha512"},
		{"size", Settings{}, bad(func(f *digestfile.File) { f.Descriptor.Size = -1 }), "negative size -1"},
		{"config too large", Settings{Labels: map[string]string{"k": strings.Repeat("x", 4<<20)}}, many(1), "the config has 419"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.name != "settings" {
				test.s.System = "x86_64-linux"
			}
			if _, err := Build(test.s, test.layers); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v: want one with %q", err, test.want)
			}
		})
	}
	if _, err := Build(Settings{System: "x86_64-linux"}, many(125)); err != nil {
		t.Errorf("125 layers: %v", err)
	}
}

func TestParse_Errors(t *testing.T) {
	build := func(n int) *Image {
		var layers []*digestfile.File
		for i := range n {
			layers = append(layers, testLayer(fmt.Sprint(i), storePath(i)))
		}
		img, err := Build(Settings{System: "x86_64-linux"}, layers)
		if err != nil {
			t.Fatal(err)
		}
		return img
	}
	one, two := build(1), build(2)
	edit := func(b []byte, old, new string) []byte {
		if !bytes.Contains(b, []byte(old)) {
			t.Fatalf("%s has not %s", b, old)
		}
		return bytes.ReplaceAll(b, []byte(old), []byte(new))
	}
	// A config with a diff ID less, in a manifest that has its digest.
	short := edit(two.Config, `","sha256:`+two.diffID(t, 1)+`"]`, `"]`)
	shortManifest := edit(two.Manifest, two.ConfigDescriptor.Digest.String(), digest.FromBytes(short).String())
	shortManifest = edit(shortManifest, fmt.Sprintf(`"size":%d`, len(two.Config)), fmt.Sprintf(`"size":%d`, len(short)))
	tests := []struct {
		name             string
		config, manifest []byte
		want             string
	}{
		{"of two images", one.Config, two.Manifest, "they belong to two images"},
		{"config changed", edit(one.Config, "amd64", "arm64"), one.Manifest, "they belong to two images"},
		{"manifest no JSON", one.Config, []byte("{"), "manifest: unexpected EOF"},
		{"more behind", one.Config, append(slices.Clone(one.Manifest), '{', '}'), "manifest: bytes follow the JSON object"},
		{"an index", one.Config, edit(one.Manifest, "image.manifest.v1", "image.index.v1"), `manifest: media type "application/vnd.oci.image.index.v1+json"`},
		{"schema version", one.Config, edit(one.Manifest, `"schemaVersion":2`, `"schemaVersion":1`), "schemaVersion 1: want 2"},
		{"layers and diff IDs", short, shortManifest, "the config names 1 layers, the manifest 2"},
		{"digest", one.Config, edit(one.Manifest, one.Layers[0].Digest.String(), "sha256:..%2f"), `manifest: layer 1: digest "sha256:..%2f"`},
		{"too large", one.Config, make([]byte, MaxMetadataSize+1), "manifest: over 4194304 bytes"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, err := Parse(test.config, test.manifest); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v: want one with %q", err, test.want)
			}
		})
	}
}

func (img *Image) diffID(t *testing.T, n int) string {
	t.Helper()
	var c ocispec.Image
	if err := json.Unmarshal(img.Config, &c); err != nil {
		t.Fatal(err)
	}
	return c.RootFS.DiffIDs[n].Encoded()
}

// Every comment that Build makes reads back, listed and counted paths
// together are all, and its size has a bound.
func TestHistoryComment(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 600).Draw(t, "paths")
		long := rapid.IntRange(0, store.MaxNameLen-10).Draw(t, "length")
		var paths []store.Path
		for i := range n {
			paths = append(paths, store.Path(fmt.Sprintf("/nix/store/%032d-p%s", i, strings.Repeat("x", long))))
		}
		l := testLayer("x", paths...)
		for i := range l.StorePaths {
			l.StorePaths[i].NarHash = sha256.Sum256([]byte{byte(i)})
		}
		comment := historyComment(l)
		if len(comment) > maxHistoryComment+100 {
			t.Fatalf("%d paths: %d bytes", n, len(comment))
		}
		got, more, err := ParseHistoryComment(comment)
		if err != nil {
			t.Fatal(err)
		}
		if len(got)+more != n {
			t.Fatalf("%d paths came back as %d and %d more", n, len(got), more)
		}
		for i, p := range got {
			if want := l.StorePaths[i]; p.Path != want.Path || p.NarHash != want.NarHash {
				t.Fatalf("path %d came back as %v, want %v", i, p, want)
			}
		}
	})
}

func TestParseHistoryComment_Errors(t *testing.T) {
	for _, s := range []string{
		"x", "store paths: ", "store paths: /nix/store/x", "store paths: and 2 more, and 3 more", "store paths: and x more", "store paths: and 0 more", "store paths: and 2",
		"store paths: " + string(storePath(1)) + " sha256:x", "store paths: " + string(storePath(1)) + " md5:",
	} {
		if paths, more, err := ParseHistoryComment(s); err == nil {
			t.Errorf("%q: got %v and %d more", s, paths, more)
		}
	}
}
