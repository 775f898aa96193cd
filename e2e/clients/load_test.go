package clients_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// loaded is what strata load --json says.
type loaded struct {
	Runtime     string   `json:"runtime"`
	ID          string   `json:"id"`
	Tags        []string `json:"tags"`
	LayersSent  int      `json:"layers_sent"`
	LayersThere int      `json:"layers_there"`
	BytesSent   *int64   `json:"bytes_sent"`
	BytesThere  int64    `json:"bytes_there"`
}

// loadRuntimes are the runtimes, each started anew: the options by which strata load finds
// it, the way to run the image of a name, and the way to remove one.
var loadRuntimes = []struct {
	name    string
	runtime string // as strata load calls it
	start   func(t *testing.T) (options []string, run, remove func(t *testing.T, name string) string)
}{
	{"docker", "docker", func(t *testing.T) ([]string, func(*testing.T, string) string, func(*testing.T, string) string) {
		return loadIntoDocker(docker(t))
	}},
	{"newer docker, graph drivers", "docker", func(t *testing.T) ([]string, func(*testing.T, string) string, func(*testing.T, string) string) {
		return loadIntoDocker(newerDocker(t, "graph drivers"))
	}},
	{"newer docker, containerd's store", "docker", func(t *testing.T) ([]string, func(*testing.T, string) string, func(*testing.T, string) string) {
		return loadIntoDocker(newerDocker(t, "containerd"))
	}},
	{"podman", "podman", func(t *testing.T) ([]string, func(*testing.T, string) string, func(*testing.T, string) string) {
		p := podman(t, "runc")
		var options []string
		for _, o := range p[1:] {
			options = append(options, "--podman-option="+o)
		}
		return options, func(t *testing.T, name string) string {
				return p.run(t, podmanRun("--rm", name)...)
			}, func(t *testing.T, name string) string {
				return p.run(t, "image", "rm", "--force", name)
			}
	}},
	{"containerd", "containerd", func(t *testing.T) ([]string, func(*testing.T, string) string, func(*testing.T, string) string) {
		return loadIntoContainerd(containerd(t))
	}},
	{"newer containerd", "containerd", func(t *testing.T) ([]string, func(*testing.T, string) string, func(*testing.T, string) string) {
		return loadIntoContainerd(newerContainerd(t))
	}},
}

func loadIntoDocker(d client) (options []string, run, remove func(*testing.T, string) string) {
	return []string{"--host", d[2]}, func(t *testing.T, name string) string {
			return d.run(t, "run", "--rm", "--network=none", name)
		}, func(t *testing.T, name string) string {
			return d.run(t, "image", "rm", "--force", name)
		}
}

func loadIntoContainerd(ctr client) (options []string, run, remove func(*testing.T, string) string) {
	return []string{"--address", ctr[2]}, func(t *testing.T, name string) string {
			return ctr.run(t, "run", "--rm", "--cgroup", cgroupParent()+"/probe", name, "probe")
		}, func(t *testing.T, name string) string {
			return ctr.run(t, "images", "remove", "--sync", name)
		}
}

// TestLoad loads images into each runtime by strata load, and runs them.
func TestLoad(t *testing.T) {
	for _, r := range loadRuntimes {
		t.Run(r.name, func(t *testing.T) {
			options, run, remove := r.start(t)
			load := func(t *testing.T, args ...string) loaded {
				t.Helper()
				args = append(append([]string{"load", "--json", "--runtime", r.runtime}, options...), args...)
				c := exec.Command(given(strataEnv), args...)
				var stderr bytes.Buffer
				c.Stderr = &stderr
				out, err := c.Output()
				if err != nil {
					t.Fatalf("strata %s: %v\n%s", strings.Join(args, " "), err, &stderr)
				}
				var l loaded
				if err := json.Unmarshal(out, &l); err != nil {
					t.Fatal(err)
				}
				t.Logf("%d layers sent, %d were there; %s", l.LayersSent, l.LayersThere, out)
				return l
			}
			// Every compression, also those that the runtime itself can't read.
			for i, compression := range compressions {
				t.Run(compression, func(t *testing.T) {
					img := probe(t, compression)
					path := []string{img.archive, img.layout}[i%2]
					l := load(t, path)
					if l.LayersSent == 0 || !slices.Equal(l.Tags, []string{img.name}) {
						t.Errorf("%+v, want layers to be sent, and the tag %s", l, img.name)
					}
					if got := run(t, img.name); got != probeOutput {
						t.Errorf("the program says %q, want %q", got, probeOutput)
					}
					// Another name costs nothing.
					const name = "docker.io/library/other:name"
					if other := load(t, path, "--tag", "other:name"); other.LayersSent != 0 || !slices.Equal(other.Tags, []string{name}) ||
						other.BytesSent != nil && *other.BytesSent > 20_000 {
						t.Errorf("by another name: %+v, want nothing to be sent", other)
					}
					if got := run(t, name); got != probeOutput {
						t.Errorf("by another name the program says %q", got)
					}
					remove(t, img.name)
					remove(t, name)
				})
			}
			t.Run("update", func(t *testing.T) {
				full := probe(t, "gzip")
				lower := truncated(t, full)
				load(t, lower, "--tag", "probe:lower")
				l := load(t, full.layout)
				if r.runtime != "podman" && (l.LayersSent != 1 || l.LayersThere != len(full.manifest.Layers)-1) {
					t.Errorf("%+v, want one layer to be sent", l)
				}
				if top := full.manifest.Layers[len(full.manifest.Layers)-1]; l.BytesSent != nil && *l.BytesSent > top.Size+20_000 {
					t.Errorf("%d bytes sent for a layer of %d", *l.BytesSent, top.Size)
				}
				if got := run(t, full.name); got != probeOutput {
					t.Errorf("the program says %q, want %q", got, probeOutput)
				}
			})
		})
	}
}

// truncated is a layout of the image without its uppermost layer.
func truncated(t *testing.T, img *image) string {
	t.Helper()
	dir := filepath.Join(scratch(t), "truncated")
	blobs := filepath.Join(dir, "blobs/sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		t.Fatal(err)
	}
	put := func(v any) ocispec.Descriptor {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		d := digest.FromBytes(b)
		if err := os.WriteFile(filepath.Join(blobs, d.Encoded()), b, 0o644); err != nil {
			t.Fatal(err)
		}
		return ocispec.Descriptor{Digest: d, Size: int64(len(b))}
	}
	n := len(img.manifest.Layers) - 1
	config, manifest := img.config, img.manifest
	config.RootFS.DiffIDs = config.RootFS.DiffIDs[:n]
	config.History = config.History[:n]
	manifest.Layers = manifest.Layers[:n]
	for _, l := range manifest.Layers {
		if err := os.Symlink(img.blobPath(l.Digest), filepath.Join(blobs, l.Digest.Encoded())); err != nil {
			t.Fatal(err)
		}
	}
	d := put(config)
	d.MediaType = ocispec.MediaTypeImageConfig
	manifest.Config = d
	d = put(manifest)
	d.MediaType = ocispec.MediaTypeImageManifest
	index, err := json.Marshal(ocispec.Index{Manifests: []ocispec.Descriptor{d}})
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{ocispec.ImageIndexFile: index, ocispec.ImageLayoutFile: []byte(`{"imageLayoutVersion":"1.0.0"}`)} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
