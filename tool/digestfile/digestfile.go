// Package digestfile is the file that a layer action writes beside its blob:
// all that an image needs to know of a layer without having its bytes. It is
// JSON, a few hundred bytes a store path, and the same bytes for the same layer.
package digestfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/store"
	"github.com/rules-strata/rules_strata/tool/strictjson"
)

// FormatVersion is the version of the layer bytes and of this file's shape. It
// is raised whenever the same NARs and options give other bytes than before.
const FormatVersion = 2

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
	// Level is the compression's level: "fastest", "default" or "best", else its number; empty for "none".
	Level string `json:"level,omitempty"`
	// Entries is the number of files, directories and links in the tar.
	Entries int64 `json:"entries"`
	// StorePaths are the store paths whose NARs the layer holds, in the order of the tar.
	// Empty if Stripped is set.
	StorePaths []StorePath `json:"storePaths"`
	// Stripped is the store path whose files the layer holds elsewhere: it has no store path in
	// its place then, and an image may have another layer with this one. Absent for most layers.
	Stripped *Stripped `json:"stripped,omitempty"`
	// Touched are store paths that the layer reaches into without being made of them, sorted. Absent for most
	// layers, and for those of StorePaths.
	Touched []Touched `json:"touched,omitempty"`
	// Users and Groups are what the layer makes of /etc/passwd and of /etc/group. Absent: it leaves them alone.
	Users  *NameList `json:"users,omitempty"`
	Groups *NameList `json:"groups,omitempty"`

	// Name is what messages call the layer: the file that it was read from. It is not part of the file; "": it has no name.
	Name string `json:"-"`
}

