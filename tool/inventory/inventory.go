package inventory

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"

	"github.com/rules-strata/rules_strata/tool/layertar"
	"github.com/rules-strata/rules_strata/tool/nar"
	"github.com/rules-strata/rules_strata/tool/store"
)

// Layer opens a layer's tar, uncompressed. Who reads closes.
type Layer func() (io.ReadCloser, error)

// Inventory is what an image's layers hold.
type Inventory struct {
	// Paths are the store paths in the order of the layers.
	Paths []*Path
	// Other is what belongs to no store path, save for directories above them.
	Other Size

	layers []Layer
	byPath map[store.Path]*Path
}

// Size is how much there is.
type Size struct {
	// Entries is the number of files, directories and links.
	Entries int64
	// Bytes is the sum of the files' lengths.
	Bytes int64
}

// Path is a store path in an image.
type Path struct {
	Path store.Path
	// Layer is the number of the layer that holds it, from 0; of several, the lowest.
	Layer int
	Size
	// NarHash is the hash of its NAR, as made again, and NarSize its length in
	// bytes. Where the layer's entries don't make a NAR, NarHash is zero and NarFault says why.
	NarHash  store.Hash
	NarSize  int64
	NarFault error
	// References are the other paths of the image that it refers to, in the order of
	// [Inventory.Paths]; filled in by [Inventory.References].
	References []*Path
}

// maxPaths bounds the store paths of one image; nixpkgs has some 100,000 packages.
const maxPaths = 1 << 18

// Read looks through the layers, lowest first.
func Read(ctx context.Context, layers []Layer) (*Inventory, error) {
	inv := &Inventory{layers: layers, byPath: map[store.Path]*Path{}}
	for i, l := range layers {
		r := &layerReader{inv: inv, layer: i}
		err := layertar.Each(ctx, l, r.entry)
		r.end()
		if err != nil {
			return nil, fmt.Errorf("layer %d: %w", i+1, err)
		}
	}
	return inv, nil
}

// Find returns the store path of that name; nil if the image hasn't it.
func (inv *Inventory) Find(p store.Path) *Path { return inv.byPath[p] }

// split says which store path an entry belongs to, and its name in it; "" if to none.
func split(name string) (p store.Path, inside string) {
	name = "/" + strings.TrimPrefix(strings.TrimPrefix(name, "./"), "/")
	for at := 1; at < len(name); {
		end := strings.IndexByte(name[at:], '/')
		if end < 0 {
			end = len(name)
		} else {
			end += at
		}
		if at > 1 && store.CheckBase(name[at:end]) == nil {
			p, err := store.ParsePath(name[:end])
			if err != nil {
				return "", ""
			}
			return p, strings.Trim(name[end:], "/")
		}
		at = end + 1
	}
	return "", ""
}

// layerReader reads one layer.
type layerReader struct {
	inv   *Inventory
	layer int
	now   *Path // whose entries come
	hash  hash.Hash
	count *counter
	nar   *nar.Writer
}

func (r *layerReader) entry(h *tar.Header, contents io.Reader) error {
	p, inside := split(h.Name)
	if p == "" {
		if h.Typeflag != tar.TypeDir {
			r.inv.Other.Entries++
			r.inv.Other.Bytes += h.Size
		}
		return nil
	}
	if r.now == nil || r.now.Path != p {
		if err := r.begin(p); err != nil {
			return err
		}
	}
	r.now.Entries++
	e := &nar.Entry{Path: []byte(inside)}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		e.Kind, e.Size, e.Executable = nar.Regular, h.Size, h.Mode&0o100 != 0
		r.now.Bytes += h.Size
	case tar.TypeDir:
		e.Kind = nar.Directory
	case tar.TypeSymlink:
		e.Kind, e.Target = nar.Symlink, []byte(h.Linkname)
	default:
		r.fault(fmt.Errorf("entry %q is of type %q, which no NAR has", h.Name, h.Typeflag))
		return nil
	}
	r.fault(r.nar.WriteEntry(e))
	if e.Kind != nar.Regular || r.now.NarFault != nil {
		return nil
	}
	_, err := io.Copy(r.nar, contents)
	return err
}

func (r *layerReader) fault(err error) {
	if err != nil && r.now.NarFault == nil {
		r.now.NarFault = err
	}
}

// begin begins a store path's entries.
func (r *layerReader) begin(p store.Path) error {
	r.end()
	r.hash = sha256.New()
	r.count = &counter{w: r.hash}
	r.nar = nar.NewWriter(r.count)
	if r.now = r.inv.byPath[p]; r.now != nil {
		r.fault(errScattered)
		return nil
	}
	if len(r.inv.Paths) == maxPaths {
		return fmt.Errorf("the image has more than %d store paths", maxPaths)
	}
	r.now = &Path{Path: p, Layer: r.layer}
	r.inv.Paths = append(r.inv.Paths, r.now)
	r.inv.byPath[p] = r.now
	return nil
}

var errScattered = errors.New("its entries aren't all in one place")

// end ends the store path whose entries came last.
func (r *layerReader) end() {
	if r.now == nil {
		return
	}
	r.fault(r.nar.Close())
	if r.now.NarFault == nil {
		r.hash.Sum(r.now.NarHash[:0])
		r.now.NarSize = r.count.n
	} else {
		r.now.NarHash, r.now.NarSize = store.Hash{}, 0
	}
	r.now = nil
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.w.Write(p)
}

// Why returns the shortest chain of references from one of the paths in from to
// the path to: both ends are in it. Nil: none of them leads there.
func (inv *Inventory) Why(from []*Path, to *Path) []*Path {
	before := map[*Path]*Path{}
	queue := slices.Clone(from)
	for _, p := range from {
		before[p] = nil
	}
	for len(queue) > 0 {
		p := queue[0]
		queue = queue[1:]
		if p == to {
			var chain []*Path
			for ; p != nil; p = before[p] {
				chain = append(chain, p)
			}
			slices.Reverse(chain)
			return chain
		}
		for _, r := range p.References {
			if _, seen := before[r]; !seen {
				before[r] = p
				queue = append(queue, r)
			}
		}
	}
	return nil
}
