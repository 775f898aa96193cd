package ocilayout

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// AnnotationSource is the annotation of an entry of index.json that says where
// the image came from, as "registry.example.org/team/base@sha256:…": blobs that the layout
// doesn't hold are there.
const AnnotationSource = "io.github.rules-strata.source"

// MaxManifestSize bounds what is read of index.json and of each manifest, in bytes; registries take no more.
const MaxManifestSize = 4 << 20

// Layout is an open layout. It may be used by many goroutines at once.
type Layout struct {
	path string
	// roots are the entries of index.json.
	roots []ocispec.Descriptor
	files files
}

// files are the files of a layout, by slash-joined names such as "blobs/sha256/…".
type files interface {
	// openAt opens a regular file, from an offset on that is no greater than its size, and returns that size.
	openAt(name string, offset int64) (io.ReadCloser, int64, error)
	Close() error
}

// Open opens the layout at path, a directory or a tar. The caller closes it.
func Open(path string) (*Layout, error) {
	l, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", path, err)
	}
	return l, nil
}

func open(path string) (_ *Layout, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, bare(err)
	}
	l := &Layout{path: path}
	if info.IsDir() {
		l.files = directory(path)
	} else if l.files, err = openArchive(path); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	b, err := l.read(ocispec.ImageIndexFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("it has no %s: want an OCI image layout, as a directory or in a tar", ocispec.ImageIndexFile)
	}
	if err != nil {
		return nil, err
	}
	var index ocispec.Index
	if err := json.Unmarshal(b, &index); err != nil {
		return nil, fmt.Errorf("%s: %w", ocispec.ImageIndexFile, err)
	}
	if len(index.Manifests) == 0 {
		return nil, fmt.Errorf("%s names no image", ocispec.ImageIndexFile)
	}
	for _, d := range index.Manifests {
		if err := CheckDescriptor(d); err != nil {
			return nil, fmt.Errorf("%s: %w", ocispec.ImageIndexFile, err)
		}
	}
	l.roots = index.Manifests
	return l, nil
}

// bare is err without the path, which the callers name.
func bare(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// Close closes what Open opened.
func (l *Layout) Close() error { return l.files.Close() }

// Path is what Open was told.
func (l *Layout) Path() string { return l.path }

// Names are the names that index.json gives its images, each once, in its order.
func (l *Layout) Names() []string {
	var names []string
	seen := map[string]bool{}
	for _, d := range l.roots {
		if name := d.Annotations[ocispec.AnnotationRefName]; name != "" && !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names
}

// Origins are the repositories that the images were pulled from, each once, as [AnnotationSource] says it.
func (l *Layout) Origins() []string {
	var origins []string
	for _, d := range l.roots {
		repository, _, ok := strings.Cut(d.Annotations[AnnotationSource], "@")
		if ok && repository != "" && !slices.Contains(origins, repository) {
			origins = append(origins, repository)
		}
	}
	return origins
}

// Root returns the entry of index.json that name means: a digest, or a name that
// index.json gives (org.opencontainers.image.ref.name). An empty name means the one image that all entries name.
func (l *Layout) Root(name string) (ocispec.Descriptor, error) {
	var found []ocispec.Descriptor
	seen := map[digest.Digest]bool{}
	for _, d := range l.roots {
		named := name == "" || name == d.Annotations[ocispec.AnnotationRefName] || name == d.Digest.String()
		if named && !seen[d.Digest] {
			seen[d.Digest] = true
			found = append(found, d)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) == 0:
		return ocispec.Descriptor{}, fmt.Errorf("image %s: it holds no image %q; known are %s", l.path, name, strings.Join(l.Names(), ", "))
	}
	return ocispec.Descriptor{}, fmt.Errorf("image %s: it holds %d images; say which: %s", l.path, len(found), strings.Join(l.Names(), ", "))
}

// Manifest reads a manifest or an index, and checks its size and digest.
func (l *Layout) Manifest(d ocispec.Descriptor) ([]byte, error) {
	b, err := l.read(blobName(d))
	if err == nil && (int64(len(b)) != d.Size || digest.FromBytes(b) != d.Digest) {
		err = fmt.Errorf("want %d bytes, found %s of %d bytes", d.Size, digest.FromBytes(b), len(b))
	}
	if err != nil {
		return nil, fmt.Errorf("image %s: manifest %s: %w", l.path, d.Digest, err)
	}
	return b, nil
}

// OpenAt opens a blob from an offset on. Only its size is checked. The caller closes it.
func (l *Layout) OpenAt(_ context.Context, d ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	r, size, err := l.files.openAt(blobName(d), offset)
	if err == nil && size != d.Size {
		r.Close()
		err = fmt.Errorf("want %d bytes, found %d", d.Size, size)
	}
	if err != nil {
		return nil, fmt.Errorf("image %s: blob %s: %w", l.path, d.Digest, err)
	}
	return r, nil
}

// read reads a small file whole.
func (l *Layout) read(name string) ([]byte, error) {
	r, size, err := l.files.openAt(name, 0)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if size > MaxManifestSize {
		return nil, fmt.Errorf("%s: over %d bytes", name, MaxManifestSize)
	}
	var b bytes.Buffer
	if _, err := io.Copy(&b, io.LimitReader(r, size)); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// CheckDescriptor refuses what names no blob of a layout: another hash than SHA-256, a size below 0.
func CheckDescriptor(d ocispec.Descriptor) error {
	if err := d.Digest.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w", d.Digest, err)
	}
	if a := d.Digest.Algorithm(); a != digest.SHA256 {
		return fmt.Errorf("digest %s: want sha256, found %s", d.Digest, a)
	}
	if d.Size < 0 {
		return fmt.Errorf("%s: negative size %d", d.Digest, d.Size)
	}
	return nil
}

// blobName is where a blob is in a layout; its descriptor was checked.
func blobName(d ocispec.Descriptor) string {
	return "blobs/sha256/" + d.Digest.Encoded()
}
