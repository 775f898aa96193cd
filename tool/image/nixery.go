package image

import (
	"context"
	"crypto/md5"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// NixeryFile is the file in a directory that [WriteNixery] makes that names the others.
const NixeryFile = "manifest-output.json"

// nixeryOutput is what Nixery's image builder gives to its server (Nixery of
// 2019, build-image/build-image.nix): the manifest to serve, and for each blob that it
// names, by the hexadecimal digits of its digest, where it is.
type nixeryOutput struct {
	Manifest       json.RawMessage           `json:"manifest"`
	LayerLocations map[string]nixeryLocation `json:"layerLocations"`
}

type nixeryLocation struct {
	// Path is the blob's file, relative to the directory that this is in.
	Path string `json:"path"`
	// Size is in bytes.
	Size int64 `json:"size"`
	// SHA256 is in hexadecimal digits.
	SHA256 string `json:"sha256"`
	// MD5 is in base64, as object stores want it in a Content-MD5 header.
	MD5 []byte `json:"md5"`
}

// WriteNixery writes what Nixery's image builder writes into dir, which must not
// exist yet or be empty: [NixeryFile] with the members manifest and
// layerLocations, and the blobs beside it, named by their digests. Nixery serves
// docker's media types, so the image must have them ([MediaTypesDocker]).
//
// Each blob is read and checked, with [Symlink] too. All else is as [WriteLayout] has it.
func WriteNixery(ctx context.Context, dir string, img *Image, blobs []Blob, how Linking) error {
	if img.Descriptor.MediaType != dockerTypes.manifest {
		return fmt.Errorf("nixery: the manifest's media type is %s, but Nixery serves every manifest as %s: use docker's media types",
			img.Descriptor.MediaType, dockerTypes.manifest)
	}
	p, err := newParcel(img, blobs, nil)
	if err != nil {
		return err
	}
	return fillDir(dir, func(dir string) error {
		out := nixeryOutput{Manifest: img.Manifest, LayerLocations: map[string]nixeryLocation{}}
		locate := func(d ocispec.Descriptor, sum []byte) {
			hex := d.Digest.Encoded()
			out.LayerLocations[hex] = nixeryLocation{Path: hex, Size: d.Size, SHA256: hex, MD5: sum}
		}
		sum := md5.Sum(img.Config)
		locate(img.ConfigDescriptor, sum[:])
		if err := os.WriteFile(filepath.Join(dir, img.ConfigDescriptor.Digest.Encoded()), img.Config, 0o644); err != nil {
			return err
		}
		buf := make([]byte, copyBufferSize)
		for _, b := range p.blobs {
			h := md5.New()
			to := filepath.Join(dir, b.Descriptor.Digest.Encoded())
			var err error
			if how == Symlink && (b.Path != "" || b.Open == nil) {
				if err = linkBlob(b, dir, to); err == nil {
					err = b.copyTo(ctx, h, buf)
				}
			} else {
				err = copyBlob(ctx, b, to, h, buf)
			}
			if err != nil {
				return err
			}
			locate(b.Descriptor, h.Sum(nil))
		}
		b, err := marshal(NixeryFile, out)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, NixeryFile), b, 0o644)
	})
}
