package lock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/rules-strata/rules_strata/tool/atomicfile"
	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/plan"
	"github.com/rules-strata/rules_strata/tool/project"
	"github.com/rules-strata/rules_strata/tool/roots"
	"github.com/rules-strata/rules_strata/tool/store"
)

// Options are what [Make] needs.
type Options struct {
	// Project says what to lock.
	Project *project.Project
	// Dir is the folder that the project's relative file: URLs are relative to.
	Dir string
	// LockDir is the folder that the lock file will be in.
	LockDir string
	// Previous is the lock that is there; nil if there is none. What it says of a
	// path is kept while it holds by the project file: see the package comment. So
	// is the store path of a root that the project file doesn't name but says where to look up.
	Previous *Lock
	// Refresh says that of paths nothing is kept: the caches are asked for all.
	Refresh bool
	// Update are the names of the roots that are looked up anew; UpdateAll says all that can be.
	Update    []string
	UpdateAll bool
	// Client fetches. Its own folder must be Dir.
	Client *fetch.Client
	// Progress, if set, is told how far it is. It is called by one goroutine at a time.
	Progress func(Progress)
}

// Progress is how far [Make] is.
type Progress struct {
	// Done and Found are store paths: those of which all is known, and those that are known of.
	Done, Found int
	// Looked is how many bytes of lists and NARs were read to look roots up, before any path is found.
	Looked int64
	// Bytes is how much of files has been read whose narinfos don't say enough.
	Bytes int64
}

// PathError says what is wrong with one store path of a closure.
type PathError struct {
	Path store.Path
	Err  error
	// Advice is what may help; "" if nothing is known to.
	Advice string
}

// Error begins with the store path.
func (e *PathError) Error() string { return string(e.Path) + ": " + e.Err.Error() }

// Unwrap returns e.Err.
func (e *PathError) Unwrap() error { return e.Err }

// Hint returns e.Advice.
func (e *PathError) Hint() string { return e.Advice }

// Make asks the caches for the closures of the project's roots, checks all that
// they say, and plans the layers. The caches are asked in their order; one that
// hasn't got a path, or not with a signature that will do, leaves it to the
// next. One that fails or says nonsense is an error, so that what a lock says
// never depends on a bad day of the network.
//
// The result depends on the caches' contents and o.Previous only. So do errors: of what is wrong
// with several paths, all is told, as [PathError]s in the order of
// the paths joined by [errors.Join]; only that a cache doesn't answer ends the walk at once.
func Make(ctx context.Context, o Options) (*Lock, error) {
	if err := o.Project.Check(); err != nil {
		return nil, err
	}
	resolved, err := resolve(ctx, o)
	if err != nil {
		return nil, err
	}
	w, err := newWalk(o, resolved)
	if err != nil {
		return nil, err
	}
	if err := w.run(ctx); err != nil {
		return nil, err
	}
	l := &Lock{Roots: map[string]map[string]store.Path{}, Caches: w.cacheURLs(), Paths: w.done}
	if l.Mirrors, err = w.mirrors(); err != nil {
		return nil, err
	}
	if cycle := findCycle(l.Paths); cycle != nil {
		return nil, &PathError{Path: cycle[0], Err: errCycle(cycle)}
	}
	if err := w.measure(ctx); err != nil {
		return nil, err
	}
	for _, r := range resolved {
		put(&l.Roots, r.Name, r.System, r.Path)
		if r.Source != "" {
			put(&l.Sources, r.Name, r.System, r.Source)
		}
	}
	if l.Plan, err = plan.Make(l.PlanImages(), plan.Options{
		Strategy: o.Project.Strategy, MaxLayers: o.Project.MaxLayers, LayerCost: o.Project.LayerCost, Groups: o.Project.Groups,
		Previous: o.Previous.previousPlan(),
	}); err != nil {
		return nil, err
	}
	return l, nil
}

// put sets a value by root and system.
func put[T any](m *map[string]map[string]T, root, system string, value T) {
	if *m == nil {
		*m = map[string]map[string]T{}
	}
	if (*m)[root] == nil {
		(*m)[root] = map[string]T{}
	}
	(*m)[root][system] = value
}

