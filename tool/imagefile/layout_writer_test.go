package imagefile

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/image"
)

func descriptor(b []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(b), Size: int64(len(b))}
}

// writeLayout makes a layout of a root and blobs.
func writeLayout(t *testing.T, dir string, root ocispec.Descriptor, blobs ...[]byte) error {
	t.Helper()
	w, err := CreateLayout(dir, root)
	if err != nil {
		return err
	}
	defer w.Abort()
	for _, b := range blobs {
		if err := w.Put(descriptor(b), bytes.NewReader(b)); err != nil {
			return err
		}
	}
	return w.Commit(root)
}

// packed packs a directory as other tools do, with or without "./".
func packed(t *testing.T, dir, prefix string) string {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "layout.tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	w := tar.NewWriter(out)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: prefix + filepath.ToSlash(rel), Size: int64(len(b)), Mode: 0o644}); err != nil {
			return err
		}
		_, err = w.Write(b)
		return err
	})
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Name()
}

// What was written is read back, as a directory and in a tar; what isn't there is said not to be.
func TestLayout(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "layout")
	manifest, layer := []byte(`{"a manifest": true}`), bytes.Repeat([]byte("layer"), 1000)
	root := descriptor(manifest)
	root.Annotations = map[string]string{ocispec.AnnotationRefName: "dev", AnnotationSource: "registry.example.org/x@" + root.Digest.String()}
	if err := writeLayout(t, dir, root, manifest, layer); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, packed(t, dir, ""), packed(t, dir, "./")} {
		l, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		for _, name := range []string{"", "dev", root.Digest.String()} {
			if got, err := l.Root(name); err != nil || got.Digest != root.Digest {
				t.Errorf("root %q: %v, %v", name, got, err)
			}
		}
		if _, err := l.Root("other"); err == nil || !strings.Contains(err.Error(), `nothing in it is called "other"; there are: dev`) {
			t.Errorf("error %v", err)
		}
		if got := l.Origins(); len(got) != 1 || got[0] != "registry.example.org/x" {
			t.Errorf("origins %q", got)
		}
		if b, err := l.Manifest(root); err != nil || !bytes.Equal(b, manifest) {
			t.Errorf("manifest %q, %v", b, err)
		}
		for _, offset := range []int64{0, 7, int64(len(layer))} {
			r, err := l.OpenAt(context.Background(), descriptor(layer), offset)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(r); err != nil || !bytes.Equal(b, layer[offset:]) {
				t.Errorf("from %d: %d bytes, %v", offset, len(b), err)
			}
			r.Close()
		}
		if _, err := l.OpenAt(context.Background(), descriptor([]byte("absent")), 0); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("error %v", err)
		}
		wrong := descriptor(layer)
		wrong.Size++
		if _, err := l.OpenAt(context.Background(), wrong, 0); err == nil || !strings.Contains(err.Error(), "want 5001 bytes, found 5000") {
			t.Errorf("error %v", err)
		}
	}
	// A manifest that isn't what it is called.
	if err := os.WriteFile(filepath.Join(dir, "blobs", "sha256", root.Digest.Encoded()), []byte(`{"a manifest": nope}`), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Manifest(root); err == nil || !strings.Contains(err.Error(), "want 20 bytes, found sha256:") {
		t.Errorf("error %v", err)
	}
}

// Whatever goes wrong: no layout where none was, and the one that was is as before.
func TestCreateLayout_Refuses(t *testing.T) {
	dir := t.TempDir()
	manifest := []byte("manifest")
	root := descriptor(manifest)
	w, err := CreateLayout(filepath.Join(dir, "new"), root)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Put(root, strings.NewReader("other bytes")); err == nil {
		t.Error("other bytes are taken")
	}
	if w.Has(root) {
		t.Error("other bytes are there")
	}
	w.Abort()
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	there := filepath.Join(dir, "there")
	if err := writeLayout(t, there, root, manifest); err != nil {
		t.Fatal(err)
	}
	if err := writeLayout(t, there, root, manifest, []byte("a layer")); err != nil {
		t.Errorf("adding to a layout: %v", err)
	}
	if err := writeLayout(t, there, descriptor([]byte("another")), []byte("another")); err == nil || !strings.Contains(err.Error(), "has another image") {
		t.Errorf("error %v", err)
	}
	full := filepath.Join(dir, "full")
	if err := os.MkdirAll(filepath.Join(full, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := writeLayout(t, full, root, manifest); err == nil || !strings.Contains(err.Error(), "neither empty nor a layout") {
		t.Errorf("error %v", err)
	}
}

func TestOpen_BadIndex(t *testing.T) {
	for name, tc := range map[string]struct{ index, want string }{
		"not JSON":    {`{`, "index.json: unexpected EOF"},
		"no images":   {`{"manifests": []}`, "names no image"},
		"a path":      {`{"manifests": [{"digest": "sha256:../../../etc/passwd", "size": 1}]}`, "invalid checksum digest"},
		"another sum": {`{"manifests": [{"digest": "sha512:` + strings.Repeat("0", 128) + `", "size": 1}]}`, `digest sha512:`},
		"size":        {`{"manifests": [{"digest": "sha256:` + strings.Repeat("0", 64) + `", "size": -1}]}`, "negative size"},
		"large":       {strings.Repeat(" ", image.MaxMetadataSize+1), "want at most 4194304"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "index.json"), []byte(tc.index), 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
	if _, err := Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "the directory has no index.json") {
		t.Errorf("error %v", err)
	}
}
