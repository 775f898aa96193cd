package base

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/image/imagetest"
	"github.com/rules-strata/rules_strata/tool/store"
	"github.com/rules-strata/rules_strata/tool/validate"
)

// Images that the programs of rules_oci and rules_img made (testdata/interop/make.sh) are
// bases as they are; what is built on one is right, and knows which store paths it has.
func TestOpen_OtherRules(t *testing.T) {
	arm64 := ocispec.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}
	for _, test := range []struct {
		file     string
		platform ocispec.Platform
		system   string
		whole    bool // the layers have the store path as a store has it
	}{
		{"oci_image", amd64, "x86_64-linux", true},
		{"oci_image_index", amd64, "x86_64-linux", true},
		{"oci_image_index", arm64, "aarch64-linux", true},
		{"oci_load", amd64, "x86_64-linux", true},
		// rules_img's directories are writable.
		{"image_manifest", amd64, "x86_64-linux", false},
		{"image_load", amd64, "x86_64-linux", false},
	} {
		t.Run(test.file+" "+test.platform.Architecture, func(t *testing.T) {
			archive := filepath.Join(testdata, "interop", test.file+".tar")
			for _, path := range []string{archive, unpack(t, archive)} {
				opened, b := read(t, path, Options{Platform: test.platform})
				hash, there := b.StorePaths["/nix/store/0g80j8fh4wp8p2jmb0a8giig40jzalcj-a"]
				if len(b.StorePaths) != 1 || !there || (hash != store.Hash{}) != test.whole {
					t.Errorf("%s: store paths %v", path, b.StorePaths)
				}
				img, err := image.BuildOn(b, image.Settings{System: test.system, Cmd: []string{"/x"}}, nil)
				if err != nil {
					t.Fatal(err)
				}
				r, err := validate.Image(t.Context(), imagetest.Archive(t, img, opened.Blobs(), "interop:1"))
				if err != nil {
					t.Fatal(err)
				}
				for _, fault := range r.Faults {
					if !slices.ContainsFunc(b.Layers, func(l ocispec.Descriptor) bool { return strings.HasSuffix(fault.Where, l.Digest.Encoded()) }) {
						t.Errorf("%s: %s: %s", path, fault.Where, fault.What) // What is in their layers is theirs.
					}
				}
			}
		})
	}
}
