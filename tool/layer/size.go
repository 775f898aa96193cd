package layer

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/rules-strata/rules_strata/tool/nar"
	"github.com/rules-strata/rules_strata/tool/store"
)

// Entries is the entries of a store path, without the contents of its files.
type Entries struct {
	Path store.Path
	// Each calls its argument for every entry in the order of the NAR, and ends with the first error of it.
	Each func(func(*nar.Entry) error) error
}

// TarSize returns the length of the tar that [Write] makes of these paths, in
// bytes: for who has to say it before the first byte. Of the options that leave
// entries out only a StripPrefix of "." is known here.
func TarSize(ctx context.Context, paths []Entries, o Options) (int64, error) {
	if len(paths) == 0 {
		return 0, errors.New("a layer needs at least one store path")
	}
	strip := o.StripPrefix == "."
	if len(o.Exclude) > 0 || o.StripPrefix != "" && !strip {
		return 0, errors.New("the size of a layer that leaves entries out is known when it is made")
	}
	format, err := o.tarFormat(nil)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ring := newRing(ctx, 1)
	var wg sync.WaitGroup
	wg.Go(func() { ring.each(0, func([]byte) error { return nil }) })
	defer wg.Wait()
	t := &tarWriter{tarFormat: format, out: ring}
	contents, err := t.headers(paths, strip)
	if err == nil {
		err = t.end()
	}
	ring.close()
	return ring.bytes + contents, err
}

// headers writes all headers, and returns what the contents come to that would stand between them.
func (t *tarWriter) headers(paths []Entries, strip bool) (contents int64, err error) {
	paths = slices.Clone(paths)
	slices.SortFunc(paths, func(a, b Entries) int { return strings.Compare(string(a.Path), string(b.Path)) })
	if !strip {
		if err := t.storeDir(paths[0].Path.Dir()); err != nil {
			return 0, err
		}
	}
	for _, p := range paths {
		t.begin(string(p.Path[1:]))
		if strip {
			t.begin("")
		}
		err := p.Each(func(e *nar.Entry) error {
			if strip && len(e.Path) == 0 {
				return nil
			}
			_, size, err := t.entryHeader(e.Path, e, noMode)
			contents += (size + blockSize - 1) / blockSize * blockSize
			return err
		})
		if err != nil {
			return 0, &PathError{p.Path, err}
		}
	}
	return contents, nil
}
