package plan

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rules-strata/rules_strata/tool/store"
)

// genImages draws a fleet over one graph: path i may refer to those before it, and versions are
// part of the names, so that a later draw of the same graph is an update.
func genImages(t *rapid.T, versions []int) []Image {
	n := len(versions)
	paths := make([]Path, n)
	for i := range paths {
		p := Path{
			Path:    store.Path(fmt.Sprintf("/nix/store/%032d-p%d-%d.0.0", i*1000+versions[i], i, versions[i])),
			NarSize: rapid.SampledFrom([]int64{0, 1, 100, 5000, 1 << 20, 1 << 40, maxNarSize}).Draw(t, "size"),
		}
		for _, r := range rapid.SliceOfN(rapid.IntRange(0, i), 0, 3).Draw(t, "refs") {
			p.References = append(p.References, paths[r].Path) // itself among them: fine
		}
		if slices.Contains(p.References, "") {
			p.References = []store.Path{p.Path}
		}
		paths[i] = p
	}
	byPath := map[store.Path]Path{}
	for _, p := range paths {
		byPath[p.Path] = p
	}
	var images []Image
	for i := range rapid.IntRange(1, 5).Draw(t, "images") {
		seen := map[store.Path]bool{}
		var image Image
		image.Root, image.System = fmt.Sprint("i", i), "x86_64-linux"
		var visit func(p store.Path)
		visit = func(p store.Path) {
			if !seen[p] {
				seen[p] = true
				image.Closure = append(image.Closure, byPath[p])
				for _, r := range byPath[p].References {
					visit(r)
				}
			}
		}
		for _, r := range rapid.SliceOfN(rapid.IntRange(0, n-1), 0, 4).Draw(t, "roots") {
			visit(paths[r].Path)
		}
		images = append(images, image)
	}
	return images
}

// checkPlan is what every plan must be, whatever made it.
func checkPlan(t *rapid.T, p *Plan, images []Image, limit int) {
	t.Helper()
	for _, image := range images {
		names := p.Images[image.Root][image.System]
		if len(names) > limit {
			t.Fatalf("%s: %d layers, limit %d", image.Root, len(names), limit)
		}
		left := map[store.Path]bool{}
		for _, q := range image.Closure {
			left[q.Path] = true
		}
		for _, name := range names {
			if err := CheckName(name); err != nil || len(p.Layers[name]) == 0 {
				t.Fatalf("layer %q: %d paths, %v", name, len(p.Layers[name]), err)
			}
			for _, q := range p.Layers[name] {
				if !left[q] {
					t.Fatalf("%s: %s is there twice, or not in the closure", image.Root, q)
				}
				delete(left, q)
			}
		}
		if len(left) > 0 {
			t.Fatalf("%s: in no layer: %v", image.Root, left)
		}
	}
}

func previous(p *Plan, images []Image) *Previous {
	all := map[store.Path]Path{}
	for _, i := range images {
		for _, q := range i.Closure {
			all[q.Path] = q
		}
	}
	return &Previous{Plan: *p, Paths: slices.Collect(maps.Values(all))}
}

func TestMake_Properties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 30).Draw(t, "paths")
		images := genImages(t, make([]int, n))
		o := Options{
			Strategy:  rapid.SampledFrom(Strategies()).Draw(t, "strategy"),
			MaxLayers: rapid.IntRange(1, 12).Draw(t, "limit"),
			LayerCost: rapid.SampledFrom([]int64{0, 0, 5000}).Draw(t, "cost"),
		}
		if o.Strategy == OnePerPath {
			o.MaxLayers = MaxLayers
		}
		p, err := Make(images, o)
		if err != nil {
			t.Fatal(err)
		}
		checkPlan(t, p, images, o.MaxLayers)

		shuffled := slices.Clone(images)
		for i := range shuffled {
			shuffled[i].Closure = rapid.Permutation(images[i].Closure).Draw(t, "order")
		}
		again, err := Make(rapid.Permutation(shuffled).Draw(t, "images"), o)
		if err != nil || !reflect.DeepEqual(again, p) {
			t.Fatalf("another order gives another plan (%v):\n%v\n%v", err, p, again)
		}
		if o.Strategy != Fleet {
			return
		}
		// Nothing changed: the same plan, and the same history.
		o.Previous = previous(p, images)
		kept, err := Make(images, o)
		if err != nil || !reflect.DeepEqual(kept, p) {
			t.Fatalf("nothing changed, but the plan did (%v):\n%v\n%v", err, p, kept)
		}
		// Something did.
		later := genImages(t, rapid.SliceOfN(rapid.IntRange(0, 1), n, n).Draw(t, "versions"))
		updated, err := Make(later, o)
		if err != nil {
			t.Fatal(err)
		}
		checkPlan(t, updated, later, o.MaxLayers)
	})
}

