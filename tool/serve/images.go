package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/imagefile"
)

// DefaultTag is the tag of who names none.
const DefaultTag = "latest"

// Images is a [Source] of images that lie on the disk in any form that package imagefile reads. Blobs are
// served from where they are, once they were seen to have their digest; only an archive that is compressed as a whole is unpacked. An image that is built anew is served anew from the
// next time on that its tag is asked for.
type Images struct {
	mu           sync.Mutex
	repositories map[string]map[string]*onDisk // by name and tag
	verified     map[verification]bool
}

// onDisk is one file or folder.
type onDisk struct {
	path string

	mu    sync.Mutex
	stamp string
	now   *opened // nil: it could not be read
}

// verification is a blob that had its digest, in a file of that stamp.
type verification struct {
	blob  digest.Digest
	stamp string
}

// maxVerified bounds what is remembered of blobs; beyond it, they are read again.
const maxVerified = 1 << 16

// Add adds the image, or the index, at path. Name is NAME[:TAG], without a registry. An error says what is wrong with either.
func (s *Images) Add(name, path string) error {
	repository, tag, ok := strings.Cut(name, ":")
	if !ok {
		tag = DefaultTag
	}
	if err := checkedName(repository); err != nil {
		return fmt.Errorf("%s", err.Message)
	}
	if err := checkTag(tag); err != nil {
		return fmt.Errorf("%s", err.Message)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.repositories == nil {
		s.repositories = map[string]map[string]*onDisk{}
		s.verified = map[verification]bool{}
	}
	tags := s.repositories[repository]
	if tags == nil {
		tags = map[string]*onDisk{}
		s.repositories[repository] = tags
	}
	if tags[tag] != nil {
		return fmt.Errorf("%s:%s is given twice", repository, tag)
	}
	d := &onDisk{path: path}
	o, err := d.open()
	if err != nil {
		return err
	}
	o.release()
	tags[tag] = d
	return nil
}

// Close closes what is open.
func (s *Images) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, tags := range s.repositories {
		for _, d := range tags {
			d.mu.Lock() // A request that was cut off may run still.
			d.forget()
			d.mu.Unlock()
		}
	}
	s.repositories = nil
}

// opened is an open file with what is served of it. It is closed when the last who uses it has released it.
type opened struct {
	file      *imagefile.File
	stamp     string
	top       *Manifest
	manifests map[digest.Digest]*Manifest
	configs   map[digest.Digest][]byte
	layers    map[digest.Digest]*imagefile.Layer

	mu   sync.Mutex
	uses int
}

func (o *opened) use() *opened {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.uses++
	return o
}

func (o *opened) release() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.uses--; o.uses == 0 {
		o.file.Close()
	}
}

// forget lets go of what is open. Its caller holds mu.
func (d *onDisk) forget() {
	if d.now != nil {
		d.now.release()
		d.now = nil
	}
}

// open returns what is at the path now. Who gets it releases it.
func (d *onDisk) open() (*opened, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	stamp, err := stampOf(d.path)
	if err != nil {
		return nil, err
	}
	// Parts are a list of files that stays the same when these change; to read them again is little.
	if d.now != nil && d.stamp == stamp && d.now.file.Form != imagefile.Parts {
		return d.now.use(), nil
	}
	d.forget()
	file, err := imagefile.Open(d.path)
	if err != nil {
		return nil, err
	}
	o := &opened{
		file: file, stamp: stamp, uses: 1,
		manifests: map[digest.Digest]*Manifest{}, configs: map[digest.Digest][]byte{}, layers: map[digest.Digest]*imagefile.Layer{},
	}
	if err := o.list(); err != nil {
		file.Close()
		return nil, err
	}
	d.now, d.stamp = o, stamp
	return o.use(), nil
}

// stampOf is another one when what is at path is another one.
func stampOf(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if info.IsDir() {
		index, err := os.Stat(filepath.Join(path, ocispec.ImageIndexFile))
		if err != nil {
			return "", nil // Who opens it says what is missing.
		}
		info = index
	}
	return fmt.Sprintf("%d %d", info.Size(), info.ModTime().UnixNano()), nil
}

// list takes down what the file holds.
func (o *opened) list() error {
	images, err := o.file.Images()
	if err != nil {
		return err
	}
	for _, i := range images {
		o.add(i.Descriptor, i.Manifest)
		o.configs[i.ConfigDescriptor.Digest] = i.Config
		for _, l := range i.Layers {
			if !l.Present() {
				return fmt.Errorf("%s: layer %s isn't there: this is a shallow image, of which only the documents were fetched or built", o.file.Path, l.Descriptor.Digest)
			}
			o.layers[l.Descriptor.Digest] = l
		}
	}
	root, err := o.file.Root("")
	if err != nil {
		return err
	}
	o.top, err = o.index(root, maxIndexDepth)
	return err
}

// maxIndexDepth is how deep indexes may lie in one another.
const maxIndexDepth = 4