// Stripped is the source of a customisation layer.
type Stripped struct {
	StorePath
	// Prefix is the directory of the store path whose contents are at the image's root, "." for the store path itself.
	Prefix string `json:"prefix"`
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
	shown := *f
	if shown.StorePaths == nil {
		shown.StorePaths = []StorePath{} // an empty list, not null
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(shown); err != nil {
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
	f.Name = path
	return f, nil
}

// Parse reads what [File.Marshal] wrote, and checks that every field an image
// relies on is there, well formed and of one mind with the others. Unknown
// fields, and fields that are there twice, are errors.
func Parse(b []byte) (*File, error) {
	doc, err := strictjson.Parse(b)
	if err != nil {
		return nil, err
	}
	f := &File{StorePaths: []StorePath{}}
	// Before all else: another version may have other fields.
	if err := doc.Members(func(name string, v *strictjson.Value) error {
		if name != "formatVersion" {
			return nil
		}
		version, err := v.Int()
		if err == nil && version != FormatVersion {
			err = v.Errorf("want %d, found %d; build the layer again with the same release as the image", FormatVersion, version)
		}
		f.FormatVersion = int(version)
		return err
	}); err != nil {
		return nil, err
	}
	if err := doc.Fields(
		strictjson.Field{Name: "formatVersion", Read: func(*strictjson.Value) error { return nil }},
		strictjson.Field{Name: "compression", Read: strictjson.Parsed(&f.Compression, parseCompression)},
		strictjson.Field{Name: "level", Read: strictjson.StringInto(&f.Level), Optional: true},
		strictjson.Field{Name: "diffID", Read: strictjson.Parsed(&f.DiffID, parseDigest)},
		strictjson.Field{Name: "uncompressedSize", Read: sizeInto(&f.UncompressedSize)},
		strictjson.Field{Name: "descriptor", Read: f.readDescriptor},
		strictjson.Field{Name: "entries", Read: sizeInto(&f.Entries)},
		strictjson.Field{Name: "storePaths", Read: f.readStorePaths},
		strictjson.Field{Name: "stripped", Read: f.readStripped, Optional: true},
		strictjson.Field{Name: "touched", Read: f.readTouched, Optional: true},
		strictjson.Field{Name: "users", Read: readNameList(&f.Users), Optional: true},
		strictjson.Field{Name: "groups", Read: readNameList(&f.Groups), Optional: true},
	); err != nil {
		return nil, err
	}
	return f, nil
}

// readDescriptor reads the descriptor once the rest of what is said of the blob is known.
func (f *File) readDescriptor(v *strictjson.Value) error {
	d := &f.Descriptor
	return v.Fields(
		strictjson.Field{Name: "mediaType", Read: func(v *strictjson.Value) (err error) {
			if d.MediaType, err = v.Text(); err != nil {
				return err
			}
			if want := mediaTypes[f.Compression]; d.MediaType != want {
				return v.Errorf("want %q, as the compression is %s; found %q", want, f.Compression, d.MediaType)
			}
			return nil
		}},
		strictjson.Field{Name: "digest", Read: func(v *strictjson.Value) error {
			if err := strictjson.Parsed(&d.Digest, parseDigest)(v); err != nil {
				return err
			}
			if f.Compression == compressionNone && d.Digest != f.DiffID {
				return v.Errorf("want the diffID %s, as the blob is not compressed; found %s", f.DiffID, d.Digest)
			}
			return nil
		}},
		strictjson.Field{Name: "size", Read: func(v *strictjson.Value) error {
			if err := sizeInto(&d.Size)(v); err != nil {
				return err
			}
			if f.Compression == compressionNone && d.Size != f.UncompressedSize {
				return v.Errorf("want the uncompressedSize %d, as the blob is not compressed; found %d", f.UncompressedSize, d.Size)
			}
			return nil
		}},
	)
}

func (f *File) readStorePaths(v *strictjson.Value) error {
	seen := map[store.Path]bool{}
	return v.Each(func(e *strictjson.Value) error {
		var p StorePath
		if err := e.Fields(p.fields()...); err != nil {
			return err
		}
		if seen[p.Path] {
			return e.Errorf("%s is there twice", p.Path)
		}
		seen[p.Path] = true
		f.StorePaths = append(f.StorePaths, p)
		return nil
	})
}

func (p *StorePath) fields() []strictjson.Field {
	return []strictjson.Field{
		{Name: "path", Read: strictjson.Parsed(&p.Path, store.ParsePath)},
		{Name: "narHash", Read: strictjson.Parsed(&p.NarHash, parseNarHash)},
		{Name: "narSize", Read: sizeInto(&p.NarSize)},
		{Name: "entries", Read: sizeInto(&p.Entries)},
	}
}

// readStripped reads what is beside an empty list of store paths.
func (f *File) readStripped(v *strictjson.Value) error {
	f.Stripped = new(Stripped)
	if err := v.Fields(append(f.Stripped.fields(), strictjson.Field{Name: "prefix", Read: strictjson.StringInto(&f.Stripped.Prefix)})...); err != nil {
		return err
	}
	if len(f.StorePaths) > 0 || f.Stripped.Prefix == "" {
		return v.Errorf("want a prefix, and no storePaths beside it")
	}
	return nil
}

const compressionNone = "none"

// mediaTypes are those of OCI's image-spec (layer.md), by [File.Compression].
var mediaTypes = map[string]string{
	"gzip":          ocispec.MediaTypeImageLayerGzip,
	"zstd":          ocispec.MediaTypeImageLayerZstd,
	compressionNone: ocispec.MediaTypeImageLayer,
}

func parseCompression(s string) (string, error) {
	if mediaTypes[s] == "" {
		return "", fmt.Errorf("want one of %s; found %q", strings.Join(slices.Sorted(maps.Keys(mediaTypes)), ", "), s)
	}
	return s, nil
}

func parseNarHash(s string) (store.Hash, error) {
	h, err := store.ParseHash(s)
	if err == nil && h.IsZero() {
		err = errors.New("all zeros: it was never computed")
	}
	return h, err
}

func sizeInto(p *int64) func(*strictjson.Value) error {
	return func(v *strictjson.Value) (err error) {
		if *p, err = v.Int(); err == nil && *p < 0 {
			err = v.Errorf("want 0 or more, found %d", *p)
		}
		return err
	}
}

// parseDigest takes SHA-256 alone: the blob's place in a layout and in a cache is named by it.
func parseDigest(s string) (digest.Digest, error) {
	if a, _, ok := strings.Cut(s, ":"); ok && a != string(digest.SHA256) {
		return "", fmt.Errorf("%q: want sha256:<64 hex>, found %s", s, a)
	}
	d, err := digest.Parse(s)
	if err != nil {
		return "", fmt.Errorf("%q: %w", s, err)
	}
	return d, nil
}