// chain is an image of paths that each refer to the one before.
func chain(names ...string) Image {
	image := Image{Root: "r", System: "x86_64-linux"}
	for i, name := range names {
		p := Path{Path: store.Path(fmt.Sprintf("/nix/store/%032d-%s", i, name)), NarSize: 1000}
		if i > 0 {
			p.References = []store.Path{image.Closure[i-1].Path}
		}
		image.Closure = append(image.Closure, p)
	}
	return image
}

func TestMake_Refuses(t *testing.T) {
	a := chain("a-1", "b-1", "c-1")
	cycle := chain("a-1", "b-1")
	cycle.Closure[0].References = []store.Path{cycle.Closure[1].Path}
	outside := chain("a-1", "b-1")
	outside.Closure = outside.Closure[1:]
	huge := chain("a-1")
	huge.Closure[0].NarSize = 1 << 62
	other := chain("a-1")
	other.Root, other.Closure[0].NarSize = "s", 5
	many := Image{Root: "r"}
	for i := range 1 << 13 {
		many.Closure = append(many.Closure, Path{Path: store.Path(fmt.Sprintf("/nix/store/%032d-p", i)), NarSize: maxNarSize})
	}
	twice := chain("a-1")
	twice.Closure = append(twice.Closure, twice.Closure[0])
	for _, tc := range []struct {
		images []Image
		o      Options
		want   string
	}{
		{[]Image{cycle}, Options{}, "the references lead in a circle"},
		{[]Image{outside}, Options{}, "which is not in the closure"},
		{[]Image{huge}, Options{}, "NarSize 4611686018427387904: want 0 to"},
		{[]Image{many}, Options{}, "root r: /nix/store/00000000000000000000000000004096-p: with it the paths have 1153202979583557632 bytes: want at most 1152921504606846976"},
		{[]Image{a, other}, Options{}, "NarSize 5, but 1000 in another image"},
		{[]Image{twice}, Options{}, "is in the closure twice"},
		{[]Image{a}, Options{Strategy: "best"}, `strategy "best": want one of fleet, auto, nixery, one-per-path, popularity, single, size`},
		{[]Image{a}, Options{LayerCost: -1}, "layer_cost -1"},
		{[]Image{a}, Options{Strategy: OnePerPath, MaxLayers: 2}, "3 layers, but max_layers is 2"},
		{[]Image{a}, Options{Groups: []Group{{Name: "x"}}}, "group x: want one of packages and below"},
		{[]Image{a}, Options{Groups: []Group{{Name: "x", Packages: []string{"[a"}}}}, `"[a" is no pattern`},
		{[]Image{a}, Options{MaxLayers: 1, Groups: []Group{{Name: "x", Packages: []string{"a"}}}}, "the groups want 1 layers and the rest one more, but max_layers is 1"},
		{[]Image{a}, Options{MaxLayers: 2, Groups: []Group{{Name: "x", Packages: []string{"*"}, Split: true}}}, "the groups want 3 layers, but max_layers is 2"},
	} {
		if _, err := Make(tc.images, tc.o); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("error %v, want one with %q", err, tc.want)
		}
	}
	if _, err := Make([]Image{cycle}, Options{}); !errors.Is(err, errCycle) {
		t.Errorf("error %v", err)
	}
}

// What a hand or a bad day has made of the plan before changes no outcome but the plan.
func TestMake_DamagedPrevious(t *testing.T) {
	images := []Image{chain("a-1", "b-1", "c-1", "d-1")}
	a, b := images[0].Closure[0].Path, images[0].Closure[1].Path
	for name, damaged := range map[string]*Previous{
		"empty": {},
		"overlapping layers": {Plan: Plan{
			Layers: map[string][]store.Path{"x": {a, b}, "y": {b}, "z": {}, "w": {b, b}},
			Images: map[string]map[string][]string{"r": {"x86_64-linux": {"y", "y", "x", "w", "nothing"}}},
		}},
		"other closure":      {Plan: Plan{Layers: map[string][]store.Path{"x": {"/nix/store/zzz"}}}, Paths: []Path{{Path: "/nix/store/zzz"}}},
		"impossible history": {Plan: Plan{History: &History{Updates: -5, Packages: map[string]PackageHistory{"a": {Since: 1 << 40, Changes: -1 << 40}}}}},
		"too many layers":    {Plan: Plan{Layers: map[string][]store.Path{"1": {a}, "2": {b}, "3": {images[0].Closure[2].Path}, "4": {images[0].Closure[3].Path}}}},
	} {
		p, err := Make(images, Options{MaxLayers: 2, Previous: damaged})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := len(p.Images["r"]["x86_64-linux"]); got > 2 {
			t.Errorf("%s: %d layers", name, got)
		}
	}
}

