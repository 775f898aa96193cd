package image

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// Whatever Parse takes can be written as it is, under names that stay inside an
// archive; and it takes what Build makes. In the manifest, CONFIG and SIZE stand
// for the config's digest and size, so that the fuzzer gets past them.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"least", "full"} {
		config, err := os.ReadFile(filepath.Join("testdata", name+".config.json"))
		if err != nil {
			f.Fatal(err)
		}
		manifest, err := os.ReadFile(filepath.Join("testdata", name+".manifest.json"))
		if err != nil {
			f.Fatal(err)
		}
		if _, err := Parse(config, manifest); err != nil {
			f.Fatal(err)
		}
		d := digest.FromBytes(config).String()
		text := strings.Replace(string(manifest), d, "CONFIG", 1)
		if sized := strings.Replace(text, `"CONFIG","size":`+strconv.Itoa(len(config)), `"CONFIG","size":SIZE`, 1); sized != text {
			text = sized
		} else {
			f.Fatalf("no config in %s", text)
		}
		f.Add(string(config), text)
		f.Add("{}", text)
		f.Add("null", text)
		f.Add(string(config), strings.Replace(text, "CONFIG", "sha256:../CONFIG", 1))
		f.Add(string(config), strings.Replace(text, `"layers":[{`, `"layers":[{},{`, 1))
		f.Add(string(config), strings.Replace(text, "sha256:", "sha512:", 1))
		f.Add(string(config), text+"x")
	}
	safe := regexp.MustCompile("^blobs/sha256/[0-9a-f]{64}$")
	f.Fuzz(func(t *testing.T, config, manifest string) {
		manifest = strings.ReplaceAll(manifest, "CONFIG", digest.FromString(config).String())
		manifest = strings.ReplaceAll(manifest, "SIZE", strconv.Itoa(len(config)))
		img, err := Parse([]byte(config), []byte(manifest))
		if err != nil {
			return
		}
		if img.ConfigDescriptor.Digest != digest.FromString(config) || img.Descriptor.Digest != digest.FromString(manifest) ||
			img.ConfigDescriptor.Size != int64(len(config)) || img.Descriptor.Size != int64(len(manifest)) {
			t.Fatalf("descriptors %+v and %+v", img.ConfigDescriptor, img.Descriptor)
		}
		var blobs []Blob
		for _, l := range img.Layers {
			if !safe.MatchString(blobName(l)) {
				t.Fatalf("layer %+v", l)
			}
			blobs = append(blobs, Blob{Descriptor: l, Open: func() (io.ReadCloser, error) { return nil, errFull }})
		}
		// It gets as far as the first blob; with a layer of two sizes not even there.
		var b bytes.Buffer
		if err := WriteArchive(t.Context(), &b, img, blobs, []string{"web:dev"}); len(blobs) == 0 && err != nil {
			t.Fatal(err)
		} else if err == nil && !bytes.Contains(b.Bytes(), []byte(config)) {
			t.Fatal("an archive without the config")
		}
	})
}

// Whatever ParseIndex takes names images by digests that are safe as file names, each with a
// platform, and is a fixed point: what BuildIndex makes of it is taken again.
func FuzzParseIndex(f *testing.F) {
	for _, name := range []string{"index.json", "index.docker.json"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		if _, err := ParseIndex(b); err != nil {
			f.Fatal(err)
		}
		text := string(b)
		f.Add(text)
		f.Add(strings.Replace(text, "sha256:", "sha256:../", 1))
		f.Add(strings.Replace(text, `"platform":{`, `"platform":null,"x":{`, 1))
		f.Add(strings.Replace(text, `"manifests":[{`, `"manifests":[{},{`, 1))
		f.Add(strings.Replace(text, `"size":`, `"size":9999999999`, 1))
		f.Add(text + "{}")
	}
	f.Add("null")
	safe := regexp.MustCompile("^blobs/sha256/[0-9a-f]{64}$")
	f.Fuzz(func(t *testing.T, text string) {
		x, err := ParseIndex([]byte(text))
		if err != nil {
			return
		}
		if x.Descriptor.Digest != digest.FromString(text) || x.Descriptor.Size != int64(len(text)) || len(x.Manifests) == 0 {
			t.Fatalf("%+v", x)
		}
		for _, d := range x.Manifests {
			if !safe.MatchString(blobName(d)) || d.Size < 0 || d.Platform == nil {
				t.Fatalf("image %+v", d)
			}
		}
		if _, err := x.WithImages(nil); err == nil {
			t.Fatal("an index without its images")
		}
		built, err := BuildIndex(x.Manifests, nil)
		if err != nil {
			return // two for one platform
		}
		if again, err := ParseIndex(built.Bytes); err != nil || again.Descriptor.Digest != built.Descriptor.Digest {
			t.Fatalf("what BuildIndex made is not taken: %v", err)
		}
	})
}
