package base

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/image"
)

// dockerManifestFile names the images of a docker archive.
const dockerManifestFile = "manifest.json"

// dockerImage is an entry of it.
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// docker reads an image out of a docker archive. Its layers are tars, mostly not
// compressed, and have no digests of their own: the manifest that they get here
// names them as they are.
func (o *opened) docker() error {
	b, err := o.readFile(dockerManifestFile)
	if err != nil {
		return err
	}
	var all []dockerImage
	if err := json.Unmarshal(b, &all); err != nil {
		return fmt.Errorf("%s: %w", dockerManifestFile, err)
	}
	chosen, err := chooseDocker(all, o.options.Name)
	if err != nil {
		return err
	}
	if o.image.config, err = o.readFile(chosen.Config); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	// The name is the digest: <hex>.json, or blobs/sha256/<hex>.
	hex := strings.TrimSuffix(path.Base(chosen.Config), ".json")
	if want := digest.NewDigestFromEncoded(digest.SHA256, hex); want.Validate() == nil && digest.FromBytes(o.image.config) != want {
		return fmt.Errorf("config %s: its bytes have %s", chosen.Config, digest.FromBytes(o.image.config))
	}
	var config ocispec.Image
	if err := json.Unmarshal(o.image.config, &config); err != nil {
		return fmt.Errorf("config %s: %w", chosen.Config, err)
	}
	if len(config.RootFS.DiffIDs) != len(chosen.Layers) {
		return fmt.Errorf("config %s names %d layers, %s %d", chosen.Config, len(config.RootFS.DiffIDs), dockerManifestFile, len(chosen.Layers))
	}
	if len(chosen.Layers) > image.MaxLayers {
		return fmt.Errorf("it has %d layers, but docker's graph drivers refuse more than %d", len(chosen.Layers), image.MaxLayers)
	}
	for i, name := range chosen.Layers {
		d, err := o.describe(name, config.RootFS.DiffIDs[i])
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%s is not in the archive", name)
		}
		if err != nil {
			return fmt.Errorf("layer %d: %w", i+1, err)
		}
		o.image.layers = append(o.image.layers, layer{descriptor: d, source: o.image.source, file: name})
	}
	return nil
}

func chooseDocker(all []dockerImage, name string) (*dockerImage, error) {
	var names []string
	for i := range all {
		names = append(names, cmpOr(strings.Join(all[i].RepoTags, ", "), "one without a name"))
		if name != "" && slices.ContainsFunc(all[i].RepoTags, func(t string) bool { return sameName(t, name) }) {
			return &all[i], nil
		}
	}
	switch {
	case len(all) == 0:
		return nil, fmt.Errorf("%s: it has no image", dockerManifestFile)
	case name != "":
		return nil, fmt.Errorf("it has no image %q; it has %s", name, strings.Join(names, "; "))
	case len(all) > 1:
		return nil, fmt.Errorf("it has several images, choose one by its name: it has %s", strings.Join(names, "; "))
	}
	return &all[0], nil
}

// describe makes the descriptor of a layer as it is. Of one that is not compressed
// the digest is the diff ID, which is checked when the layer is read.
func (o *opened) describe(name string, diffID digest.Digest) (ocispec.Descriptor, error) {
	r, size, err := o.image.source.open(name)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	defer r.Close()
	head := make([]byte, 4)
	n, err := io.ReadFull(r, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return ocispec.Descriptor{}, fmt.Errorf("%s: %w", name, err)
	}
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: diffID, Size: size}
	switch sniff(head[:n]) {
	case compressionGzip:
		d.MediaType = ocispec.MediaTypeImageLayerGzip
	case compressionZstd:
		d.MediaType = ocispec.MediaTypeImageLayerZstd
	default:
		return d, nil
	}
	h := digest.SHA256.Digester()
	h.Hash().Write(head[:n])
	if _, err := io.CopyBuffer(h.Hash(), struct{ io.Reader }{r}, make([]byte, bufferSize)); err != nil {
		return d, fmt.Errorf("%s: %w", name, err)
	}
	d.Digest = h.Digest()
	return d, nil
}
