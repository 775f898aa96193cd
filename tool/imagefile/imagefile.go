package imagefile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Form says how an image lies on the disk.
type Form string

// The forms.
const (
	Layout        Form = "OCI layout"
	OCIArchive    Form = "OCI archive"
	HybridArchive Form = "hybrid archive" // an OCI archive that docker load takes too
	DockerArchive Form = "docker archive"
	Parts         Form = "parts"
)

// AnnotationSource is the annotation of an entry of index.json that says where
// the image came from, as "registry.example.org/team/base@sha256:…": blobs that the layout
// doesn't hold are there.
const AnnotationSource = "io.github.rules-strata.source"

// File is what was opened. It may be read by many goroutines at once, but for [File.Select] and [File.Images].
type File struct {
	// Path is what [Open] was given.
	Path string
	Form Form

	files files
	// roots are what the file itself names: images, indexes and whatever else.
	roots []*entry
	// images are the images that those lead to, each once, in the file's order.
	images []*entry
	// others are the media types of what is no image.
	others []string
	// origins are where the file says that its images came from.
	origins []string
}

// entry is what the file names by a descriptor.
type entry struct {
	descriptor ocispec.Descriptor
	// names are whole names, such as "docker.io/library/web:dev"; refNames are what the layout says.
	names, refNames []string
	// within are the indexes that lead to it.
	within []digest.Digest
	// image is the image, once it was read.
	image *Image
}

// Open opens the image or images at path: a directory, the index.json in one, an archive, or parts. The caller closes the
// File, after the last read of a layer.
func Open(path string) (*File, error) {
	f, err := open(path)
	if err != nil {
		return nil, about(path, err)
	}
	return f, nil
}

// about says in err which file it is about, once.
func about(path string, err error) error {
	var of *fs.PathError
	if errors.As(err, &of) && of.Path == path {
		err = of.Err
	}
	return fmt.Errorf("%s: %w", path, err)
}

func open(path string) (_ *File, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	f := &File{Path: path}
	switch {
	case info.IsDir():
		f.files, f.Form = dirFiles(path), Layout
		if !f.files.has(ocispec.ImageIndexFile) && f.files.has(dockerManifestFile) {
			f.Form = DockerArchive // Unpacked.
		}
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("want a file or a directory, found %s", info.Mode().Type())
	case filepath.Base(path) == ocispec.ImageIndexFile:
		f.files, f.Form = dirFiles(filepath.Dir(path)), Layout
	default:
		if err := f.openFile(path); err != nil {
			return nil, err
		}
	}
	switch f.Form {
	case Parts:
		err = f.readParts()
	case DockerArchive:
		err = f.readDockerManifest()
	default:
		err = f.readIndexFile()
	}
	if err != nil {
		f.files.close()
		return nil, err
	}
	return f, nil
}

// openFile finds out what a file is.
func (f *File) openFile(path string) (err error) {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			in.Close()
		}
	}()
	var head [512]byte
	n, err := io.ReadFull(in, head[:])
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return err
	}
	if first := bytes.TrimLeft(head[:n], " \t\r\n"); len(first) > 0 && first[0] == '{' {
		f.files, f.Form = namedFiles{dirFiles(filepath.Dir(path))}, Parts
		return in.Close()
	}
	t, err := openTar(in, compressionOf(head[:n]))
	if err != nil {
		return err
	}
	f.files = t
	oci, docker := t.has(ocispec.ImageIndexFile), t.has(dockerManifestFile)
	switch {
	case oci && docker:
		f.Form = HybridArchive
	case oci:
		f.Form = OCIArchive
	case docker:
		f.Form = DockerArchive
	default:
		t.close()
		return fmt.Errorf("the archive has neither an %s nor a %s: it is no image", ocispec.ImageIndexFile, dockerManifestFile)
	}
	return nil
}

// Close closes what was opened.
func (f *File) Close() error { return f.files.close() }

// Origins are the repositories that the images were pulled from, each once, as [AnnotationSource] says it.
func (f *File) Origins() []string { return f.origins }

// Root returns the descriptor of what name means: an image or an index by its digest or by a name, as [File.Select] takes it. An empty name
// means the one thing that the file names.
func (f *File) Root(name string) (ocispec.Descriptor, error) {
	var found []*entry
	for _, e := range f.roots {
		if e.isCalled(name) {
			found = append(found, e)
		}
	}
	switch {
	case len(found) == 1:
		return found[0].descriptor, nil
	case len(found) == 0:
		return ocispec.Descriptor{}, fmt.Errorf("%s: nothing in it is called %q; there are: %s", f.Path, name, list(f.roots))
	}
	return ocispec.Descriptor{}, fmt.Errorf("%s: it has %d images; say which: %s", f.Path, len(found), list(f.roots))
}

// Manifest reads a manifest or an index, and checks its size and digest. Of one that the file has not the error is [fs.ErrNotExist].
func (f *File) Manifest(d ocispec.Descriptor) ([]byte, error) {
	for _, e := range f.images { // Those of docker archives and of parts are nowhere else.
		if e.descriptor.Digest == d.Digest && e.image != nil {
			return e.image.Manifest, nil
		}
	}
	b, err := f.blob("manifest", d)
	if err != nil {
		return nil, about(f.Path, err)
	}
	return b, nil
}

// OpenAt opens a blob from an offset on, so that what broke off can go on. Only its size is checked. Of one that the file has not the error is
// [fs.ErrNotExist]. The caller closes it.
func (f *File) OpenAt(_ context.Context, d ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	r, err := f.openAt(d, offset)
	if err != nil {
		return nil, about(f.Path, fmt.Errorf("blob %s: %w", d.Digest, err))
	}
	return r, nil
}

func (f *File) openAt(d ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	name, err := f.fileOf(d)
	if err != nil {
		return nil, err
	}
	in, size, err := f.files.open(name)
	if err != nil {
		return nil, err
	}
	if size != d.Size {
		err = fmt.Errorf("want %d bytes, found %d", d.Size, size)
	} else {
		_, err = in.Seek(offset, io.SeekStart)
	}
	if err != nil {
		in.Close()
		return nil, err
	}
	return in, nil
}

// fileOf is where the file has a blob: a layout by its digest, others by what they say of their images.
func (f *File) fileOf(d ocispec.Descriptor) (string, error) {
	if f.Form != DockerArchive && f.Form != Parts {
		return blobFile(d)
	}
	for _, e := range f.images {
		if e.image.ConfigDescriptor.Digest == d.Digest {
			return e.image.configFile, nil
		}
		for _, l := range e.image.Layers {
			if l.Descriptor.Digest == d.Digest && l.of != nil {
				return l.file, nil
			}
		}
	}
	return "", fs.ErrNotExist
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

// blobFile is a blob's name in a layout. It refuses what names none.
func blobFile(d ocispec.Descriptor) (string, error) {
	if err := CheckDescriptor(d); err != nil {
		return "", err
	}
	return ocispec.ImageBlobsDir + "/sha256/" + d.Digest.Encoded(), nil
}
