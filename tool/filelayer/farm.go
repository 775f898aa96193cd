package filelayer

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/rules-strata/rules_strata/tool/layer"
	"github.com/rules-strata/rules_strata/tool/nar"
	"github.com/rules-strata/rules_strata/tool/store"
)

// rootObject is a store path, by its NAR.
type rootObject struct {
	path store.Path
	*object
}

// object is what is at one place in a store path.
type object struct {
	kind       nar.Kind
	executable bool
	target     string
	size       int64
	contents   contents           // of a file that is to be copied
	children   map[string]*object // of a directory
}

// readRoots reads the NARs of all store paths that entries are about.
func (g *gatherer) readRoots() error {
	g.roots = map[store.Path]*rootObject{}
	copied := map[store.Path]bool{}
	for _, e := range g.spec.Entries {
		copied[e.Root] = copied[e.Root] || e.Type == TypeCopies
	}
	for _, n := range g.nars {
		root, err := g.readRoot(n, copied[n.File.StorePath])
		if err != nil {
			return err
		}
		g.roots[root.path] = root
	}
	return nil
}

// readRoot reads a NAR, and keeps the files' contents if they are to be copied.
func (g *gatherer) readRoot(n layer.NAR, copied bool) (*rootObject, error) {
	root := &rootObject{path: n.File.StorePath}
	entries := 0
	return root, layer.ReadNAR(g.ctx, n, func(e *nar.Entry, r io.Reader) (err error) {
		if entries++; entries > MaxEntries {
			return fmt.Errorf("over %d files", MaxEntries)
		}
		o := &object{kind: e.Kind, executable: e.Executable, target: string(e.Target), size: e.Size}
		if o.kind == nar.Directory {
			o.children = map[string]*object{}
		}
		if len(e.Path) == 0 {
			root.object = o
		} else {
			dir, name := splitPath(string(e.Path))
			root.at(dir).children[name] = o // A NAR has the directory before what is in it.
		}
		if o.kind == nar.Regular && copied {
			o.contents, err = g.keep(r, o.size)
		}
		return err
	})
}

// maxFollowed bounds the store paths that symlinks are followed into.
const maxFollowed = 256

// outside follows a symlink that leads out of its store path, over others if need be, to a directory; not ok: it leads to none
// that there is.
func (g *gatherer) outside(p part) (part, bool) {
	if g.src.Follow == nil || p.e.Type != TypeLinks {
		return p, false
	}
	for range maxLinks {
		o := p.root.at(p.path)
		if o == nil || o.kind != nar.Symlink {
			return p, false
		}
		dir := p.root.path.Dir() + "/"
		rest, ok := strings.CutPrefix(o.target, dir)
		base, path, _ := strings.Cut(rest, "/")
		to, err := store.ParsePath(dir + base)
		if !ok || err != nil {
			return p, false
		}
		if p.root = g.followed(to); p.root == nil || p.root.kind != nar.Directory {
			return p, false
		}
		p.path = path
		if at, o := p.root.resolve(path); o != nil {
			p.path, p.object = at, o
			return p, o.kind == nar.Directory
		}
	}
	return p, false
}

// followed returns a store path that a symlink leads to; nil if it isn't to be had.
func (g *gatherer) followed(p store.Path) *rootObject {
	if root, ok := g.roots[p]; ok {
		return root
	}
	if len(g.roots) >= maxFollowed {
		return nil
	}
	var root *rootObject
	if n, ok := g.src.Follow(p); ok {
		if err := layer.Retry([]layer.NAR{n}, func() (err error) {
			root, err = g.readRoot(n, false)
			return err
		}); err != nil {
			g.fault(err)
			root = nil
		}
	}
	g.roots[p] = root
	return root
}

// at returns what is at path, no symlink followed; nil if there is nothing.
func (o *object) at(path string) *object {
	if path == "" {
		return o
	}
	for name := range strings.SplitSeq(path, "/") {
		if o = o.children[name]; o == nil {
			return nil
		}
	}
	return o
}

// maxLinks is how many symlinks are followed on one way, as Linux does.
const maxLinks = 40

