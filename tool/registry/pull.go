package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/imagefile"
	"github.com/rules-strata/rules_strata/tool/store"
)

// Pull says what is fetched, and where to.
type Pull struct {
	// Reference names the image: by a tag or a digest.
	Reference name.Reference
	// Platform chooses an image of an index; nil: all of it.
	Platform *ocispec.Platform
	// Shallow leaves the layers where they are.
	Shallow bool
	// Dir is the layout to be written: see [imagefile.CreateLayout].
	Dir string
}

// Pulled is what was fetched.
type Pulled struct {
	// Root is the image or the index that the layout holds, as its index.json names it.
	Root ocispec.Descriptor
	// Index is the digest of the index that the image was chosen from; empty if there was none.
	Index digest.Digest
	// Blobs are configs and layers, each once.
	Blobs []BlobResult
}

// Absent is the state of a layer that was left where it is.
const Absent State = "absent"

// Pull fetches an image into a layout. What the layout has already isn't fetched again. On an error a layout that wasn't there
// isn't there.
func (c *Client) Pull(ctx context.Context, p Pull) (*Pulled, error) {
	out, err := c.pull(ctx, p)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Reference, err)
	}
	return out, nil
}

func (c *Client) pull(ctx context.Context, p Pull) (*Pulled, error) {
	repo := p.Reference.Context()
	r, err := c.login(ctx, repo, transport.PullScope)
	if err != nil {
		return nil, err
	}
	out := &Pulled{}
	m, err := r.manifest(ctx, p.Reference.Identifier())
	if err != nil {
		return nil, err
	}
	if p.Platform != nil && len(m.Manifests) > 0 {
		out.Index = m.Descriptor.Digest
		chosen, err := choose(m, p.Platform)
		if err != nil {
			return nil, err
		}
		if m, err = r.manifest(ctx, chosen.Digest.String()); err != nil {
			return nil, err
		}
		out.Root.Platform = chosen.Platform
	}
	if p.Platform != nil && out.Index == "" {
		if out.Root.Platform, err = r.platform(ctx, m); err != nil {
			return nil, err
		}
		if !image.PlatformFits(*out.Root.Platform, *p.Platform) {
			return nil, fmt.Errorf("it is one image, for %s; want %s", image.PlatformText(*out.Root.Platform), image.PlatformText(*p.Platform))
		}
	}
	root := m.Descriptor
	content, err := ReadContent(root, func(d ocispec.Descriptor) ([]byte, error) {
		if d.Digest == root.Digest {
			return m.Bytes, nil
		}
		child, err := r.manifest(ctx, d.Digest.String())
		if err != nil {
			return nil, err
		}
		return child.Bytes, nil
	})
	if err != nil {
		return nil, err
	}
	root.Platform = out.Root.Platform
	root.Annotations = map[string]string{imagefile.AnnotationSource: repo.String() + "@" + root.Digest.String()}
	if tag, ok := p.Reference.(name.Tag); ok {
		root.Annotations[ocispec.AnnotationRefName] = tag.TagStr()
	}
	out.Root = root
	layout, err := imagefile.CreateLayout(p.Dir, root)
	if err != nil {
		return nil, err
	}
	defer layout.Abort()
	if out.Blobs, err = r.fetchBlobs(ctx, layout, content, p.Shallow); err != nil {
		return nil, err
	}
	for i := range content.Manifests {
		m := &content.Manifests[i]
		if err := layout.Put(m.Descriptor, bytes.NewReader(m.Bytes)); err != nil {
			return nil, err
		}
	}
	return out, layout.Commit(root)
}

// Resolve returns the descriptor of the manifest that a reference names, of an index' image for a platform unless that is nil.
func (c *Client) Resolve(ctx context.Context, ref name.Reference, p *ocispec.Platform) (ocispec.Descriptor, error) {
	r, err := c.login(ctx, ref.Context(), transport.PullScope)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	d, err := r.resolve(ctx, ref.Identifier(), p)
	if err != nil {
		return d, fmt.Errorf("%s: %w", ref, err)
	}
	return d, nil
}

func (r *repository) resolve(ctx context.Context, ref string, p *ocispec.Platform) (ocispec.Descriptor, error) {
	m, err := r.manifest(ctx, ref)
	switch {
	case err != nil:
		return ocispec.Descriptor{}, err
	case p != nil && len(m.Manifests) > 0:
		return choose(m, p)
	}
	return m.Descriptor, nil
}

// manifest fetches what a tag or a digest names.
func (r *repository) manifest(ctx context.Context, ref string) (m *Manifest, err error) {
	err = r.c.retry(ctx, nil, func() error {
		a, err := r.do(ctx, request{
			method: http.MethodGet, url: r.url("manifests/" + ref), header: http.Header{"Accept": accepted},
		}, http.StatusOK)
		if err != nil {
			return err
		}
		// The bytes say what they are, whatever the header says; what was asked for by its digest must have that.
		d := ocispec.Descriptor{Digest: digest.FromBytes(a.body), Size: int64(len(a.body))}
		for _, want := range []string{ref, a.header.Get("Docker-Content-Digest")} {
			if strings.HasPrefix(want, "sha256:") && want != d.Digest.String() {
				return fmt.Errorf("%w: want the manifest %s, it sends %s", errTrouble, r.c.printable(want), d.Digest)
			}
		}
		d.MediaType, _, _ = strings.Cut(a.header.Get("Content-Type"), ";")
		if !slices.Contains(accepted, d.MediaType) {
			d.MediaType = "" // As the manifest itself says.
		}
		if m, err = ParseManifest(d, a.body); err != nil {
			return permanentError{err}
		}
		return nil
	})
	return m, err
}

