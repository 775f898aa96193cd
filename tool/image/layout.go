package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Linking is how a layout gets its layers' blobs.
type Linking int

const (
	// Symlink makes a relative symbolic link to the blob's file, or copies a blob that
	// has none of its own. skopeo, umoci and
	// podman follow it; go-containerregistry (crane) from 0.22 on refuses it.
	Symlink Linking = iota
	// Copy copies the bytes and checks them on the way.
	Copy
)

// WriteLayout writes the content as an OCI image layout into dir, which must not
// exist yet or be empty. Blobs and tags are as [WriteArchive] has them. With
// [Symlink] only the size of a blob's file is checked, not its bytes.
//
// A directory that doesn't exist appears whole or not at all. From one that
// does, all that was written is removed on failure. Once ctx ends WriteLayout fails with its cause.
func WriteLayout(ctx context.Context, dir string, c Content, blobs []Blob, tags []string, how Linking) error {
	p, err := newParcel(c, blobs, tags)
	if err != nil {
		return err
	}
	index, err := p.indexJSON()
	if err != nil {
		return err
	}
	return fillDir(dir, func(dir string) error {
		blobDir := filepath.Join(dir, "blobs", "sha256")
		if err := os.MkdirAll(blobDir, 0o755); err != nil {
			return err
		}
		buf := make([]byte, copyBufferSize)
		for _, b := range p.blobs {
			to := filepath.Join(blobDir, b.Descriptor.Digest.Encoded())
			if how == Symlink && (b.Path != "" || b.Open == nil) {
				err = linkBlob(b, blobDir, to)
			} else {
				err = copyBlob(ctx, b, to, io.Discard, buf)
			}
			if err != nil {
				return err
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
		for _, d := range c.documents() {
			if err := os.WriteFile(filepath.Join(dir, blobName(d.descriptor)), d.bytes, 0o644); err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(dir, ocispec.ImageIndexFile), index, 0o644); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, ocispec.ImageLayoutFile), []byte(layoutFile), 0o644)
	})
}

// fillDir has fill write into dir, which must not exist yet or be empty. It is called with
// an absolute path without links, which for a directory that does not exist is
// one beside it that takes its place at the end. On failure nothing is left.
func fillDir(dir string, fill func(dir string) error) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		aside, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+".*")
		if err != nil {
			return err
		}
		defer os.RemoveAll(aside)
		if err := os.Chmod(aside, 0o755); err != nil {
			return err
		}
		real, err := realPath(aside)
		if err != nil {
			return err
		}
		if err := fill(real); err != nil {
			return err
		}
		return os.Rename(aside, dir)
	case err != nil:
		return err
	case len(entries) > 0:
		return fmt.Errorf("%s: the directory is not empty; remove it or name another", dir)
	}
	real, err := realPath(dir)
	if err != nil {
		return err
	}
	if err = fill(real); err != nil {
		entries, _ := os.ReadDir(real) // It was empty: all in it is ours.
		for _, e := range entries {
			os.RemoveAll(filepath.Join(real, e.Name()))
		}
	}
	return err
}

// realPath is the path, absolute and without links.
func realPath(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	return filepath.Abs(real)
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

// copyBlob copies the blob into a new file, and to a second writer.
func copyBlob(ctx context.Context, b Blob, to string, also io.Writer, buf []byte) (err error) {
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if e := out.Close(); err == nil {
			err = e
		}
	}()
	return b.copyTo(ctx, io.MultiWriter(out, also), buf)
}
