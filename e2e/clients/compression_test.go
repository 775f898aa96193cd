package clients_test

import (
	"fmt"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestCompression has those unpack a small image, with its layers in each compression, who are no engines of the matrix.
func TestCompression(t *testing.T) {
	mediaTypes := map[string]string{
		"gzip": ocispec.MediaTypeImageLayerGzip,
		"zstd": ocispec.MediaTypeImageLayerZstd,
		"none": ocispec.MediaTypeImageLayer,
	}
	for _, compression := range compressions {
		t.Run(compression, func(t *testing.T) {
			img := probe(t, compression)
			for _, l := range img.manifest.Layers {
				if l.MediaType != mediaTypes[compression] {
					t.Errorf("layer %s: media type %s, want %s", l.Digest, l.MediaType, mediaTypes[compression])
				}
			}
			if got := img.config.Config.Labels["org.example.label"]; got != "a label" {
				t.Errorf("label %q, want %q", got, "a label")
			}
			t.Run("skopeo", func(t *testing.T) {
				need(t, "skopeo")
				from := "oci-archive:" + img.archive
				if copied := skopeoCopy(t, from, img.tag()); copied.digest != img.digest {
					t.Errorf("copied %s, want %s", copied.digest, img.digest)
				}
				if compression == "zstd" {
					return // from which it makes no docker archive
				}
				// Whose layers are uncompressed: skopeo checks diff IDs.
				run(t, "skopeo", "copy", from, "docker-archive:"+scratch(t)+"/docker.tar:probe:dev")
			})
			t.Run("buildah", func(t *testing.T) {
				needIsolation(t)
				need(t, "buildah")
				storage, _ := containersStorage(t)
				b := append(client{"buildah"}, storage...)
				container := b.run(t, "from", "oci-archive:"+img.archive)
				defer b.run(t, "rm", container)
				judgeTree(t, treeOf(t, probePaths...), b.run(t, "mount", container), true)
			})
			t.Run("umoci", func(t *testing.T) {
				needIsolation(t)
				need(t, "umoci", "runc")
				if compression == "zstd" && olderThan(t, strings.TrimPrefix(run(t, "umoci", "--version"), "umoci version "), 0, 5) {
					if _, failure := try(t, "umoci", "unpack", "--image", img.ociLayout(), scratch(t)+"/bundle"); !strings.Contains(failure, "unpack") {
						t.Errorf("this umoci can't read zstd, and says %q", failure)
					}
					return
				}
				bundle := umociUnpack(t, img)
				editBundle(t, bundle)
				judgeProbe(t, "umoci", run(t, "runc", "--root", runDir+"/runc", "run", "--bundle", bundle, "probe-"+compression))
			})
			t.Run("crane", func(t *testing.T) {
				need(t, "crane")
				_, failure := try(t, "crane", "validate", "--tarball", img.archive)
				if readable := compression != "zstd"; readable && failure != "" {
					t.Error(failure)
				} else if !readable && failure == "" {
					t.Errorf("crane validate reads %s in an archive by now: tell so", compression)
				}
			})
		})
	}
}

// olderThan tells whether a version is older than major.minor.
func olderThan(t *testing.T, version string, major, minor int) bool {
	t.Helper()
	var gotMajor, gotMinor int
	if n, err := fmt.Sscanf(version, "%d.%d", &gotMajor, &gotMinor); n != 2 {
		t.Fatalf("version %q: %v", version, err)
	}
	return gotMajor < major || gotMajor == major && gotMinor < minor
}
