// Package roots turns what a project file says of its roots into store paths:
// a path that stands there is one already, a package is looked up in a channel's store-paths list
// ([channel]), and a file of Nix or Guix names its top ([graph]).
//
// [Resolve] is the entry point. What it finds is believed as little as what
// people write: the lock checks the paths' signatures.
package roots

import (
	"context"
	"errors"
	"fmt"

	"github.com/rules-strata/rules_strata/tool/fetch"
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
}

// Resolve returns the store path of each of p's roots, in their order. All are
// in one store directory. Of what is wrong with several roots, all is told, joined by [errors.Join].
func Resolve(ctx context.Context, p *project.Project, o Options) ([]Root, error) {
	var out []Root
	var wrong []error
	for _, r := range p.Roots {
		if r.Path == "" {
			wrong = append(wrong, fmt.Errorf("the root %s on %s: not implemented", r.Name, r.System))
			continue
		}
		out = append(out, Root{Name: r.Name, System: r.System, Path: r.Path})
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	return out, nil
}
