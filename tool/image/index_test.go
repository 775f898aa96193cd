package image

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/image-spec/schema"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"pgregory.net/rapid"

	"github.com/rules-strata/rules_strata/tool/digestfile"
)

// testImages are images of the systems over layers of which they have one in common.
func testImages(t *testing.T, mediaTypes string, systems ...string) []*Image {
	t.Helper()
	var out []*Image
	for _, system := range systems {
		img, err := Build(Settings{System: system, MediaTypes: mediaTypes}, []*digestfile.File{testLayer("common"), testLayer(system)})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, img)
	}
	return out
}

func descriptors(images []*Image) []ocispec.Descriptor {
	var out []ocispec.Descriptor
	for _, img := range images {
		out = append(out, img.Descriptor)
	}
	return out
}

// The document, of both families of media types; image-spec's schema takes it, and so does ParseIndex.
func TestBuildIndex_Golden(t *testing.T) {
	for name, test := range map[string]struct {
		mediaTypes  string
		annotations map[string]string
	}{
		"index.json":        {MediaTypesOCI, map[string]string{"org.opencontainers.image.version": "1 < 2"}},
		"index.docker.json": {MediaTypesDocker, nil},
	} {
		images := testImages(t, test.mediaTypes, "x86_64-linux", "aarch64-linux", "armv7l-linux")
		x, err := BuildIndex(descriptors(images), test.annotations)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, x.Bytes)
		if err := schema.ValidatorMediaTypeImageIndex.Validate(bytes.NewReader(x.Bytes)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		again, err := ParseIndex(x.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if again, err = again.WithImages(images); err != nil {
			t.Fatal(err)
		}
		if again.Descriptor.Digest != x.Descriptor.Digest || again.Descriptor.MediaType != mediaTypesOf(images[0].Descriptor.MediaType).index {
			t.Errorf("%s: parsed %+v, built %+v", name, again.Descriptor, x.Descriptor)
		}
		for i, img := range again.Images {
			if img.Descriptor.Digest != x.Manifests[i].Digest {
				t.Errorf("%s: image %d is %s, want %s", name, i, img.Descriptor.Digest, x.Manifests[i].Digest)
			}
		}
	}
}

// The order in which images are named is of no consequence.
func TestBuildIndex_Order(t *testing.T) {
	all := descriptors(testImages(t, "", Systems()...))
	// armhf and armv7l are one platform.
	all = slices.DeleteFunc(all, func(d ocispec.Descriptor) bool {
		return d.Digest == testImages(t, "", "armhf-linux")[0].Descriptor.Digest
	})
	want, err := BuildIndex(all, nil)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		x, err := BuildIndex(rapid.Permutation(all).Draw(t, "images"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(x.Bytes, want.Bytes) {
			t.Errorf("got\n%s\nwant\n%s", x.Bytes, want.Bytes)
		}
	})
}

func TestBuildIndex_Errors(t *testing.T) {
	oci := descriptors(testImages(t, "", "x86_64-linux", "aarch64-linux", "armv7l-linux", "armhf-linux"))
	docker := descriptors(testImages(t, MediaTypesDocker, "aarch64-linux"))
	without := oci[0]
	without.Platform = nil
	layer := oci[0]
	layer.MediaType = ocispec.MediaTypeImageLayer
	for name, test := range map[string]struct {
		images      []ocispec.Descriptor
		annotations map[string]string
		want        string
	}{
		"none":               {nil, nil, "the index has no images"},
		"twice":              {[]ocispec.Descriptor{oci[0], oci[1], oci[0]}, nil, "two images are for linux/amd64: sha256:"},
		"two names":          {oci, nil, "two images are for linux/arm/v7: sha256:"},
		"mixed":              {[]ocispec.Descriptor{oci[0], docker[0]}, nil, "an index is of images of one kind"},
		"no platform":        {[]ocispec.Descriptor{without}, nil, "image 1 of the index: sha256:"},
		"a layer":            {[]ocispec.Descriptor{oci[1], layer}, nil, `image 2 of the index: sha256:`},
		"docker annotations": {docker, map[string]string{"a": "b"}, "annotations: docker's manifest lists have none"},
		"empty key":          {oci[:1], map[string]string{"": "b"}, `annotations: ""`},
	} {
		if _, err := BuildIndex(test.images, test.annotations); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v: want one with %q", name, err, test.want)
		}
	}
}

func TestParseIndex_Errors(t *testing.T) {
	x, err := BuildIndex(descriptors(testImages(t, "", "x86_64-linux")), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ old, new, want string }{
		{`{"schemaVersion":2`, `{"schemaVersion":1`, "schemaVersion 1: want 2"},
		{"image.index.v1+json", "image.manifest.v1+json", "media type"},
		{`"size":`, `"size":-`, "negative size"},
		{"sha256:", "sha512:", "digest"},
		{`"platform"`, `"x"`, "its descriptor has no platform"},
		{`]}`, `]}{}`, "bytes follow the JSON object"},
		{`"manifests":[{`, `"manifests":[],"x":[{`, "it names no image"},
	} {
		b := bytes.Replace(x.Bytes, []byte(test.old), []byte(test.new), 1)
		if bytes.Equal(b, x.Bytes) {
			t.Fatalf("%s is not in %s", test.old, x.Bytes)
		}
		if _, err := ParseIndex(b); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s for %s: error %v: want one with %q", test.new, test.old, err, test.want)
		}
	}
}

func TestIndex_WithImages_Errors(t *testing.T) {
	images := testImages(t, "", "x86_64-linux", "aarch64-linux", "riscv64-linux")
	x, err := BuildIndex(descriptors(images[:2]), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.WithImages(images[:1]); err == nil || !strings.Contains(err.Error(), "(linux/arm64), is none of the images given") {
		t.Errorf("one too few: %v", err)
	}
	if _, err := x.WithImages(images); err == nil || !strings.Contains(err.Error(), images[2].Descriptor.Digest.String()+" is not in the index") {
		t.Errorf("one too many: %v", err)
	}
	if err := WriteArchive(t.Context(), new(bytes.Buffer), x, nil, nil); err == nil || !strings.Contains(err.Error(), "without its images") {
		t.Errorf("an archive of an index without images: %v", err)
	}
}
