package registry

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// Push says what goes where.
type Push struct {
	// Content is what the repository is to hold.
	Content *Content
	// Repository is where it goes.
	Repository name.Repository
	// Tags are what names it there; none: only its digest does.
	Tags []string
	// Sources are where its blobs may be, in the order in which they are asked.
	Sources []Source
	// From are repositories of the same registry that may have blobs, which are mounted then.
	From []name.Repository
	// Recheck has each blob asked for even where the registry has the manifest that names it. A registry takes no manifest whose
	// blobs it lacks, but it may have lost them since.
	Recheck bool
}

// State is what becomes of a blob.
type State string

const (
	// Sending: it is on its way up.
	Sending State = "sending"
	// Sent: it went up, whole.
	Sent State = "sent"
	// There: the repository had it.
	There State = "there"
	// Mounted: the registry had it in another repository.
	Mounted State = "mounted"
	// Receiving: it is on its way down.
	Receiving State = "receiving"
	// Received: it came down, whole.
	Received State = "received"
)

// Event is what is new of a blob.
type Event struct {
	Descriptor ocispec.Descriptor
	State      State
	// Done is how many of its bytes are over; it may become less when something broke.
	Done int64
}

// Result is what was done.
type Result struct {
	// Digest is that of the manifest which the tags name.
	Digest digest.Digest
	// Blobs are those of all manifests, each once. They are all there already ([There]) where the manifest was.
	Blobs []BlobResult
	// Manifests is how many manifests were sent, and Tags which tags are new or moved.
	Manifests int
	Tags      []string
}

// BlobResult is what became of one blob.
type BlobResult struct {
	Descriptor ocispec.Descriptor
	State      State
}

// Push makes a repository hold an image or an index, and has tags name it. A blob that is there costs one request;
// of an image that is there under a tag, that tag's costs one, and no blob any.
//
// Each manifest goes behind all that it names, and the tags behind that. When Push returns without an error, what
// it pushed was read back from the registry.
func (c *Client) Push(ctx context.Context, p Push) (*Result, error) {
	r, err := c.login(ctx, p.Repository, transport.PushScope, p.From...)
	if err != nil {
		return nil, err
	}
	s := &push{Push: p, r: r, states: map[digest.Digest]State{}}
	if err := s.run(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("%s: %w", p.Repository, err)
	}
	return s.result(), nil
}

// push is one push under way.
type push struct {
	Push
	r *repository

	mu     sync.Mutex
	states map[digest.Digest]State // of blobs

	manifests int
	tags      []string
}

func (s *push) run(ctx context.Context) error {
	root := s.Content.Root()
	named, err := s.tagsThere(ctx, root.Descriptor)
	if err != nil {
		return err
	}
	there := map[digest.Digest]bool{root.Descriptor.Digest: slices.Contains(named, true)}
	if !there[root.Descriptor.Digest] {
		if there[root.Descriptor.Digest], err = s.r.hasManifest(ctx, root.Descriptor, root.Descriptor.Digest.String()); err != nil {
			return err
		}
	}
	if err := s.manifestsThere(ctx, there); err != nil {
		return err
	}
	if err := s.blobs(ctx, there, false); err != nil {
		return err
	}
	for i := range s.Content.Manifests {
		if m := &s.Content.Manifests[i]; !there[m.Descriptor.Digest] {
			if err := s.manifest(ctx, m); err != nil {
				return fmt.Errorf("manifest %s: %w", m.Descriptor.Digest, err)
			}
		}
	}
	for i, tag := range s.Tags {
		if named[i] {
			continue
		}
		if err := s.r.putManifest(ctx, root, tag); err != nil {
			return fmt.Errorf("tag %s: %w", tag, err)
		}
		s.tags = append(s.tags, tag)
	}
	return s.readBack(ctx)
}

