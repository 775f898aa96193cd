package inventory

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/rules-strata/rules_strata/tool/layertar"
	"github.com/rules-strata/rules_strata/tool/store"
)

// References fills in what each path refers to.
func (inv *Inventory) References(ctx context.Context) error {
	s := &scanner{known: map[string][]*Path{}}
	for _, p := range inv.Paths {
		s.known[p.Path.HashPart()] = append(s.known[p.Path.HashPart()], p)
	}
	found := map[*Path]map[*Path]bool{}
	buf := make([]byte, 256<<10)
	for i, l := range inv.layers {
		err := layertar.Each(ctx, l, func(h *tar.Header, r io.Reader) error {
			at, _ := split(h.Name)
			p := inv.byPath[at]
			if p == nil {
				return nil
			}
			if found[p] == nil {
				found[p] = map[*Path]bool{}
			}
			s.found, s.tail = found[p], s.tail[:0]
			s.scan([]byte(h.Linkname))
			s.tail = s.tail[:0]
			for {
				n, err := r.Read(buf)
				s.scan(buf[:n])
				if err == io.EOF {
					return nil
				}
				if err != nil {
					return err
				}
			}
		})
		if err != nil {
			return fmt.Errorf("layer %d: %w", i+1, err)
		}
	}
	for _, p := range inv.Paths {
		p.References = p.References[:0]
		for _, r := range inv.Paths {
			if r != p && found[p][r] {
				p.References = append(p.References, r)
			}
		}
	}
	return nil
}

// scanner looks for hash parts in bytes that come in pieces.
type scanner struct {
	known map[string][]*Path
	found map[*Path]bool
	tail  []byte // the last bytes before the piece: fewer than a hash part has
}

// isBase32 are the characters of a hash part.
var isBase32 = func() (t [256]bool) {
	for _, c := range []byte("0123456789abcdfghijklmnpqrsvwxyz") {
		t[c] = true
	}
	return t
}()

// scan looks at the next piece.
func (s *scanner) scan(b []byte) {
	const n = store.HashPartLen
	if len(s.tail) > 0 { // Across the border.
		seam := slices.Concat(s.tail, b[:min(len(b), n-1)])
		s.look(seam)
		if len(b) < n-1 {
			s.tail = append(s.tail[:0], seam[max(0, len(seam)-(n-1)):]...)
			return
		}
	}
	s.look(b)
	s.tail = append(s.tail[:0], b[max(0, len(b)-(n-1)):]...)
}

// look finds the hash parts in b. It looks at every 32nd byte as long as these can't be in one.
func (s *scanner) look(b []byte) {
	const n = store.HashPartLen
	for i := 0; i+n <= len(b); {
		j := n - 1
		for j >= 0 && isBase32[b[i+j]] {
			j--
		}
		if j >= 0 {
			i += j + 1
			continue
		}
		for _, p := range s.known[string(b[i:i+n])] {
			s.found[p] = true
		}
		i++
	}
}
