package plan

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strings"

	"github.com/rules-strata/rules_strata/tool/store"
)

// bitset is a set of small numbers. All sets of one kind have the same length.
type bitset []uint64

func newBitset(n int) bitset { return make(bitset, (n+63)/64) }

func (b bitset) add(i int)    { b[i>>6] |= 1 << (i & 63) }
func (b bitset) remove(i int) { b[i>>6] &^= 1 << (i & 63) }

func (b bitset) has(i int) bool { return b[i>>6]&(1<<(i&63)) != 0 }

func (b bitset) addAll(o bitset) {
	for i, w := range o {
		b[i] |= w
	}
}

func (b bitset) removeAll(o bitset) {
	for i, w := range o {
		b[i] &^= w
	}
}

func (b bitset) and(o bitset) bitset {
	out := make(bitset, len(b))
	for i, w := range o {
		out[i] = b[i] & w
	}
	return out
}

func (b bitset) or(o bitset) bitset {
	out := slices.Clone(b)
	out.addAll(o)
	return out
}

func (b bitset) empty() bool {
	for _, w := range b {
		if w != 0 {
			return false
		}
	}
	return true
}

// countAnd counts what is in all three.
func (b bitset) countAnd(o, p bitset) int {
	n := 0
	for i, w := range b {
		n += bits.OnesCount64(w & o[i] & p[i])
	}
	return n
}

// holds reports whether all of o is in b.
func (b bitset) holds(o bitset) bool {
	for i, w := range o {
		if w&^b[i] != 0 {
			return false
		}
	}
	return true
}

// key is a string that is the same for the same set.
func (b bitset) key() string {
	out := make([]byte, 0, 8*len(b))
	for _, w := range b {
		out = binary.LittleEndian.AppendUint64(out, w)
	}
	return string(out)
}

// each calls f with each number, in ascending order.
func (b bitset) each(f func(int)) {
	for i, w := range b {
		for ; w != 0; w &= w - 1 {
			f(i<<6 + bits.TrailingZeros64(w))
		}
	}
}

// group is a set of paths by their numbers in a graph, in ascending order: what becomes a layer.
type group []int32

// graph is what all images hold. A path's number is its place in paths, where
// references come before what refers to them; the order depends on the paths alone.
type graph struct {
	paths  []Path // with Package and Version
	number map[store.Path]int32
	refs   [][]int32
	images []graphImage
	// users are the images that hold a path.
	users []bitset
}

type graphImage struct {
	root, system string
	where        string  // in errors
	roots        []int32 // ascending
	paths        []int32 // ascending
}

func newGraph(images []Image) (*graph, error) {
	byPath := map[store.Path]*Path{}
	var total int64
	for _, image := range images {
		where := image.where()
		seen := make(map[store.Path]bool, len(image.Closure))
		for i := range image.Closure {
			p := &image.Closure[i]
			switch other := byPath[p.Path]; {
			case p.NarSize < 0 || p.NarSize > maxNarSize:
				return nil, fmt.Errorf("%s: %s: NarSize %d: want 0 to %d", where, p.Path, p.NarSize, int64(maxNarSize))
			case seen[p.Path]:
				return nil, fmt.Errorf("%s: %s is in the closure twice", where, p.Path)
			case other != nil && other.NarSize != p.NarSize:
				return nil, fmt.Errorf("%s: %s: NarSize %d, but %d in another image", where, p.Path, p.NarSize, other.NarSize)
			case other == nil:
				byPath[p.Path] = p
				if total += p.NarSize; total > maxTotal {
					return nil, fmt.Errorf("%s: %s: with it the paths have %d bytes: want at most %d", where, p.Path, total, int64(maxTotal))
				}
			}
			seen[p.Path] = true
		}
		for _, p := range image.Closure {
			for _, r := range p.References {
				if !seen[r] {
					return nil, fmt.Errorf("%s: %s refers to %s, which is not in the closure", where, p.Path, r)
				}
			}
		}
		for _, r := range image.Roots {
			if !seen[r] {
				return nil, fmt.Errorf("%s: %s is not in the closure", where, r)
			}
		}
	}
	g := &graph{paths: make([]Path, 0, len(byPath)), refs: make([][]int32, 0, len(byPath))}
	if err := g.add(byPath); err != nil {
		return nil, err
	}
	g.users = make([]bitset, len(g.paths))
	for x := range g.users {
		g.users[x] = newBitset(len(images))
	}
	for i, image := range images {
		gi := graphImage{root: image.Root, system: image.System, where: image.where()}
		referred := map[int32]bool{}
		for _, p := range image.Closure {
			x := g.number[p.Path]
			gi.paths = append(gi.paths, x)
			g.users[x].add(i)
			for _, r := range g.refs[x] {
				referred[r] = true
			}
		}
		slices.Sort(gi.paths)
		for _, r := range image.Roots {
			gi.roots = append(gi.roots, g.number[r])
		}
		if image.Roots == nil {
			for _, x := range gi.paths {
				if !referred[x] {
					gi.roots = append(gi.roots, x)
				}
			}
		}
		slices.Sort(gi.roots)
		g.images = append(g.images, gi)
	}
	return g, nil
}

