package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Linking is how a layout gets its layers' blobs.
type Linking int

const (
	// Symlink makes a relative symbolic link to the blob's file. skopeo, umoci and
	// podman follow it; go-containerregistry (crane) from 0.22 on refuses it.
	Symlink Linking = iota
	// Copy copies the bytes and checks them on the way.
	Copy
)

// WriteLayout writes the image as an OCI image layout into dir, which must not
// exist yet or be empty. Blobs and tags are as [WriteArchive] has them. With
// [Symlink] only the size of a blob's file is checked, not its bytes.
//
// A directory that doesn't exist appears whole or not at all. From one that
// does, all that was written is removed on failure. Once ctx ends WriteLayout fails with its cause.
func WriteLayout(ctx context.Context, dir string, img *Image, blobs []Blob, tags []string, how Linking) (err error) {
	refs, err := parseTags(tags)
	if err != nil {
		return err
	}
	layers, err := pickBlobs(img, blobs)
	if err != nil {
		return err
	}
	index, err := indexJSON(img, refs)
	if err != nil {
		return err
	}
	switch entries, err := os.ReadDir(dir); {
	case errors.Is(err, os.ErrNotExist):
		aside, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+".*")
		if err != nil {
			return err
		}
		defer os.RemoveAll(aside)
		if err := os.Chmod(aside, 0o755); err != nil {
			return err
		}
		if err := fillLayout(ctx, aside, img, layers, index, how); err != nil {
			return err
		}
		return os.Rename(aside, dir)
	case err != nil:
		return err
	case len(entries) > 0:
		return fmt.Errorf("%s: the directory is not empty; remove it or name another", dir)
	}
	defer func() {
		if err != nil {
			for _, name := range []string{"blobs", ocispec.ImageIndexFile, ocispec.ImageLayoutFile} {
				os.RemoveAll(filepath.Join(dir, name))
			}
		}
	}()
	return fillLayout(ctx, dir, img, layers, index, how)
}

func fillLayout(ctx context.Context, dir string, img *Image, layers []Blob, index []byte, how Linking) error {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	if real, err = filepath.Abs(real); err != nil {
		return err
	}
	blobDir := filepath.Join(real, "blobs", "sha256")
	if err := os.MkdirAll(blobDir, 0o755); err != nil {
		return err
	}
	buf := make([]byte, copyBufferSize)
	for _, b := range layers {
		to := filepath.Join(blobDir, b.Descriptor.Digest.Encoded())
		if how == Symlink {
			err = linkBlob(b, blobDir, to)
		} else {
			err = copyBlob(ctx, b, to, buf)
		}
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	for _, f := range []struct {
		name string
		b    []byte
	}{
		{blobName(img.ConfigDescriptor), img.Config},
		{blobName(img.Descriptor), img.Manifest},
		{ocispec.ImageIndexFile, index},
		{ocispec.ImageLayoutFile, []byte(layoutFile)},
	} {
		if err := os.WriteFile(filepath.Join(real, f.name), f.b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// linkBlob makes a link from the real directory dir to the blob's file as it
// was named: what the name passes through may be links themselves.
func linkBlob(b Blob, dir, to string) error {
	if b.Path == "" {
		return fmt.Errorf("blob %s: it is in no file that could be linked to", b.Descriptor.Digest)
	}
	info, err := os.Stat(b.Path)
	if err != nil {
		return fmt.Errorf("blob %s: %w", b.Descriptor.Digest, err)
	}
	if !info.Mode().IsRegular() || info.Size() != b.Descriptor.Size {
		return fmt.Errorf("blob %s (%s): want a file of %d bytes, found %d", b.Descriptor.Digest, b.Path, b.Descriptor.Size, info.Size())
	}
	path, err := filepath.Abs(b.Path)
	if err != nil {
		return err
	}
	target, err := filepath.Rel(dir, path)
	if err != nil {
		return err
	}
	return os.Symlink(target, to)
}

func copyBlob(ctx context.Context, b Blob, to string, buf []byte) (err error) {
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if e := out.Close(); err == nil {
			err = e
		}
	}()
	return b.copyTo(ctx, out, buf)
}
