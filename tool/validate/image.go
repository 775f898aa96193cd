package validate

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/opencontainers/image-spec/schema"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/store"
)

// image checks a manifest with its config and its layers. The same image under
// several names is checked once, and each descriptor against it.
func (c *checker) image(from string, d ocispec.Descriptor) (*imageFacts, error) {
	if img, ok := c.images[d.Digest]; ok {
		c.checkSize(img.file, d, c.files[img.file].size)
		c.checkPlatform(from, d, img)
		return img, nil
	}
	b, name, err := c.document(from, d)
	if b == nil || err != nil {
		return nil, err
	}
	img := &imageFacts{ImageFacts: ImageFacts{Digest: d.Digest}, file: name}
	if !c.parse(name, b, schema.ValidatorMediaTypeManifest, &img.manifest) {
		return nil, nil
	}
	c.images[d.Digest] = img
	c.order = append(c.order, img)
	m := &img.manifest
	if m.MediaType != d.MediaType {
		c.add(name, "mediaType %q: the descriptor says %q", m.MediaType, d.MediaType)
	}
	if want := configType(d.MediaType); m.Config.MediaType != want {
		c.add(name, "config's media type %q: want %s", m.Config.MediaType, want)
	}
	if len(m.Layers) > image.MaxLayers {
		c.add(name, "%d layers: docker's graph drivers refuse more than %d", len(m.Layers), image.MaxLayers)
	}
	config, configName, err := c.config(name, m.Config)
	if err != nil {
		return nil, err
	}
	history := layerHistory(config)
	var facts []*layerFacts
	for i, l := range m.Layers {
		f, err := c.layer(name, l, c.holding(history, i))
		if err != nil {
			return nil, err
		}
		facts = append(facts, f)
		img.Layers = append(img.Layers, f.LayerFacts)
	}
	c.checkCoverage(name, facts)
	if config != nil {
		img.Platform, img.hasConfig = config.Platform, true
		c.checkPlatform(from, d, img)
		c.checkDiffIDs(configName, config, m, facts)
		c.checkHistory(configName, config, history, facts)
	}
	return img, nil
}

func configType(manifestType string) string {
	if manifestType == dockerManifestType {
		return dockerConfigType
	}
	return ocispec.MediaTypeImageConfig
}

// config reads a config; nil if there is nothing to go on with.
func (c *checker) config(from string, d ocispec.Descriptor) (*ocispec.Image, string, error) {
	b, name, err := c.document(from, d)
	if b == nil || err != nil {
		return nil, name, err
	}
	config := new(ocispec.Image)
	if !c.parse(name, withoutNewlines(b), schema.ValidatorMediaTypeImageConfig, config) {
		return nil, name, nil
	}
	if config.RootFS.Type != "layers" {
		c.add(name, "rootfs.type %q: want \"layers\"", config.RootFS.Type)
	}
	return config, name, nil
}

// withoutNewlines returns the config with spaces for newlines in the values of
// the environment, where they are right, but image-spec's check takes none.
func withoutNewlines(b []byte) []byte {
	var doc map[string]any
	d := json.NewDecoder(bytes.NewReader(b))
	if d.Decode(&doc) != nil || d.More() {
		return b
	}
	config, _ := doc["config"].(map[string]any)
	env, _ := config["Env"].([]any)
	changed := false
	for i, e := range env {
		if s, ok := e.(string); ok && strings.Contains(s, "\n") {
			env[i], changed = strings.ReplaceAll(s, "\n", " "), true
		}
	}
	if !changed {
		return b
	}
	out, err := json.Marshal(doc)
	if err != nil {
		return b
	}
	return out
}

func (c *checker) checkPlatform(from string, d ocispec.Descriptor, img *imageFacts) {
	p, config := d.Platform, img.Platform
	if p == nil || !img.hasConfig {
		return
	}
	if p.OS != config.OS || p.Architecture != config.Architecture || p.Variant != config.Variant || p.OSVersion != config.OSVersion {
		c.add(from, "%s: platform %s: its config says %s", d.Digest, platformText(*p), platformText(config))
	}
}

