package filelayer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rules-strata/rules_strata/tool/layer"
	"github.com/rules-strata/rules_strata/tool/store"
)

// MaxEntries bounds how many entries a layer may have, since all their names are held in memory.
const MaxEntries = 1 << 20

// maxNames bounds these names together, in bytes.
const maxNames = 256 << 20

// maxFaults is how many faults are told at once.
const maxFaults = 10

// Modes of what says nothing of its own.
const (
	modeFile      = 0o644
	modeProgram   = 0o755
	modeDirectory = 0o755
	modeSymlink   = 0o777
)

// conventional are the modes of directories that every system has; where they are made only because something is in
// them, they are made as all expect them.
var conventional = map[string]uint16{
	"tmp":     0o1777,
	"var/tmp": 0o1777,
	"root":    0o700,
}

// gatherer makes nodes out of entries.
type gatherer struct {
	ctx   context.Context
	spec  *Spec
	src   Sources
	nars  []layer.NAR
	nodes map[string]*node
	names int64 // bytes

	used   map[string]bool // what of the options was of use, by unused's words
	faults []error

	files map[string]*diskFile
	roots map[store.Path]*rootObject
	temp  *tempFile
	open  []io.Closer
}

// gather returns the nodes in the order of the tar.
func (g *gatherer) gather() ([]*node, error) {
	g.nodes = map[string]*node{}
	g.used = map[string]bool{}
	g.files = map[string]*diskFile{}
	if err := g.readRoots(); err != nil {
		return nil, err
	}
	for i := range g.spec.Entries {
		e := &g.spec.Entries[i]
		if err := g.entry(e); err != nil {
			if g.ctx.Err() != nil {
				return nil, context.Cause(g.ctx)
			}
			g.fault(fmt.Errorf("%s: %w", e.by(), err))
		}
		if err := g.tooMany(); err != nil {
			return nil, err
		}
	}
	g.farms()
	g.parents()
	nodes := make([]*node, 0, len(g.nodes))
	for _, n := range g.nodes {
		nodes = append(nodes, n)
	}
	slices.SortFunc(nodes, func(a, b *node) int { return strings.Compare(a.key(), b.key()) })
	for _, n := range nodes {
		g.place(n)
	}
	for _, n := range nodes {
		g.adorn(n)
	}
	g.unused()
	if err := errors.Join(g.faults...); err != nil {
		return nil, err
	}
	if len(nodes) == 0 {
		return nil, errors.New("the layer is empty: want at least one entry")
	}
	return nodes, nil
}

// by is who wants the entry, for messages.
func (e *Entry) by() string {
	if e.By != "" {
		return e.By
	}
	return e.Type + " " + e.Path
}

func (g *gatherer) fault(err error) {
	if len(g.faults) < maxFaults {
		g.faults = append(g.faults, err)
	}
}

func (g *gatherer) tooMany() error {
	if len(g.nodes) > MaxEntries || g.names > maxNames {
		return fmt.Errorf("more than %d entries, or %d bytes of their names: make it several layers", MaxEntries, maxNames)
	}
	return nil
}

func (g *gatherer) entry(e *Entry) error {
	n := &node{path: e.Path, owner: e.Owner, by: e.by(), from: e}
	switch e.Type {
	case TypeFile:
		return g.file(e, n)
	case TypeText:
		n.kind, n.mode, n.contents, n.size = layer.TypeRegular, modeOf([]byte(e.Text)), textContents(e.Text), int64(len(e.Text))
		if e.Mode != nil {
			n.mode = *e.Mode
		}
	case TypeFolder:
		return g.folder(e)
	case TypeTar:
		return g.tar(e)
	case TypeSymlink:
		n.kind, n.mode, n.target = layer.TypeSymlink, modeSymlink, e.Target
		if e.From != "" {
			target, err := os.Readlink(g.name(e.From))
			if err != nil {
				return err
			}
			n.target = target
		}
	case TypeDirectory:
		n.kind, n.mode, n.rank = layer.TypeDirectory, modeDirectory, rankNamed
		if e.Mode != nil {
			n.mode = *e.Mode
		}
	case TypeRemove:
		dir, name := splitPath(e.Path)
		g.whiteout(n, joinPath(dir, whiteoutPrefix+name))
		return nil
	case TypeClear:
		g.whiteout(n, joinPath(e.Path, whiteoutOpaque))
		return nil
	case TypeUsers:
		return g.users(e)
	case TypeCerts:
		return g.certificates(e)
	case TypeZones:
		return g.timeZones(e)
	case TypeShell:
		return g.program(e, "bin/sh", "bin/sh", "bin/bash", "bin/dash", "bin/busybox")
	case TypeEnv:
		return g.program(e, "usr/bin/env", "bin/env")
	case TypeLinks, TypeCopies:
		return nil // All farms together: see farms.
	default:
		return fmt.Errorf("type %q: want one of %s", e.Type, strings.Join(entryTypes, ", "))
	}
	g.add(n)
	return nil
}

