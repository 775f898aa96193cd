// Package digestfile is the file that a layer action writes beside its blob:
// all that an image needs to know of a layer without having its bytes. It is
// JSON, a few hundred bytes a store path, and the same bytes for the same layer.
package digestfile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/store"
)

// FormatVersion is the version of the layer bytes and of this file's shape. It
// is raised whenever the same NARs and options give other bytes than before.
const FormatVersion = 1

// maxSize bounds a digest file: 20,000 store paths come to some 5 MB.
const maxSize = 64 << 20

// File is what one layer is.
type File struct {
	// FormatVersion is [FormatVersion] of the tool that wrote the layer.
	FormatVersion int `json:"formatVersion"`
	// Descriptor is the blob's OCI descriptor: media type, digest
	// ("sha256:<hex>" of the blob as stored) and size in bytes.
	Descriptor ocispec.Descriptor `json:"descriptor"`
	// DiffID is the SHA-256 of the uncompressed tar, as an image's config
	// names it (OCI image-spec, config.md, Layer DiffID).
	DiffID digest.Digest `json:"diffID"`
	// UncompressedSize is the size of that tar in bytes.
	UncompressedSize int64 `json:"uncompressedSize"`
	// Compression is "gzip", "zstd" or "none".
	Compression string `json:"compression"`
	// Level is the compression's level by name, such as "default"; empty for "none".
	Level string `json:"level,omitempty"`
	// Entries is the number of files, directories and links in the tar.
	Entries int64 `json:"entries"`
	// StorePaths are the store paths whose NARs the layer holds, in the order of the tar.
	StorePaths []StorePath `json:"storePaths"`
}

// StorePath is one store path of a layer.
type StorePath struct {
	// Path is the store path.
	Path store.Path `json:"path"`
	// NarHash is the SHA-256 of its NAR, which was checked over the very bytes in the layer.
	NarHash store.Hash `json:"narHash"`
	// NarSize is the size of its NAR in bytes.
	NarSize int64 `json:"narSize"`
	// Entries is the number of its files, directories and links.
	Entries int64 `json:"entries"`
}

// Marshal returns the file's bytes: indented JSON and a newline.
func (f *File) Marshal() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(f); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Read reads and checks the digest file at path.
func Read(path string) (*File, error) {
	in, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	b, err := io.ReadAll(io.LimitReader(in, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("digest file %s: %w", path, err)
	}
	if len(b) > maxSize {
		return nil, fmt.Errorf("digest file %s: over %d bytes", path, maxSize)
	}
	f, err := Parse(b)
	if err != nil {
		return nil, fmt.Errorf("digest file %s: %w", path, err)
	}
	return f, nil
}

// Parse reads what [File.Marshal] wrote, and checks that every field an image
// relies on is there and well formed. Unknown fields are errors.
func Parse(b []byte) (*File, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	f := new(File)
	if err := d.Decode(f); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("bytes follow the JSON object at offset %d", d.InputOffset())
	}
	switch {
	case f.FormatVersion != FormatVersion:
		return nil, fmt.Errorf("formatVersion %d: want %d; build the layer again with the same release as the image", f.FormatVersion, FormatVersion)
	case f.Descriptor.MediaType == "":
		return nil, fmt.Errorf("descriptor.mediaType is missing")
	case f.Descriptor.Size < 0:
		return nil, fmt.Errorf("descriptor.size: want 0 or more, found %d", f.Descriptor.Size)
	case f.UncompressedSize < 0:
		return nil, fmt.Errorf("uncompressedSize: want 0 or more, found %d", f.UncompressedSize)
	case f.Entries < 0:
		return nil, fmt.Errorf("entries: want 0 or more, found %d", f.Entries)
	}
	if err := checkDigest(f.Descriptor.Digest); err != nil {
		return nil, fmt.Errorf("descriptor.digest: %w", err)
	}
	if err := checkDigest(f.DiffID); err != nil {
		return nil, fmt.Errorf("diffID: %w", err)
	}
	for i, p := range f.StorePaths {
		if _, err := store.ParsePath(string(p.Path)); err != nil {
			return nil, fmt.Errorf("storePaths[%d]: %w", i, err)
		}
		if p.NarSize < 0 || p.Entries < 0 {
			return nil, fmt.Errorf("storePaths[%d], %s: negative narSize or entries", i, p.Path)
		}
	}
	return f, nil
}

// checkDigest takes SHA-256 alone: the blob's place in a layout and in a cache is named by it.
func checkDigest(d digest.Digest) error {
	err := d.Validate()
	if a, _, ok := strings.Cut(string(d), ":"); ok && a != string(digest.SHA256) {
		err = fmt.Errorf("want sha256:<64 hex>, found %s", a)
	}
	if err != nil {
		return fmt.Errorf("%q: %w", d, err)
	}
	return nil
}
