package graph

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/rules-strata/rules_strata/tool/narinfo"
	"github.com/rules-strata/rules_strata/tool/store"
)

const (
	// MaxSize bounds a graph, in bytes: 100,000 store paths as nix path-info writes them come to some 50 MB.
	MaxSize = 64 << 20
	// MaxPaths bounds the store paths of a graph.
	MaxPaths = 1 << 18
)

// Graph is what a file says. It has Nodes or Outputs, never both and never neither.
type Graph struct {
	// Nodes are the store paths with their references, all in one store
	// directory. No two refer to each other, directly or not. A references graph
	// and a registration are closed: each reference is a node. What nix path-info
	// says need not be (it lists a closure only with -r).
	Nodes map[store.Path]*Node
	// Outputs are what nix build has built, in the file's order.
	Outputs []Output

	order []store.Path // see Order
}

// Node is what a graph says of one store path.
type Node struct {
	Path store.Path
	// References are the paths that this one refers to, maybe itself: sorted, each once.
	References []store.Path
	// NarHash is that of the NAR; zero in a references graph, which has none.
	NarHash store.Hash
	// NarSize is that of the NAR, in bytes; 0 if it isn't said.
	NarSize int64
	// Deriver is the base name of the derivation; "" if it isn't said.
	Deriver string
	// CA is the content address as narinfo files write it; "" if it isn't said.
	CA string
	// Signatures are those that the store has; only nix path-info tells them.
	Signatures []narinfo.Signature
}

// Output is a store path that nix build names.
type Output struct {
	// Name is the output's, such as "out"; "" for a store path that was built as such, not as a derivation's output.
	Name string
	Path store.Path
}

// Read reads the file at path. Its errors name it.
func Read(path string) (*Graph, error) {
	in, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	b, err := io.ReadAll(io.LimitReader(in, MaxSize+1))
	if err != nil {
		return nil, err
	}
	g, err := Parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return g, nil
}

// Tops returns the paths that no other path of the graph refers to, sorted; at
// least one. Of nix build's JSON these are all outputs.
func (g *Graph) Tops() []store.Path {
	tops := map[store.Path]bool{}
	for _, o := range g.Outputs {
		tops[o.Path] = true
	}
	for p := range g.Nodes {
		tops[p] = true
	}
	for p, n := range g.Nodes {
		for _, r := range n.References {
			if r != p {
				delete(tops, r)
			}
		}
	}
	return slices.Sorted(maps.Keys(tops))
}

// Order returns the nodes so that each comes behind those that it refers to. It
// is the same for the same graph, in whatever order and form it was written.
func (g *Graph) Order() []store.Path { return slices.Clone(g.order) }

// StoreDir is the store directory of all paths.
func (g *Graph) StoreDir() string {
	if len(g.Outputs) > 0 {
		return g.Outputs[0].Path.Dir()
	}
	return g.order[0].Dir()
}

// builder makes a graph of what a file says, piece by piece.
type builder struct {
	g       Graph
	dir     string                               // of the first path
	at      map[store.Path]func(err error) error // puts the place where the path is said before err
	outputs map[Output]bool
}

func newBuilder() *builder {
	return &builder{g: Graph{Nodes: map[store.Path]*Node{}}, at: map[store.Path]func(error) error{}, outputs: map[Output]bool{}}
}

// path reads a store path, which must be in the store directory of those before it.
func (b *builder) path(s string) (store.Path, error) {
	p, err := store.ParsePath(s)
	if err != nil {
		return "", err
	}
	if b.dir == "" {
		b.dir = p.Dir()
	}
	if p.Dir() != b.dir {
		return "", fmt.Errorf("want paths of one store directory; %s is not in %s", p, b.dir)
	}
	return p, nil
}

// node adds a node that is said at a place. The same node may be said twice, as
// where two graphs were put into one file.
func (b *builder) node(n *Node, at func(error) error) error {
	slices.Sort(n.References)
	n.References = slices.Compact(n.References)
	if before := b.g.Nodes[n.Path]; before != nil {
		if !equal(before, n) {
			return at(fmt.Errorf("%s is there twice, and otherwise the first time", n.Path))
		}
		return nil
	}
	if len(b.g.Nodes) == MaxPaths {
		return at(fmt.Errorf("more than %d store paths", MaxPaths))
	}
	b.g.Nodes[n.Path], b.at[n.Path] = n, at
	return nil
}

func equal(a, b *Node) bool {
	return a.NarHash == b.NarHash && a.NarSize == b.NarSize && a.Deriver == b.Deriver && a.CA == b.CA &&
		slices.Equal(a.References, b.References) &&
		slices.EqualFunc(a.Signatures, b.Signatures, func(s, t narinfo.Signature) bool { return s.String() == t.String() })
}

// output adds an output, once.
func (b *builder) output(o Output) error {
	if b.outputs[o] {
		return nil
	}
	if len(b.outputs) == MaxPaths {
		return fmt.Errorf("more than %d store paths", MaxPaths)
	}
	b.outputs[o] = true
	b.g.Outputs = append(b.g.Outputs, o)
	return nil
}

// finish checks the whole.
func (b *builder) finish(closed bool) (*Graph, error) {
	g := &b.g
	switch {
	case len(g.Nodes) > 0 && len(g.Outputs) > 0:
		return nil, errors.New("want what nix path-info says or what nix build says, found both in one list")
	case len(g.Nodes) == 0 && len(g.Outputs) == 0:
		return nil, errors.New("it names no store path")
	}
	sorted := slices.Sorted(maps.Keys(g.Nodes))
	if closed {
		for _, p := range sorted {
			for _, r := range g.Nodes[p].References {
				if g.Nodes[r] == nil {
					return nil, b.at[p](fmt.Errorf("%s refers to %s, which isn't in the graph: it is cut, or not of a whole closure", p, r))
				}
			}
		}
	}
	if err := b.sort(sorted); err != nil {
		return nil, err
	}
	return g, nil
}

// sort fills in g.order: depth first, without recursion, since a chain of references may be long.
func (b *builder) sort(sorted []store.Path) error {
	g := &b.g
	const (
		open = 1 + iota // on the stack, and so is all that led here
		done
	)
	type frame struct {
		path store.Path
		next int // the reference to look at next
	}
	state := make(map[store.Path]int, len(sorted))
	var stack []frame
	for _, top := range sorted {
		if state[top] == 0 {
			state[top] = open
			stack = append(stack, frame{path: top})
		}
		for len(stack) > 0 {
			f := &stack[len(stack)-1]
			refs := g.Nodes[f.path].References
			if f.next == len(refs) {
				state[f.path] = done
				g.order = append(g.order, f.path)
				stack = stack[:len(stack)-1]
				continue
			}
			r := refs[f.next]
			f.next++
			switch {
			case r == f.path || g.Nodes[r] == nil:
			case state[r] == open:
				return b.at[f.path](fmt.Errorf("%s refers to %s, which refers to it, directly or not: a store can't hold such paths", f.path, r))
			case state[r] == 0:
				state[r] = open
				stack = append(stack, frame{path: r})
			}
		}
	}
	return nil
}
