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

// wish is a layer that people want, and the name of the group that wants it.
type wish struct {
	paths group
	of    string
}

// wishes returns the layers of image i that people want.
func (g *graph) wishes(i int, wanted []Group) []wish {
	var out []wish
	var taken []group
	for _, w := range wanted {
		l := g.meant(i, g.without(i, taken), w)
		layers := []group{l}
		switch {
		case len(l) == 0:
			continue
		case w.Split:
			layers = planOnePerPath(g, i, l, 0, Options{})
		}
		for _, l := range layers {
			out = append(out, wish{l, w.Name})
		}
		taken = append(taken, l)
	}
	return out
}

// groups returns, by image, the layers that people want.
func (g *graph) groups(wanted []Group, maxLayers int) ([][]group, error) {
	for _, w := range wanted {
		if err := w.Check(); err != nil {
			return nil, fmt.Errorf("group %s: %w", w.Name, err)
		}
	}
	out := make([][]group, len(g.images))
	for i := range g.images {
		for _, w := range g.wishes(i, wanted) {
			out[i] = append(out[i], w.paths)
		}
		n, rest := len(out[i]), ""
		if len(g.without(i, out[i])) > 0 {
			n, rest = n+1, " and the rest one more"
		}
		if n > maxLayers {
			return nil, fmt.Errorf("%s: the groups want %d layers%s, but max_layers is %d", g.images[i].where, len(out[i]), rest, maxLayers)
		}
	}
	return out, nil
}

// IdleGroups returns the names of those of groups that mean no path of any image, or none that no group before
// them means: most often a package is named otherwise than people think.
func IdleGroups(images []Image, groups []Group) ([]string, error) {
	g, err := newGraph(images)
	if err != nil {
		return nil, err
	}
	means := map[string]bool{}
	for i := range g.images {
		for _, w := range g.wishes(i, groups) {
			means[w.of] = true
		}
	}
	var idle []string
	for _, w := range groups {
		if !means[w.Name] {
			idle = append(idle, w.Name)
		}
	}
	return idle, nil
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