// resolve follows symlinks, also in the middle of path, as long as they stay in the store path. It returns where the way
// ends, and what is there; nil if that is outside or nowhere.
func (r *rootObject) resolve(path string) (string, *object) {
	links := 0
	var done []string
	todo := strings.Split(path, "/")
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			if len(done) == 0 {
				return "", nil
			}
			done = done[:len(done)-1]
			continue
		}
		o := r.at(strings.Join(append(done, name), "/"))
		if o == nil {
			return "", nil
		}
		if o.kind != nar.Symlink {
			done = append(done, name)
			continue
		}
		if links++; links > maxLinks {
			return "", nil
		}
		target := o.target
		if strings.HasPrefix(target, "/") {
			rest, ok := strings.CutPrefix(target+"/", string(r.path)+"/")
			if !ok {
				return "", nil
			}
			target, done = rest, nil
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	path = strings.Join(done, "/")
	return path, r.at(path)
}

// part is what one store path has for a place in the image.
type part struct {
	e    *Entry
	root *rootObject
	path string // in the store path
	*object
}

// farms merges the trees that entries link or copy, all of them together: a directory that several have is one, with
// what each has in it.
func (g *gatherer) farms() {
	at := map[string][]part{}
	found := map[string]bool{}
	missing := map[string]string{}
	for i := range g.spec.Entries {
		e := &g.spec.Entries[i]
		if e.Type != TypeLinks && e.Type != TypeCopies {
			continue
		}
		root := g.roots[e.Root]
		if root.kind != nar.Directory {
			g.fault(&FileError{e.by(), e.Root})
			continue
		}
		subdirs := e.Subdirs
		if len(subdirs) == 0 {
			subdirs = []string{""}
		}
		for _, sub := range subdirs {
			// A place above which a symlink stands, as bin in sbin -> bin, is that directory.
			path, o := root.resolve(sub)
			if o == nil {
				missing[sub] = joinText(missing[sub], fmt.Sprintf("%s (%s)", e.Root, e.by()))
				continue
			}
			found[sub] = true
			to := joinPath(e.Path, sub)
			at[to] = append(at[to], part{e, root, path, o})
		}
	}
	for _, sub := range slices.Sorted(maps.Keys(missing)) {
		if !found[sub] {
			g.fault(fmt.Errorf("subdirs: %q is in none of the store paths: %s", sub, missing[sub]))
		}
	}
	for _, to := range slices.Sorted(maps.Keys(at)) {
		parts := at[to]
		if g.spec.Collisions == CollisionsLast {
			slices.Reverse(parts)
		}
		g.merge(to, parts)
	}
}

// FileError says that links are wanted to all that is in a store path, which is a file.
type FileError struct {
	// By says who wants them.
	By   string
	Root store.Path
}

// Error says what to do instead.
func (e *FileError) Error() string {
	return fmt.Sprintf("%s: %s is a file, no directory; an entry of type %q can link to it", e.By, e.Root, TypeSymlink)
}

func joinText(a, b string) string {
	if a == "" {
		return b
	}
	return a + ", " + b
}

