package lock

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/rules-strata/rules_strata/tool/store"
)

// Diff is what differs between two locks, for people who review one and for
// programs: its JSON is what `strata diff --json` writes. Every list is sorted, and empty rather than null.
type Diff struct {
	Roots    []RootChange    `json:"roots"`
	Packages []PackageChange `json:"packages"`
	Paths    PathChanges     `json:"paths"`
	Layers   LayerChanges    `json:"layers"`
	// Settings says what else differs: "caches", "mirrors", "plan.strategy", "plan.max_layers",
	// and "plan.images.<root>.<system>" where the same layers are in another order.
	Settings []SettingChange `json:"settings"`
	Old      Totals          `json:"old"`
	New      Totals          `json:"new"`
}

// Totals are the sums over all paths of a lock.
type Totals struct {
	Paths     int   `json:"paths"`
	NarBytes  int64 `json:"nar_bytes"`
	FileBytes int64 `json:"file_bytes"`
	Layers    int   `json:"layers"`
}

// RootChange is a root that one lock has and the other hasn't, or has otherwise.
type RootChange struct {
	Name   string `json:"name"`
	System string `json:"system"`
	// Old and New are its store paths; "" where it isn't in that lock.
	Old store.Path `json:"old,omitempty"`
	New store.Path `json:"new,omitempty"`
	// OldSource and NewSource are where these were looked up.
	OldSource string `json:"old_source,omitempty"`
	NewSource string `json:"new_source,omitempty"`
}

// What became of a package.
const (
	Updated = "updated" // other versions
	Rebuilt = "rebuilt" // the same versions, by other paths
	Added   = "added"
	Removed = "removed"
)

// PackageChange is what became of the store paths of one package, which is
// the name of a store path without its version.
type PackageChange struct {
	Name string `json:"name"`
	// Change is one of the constants above.
	Change string `json:"change"`
	// Old and New are the versions of the paths that are in one lock only, "" for a path without one.
	Old []string `json:"old"`
	New []string `json:"new"`
	// OldNarBytes and NewNarBytes are the sums over these paths.
	OldNarBytes int64 `json:"old_nar_bytes"`
	NewNarBytes int64 `json:"new_nar_bytes"`
}

// PathChanges are the paths that are in one lock only, and those that both have, but not alike.
type PathChanges struct {
	Added   []PathSize   `json:"added"`
	Removed []PathSize   `json:"removed"`
	Changed []PathChange `json:"changed"`
}

// PathSize is a store path with what it weighs.
type PathSize struct {
	Path     store.Path `json:"path"`
	NarSize  int64      `json:"nar_size"`
	FileSize int64      `json:"file_size"`
}

// PathChange is a store path of which both locks have another entry.
type PathChange struct {
	Path store.Path `json:"path"`
	// Fields are those that differ, named as in the lock. Another nar_hash, nar_size or
	// references means that somebody has built the path again, and not the same.
	Fields []string `json:"fields"`
}

// LayerChanges are the layers by name, which follows from the paths that they hold.
type LayerChanges struct {
	Kept int `json:"kept"`
	// Changed are those of the same name, but of other bytes.
	Changed []LayerSize `json:"changed"`
	New     []LayerSize `json:"new"`
	Gone    []LayerSize `json:"gone"`
}

// LayerSize is a layer with the sum of its NARs, which is about what it has in bytes before compression.
type LayerSize struct {
	Name     string `json:"name"`
	NarBytes int64  `json:"nar_bytes"`
}

// SettingChange is a part of a lock that isn't about one path, as a list of one or more texts.
type SettingChange struct {
	Name string   `json:"name"`
	Old  []string `json:"old"`
	New  []string `json:"new"`
}

// Empty reports whether the locks say the same.
func (d *Diff) Empty() bool {
	return len(d.Roots)+len(d.Packages)+len(d.Paths.Added)+len(d.Paths.Removed)+len(d.Paths.Changed)+
		len(d.Layers.Changed)+len(d.Layers.New)+len(d.Layers.Gone)+len(d.Settings) == 0
}

// Compare returns what became of before in after.
func Compare(before, after *Lock) *Diff {
	return &Diff{
		Roots:    compareRoots(before, after),
		Packages: comparePackages(before, after),
		Paths:    comparePaths(before, after),
		Layers:   compareLayers(before, after),
		Settings: compareSettings(before, after),
		Old:      totals(before),
		New:      totals(after),
	}
}

func totals(l *Lock) Totals {
	t := Totals{Paths: len(l.Paths), Layers: len(l.Plan.Layers)}
	for _, p := range l.Paths {
		t.NarBytes += p.NarSize
		t.FileBytes += p.FileSize
	}
	return t
}

// bothKeys are the keys of two maps, sorted.
func bothKeys[K cmp.Ordered, A, B any](a map[K]A, b map[K]B) []K {
	keys := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(keys)
	return slices.Compact(keys)
}

func compareRoots(before, after *Lock) []RootChange {
	changes := []RootChange{}
	for _, name := range bothKeys(before.Roots, after.Roots) {
		for _, system := range bothKeys(before.Roots[name], after.Roots[name]) {
			c := RootChange{
				Name: name, System: system,
				Old: before.Roots[name][system], New: after.Roots[name][system],
				OldSource: before.Sources[name][system], NewSource: after.Sources[name][system],
			}
			if c.Old != c.New || c.OldSource != c.NewSource {
				changes = append(changes, c)
			}
		}
	}
	return changes
}

