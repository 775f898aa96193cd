package roots

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rules-strata/rules_strata/tool/channel"
	"github.com/rules-strata/rules_strata/tool/project"
	"github.com/rules-strata/rules_strata/tool/store"
)

// wantPackage takes down that r is to be looked up in a list, unless it is known.
func (v *resolver) wantPackage(from project.Root, r *Root) {
	url, err := v.p.ListURL(from)
	if err != nil {
		v.fail(r, "", err)
		return
	}
	r.Source = fmt.Sprintf("channel %s: %s", url, from.Package.Query)
	if !v.keep(r) {
		v.wanted[url] = append(v.wanted[url], r)
		v.queries[r] = from.Package.Query
	}
}

// lookInLists looks up what is wanted of each list.
func (v *resolver) lookInLists(ctx context.Context) {
	for _, url := range slices.Sorted(maps.Keys(v.wanted)) {
		roots := v.wanted[url]
		queries := make([]channel.Query, len(roots))
		for i, r := range roots {
			queries[i] = v.queries[r]
		}
		results, err := channel.Search(ctx, v.o.Client, url, queries)
		if err != nil {
			v.wrong = append(v.wrong, err)
			continue
		}
		for i, r := range roots {
			if r.Path, err = choosePackage(results[i]); err != nil {
				v.fail(r, "", err)
			}
		}
	}
}

func choosePackage(result *channel.Result) (store.Path, error) {
	paths, err := result.Paths()
	if err != nil {
		return "", err
	}
	if len(paths) > 1 {
		return "", &twinsError{paths}
	}
	return paths[0], nil
}

// twinsError says that store paths of one name can't be told apart.
type twinsError struct{ paths []store.Path }

const maxTwins = 10

func (e *twinsError) Error() string {
	var b strings.Builder
	for _, p := range e.paths[:min(len(e.paths), maxTwins)] {
		b.WriteString(" " + p.String())
	}
	if more := len(e.paths) - maxTwins; more > 0 {
		fmt.Fprintf(&b, " and %d more", more)
	}
	return fmt.Sprintf("the list has %d store paths of the name %s and doesn't tell their systems:%s", len(e.paths), e.paths[0].Name(), b.String())
}

func (e *twinsError) Hint() string {
	return "write the store path itself as the root, or name a list of one system's paths as the channel of that system"
}
