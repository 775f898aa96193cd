package load

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/image/imagetest"
	"github.com/rules-strata/rules_strata/tool/imagefile"
	"github.com/rules-strata/rules_strata/tool/validate"
)

// opened is a real image of three layers, in an archive.
func opened(t *testing.T, compression string) *imagefile.Image {
	t.Helper()
	built, blobs := imagetest.Build(t, image.Settings{System: "x86_64-linux", Cmd: []string{"/x"}}, imagetest.Mini(t, "../../testdata", compression))
	return openAt(t, imagetest.Archive(t, built, blobs, "mini:1"))
}

func openAt(t *testing.T, path string) *imagefile.Image {
	t.Helper()
	f, err := imagefile.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	img, err := f.Select("", nil)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// written is what write writes, in a file.
func written(t *testing.T, write func(io.Writer) error) string {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "sent.tar")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// entries are the names in a tar.
func entries(t *testing.T, path string) (names []string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for tr := tar.NewReader(f); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
}

// What is sent to graph drivers is the image, with its layers as they are or uncompressed, which the config's
// diff IDs cover; of layers that are there the names alone.
func TestDockerArchive(t *testing.T) {
	names := []string{"docker.io/library/mini:1", "example.org/mini:2"}
	for _, compression := range []string{"gzip", "zstd", "none"} {
		img := opened(t, compression)
		for _, decompress := range []bool{false, true} {
			got := openAt(t, written(t, func(w io.Writer) error { return dockerArchive(t.Context(), w, img, names, 0, decompress) }))
			if !bytes.Equal(got.Config, img.Config) || !slices.Equal(got.Names, names) {
				t.Errorf("%s: another config, or the names %q", compression, got.Names)
			}
			for i, l := range got.Layers {
				want := img.Layers[i].Descriptor.Digest
				if decompress {
					want = img.Layers[i].DiffID
				}
				if l.Descriptor.Digest != want {
					t.Errorf("%s: layer %d is %s, want %s", compression, i, l.Descriptor.Digest, want)
				}
				r, err := l.Uncompressed()
				if err == nil {
					_, err = io.Copy(io.Discard, r)
					r.Close()
				}
				if err != nil {
					t.Errorf("%s: layer %d: %v", compression, i, err)
				}
			}
		}
		path := written(t, func(w io.Writer) error { return dockerArchive(t.Context(), w, img, names, 2, false) })
		if got := entries(t, path); len(got) != 3 || !strings.HasSuffix(got[2], img.Layers[2].Descriptor.Digest.Encoded()) {
			t.Errorf("%s: with two layers there, it sends %q", compression, got)
		}
	}
}

// What is sent to who keeps blobs is what the oracle takes for the image; what is there is left out.
func TestOCIArchive(t *testing.T) {
	img := opened(t, "zstd")
	path := written(t, func(w io.Writer) error {
		return ociArchive(t.Context(), w, img, []string{"docker.io/library/mini:1"}, nil)
	})
	r, err := validate.Image(t.Context(), path)
	if err != nil || r.Err() != nil || r.Images[0].Digest != img.Descriptor.Digest {
		t.Errorf("%v, %+v", err, r)
	}
	there := map[digest.Digest]bool{img.Layers[0].Descriptor.Digest: true, img.Layers[2].Descriptor.Digest: true}
	all := entries(t, written(t, func(w io.Writer) error { return ociArchive(t.Context(), w, img, nil, there) }))
	for i, l := range img.Layers {
		sent := slices.ContainsFunc(all, func(n string) bool { return strings.HasSuffix(n, l.Descriptor.Digest.Encoded()) })
		if sent == there[l.Descriptor.Digest] {
			t.Errorf("layer %d: sent is %t", i, sent)
		}
	}
}

// A stop ends the sending, with its cause; and a layer that isn't there is an error, no shorter archive.
func TestArchive_Fails(t *testing.T) {
	img := opened(t, "gzip")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	for name, send := range map[string]func(ctx context.Context) error{
		"docker": func(ctx context.Context) error { return dockerArchive(ctx, io.Discard, img, nil, 0, false) },
		"oci":    func(ctx context.Context) error { return ociArchive(ctx, io.Discard, img, nil, nil) },
	} {
		if err := send(ctx); err == nil || !strings.Contains(err.Error(), "enough") {
			t.Errorf("%s: %v", name, err)
		}
	}
	built, blobs := imagetest.Build(t, image.Settings{System: "x86_64-linux"}, imagetest.Mini(t, "../../testdata", "gzip"))
	dir := filepath.Join(t.TempDir(), "layout")
	if err := image.WriteLayout(t.Context(), dir, built, blobs, nil, image.Copy); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "blobs/sha256", built.Layers[1].Digest.Encoded())); err != nil {
		t.Fatal(err)
	}
	shallow := openAt(t, dir)
	if err := dockerArchive(t.Context(), io.Discard, shallow, nil, 0, false); !errors.Is(err, imagefile.ErrAbsent) {
		t.Errorf("docker: %v", err)
	}
	if err := ociArchive(t.Context(), io.Discard, shallow, nil, nil); !errors.Is(err, imagefile.ErrAbsent) {
		t.Errorf("oci: %v", err)
	}
}
