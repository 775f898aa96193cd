package imagefile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/image"
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

// File is what was opened: at least one image.
type File struct {
	// Path is what [Open] was given.
	Path string
	Form Form
	// Images are the images that stand alone, in the file's order.
	Images []*Image
	// Indexes are those of several platforms.
	Indexes []*Index

	files files
}

// Index is an image index: one image for each of several platforms.
type Index struct {
	// Raw is the document, as its digest covers it.
	Raw []byte
	// Descriptor names it.
	Descriptor ocispec.Descriptor
	// Names are as in [Image].
	Names, RefNames []string
	// Images are its images in order; of a nested index, that one's images.
	Images []*Image
}

// Image is one image. Its fields aren't to be changed.
type Image struct {
	// Manifest is the manifest's bytes, as its digest covers them. That of a
	// docker archive, which has none, is made up out of what the archive says.
	Manifest []byte
	// Descriptor names the manifest, with the image's platform.
	Descriptor ocispec.Descriptor
	// Config is the config's bytes.
	Config []byte
	// ConfigDescriptor names the config, as the manifest does.
	ConfigDescriptor ocispec.Descriptor
	// Spec is the config, parsed: docker's and OCI's have these fields in common.
	Spec ocispec.Image
	// Layers are the layers, lowest first.
	Layers []*Layer
	// Names are the image's whole names, such as "docker.io/library/web:dev"; may be empty.
	Names []string
	// RefNames are what a layout calls the image; mostly tags alone, such as "dev".
	RefNames []string
}

// Layer is one layer of an image.
type Layer struct {
	// Descriptor names the blob: media type, digest, size.
	Descriptor ocispec.Descriptor
	// DiffID is the digest of the tar, uncompressed, as the config has it.
	DiffID digest.Digest
	// Known is the layer's digest file; nil where there is none.
	Known *digestfile.File
	// Path is the file that holds the blob and nothing else, "" if there is none.
	Path string

	file string // the blob's name in files
	of   files
}

// maxArchives bounds how many manifests and indexes one file may name, and maxDepth how deep indexes lie in indexes.
const (
	maxManifests = 4096
	maxDepth     = 4
)

// annotationImageName is where containerd and docker put an image's whole name in an index.
const annotationImageName = "io.containerd.image.name"

// Open opens the image or images at path. The caller closes the File, after the last read of a layer.
func Open(path string) (*File, error) {
	f, err := open(path)
	if err != nil {
		return nil, about(path, err)
	}
	return f, nil
}

// about says in err which file it is about, unless it says so itself.
func about(path string, err error) error {
	var of *fs.PathError
	if errors.As(err, &of) && of.Path == path {
		return err
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
		f.files = dirFiles(path)
		f.Form = Layout
		if !f.files.has(ocispec.ImageIndexFile) {
			return nil, errors.New("the directory has no index.json: it is no OCI layout")
		}
		return f, f.readIndexFile()
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("want a file or a directory, found %s", info.Mode().Type())
	}
	in, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			in.Close()
		}
	}()
	var head [512]byte
	n, err := io.ReadFull(in, head[:])
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, err
	}
	switch first := bytes.TrimLeft(head[:n], " \t\r\n"); {
	case len(first) > 0 && first[0] == '{':
		defer in.Close()
		f.Form = Parts
		return f, f.readParts(in)
	case compressionOf(head[:n]) != "":
		return nil, hinted{
			fmt.Errorf("the archive is compressed by %s, and a compressed file can't be read here and there", compressionOf(head[:n])),
			"decompress it first",
		}
	}
	if f.files, err = openTar(in); err != nil {
		return nil, err
	}
	oci, docker := f.files.has(ocispec.ImageIndexFile), f.files.has(dockerManifestFile)
	switch {
	case oci && docker:
		f.Form = HybridArchive
	case oci:
		f.Form = OCIArchive
	case docker:
		f.Form = DockerArchive
		return f, f.readDockerManifest()
	default:
		return nil, errors.New("the archive has neither an index.json nor a manifest.json: it is no image")
	}
	return f, f.readIndexFile()
}

// Close closes what was opened.
func (f *File) Close() error {
	if f.files == nil {
		return nil
	}
	return f.files.close()
}

// All returns every image, those of indexes behind the others.
func (f *File) All() []*Image {
	all := append([]*Image{}, f.Images...)
	for _, x := range f.Indexes {
		all = append(all, x.Images...)
	}
	return all
}

// document reads a small file and checks it against its descriptor, where that has a digest.
func document(of files, name string, d ocispec.Descriptor) ([]byte, error) {
	in, size, err := of.open(name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	if size > image.MaxMetadataSize {
		return nil, fmt.Errorf("%s: %d bytes, want at most %d of a document", name, size, image.MaxMetadataSize)
	}
	b, err := io.ReadAll(io.LimitReader(in, image.MaxMetadataSize+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	case len(b) > image.MaxMetadataSize:
		return nil, fmt.Errorf("%s: more than %d bytes", name, image.MaxMetadataSize)
	case d.Digest == "":
		return b, nil
	case int64(len(b)) != d.Size:
		return nil, fmt.Errorf("%s: %d bytes, want %d", name, len(b), d.Size)
	case digest.FromBytes(b) != d.Digest:
		return nil, fmt.Errorf("%s: its bytes have the digest %s", name, digest.FromBytes(b))
	}
	return b, nil
}

// unmarshal reads one JSON value with nothing behind it.
func unmarshal(what string, b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("%s: bytes follow the JSON at offset %d", what, d.InputOffset())
	}
	return nil
}

// blobFile is a blob's name in a layout. It refuses what is no SHA-256.
func blobFile(d ocispec.Descriptor) (string, error) {
	if err := d.Digest.Validate(); err != nil {
		return "", fmt.Errorf("digest %q: %w", d.Digest, err)
	}
	if a := d.Digest.Algorithm(); a != digest.SHA256 {
		return "", fmt.Errorf("digest %s: want sha256", d.Digest)
	}
	if d.Size < 0 {
		return "", fmt.Errorf("%s: negative size %d", d.Digest, d.Size)
	}
	return ocispec.ImageBlobsDir + "/sha256/" + d.Digest.Encoded(), nil
}

// hinted is an error with advice.
type hinted struct {
	error
	hint string
}

func (h hinted) Unwrap() error { return h.error }

// Hint is the advice.
func (h hinted) Hint() string { return h.hint }
