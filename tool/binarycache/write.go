package binarycache

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"runtime"
	"slices"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/semaphore"

	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/graph"
	"github.com/rules-strata/rules_strata/tool/nar"
	"github.com/rules-strata/rules_strata/tool/narinfo"
	"github.com/rules-strata/rules_strata/tool/store"
)

// compression is a way to store NARs.
type compression struct {
	name string
	// extension is that of file names behind ".nar", as Nix has it.
	extension string
	encoder   func() (encoder, error)
}

// encoder compresses to the writer that Reset gave it.
type encoder interface {
	io.WriteCloser
	Reset(w io.Writer)
}

var compressions = []compression{
	{"zstd", ".zst", func() (encoder, error) {
		// A cache is written once and read often. One goroutine each: several paths are written at once.
		return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithEncoderConcurrency(1))
	}},
	{"gzip", "", func() (encoder, error) { return gzip.NewWriter(nil), nil }},
	{"none", "", func() (encoder, error) { return new(plain), nil }},
}

// plain doesn't compress.
type plain struct{ io.Writer }

func (p *plain) Reset(w io.Writer) { p.Writer = w }
func (p *plain) Close() error      { return nil }

// Compressions are the names that [WriteOptions] takes, the default first.
func Compressions() []string {
	names := make([]string, len(compressions))
	for i, c := range compressions {
		names[i] = c.name
	}
	return names
}

// WriteOptions say what [Write] writes.
type WriteOptions struct {
	// Graph has the store paths and their references: its Nodes are written.
	Graph *graph.Graph
	// Store is the folder that holds the paths by their base names.
	Store *os.Root
	// Key signs; nil: the narinfos get no signature but those of the graph.
	Key *narinfo.SecretKey
	// Compression is one of [Compressions].
	Compression string
	// Progress, if set, is told how far the work is. It is called by one goroutine at a time.
	Progress func(Progress)
}

// Write puts the store paths of a graph into the cache c, as nix copy does, but
// out of a folder. What the graph says of NARs is checked against what is read; what it doesn't say, the key vouches for.
// A path is there already if its narinfo says the same as the graph, is signed by the key, and its NAR's file is
// there. References outside the graph must be in the cache.
func Write(ctx context.Context, c *Cache, o WriteOptions) (Result, error) {
	i := slices.IndexFunc(compressions, func(c compression) bool { return c.name == o.Compression })
	if i < 0 {
		return Result{}, fmt.Errorf("compression %q is not known; known are %q", o.Compression, Compressions())
	}
	if err := c.Prepare(ctx, o.Graph.StoreDir()); err != nil {
		return Result{}, err
	}
	atOnce := runtime.GOMAXPROCS(0)
	w := &writer{
		jobs: jobs{
			c: c, progress: o.Progress,
			nars: semaphore.NewWeighted(int64(atOnce)), small: semaphore.NewWeighted(maxSmall),
		},
		o: o, compression: compressions[i], encoders: make(chan encoder, atOnce),
	}
	for range atOnce {
		enc, err := w.compression.encoder()
		if err != nil {
			return Result{}, err
		}
		w.encoders <- enc
	}
	references := make(map[store.Path][]store.Path, len(o.Graph.Nodes))
	for p, n := range o.Graph.Nodes {
		references[p] = n.References
	}
	if err := w.checkClosed(ctx); err != nil {
		return Result{}, err
	}
	err := w.run(ctx, references, w.prepare)
	return w.result, err
}

type writer struct {
	jobs
	o           WriteOptions
	compression compression
	encoders    chan encoder // as many as NARs are written at once
}

// checkClosed makes sure, before anything is written, that the cache will hold whole closures.
func (w *writer) checkClosed(ctx context.Context) error {
	asked := map[store.Path]bool{}
	for _, p := range w.o.Graph.Order() {
		for _, r := range w.o.Graph.Nodes[p].References {
			if w.o.Graph.Nodes[r] != nil || asked[r] {
				continue
			}
			asked[r] = true
			info, _, err := w.c.narinfo(ctx, r)
			if err != nil {
				return err
			}
			if info == nil {
				return &hintedError{
					&PathError{p, fmt.Errorf("it refers to %s, which is neither in the graph nor in %s", r, w.c)},
					"give the graph of the whole closure (nix path-info --json --recursive), or write that path first",
				}
			}
		}
	}
	return nil
}