// name is the name of a file on disk.
func (g *gatherer) name(from string) string {
	if g.src.Dir == "" || filepath.IsAbs(from) {
		return from
	}
	return filepath.Join(g.src.Dir, from)
}

func (g *gatherer) whiteout(n *node, path string) {
	n.path, n.kind, n.contents, n.whiteout = path, layer.TypeRegular, textContents(""), true
	g.put(n)
}

// add takes a node, unless it is to be left out, to where it is to be.
func (g *gatherer) add(n *node) {
	if g.excluded(n.path) {
		return
	}
	path := n.path
	for i := range g.spec.Rename {
		r := &g.spec.Rename[i]
		to, ok := r.apply(path)
		if !ok {
			continue
		}
		g.used["rename: "+r.pattern] = true
		if to == "" && n.kind == layer.TypeDirectory {
			return // It becomes the root itself.
		}
		if fault := pathFault(to); fault != "" {
			g.fault(fmt.Errorf("%s: rename: %q makes %q of %q: want a path in the image, found %s", n.by, r.pattern, to, path, fault))
			return
		}
		n.path = to
		break
	}
	g.put(n)
}

func (g *gatherer) excluded(path string) bool {
	for i := range g.spec.Exclude {
		x := &g.spec.Exclude[i]
		for end := 0; end < len(path); {
			end++
			if end < len(path) && path[end] != '/' {
				continue
			}
			if x.Match([]byte(path[:end])) {
				g.used["exclude: "+x.String()] = true
				return true
			}
		}
	}
	return false
}

// put takes a node to its place, or finds out that another one has it.
func (g *gatherer) put(n *node) {
	if _, name := splitPath(n.path); !n.whiteout && strings.HasPrefix(name, whiteoutPrefix) {
		// In a tar such a name is meant as what runtimes take it for.
		if n.from.Type != TypeTar && !g.spec.AllowWhiteoutNames {
			g.fault(fmt.Errorf("%s: the name %q begins with .wh., which container runtimes take for an order to remove a file; use an entry of type %q, or allow such names for this layer", n.by, n.path, TypeRemove))
			return
		}
		n.whiteout = true
	}
	old := g.nodes[n.path]
	if old == nil {
		g.nodes[n.path] = n
		g.names += int64(len(n.path) + len(n.target))
		return
	}
	switch {
	case old.same(n):
		if n.rank > old.rank {
			g.nodes[n.path] = n
		}
	case old.kind == layer.TypeDirectory && n.kind == layer.TypeDirectory && old.rank != n.rank:
		if n.rank > old.rank {
			g.nodes[n.path] = n
		}
	case n.from.Type == TypeTar && old.from == n.from:
		g.nodes[n.path] = n // As for whom unpacks the tar: the last one stays.
	case g.spec.Collisions == CollisionsFirst:
	case g.spec.Collisions == CollisionsLast:
		g.nodes[n.path] = n
	default:
		g.fault(fmt.Errorf("%s is there twice: %s wants %s, %s wants %s; say which by collisions = %q or %q, or leave one out",
			n.path, old.by, old.what(), n.by, n.what(), CollisionsFirst, CollisionsLast))
	}
}

