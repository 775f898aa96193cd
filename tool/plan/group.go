package plan

import (
	"errors"
	"fmt"
	patterns "path"
	"slices"
)

// Group is what people want to lie together. In each image, the paths that it
// means and no group before it are one layer, or one each. Exactly one of Packages and Below is set.
type Group struct {
	// Name names it in errors.
	Name string
	// Packages are patterns of package names, as [path.Match] takes them: "python3*", "glibc".
	Packages []string
	// Below is a pattern of package names; what is meant is those paths and all that nothing else
	// in the image needs: what would be gone with them.
	Below string
	// Split gives each of the paths a layer of its own.
	Split bool
}

// Check says what is wrong with the group.
func (w Group) Check() error {
	all := w.Packages
	if w.Below != "" {
		all = append(slices.Clone(all), w.Below)
	}
	if len(w.Packages) > 0 == (w.Below != "") {
		return errors.New("want one of packages and below")
	}
	for _, p := range all {
		if _, err := patterns.Match(p, ""); err != nil || p == "" {
			return fmt.Errorf("%q is no pattern: want a package's name with * and ? and [a-z] in it", p)
		}
	}
	return nil
}

// groups returns, by image, the layers that people want.
func (g *graph) groups(wanted []Group, maxLayers int) ([][]group, error) {
	out := make([][]group, len(g.images))
	for _, w := range wanted {
		if err := w.Check(); err != nil {
			return nil, fmt.Errorf("group %s: %w", w.Name, err)
		}
	}
	for i := range g.images {
		for _, w := range wanted {
			free := g.without(i, out[i])
			l := g.meant(i, free, w)
			switch {
			case len(l) == 0:
			case w.Split:
				out[i] = append(out[i], planOnePerPath(g, i, l, 0, Options{})...)
			default:
				out[i] = append(out[i], l)
			}
		}
		n := len(out[i])
		if len(g.without(i, out[i])) > 0 {
			n++
		}
		if n > maxLayers {
			return nil, fmt.Errorf("%s: the groups want %d layers and the rest one more, but max_layers is %d", g.images[i].where, len(out[i]), maxLayers)
		}
	}
	return out, nil
}

// meant returns which of the free paths of an image a group means.
func (g *graph) meant(image int, free group, w Group) group {
	matches := func(x int32, of ...string) bool {
		return slices.ContainsFunc(of, func(p string) bool {
			ok, _ := patterns.Match(p, g.paths[x].Package)
			return ok
		})
	}
	var out group
	if w.Below == "" {
		for _, x := range free {
			if matches(x, w.Packages...) {
				out = append(out, x)
			}
		}
		return out
	}
	// What can be reached from the roots without passing one that matches, stays.
	stays := map[int32]bool{}
	var visit func(x int32)
	var todo []int32
	visit = func(x int32) {
		if !stays[x] && !matches(x, w.Below) {
			stays[x] = true
			todo = append(todo, x)
		}
	}
	for _, r := range g.images[image].roots {
		visit(r)
	}
	for len(todo) > 0 {
		x := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, r := range g.refs[x] {
			visit(r)
		}
	}
	for _, x := range free {
		if !stays[x] {
			out = append(out, x)
		}
	}
	return out
}
