package roots

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/rules-strata/rules_strata/tool/graph"
	"github.com/rules-strata/rules_strata/tool/project"
	"github.com/rules-strata/rules_strata/tool/store"
)

// lookInFile gives r the path that a file names. A file is read each time, since
// it is at hand; where there is none (a build's result that isn't checked in), what the lock has stays.
func (v *resolver) lookInFile(from *project.File, r *Root) {
	r.Source = "file " + from.Path
	if from.Output != "" {
		r.Source += ", output " + from.Output
	}
	if from.Name != "" {
		r.Source += ", name " + from.Name
	}
	g, err := v.graph(from.FileIn(v.o.Dir))
	switch {
	case err == nil:
		if r.Path, err = choose(g, from); err != nil {
			v.fail(r, "", fmt.Errorf("%s: %w", from.Path, err))
		}
	case !errors.Is(err, fs.ErrNotExist):
		v.fail(r, "", err)
	case !v.keep(r):
		v.fail(r, "make the file first: nix build --json … > "+from.Path, err)
	}
}

// graph reads a file once.
func (v *resolver) graph(file string) (*graph.Graph, error) {
	if g := v.graphs[file]; g != nil {
		return g, nil
	}
	// Looked at before it is opened: opening a pipe would wait for a writer.
	if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: it is no regular file", file)
	}
	g, err := graph.Read(file)
	if err == nil {
		v.graphs[file] = g
	}
	return g, err
}

// candidate is a store path that a file may mean.
type candidate struct {
	path   store.Path
	output string // "" where the file tells none
}

func (c candidate) String() string {
	if c.output == "" {
		return c.path.String()
	}
	return fmt.Sprintf("%s (output %s)", c.path, c.output)
}

// choose returns the store path that f means of those in g: the output of what
// nix build made, or the one that no other refers to.
func choose(g *graph.Graph, f *project.File) (store.Path, error) {
	var all []candidate
	for _, o := range g.Outputs {
		all = append(all, candidate{o.Path, o.Name})
	}
	if len(all) == 0 {
		for _, p := range g.Tops() {
			all = append(all, candidate{path: p})
		}
	}
	found := all
	if f.Name != "" {
		found = named(found, f.Name)
		if len(found) == 0 { // One may want what others refer to, if one says so.
			for _, p := range g.Order() {
				found = append(found, named([]candidate{{path: p}}, f.Name)...)
			}
		}
	}
	found = slices.DeleteFunc(slices.Clone(found), func(c candidate) bool {
		if f.Output != "" {
			return c.output != f.Output
		}
		return isBeside(c, found)
	})
	switch distinct(found) {
	case 1:
		return found[0].path, nil
	case 0:
		return "", &choiceError{all: all, none: true}
	}
	return "", &choiceError{all: found}
}

// isBeside reports whether c is an output beside a main one among all: Nix names it so.
func isBeside(c candidate, all []candidate) bool {
	return c.output != "" && slices.ContainsFunc(all, func(main candidate) bool {
		return main.output == "out" && c.path.Name() == main.path.Name()+"-"+c.output
	})
}

// named returns the candidates of that name: their whole name, or else that without version.
func named(all []candidate, name string) []candidate {
	var whole, base []candidate
	for _, c := range all {
		if n, _ := store.SplitName(c.path.Name()); n == name {
			base = append(base, c)
		}
		if c.path.Name() == name {
			whole = append(whole, c)
		}
	}
	if len(whole) > 0 {
		return whole
	}
	return base
}

func distinct(all []candidate) int {
	seen := map[store.Path]bool{}
	for _, c := range all {
		seen[c.path] = true
	}
	return len(seen)
}

// choiceError says that a file doesn't name one store path.
type choiceError struct {
	all  []candidate
	none bool // of all that there is, nothing is what was asked for
}

const maxCandidates = 10

func (e *choiceError) Error() string {
	var texts []string
	for _, c := range e.all[:min(len(e.all), maxCandidates)] {
		texts = append(texts, c.String())
	}
	list := strings.Join(texts, ", ")
	if more := len(e.all) - maxCandidates; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	if e.none {
		return "nothing in it has that name and output; there are " + list
	}
	return fmt.Sprintf("it names %d store paths that may be meant: %s", len(e.all), list)
}

func (e *choiceError) Hint() string {
	for _, c := range e.all {
		if c.output != "" {
			return fmt.Sprintf(`choose one by "output": %q, or by "name": %q`, c.output, e.all[0].path.Name())
		}
	}
	return fmt.Sprintf(`choose one by "name": %q`, e.all[0].path.Name())
}
