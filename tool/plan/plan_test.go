package plan

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/store"
)

func path(hash byte, name string, size int64) Path {
	return Path{Path: store.Path("/nix/store/" + strings.Repeat(string(hash), store.HashPartLen) + "-" + name), NarSize: size}
}

func names(layers []Layer) []string {
	var out []string
	for _, l := range layers {
		out = append(out, l.Name)
	}
	return out
}

func TestLargestFirst(t *testing.T) {
	glibc, bash, tiny, motd := path('1', "glibc-2.36", 9000), path('2', "bash-5.2", 5000), path('3', "tiny", 10), path('0', "motd", 10)
	all := []Path{tiny, bash, motd, glibc}
	base := func(p Path) string { return p.Path.Base() }
	for _, tc := range []struct {
		name    string
		closure []Path
		max     int
		want    []string
	}{
		{"no path, no layer", nil, 5, nil},
		{"room for all; equal sizes go by name", all, 64, []string{base(glibc), base(bash), base(motd), base(tiny)}},
		{"just room for all", all, 4, []string{base(glibc), base(bash), base(motd), base(tiny)}},
		// The digits: printf '/nix/store/0…0-motd\n/nix/store/3…3-tiny' | sha256sum
		{"the rest shares the last", all, 3, []string{base(glibc), base(bash), "motd-and-1-more-2ab9cd46"}},
		{"one layer", all, 1, []string{"glibc-2.36-and-3-more-9e09edd2"}},
		{"one path, one layer", all[:1], 1, []string{base(tiny)}},
		{"sizes of zero and of petabytes", []Path{path('1', "a", 0), path('2', "b", 1<<62), path('3', "c", 0)}, 2, []string{base(path('2', "b", 0)), "a-and-1-more-1520447c"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			layers, err := LargestFirst(tc.closure, tc.max)
			if err != nil {
				t.Fatal(err)
			}
			if got := names(layers); !slices.Equal(got, tc.want) {
				t.Errorf("layers %q, want %q", got, tc.want)
			}
		})
	}
}

func TestLargestFirst_Refuses(t *testing.T) {
	a := path('1', "a", 1)
	for _, tc := range []struct {
		closure []Path
		max     int
		want    string
	}{
		{[]Path{a}, 0, "max_layers 0: want 1 to 125"},
		{[]Path{a}, -1, "max_layers -1: want 1 to 125"},
		{[]Path{a}, 126, "max_layers 126: want 1 to 125"},
		{[]Path{a, path('2', "b", 1), a}, 5, string(a.Path) + " is in the closure twice"},
		{[]Path{path('2', "b", -1)}, 5, "NarSize -1 is negative"},
	} {
		if _, err := LargestFirst(tc.closure, tc.max); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("error %v, want one with %q", err, tc.want)
		}
	}
}

func TestMake(t *testing.T) {
	a, b, c, d := path('1', "a", 40), path('2', "b", 30), path('3', "c", 20), path('4', "d", 10)
	p, err := Make([]Image{
		{Root: "one", System: "x86_64-linux", Closure: []Path{a, b, c, d}},
		{Root: "two", System: "x86_64-linux", Closure: []Path{d, c, b, a}},
		{Root: "two", System: "aarch64-linux", Closure: []Path{d, c, b}},
	}, Options{Strategy: Size, MaxLayers: 3})
	if err != nil {
		t.Fatal(err)
	}
	rest := "c-and-1-more-" + groupHash(t, c, d)
	want := map[string]map[string][]string{
		// What more images share lies lower.
		"one": {"x86_64-linux": {b.Path.Base(), a.Path.Base(), rest}},
		"two": {"x86_64-linux": {b.Path.Base(), a.Path.Base(), rest}, "aarch64-linux": {b.Path.Base(), c.Path.Base(), d.Path.Base()}},
	}
	if !reflect.DeepEqual(p.Images, want) {
		t.Errorf("images %v, want %v", p.Images, want)
	}
	if len(p.Layers) != 5 {
		t.Errorf("layers %v: want those of a, b, c, d and the rest of c and d, which two images share", p.Layers)
	}
	if _, err := Make([]Image{{Root: "one", System: "x86_64-linux"}, {Root: "one", System: "x86_64-linux"}}, Options{MaxLayers: 3}); err == nil {
		t.Error("an image given twice is taken")
	}
	if _, err := Make([]Image{{Root: "one", System: "x86_64-linux"}}, Options{MaxLayers: 200}); err == nil || !strings.Contains(err.Error(), "max_layers 200: want 1 to 125") {
		t.Errorf("error %v, want one that names the limit", err)
	}
}

func groupHash(t *testing.T, paths ...Path) string {
	t.Helper()
	name := newLayer(paths).Name
	return name[strings.LastIndexByte(name, '-')+1:]
}

