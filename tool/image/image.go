package image

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/store"
)

// MaxLayers is the greatest number of layers that every client takes: docker's
// graph drivers say "max depth exceeded" from 126 on.
const MaxLayers = 125

// MaxMetadataSize is the greatest size of a config or a manifest in bytes:
// skopeo and podman read no larger ones, and most registries store none.
const MaxMetadataSize = 4 << 20

// Image is an image without its blobs. Values are made by [Build] and [Parse]
// and not changed thereafter.
type Image struct {
	// Config and Manifest are the two documents' bytes, as their digests cover them.
	Config, Manifest []byte
	// Descriptor names the manifest, with the image's platform: an index's entry.
	Descriptor ocispec.Descriptor
	// ConfigDescriptor names the config.
	ConfigDescriptor ocispec.Descriptor
	// Layers are the layers' descriptors as the manifest has them, lowest first.
	Layers []ocispec.Descriptor
	// DiffIDs are the digests of the layers' tars, as the config has them.
	DiffIDs []digest.Digest
}

// Build makes the config and the manifest of an image that has the given layers, lowest first.
//
// A store path that is in two layers, or that another layer changes, more than [MaxLayers] layers, none at
// all, a setting that names a store path which is not there or a user whom nobody defines, and bad settings are errors.
func Build(s Settings, layers []*digestfile.File) (*Image, error) {
	return BuildOn(nil, s, layers)
}

// BuildOn makes an image on a base, which may be nil: the base's layers come first,
// and its config is what the settings don't say otherwise. Layers all of whose
// store paths the base has are left out.
//
// A base for another platform is an error, and whatever is one for [Build].
func BuildOn(base *Base, s Settings, layers []*digestfile.File) (*Image, error) {
	say, err := s.say()
	if err != nil {
		return nil, err
	}
	types, err := mediaTypesNamed(s.MediaTypes)
	if err != nil {
		return nil, err
	}
	doc := &configDocument{RootFS: ocispec.RootFS{Type: "layers"}}
	manifest := ocispec.Manifest{
		Versioned:   specs.Versioned{SchemaVersion: 2},
		MediaType:   types.manifest,
		Annotations: say.annotations,
	}
	if base != nil {
		if doc, err = base.document(); err != nil {
			return nil, err
		}
		if err := base.checkPlatform(doc.Platform, say.platform); err != nil {
			return nil, err
		}
		if layers, err = base.added(layers); err != nil {
			return nil, err
		}
		manifest.Layers = append(manifest.Layers, base.Layers...)
	}
	if err := s.checkCount(len(manifest.Layers), len(layers)); err != nil {
		return nil, err
	}
	paths, err := pathsOf(base, layers, len(manifest.Layers))
	if err != nil {
		return nil, err
	}
	if err := checkTouched(base, layers, len(manifest.Layers)); err != nil {
		return nil, err
	}
	if !s.StorePathsMounted {
		if err := paths.checkNamed(say); err != nil {
			return nil, err
		}
	}
	doc.say(say)
	if !s.Unfinished {
		if err := checkDefined(s.saysUser(say, base), doc.Config.User, base, layers, len(manifest.Layers)); err != nil {
			return nil, err
		}
	}
	for _, l := range layers {
		doc.RootFS.DiffIDs = append(doc.RootFS.DiffIDs, l.DiffID)
		doc.History = append(doc.History, ocispec.History{Created: &say.created, CreatedBy: HistoryCreatedBy, Comment: historyComment(l)})
		manifest.Layers = append(manifest.Layers, l.Descriptor)
	}
	for i, l := range manifest.Layers {
		if manifest.Layers[i], err = types.describeLayer(l); err != nil {
			return nil, err
		}
	}
	img := &Image{Layers: manifest.Layers, DiffIDs: doc.RootFS.DiffIDs}
	if img.Config, err = marshal("config", doc); err != nil {
		return nil, err
	}
	img.ConfigDescriptor = describe(types.config, img.Config)
	manifest.Config = img.ConfigDescriptor
	if img.Manifest, err = marshal("manifest", manifest); err != nil {
		return nil, err
	}
	img.Descriptor = describe(types.manifest, img.Manifest)
	img.Descriptor.Platform = &say.platform
	return img, nil
}

// say puts what settings say over what the document says, which may be nothing.
// The comment and the time are the image's own in any case.
func (doc *configDocument) say(s *said) {
	doc.Created, doc.Comment, doc.Platform = &s.created, s.comment, s.platform
	replace(&doc.Author, s.author)
	doc.Config = s.config.onBase(doc.Config)
	doc.Config.Env = prependVariables(doc.Config.Env, s.envPrepend)
}

