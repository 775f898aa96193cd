package validate

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	_ "crypto/sha512" // OCI's second digest, which the base layers of others may use.

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/schema"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/image"
)

// maxDocument bounds a JSON document in bytes, as registries and clients do.
const maxDocument = 4 << 20

// maxDocuments bounds the JSON of one layout or archive in bytes: thousands of images.
const maxDocuments = 256 << 20

// maxIndexDepth bounds how deep indexes may lie in one another.
const maxIndexDepth = 8

// bufferSize is one read of a blob.
const bufferSize = 256 << 10

// The files of a layout that have names of their own.
const (
	layoutName = ocispec.ImageLayoutFile
	indexName  = ocispec.ImageIndexFile
	dockerName = "manifest.json"
)

// Image checks the OCI layout or docker archive at path, a directory or a tar, which may be
// compressed by gzip or zstd. What is wrong with the image is in the report; the error is for
// what could not be read at all, or the context's end.
func Image(ctx context.Context, path string, options ...Option) (*Report, error) {
	c := newChecker(ctx, nil)
	for _, o := range options {
		o(&c.expected)
	}
	src, err := openSource(ctx, path, &c.faults)
	if err != nil {
		return nil, err
	}
	defer src.close()
	c.files = src.files
	if c.expected.anyOrigin && c.isDockerArchive() {
		src.followLinks()
	}
	src.refuseLinks(&c.faults)
	if err := c.run(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c.report, nil
}

// checker is the state of one check.
type checker struct {
	ctx context.Context
	faults
	expected expected // of layers of store paths
	files    map[string]file
	report   *Report
	// used are the names of the files that something refers to.
	used map[string]bool
	// documentBytes is the size of all JSON that was read.
	documentBytes int64
	// What was read already: layers by file name and how they were read.
	layers  map[string]*layerFacts
	images  map[digest.Digest]*imageFacts
	indexes map[digest.Digest][]*imageFacts
	// order has the images as they were found.
	order []*imageFacts
}

// imageFacts is one image while it is being checked.
type imageFacts struct {
	ImageFacts
	file      string // the manifest's
	manifest  ocispec.Manifest
	hasConfig bool
	// dockerNames are the names that manifest.json shall have for it.
	dockerNames []string
}

func newChecker(ctx context.Context, files map[string]file) *checker {
	return &checker{
		ctx: ctx, files: files, report: new(Report), used: map[string]bool{}, layers: map[string]*layerFacts{},
		images: map[digest.Digest]*imageFacts{}, indexes: map[digest.Digest][]*imageFacts{},
	}
}

func (c *checker) run() error {
	if err := c.contents(); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(c.files)) {
		if !c.used[name] && !c.expected.anyOrigin { // OCI's layout may have more in it, and docker save writes more.
			c.add(name, "nothing refers to it")
		}
	}
	for _, img := range c.order {
		c.report.Images = append(c.report.Images, img.ImageFacts)
	}
	c.report.Faults = c.list
	return nil
}

// contents checks what the documents say, whichever are there.
func (c *checker) contents() error {
	if c.isDockerArchive() {
		return c.dockerArchive()
	}
	if err := c.layoutHeader(); err != nil {
		return err
	}
	if err := c.topIndex(); err != nil {
		return err
	}
	return c.docker()
}

// isDockerArchive reports whether there is manifest.json, and nothing of OCI's layout.
func (c *checker) isDockerArchive() bool {
	_, layout := c.files[layoutName]
	_, index := c.files[indexName]
	_, docker := c.files[dockerName]
	return docker && !layout && !index
}

// read returns a whole file that must be small; nil, with a fault, if it isn't
// there or is too large.
func (c *checker) read(name string) ([]byte, error) {
	c.used[name] = true
	f, ok := c.files[name]
	if !ok {
		c.add(name, "missing")
		return nil, nil
	}
	if f.size > maxDocument {
		c.add(name, "%d bytes: want a JSON document of at most %d", f.size, maxDocument)
		return nil, nil
	}
	r, err := f.open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(&contextReader{c.ctx, r}, maxDocument))
	if err == io.ErrUnexpectedEOF || err == nil && int64(len(b)) != f.size {
		c.add(name, "cut off after %d of %d bytes", len(b), f.size)
		err = nil
	}
	if err != nil {
		return nil, err
	}
	if c.documentBytes += int64(len(b)); c.documentBytes > maxDocuments {
		return nil, fmt.Errorf("more than %d bytes of JSON documents", maxDocuments)
	}
	return b, nil
}

