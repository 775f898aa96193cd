package image

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
)

// dockerManifestFile is the one file that a docker archive must have.
const dockerManifestFile = "manifest.json"

// dockerManifest is an entry of it (docker's image spec v1.2, Combined Image JSON + Filesystem Changeset Format).
type dockerManifest struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// blobLayers names an image's config and layers as an OCI layout has them.
func blobLayers(img *Image) (config string, layers []string, err error) {
	layers = []string{}
	for _, l := range img.Layers {
		layers = append(layers, blobName(l))
	}
	return blobName(img.ConfigDescriptor), layers, nil
}

// dockerManifestJSON is a docker archive's manifest.json, of what files says that
// the config and the layers of an image are called. The names of images are whole:
// docker shows "docker.io/library/web:dev" as "web:dev" all the same, but podman
// would call a bare "web:dev" "localhost/web:dev", and "docker.io/library/web:dev"
// where it happens to read index.json instead.
func (p *parcel) dockerManifestJSON(files func(*Image) (config string, layers []string, err error)) ([]byte, error) {
	var entries []dockerManifest
	for _, img := range p.images {
		refs, err := p.dockerRefs(img)
		if err != nil {
			return nil, err
		}
		var m dockerManifest
		if m.Config, m.Layers, err = files(img); err != nil {
			return nil, err
		}
		for _, r := range refs {
			m.RepoTags = append(m.RepoTags, r.String())
		}
		entries = append(entries, m)
	}
	return marshal(dockerManifestFile, entries)
}

// dockerRefs are an image's names in a docker archive. That knows nothing of
// platforms: docker takes each image in turn, and a name would go to the last of
// them, whatever the machine. So an image of an [Index] has the platform in its tag: "web:dev-arm64".
func (p *parcel) dockerRefs(img *Image) ([]Reference, error) {
	if _, ok := p.content.(*Index); !ok {
		return p.refs, nil
	}
	var out []Reference
	for _, r := range p.refs {
		of, err := r.ForPlatform(*img.Descriptor.Platform)
		if err != nil {
			return nil, err
		}
		out = append(out, of)
	}
	return out, nil
}

// writeDocker writes a docker archive.
func (p *parcel) writeDocker(t *archiveWriter, legacy bool) error {
	layers, err := p.tarLayers(t)
	if err != nil {
		return err
	}
	if legacy {
		return p.writeLegacy(t, layers)
	}
	manifest, err := p.dockerManifestJSON(func(img *Image) (string, []string, error) {
		names := []string{}
		for _, id := range img.DiffIDs {
			names = append(names, id.Encoded()+".tar")
		}
		return dockerConfigName(img), names, nil
	})
	if err != nil {
		return err
	}
	if err := t.file(dockerManifestFile, manifest); err != nil {
		return err
	}
	for _, img := range p.images {
		if err := t.file(dockerConfigName(img), img.Config); err != nil {
			return err
		}
	}
	done := map[digest.Digest]bool{}
	for _, img := range p.images {
		for _, id := range img.DiffIDs {
			if done[id] {
				continue
			}
			done[id] = true
			if err := layers[id].write(t, id.Encoded()+".tar"); err != nil {
				return err
			}
		}
	}
	return nil
}

// dockerConfigName is how docker and skopeo name a config: by its digest, which is the image's ID.
func dockerConfigName(img *Image) string { return img.ConfigDescriptor.Digest.Encoded() + ".json" }

// tarLayer is a layer as a docker archive has it: decompressed.
type tarLayer struct {
	blob   Blob
	diffID digest.Digest
	size   int64
}

// tarLayers returns the layers of all images by their diff IDs. Sizes that nobody
// knows yet are found out by reading the blob once more.
func (p *parcel) tarLayers(t *archiveWriter) (map[digest.Digest]tarLayer, error) {
	blobs := map[digest.Digest]Blob{}
	for _, b := range p.blobs {
		blobs[b.Descriptor.Digest] = b
	}
	out := map[digest.Digest]tarLayer{}
	for _, img := range p.images {
		if len(img.DiffIDs) != len(img.Layers) {
			return nil, fmt.Errorf("image %s: %d diff IDs of %d layers", img.Descriptor.Digest, len(img.DiffIDs), len(img.Layers))
		}
		for i, id := range img.DiffIDs {
			if _, ok := out[id]; ok {
				continue
			}
			l := tarLayer{blob: blobs[img.Layers[i].Digest], diffID: id}
			var err error
			if l.size, err = l.blob.tarSize(t.ctx, id, t.buf); err != nil {
				return nil, err
			}
			out[id] = l
		}
	}
	return out, nil
}