func comparePackages(before, after *Lock) []PackageChange {
	packages := map[string]*PackageChange{}
	of := func(p store.Path) (c *PackageChange, version string) {
		name, version := store.SplitName(p.Name())
		if packages[name] == nil {
			packages[name] = &PackageChange{Name: name, Old: []string{}, New: []string{}}
		}
		return packages[name], version
	}
	for path, p := range before.Paths {
		if after.Paths[path] == nil {
			c, version := of(path)
			c.Old = append(c.Old, version)
			c.OldNarBytes += p.NarSize
		}
	}
	for path, p := range after.Paths {
		if before.Paths[path] == nil {
			c, version := of(path)
			c.New = append(c.New, version)
			c.NewNarBytes += p.NarSize
		}
	}
	changes := []PackageChange{}
	for _, name := range slices.Sorted(maps.Keys(packages)) {
		c := packages[name]
		slices.Sort(c.Old)
		slices.Sort(c.New)
		c.Old, c.New = slices.Compact(c.Old), slices.Compact(c.New)
		switch {
		case len(c.Old) == 0:
			c.Change = Added
		case len(c.New) == 0:
			c.Change = Removed
		case slices.Equal(c.Old, c.New):
			c.Change = Rebuilt
		default:
			c.Change = Updated
		}
		changes = append(changes, *c)
	}
	return changes
}

func comparePaths(before, after *Lock) PathChanges {
	changes := PathChanges{Added: []PathSize{}, Removed: []PathSize{}, Changed: []PathChange{}}
	for _, path := range bothKeys(before.Paths, after.Paths) {
		was, is := before.Paths[path], after.Paths[path]
		switch {
		case was == nil:
			changes.Added = append(changes.Added, PathSize{path, is.NarSize, is.FileSize})
		case is == nil:
			changes.Removed = append(changes.Removed, PathSize{path, was.NarSize, was.FileSize})
		default:
			if fields := differing(was, is); len(fields) > 0 {
				changes.Changed = append(changes.Changed, PathChange{path, fields})
			}
		}
	}
	return changes
}

// differing are the fields in which two entries differ, in the order of the lock.
func differing(a, b *Path) []string {
	var fields []string
	for _, f := range []struct {
		name string
		same bool
	}{
		{"url", a.URL == b.URL},
		{"compression", a.Compression == b.Compression},
		{"file_hash", a.FileHash == b.FileHash},
		{"file_size", a.FileSize == b.FileSize},
		{"nar_hash", a.NarHash == b.NarHash},
		{"nar_size", a.NarSize == b.NarSize},
		{"references", slices.Equal(a.References, b.References)},
		{"signature", a.Signature == b.Signature},
		{"signed_by", a.SignedBy == b.SignedBy},
		{"content_addressed", a.ContentAddressed == b.ContentAddressed},
		{"allowed_unsigned_by", a.AllowedUnsignedBy == b.AllowedUnsignedBy},
	} {
		if !f.same {
			fields = append(fields, f.name)
		}
	}
	return fields
}

func compareLayers(before, after *Lock) LayerChanges {
	changes := LayerChanges{Changed: []LayerSize{}, New: []LayerSize{}, Gone: []LayerSize{}}
	for _, name := range bothKeys(before.Plan.Layers, after.Plan.Layers) {
		was, is := before.Plan.Layers[name], after.Plan.Layers[name]
		switch {
		case was == nil:
			changes.New = append(changes.New, LayerSize{name, after.narBytes(is)})
		case is == nil:
			changes.Gone = append(changes.Gone, LayerSize{name, before.narBytes(was)})
		case slices.Equal(was, is) && !slices.ContainsFunc(is, func(p store.Path) bool {
			return before.Paths[p].NarHash != after.Paths[p].NarHash
		}):
			changes.Kept++
		default:
			changes.Changed = append(changes.Changed, LayerSize{name, after.narBytes(is)})
		}
	}
	return changes
}

func (l *Lock) narBytes(paths []store.Path) (sum int64) {
	for _, p := range paths {
		sum += l.Paths[p].NarSize
	}
	return sum
}

func compareSettings(before, after *Lock) []SettingChange {
	changes := []SettingChange{}
	add := func(name string, was, is []string) {
		if !slices.Equal(was, is) {
			changes = append(changes, SettingChange{name, was, is})
		}
	}
	add("caches", before.Caches, after.Caches)
	add("mirrors", mirrorTexts(before), mirrorTexts(after))
	add("plan.strategy", []string{before.Plan.Strategy}, []string{after.Plan.Strategy})
	add("plan.max_layers", []string{fmt.Sprint(before.Plan.MaxLayers)}, []string{fmt.Sprint(after.Plan.MaxLayers)})
	for _, root := range bothKeys(before.Plan.Images, after.Plan.Images) {
		for _, system := range bothKeys(before.Plan.Images[root], after.Plan.Images[root]) {
			was, is := before.Plan.Images[root][system], after.Plan.Images[root][system]
			if slices.Equal(slices.Sorted(slices.Values(was)), slices.Sorted(slices.Values(is))) {
				add("plan.images."+root+"."+system, was, is)
			}
		}
	}
	return changes
}

// mirrorTexts are a lock's mirrors, each as "<cache>: <mirror>".
func mirrorTexts(l *Lock) []string {
	texts := []string{}
	for _, cache := range slices.Sorted(maps.Keys(l.Mirrors)) {
		for _, m := range l.Mirrors[cache] {
			texts = append(texts, cache+": "+m)
		}
	}
	return texts
}