// document reads the JSON document that a descriptor in the file from names and checks the
// bytes against it. Wrong bytes are returned all the same, so that what else
// is wrong is told too.
func (c *checker) document(from string, d ocispec.Descriptor) ([]byte, string, error) {
	name, ok := c.blobName(from, d)
	if !ok {
		return nil, name, nil
	}
	first := !c.used[name]
	b, err := c.read(name)
	if b == nil || err != nil {
		return nil, name, err
	}
	if first {
		c.report.Blobs++
		c.report.Bytes += int64(len(b))
		if got := d.Digest.Algorithm().FromBytes(b); got != d.Digest {
			c.add(name, "its bytes have the digest %s", got)
		}
	}
	c.checkSize(name, d, int64(len(b)))
	if d.Data != nil && !bytes.Equal(d.Data, b) {
		c.add(name, "the data embedded in its descriptor are other bytes")
	}
	return b, name, nil
}

// blobName is the file of a descriptor; false, with a fault, if it can have none.
func (c *checker) blobName(from string, d ocispec.Descriptor) (string, bool) {
	if err := d.Digest.Validate(); err != nil {
		c.add(from, "a descriptor of type %s has the digest %q: %v", d.MediaType, d.Digest, err)
		return "", false
	}
	return "blobs/" + d.Digest.Algorithm().String() + "/" + d.Digest.Encoded(), true
}

func (c *checker) checkSize(name string, d ocispec.Descriptor, size int64) {
	if d.Size != size {
		c.add(name, "size %d: the descriptor says %d", size, d.Size)
	}
}

// parse reads JSON into v after image-spec has checked it; false if there is
// nothing to go on with.
func (c *checker) parse(name string, b []byte, s schema.Validator, v any) bool {
	told := s.Validate(bytes.NewReader(b))
	if told != nil {
		c.add(name, "%s", strings.ReplaceAll(told.Error(), "\n", "; "))
	}
	d := json.NewDecoder(bytes.NewReader(b))
	err := d.Decode(v)
	ok := err == nil
	if ok {
		if _, end := d.Token(); end != io.EOF {
			err = fmt.Errorf("bytes follow the JSON value at offset %d", d.InputOffset())
		}
	}
	if err != nil && told == nil {
		c.add(name, "%v", err)
	}
	return ok
}

func (c *checker) layoutHeader() error {
	b, err := c.read(layoutName)
	if b == nil || err != nil {
		return err
	}
	var l ocispec.ImageLayout
	if c.parse(layoutName, b, schema.ValidatorMediaTypeLayoutHeader, &l) && l.Version != ocispec.ImageLayoutVersion {
		c.add(layoutName, "imageLayoutVersion %q: want %q", l.Version, ocispec.ImageLayoutVersion)
	}
	return nil
}

func (c *checker) topIndex() error {
	b, err := c.read(indexName)
	if b == nil || err != nil {
		return err
	}
	var index ocispec.Index
	if !c.parse(indexName, b, schema.ValidatorMediaTypeImageIndex, &index) {
		return nil
	}
	if len(index.Manifests) == 0 {
		c.add(indexName, "it names no image")
	}
	if index.MediaType != "" && index.MediaType != ocispec.MediaTypeImageIndex {
		c.add(indexName, "mediaType %q: want %s", index.MediaType, ocispec.MediaTypeImageIndex)
	}
	refs, names := map[string]bool{}, map[string]bool{}
	for _, d := range index.Manifests {
		ref, hasRef := d.Annotations[ocispec.AnnotationRefName]
		name, hasName := d.Annotations[imageNameAnnotation]
		c.checkNames(ref, hasRef, name, hasName)
		if hasRef && refs[ref] {
			c.add(indexName, "the ref name %q is there twice; umoci calls it ambiguous", ref)
		}
		if hasName && names[name] {
			c.add(indexName, "the image name %q is there twice", name)
		}
		refs[ref], names[name] = true, true
		images, err := c.manifestOrIndex(indexName, d, 1)
		if err != nil {
			return err
		}
		for _, img := range images {
			if hasRef && !slices.Contains(img.Refs, ref) {
				img.Refs = append(img.Refs, ref)
			}
			if hasName && !slices.Contains(img.Names, name) {
				img.Names = append(img.Names, name)
				if c.expected.anyOrigin {
					if r, err := image.ParseReference(name); err == nil {
						name = r.String() // manifest.json may say it in short, too.
					}
				}
				img.dockerNames = append(img.dockerNames, dockerTag(name, d.MediaType, img.Platform))
			}
		}
	}
	return nil
}