// A layer whose paths all survive stays, and what changed is sent with as little else as can be.
func TestFleet_KeepsLayers(t *testing.T) {
	before := []Image{chain("libc-1.0.0", "lib-1.0.0", "tool-1.0.0", "app-1.0.0")}
	o := Options{MaxLayers: 3}
	p, err := Make(before, o)
	if err != nil {
		t.Fatal(err)
	}
	after := []Image{chain("libc-1.0.0", "lib-1.0.0", "tool-1.0.0", "app-2.0.0")}
	o.Previous = previous(p, before)
	q, err := Make(after, o)
	if err != nil {
		t.Fatal(err)
	}
	if m := Moves(p, q, after); m.NewBytes != 1000 || m.NarBytes > 2000 {
		t.Errorf("an update of one path of 1000 bytes moves %+v", m)
	}
	if want := (&History{Updates: 1, Packages: map[string]PackageHistory{"app": {Changes: 1}}}); !reflect.DeepEqual(q.History, want) {
		t.Errorf("history %+v, want %+v", q.History, want)
	}
}

// Whatever history there was, the next is one that a lock may hold.
func TestHistory_Bounds(t *testing.T) {
	before, after := []Image{chain("a-1", "b-1")}, []Image{chain("a-1", "b-2", "c-1")}
	for _, h := range []History{
		{Updates: MaxUpdates, Packages: map[string]PackageHistory{"a": {Changes: MaxUpdates}, "b": {Changes: MaxUpdates}}},
		{Updates: math.MaxInt, Packages: map[string]PackageHistory{"a": {Since: math.MaxInt, Changes: 1}, "b": {Since: 1, Changes: math.MaxInt}}},
		{Updates: math.MinInt, Packages: map[string]PackageHistory{"a": {Since: math.MinInt, Changes: math.MaxInt}, "b": {Since: math.MaxInt, Changes: math.MinInt}}},
		{Updates: 3, Packages: map[string]PackageHistory{"b": {Since: 2, Changes: 7}}},
	} {
		for _, images := range [][]Image{before, after} {
			was := previous(&Plan{History: &h}, before)
			p, err := Make(images, Options{Previous: was})
			if err != nil {
				t.Fatal(err)
			}
			got := p.History
			if got.Updates < 0 || got.Updates > MaxUpdates {
				t.Errorf("%v: then %d updates", h, got.Updates)
			}
			for name, k := range got.Packages {
				if k.Since < 0 || k.Changes < 0 || k.Changes > got.Updates-k.Since {
					t.Errorf("%v: then %s: %+v of %d updates", h, name, k, got.Updates)
				}
			}
		}
	}
}

// An image keeps its layers though another's would fit it too.
func TestFleet_KeepsEachImagesLayers(t *testing.T) {
	path := func(n int, size int64, refs ...Path) Path {
		p := Path{Path: store.Path(fmt.Sprintf("/nix/store/%032d-p%d", n, n)), NarSize: size}
		for _, r := range refs {
			p.References = append(p.References, r.Path)
		}
		return p
	}
	const large = maxNarSize
	a, b, c, alone, small := path(1, large), path(2, 0), path(3, 0), path(6, 1), path(7, 0)
	abc, onC := path(4, large, a, b, c), path(5, large, c)
	images := []Image{
		{Root: "abc", Closure: []Path{a, b, c, abc, small}},
		{Root: "most", Closure: []Path{a, b, c, abc, onC, alone}},
		{Root: "c", Closure: []Path{c, onC, small}},
	}
	o := Options{MaxLayers: 3}
	p, err := Make(images, o)
	if err != nil {
		t.Fatal(err)
	}
	// Both of these are wholly in c, which has the first.
	for _, l := range [][]Path{{c, onC}, {c, small}} {
		if _, ok := p.Layers[LayerName(l)]; !ok {
			t.Fatalf("no layer %s in %v: find images that show what this test is for", LayerName(l), p.Layers)
		}
	}
	o.Previous = previous(p, images)
	if kept, err := Make(images, o); err != nil || !reflect.DeepEqual(kept, p) {
		t.Errorf("nothing changed, but the plan did (%v):\n%v\n%v", err, p, kept)
	}
}