// parents adds the directories above nodes that nobody named.
func (g *gatherer) parents() {
	if g.spec.OmitParents {
		return
	}
	var above []*node
	for _, n := range g.nodes {
		if !n.whiteout { // What is removed needs no directory, and the one that it is in shall stay as it is.
			above = append(above, n)
		}
	}
	for _, n := range above {
		for dir, _ := splitPath(n.path); dir != ""; dir, _ = splitPath(dir) {
			if g.nodes[dir] != nil {
				break
			}
			mode, ok := conventional[dir]
			if !ok {
				mode = modeDirectory
			}
			g.nodes[dir] = &node{path: dir, kind: layer.TypeDirectory, mode: mode, by: n.by, from: n.from}
		}
	}
}

// place finds nodes that are below what is no directory, or that are removed at the same time.
func (g *gatherer) place(n *node) {
	for dir, _ := splitPath(n.path); dir != ""; dir, _ = splitPath(dir) {
		if d := g.nodes[dir]; d != nil && d.kind != layer.TypeDirectory {
			g.fault(fmt.Errorf("%s (%s) is below %s, which is %s (%s), no directory", n.path, n.by, dir, d.what(), d.by))
			return
		}
	}
	dir, name := splitPath(n.path)
	if !n.whiteout || name == whiteoutOpaque {
		return
	}
	path := joinPath(dir, strings.TrimPrefix(name, whiteoutPrefix))
	if other := g.nodes[path]; other != nil {
		g.fault(fmt.Errorf("%s is both removed (%s) and there (%s): an entry replaces what lower layers have of its name; of a directory's contents an entry of type %q removes what they have",
			path, n.by, other.by, TypeClear))
	}
}

// adorn sets what patterns say.
func (g *gatherer) adorn(n *node) {
	if n.whiteout {
		return
	}
	path := []byte(n.path)
	if n.kind != layer.TypeSymlink {
		for i := range g.spec.Modes {
			if r := &g.spec.Modes[i]; r.Pattern.Match(path) {
				n.mode = r.Mode
				g.used["modes: "+r.Pattern.String()] = true
			}
		}
		for i := range g.spec.Xattrs {
			if r := &g.spec.Xattrs[i]; r.Pattern.Match(path) {
				for _, x := range r.Xattrs {
					n.setXattr(x)
				}
				g.used["xattrs: "+r.Pattern.String()] = true
			}
		}
	}
	for i := range g.spec.Owners {
		if r := &g.spec.Owners[i]; r.Pattern.Match(path) {
			n.owner = &r.Owner
			g.used["owners: "+r.Pattern.String()] = true
		}
	}
	if n.kind == layer.TypeRegular {
		for i := range g.spec.Capabilities {
			if r := &g.spec.Capabilities[i]; r.Pattern.Match(path) {
				n.setXattr(layer.Xattr{Name: capabilityXattr, Value: r.Value})
				g.used["capabilities: "+r.Pattern.String()] = true
			}
		}
	}
	slices.SortFunc(n.xattrs, func(a, b layer.Xattr) int { return strings.Compare(a.Name, b.Name) })
}

func (n *node) setXattr(x layer.Xattr) {
	n.xattrs = slices.DeleteFunc(slices.Clone(n.xattrs), func(old layer.Xattr) bool { return old.Name == x.Name })
	n.xattrs = append(n.xattrs, x)
}

// unused finds patterns that are about nothing: a slip of the pen, by which a file would be without the mode that it needs.
func (g *gatherer) unused() {
	if len(g.faults) > 0 {
		return // What is missing may be why.
	}
	check := func(option, pattern, of string) {
		if !g.used[option+": "+pattern] {
			g.fault(fmt.Errorf("%s: %q matches no %s of the layer", option, pattern, of))
		}
	}
	for _, p := range g.spec.Exclude {
		check("exclude", p.String(), "entry")
	}
	for _, r := range g.spec.Rename {
		check("rename", r.pattern, "entry")
	}
	for _, r := range g.spec.Modes {
		check("modes", r.Pattern.String(), "file or directory")
	}
	for _, r := range g.spec.Owners {
		check("owners", r.Pattern.String(), "entry")
	}
	for _, r := range g.spec.Xattrs {
		check("xattrs", r.Pattern.String(), "file or directory")
	}
	for _, r := range g.spec.Capabilities {
		check("capabilities", r.Pattern.String(), "file")
	}
}

func (g *gatherer) close() {
	for _, c := range g.open {
		c.Close()
	}
	if g.temp != nil {
		g.temp.close()
	}
}
