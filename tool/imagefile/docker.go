package imagefile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/image"
)

// dockerManifestFile lists the images of a docker archive (moby, image/spec/v1.2.md,
// "Combined Image JSON + Filesystem Changeset Format").
const dockerManifestFile = "manifest.json"

type dockerEntry struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func (f *File) dockerEntries() ([]dockerEntry, error) {
	b, err := document(f.files, dockerManifestFile)
	if err != nil {
		return nil, err
	}
	var all []dockerEntry
	if err := unmarshal(dockerManifestFile, b, &all); err != nil {
		return nil, err
	}
	switch {
	case len(all) == 0:
		return nil, errors.New(dockerManifestFile + " names no image")
	case len(all) > maxManifests:
		return nil, fmt.Errorf("%s: more than %d images", dockerManifestFile, maxManifests)
	}
	return all, nil
}

// readDockerManifest reads the images of a docker archive. Their manifests are made up: nothing else names the layers by digests.
func (f *File) readDockerManifest() error {
	all, err := f.dockerEntries()
	if err != nil {
		return err
	}
	blobs := map[string]ocispec.Descriptor{} // of compressed layers, by name: each is hashed once
	for _, e := range all {
		i, err := f.dockerImage(e, blobs)
		if err != nil {
			return fmt.Errorf("%s: %w", dockerManifestFile, err)
		}
		f.alone(i)
	}
	return nil
}

// alone adds an image that no index names.
func (f *File) alone(i *Image) {
	for _, e := range f.images {
		if e.descriptor.Digest == i.Descriptor.Digest {
			e.names = union(e.names, i.Names)
			e.image.Names = e.names
			return
		}
	}
	e := &entry{descriptor: i.Descriptor, names: i.Names, image: i}
	f.roots, f.images = append(f.roots, e), append(f.images, e)
}

// dockerImage makes the manifest that the archive lacks.
func (f *File) dockerImage(e dockerEntry, blobs map[string]ocispec.Descriptor) (*Image, error) {
	config, err := document(f.files, e.Config)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	// The name is the config's digest, mostly: then it has to hold.
	id := digest.FromBytes(config)
	base := strings.TrimSuffix(e.Config[strings.LastIndexByte(e.Config, '/')+1:], ".json")
	if want := digest.NewDigestFromEncoded(digest.SHA256, base); want.Validate() == nil && want != id {
		return nil, fmt.Errorf("config %s: its bytes have the digest %s", e.Config, id)
	}
	var spec ocispec.Image
	if err := unmarshal("config "+e.Config, config, &spec); err != nil {
		return nil, err
	}
	if len(spec.RootFS.DiffIDs) != len(e.Layers) {
		return nil, fmt.Errorf("it has %d layers, and its config %d diff IDs", len(e.Layers), len(spec.RootFS.DiffIDs))
	}
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: id, Size: int64(len(config))},
		Layers:    []ocispec.Descriptor{},
	}
	for k, name := range e.Layers {
		d, err := f.dockerLayer(name, spec.RootFS.DiffIDs[k], blobs)
		if err != nil {
			return nil, fmt.Errorf("layer %d: %w", k+1, err)
		}
		m.Layers = append(m.Layers, d)
	}
	manifest, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	d := ocispec.Descriptor{MediaType: m.MediaType, Digest: digest.FromBytes(manifest), Size: int64(len(manifest))}
	i, err := newImage(d, manifest, &m, config)
	if err != nil {
		return nil, err
	}
	i.configFile = e.Config
	for k, l := range i.Layers {
		l.of, l.file = f.files, e.Layers[k]
		l.Path = f.files.path(l.file)
	}
	i.Names, err = dockerNames(e)
	return i, err
}

// dockerLayer describes a layer: a tar, which the diff ID names already, or a compressed one, which has to be hashed.
func (f *File) dockerLayer(name string, diffID digest.Digest, blobs map[string]ocispec.Descriptor) (d ocispec.Descriptor, err error) {
	if d, ok := blobs[name]; ok {
		return d, nil
	}
	in, size, err := f.files.open(name)
	if err != nil {
		return d, err
	}
	defer in.Close()
	head := make([]byte, magicSize)
	n, err := io.ReadFull(in, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return d, err
	}
	d.Size = size
	switch compressionOf(head[:n]) {
	case "":
		d.MediaType, d.Digest = ocispec.MediaTypeImageLayer, diffID
		return d, nil
	case gzipName:
		d.MediaType = ocispec.MediaTypeImageLayerGzip
	case zstdName:
		d.MediaType = ocispec.MediaTypeImageLayerZstd
	default:
		return d, fmt.Errorf("%s is compressed by %s; want gzip, zstd or none", name, compressionOf(head[:n]))
	}
	d.Digest, err = digest.SHA256.FromReader(io.MultiReader(bytes.NewReader(head[:n]), in))
	blobs[name] = d
	return d, err
}

func dockerNames(e dockerEntry) ([]string, error) {
	var names []string
	for _, t := range e.RepoTags {
		r, err := image.ParseReference(t)
		if err != nil {
			return nil, err
		}
		names = append(names, r.String())
	}
	return names, nil
}

// addDockerNames adds the names that manifest.json has and index.json hasn't.
func (f *File) addDockerNames() error {
	all, err := f.dockerEntries()
	if err != nil {
		return err
	}
	for _, of := range all {
		names, err := dockerNames(of)
		if err != nil {
			return fmt.Errorf("%s: %w", dockerManifestFile, err)
		}
		for _, e := range f.images {
			i, err := f.read(e)
			if err != nil {
				return err
			}
			if strings.Contains(of.Config, i.ConfigDescriptor.Digest.Encoded()) {
				e.names = union(e.names, names)
				i.Names = e.names
			}
		}
	}
	return nil
}
