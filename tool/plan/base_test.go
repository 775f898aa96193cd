package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rules-strata/rules_strata/tool/store"
)

func basePath(n int) store.Path { return store.Path(fmt.Sprintf("/nix/store/%032d-p%d", n, n)) }

// Above a base are exactly the paths that it hasn't, each once, within the limit.
func TestOnBase_Properties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 20).Draw(t, "paths")
		planned := rapid.IntRange(1, 12).Draw(t, "planned")
		baseLayers := rapid.IntRange(0, 6).Draw(t, "base layers")
		limit := rapid.IntRange(1, 14).Draw(t, "limit")
		var closure []Path
		want := map[store.Path]bool{}
		present := map[store.Path]bool{}
		for i := range n {
			p := Path{Path: basePath(i), NarSize: rapid.Int64Range(1, 5).Draw(t, "size")}
			closure = append(closure, p)
			if rapid.Bool().Draw(t, "present") {
				present[p.Path] = true
			} else {
				want[p.Path] = true
			}
		}
		layers, err := LargestFirst(closure, planned)
		if err != nil {
			t.Fatal(err)
		}
		got, err := OnBase(layers, closure, present, baseLayers, limit)
		if err != nil {
			if len(want) > 0 && limit <= baseLayers && strings.Contains(err.Error(), "the base alone has") {
				return
			}
			t.Fatal(err)
		}
		if len(want) > 0 && len(got)+baseLayers > limit {
			t.Fatalf("%d layers on %d, want at most %d", len(got), baseLayers, limit)
		}
		seen := map[store.Path]bool{}
		for _, l := range got {
			for _, p := range l.Paths {
				if seen[p] || !want[p] {
					t.Fatalf("%s is there twice, or in the base", p)
				}
				seen[p] = true
			}
		}
		if len(seen) != len(want) {
			t.Fatalf("%d paths, want %d", len(seen), len(want))
		}
	})
}

// What the base has nothing of stays as it was planned, so that other images share it.
func TestOnBase_KeepsPlanned(t *testing.T) {
	a, b, c, d := Path{Path: basePath(1), NarSize: 9}, Path{Path: basePath(2), NarSize: 8}, Path{Path: basePath(3), NarSize: 7}, Path{Path: basePath(4), NarSize: 6}
	layers := []Layer{{Name: "a", Paths: []store.Path{a.Path}}, {Name: "b", Paths: []store.Path{b.Path}}, {Name: "cd", Paths: []store.Path{c.Path, d.Path}}}
	got, err := OnBase(layers, []Path{a, b, c, d}, map[store.Path]bool{a.Path: true, c.Path: true}, 3, 10)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, l := range got {
		names = append(names, l.Name)
	}
	if want := []string{"b", d.Path.Base()}; !slices.Equal(names, want) {
		t.Errorf("layers %q, want %q", names, want)
	}
}
