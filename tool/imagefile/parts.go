package imagefile

import (
	"fmt"
	"path/filepath"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/strictjson"
)

// parts is the JSON by which Bazel's rules hand over an image that is in no
// archive:
//
//	{
//	  "manifest": "../app/image.manifest.json",
//	  "config": "../app/image.config.json",
//	  "layers": [{"digestFile": "../store/0.json", "blob": "../store/0.tar.gz"}],
//	  "tags": ["web:dev"]
//	}
//
// Names are relative to the folder that the file was opened in, by its name as
// it was given: in runfiles, every file is a link. A layer without "blob", or
// whose blob isn't there, is one of a shallow image.
type parts struct {
	manifest, config string
	layers           []layerParts
	tags             []string
}

type layerParts struct{ digestFile, blob string }

func parseParts(b []byte) (*parts, error) {
	doc, err := strictjson.Parse(b)
	if err != nil {
		return nil, err
	}
	p := new(parts)
	err = doc.Fields(
		strictjson.Field{Name: "manifest", Read: strictjson.StringInto(&p.manifest)},
		strictjson.Field{Name: "config", Read: strictjson.StringInto(&p.config)},
		strictjson.Field{Name: "layers", Read: func(v *strictjson.Value) error {
			return v.Each(func(e *strictjson.Value) error {
				var l layerParts
				err := e.Fields(
					strictjson.Field{Name: "digestFile", Read: strictjson.StringInto(&l.digestFile)},
					strictjson.Field{Name: "blob", Read: strictjson.StringInto(&l.blob), Optional: true},
				)
				p.layers = append(p.layers, l)
				return err
			})
		}},
		strictjson.Field{Name: "tags", Optional: true, Read: func(v *strictjson.Value) error {
			return v.Each(func(e *strictjson.Value) error {
				text, err := e.Text()
				p.tags = append(p.tags, text)
				return err
			})
		}},
	)
	return p, err
}

// readParts reads the one image that the file describes.
func (f *File) readParts() error {
	dir := f.files.(namedFiles)
	b, err := document(dir, filepath.Base(f.Path))
	if err != nil {
		return err
	}
	p, err := parseParts(b)
	if err != nil {
		return fmt.Errorf("it is JSON, but not what describes an image's parts: %w", err)
	}
	manifest, err := document(dir, p.manifest)
	if err != nil {
		return err
	}
	config, err := document(dir, p.config)
	if err != nil {
		return err
	}
	built, err := image.Parse(config, manifest) // Checks that they belong together.
	if err != nil {
		return err
	}
	i, err := newImage(built.Descriptor, manifest, &ocispec.Manifest{Config: built.ConfigDescriptor, Layers: built.Layers}, config)
	if err != nil {
		return err
	}
	i.configFile = p.config
	if len(p.layers) != len(i.Layers) {
		return fmt.Errorf("it lists %d layers, and the manifest has %d", len(p.layers), len(i.Layers))
	}
	for k, l := range i.Layers {
		if l.Known, err = digestfile.Read(dir.path(p.layers[k].digestFile)); err != nil {
			return err
		}
		if l.Known.Descriptor.Digest != l.Descriptor.Digest || l.Known.DiffID != l.DiffID {
			return fmt.Errorf("layer %d: the manifest has %s, its digest file %s", k+1, l.Descriptor.Digest, l.Known.Descriptor.Digest)
		}
		if l.file = p.layers[k].blob; l.file != "" {
			l.of = dir
			l.Path = dir.path(l.file)
		}
	}
	for _, t := range p.tags {
		r, err := image.ParseReference(t)
		if err != nil {
			return fmt.Errorf("tags: %w", err)
		}
		i.Names = append(i.Names, r.String())
	}
	f.alone(i)
	return nil
}