func TestGroups(t *testing.T) {
	// app → lib → libc, app → python → pylib → libc
	path := func(n int, name string, refs ...store.Path) Path {
		return Path{Path: store.Path(fmt.Sprintf("/nix/store/%032d-%s", n, name)), NarSize: 10, References: refs}
	}
	libc := path(0, "glibc-2.36")
	lib := path(1, "lib-1.0", libc.Path)
	pylib := path(2, "pylib-1.0", libc.Path)
	python := path(3, "python3-3.11", pylib.Path)
	app := path(4, "app-1.0", lib.Path, python.Path)
	images := []Image{{Root: "app", Closure: []Path{libc, lib, pylib, python, app}}}
	for _, tc := range []struct {
		groups []Group
		want   [][]store.Path // that must be layers
	}{
		{[]Group{{Name: "c", Packages: []string{"glibc", "lib"}}}, [][]store.Path{{libc.Path, lib.Path}}},
		{[]Group{{Name: "py", Below: "python3"}}, [][]store.Path{{pylib.Path, python.Path}}},
		{[]Group{{Name: "py", Below: "python*", Split: true}}, [][]store.Path{{pylib.Path}, {python.Path}}},
		{[]Group{{Name: "first", Packages: []string{"p*"}}, {Name: "all", Packages: []string{"*"}}}, [][]store.Path{{pylib.Path, python.Path}, {libc.Path, lib.Path, app.Path}}},
		{[]Group{{Name: "nothing", Packages: []string{"nginx"}}}, nil},
	} {
		for _, strategy := range []string{Fleet, Size, Auto, Single} {
			p, err := Make(images, Options{Strategy: strategy, MaxLayers: 4, Groups: tc.groups})
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range tc.want {
				if !slices.ContainsFunc(slices.Collect(maps.Values(p.Layers)), func(l []store.Path) bool { return slices.Equal(l, want) }) {
					t.Errorf("%v by %s: no layer %v in %v", tc.groups, strategy, want, p.Layers)
				}
			}
		}
	}
}

// What changes least lies lowest, shared layers first.
func TestOrder(t *testing.T) {
	one := chain("libc-2.36", "lib-1.0.0", "app-1.0.0")
	two := Image{Root: "two", System: one.System, Closure: one.Closure[:1]}
	p, err := Make([]Image{one, two}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{one.Closure[0].Path.Base(), one.Closure[1].Path.Base(), one.Closure[2].Path.Base()}
	if got := p.Images["r"]["x86_64-linux"]; !slices.Equal(got, want) {
		t.Errorf("layers %q, want %q", got, want)
	}
}

// 100 images over 20,000 paths; go test -bench Fleet -benchmem says what it takes.
func BenchmarkFleet(b *testing.B) {
	images := bigFleet(100, 20_000)
	b.ReportAllocs()
	for b.Loop() {
		p, err := Make(images, Options{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := Make(images, Options{Previous: previous(p, images)}); err != nil {
			b.Fatal(err)
		}
	}
}

// bigFleet is a fleet whose images share layers of libraries: the more, the lower.
func bigFleet(images, paths int) []Image {
	all := make([]Path, paths)
	seed := uint64(1)
	next := func(n int) int {
		seed = seed*6364136223846793005 + 1442695040888963407
		return int(seed >> 33 % uint64(n))
	}
	for i := range all {
		all[i] = Path{Path: store.Path(fmt.Sprintf("/nix/store/%032d-p%d-1.0.%d", i, i, i)), NarSize: int64(1 << next(24))}
		for range min(i, 4) {
			if r := all[next(i)].Path; !slices.Contains(all[i].References, r) {
				all[i].References = append(all[i].References, r)
			}
		}
	}
	number := map[store.Path]int{}
	for i, p := range all {
		number[p.Path] = i
	}
	var out []Image
	for j := range images {
		image := Image{Root: fmt.Sprint("i", j), System: "x86_64-linux"}
		seen := map[int]bool{}
		todo := []int{}
		for range 40 {
			todo = append(todo, next(paths))
		}
		for len(todo) > 0 {
			i := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			if seen[i] {
				continue
			}
			seen[i] = true
			image.Closure = append(image.Closure, all[i])
			for _, r := range all[i].References {
				todo = append(todo, number[r])
			}
		}
		out = append(out, image)
	}
	return out
}
