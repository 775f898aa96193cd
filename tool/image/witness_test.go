package image_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	ggcr "github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/image/imagetest"
	"github.com/rules-strata/rules_strata/tool/validate"
)

const testdata = "../../testdata"

// An image of real layers is right in the eyes of the oracle, and of
// go-containerregistry where that reads the compression, in every form.
func TestRealImage_Witnesses(t *testing.T) {
	tags := []string{"web:dev", "example.org:5000/team/web:dev"}
	for _, compression := range []string{"gzip", "zstd", "none"} {
		t.Run(compression, func(t *testing.T) {
			layers := imagetest.Mini(t, testdata, compression)
			settings := image.Settings{System: "x86_64-linux", Entrypoint: []string{"/bin/x"}, Env: []string{"A=b"}, ExposedPorts: []string{"80"}}
			img, blobs := imagetest.Build(t, settings, layers)
			archive := imagetest.Archive(t, img, blobs, tags...)
			links := filepath.Join(t.TempDir(), "links")
			copies := filepath.Join(t.TempDir(), "copies")
			for dir, how := range map[string]image.Linking{links: image.Symlink, copies: image.Copy} {
				if err := image.WriteLayout(t.Context(), dir, img, blobs, tags, how); err != nil {
					t.Fatal(err)
				}
			}
			for _, path := range []string{archive, links, copies} {
				checkOracle(t, path, img, len(layers))
			}
			if compression != "gzip" {
				return // go-containerregistry's validate reads no other layers.
			}
			index, err := layout.ImageIndexFromPath(copies) // It refuses blobs that are links.
			if err != nil {
				t.Fatal(err)
			}
			if err := ggcr.Index(index); err != nil {
				t.Error(err)
			}
			inLayout, err := index.Image(v1.Hash{Algorithm: "sha256", Hex: img.Descriptor.Digest.Encoded()})
			if err != nil {
				t.Fatal(err)
			}
			if manifest, err := inLayout.RawManifest(); err != nil || string(manifest) != string(img.Manifest) {
				t.Errorf("manifest %s (%v)", manifest, err)
			}
			for _, tag := range tags {
				ref, err := name.NewTag(tag)
				if err != nil {
					t.Fatal(err)
				}
				got, err := tarball.ImageFromPath(archive, &ref)
				if err != nil {
					t.Fatal(err)
				}
				if err := ggcr.Image(got); err != nil {
					t.Errorf("archive, %s: %v", tag, err)
				}
				if config, err := got.RawConfigFile(); err != nil || string(config) != string(img.Config) {
					t.Errorf("archive, %s: config %s (%v)", tag, config, err)
				}
			}
		})
	}
}

func checkOracle(t *testing.T, path string, img *image.Image, layers int) {
	t.Helper()
	r, err := validate.Image(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Err(); err != nil {
		t.Errorf("%s: %v", path, err)
	}
	if len(r.Images) != 1 || r.Images[0].Digest != img.Descriptor.Digest || len(r.Images[0].Layers) != layers {
		t.Errorf("%s: the oracle found %+v", path, r.Images)
	}
}

// The digest depends on the layers and the settings, not on where files lie,
// when they were written or what they are called.
func TestRealImage_SameBytesTwice(t *testing.T) {
	var want []byte
	for range 2 {
		img, blobs := imagetest.Build(t, image.Settings{System: "aarch64-linux"}, imagetest.Mini(t, testdata, "gzip"))
		b, err := os.ReadFile(imagetest.Archive(t, img, blobs, "web"))
		if err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = b
		} else if string(b) != string(want) {
			t.Error("two archives of the same image differ")
		}
	}
}

// The whole closure of a real server, one layer for each of the largest paths
// and one for the rest.
func TestRealImage_Web(t *testing.T) {
	layers := imagetest.Web(t, testdata, "zstd", 8)
	settings := image.Settings{System: "x86_64-linux", Env: []string{"PATH=/bin"}, ExposedPorts: []string{"18080"}, WorkingDir: "/"}
	img, blobs := imagetest.Build(t, settings, layers)
	checkOracle(t, imagetest.Archive(t, img, blobs, "web:dev"), img, len(layers))
}
