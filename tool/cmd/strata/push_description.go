package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/imagefile"
	"github.com/rules-strata/rules_strata/tool/registry"
)

// pushDescriptionSuffix ends the name of what the rule image_push writes.
const pushDescriptionSuffix = ".push.json"

// pushDescription is what the rule image_push says of a push (rules/private/image_push.bzl). Small files are named
// relative to the description's own folder in the runfiles. Blobs aren't in the runfiles, else Bazel would
// fetch them: they are named as Bazel's actions name them, relative to the folder in which Bazel works, and may be there or not.
type pushDescription struct {
	// Path is the description's own path, relative to that folder.
	Path       string   `json:"path"`
	Registry   string   `json:"registry"`
	Repository string   `json:"repository"`
	Tags       []string `json:"tags"`
	TagFiles   []string `json:"tagFiles"`
	// StatusFiles are Bazel's workspace status, whose values replace {KEY} in registry, repository and tags.
	StatusFiles []string `json:"statusFiles"`
	From        []string `json:"from"`
	RemoteCache []string `json:"remoteCache"`
	// Layouts are what the images are built on: layouts, named by their index.json, or archives.
	Layouts []string `json:"layouts"`
	// Index is the index over the images; empty: there is one image.
	Index  string             `json:"index"`
	Images []imageDescription `json:"images"`
}

type imageDescription struct {
	Manifest string `json:"manifest"`
	Config   string `json:"config"`
	Layers   []struct {
		DigestFile string `json:"digestFile"`
		Blob       string `json:"blob"`
	} `json:"layers"`
}

func readPushDescription(path string) (*pushSource, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var d pushDescription
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s, err := d.source(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

func (d *pushDescription) source(path string) (*pushSource, error) {
	if len(d.Images) == 0 {
		return nil, errors.New("it has no images")
	}
	dir := filepath.Dir(path)
	small := func(name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }
	blobDir := d.folder(path)
	s := &pushSource{from: d.From, close: func() {}}
	files := registry.Files{}
	manifests := map[digest.Digest][]byte{}
	var root []byte
	for _, i := range d.Images {
		b, err := os.ReadFile(small(i.Manifest))
		if err != nil {
			return nil, err
		}
		root = b
		manifests[digest.FromBytes(b)] = b
		config, err := os.ReadFile(small(i.Config))
		if err != nil {
			return nil, err
		}
		files[digest.FromBytes(config).String()] = small(i.Config)
		for _, l := range i.Layers {
			f, err := digestfile.Read(small(l.DigestFile))
			if err != nil {
				return nil, err
			}
			s.layers = append(s.layers, f)
			if blobDir != "" {
				files[f.Descriptor.Digest.String()] = filepath.Join(blobDir, filepath.FromSlash(l.Blob))
			}
		}
	}
	if d.Index != "" {
		b, err := os.ReadFile(small(d.Index))
		if err != nil {
			return nil, err
		}
		root = b
		manifests[digest.FromBytes(b)] = b
	} else if len(d.Images) > 1 {
		return nil, errors.New("it has several images and no index")
	}
	s.sources = []registry.Source{files}
	for _, path := range d.Layouts {
		if err := s.addLayout(strings.TrimSuffix(small(path), "/"+ocispec.ImageIndexFile)); err != nil {
			return nil, err
		}
	}
	var err error
	s.content, err = registry.ReadContent(ocispec.Descriptor{Digest: digest.FromBytes(root), Size: int64(len(root))}, func(d ocispec.Descriptor) ([]byte, error) {
		b, ok := manifests[d.Digest]
		if !ok {
			return nil, fmt.Errorf("the index names the manifest %s, which is none of its images", d.Digest)
		}
		return b, nil
	})
	if err != nil {
		return nil, err
	}
	s.target, err = d.target(small)
	return s, err
}

// addLayout adds a layout's blobs, and where the others of it are.
func (s *pushSource) addLayout(path string) error {
	l, err := imagefile.Open(path)
	if err != nil {
		return err
	}
	before := s.close
	s.close = func() { l.Close(); before() }
	s.sources = append(s.sources, l)
	s.from = append(s.from, l.Origins()...)
	return nil
}

// folder is where Bazel works, "" if that can't be told: the runfiles are links into it, unless somebody has copied them.
func (d *pushDescription) folder(path string) string {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return ""
	}
	if real, err = filepath.Abs(real); err != nil {
		return ""
	}
	dir, ok := strings.CutSuffix(filepath.ToSlash(real), "/"+d.Path)
	if !ok || d.Path == "" {
		return ""
	}
	return filepath.FromSlash(dir)
}

// target is where the image goes by the rule, with the build's status in it.
func (d *pushDescription) target(small func(string) string) (pushTarget, error) {
	t := pushTarget{caches: d.RemoteCache}
	var status []string
	for _, name := range d.StatusFiles {
		status = append(status, small(name))
	}
	var stamp image.Stamp
	var err error
	if stamp.Status, err = image.ReadStatus(status...); err != nil {
		return t, err
	}
	if t.registry, err = stamp.Apply(d.Registry); err != nil {
		return t, fmt.Errorf("registry %q: %w", d.Registry, err)
	}
	if t.repository, err = stamp.Apply(d.Repository); err != nil {
		return t, fmt.Errorf("repository %q: %w", d.Repository, err)
	}
	tags := slices.Clone(d.Tags)
	for _, file := range d.TagFiles {
		lines, err := readTags(small(file))
		if err != nil {
			return t, err
		}
		tags = append(tags, lines...)
	}
	for _, tag := range tags {
		value, err := stamp.Apply(tag)
		if err != nil {
			return t, fmt.Errorf("tag %q: %w", tag, err)
		}
		t.tags = append(t.tags, value)
	}
	return t, nil
}