// pathsOf returns the store paths of the image, each of which may be in one layer.
// The image's own layers lie on below others.
func pathsOf(base *Base, layers []*digestfile.File, below int) (*storePaths, error) {
	paths := newStorePaths()
	if base != nil {
		for p := range base.StorePaths {
			paths.add(p)
		}
	}
	owner := map[store.Path]int{}
	for i, l := range layers {
		if err := checkBlob(l.Descriptor); err != nil {
			return nil, fmt.Errorf("layer %d: %w", below+i+1, err)
		}
		for _, p := range l.StorePaths {
			if first, twice := owner[p.Path]; twice {
				return nil, fmt.Errorf("%s is in two layers: %s (layer %d of the image) and %s (layer %d); each store path belongs in one",
					p.Path, layers[first].Descriptor.Digest, below+first+1, l.Descriptor.Digest, below+i+1)
			}
			owner[p.Path] = i
			paths.add(p.Path)
		}
	}
	return paths, nil
}

// checkBlob refuses descriptors that an archive or a layout can't hold.
func checkBlob(d ocispec.Descriptor) error {
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

// Parse reads an image from the bytes of its config and its manifest, and
// checks that the two belong together.
func Parse(config, manifest []byte) (*Image, error) {
	var m ocispec.Manifest
	if err := unmarshal("manifest", manifest, &m); err != nil {
		return nil, err
	}
	if m.SchemaVersion != 2 {
		return nil, fmt.Errorf("manifest: schemaVersion %d: want 2", m.SchemaVersion)
	}
	types := mediaTypesOf(m.MediaType)
	if types == nil {
		return nil, fmt.Errorf("manifest: media type %q: want %s or %s", m.MediaType, ociTypes.manifest, dockerTypes.manifest)
	}
	img := &Image{Config: config, Manifest: manifest, ConfigDescriptor: m.Config, Layers: m.Layers}
	if want := describe(m.Config.MediaType, config); m.Config.Digest != want.Digest || m.Config.Size != want.Size {
		return nil, fmt.Errorf("the manifest names the config %s of %d bytes, found %s of %d bytes: they belong to two images",
			m.Config.Digest, m.Config.Size, want.Digest, want.Size)
	}
	var c ocispec.Image
	if err := unmarshal("config", config, &c); err != nil {
		return nil, err
	}
	if m.Config.MediaType != types.config {
		return nil, fmt.Errorf("manifest: config: media type %q: want %s", m.Config.MediaType, types.config)
	}
	if len(c.RootFS.DiffIDs) != len(m.Layers) {
		return nil, fmt.Errorf("the config names %d layers, the manifest %d", len(c.RootFS.DiffIDs), len(m.Layers))
	}
	if err := checkBlob(m.Config); err != nil {
		return nil, fmt.Errorf("manifest: config: %w", err)
	}
	for i, l := range m.Layers {
		if err := checkBlob(l); err != nil {
			return nil, fmt.Errorf("manifest: layer %d: %w", i+1, err)
		}
	}
	img.DiffIDs = c.RootFS.DiffIDs
	img.Descriptor = describe(types.manifest, manifest)
	img.Descriptor.Platform = &c.Platform
	return img, nil
}

// ReadMetadata reads a file that is a config or a manifest, or is to be part of one: of at most [MaxMetadataSize].
func ReadMetadata(path string) ([]byte, error) {
	in, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	b, err := io.ReadAll(io.LimitReader(in, MaxMetadataSize+1))
	if err == nil && len(b) > MaxMetadataSize {
		err = fmt.Errorf("%s: over %d bytes", path, MaxMetadataSize)
	}
	return b, err
}

func describe(mediaType string, b []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
}

// marshal returns JSON as the package comment says.
func marshal(what string, v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if b.Len() > MaxMetadataSize {
		return nil, fmt.Errorf("the %s has %d bytes, but skopeo, podman and most registries take at most %d: shorten labels, env and annotations", what, b.Len(), MaxMetadataSize)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func unmarshal(what string, b []byte, v any) error {
	if len(b) > MaxMetadataSize {
		return fmt.Errorf("%s: over %d bytes", what, MaxMetadataSize)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("%s: bytes follow the JSON object at offset %d", what, d.InputOffset())
	}
	return nil
}
