package validate

import (
	"bytes"
	"encoding/json"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/schema"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/image"
)

// repositoriesName is the file by which clients from before docker 1.10 find images.
const repositoriesName = "repositories"

// dockerArchive checks an archive that is no OCI layout: manifest.json, the
// configs and layers that it names, and what older clients read if it is there. There is
// no manifest, so what is known of an image hangs on its config's digest, the image's ID.
func (c *checker) dockerArchive() error {
	entries, err := c.dockerEntries()
	if err != nil {
		return err
	}
	tops := map[string]string{} // the topmost layer's folder, by the image's name
	seen := map[string]bool{}
	for i, e := range entries {
		names := c.dockerNames(i, e)
		for n := range names {
			if seen[n] {
				c.add(dockerName, "image %d: RepoTags: another image is called %s too", i+1, n)
			}
			seen[n] = true
			if len(e.Layers) > 0 {
				tops[n] = path.Dir(e.Layers[len(e.Layers)-1])
			}
		}
		if err := c.dockerImage(i, e, names); err != nil {
			return err
		}
	}
	if c.expected.anyOrigin && !slices.ContainsFunc(entries, c.legacyIsOurs) {
		return nil
	}
	return c.repositories(tops)
}

func (c *checker) dockerImage(i int, e dockerImage, names map[string]string) error {
	b, err := c.read(e.Config)
	if b == nil || err != nil {
		return err
	}
	id := digest.FromBytes(b)
	if named := configID(e.Config); e.Config != id.Encoded()+".json" && (!c.expected.anyOrigin || named != "" && named != id) {
		c.add(e.Config, "its bytes have the digest %s: want the file named by it", id)
	}
	config := new(ocispec.Image)
	if c.expected.anyOrigin { // What docker writes needn't please OCI's schema.
		if ok, err := c.json(e.Config, config); !ok || err != nil {
			return err
		}
	} else if !c.parse(e.Config, withoutNewlines(b), schema.ValidatorMediaTypeImageConfig, config) {
		return nil
	}
	history := layerHistory(config)
	img := &imageFacts{ImageFacts: ImageFacts{Digest: id, Platform: config.Platform}, file: e.Config, hasConfig: true}
	for n := range names {
		img.Names = append(img.Names, n)
	}
	slices.Sort(img.Names)
	var facts []*layerFacts
	mediaType := ocispec.MediaTypeImageLayer
	if c.expected.anyOrigin {
		mediaType = anyLayerType // Docker takes any compression, but older clients, and the spec, say a tar.
	}
	for n, name := range e.Layers {
		f, err := c.layerFile(name, ocispec.Descriptor{MediaType: mediaType}, c.holding(history, n))
		if err != nil {
			return err
		}
		facts = append(facts, f)
		img.manifest.Layers = append(img.manifest.Layers, ocispec.Descriptor{Digest: f.Digest})
		img.Layers = append(img.Layers, f.LayerFacts)
	}
	c.order = append(c.order, img)
	c.checkCoverage(dockerName, facts)
	c.checkDiffIDs(e.Config, config, &img.manifest, facts)
	c.checkHistory(e.Config, config, history, facts)
	if c.expected.anyOrigin && !c.legacyIsOurs(e) {
		return nil
	}
	return c.legacyLayers(i, e, b, facts)
}

// legacyIsOurs reports whether an image's layers lie as strata writes them for older clients: all else that does, or once did, says no
// plain checksum of a layer's tar there.
func (c *checker) legacyIsOurs(e dockerImage) bool {
	for _, layer := range e.Layers {
		f, ok := c.files[path.Dir(layer)+"/json"]
		if !ok || f.size > maxDocument {
			continue
		}
		r, err := f.open()
		if err != nil {
			continue
		}
		var l struct{ Checksum string }
		err = json.NewDecoder(r).Decode(&l)
		r.Close()
		if err == nil && strings.HasPrefix(l.Checksum, "sha256:") {
			return true
		}
	}
	return false
}

// configID is the digest that a config's file is named by; "" where it is named otherwise.
func configID(file string) digest.Digest {
	id := digest.NewDigestFromEncoded(digest.SHA256, strings.TrimPrefix(strings.TrimSuffix(path.Base(file), ".json"), "sha256:"))
	if id.Validate() != nil {
		return ""
	}
	return id
}

// legacyLayers checks the folders of layers as docker's image spec v1.0 has them; an
// archive without the file repositories has none.
func (c *checker) legacyLayers(i int, e dockerImage, config []byte, facts []*layerFacts) error {
	if _, ok := c.files[repositoriesName]; !ok {
		return nil
	}
	var of struct {
		Architecture, OS, Created string
		Config                    json.RawMessage
	}
	if err := json.Unmarshal(config, &of); err != nil {
		return nil // told of already
	}
	parent := ""
	for n, layer := range e.Layers {
		dir, base := path.Split(layer)
		if id := strings.TrimSuffix(dir, "/"); base != "layer.tar" || len(id) != 64 || strings.Trim(id, "0123456789abcdef") != "" {
			c.add(dockerName, "image %d: layer %d is %q: want <64 hex>/layer.tar", i+1, n+1, layer)
			continue
		}
		b, err := c.read(dir + "VERSION")
		if err != nil {
			return err
		}
		if b != nil && string(b) != "1.0" {
			c.add(dir+"VERSION", "%q: want 1.0", b)
		}
		var l struct {
			ID, Parent, Created, Architecture, OS, Checksum string
			Config                                          json.RawMessage
			Size                                            int64
		}
		name := dir + "json"
		if ok, err := c.json(name, &l); err != nil {
			return err
		} else if !ok {
			continue
		}
		for _, f := range []struct{ field, want, got string }{
			{"id", strings.TrimSuffix(dir, "/"), l.ID},
			{"parent", parent, l.Parent},
			{"checksum", facts[n].DiffID.String(), l.Checksum},
			{"created", of.Created, l.Created},
			{"architecture", of.Architecture, l.Architecture},
			{"os", of.OS, l.OS},
		} {
			if f.got != f.want {
				c.add(name, "%s %q: want %q", f.field, f.got, f.want)
			}
		}
		if l.Size != facts[n].UncompressedSize {
			c.add(name, "Size %d: layer.tar has %d bytes", l.Size, facts[n].UncompressedSize)
		}
		if top := n == len(e.Layers)-1; top && !bytes.Equal(l.Config, of.Config) {
			c.add(name, "its config is not that of %s", e.Config)
		}
		parent = l.ID
	}
	return nil
}

// repositories checks the file of that name against the names in manifest.json.
func (c *checker) repositories(tops map[string]string) error {
	if _, ok := c.files[repositoriesName]; !ok {
		return nil
	}
	var all map[string]map[string]string
	if ok, err := c.json(repositoriesName, &all); !ok || err != nil {
		return err
	}
	left := map[string]string{}
	for n, top := range tops {
		left[n] = top
	}
	for repository, tags := range all {
		for tag, id := range tags {
			whole := wholeName(repository + ":" + tag)
			if want, ok := tops[whole]; !ok || want != id {
				c.add(repositoriesName, "%s:%s is %s: manifest.json has %q", repository, tag, id, want)
			}
			delete(left, whole)
		}
	}
	for n := range left {
		c.add(repositoriesName, "%s is missing", n)
	}
	return nil
}

// wholeName is a name with docker's domain, where it leaves it out.
func wholeName(name string) string {
	r, err := image.ParseReference(name)
	if err != nil {
		return name
	}
	return r.String()
}
