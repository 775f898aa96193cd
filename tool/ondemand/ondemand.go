package ondemand

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/singleflight"

	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/lock"
	"github.com/rules-strata/rules_strata/tool/plan"
	"github.com/rules-strata/rules_strata/tool/project"
	"github.com/rules-strata/rules_strata/tool/serve"
	"github.com/rules-strata/rules_strata/tool/store"
)

// Options are what [New] needs. Zero fields from CacheSize on stand for the default that they name.
type Options struct {
	// Project says which caches, keys, systems and channels there are; its roots are packages too, by their names.
	Project *project.Project
	// Dir is the folder that the project's relative files and file: URLs are relative to.
	Dir string
	// Client fetches. Its own folder must be Dir.
	Client *fetch.Client
	// CacheDir is the folder where blobs and images are kept; it is made if it isn't there. No two servers share one.
	CacheDir string
	// CacheSize is how many bytes of layers are kept there. A sixteenth of it, and 16 MiB at least, is for what is known of
	// layers and images beside it, and the lists of channels are. Default: 10 GiB.
	CacheSize int64
	// Compression is the layers', one of layer.Compressions. Default: gzip.
	Compression string
	// MaxLayers is the most layers of an image, the one of links among them. Default: the project's.
	MaxLayers int
	// MaxImageSize is the greatest size of an image's NARs in bytes. Default: 8 GiB.
	MaxImageSize int64
	// Channel is which of the channels the tag latest stands for, where there are several.
	Channel string
	// Refresh is how old a channel's list may be. Default: 1 hour.
	Refresh time.Duration
	// Builds is how many images are made at once; others wait. Default: 4.
	Builds int
	// MaxWaiting is how many images may wait to be made, and how many names to be looked up; who asks for one more is told to
	// come back later, unless another client has more waiting, which is told so then. Default: 64.
	MaxWaiting int
	// Workers is how many layers are made at once; each may need 200 MB of memory. Default: as many as GOMAXPROCS, at most 4.
	Workers int
	// Log, if set, is told what is made. It is called by many goroutines at once.
	Log func(format string, args ...any)
}

// Limits that nobody sets.
const (
	defaultCacheSize    = 10 << 30
	defaultMaxImageSize = 8 << 30
	defaultRefresh      = time.Hour
	defaultBuilds       = 4
	defaultMaxWaiting   = 64
	maxDefaultWorkers   = 4
)

// Registry makes images of packages. It is a [serve.Source].
type Registry struct {
	o     Options
	cache *cache
	lists *lists

	ctx    context.Context
	cancel context.CancelFunc

	names, images, layers singleflight.Group // by name, by image key, by layer key
	lookups, builds       *queue
	workers               chan struct{}
	made                  atomic.Int64 // layers, for tests

	running sync.WaitGroup
	mu      sync.Mutex
	closed  bool
	// keys are the keys of the images that have a manifest, config or blob.
	keys     map[digest.Digest][]string
	resolved map[string]resolution
	refused  refusals
	// knownPaths and knownCaches are what locks said before: their signatures are checked each time.
	knownPaths  map[store.Path]*lock.Path
	knownCaches []string
}

