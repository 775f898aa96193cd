package validate

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/image"
)

// dockerImage is an entry of manifest.json (docker's image spec v1.2, Combined
// Image JSON + Filesystem Changeset Format).
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// docker wants manifest.json, where there is one, to say the same as index.json.
func (c *checker) docker() error {
	if _, ok := c.files[dockerName]; !ok {
		return nil
	}
	entries, err := c.dockerEntries()
	for i, e := range entries {
		c.dockerEntry(i, e)
	}
	return err
}

func (c *checker) dockerEntries() ([]dockerImage, error) {
	var entries []dockerImage
	if ok, err := c.json(dockerName, &entries); !ok || err != nil {
		return nil, err
	}
	if len(entries) == 0 {
		c.add(dockerName, "it names no image")
	}
	return entries, nil
}

// json reads a document that there is no schema of; false if there is nothing to go on with.
func (c *checker) json(name string, v any) (bool, error) {
	b, err := c.read(name)
	if b == nil || err != nil {
		return false, err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(v); err != nil {
		c.add(name, "%v", err)
		return false, nil
	}
	if _, err := d.Token(); err != io.EOF {
		c.add(name, "bytes follow the JSON value at offset %d", d.InputOffset())
	}
	return true, nil
}

func (c *checker) dockerEntry(i int, e dockerImage) {
	for _, name := range append([]string{e.Config}, e.Layers...) {
		if _, ok := c.files[name]; !ok {
			c.add(dockerName, "image %d names %q, which is missing", i+1, name)
		}
		c.used[name] = true
	}
	at := slices.IndexFunc(c.order, func(img *imageFacts) bool { return blobFile(img.manifest.Config) == e.Config })
	if at < 0 {
		c.add(dockerName, "image %d: %q is the config of no image in %s", i+1, e.Config, indexName)
		return
	}
	img := c.order[at]
	var want []string
	for _, l := range img.manifest.Layers {
		want = append(want, blobFile(l))
	}
	if !slices.Equal(e.Layers, want) {
		c.add(dockerName, "image %d: its layers are not those of the manifest %s, in their order", i+1, img.Digest)
	}
	names := c.dockerNames(i, e)
	for n, t := range names {
		if !slices.Contains(img.dockerNames, n) {
			c.add(dockerName, "image %d: RepoTags: %s is no image name of %s in %s", i+1, t, img.Digest, indexName)
		}
	}
	for _, n := range img.dockerNames {
		if _, ok := names[n]; !ok {
			c.add(dockerName, "image %d: %s calls it %s, which is not in RepoTags %q", i+1, indexName, n, slices.Sorted(maps.Keys(names)))
		}
	}
}

// dockerNames are an entry's RepoTags, by the whole name of each.
func (c *checker) dockerNames(i int, e dockerImage) map[string]string {
	names := map[string]string{}
	for _, t := range e.RepoTags {
		r, err := image.ParseReference(t)
		if err != nil {
			c.add(dockerName, "image %d: RepoTags: %v", i+1, err)
			continue
		}
		if _, twice := names[r.String()]; twice {
			c.add(dockerName, "image %d: RepoTags: %s is there twice", i+1, t)
		}
		names[r.String()] = t
	}
	return names
}

// blobFile is the name of a descriptor's file, whether it is well formed or not.
func blobFile(d ocispec.Descriptor) string {
	if d.Digest.Validate() != nil {
		return ""
	}
	return "blobs/" + d.Digest.Algorithm().String() + "/" + d.Digest.Encoded()
}
