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
	found := map[*Root][]store.Path{}
	for _, url := range slices.Sorted(maps.Keys(v.wanted)) {
		roots := v.wanted[url]
		queries := make([]channel.Query, len(roots))
		for i, r := range roots {
			queries[i] = v.queries[r]
		}
		results, err := channel.Search(ctx, v.o.Client, url, queries, v.count)
		if err != nil {
			v.wrong = append(v.wrong, err)
			continue
		}
		for i, r := range roots {
			if found[r], err = results[i].Paths(); err != nil {
				delete(found, r)
				v.fail(r, "", err)
			}
		}
	}
	var twins []store.Path
	for _, paths := range found {
		if 1 < len(paths) && len(paths) <= maxTwins {
			twins = append(twins, paths...)
		}
	}
	looks := v.lookAll(ctx, twins)
	for r, paths := range found {
		var err error
		if r.Path, err = choosePackage(paths, r.System, looks); err != nil {
			v.fail(r, "", err)
		}
	}
}

// choosePackage returns which of paths, all of one name, is for system.
func choosePackage(paths []store.Path, system string, looks map[store.Path]look) (store.Path, error) {
	if len(paths) == 1 {
		return paths[0], nil
	}
	var found []store.Path
	if len(paths) <= maxTwins {
		var err error
		if found, err = ofSystem(paths, system, looks); err != nil {
			return "", err
		}
	}
	if len(found) != 1 {
		return "", &TwinsError{all: paths, found: found, system: system}
	}
	return found[0], nil
}

// TwinsError says that of several store paths of one name not one is known to be a system's.
type TwinsError struct {
	all, found []store.Path
	system     string
}

// Error lists them.
func (e *TwinsError) Error() string {
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

// Hint says what to write.
func (e *TwinsError) Hint() string {
	return fmt.Sprintf(`write the store path itself: {%q: %q}, or name a list of that system's paths as its channel`, e.system, append(e.found, e.all...)[0])
}