// choose returns the entry of an index for a platform.
func choose(index *Manifest, p *ocispec.Platform) (ocispec.Descriptor, error) {
	var known []string
	for _, d := range index.Manifests {
		q := d.Platform
		if q == nil {
			continue
		}
		if image.PlatformFits(*q, *p) {
			return d, nil
		}
		known = append(known, image.PlatformText(*q))
	}
	return ocispec.Descriptor{}, fmt.Errorf("the index %s has no image for %s; there are %s", index.Descriptor.Digest, image.PlatformText(*p), strings.Join(known, ", "))
}

// platform reads an image's platform out of its config.
func (r *repository) platform(ctx context.Context, m *Manifest) (*ocispec.Platform, error) {
	if m.Config.Size > maxAnswer {
		return nil, fmt.Errorf("the config has over %d bytes", maxAnswer)
	}
	b := &download{ctx: ctx, r: r, d: m.Config, quiet: true}
	defer b.Close()
	v, err := verified(b, m.Config)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(v)
	if err != nil {
		return nil, fmt.Errorf("config %s: %w", m.Config.Digest, err)
	}
	p := new(ocispec.Platform)
	if err := json.Unmarshal(text, p); err != nil {
		return nil, fmt.Errorf("config %s: %w", m.Config.Digest, err)
	}
	return p, nil
}

// fetchBlobs fetches configs and, unless that is to be shallow, layers.
func (r *repository) fetchBlobs(ctx context.Context, layout *imagefile.LayoutWriter, c *Content, shallow bool) ([]BlobResult, error) {
	type job struct {
		d     ocispec.Descriptor
		state State
	}
	var jobs []job
	seen := map[digest.Digest]bool{}
	for i := range c.Manifests {
		m := &c.Manifests[i]
		for _, d := range m.Blobs() {
			if seen[d.Digest] {
				continue
			}
			seen[d.Digest] = true
			state := Received
			switch {
			case layout.Has(d):
				state = There
			case shallow && d.Digest != m.Config.Digest:
				state = Absent
			}
			jobs = append(jobs, job{d, state})
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(r.c.o.Jobs)
	out := make([]BlobResult, len(jobs))
	for i, j := range jobs {
		out[i] = BlobResult{j.d, j.state}
		if j.state != Received {
			r.c.o.Progress(Event{j.d, j.state, 0})
			continue
		}
		g.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err := r.fetchBlob(ctx, layout, j.d); err != nil {
				return fmt.Errorf("blob %s: %w", j.d.Digest, err)
			}
			r.c.o.Progress(Event{j.d, Received, j.d.Size})
			return nil
		})
	}
	return out, g.Wait()
}

// fetchBlob fetches one blob. Bytes that aren't the blob's are fetched again, a few times.
func (r *repository) fetchBlob(ctx context.Context, layout *imagefile.LayoutWriter, d ocispec.Descriptor) error {
	return r.c.retry(ctx, nil, func() error {
		b := &download{ctx: ctx, r: r, d: d}
		defer b.Close()
		err := layout.Put(d, b)
		if err != nil && b.err == nil && !errors.As(err, new(*store.HashMismatchError)) {
			return permanentError{err} // Of the disk.
		}
		if err != nil && b.err != nil {
			return permanentError{b.err} // Tried often enough.
		}
		return err
	})
}

// download is a blob's bytes as they come down, taken up again where they broke off.
type download struct {
	ctx  context.Context
	r    *repository
	d    ocispec.Descriptor
	body io.ReadCloser

	// quiet: nobody is told.
	quiet bool

	offset, since int64
	failures      int
	err           error
}

func (b *download) Read(p []byte) (int, error) {
	for {
		if b.err != nil {
			return 0, b.err
		}
		if b.body == nil {
			if b.body, b.err = b.r.openBlob(b.ctx, b.d, b.offset); b.err != nil {
				continue
			}
		}
		n, err := b.body.Read(p)
		b.offset += int64(n)
		if n > 0 && !b.quiet {
			b.r.c.o.Progress(Event{b.d, Receiving, b.offset})
		}
		if n > 0 || err == nil {
			return n, nil
		}
		if err == io.EOF && b.offset >= b.d.Size {
			return 0, io.EOF
		}
		if err == io.EOF {
			err = errBroken
		}
		b.body.Close()
		b.body = nil
		if b.ctx.Err() != nil {
			b.err = context.Cause(b.ctx)
			continue
		}
		if b.offset-b.since >= freshStart {
			b.failures, b.since = 0, b.offset
		}
		if b.failures++; b.failures >= b.r.c.o.Attempts {
			b.err = fmt.Errorf("%w after %d bytes of %d (gave up after %d attempts)", err, b.offset, b.d.Size, b.failures)
		}
	}
}

func (b *download) Close() error {
	if b.body == nil {
		return nil
	}
	return b.body.Close()
}