func (l tarLayer) write(t *archiveWriter, name string) error {
	if err := t.header(tar.TypeReg, name, l.size); err != nil {
		return err
	}
	_, err := l.blob.copyTar(t.ctx, t.tar, l.diffID, l.size, t.buf)
	return err
}

// legacyJSON is what clients from before docker 1.10 know of a layer (docker's
// image spec v1.0, Image JSON Description): there each layer is an image with a parent.
type legacyJSON struct {
	ID           string          `json:"id,omitempty"`
	Parent       string          `json:"parent,omitempty"`
	Created      string          `json:"created,omitempty"`
	Architecture string          `json:"architecture,omitempty"`
	OS           string          `json:"os,omitempty"`
	Config       json.RawMessage `json:"config,omitempty"` // of the topmost alone
	// Checksum is the layer's diff ID. The spec says TarSum, a hash over sorted
	// hashes of files; no client has checked either.
	Checksum digest.Digest `json:"checksum"`
	// Size is the size of layer.tar in bytes.
	Size int64 `json:"Size"`
}

// legacyVersion is the content of the files VERSION.
const legacyVersion = "1.0"

// legacyLayer is one folder of a legacy archive.
type legacyLayer struct {
	json   legacyJSON
	diffID digest.Digest
}

// legacyLayers are the folders of an image, lowest first. An ID is the SHA-256 of
// all else that json says, the parent's ID included: images that have their lowest
// layers in common share those folders.
func legacyLayers(img *Image, layers map[digest.Digest]tarLayer) ([]legacyLayer, error) {
	var config struct {
		Created      string          `json:"created"`
		Architecture string          `json:"architecture"`
		OS           string          `json:"os"`
		Config       json.RawMessage `json:"config"`
	}
	if err := unmarshal("config", img.Config, &config); err != nil {
		return nil, err
	}
	var out []legacyLayer
	parent := ""
	for i, id := range img.DiffIDs {
		j := legacyJSON{
			Parent: parent, Created: config.Created, Architecture: config.Architecture, OS: config.OS,
			Checksum: id, Size: layers[id].size,
		}
		if i == len(img.DiffIDs)-1 {
			j.Config = config.Config
		}
		b, err := marshal("json", j)
		if err != nil {
			return nil, err
		}
		j.ID = digest.FromBytes(b).Encoded()
		parent = j.ID
		out = append(out, legacyLayer{j, id})
	}
	return out, nil
}

func (p *parcel) writeLegacy(t *archiveWriter, layers map[digest.Digest]tarLayer) error {
	folders := map[*Image][]legacyLayer{}
	// Name -> tag -> ID of the topmost layer; JSON sorts it.
	repositories := map[string]map[string]string{}
	for _, img := range p.images {
		of, err := legacyLayers(img, layers)
		if err != nil {
			return err
		}
		folders[img] = of
		refs, err := p.dockerRefs(img)
		if err != nil {
			return err
		}
		for _, r := range refs {
			name := r.familiarName()
			if repositories[name] == nil {
				repositories[name] = map[string]string{}
			}
			repositories[name][r.Tag] = of[len(of)-1].json.ID
		}
	}
	manifest, err := p.dockerManifestJSON(func(img *Image) (string, []string, error) {
		var names []string
		for _, l := range folders[img] {
			names = append(names, l.json.ID+"/layer.tar")
		}
		return dockerConfigName(img), names, nil
	})
	if err != nil {
		return err
	}
	if err := t.file(dockerManifestFile, manifest); err != nil {
		return err
	}
	b, err := marshal("repositories", repositories)
	if err != nil {
		return err
	}
	if err := t.file("repositories", b); err != nil {
		return err
	}
	for _, img := range p.images {
		if err := t.file(dockerConfigName(img), img.Config); err != nil {
			return err
		}
	}
	done := map[string]bool{}
	for _, img := range p.images {
		for _, l := range folders[img] {
			if done[l.json.ID] {
				continue
			}
			done[l.json.ID] = true
			if err := l.write(t, layers[l.diffID]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l legacyLayer) write(t *archiveWriter, layer tarLayer) error {
	b, err := marshal("json", l.json)
	if err != nil {
		return err
	}
	dir := l.json.ID + "/"
	if err := t.dirs(dir); err != nil {
		return err
	}
	if err := t.file(dir+"VERSION", []byte(legacyVersion)); err != nil {
		return err
	}
	if err := t.file(dir+"json", b); err != nil {
		return err
	}
	return layer.write(t, dir+"layer.tar")
}

// familiarName is the repository as people write it, and as docker 1.9 and older know
// it: "web" for "docker.io/library/web".
func (r Reference) familiarName() string {
	if r.Domain != dockerDomain {
		return r.Domain + "/" + r.Path
	}
	return strings.TrimPrefix(r.Path, officialPath)
}
