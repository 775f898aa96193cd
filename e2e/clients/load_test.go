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

func strataLoad(t *testing.T, e engine, args ...string) loaded {
	t.Helper()
	c := exec.Command(given(strataEnv), slices.Concat([]string{"load", "--json"}, e.place(), args)...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("strata load %s: %v\n%s", strings.Join(args, " "), err, &stderr)
	}
	var l loaded
	if err := json.Unmarshal(out, &l); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d layers sent, %d were there; %s", l.LayersSent, l.LayersThere, out)
	return l
}

// judgeUpdate loads an image without its uppermost layer, then the whole: no other layer may be sent.
func judgeUpdate(t *testing.T, e engine) {
	t.Helper()
	full := probe(t, "gzip")
	strataLoad(t, e, truncated(t, full), "--tag", "probe:lower")
	l := strataLoad(t, e, full.layout)
	if l.Runtime != "podman" && (l.LayersSent != 1 || l.LayersThere != len(full.manifest.Layers)-1) {
		t.Errorf("%+v, want one layer to be sent", l)
	}
	if top := full.manifest.Layers[len(full.manifest.Layers)-1]; l.BytesSent != nil && *l.BytesSent > top.Size+20_000 {
		t.Errorf("%d bytes sent for a layer of %d", *l.BytesSent, top.Size)
	}
	if got := e.run(t, full.name); got != probeOutput {
		t.Errorf("the program says %q, want %q", got, probeOutput)
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
