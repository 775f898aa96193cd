package lock

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/rules-strata/rules_strata/tool/narinfo"
	"github.com/rules-strata/rules_strata/tool/project"
)

// lockOf is a lock of one root, web, whose path has the first name and refers to those of the others.
func lockOf(t testing.TB, maxLayers int, names ...string) *Lock {
	t.Helper()
	good := newTestKey(t, "good-1")
	c := newTestCache(t)
	c.put(newObject(t, names[0], names[1:]...), good)
	for _, n := range names[1:] {
		c.put(newObject(t, n), good)
	}
	p := projectOf(storePath(names[0]), []narinfo.PublicKey{good.public}, project.Cache{URL: "file:."})
	p.MaxLayers, p.Roots[0].Name = maxLayers, "web"
	l, err := makeLock(t, p, c.dir)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestCompare(t *testing.T) {
	before := lockOf(t, 64, "app-1.0", "libssl-3.0.21", "libssl-3.0.21-bin", "data", "old-tool-2", "same-1")
	after := lockOf(t, 3, "app-1.1", "libssl-3.0.22", "libssl-3.0.22-bin", "data", "new-tool-1", "same-1")
	after.Sources = map[string]map[string]string{"web": {"x86_64-linux": "a channel"}}
	after.Mirrors = map[string][]string{"file:.": {"http://m"}}
	after.Caches = append(after.Caches, "file:more")
	same := after.Paths[storePath("same-1")]
	same.NarHash, same.FileHash = sum([]byte("x")), sum([]byte("x"))
	d := Compare(before, after)

	if want := []RootChange{{Name: "web", System: "x86_64-linux", Old: storePath("app-1.0"), New: storePath("app-1.1"), NewSource: "a channel"}}; !reflect.DeepEqual(d.Roots, want) {
		t.Errorf("roots %+v, want %+v", d.Roots, want)
	}
	var got []string
	for _, p := range d.Packages {
		b, err := json.Marshal([]any{p.Name, p.Change, p.Old, p.New, p.NewNarBytes - p.OldNarBytes})
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(b))
	}
	if want := []string{
		`["app","updated",["1.0"],["1.1"],0]`,
		`["libssl","updated",["3.0.21","3.0.21-bin"],["3.0.22","3.0.22-bin"],0]`,
		`["new-tool","added",[],["1"],128]`,
		`["old-tool","removed",["2"],[],-128]`,
	}; !slices.Equal(got, want) {
		t.Errorf("packages %v, want %v", got, want)
	}
	if len(d.Paths.Added) != 4 || len(d.Paths.Removed) != 4 {
		t.Errorf("paths %+v", d.Paths)
	}
	if want := []PathChange{{storePath("same-1"), []string{"file_hash", "nar_hash"}}}; !reflect.DeepEqual(d.Paths.Changed, want) {
		t.Errorf("changed %+v, want %+v", d.Paths.Changed, want)
	}
	if want := []SettingChange{
		{"caches", []string{"file:."}, []string{"file:.", "file:more"}},
		{"mirrors", []string{}, []string{"file:.: http://m"}},
		{"plan.max_layers", []string{"64"}, []string{"3"}},
	}; !reflect.DeepEqual(d.Settings, want) {
		t.Errorf("settings %+v, want %+v", d.Settings, want)
	}
	if d.Empty() || d.Old.Paths != 6 || d.Old.Layers != 6 || d.New.Layers != 3 || d.Old.NarBytes == 0 {
		t.Errorf("%+v, %+v", d.Old, d.New)
	}

	// A path that was built again makes its layer another one.
	rebuilt := lockOf(t, 64, "app-1.0", "libssl-3.0.21", "libssl-3.0.21-bin", "data", "old-tool-2", "same-1")
	rebuilt.Paths[storePath("same-1")].NarHash = same.NarHash
	d = Compare(before, rebuilt)
	if want := (LayerChanges{Kept: 5, Changed: []LayerSize{{storePath("same-1").Base(), 120}}, New: []LayerSize{}, Gone: []LayerSize{}}); !reflect.DeepEqual(d.Layers, want) {
		t.Errorf("layers %+v, want %+v", d.Layers, want)
	}
	// The same layers in another order.
	reordered := lockOf(t, 64, "app-1.0", "libssl-3.0.21", "libssl-3.0.21-bin", "data", "old-tool-2", "same-1")
	slices.Reverse(reordered.Plan.Images["web"]["x86_64-linux"])
	if d = Compare(before, reordered); len(d.Settings) != 1 || d.Settings[0].Name != "plan.images.web.x86_64-linux" || d.Layers.Kept != 6 {
		t.Errorf("%+v", d)
	}
}

// A diff is empty exactly where the locks are the same text, and what came one way went the other.
func TestCompare_Properties(t *testing.T) {
	base, err := Parse([]byte(full))
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string) *Lock {
			l, err := Parse([]byte(full))
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range slices.Sorted(maps.Keys(l.Paths)) {
				p := l.Paths[path]
				if rapid.IntRange(0, 3).Draw(t, label+" change of "+path.Base()) > 0 {
					continue
				}
				switch rapid.IntRange(0, 5).Draw(t, label+" what") {
				case 0:
					p.NarSize++
				case 1:
					p.NarHash[0]++
				case 2:
					p.URL += "x"
				case 3:
					p.FileHash[0]++
				case 4:
					p.Compression = "lz4"
				case 5:
					delete(l.Roots, "other")
				}
			}
			return l
		}
		a, b := draw("a"), draw("b")
		ab, ba := Compare(a, b), Compare(b, a)
		ta, err1 := a.Marshal()
		tb, err2 := b.Marshal()
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if ab.Empty() != (string(ta) == string(tb)) {
			t.Fatalf("empty %v; the locks are\n%s\n%s", ab.Empty(), ta, tb)
		}
		if !slices.Equal(ab.Paths.Added, ba.Paths.Removed) || !slices.Equal(ab.Layers.New, ba.Layers.Gone) || ab.Layers.Kept != ba.Layers.Kept || ab.Old != ba.New {
			t.Fatalf("%+v and back %+v", ab, ba)
		}
	})
	if d := Compare(base, base); !d.Empty() {
		t.Errorf("with itself: %+v", d)
	}
	// An empty diff has empty lists, not null.
	b, err := json.Marshal(Compare(base, base))
	if err != nil {
		t.Fatal(string(b), err)
	}
	var lists map[string]any
	if err := json.Unmarshal(b, &lists); err != nil {
		t.Fatal(err)
	}
	for name, v := range lists {
		if v == nil {
			t.Errorf("%s is null", name)
		}
	}
}