// What every plan must be, whatever the closure and the limit.
func TestLargestFirst_Properties(t *testing.T) {
	genPath := rapid.Custom(func(t *rapid.T) Path {
		hash := rapid.StringMatching(`[0-9a-d]{2}`).Draw(t, "hash")
		name := rapid.SampledFrom([]string{"a", "glibc-2.36", ".dot", "x?=+_"}).Draw(t, "name")
		return Path{
			Path:    store.Path("/nix/store/" + strings.Repeat(hash, store.HashPartLen/2) + "-" + name),
			NarSize: rapid.SampledFrom([]int64{0, 1, 100, 100, 5000, 1 << 40}).Draw(t, "size"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		closure := rapid.SliceOfNDistinct(genPath, 0, 40, func(p Path) store.Path { return p.Path }).Draw(t, "closure")
		limit := rapid.IntRange(1, MaxLayers).Draw(t, "limit")
		given := slices.Clone(closure)
		layers, err := LargestFirst(closure, limit)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(given, closure) {
			t.Fatal("the closure given was changed")
		}
		if len(layers) > limit || len(closure) <= limit && len(layers) != len(closure) {
			t.Fatalf("%d layers of %d paths, limit %d", len(layers), len(closure), limit)
		}
		size := map[store.Path]int64{}
		for _, p := range closure {
			size[p.Path] = p.NarSize
		}
		left := map[store.Path]bool{}
		for p := range size {
			left[p] = true
		}
		seenName := map[string]bool{}
		smallest := int64(1<<63 - 1)
		for i, l := range layers {
			if err := CheckName(l.Name); err != nil || seenName[l.Name] {
				t.Fatalf("layer name %q: twice %v, %v", l.Name, seenName[l.Name], err)
			}
			seenName[l.Name] = true
			if len(l.Paths) == 0 || !slices.IsSorted(l.Paths) {
				t.Fatalf("layer %s: paths %q", l.Name, l.Paths)
			}
			if len(l.Paths) > 1 && i != len(layers)-1 {
				t.Fatalf("layer %d of %d holds %d paths: only the last may", i, len(layers), len(l.Paths))
			}
			biggest := int64(0)
			for _, p := range l.Paths {
				if !left[p] {
					t.Fatalf("%s is in two layers, or none knows it", p)
				}
				delete(left, p)
				biggest = max(biggest, size[p])
			}
			if biggest > smallest {
				t.Fatalf("layer %d holds a path of %d bytes, the one before it has %d", i, biggest, smallest)
			}
			smallest = biggest
		}
		if len(left) > 0 {
			t.Fatalf("in no layer: %v", left)
		}

		shuffled := rapid.Permutation(given).Draw(t, "shuffled")
		again, err := LargestFirst(shuffled, limit)
		if err != nil || !reflect.DeepEqual(again, layers) {
			t.Fatalf("another order of the same paths gives another plan: %v, %v, %v", layers, again, err)
		}
	})
}

// Fewer layers than planned are those that would have been planned for so few.
func TestShrink_Properties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var closure []Path
		for i, size := range rapid.SliceOfN(rapid.Int64Range(0, 5), 0, 30).Draw(t, "sizes") {
			closure = append(closure, Path{Path: store.Path(fmt.Sprintf("/nix/store/%032d-p", i)), NarSize: size})
		}
		planned, limit := rapid.IntRange(1, MaxLayers).Draw(t, "planned"), rapid.IntRange(1, 40).Draw(t, "limit")
		layers, err := LargestFirst(closure, planned)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Shrink(layers, closure, limit)
		if err != nil {
			t.Fatal(err)
		}
		want, err := LargestFirst(closure, min(planned, limit))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

// A plan that isn't by size keeps its first layers.
func TestShrink_OtherPlan(t *testing.T) {
	a, b, c, d := path('1', "a", 1), path('2', "b", 2), path('3', "c", 3), path('4', "d", 4)
	layers := []Layer{{"ab", []store.Path{a.Path, b.Path}}, {"c", []store.Path{c.Path}}, {"d", []store.Path{d.Path}}}
	got, err := Shrink(layers, []Path{a, b, c, d}, 2)
	if err != nil || !slices.Equal(names(got), []string{"ab", "d-and-1-more-" + groupHash(t, c, d)}) || len(layers) != 3 || layers[1].Name != "c" {
		t.Errorf("got %v, %v; the layers given are %v", got, err, layers)
	}
	if _, err := Shrink(layers, []Path{a, b, c}, 2); err == nil || !strings.Contains(err.Error(), string(d.Path)+" is in the layer d, but not in the closure") {
		t.Errorf("error %v", err)
	}
	if _, err := Shrink(layers, []Path{a, b, c, d}, 0); err == nil {
		t.Error("a limit of 0 is taken")
	}
}

// The real closure: what the example's lock must say.
func TestLargestFirst_Web(t *testing.T) {
	b, err := os.ReadFile("../../testdata/web/closure/path-info-nix-2.34-format1.json")
	if err != nil {
		t.Fatal(err)
	}
	var infos map[store.Path]struct{ NarSize int64 }
	if err := json.Unmarshal(b, &infos); err != nil {
		t.Fatal(err)
	}
	var closure []Path
	for p, info := range infos {
		closure = append(closure, Path{Path: p, NarSize: info.NarSize})
	}
	layers, err := LargestFirst(closure, 5)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(names(layers)[:4])
	want := "[irw4gwr6ncp9kmwbpmxqm7294ahrhd8z-big-compressible-1.0 m2mgj4jqma9ycz1gi7a9bsy4v1420i4g-python3-minimal-3.11.2 xh0v1vs3r59gf64s8377bs1b2ik38bzc-coreutils-9.1 ac9ina8snnirybg59nws86msa78d0ppq-openssl-3.0.22]"
	if got != want {
		t.Errorf("layers %s, want %s", got, want)
	}
	if rest := layers[4]; len(rest.Paths) != len(closure)-4 {
		t.Errorf("the rest holds %d paths, want %d", len(rest.Paths), len(closure)-4)
	}
}

// What may be planned is what an image may have.
func TestMaxLayers(t *testing.T) {
	if MaxLayers != image.MaxLayers {
		t.Errorf("MaxLayers is %d, image.MaxLayers %d", MaxLayers, image.MaxLayers)
	}
}

func TestCheckName(t *testing.T) {
	for _, bad := range []string{"", ".", "..", "a/b", "a b", "ü", strings.Repeat("a", 256)} {
		if CheckName(bad) == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	for _, good := range []string{"a", "0g8-gcc", ".x", strings.Repeat("a", 255)} {
		if err := CheckName(good); err != nil {
			t.Error(err)
		}
	}
}