// merge adds what is to be at path; of parts that can't be there together the first one counts, unless collisions are errors.
func (g *gatherer) merge(path string, parts []part) {
	if path != "" && g.excluded(path) {
		return
	}
	first := parts[0]
	dirs, others := g.directories(path, parts)
	switch {
	case len(dirs) == 0:
		for _, p := range others[1:] {
			if !g.chooses() && g.leadsTo(p) != g.leadsTo(first) {
				g.clash(path, first, p)
				return
			}
		}
		g.leaf(path, first)
		return
	case len(others) > 0 && !g.chooses():
		g.clash(path, dirs[0], others[0])
		return
	case len(others) > 0 && others[0].e == first.e:
		g.leaf(path, first)
		return
	}
	if path != "" {
		g.add(&node{path: path, kind: layer.TypeDirectory, mode: modeDirectory, rank: rankPlain, by: dirs[0].by(), from: dirs[0].e})
	}
	names := map[string][]part{}
	for _, d := range dirs {
		for name, o := range d.children {
			names[name] = append(names[name], part{d.e, d.root, joinPath(d.path, name), o})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		g.merge(joinPath(path, name), names[name])
	}
}

// directories parts those that are directories from the others. Where there is one, a symlink to a directory is one too,
// with what is in the directory that it leads to: sbin -> bin in one store path, and a directory sbin in another.
func (g *gatherer) directories(at string, parts []part) (dirs, others []part) {
	isDir := func(p part) bool { return p.kind == nar.Directory }
	beside := slices.ContainsFunc(parts, isDir)
	for _, p := range parts {
		if p.kind == nar.Symlink && beside {
			if path, o := p.root.resolve(p.path); o != nil && o.kind == nar.Directory {
				p.path, p.object = path, o
			}
		}
		if p.kind == nar.Symlink && (beside || !strings.Contains(at, "/")) {
			if to, ok := g.outside(p); ok {
				p = to
			}
		}
		if isDir(p) {
			dirs = append(dirs, p)
		} else {
			others = append(others, p)
		}
	}
	return dirs, others
}

// chooses reports whether an option says which of several is taken.
func (g *gatherer) chooses() bool {
	return g.spec.Collisions == CollisionsFirst || g.spec.Collisions == CollisionsLast
}

func (g *gatherer) clash(path string, a, b part) {
	g.fault(fmt.Errorf("%s is in two store paths: %s and %s; say which by collisions = %q or %q, or leave it out",
		path, a.by(), b.by(), CollisionsFirst, CollisionsLast))
}

// by is the store path, with who wants it.
func (p part) by() string { return fmt.Sprintf("%s (%s)", p.root.path, p.e.by()) }

// leadsTo is where in the store a link to p leads in the end, as far as the store paths at hand show: a profile's link to
// a program is that program.
func (g *gatherer) leadsTo(p part) string {
	root, path := p.root, p.path
	for range maxLinks {
		if at, o := root.resolve(path); o != nil {
			return string(root.path) + "/" + at
		}
		o := root.at(path)
		if o == nil || o.kind != nar.Symlink || !strings.HasPrefix(o.target, "/") {
			break
		}
		next := g.rootOf(o.target)
		if next == nil {
			return o.target
		}
		root, path = next, strings.TrimPrefix(o.target, string(next.path)+"/")
	}
	return string(root.path) + "/" + path
}

// rootOf is the store path at hand that a place in the store is in; nil: none.
func (g *gatherer) rootOf(place string) *rootObject {
	for p, root := range g.roots {
		if root != nil && strings.HasPrefix(place, string(p)+"/") {
			return root
		}
	}
	return nil
}

// leaf adds a link to a file or symlink of a store path, or a copy of it.
func (g *gatherer) leaf(path string, p part) {
	n := &node{path: path, kind: layer.TypeSymlink, mode: modeSymlink, by: p.by(), from: p.e}
	switch {
	case p.e.Type == TypeLinks:
		n.target = string(p.root.path) + "/" + p.path
	case p.kind == nar.Symlink:
		n.target = p.target
	default:
		n.kind, n.mode, n.contents, n.size = layer.TypeRegular, 0o444, p.contents, p.size
		if p.executable {
			n.mode = 0o555
		}
	}
	g.add(n)
}

// program adds a symlink at path to the first of candidates that e's store path has.
func (g *gatherer) program(e *Entry, path string, candidates ...string) error {
	for _, c := range candidates {
		if g.roots[e.Root].has(c) {
			g.link(e, path, c)
			return nil
		}
	}
	return fmt.Errorf("%s has none of %s", e.Root, strings.Join(candidates, ", "))
}

// has reports whether there is something at path, be it behind symlinks that lead out of the store path.
func (r *rootObject) has(path string) bool {
	if r.object == nil || r.kind != nar.Directory {
		return false
	}
	if r.at(path) != nil {
		return true
	}
	_, o := r.resolve(path)
	return o != nil
}

// link adds a symlink to what e's store path has at target, "" for itself.
func (g *gatherer) link(e *Entry, path, target string) {
	to := string(e.Root)
	if target != "" {
		to += "/" + target
	}
	g.add(&node{path: path, kind: layer.TypeSymlink, mode: modeSymlink, target: to, by: e.by(), from: e})
}
