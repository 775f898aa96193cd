package layer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
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
	// File says what the path is and how its NAR is stored. NarHash must be set, unless Trusted is;
	// FileHash and the sizes are checked where they are known.
	File narfile.File
	// Trusted is for a NAR that is made as it is read, of files on a disk that are
	// believed: nobody said beforehand what it comes to. Of File only StorePath counts then, and
	// the layer's digest file, which lacks the NarHash, can't be written.
	Trusted bool
	// Open opens the NAR file, as it is stored. Write calls it at most once, for
	// several NARs at the same time; who called it also reads and closes. Once the context ends,
	// reads should fail: Write returns no sooner than a read under way.
	Open func(context.Context) (io.ReadCloser, error)
	// Reject, if set, is told by [Retry] what was wrong with the bytes of the last Open. It returns nil if Open
	// can give others, from elsewhere; else the error to end with, which says where the bytes came from.
	Reject func(error) error
}

// Write writes the layer of nars to w, and returns what its digest file says.
// The order of nars doesn't matter; they must be of one store directory, each
// path once. An error that is about a store path is a [PathError]. After
// an error, w has got some part of a blob that must not be used.
func Write(ctx context.Context, w io.Writer, nars []NAR, o Options) (*digestfile.File, error) {
	nars, err := sorted(nars)
	if err != nil {
		return nil, err
	}
	format, err := o.tarFormat(nars)
	if err != nil {
		return nil, err
	}
	encoders := o.workers()
	if totalSize(nars) <= chunkSize {
		encoders = 1 // It is no work for two.
	}
	return o.blob(ctx, w, encoders, func(ctx context.Context, cancel context.CancelCauseFunc, r *ring, out *digestfile.File) error {
		decoders := startAhead(ctx, nars, o.workers(), o.TempFile)
		defer decoders.stop()
		err := writeTar(&tarWriter{tarFormat: format, out: r}, decoders, o, out)
		if err != nil {
			err = faultOf(ctx, err)
			cancel(err) // so that no decoder waits
		}
		return err
	})
}

// blob makes the blob of the tar that write puts into the ring, by so many encoders side by side, and returns what its digest
// file says; write fills in what the tar holds. When its ctx ends, a later stage has failed, or the caller's has ended.
func (o Options) blob(ctx context.Context, w io.Writer, encoders int, write func(context.Context, context.CancelCauseFunc, *ring, *digestfile.File) error) (*digestfile.File, error) {
	o, enc, err := o.encoding()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p, err := startPipeline(ctx, cancel, w, enc, encoders)
	if err != nil {
		return nil, err
	}
	out := &digestfile.File{
		FormatVersion: digestfile.FormatVersion,
		Compression:   o.Compression,
		Level:         o.Level,
	}
	if err := write(ctx, cancel, p.ring, out); err != nil {
		err = faultOf(ctx, err)
		cancel(err)
		p.abort()
		return nil, err
	}
	if err := p.finish(); err != nil {
		return nil, err
	}
	out.DiffID = p.diffID
	out.UncompressedSize = p.ring.bytes
	out.Descriptor = ocispec.Descriptor{MediaType: enc.codec.mediaType, Digest: p.digest, Size: p.blob.n}
	return out, nil
}

// faultOf is err, unless ctx has ended: then whoever failed with err is not at fault, but was cancelled from outside, or by a
// later stage that failed.
func faultOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (o Options) workers() int {
	if o.Workers <= 0 {
		return runtime.GOMAXPROCS(0)
	}
	return o.Workers
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
		case n.File.NarHash.IsZero() && !n.Trusted:
			return nil, fmt.Errorf("%s: its NarHash is not given, so its bytes can't be checked", p)
		}
	}
	return nars, nil
}

// totalSize is the size of all NARs, as far as they say; the greatest number where it is more.
func totalSize(nars []NAR) (n int64) {
	for _, nar := range nars {
		if nar.File.NarSize > math.MaxInt64-n {
			return math.MaxInt64
		}
		n += nar.File.NarSize
	}
	return n
}

// writeTar writes the whole tar, and counts in out what it wrote.
func writeTar(t *tarWriter, decoders *ahead, o Options, out *digestfile.File) error {
	if o.Mtree != nil {
		t.mtree = newMtree(o.Mtree)
	}
	if o.StripPrefix == "" {
		if err := t.storeDir(decoders.nars[0].File.StorePath.Dir()); err != nil {
			return err
		}
	}
	u := &unpacker{tar: t, src: decoders, nar: nar.NewReader(nil), options: o}
	if o.StripPrefix != "" {
		u.survey = new(digestfile.Survey)
	}
	out.StorePaths = make([]digestfile.StorePath, 0, len(decoders.nars))
	for i, n := range decoders.nars {
		before := t.entries
		if err := u.unpack(i); err != nil {
			if errors.As(err, new(*listingError)) {
				return err
			}
			return &PathError{n.File.StorePath, err}
		}
		out.StorePaths = append(out.StorePaths, digestfile.StorePath{
			Path:    n.File.StorePath,
			NarHash: n.File.NarHash,
			NarSize: u.nar.Offset(),
			Entries: t.entries - before,
		})
	}
	if o.StripPrefix != "" {
		out.Stripped = &digestfile.Stripped{StorePath: out.StorePaths[0], Prefix: o.StripPrefix}
		out.StorePaths = out.StorePaths[:0]
		u.survey.Report(out)
	}
	out.Entries = t.entries
	if err := t.end(); err != nil {
		return err
	}
	return t.mtree.close()
}

// unpacker moves one NAR after the other into the tar.
type unpacker struct {
	tar     *tarWriter
	src     *ahead
	nar     *nar.Reader
	options Options
	survey  *digestfile.Survey // nil: all is in its store path
}

// unpack moves NAR number i.
func (u *unpacker) unpack(i int) error {
	u.src.begin(i)
	u.nar.Reset(u.src)
	return explain(u.entries(u.src.nars[i]), u.src)
}

func (u *unpacker) entries(n NAR) error {
	s := newSelection(u.options)
	dir := string(n.File.StorePath[1:])
	if u.options.StripPrefix != "" {
		dir = ""
	}
	u.tar.begin(dir)
	for {
		e, err := u.nar.Next()
		if err == io.EOF { // And the hashes hold, or it would be another error.
			return s.finish()
		}
		if err != nil {
			return err
		}
		path, ok := s.take(e)
		if !ok {
			continue
		}
		if !u.options.AllowWhiteoutNames && isWhiteout(path) {
			return fmt.Errorf("the name %q begins with .wh., which container runtimes take for an order to remove a file: "+
				"the file would be missing in the image; rename it, or allow such names for this layer", e.Path)
		}
		var contents io.Reader = u.nar
		if u.survey != nil && u.survey.Wants(path) {
			flag := typeflags[e.Kind]
			if err := u.survey.Touch(string(path), flag); err != nil {
				return fmt.Errorf("%q: %w", path, err)
			}
			contents = u.survey.Entry(string(path), flag, u.nar)
		}
		if err := u.tar.entry(path, e, s.mode(e), contents); err != nil {
			return err
		}
	}
}

// typeflags are the kinds of a NAR's entries in the words of a tar.
var typeflags = map[nar.Kind]byte{nar.Regular: typeRegular, nar.Directory: typeDirectory, nar.Symlink: typeSymlink}

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
