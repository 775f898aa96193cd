package imagefile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/atomicfile"
	"github.com/rules-strata/rules_strata/tool/store"
)

// LayoutWriter is a layout that is being written, of one image or index: its blobs
// come first, index.json last. A directory that doesn't exist appears
// whole or not at all. In one that has the same image already, what is missing is added.
type LayoutWriter struct {
	dir string
	// aside is where the files are meanwhile; dir itself if that was there.
	aside string
	done  bool
}

// CreateLayout begins a layout in dir for what root names. The directory doesn't exist, or is empty, or is a layout of the
// same root, perhaps a shallow one.
func CreateLayout(dir string, root ocispec.Descriptor) (*LayoutWriter, error) {
	w := &LayoutWriter{dir: dir, aside: dir}
	switch entries, err := os.ReadDir(dir); {
	case errors.Is(err, fs.ErrNotExist):
		if w.aside, err = os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+".*"); err != nil {
			return nil, err
		}
		if err := os.Chmod(w.aside, 0o755); err != nil {
			w.Abort()
			return nil, err
		}
	case err != nil:
		return nil, err
	case len(entries) > 0:
		f, err := Open(dir)
		if err != nil {
			return nil, fmt.Errorf("%s: the directory is neither empty nor a layout; remove it or name another", dir)
		}
		f.Close()
		if was, err := f.Root(""); err != nil || was.Digest != root.Digest {
			return nil, fmt.Errorf("%s: the directory has another image; remove it or name another", dir)
		}
	}
	if err := os.MkdirAll(filepath.Join(w.aside, "blobs", "sha256"), 0o755); err != nil {
		w.Abort()
		return nil, err
	}
	return w, nil
}

// Has reports whether the layout has a file for a blob, of the right size.
func (w *LayoutWriter) Has(d ocispec.Descriptor) bool {
	info, err := os.Stat(w.path(d))
	return err == nil && info.Mode().IsRegular() && info.Size() == d.Size
}

// Put writes a blob, and fails unless r has its bytes.
func (w *LayoutWriter) Put(d ocispec.Descriptor, r io.Reader) error {
	want, err := store.ParseHash(d.Digest.String())
	if err != nil {
		return err
	}
	f, err := atomicfile.Create(w.path(d))
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := io.Copy(f, store.NewVerifiedReader(r, d.Size, want, "Blob")); err != nil {
		return err
	}
	return f.Commit()
}

// path is where a blob goes; its descriptor was checked.
func (w *LayoutWriter) path(d ocispec.Descriptor) string {
	return filepath.Join(w.aside, ocispec.ImageBlobsDir, "sha256", d.Digest.Encoded())
}

// Commit writes index.json, whose one entry is root, and makes the layout appear.
func (w *LayoutWriter) Commit(root ocispec.Descriptor) error {
	index, err := json.Marshal(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{root},
	})
	if err != nil {
		return err
	}
	version, err := json.Marshal(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	if err != nil {
		return err
	}
	if _, err := atomicfile.WriteIfChanged(filepath.Join(w.aside, ocispec.ImageLayoutFile), version); err != nil {
		return err
	}
	if _, err := atomicfile.WriteIfChanged(filepath.Join(w.aside, ocispec.ImageIndexFile), index); err != nil {
		return err
	}
	if w.aside != w.dir {
		if err := os.Rename(w.aside, w.dir); err != nil {
			return err
		}
	}
	w.done = true
	return nil
}

// Abort removes what was written of a new directory, unless it was committed. In one that was there blobs stay, each
// of them whole.
func (w *LayoutWriter) Abort() {
	if !w.done && w.aside != w.dir {
		os.RemoveAll(w.aside)
	}
}