func (w *writer) prepare(ctx context.Context, p store.Path) (entry, error) {
	n := w.o.Graph.Nodes[p]
	if err := w.small.Acquire(ctx, 1); err != nil {
		return entry{}, context.Cause(ctx)
	}
	old, there, err := w.find(ctx, n)
	w.small.Release(1)
	if err != nil || there {
		return entry{}, err
	}
	if err := w.nars.Acquire(ctx, 1); err != nil {
		return entry{}, context.Cause(ctx)
	}
	defer w.nars.Release(1)
	info, err := w.writeNAR(ctx, n)
	if err != nil {
		return entry{}, err
	}
	info.Signatures = slices.Clone(n.Signatures)
	if old != nil && old.Fingerprint() == info.Fingerprint() {
		// What others said and signed stays.
		if info.CA == "" {
			info.CA = old.CA
		}
		if info.Deriver == "" {
			info.Deriver = old.Deriver
		}
		for _, s := range old.Signatures {
			if !slices.ContainsFunc(info.Signatures, func(t narinfo.Signature) bool { return s.String() == t.String() }) {
				info.Signatures = append(info.Signatures, s)
			}
		}
	}
	if w.o.Key != nil {
		info.Sign(*w.o.Key)
	}
	return entry{narinfo: info.Marshal()}, nil
}

// find reports whether the path is there, whole, and returns the narinfo that is there in any case.
func (w *writer) find(ctx context.Context, n *graph.Node) (old *narinfo.Info, there bool, err error) {
	old, _, err = w.c.narinfo(ctx, n.Path)
	if old == nil || err != nil {
		return nil, false, err
	}
	if !slices.Equal(old.References, n.References) || !n.NarHash.IsZero() && n.NarHash != old.NarHash || n.NarSize > 0 && n.NarSize != old.NarSize {
		return old, false, nil
	}
	if w.o.Key != nil {
		if _, _, err := old.VerifiedBy([]narinfo.PublicKey{w.o.Key.Public()}); err != nil {
			return old, false, nil
		}
	}
	size, err := w.c.Size(ctx, old.URL)
	if errors.Is(err, fetch.ErrNotFound) {
		return old, false, nil
	}
	return old, size < 0 || old.FileSize < 0 || size == old.FileSize, err
}

// hashWriter hashes and counts.
type hashWriter struct {
	h hash.Hash
	n int64
}

func (w *hashWriter) Write(p []byte) (int, error) {
	w.n += int64(len(p))
	return w.h.Write(p)
}

func (w *hashWriter) sum() (h store.Hash) {
	w.h.Sum(h[:0])
	return h
}

// writeNAR archives the path and puts the NAR into the cache. It returns the narinfo without signatures.
func (w *writer) writeNAR(ctx context.Context, n *graph.Node) (*narinfo.Info, error) {
	u, err := w.c.begin()
	if err != nil {
		return nil, err
	}
	defer u.close()
	narHash, fileHash := &hashWriter{h: sha256.New()}, &hashWriter{h: sha256.New()}
	enc := <-w.encoders
	defer func() { w.encoders <- enc }()
	enc.Reset(io.MultiWriter(fileHash, u))
	err = nar.Dump(io.MultiWriter(counter{ctx, &w.jobs}, narHash, enc), w.o.Store, n.Path.Base())
	if closeErr := enc.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, err
	}
	if err := checkNAR(n, narHash); err != nil {
		return nil, &hintedError{err, "the path on disk isn't what the graph says: it was changed since (nix-store --verify-path says more)"}
	}
	info := &narinfo.Info{
		StorePath: n.Path,
		File: narinfo.File{
			URL:         "nar/" + fileHash.sum().NixBase32() + ".nar" + w.compression.extension,
			Compression: w.compression.name, FileHash: fileHash.sum(), FileSize: fileHash.n,
		},
		NarHash: narHash.sum(), NarSize: narHash.n,
		References: n.References, Deriver: n.Deriver, CA: n.CA,
	}
	return info, w.once(info.URL, func() error {
		size, err := w.c.Size(ctx, info.URL)
		if err == nil && size == info.FileSize || err != nil && !errors.Is(err, fetch.ErrNotFound) {
			return err
		}
		if err := u.commit(ctx, info.URL); err != nil {
			return err
		}
		w.wrote(info.FileSize)
		return nil
	})
}

// checkNAR compares what was read with what the graph says.
func checkNAR(n *graph.Node, got *hashWriter) error {
	if n.NarSize > 0 && n.NarSize != got.n {
		return &store.HashMismatchError{What: "NarSize", Want: fmt.Sprint(n.NarSize), Got: fmt.Sprint(got.n), Offset: got.n}
	}
	if !n.NarHash.IsZero() && n.NarHash != got.sum() {
		return &store.HashMismatchError{What: "NarHash", Want: n.NarHash.String(), Got: got.sum().String(), Offset: got.n}
	}
	return nil
}
