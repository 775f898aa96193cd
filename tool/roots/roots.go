// Package roots turns what a project file says of its roots into store paths:
// a path that stands there is one already, a package is looked up in a channel's store-paths list
// ([channel]), and a file of Nix or Guix names its top ([graph]).
//
// Where a list has one name several times, for several systems, the programs in
// the NARs tell them apart.
//
// [Resolve] is the entry point. What it finds is believed as little as what
// people write: the lock checks the paths' signatures.
package roots

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/rules-strata/rules_strata/tool/channel"
	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/graph"
	"github.com/rules-strata/rules_strata/tool/project"
	"github.com/rules-strata/rules_strata/tool/store"
)

// Root is a root's store path on one system.
type Root struct {
	Name, System string
	Path         store.Path
	// Source is where the path was looked up, in one line, the same for the same
	// words in the project file wherever that lies; "" for a path that the project file says itself.
	Source string
}

// Options are what [Resolve] needs.
type Options struct {
	// Dir is the folder that the project's relative files and file: URLs are relative to.
	Dir string
	// Client fetches. Its own folder must be Dir.
	Client *fetch.Client
	// Keep, if set, returns the store path that an earlier lock has for a root
	// which was looked up in the same source, if that shall stay. Channels that nothing is wanted
	// of then aren't asked at all.
	Keep func(name, system, source string) (store.Path, bool)
	// Progress, if set, is told how many bytes of lists and NARs have been read. It is called by one goroutine at a time.
	Progress func(bytes int64)
}

// Resolve returns the store path of each of p's roots, in their order. All are
// in one store directory. Each list and each file is read once. Of what is
// wrong with several roots, all is told, joined by [errors.Join].
func Resolve(ctx context.Context, p *project.Project, o Options) ([]Root, error) {
	v := &resolver{
		o: o, p: p,
		graphs: map[string]*graph.Graph{},
		wanted: map[string][]*Root{}, queries: map[*Root]channel.Query{},
	}
	out := make([]Root, len(p.Roots))
	for i, r := range p.Roots {
		out[i] = Root{Name: r.Name, System: r.System, Path: r.Path}
		switch {
		case r.Package != nil:
			v.wantPackage(r, &out[i])
		case r.File != nil:
			v.lookInFile(r.File, &out[i])
		}
	}
	v.lookInLists(ctx)
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if len(v.wrong) > 0 {
		slices.SortFunc(v.wrong, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
		return nil, errors.Join(v.wrong...)
	}
	for _, r := range out {
		if first := out[0]; r.Path.Dir() != first.Path.Dir() {
			return nil, fmt.Errorf("the roots must be of one store directory: %s is %s, %s is %s", first.Name, first.Path, r.Name, r.Path)
		}
	}
	return out, nil
}

// resolver looks up the roots of one project.
type resolver struct {
	o      Options
	p      *project.Project
	graphs map[string]*graph.Graph // by file
	// wanted are the roots to look up in a list, by its URL; queries what is wanted of each root.
	wanted  map[string][]*Root
	queries map[*Root]channel.Query
	wrong   []error

	mu   sync.Mutex
	read int64 // bytes
}

// count counts bytes that were read.
func (v *resolver) count(n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.read += int64(n)
	if v.o.Progress != nil {
		v.o.Progress(v.read)
	}
}

// Error says what is wrong with one root.
type Error struct {
	Name, System string
	Err          error
	// Advice is what may help; "" if nothing is known to.
	Advice string
}

// Error names the root.
func (e *Error) Error() string { return fmt.Sprintf("root %s on %s: %v", e.Name, e.System, e.Err) }

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

// Hint returns e.Advice, or that of e.Err.
func (e *Error) Hint() string {
	var h interface{ Hint() string }
	if e.Advice == "" && errors.As(e.Err, &h) {
		return h.Hint()
	}
	return e.Advice
}

func (v *resolver) fail(r *Root, advice string, err error) {
	v.wrong = append(v.wrong, &Error{Name: r.Name, System: r.System, Err: err, Advice: advice})
}

// keep gives r the path that the lock has, if it stays.
func (v *resolver) keep(r *Root) bool {
	if v.o.Keep == nil {
		return false
	}
	path, ok := v.o.Keep(r.Name, r.System, r.Source)
	if ok {
		r.Path = path
	}
	return ok
}