// dockerTag is an image's name in manifest.json: what index.json calls it or, where that is the name
// of an index of several images, with the platform.
func dockerTag(name, mediaType string, p ocispec.Platform) string {
	if mediaType == ocispec.MediaTypeImageIndex || mediaType == dockerManifestList {
		return name + "-" + p.Architecture + p.Variant
	}
	return name
}

// imageNameAnnotation is where containerd and docker look for an image's whole name.
const imageNameAnnotation = "io.containerd.image.name"

// checkNames wants names that clients understand, and the two to agree.
func (c *checker) checkNames(ref string, hasRef bool, name string, hasName bool) {
	if hasRef && ref == "" {
		c.add(indexName, "a ref name is empty")
	}
	if !hasName {
		return
	}
	if !hasRef {
		c.add(indexName, "the image name %q has no ref name beside it, by which skopeo and umoci would find it", name)
	}
	r, err := image.ParseReference(name)
	switch {
	case err != nil:
		c.add(indexName, "annotation %s: %v", imageNameAnnotation, err)
	case r.String() != name && !c.expected.anyOrigin:
		c.add(indexName, "annotation %s: %q: want the whole reference %q", imageNameAnnotation, name, r)
	case hasRef && ref != r.Tag && ref != name:
		c.add(indexName, "the ref name %q is not the tag of the image name %q", ref, name)
	}
}

// manifestOrIndex checks what an index' descriptor names and returns the images found.
func (c *checker) manifestOrIndex(from string, d ocispec.Descriptor, depth int) ([]*imageFacts, error) {
	switch d.MediaType {
	case ocispec.MediaTypeImageIndex, dockerManifestList:
		return c.index(from, d, depth)
	case ocispec.MediaTypeImageManifest, dockerManifestType:
		img, err := c.image(from, d)
		if img == nil || err != nil {
			return nil, err
		}
		return []*imageFacts{img}, nil
	}
	c.add(from, "%s: media type %q: want an image's manifest or an index", d.Digest, d.MediaType)
	// Whatever it is, something refers to it, and its bytes can be checked.
	_, _, err := c.document(from, d)
	return nil, err
}

// Docker's media types, which base images may have.
const (
	dockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerManifestType = "application/vnd.docker.distribution.manifest.v2+json"
	dockerConfigType   = "application/vnd.docker.container.image.v1+json"
)

func (c *checker) index(from string, d ocispec.Descriptor, depth int) ([]*imageFacts, error) {
	if images, ok := c.indexes[d.Digest]; ok {
		return images, nil
	}
	b, name, err := c.document(from, d)
	if b == nil || err != nil {
		return nil, err
	}
	if depth == maxIndexDepth {
		c.add(name, "indexes lie more than %d deep in one another", maxIndexDepth)
		return nil, nil
	}
	var index ocispec.Index
	if !c.parse(name, b, schema.ValidatorMediaTypeImageIndex, &index) {
		return nil, nil
	}
	if index.MediaType != "" && index.MediaType != d.MediaType {
		c.add(name, "mediaType %q: the descriptor says %q", index.MediaType, d.MediaType)
	}
	var out []*imageFacts
	for _, m := range index.Manifests {
		images, err := c.manifestOrIndex(name, m, depth+1)
		if err != nil {
			return nil, err
		}
		for _, img := range images {
			if !slices.Contains(out, img) {
				out = append(out, img)
			}
		}
	}
	c.indexes[d.Digest] = out
	return out, nil
}

// contextReader ends a read when the context is done.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r *contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