// tagsThere asks which tags name the manifest already.
func (s *push) tagsThere(ctx context.Context, d ocispec.Descriptor) ([]bool, error) {
	named := make([]bool, len(s.Tags))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(s.r.c.o.Jobs)
	for i, tag := range s.Tags {
		g.Go(func() (err error) {
			if named[i], err = s.r.hasManifest(ctx, d, tag); err != nil {
				return fmt.Errorf("tag %s: %w", tag, err)
			}
			return nil
		})
	}
	return named, g.Wait()
}

// manifestsThere asks which manifests of an index are there. Those of one that is there are.
func (s *push) manifestsThere(ctx context.Context, there map[digest.Digest]bool) error {
	for i := len(s.Content.Manifests) - 1; i >= 0; i-- { // Parents first.
		m := &s.Content.Manifests[i]
		for _, child := range m.Manifests {
			if there[m.Descriptor.Digest] {
				there[child.Digest] = true
			}
		}
	}
	for i := range s.Content.Manifests {
		d := s.Content.Manifests[i].Descriptor
		if _, known := there[d.Digest]; known {
			continue
		}
		var err error
		if there[d.Digest], err = s.r.hasManifest(ctx, d, d.Digest.String()); err != nil {
			return err
		}
	}
	return nil
}

// blobs brings the blobs of all manifests that aren't there into the repository; anew has them sent
// though the registry says that they are there.
func (s *push) blobs(ctx context.Context, there map[digest.Digest]bool, anew bool) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(s.r.c.o.Jobs)
	begun := map[digest.Digest]bool{}
	for i := range s.Content.Manifests {
		m := &s.Content.Manifests[i]
		for _, d := range m.Blobs() {
			if there[m.Descriptor.Digest] && !s.Recheck {
				s.set(d, There)
				continue
			}
			if begun[d.Digest] {
				continue
			}
			begun[d.Digest] = true
			g.Go(func() error {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if err := s.blob(ctx, d, anew); err != nil {
					return fmt.Errorf("blob %s (%s, %d bytes): %w", d.Digest, d.MediaType, d.Size, err)
				}
				return nil
			})
		}
	}
	return g.Wait()
}

// blob brings one blob into the repository.
func (s *push) blob(ctx context.Context, d ocispec.Descriptor, anew bool) error {
	if !anew {
		there, err := s.r.hasBlob(ctx, d)
		if err != nil {
			return err
		}
		if there {
			s.tell(d, There, d.Size)
			return nil
		}
	}
	var done atomic.Int64
	u := &upload{r: s.r, d: d, sources: s.Sources, chunk: s.r.c.o.ChunkSize, sent: func(n int64) {
		if n != 0 {
			s.r.c.o.Progress(Event{d, Sending, done.Add(n)})
		}
	}}
	if !anew {
		u.from = slices.Clone(s.From)
	}
	mounted, err := u.run(ctx)
	switch {
	case err != nil:
		return err
	case mounted:
		s.tell(d, Mounted, d.Size)
	default:
		s.tell(d, Sent, d.Size)
	}
	return nil
}

func (s *push) tell(d ocispec.Descriptor, state State, done int64) {
	s.set(d, state)
	s.r.c.o.Progress(Event{d, state, done})
}

func (s *push) set(d ocispec.Descriptor, state State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.states[d.Digest]; old == "" || state != There {
		s.states[d.Digest] = state
	}
}

// manifest puts a manifest under its digest. A registry that lacks a blob, whatever it said before, gets all of them once more.
func (s *push) manifest(ctx context.Context, m *Manifest) error {
	err := s.r.putManifest(ctx, m, m.Descriptor.Digest.String())
	if says(err, codeManifestBlobUnknown, codeBlobUnknown) {
		for _, d := range m.Blobs() {
			if s.states[d.Digest] == Sent && !strings.Contains(err.Error(), d.Digest.String()) {
				continue
			}
			if err := s.blob(ctx, d, true); err != nil {
				return fmt.Errorf("blob %s, which the registry said to have: %w", d.Digest, err)
			}
		}
		err = s.r.putManifest(ctx, m, m.Descriptor.Digest.String())
	}
	if err == nil {
		s.manifests++
	}
	return err
}

