package image_test

import (
	"bytes"
	"compress/gzip"
	"crypto/md5"
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/image/imagetest"
	"github.com/rules-strata/rules_strata/tool/validate"
)

// twoPlatforms is an index of two images over real layers, the second without the last of them.
func twoPlatforms(t *testing.T, layers []imagetest.Layer, mediaTypes string) (*image.Index, []image.Blob) {
	t.Helper()
	amd64, blobs := imagetest.Build(t, image.Settings{System: "x86_64-linux", Cmd: []string{"/bin/x"}, MediaTypes: mediaTypes}, layers)
	arm64, _ := imagetest.Build(t, image.Settings{System: "aarch64-linux", MediaTypes: mediaTypes}, layers[:2])
	x, err := image.BuildIndex([]ocispec.Descriptor{arm64.Descriptor, amd64.Descriptor}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if x, err = x.WithImages([]*image.Image{arm64, amd64}); err != nil {
		t.Fatal(err)
	}
	return x, blobs
}

// forms are all forms of archive.
func forms() []image.Archive {
	var out []image.Archive
	for _, compression := range image.ArchiveCompressions() {
		for _, format := range image.ArchiveFormats() {
			out = append(out, image.Archive{Format: format, Compression: compression})
		}
		out = append(out, image.Archive{Format: image.FormatDockerArchive, Legacy: true, Compression: compression})
	}
	return out
}

func formName(a image.Archive) string {
	name := a.Format + "." + a.Compression
	if a.Legacy {
		name = "legacy-" + name
	}
	return name
}

// The oracle takes every form of archive, of an image and of an index, whatever the layers'
// compression and media types, and finds the same images and layers in all.
func TestArchive_AllForms(t *testing.T) {
	tags := []string{"web:dev", "example.org:5000/team/web:1"}
	for _, of := range []struct{ compression, mediaTypes string }{
		{"gzip", image.MediaTypesOCI},
		{"zstd", image.MediaTypesOCI},
		{"gzip", image.MediaTypesDocker},
		{"none", image.MediaTypesDocker},
	} {
		t.Run(of.compression+"-"+of.mediaTypes, func(t *testing.T) {
			index, blobs := twoPlatforms(t, imagetest.Mini(t, testdata, of.compression), of.mediaTypes)
			amd64 := index.Images[0]
			for _, form := range forms() {
				for content, images := range map[image.Content][]*image.Image{index: index.Images, amd64: {amd64}} {
					var b bytes.Buffer
					if err := form.Write(t.Context(), &b, content, blobs, tags); err != nil {
						t.Fatalf("%s: %v", formName(form), err)
					}
					r := judge(t, formName(form), b.Bytes())
					checkImages(t, formName(form), r, images, form.Format == image.FormatDockerArchive)
				}
			}
			for content, images := range map[image.Content][]*image.Image{index: index.Images, amd64: {amd64}} {
				dir := filepath.Join(t.TempDir(), "layout")
				if err := image.WriteLayout(t.Context(), dir, content, blobs, tags, image.Symlink); err != nil {
					t.Fatal(err)
				}
				r, err := validate.Image(t.Context(), dir)
				if err == nil {
					err = r.Err()
				}
				if err != nil {
					t.Fatalf("layout: %v", err)
				}
				checkImages(t, "layout", r, images, false)
			}
		})
	}
}

// judge has the oracle look for faults in an archive.
func judge(t *testing.T, name string, archive []byte) *validate.Report {
	t.Helper()
	path := filepath.Join(t.TempDir(), "archive")
	if err := os.WriteFile(path, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := validate.Image(t.Context(), path)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if err := r.Err(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return r
}

func checkImages(t *testing.T, name string, r *validate.Report, images []*image.Image, byConfig bool) {
	t.Helper()
	if len(r.Images) != len(images) {
		t.Fatalf("%s: %d images, want %d", name, len(r.Images), len(images))
	}
	for i, img := range images {
		want := img.Descriptor.Digest
		if byConfig {
			want = img.ConfigDescriptor.Digest
		}
		got := r.Images[i]
		if got.Digest != want || len(got.Names) != 2 {
			t.Errorf("%s: image %d is %s with the names %q, want %s with two", name, i+1, got.Digest, got.Names, want)
		}
		for n, l := range got.Layers {
			if l.DiffID != img.DiffIDs[n] {
				t.Errorf("%s: layer %d of image %d is %s, want %s", name, n+1, i+1, l.DiffID, img.DiffIDs[n])
			}
		}
	}
}

// What is in the archives, entry by entry: of a docker archive with and without what older clients
// read, over layers that are compressed by zstd.
func TestArchive_Listing(t *testing.T) {
	index, blobs := twoPlatforms(t, imagetest.Mini(t, testdata, "zstd"), "")
	for _, form := range []image.Archive{
		{Format: image.FormatArchive},
		{Format: image.FormatOCIArchive},
		{Format: image.FormatDockerArchive},
		{Format: image.FormatDockerArchive, Legacy: true},
	} {
		var b bytes.Buffer
		if err := form.Write(t.Context(), &b, index, blobs, []string{"web:dev", "web:1", "example.org/team/web:dev"}); err != nil {
			t.Fatal(err)
		}
		name := form.Format
		if form.Legacy {
			name = "legacy"
		}
		golden(t, filepath.Join("testdata", "index."+name+".txt"), strings.Join(imagetest.Listing(t, &b), "\n")+"\n")
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if flag.Lookup("update").Value.String() == "true" { // image_test.go's, which is in the same test binary
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

// A compressed archive is the archive, and the same each time, whatever pieces its writer takes.
func TestArchive_Compression(t *testing.T) {
	index, blobs := twoPlatforms(t, imagetest.Mini(t, testdata, "none"), "")
	write := func(compression string) []byte {
		var b bytes.Buffer
		if err := (image.Archive{Compression: compression}).Write(t.Context(), &b, index, blobs, nil); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	plain := write("none")
	for compression, open := range map[string]func(io.Reader) (io.Reader, error){
		"gzip": func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		"zstd": func(r io.Reader) (io.Reader, error) { return zstd.NewReader(r) },
	} {
		first := write(compression)
		if !bytes.Equal(first, write(compression)) {
			t.Errorf("%s: two runs differ", compression)
		}
		r, err := open(bytes.NewReader(first))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s: decompressed it is another archive (%v)", compression, err)
		}
		if len(first) >= len(plain) {
			t.Errorf("%s: %d bytes of %d", compression, len(first), len(plain))
		}
	}
}

// The size of a layer's tar can be found out where nobody has said it; one that is wrong,
// as a tar that isn't the config's, is an error.
func TestArchive_LayerTars(t *testing.T) {
	layers := imagetest.Mini(t, testdata, "zstd")
	img, blobs := imagetest.Build(t, image.Settings{System: "x86_64-linux"}, layers)
	form := image.Archive{Format: image.FormatDockerArchive}
	write := func(img *image.Image, blobs []image.Blob) ([]byte, error) {
		var b bytes.Buffer
		err := form.Write(t.Context(), &b, img, blobs, nil)
		return b.Bytes(), err
	}
	want, err := write(img, blobs)
	if err != nil {
		t.Fatal(err)
	}
	unknown := slices.Clone(blobs)
	for i := range unknown {
		unknown[i].UncompressedSize = 0
	}
	if got, err := write(img, unknown); err != nil || !bytes.Equal(got, want) {
		t.Errorf("without sizes it is another archive (%v)", err)
	}
	wrong := slices.Clone(blobs)
	wrong[1].UncompressedSize -= 512
	if _, err := write(img, wrong); err == nil || !strings.Contains(err.Error(), "LayerSize mismatch") {
		t.Errorf("a smaller size: error %v", err)
	}
	other := *img
	other.DiffIDs = slices.Clone(img.DiffIDs)
	other.DiffIDs[2] = other.DiffIDs[1]
	if _, err := write(&other, blobs[:2]); err == nil {
		t.Error("a layer of the image is no blob, and that is no error")
	}
	other.DiffIDs[1] = img.DiffIDs[2]
	if _, err := write(&other, blobs); err == nil || !strings.Contains(err.Error(), "mismatch") {
		t.Errorf("diff IDs of other layers: error %v", err)
	}
	// What the digest of the blob covers behind the compressed frame counts too.
	longer := slices.Clone(blobs)
	longer[0].Open = func() (io.ReadCloser, error) {
		b, err := os.ReadFile(blobs[0].Path)
		return io.NopCloser(io.MultiReader(bytes.NewReader(b), strings.NewReader("more"))), err
	}
	if _, err := write(img, longer); err == nil || !strings.Contains(err.Error(), "BlobSize mismatch") {
		t.Errorf("bytes behind the blob: error %v", err)
	}
}

func TestArchive_Check(t *testing.T) {
	for _, test := range []struct {
		form image.Archive
		want string
	}{
		{image.Archive{Format: "zip"}, `format "zip": want one of archive, docker-archive, oci-archive`},
		{image.Archive{Compression: "xz"}, `compression "xz" of the archive: want one of none, gzip, zstd`},
		{image.Archive{Legacy: true}, "legacy goes with the format docker-archive alone"},
		{image.Archive{Format: image.FormatOCIArchive, Legacy: true}, "legacy goes with the format docker-archive alone"},
	} {
		if err := test.form.Check(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: error %v: want one with %q", test.form, err, test.want)
		}
	}
	// A tag that has no room for the platform.
	index, blobs := twoPlatforms(t, imagetest.Mini(t, testdata, "gzip"), "")
	err := image.WriteArchive(t.Context(), io.Discard, index, blobs, []string{"web:" + strings.Repeat("x", 124)})
	if err == nil || !strings.Contains(err.Error(), "for linux/amd64: the tag has 130 characters, want at most 128") {
		t.Errorf("a long tag: error %v", err)
	}
}

// Nixery's server reads the manifest and, by the digests in it, where the blobs are.
func TestWriteNixery(t *testing.T) {
	index, blobs := twoPlatforms(t, imagetest.Mini(t, testdata, "gzip"), image.MediaTypesDocker)
	img := index.Images[0]
	var first []byte
	for _, how := range []image.Linking{image.Symlink, image.Copy} {
		dir := filepath.Join(t.TempDir(), "nixery")
		if err := image.WriteNixery(t.Context(), dir, img, blobs, how); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, image.NixeryFile))
		if err != nil {
			t.Fatal(err)
		}
		if first != nil && !bytes.Equal(b, first) {
			t.Error("links and copies give two outputs")
		}
		first = b
		// As its server has it (builder.go of 2019); encoding/json reads base64 into bytes.
		var got struct {
			Manifest       json.RawMessage
			LayerLocations map[string]struct {
				Path string
				Size int64
				Md5  []byte
			}
		}
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		if string(got.Manifest) != string(img.Manifest) {
			t.Errorf("manifest %s, want %s", got.Manifest, img.Manifest)
		}
		if len(got.LayerLocations) != 1+len(img.Layers) {
			t.Errorf("%d locations, want %d", len(got.LayerLocations), 1+len(img.Layers))
		}
		for _, d := range append(slices.Clone(img.Layers), img.ConfigDescriptor) {
			l := got.LayerLocations[d.Digest.Encoded()]
			b, err := os.ReadFile(filepath.Join(dir, l.Path))
			if err != nil {
				t.Fatal(err)
			}
			if sum := md5.Sum(b); !bytes.Equal(l.Md5, sum[:]) || l.Size != int64(len(b)) || d.Digest.Algorithm().FromBytes(b) != d.Digest {
				t.Errorf("%s is at %+v: its file has other bytes", d.Digest, l)
			}
		}
	}
	oci, blobs := imagetest.Build(t, image.Settings{System: "x86_64-linux"}, imagetest.Mini(t, testdata, "gzip"))
	dir := filepath.Join(t.TempDir(), "nixery")
	if err := image.WriteNixery(t.Context(), dir, oci, blobs, image.Copy); err == nil || !strings.Contains(err.Error(), "use docker's media types") {
		t.Errorf("OCI's media types: error %v", err)
	}
	docker, _ := twoPlatforms(t, imagetest.Mini(t, testdata, "gzip"), image.MediaTypesDocker)
	blobs[1].Path = blobs[0].Path
	if err := image.WriteNixery(t.Context(), dir, docker.Images[0], blobs, image.Copy); err == nil {
		t.Error("wrong bytes, and no error")
	}
	if _, err := os.Lstat(dir); !os.IsNotExist(err) {
		t.Errorf("left behind: %v", err)
	}
}
