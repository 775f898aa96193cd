package layer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/nar"
	"github.com/rules-strata/rules_strata/tool/narfile"
	"github.com/rules-strata/rules_strata/tool/store"
)

// NAR is one store path of a layer.
type NAR struct {
	// File says what the path is and how its NAR is stored. NarHash must be set;
	// FileHash and the sizes are checked where they are known.
	File narfile.File
	// Open opens the NAR file, as it is stored. It is called once, from the
	// goroutine that called [Write], which also reads and closes. Once the context ends,
	// reads should fail: Write returns no sooner than a read under way.
	Open func(context.Context) (io.ReadCloser, error)
}

// Options are what a layer's bytes depend on, beside its NARs.
type Options struct {
	// Compression is [Gzip] (also when empty), [Zstd] or [None].
	Compression string
	// Level is [LevelFastest], [LevelDefault] (also when empty) or [LevelBest].
	Level string
	// AllowWhiteoutNames lets names that begin with ".wh." pass as they are.
	// A container runtime takes them for orders to remove files.
	AllowWhiteoutNames bool
}

// Write writes the layer of nars to w, and returns what its digest file says.
// The order of nars doesn't matter; they must be of one store directory, each
// path once. An error that is about a store path begins with that path. After
// an error, w has got some part of a blob that must not be used.
func Write(ctx context.Context, w io.Writer, nars []NAR, o Options) (*digestfile.File, error) {
	o, codec, err := o.normalised()
	if err != nil {
		return nil, err
	}
	nars, err = sorted(nars)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p, err := startPipeline(ctx, cancel, w, codec, o.Level)
	if err != nil {
		return nil, err
	}
	out := &digestfile.File{
		FormatVersion: digestfile.FormatVersion,
		Compression:   o.Compression,
		Level:         o.Level,
	}
	if err := writeTar(ctx, p.ring, nars, o, out); err != nil {
		p.abort()
		if ctx.Err() != nil { // Not the NAR's fault: cancelled from outside, or by a later stage that failed.
			err = context.Cause(ctx)
		}
		return nil, err
	}
	if err := p.finish(); err != nil {
		return nil, err
	}
	out.DiffID = p.diffID
	out.UncompressedSize = p.ring.bytes
	out.Descriptor = ocispec.Descriptor{MediaType: codec.mediaType, Digest: p.digest, Size: p.blob.n}
	return out, nil
}

// sorted returns nars in the order of their store paths, checked.
func sorted(nars []NAR) ([]NAR, error) {
	if len(nars) == 0 {
		return nil, errors.New("a layer needs at least one store path")
	}
	nars = slices.Clone(nars)
	slices.SortFunc(nars, func(a, b NAR) int { return strings.Compare(string(a.File.StorePath), string(b.File.StorePath)) })
	dir := nars[0].File.StorePath.Dir()
	for i, n := range nars {
		p := n.File.StorePath
		switch _, err := store.ParsePath(string(p)); {
		case err != nil:
			return nil, err
		case p.Dir() != dir:
			return nil, fmt.Errorf("%s: a layer has one store directory, and another path of this one is in %s", p, dir)
		case i > 0 && p == nars[i-1].File.StorePath:
			return nil, fmt.Errorf("%s: named twice in one layer", p)
		case n.File.NarHash.IsZero():
			return nil, fmt.Errorf("%s: its NarHash is not given, so its bytes can't be checked", p)
		}
	}
	return nars, nil
}

// writeTar writes the whole tar into the ring and counts in out what it wrote.
func writeTar(ctx context.Context, r *ring, nars []NAR, o Options, out *digestfile.File) error {
	t := &tarWriter{out: r}
	if err := t.storeDir(nars[0].File.StorePath.Dir()); err != nil {
		return err
	}
	u := &unpacker{tar: t, nar: nar.NewReader(nil), allowWhiteoutNames: o.AllowWhiteoutNames}
	defer u.file.Close()
	out.StorePaths = make([]digestfile.StorePath, 0, len(nars))
	for _, n := range nars {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		before := t.entries
		if err := u.unpack(ctx, n); err != nil {
			return fmt.Errorf("%s: %w", n.File.StorePath, err)
		}
		out.StorePaths = append(out.StorePaths, digestfile.StorePath{
			Path:    n.File.StorePath,
			NarHash: n.File.NarHash,
			NarSize: u.nar.Offset(),
			Entries: t.entries - before,
		})
	}
	out.Entries = t.entries
	return t.end()
}

// unpacker moves one NAR after the other into the tar. It keeps the decoders'
// state and the buffers from one to the next.
type unpacker struct {
	tar                *tarWriter
	file               narfile.Reader
	nar                *nar.Reader
	allowWhiteoutNames bool
}

func (u *unpacker) unpack(ctx context.Context, n NAR) error {
	src, err := n.Open(ctx)
	if err != nil {
		return err
	}
	defer src.Close()
	if err := u.file.Reset(src, n.File); err != nil {
		return err
	}
	u.nar.Reset(&u.file)
	u.tar.begin(n.File.StorePath)
	for {
		e, err := u.nar.Next()
		if err == io.EOF { // And the hashes hold, or it would be another error.
			return nil
		}
		if err != nil {
			return err
		}
		if !u.allowWhiteoutNames && isWhiteout(e.Path) {
			return fmt.Errorf("the name %q begins with .wh., which container runtimes take for an order to remove a file: "+
				"the file would be missing in the image; rename it, or allow such names for this layer", e.Path)
		}
		if err := u.tar.entry(e, u.nar); err != nil {
			return err
		}
	}
}

// isWhiteout reports whether the last component of path is a name to which the
// OCI image-spec gives a meaning of its own (layer.md, "Whiteouts").
func isWhiteout(path []byte) bool {
	const prefix = ".wh."
	i := len(path) // of the last component
	for i > 0 && path[i-1] != '/' {
		i--
	}
	return len(path)-i >= len(prefix) && string(path[i:i+len(prefix)]) == prefix
}

// digestOf is the digest of what h has seen.
func digestOf(h interface{ Sum([]byte) []byte }) digest.Digest {
	var b [sha256.Size]byte
	return digest.NewDigestFromBytes(digest.SHA256, h.Sum(b[:0]))
}
