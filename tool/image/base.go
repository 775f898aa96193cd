package image

import (
	"errors"
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/store"
)

// Base is an image that another is built on: all of it but its layers' bytes.
// Package base reads one.
type Base struct {
	// Name is what errors call it: a file, or a target.
	Name string
	// Config is the config document, in OCI's or docker's words.
	Config []byte
	// Layers are the layers' descriptors, lowest first, with OCI's media types.
	Layers []ocispec.Descriptor
	// StorePaths are the store paths that it is known to hold. Those with a hash it holds
	// whole, and the hash is their NAR's; of those without (zero) no more is known.
	StorePaths map[store.Path]store.Hash
	// Users and Groups are the names in its /etc/passwd and /etc/group; nil, or Unknown, where that isn't known.
	Users, Groups *digestfile.NameList
}

// document reads the base's config and checks it against its layers.
func (b *Base) document() (*configDocument, error) {
	doc := new(configDocument)
	// Not strict: what others put into configs is theirs.
	if err := unmarshal("config", b.Config, doc); err != nil {
		return nil, fmt.Errorf("base %s: %w", b.Name, err)
	}
	fault := func(format string, args ...any) (*configDocument, error) {
		return nil, fmt.Errorf("base %s: %w", b.Name, fmt.Errorf(format, args...))
	}
	if doc.RootFS.Type != "layers" {
		return fault("config: rootfs.type %q: want \"layers\"", doc.RootFS.Type)
	}
	if n, m := len(doc.RootFS.DiffIDs), len(b.Layers); n != m {
		return fault("its config has %d layers, its manifest %d", n, m)
	}
	for i, id := range doc.RootFS.DiffIDs {
		if err := checkBlob(ocispec.Descriptor{Digest: id}); err != nil {
			return fault("config: layer %d: %w", i+1, err)
		}
	}
	for i, l := range b.Layers {
		if err := checkBlob(l); err != nil {
			return fault("layer %d: %w", i+1, err)
		}
	}
	n := 0
	for _, h := range doc.History {
		if !h.EmptyLayer {
			n++
		}
	}
	if len(doc.History) > 0 && n != len(b.Layers) {
		return fault("its history tells of %d layers, it has %d", n, len(b.Layers))
	}
	if len(doc.History) == 0 {
		// It is optional; but once there, it tells of each layer.
		for range b.Layers {
			doc.History = append(doc.History, ocispec.History{Created: doc.Created, CreatedBy: "unknown"})
		}
	}
	return doc, nil
}

// checkPlatform wants the base to be for the platform p. A variant that one of
// them doesn't say is the CPU's usual one.
func (b *Base) checkPlatform(base, p ocispec.Platform) error {
	if base.OS != p.OS || base.Architecture != p.Architecture || !SameVariant(base, p) {
		return fmt.Errorf("base %s: it is for %s, but the image for %s", b.Name, PlatformText(base), PlatformText(p))
	}
	return nil
}

// added returns the layers that the base doesn't make needless: those are left out
// of which it has all store paths. One that it has otherwise is an error, since
// both would be in one place.
func (b *Base) added(layers []*digestfile.File) ([]*digestfile.File, error) {
	var out []*digestfile.File
	for _, l := range layers {
		have := 0
		for _, p := range l.StorePaths {
			switch hash, ok := b.StorePaths[p.Path]; {
			case !ok || hash.IsZero():
			case hash != p.NarHash:
				return nil, fmt.Errorf("%s is in the base %s with NarHash %s, but in layer %s with %s; lock both from one cache, or take another base",
					p.Path, b.Name, hash, l.Descriptor.Digest, p.NarHash)
			default:
				have++
			}
		}
		if have == 0 || have < len(l.StorePaths) {
			out = append(out, l)
		}
	}
	return out, nil
}

// checkCount bounds the layers of all: base is how many of them are the base's.
func (s *Settings) checkCount(base, own int) error {
	if s.BaseLayers != 0 && s.BaseLayers != base {
		return fmt.Errorf("base_layers: %d, but the base has %d", s.BaseLayers, base)
	}
	n := base + own
	of := ""
	if base > 0 {
		of = fmt.Sprintf(", %d of them the base's", base)
	}
	switch {
	case n == 0:
		return errors.New("the image has no layers: it wants store paths, a base or a layer of files")
	case n > MaxLayers:
		return fmt.Errorf("the image has %d layers%s, but docker's graph drivers (overlay2, vfs) refuse more than %d: put more store paths into one layer", n, of, MaxLayers)
	case s.MaxLayers > 0 && n > s.MaxLayers:
		return fmt.Errorf("the image has %d layers%s, but max_layers is %d: raise it, or say by base_layers how many the base has", n, of, s.MaxLayers)
	}
	return nil
}
