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
			if r.Path, err = v.choosePackage(ctx, results[i], r.System); err != nil {
				v.fail(r, "", err)
			}
		}
	}
}

// choosePackage returns the path that result means on a system.
func (v *resolver) choosePackage(ctx context.Context, result *channel.Result, system string) (store.Path, error) {
	paths, err := result.Paths()
	if err != nil {
		return "", err
	}
	if len(paths) == 1 {
		return paths[0], nil
	}
	if len(paths) > maxTwins {
		return "", &twinsError{all: paths, system: system}
	}
	found, err := v.ofSystem(ctx, paths, system)
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", &twinsError{all: paths, found: found, system: system}
	}
	return found[0], nil
}

// twinsError says that of several store paths of one name not one is known to be a system's.
type twinsError struct {
	all, found []store.Path
	system     string
}

func (e *twinsError) Error() string {
	which, paths := "none of them is seen to be for "+e.system, e.all
	if len(e.found) > 0 {
		which, paths = fmt.Sprintf("%d of them are for %s", len(e.found), e.system), e.found
	}
	var b strings.Builder
	for _, p := range paths[:min(len(paths), maxTwins)] {
		b.WriteString(" " + p.String())
	}
	if more := len(paths) - maxTwins; more > 0 {
		fmt.Fprintf(&b, " and %d more", more)
	}
	return fmt.Sprintf("the list has %d store paths of the name %s, and %s:%s", len(e.all), e.all[0].Name(), which, b.String())
}

func (e *twinsError) Hint() string {
	return fmt.Sprintf(`write the store path itself: {%q: %q}, or name a list of that system's paths as its channel`, e.system, append(e.found, e.all...)[0])
}