// add gives all paths their numbers.
func (g *graph) add(byPath map[store.Path]*Path) error {
	const busy = -1
	number := make(map[store.Path]int32, len(byPath))
	g.number = number
	// A stack of our own: a closure may be as deep as it is large.
	type frame struct {
		path *Path
		refs []store.Path // those not looked at yet
	}
	for _, start := range slices.Sorted(maps.Keys(byPath)) {
		if _, done := number[start]; done {
			continue
		}
		stack := []frame{{byPath[start], sorted(byPath[start].References)}}
		number[start] = busy
		for len(stack) > 0 {
			f := &stack[len(stack)-1]
			if len(f.refs) > 0 {
				r := f.refs[0]
				f.refs = f.refs[1:]
				n, seen := number[r]
				switch {
				case !seen:
					number[r] = busy
					stack = append(stack, frame{byPath[r], sorted(byPath[r].References)})
				case n == busy && r != f.path.Path:
					return fmt.Errorf("%s refers to %s, which needs it: %w", f.path.Path, r, errCycle)
				}
				continue
			}
			p := f.path.named()
			refs := make([]int32, 0, len(p.References))
			for _, r := range p.References {
				if r != p.Path {
					refs = append(refs, number[r])
				}
			}
			slices.Sort(refs)
			number[p.Path] = int32(len(g.paths))
			g.paths = append(g.paths, p)
			g.refs = append(g.refs, slices.Compact(refs))
			stack = stack[:len(stack)-1]
		}
	}
	return nil
}

func sorted(paths []store.Path) []store.Path {
	out := slices.Clone(paths)
	slices.Sort(out)
	return out
}

// layer names a group.
func (g *graph) layer(l group) Layer {
	paths := make([]Path, len(l))
	for i, x := range l {
		paths[i] = g.paths[x]
	}
	return newLayer(paths)
}

func (g *graph) size(l group) int64 {
	var n int64
	for _, x := range l {
		n += g.paths[x].NarSize
	}
	return n
}

// without returns the paths of image i that are in none of the groups.
func (g *graph) without(i int, groups []group) group {
	in := map[int32]bool{}
	for _, l := range groups {
		for _, x := range l {
			in[x] = true
		}
	}
	var rest group
	for _, x := range g.images[i].paths {
		if !in[x] {
			rest = append(rest, x)
		}
	}
	return rest
}

// byName orders paths by what follows the hash, so that a new hash doesn't change the order of two paths, then by the whole.
func (g *graph) byName(a, b int32) int {
	p, q := g.paths[a].Path, g.paths[b].Path
	return cmp.Or(strings.Compare(p.Name(), q.Name()), strings.Compare(string(p), string(q)))
}

// below are the closures of some paths of a graph.
type below struct {
	place map[int32]int // a path's place in paths
	paths []int32       // ascending: references first
	sets  []bitset      // by place: places of what the path needs, itself among them
}

func (g *graph) below(paths group) *below {
	b := &below{place: make(map[int32]int, len(paths)), paths: paths, sets: make([]bitset, len(paths))}
	for i, x := range paths {
		b.place[x] = i
		set := newBitset(len(paths))
		set.add(i)
		for _, r := range g.refs[x] {
			if j, ok := b.place[r]; ok {
				set.addAll(b.sets[j])
			}
		}
		b.sets[i] = set
	}
	return b
}

// above turns the closures round: by place, the places of what needs a path, itself among it.
func (b *below) above() []bitset {
	up := make([]bitset, len(b.paths))
	for i := range up {
		up[i] = newBitset(len(b.paths))
	}
	for i, set := range b.sets {
		set.each(func(j int) { up[j].add(i) })
	}
	return up
}
