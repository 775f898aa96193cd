package lock

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/nar"
	"github.com/rules-strata/rules_strata/tool/narfile"
	"github.com/rules-strata/rules_strata/tool/narinfo"
	"github.com/rules-strata/rules_strata/tool/store"
)

// maxMeasuring is how many files are downloaded at once. Each may take a decoder's window of 128 MiB.
const maxMeasuring = 4

// measure downloads each file whose hash or size its narinfo doesn't say (Guix
// says no hashes at all), so that the lock pins every download, and each that must show that it has its
// content address. It checks them on the way. As in the walk, all that is wrong with paths is told.
func (w *walk) measure(ctx context.Context) error {
	paths := slices.Sorted(maps.Keys(w.downloads))
	wrong := make([]error, len(paths))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(maxMeasuring)
	readers := make(chan *narfile.Reader, maxMeasuring)
	defer func() {
		for len(readers) > 0 {
			(<-readers).Close()
		}
	}()
	for range maxMeasuring {
		readers <- new(narfile.Reader)
	}
	for i, path := range paths {
		g.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			r := <-readers
			defer func() { readers <- r }()
			err := w.measureOne(ctx, r, w.downloads[path], w.done[path])
			if err == nil {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.settled++
				w.tell()
				return nil
			}
			err = &PathError{Path: path, Err: err}
			if !isContentError(err) {
				return err // The cache doesn't answer as it should: the others would meet the same.
			}
			wrong[i] = err
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	wrong = slices.DeleteFunc(wrong, func(err error) bool { return err == nil })
	if len(wrong) == 1 {
		return wrong[0]
	}
	return errors.Join(wrong...)
}

// isContentError reports whether err is about what a file holds.
func isContentError(err error) bool {
	var mismatch *store.HashMismatchError
	var decode *narfile.DecodeError
	var format *nar.FormatError
	var content *contentError
	return errors.As(err, &mismatch) || errors.As(err, &decode) || errors.As(err, &format) || errors.As(err, &content) || errors.Is(err, fetch.ErrNotFound)
}

// measureOne downloads the first of the files that is there, and makes p name it.
func (w *walk) measureOne(ctx context.Context, r *narfile.Reader, d download, p *Path) error {
	var gone error
	for _, f := range d.files {
		p.setFile(d.cache, f)
		err := w.measureFile(ctx, r, d, f, p)
		if err == nil || !errors.Is(err, fetch.ErrNotFound) {
			return err
		}
		gone = cmp.Or(gone, err)
	}
	return gone
}

func (w *walk) measureFile(ctx context.Context, r *narfile.Reader, d download, f narinfo.File, p *Path) error {
	d.file.Compression, d.file.FileHash, d.file.FileSize = f.Compression, f.FileHash, f.FileSize
	url := join(d.cache.URL, f.URL)
	src, err := w.o.Client.Open(ctx, url)
	if err != nil {
		return err
	}
	defer src.Close()
	m := &meter{r: &counter{src, func(n int) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.read += int64(n)
		w.tell()
	}}, h: sha256.New()}
	if err := r.Reset(m, d.file); err != nil {
		return err
	}
	if d.ca == nil {
		_, err = io.Copy(io.Discard, r)
	} else {
		err = checkContents(r, *d.ca, d.file.StorePath)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", fetch.Redact(url), err)
	}
	m.h.Sum(p.FileHash[:0])
	p.FileSize = m.n
	return nil
}

// contentError says that a NAR hasn't got its content address.
type contentError struct{ text string }

func (e *contentError) Error() string { return e.text }

// checkContents reads the whole NAR r of path, whose content address ca is not its NarHash, and compares, as
// Nix does when it imports a path.
func checkContents(r io.Reader, ca store.ContentAddress, path store.Path) error {
	if ca.Method != store.ContentNAR {
		return checkFile(r, ca)
	}
	h := store.NewSelfHash(path)
	if err := readArchive(io.TeeReader(r, h)); err != nil {
		return err
	}
	got, withoutPlaces, err := h.Sums()
	if err != nil {
		return &contentError{fmt.Sprintf("content address %s: %v; it needs a signature", ca, err)}
	}
	if got != ca.Hash && withoutPlaces != ca.Hash {
		return &contentError{fmt.Sprintf("content address %s: the contents, without the path's own hash part, have another hash: sha256:%s", ca, got.NixBase32())}
	}
	return nil
}

// checkFile is checkContents for a NAR that must be of one file. Nix doesn't ask
// whether the file is executable; we do, since then two NARs would have one content address.
func checkFile(r io.Reader, ca store.ContentAddress) error {
	n := nar.NewReader(r)
	e, err := n.Next()
	if err != nil {
		return err
	}
	if e.Kind != nar.Regular || e.Executable {
		return &contentError{fmt.Sprintf("content address %s: want a NAR of one file that isn't executable", ca)}
	}
	var got store.Hash
	h := sha256.New()
	if _, err := io.Copy(h, n); err != nil {
		return err
	}
	h.Sum(got[:0])
	if got != ca.Hash {
		return &contentError{fmt.Sprintf("content address %s: the file's contents have another hash: sha256:%s", ca, got.NixBase32())}
	}
	if _, err := n.Next(); err != io.EOF {
		return err // The NAR of a file has no second entry.
	}
	return nil
}

// readArchive reads the whole NAR r.
func readArchive(r io.Reader) error {
	for n := nar.NewReader(r); ; {
		if _, err := n.Next(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// meter hashes and counts what passes.
type meter struct {
	r io.Reader
	h interface {
		io.Writer
		Sum([]byte) []byte
	}
	n int64
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.h.Write(p[:n])
	m.n += int64(n)
	return n, err
}

// counter tells of bytes that pass.
type counter struct {
	r    io.Reader
	tell func(n int)
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.tell(n)
	return n, err
}
