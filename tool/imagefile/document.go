package imagefile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/image"
)

// document reads a small file: index.json, a manifest, a config.
func document(of files, name string) ([]byte, error) {
	in, size, err := of.open(name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	if size > image.MaxMetadataSize {
		return nil, fmt.Errorf("%s: %d bytes, want at most %d of a document", name, size, image.MaxMetadataSize)
	}
	b, err := io.ReadAll(io.LimitReader(in, image.MaxMetadataSize+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	case len(b) > image.MaxMetadataSize:
		return nil, fmt.Errorf("%s: more than %d bytes", name, image.MaxMetadataSize)
	}
	return b, nil
}

// blob reads a document that a layout has by its descriptor, and checks it against that.
func (f *File) blob(what string, d ocispec.Descriptor) ([]byte, error) {
	name, err := blobFile(d)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	b, err := document(f.files, name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if got := digest.FromBytes(b); got != d.Digest || int64(len(b)) != d.Size {
		return nil, fmt.Errorf("%s %s: want %d bytes, found %s of %d bytes", what, d.Digest, d.Size, got, len(b))
	}
	return b, nil
}

// unmarshal reads one JSON value with nothing behind it.
func unmarshal(what string, b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("%s: bytes follow the JSON at offset %d", what, d.InputOffset())
	}
	return nil
}
