package clients_test

import (
	"strconv"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestCompression runs a small image with its layers in each compression under
// each client that takes that compression (buildah unpacks it). The program
// prints what the image's settings (environment, working directory, user,
// entrypoint and command) came to in the process, and that a user who isn't root
// can read the store.
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
			judgeOutput := func(t *testing.T, output string) {
				t.Helper()
				if output != probeOutput {
					t.Errorf("the program says %q, want %q", output, probeOutput)
				}
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
			t.Run("podman", func(t *testing.T) {
				p := podman(t, "runc")
				judgeOutput(t, p.run(t, podmanRun("--rm", podmanLoad(t, p, img))...))
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
			t.Run("containerd", func(t *testing.T) {
				ctr := containerd(t)
				name := containerdImport(t, ctr, img)
				judgeOutput(t, ctr.run(t, "run", "--rm", "--snapshotter=overlayfs", "--cgroup", cgroupParent()+"/probe", name, "probe"))
			})
			t.Run("docker", func(t *testing.T) {
				d := docker(t)
				if compression == "zstd" {
					notBefore(t, "docker", d.run(t, "version", "--format", "{{.Server.Version}}"), 23, 0)
				}
				judgeOutput(t, d.run(t, "run", "--rm", "--network=none", dockerLoad(t, d, img)))
			})
			t.Run("umoci", func(t *testing.T) {
				needIsolation(t)
				need(t, "umoci", "runc")
				if compression == "zstd" {
					notBefore(t, "umoci", strings.TrimPrefix(run(t, "umoci", "--version"), "umoci version "), 0, 5)
				}
				bundle := umociUnpack(t, img)
				editBundle(t, bundle)
				judgeOutput(t, run(t, "runc", "--root", runDir+"/runc", "run", "--bundle", bundle, "probe-"+compression))
			})
			t.Run("crane", func(t *testing.T) {
				need(t, "crane")
				if compression == "zstd" {
					t.Skip("crane validate reads no zstd layers in an archive")
				}
				run(t, "crane", "validate", "--tarball", img.archive)
			})
		})
	}
}

// notBefore skips the test if the client's version is older than major.minor:
// it can't read zstd then.
func notBefore(t *testing.T, client, version string, major, minor int) {
	t.Helper()
	f := strings.SplitN(version, ".", 3)
	gotMajor, err := strconv.Atoi(f[0])
	if err != nil || len(f) < 2 {
		t.Fatalf("%s: version %q", client, version)
	}
	gotMinor, err := strconv.Atoi(f[1])
	if err != nil {
		t.Fatalf("%s: version %q", client, version)
	}
	if gotMajor < major || gotMajor == major && gotMinor < minor {
		t.Skipf("%s %s reads no zstd layers; %d.%d does", client, version, major, minor)
	}
}