func platformText(p ocispec.Platform) string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	if p.OSVersion != "" {
		s += " " + p.OSVersion
	}
	return s
}

// checkDiffIDs compares what the config says of the layers with their bytes.
func (c *checker) checkDiffIDs(name string, config *ocispec.Image, m *ocispec.Manifest, facts []*layerFacts) {
	ids := config.RootFS.DiffIDs
	if len(ids) != len(facts) {
		c.add(name, "%d diff IDs: the manifest has %d layers", len(ids), len(facts))
	}
	for i := range min(len(ids), len(facts)) {
		if got := facts[i].DiffID; got != ids[i] && got != "" {
			c.add(name, "diff ID %d is %s: layer %d, %s, has %s", i+1, ids[i], i+1, m.Layers[i].Digest, got)
		}
	}
}

// layerHistory are the history entries that have a layer.
func layerHistory(config *ocispec.Image) []ocispec.History {
	if config == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(config.History), func(h ocispec.History) bool { return h.EmptyLayer })
}

// holding is what the layer of that number is held to.
func (c *checker) holding(history []ocispec.History, i int) holding {
	ours := !c.expected.anyOrigin || i < len(history) && history[i].CreatedBy == image.HistoryCreatedBy
	return holding{storeDirs(history), ours}
}

// storeDirs are the store directories that a history of our own tells of, with
// Nix's and Guix' own, all without the slash in front.
func storeDirs(history []ocispec.History) []string {
	dirs := []string{"nix/store", "gnu/store"}
	for _, h := range history {
		if h.CreatedBy != image.HistoryCreatedBy {
			continue
		}
		paths, _, _ := image.ParseHistoryComment(h.Comment)
		for _, p := range paths {
			if dir := p.Path.Dir()[1:]; !slices.Contains(dirs, dir) && len(dirs) < maxStoreDirs {
				dirs = append(dirs, dir)
			}
		}
	}
	return dirs
}

// maxStoreDirs bounds how many store directories one image can have.
const maxStoreDirs = 8

// checkHistory wants an entry for each layer and, where strata wrote it, the
// store paths that the layer has.
func (c *checker) checkHistory(name string, config *ocispec.Image, history []ocispec.History, facts []*layerFacts) {
	if len(config.History) == 0 {
		return // It is optional.
	}
	if len(history) != len(facts) {
		c.add(name, "the history tells of %d layers: the manifest has %d", len(history), len(facts))
	}
	for i := range min(len(history), len(facts)) {
		h, f := history[i], facts[i]
		if h.CreatedBy != image.HistoryCreatedBy || !f.read {
			continue
		}
		paths, more, err := image.ParseHistoryComment(h.Comment)
		if err != nil {
			c.add(name, "history of layer %d: %v", i+1, err)
			continue
		}
		told := map[store.Path]bool{}
		for _, p := range paths {
			told[p.Path] = true
			if _, ok := slices.BinarySearch(f.StorePaths, string(p.Path)); !ok {
				c.add(name, "history of layer %d tells of %s: it is not in %s", i+1, p.Path, f.Digest)
			}
		}
		var untold []string
		for _, p := range f.StorePaths {
			if !told[store.Path(p)] {
				untold = append(untold, p)
			}
		}
		switch {
		case more == 0:
			for _, p := range untold {
				c.add(name, "history of layer %d does not tell of %s, which is in %s", i+1, p, f.Digest)
			}
		case len(untold) != more:
			c.add(name, "history of layer %d tells of %d more store paths: %s has %d more", i+1, more, f.Digest, len(untold))
		}
	}
}

// checkCoverage wants each store path in one layer of ours.
func (c *checker) checkCoverage(name string, facts []*layerFacts) {
	owner := map[string]int{}
	for i, f := range facts {
		if !f.ours {
			continue
		}
		for _, p := range f.StorePaths {
			if first, twice := owner[p]; twice {
				c.add(name, "%s is in two layers: %d (%s) and %d (%s)", p, first+1, facts[first].Digest, i+1, f.Digest)
				continue
			}
			owner[p] = i
		}
	}
}