// New opens the cache's folder. [Registry.Close] is to be called in the end.
func New(o Options) (*Registry, error) {
	o.CacheSize = cmp.Or(o.CacheSize, defaultCacheSize)
	o.MaxImageSize = cmp.Or(o.MaxImageSize, defaultMaxImageSize)
	o.MaxLayers = cmp.Or(o.MaxLayers, o.Project.MaxLayers, plan.DefaultMaxLayers)
	o.Refresh = cmp.Or(o.Refresh, defaultRefresh)
	o.Builds = cmp.Or(o.Builds, defaultBuilds)
	o.MaxWaiting = cmp.Or(o.MaxWaiting, defaultMaxWaiting)
	o.Workers = cmp.Or(o.Workers, min(runtime.GOMAXPROCS(0), maxDefaultWorkers))
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	if err := o.Project.Check(); err != nil {
		return nil, err
	}
	if err := plan.CheckMaxLayers(o.MaxLayers); err != nil {
		return nil, err
	}
	if o.MaxLayers < 2 {
		return nil, errors.New("max_layers 1: want at least 2, one of them for the links to the packages")
	}
	if o.Channel != "" && !slices.ContainsFunc(o.Project.Channels, func(c project.Channel) bool { return c.Name == o.Channel }) {
		return nil, fmt.Errorf("channel %s: the project file has none of this name", o.Channel)
	}
	dir, err := filepath.Abs(o.CacheDir)
	if err != nil {
		return nil, err
	}
	c, err := openCache(dir, o.CacheSize)
	if err != nil {
		return nil, err
	}
	s := &Registry{
		o: o, cache: c,
		lists:   &lists{client: o.Client, dir: filepath.Join(dir, listsDir), refresh: o.Refresh, log: o.Log, known: map[string]*keptList{}},
		lookups: newQueue(o.Builds, o.MaxWaiting), builds: newQueue(o.Builds, o.MaxWaiting), workers: make(chan struct{}, o.Workers),
		keys: map[digest.Digest][]string{}, resolved: map[string]resolution{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	for _, name := range c.names(imagesDir) {
		key := strings.TrimPrefix(name, imagesDir+"/")
		if r := s.record(key); r != nil {
			s.index(key, r)
		}
	}
	return s, nil
}

// Close ends what is being made, and waits for that end.
func (s *Registry) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.running.Wait()
	return s.cache.close()
}

var errClosed = errors.New("the server is stopping")

// do calls f once for all who ask for the same key at the same time. That one of them has gone doesn't end it: whoever
// asks again finds what was made meanwhile.
func do[T any](ctx context.Context, s *Registry, g *singleflight.Group, key string, f func(context.Context) (T, error)) (T, error) {
	var none T
	result := g.DoChan(key, func() (any, error) {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return none, errClosed
		}
		s.running.Add(1)
		s.mu.Unlock()
		defer s.running.Done()
		return f(serve.WithClient(s.ctx, serve.ClientOf(ctx))) // The first one's: the turn is taken for that client.
	})
	select {
	case r := <-result:
		if r.Err != nil {
			return none, r.Err
		}
		return r.Val.(T), nil
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}

// Manifest implements [serve.Source].
func (s *Registry) Manifest(ctx context.Context, repository, reference string) (*serve.Manifest, error) {
	if strings.Contains(reference, ":") {
		d := digest.Digest(reference)
		r := s.recordOf(d)
		if r == nil || r.digest() != d {
			return nil, serve.Errorf(serve.CodeManifestUnknown, "no image %s was made here, or it is gone; ask for a tag", reference)
		}
		return r.manifest()
	}
	r, err := do(ctx, s, &s.names, repository+":"+reference, func(ctx context.Context) (*record, error) {
		return s.named(ctx, repository, reference)
	})
	if err != nil {
		return nil, err
	}
	return r.manifest()
}

// named returns the image of a name.
func (s *Registry) named(ctx context.Context, repository, tag string) (*record, error) {
	c, err := s.resolve(ctx, repository, tag)
	if err != nil {
		return nil, err
	}
	return s.image(ctx, c)
}

// Blob implements [serve.Source].
func (s *Registry) Blob(ctx context.Context, _ string, d digest.Digest) (*serve.Blob, error) {
	unknown := serve.Errorf(serve.CodeBlobUnknown, "no image made here has the blob %s, or they are gone", d)
	in, err := s.openBlob(ctx, d)
	if errors.Is(err, fs.ErrNotExist) {
		r := s.recordOf(d)
		if r == nil || digest.FromString(r.Config) != d {
			return nil, unknown
		}
		return &serve.Blob{ReadSeeker: strings.NewReader(r.Config), Closer: nothing{}, Size: int64(len(r.Config))}, nil
	}
	if err != nil {
		return nil, err
	}
	info, err := in.Stat()
	if err != nil {
		in.Close()
		return nil, err
	}
	return &serve.Blob{ReadSeeker: in, Closer: in, Size: info.Size()}, nil
}

type nothing struct{}

func (nothing) Close() error { return nil }

// Tags implements [serve.Source]: the channels are an image's tags.
func (s *Registry) Tags(ctx context.Context, repository string) ([]string, error) {
	tags := []string{}
	var unknown error
	for _, tag := range append([]string{serve.DefaultTag}, s.channels()...) {
		switch _, err := s.resolve(ctx, repository, tag); {
		case err == nil:
			tags = append(tags, tag)
		case !serve.IsUnknown(err):
			return nil, err
		case unknown == nil:
			unknown = err
		}
	}
	if len(tags) == 0 {
		e := new(serve.Error)
		if errors.As(unknown, &e) {
			return nil, &serve.Error{Code: serve.CodeNameUnknown, Message: e.Message, Detail: e.Detail}
		}
	}
	return tags, nil
}

func (s *Registry) channels() []string {
	var names []string
	for _, c := range s.o.Project.Channels {
		names = append(names, c.Name)
	}
	return names
}

// Repositories implements [serve.Source]: of the images that there could be, those of the project's roots are listed.
func (s *Registry) Repositories(context.Context) ([]string, error) {
	var names []string
	for _, r := range s.o.Project.Roots {
		if serve.CheckName(r.Name) == nil && !slices.Contains(names, r.Name) {
			names = append(names, r.Name)
		}
	}
	return names, nil
}