// resolve returns the store paths of the project's roots.
func resolve(ctx context.Context, o Options) ([]roots.Root, error) {
	for _, name := range o.Update {
		if err := checkUpdate(o.Project, name); err != nil {
			return nil, err
		}
	}
	return roots.Resolve(ctx, o.Project, roots.Options{
		Dir: o.Dir, Client: o.Client,
		Keep: func(name, system, source string) (store.Path, bool) {
			if o.Previous == nil || o.UpdateAll || slices.Contains(o.Update, name) || o.Previous.Sources[name][system] != source {
				return "", false
			}
			path, ok := o.Previous.Roots[name][system]
			return path, ok
		},
		Progress: func(bytes int64) {
			if o.Progress != nil {
				o.Progress(Progress{Looked: bytes})
			}
		},
	})
}

// checkUpdate says why the root of that name can't be looked up anew.
func checkUpdate(p *project.Project, name string) error {
	var names []string
	known := false
	for _, r := range p.Roots {
		if r.Name == name {
			known = true
		}
		if r.Path == "" && !slices.Contains(names, r.Name) {
			names = append(names, r.Name)
		}
	}
	if slices.Contains(names, name) {
		return nil
	}
	advice := "no root of the project file is looked up anywhere: their store paths are in it"
	if len(names) > 0 {
		advice = "those that can be updated are " + strings.Join(names, ", ")
	}
	if known {
		return &UpdateError{fmt.Errorf("the root %s can't be updated: its store path is in the project file; change it there", name), advice}
	}
	return &UpdateError{fmt.Errorf("there is no root %s to update", name), advice}
}

// UpdateError says that a root can't be looked up anew.
type UpdateError struct {
	Err error
	// Advice says which can.
	Advice string
}

// Error is that of e.Err.
func (e *UpdateError) Error() string { return e.Err.Error() }

// Unwrap returns e.Err.
func (e *UpdateError) Unwrap() error { return e.Err }

// Hint returns e.Advice.
func (e *UpdateError) Hint() string { return e.Advice }

// errNowhere says that no cache has a path.
var errNowhere = errors.New("none of the caches has it")

// explain makes the walk's findings into one error, or nil.
func (w *walk) explain() error {
	var all []error
	told := map[*CacheError]bool{}
	for _, path := range slices.Sorted(maps.Keys(w.failed)) {
		err := w.failed[path]
		if errors.Is(err, errNowhere) {
			err = w.missing(path)
		}
		var ofCache *CacheError
		if errors.As(err, &ofCache) {
			if told[ofCache] { // It holds for every path alike.
				continue
			}
			told[ofCache] = true
		}
		all = append(all, err)
	}
	slices.SortFunc(all, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	if len(all) == 1 {
		return all[0]
	}
	return errors.Join(all...)
}

// missing is the error for a path that no cache has. It is told of the first path that
// refers to it, or of the root that it is: there somebody can do something.
func (w *walk) missing(path store.Path) *PathError {
	names := make([]string, len(w.caches))
	for i, c := range w.caches {
		names[i] = fetch.Redact(c.URL)
	}
	err := &PathError{
		Path:   path,
		Err:    fmt.Errorf("%w: %s", errNowhere, strings.Join(names, ", ")),
		Advice: "copy the path with its closure to a cache (nix copy --to …), or name a cache that has it",
	}
	for _, r := range w.roots {
		if r.Path == path {
			err.Err = fmt.Errorf("the root %s on %s: %w", r.Name, r.System, err.Err)
			return err
		}
	}
	for _, by := range slices.Sorted(maps.Keys(w.done)) {
		if slices.Contains(w.done[by].References, path) {
			err.Path, err.Err = by, fmt.Errorf("it refers to %s, and %w", path, err.Err)
			break
		}
	}
	return err
}

// Write makes l the contents of the lock file at path, and reports whether they
// were other ones. A file that says the same already isn't touched, and one
// that says something else stays whole until the new one takes its place.
func Write(path string, l *Lock) (changed bool, err error) {
	b, err := l.Marshal()
	if err != nil {
		return false, err
	}
	if _, err := Parse(b); err != nil {
		return false, fmt.Errorf("lock %s: not written, since it could not be read again: %w", path, err)
	}
	changed, err = atomicfile.WriteIfChanged(path, b)
	if errors.As(err, new(*fs.PathError)) { // It names a file beside the lock.
		err = fmt.Errorf("lock %s: not written: %w", path, err)
	}
	return changed, err
}