// index takes down an index with those in it; of an image it finds what is known.
func (o *opened) index(d ocispec.Descriptor, depth int) (*Manifest, error) {
	if m := o.manifests[d.Digest]; m != nil {
		return m, nil
	}
	raw, err := o.file.Manifest(d)
	if err != nil {
		return nil, err
	}
	m := o.add(d, raw)
	if d.MediaType != ocispec.MediaTypeImageIndex && d.MediaType != mediaTypeDockerList || depth == 0 {
		return m, nil // What it is, is for clients to say.
	}
	var index ocispec.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		return nil, fmt.Errorf("%s: index %s: %w", o.file.Path, d.Digest, err)
	}
	for _, of := range index.Manifests {
		if _, err := o.index(of, depth-1); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return m, nil
}

// mediaTypeDockerList is docker's name for an index.
const mediaTypeDockerList = "application/vnd.docker.distribution.manifest.list.v2+json"

func (o *opened) add(d ocispec.Descriptor, raw []byte) *Manifest {
	m := &Manifest{MediaType: d.MediaType, Digest: d.Digest, Bytes: raw}
	o.manifests[m.Digest] = m
	return m
}

// repository returns what is on the disk of a repository.
func (s *Images) repository(name string) (map[string]*onDisk, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tags := s.repositories[name]
	if tags == nil {
		return nil, Errorf(CodeNameUnknown, "there is no repository %s", name)
	}
	return tags, nil
}

// Manifest implements [Source].
func (s *Images) Manifest(_ context.Context, repository, reference string) (*Manifest, error) {
	tags, err := s.repository(repository)
	if err != nil {
		return nil, err
	}
	d, tagged := tags[reference]
	if tagged {
		o, err := d.open()
		if err != nil {
			return nil, err
		}
		defer o.release()
		return o.top, nil
	}
	for _, tag := range slices.Sorted(maps.Keys(tags)) {
		o, err := tags[tag].open()
		if err != nil {
			continue // Whoever asks for its tag is told.
		}
		m := o.manifests[digest.Digest(reference)]
		o.release()
		if m != nil {
			return m, nil
		}
	}
	return nil, Errorf(CodeManifestUnknown, "%s has no manifest %s; its tags are %s", repository, reference, strings.Join(slices.Sorted(maps.Keys(tags)), ", "))
}

// Blob implements [Source].
func (s *Images) Blob(ctx context.Context, repository string, d digest.Digest) (*Blob, error) {
	tags, err := s.repository(repository)
	if err != nil {
		return nil, err
	}
	for _, tag := range slices.Sorted(maps.Keys(tags)) {
		o, err := tags[tag].open()
		if err != nil {
			continue
		}
		if b, err := s.blob(ctx, o, d); b != nil || err != nil {
			return b, err
		}
	}
	return nil, Errorf(CodeBlobUnknown, "%s has no blob %s", repository, d)
}

// blob returns the blob of that digest; nil if o hasn't got it. It releases o, or the blob's Close does.
func (s *Images) blob(ctx context.Context, o *opened, d digest.Digest) (b *Blob, err error) {
	defer func() {
		if b == nil {
			o.release()
		}
	}()
	if config, ok := o.configs[d]; ok {
		return &Blob{bytes.NewReader(config), closer(o.release), int64(len(config))}, nil
	}
	l := o.layers[d]
	if l == nil {
		return nil, nil
	}
	if err := s.verify(ctx, o, l); err != nil {
		return nil, err
	}
	in, err := l.OpenSeeker()
	if err != nil {
		return nil, err
	}
	return &Blob{in, closer(func() { in.Close(); o.release() }), l.Descriptor.Size}, nil
}

// verify reads a blob to its end, the first time that it is served as it is now.
func (s *Images) verify(ctx context.Context, o *opened, l *imagefile.Layer) error {
	v := verification{l.Descriptor.Digest, o.stamp}
	if l.Path != "" {
		stamp, err := stampOf(l.Path)
		if err != nil {
			return err
		}
		v.stamp = l.Path + " " + stamp
	}
	s.mu.Lock()
	known := s.verified[v]
	s.mu.Unlock()
	if known {
		return nil
	}
	in, err := l.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	if _, err := io.Copy(io.Discard, contextReader{ctx, in}); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.verified) >= maxVerified {
		clear(s.verified)
	}
	s.verified[v] = true
	return nil
}

// Tags implements [Source].
func (s *Images) Tags(_ context.Context, repository string) ([]string, error) {
	tags, err := s.repository(repository)
	return slices.Collect(maps.Keys(tags)), err
}

// Repositories implements [Source].
func (s *Images) Repositories(context.Context) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.repositories)), nil
}

type closer func()

func (c closer) Close() error { c(); return nil }

// contextReader ends when its context does.
type contextReader struct {
	ctx context.Context
	io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.Reader.Read(p)
}