// readBack asks for what was pushed, if anything was: what a registry says to have stored isn't there for certain.
func (s *push) readBack(ctx context.Context) error {
	root := s.Content.Root()
	refs := slices.Clone(s.tags)
	if s.manifests > 0 && len(refs) == 0 {
		refs = []string{root.Descriptor.Digest.String()}
	}
	for _, ref := range refs {
		err := s.r.c.retry(ctx, nil, func() error { // There are registries that need a moment.
			there, err := s.r.hasManifest(ctx, root.Descriptor, ref)
			if err == nil && !there {
				err = fmt.Errorf("%w: it took the manifest, and doesn't have it", errTrouble)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("reading back %s: %w", ref, err)
		}
	}
	return nil
}

func (s *push) result() *Result {
	out := &Result{Digest: s.Content.Root().Descriptor.Digest, Manifests: s.manifests, Tags: s.tags}
	seen := map[digest.Digest]bool{}
	for i := range s.Content.Manifests {
		for _, d := range s.Content.Manifests[i].Blobs() {
			if !seen[d.Digest] {
				seen[d.Digest] = true
				out.Blobs = append(out.Blobs, BlobResult{d, s.states[d.Digest]})
			}
		}
	}
	return out
}

// hasBlob asks for a blob.
func (r *repository) hasBlob(ctx context.Context, d ocispec.Descriptor) (there bool, err error) {
	err = r.c.retry(ctx, nil, func() error {
		a, err := r.do(ctx, request{method: http.MethodHead, url: r.url("blobs/" + d.Digest.String())}, http.StatusOK, http.StatusNotFound)
		if err != nil {
			return err
		}
		// What has another digest, or another length, isn't this blob.
		got, length := a.header.Get("Docker-Content-Digest"), a.header.Get("Content-Length")
		there = a.status == http.StatusOK && (got == "" || got == d.Digest.String()) && (length == "" || length == fmt.Sprint(d.Size))
		return nil
	})
	return there, err
}

// hasManifest asks whether a tag or a digest names a manifest.
func (r *repository) hasManifest(ctx context.Context, d ocispec.Descriptor, ref string) (there bool, err error) {
	q := request{method: http.MethodHead, url: r.url("manifests/" + ref), header: http.Header{"Accept": accepted}}
	err = r.c.retry(ctx, nil, func() error {
		a, err := r.do(ctx, q, http.StatusOK, http.StatusNotFound)
		if err != nil || a.status == http.StatusNotFound {
			return err
		}
		got := a.header.Get("Docker-Content-Digest")
		if got == "" { // It need not say it.
			q.method = http.MethodGet
			if a, err = r.do(ctx, q, http.StatusOK); err != nil {
				return err
			}
			got = digest.FromBytes(a.body).String()
		}
		there = got == d.Digest.String()
		return nil
	})
	return there, err
}

// putManifest puts a manifest under a tag or its digest.
func (r *repository) putManifest(ctx context.Context, m *Manifest, ref string) error {
	return r.c.retry(ctx, nil, func() error {
		a, err := r.do(ctx, request{
			method: http.MethodPut, url: r.url("manifests/" + ref),
			header: http.Header{"Content-Type": {m.Descriptor.MediaType}},
			body:   bytesBody(m.Bytes), length: int64(len(m.Bytes)),
		}, http.StatusCreated, http.StatusOK, http.StatusAccepted)
		if err != nil {
			return err
		}
		if got := a.header.Get("Docker-Content-Digest"); got != "" && got != m.Descriptor.Digest.String() {
			return permanentError{fmt.Errorf("%w: it says to have stored the manifest %s, sent %s", errTrouble, r.c.printable(got), m.Descriptor.Digest)}
		}
		return nil
	})
}
