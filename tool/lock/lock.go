package lock

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/rules-strata/rules_strata/tool/plan"
	"github.com/rules-strata/rules_strata/tool/store"
)

// Version is the version of the lock's form that this package reads and writes.
const Version = 1

// DefaultFile is the lock's name where people name none.
const DefaultFile = "strata.lock.json"

// MaxSize bounds a lock file, in bytes: 20,000 store paths come to some 20 MB.
const MaxSize = 256 << 20

// Lock is what a lock file says.
type Lock struct {
	// Roots are the roots' store paths by name and system.
	Roots map[string]map[string]store.Path
	// Sources say, by root and system, where a root's store path was looked up that the
	// project file doesn't name: in a channel, in a file. Nil if there are none.
	Sources map[string]map[string]string
	// Caches are the URLs of the caches that were asked, in this order. Every path's
	// file is below one of them. None ends with a slash or holds credentials; relative file: URLs are as in [Path].
	Caches []string
	// Mirrors are, by the URL of a cache, the URLs of caches that have its files under the
	// same relative URLs: to be tried first, in this order. Nil if there are none.
	Mirrors map[string][]string
	// Paths are the roots' closures, no more and no less. All are in one store directory.
	Paths map[store.Path]*Path
	// Plan says how each root's closure is layered.
	Plan *plan.Plan
}

// Path is what a lock says of one store path.
type Path struct {
	// URL is where the file is that holds the NAR. A relative file: URL is
	// relative to the lock file's folder. It never holds credentials.
	URL string
	// Compression of that file: one of narfile.Compressions.
	Compression string
	// FileHash and FileSize (in bytes) are those of that file, as it is stored.
	FileHash store.Hash
	FileSize int64
	// NarHash and NarSize (in bytes) are those of the NAR.
	NarHash store.Hash
	NarSize int64
	// References are the store paths that this one refers to, sorted, itself among them if it does.
	References []store.Path

	// Of the next four one is set: who or what vouches for NarHash, NarSize and References.

	// Signature is a signature by a key of Nix, as [narinfo.Signature] is written. Who has
	// the public key can check it by what the lock says of the path.
	Signature string
	// SignedBy is the name of a key of Guix, whose signature is of the narinfo's text.
	SignedBy string
	// ContentAddressed is the content address, as [store.ContentAddress] is written.
	ContentAddressed string
	// AllowedUnsignedBy is the URL of the cache, one of [Lock.Caches], that needed no signature.
	AllowedUnsignedBy string
}

// Closure returns path and all that it refers to, directly or not, sorted. Path
// must be one of l.Paths.
func (l *Lock) Closure(path store.Path) []store.Path {
	closure := []store.Path{path}
	seen := map[store.Path]bool{path: true}
	for i := 0; i < len(closure); i++ {
		for _, r := range l.Paths[closure[i]].References {
			if !seen[r] {
				seen[r] = true
				closure = append(closure, r)
			}
		}
	}
	slices.Sort(closure)
	return closure
}

// previousPlan is what the planner wants to know of a lock that there was before; nil if there was none.
func (l *Lock) previousPlan() *plan.Previous {
	if l == nil || l.Plan == nil {
		return nil
	}
	return &plan.Previous{Plan: *l.Plan, Paths: l.PlanPaths(slices.Sorted(maps.Keys(l.Paths)))}
}

// PlanImages returns the images of l as the planner takes them, sorted by root and system.
func (l *Lock) PlanImages() []plan.Image {
	var out []plan.Image
	for _, root := range slices.Sorted(maps.Keys(l.Roots)) {
		for _, system := range slices.Sorted(maps.Keys(l.Roots[root])) {
			path := l.Roots[root][system]
			out = append(out, plan.Image{Root: root, System: system, Roots: []store.Path{path}, Closure: l.PlanPaths(l.Closure(path))})
		}
	}
	return out
}

// PlanPaths returns what the planner wants to know of paths.
func (l *Lock) PlanPaths(paths []store.Path) []plan.Path {
	out := make([]plan.Path, len(paths))
	for i, p := range paths {
		out[i] = plan.Path{Path: p, NarSize: l.Paths[p].NarSize, References: l.Paths[p].References}
	}
	return out
}

// The lock's JSON, in the order of its fields.
type (
	lockJSON struct {
		Version int                              `json:"version"`
		Roots   map[string]map[string]store.Path `json:"roots"`
		Sources map[string]map[string]string     `json:"sources,omitempty"`
		Caches  []string                         `json:"caches"`
		Mirrors map[string][]string              `json:"mirrors,omitempty"`
		Paths   map[store.Path]pathJSON          `json:"paths"`
		Plan    planJSON                         `json:"plan"`
	}
	pathJSON struct {
		URL               string     `json:"url"`
		Compression       string     `json:"compression"`
		FileHash          store.Hash `json:"file_hash"`
		FileSize          int64      `json:"file_size"`
		NarHash           store.Hash `json:"nar_hash"`
		NarSize           int64      `json:"nar_size"`
		References        []string   `json:"references"`
		Signature         string     `json:"signature,omitempty"`
		SignedBy          string     `json:"signed_by,omitempty"`
		ContentAddressed  string     `json:"content_addressed,omitempty"`
		AllowedUnsignedBy string     `json:"allowed_unsigned_by,omitempty"`
	}
	planJSON struct {
		Strategy  string                         `json:"strategy"`
		MaxLayers int                            `json:"max_layers"`
		Layers    map[string][]string            `json:"layers"`
		Images    map[string]map[string][]string `json:"images"`
		History   *historyJSON                   `json:"history,omitempty"`
	}
	historyJSON struct {
		Updates  int                           `json:"updates"`
		Packages map[string]packageHistoryJSON `json:"packages"`
	}
	packageHistoryJSON struct {
		Since   int `json:"since,omitempty"`
		Changes int `json:"changes,omitempty"`
	}
)

// Marshal returns the lock file's bytes.
func (l *Lock) Marshal() ([]byte, error) {
	out := lockJSON{
		Version: Version,
		Roots:   l.Roots,
		Sources: l.Sources,
		Caches:  l.Caches,
		Mirrors: l.Mirrors,
		Paths:   make(map[store.Path]pathJSON, len(l.Paths)),
		Plan: planJSON{
			Strategy:  l.Plan.Strategy,
			MaxLayers: l.Plan.MaxLayers,
			Layers:    make(map[string][]string, len(l.Plan.Layers)),
			Images:    l.Plan.Images,
		},
	}
	for path, p := range l.Paths {
		out.Paths[path] = pathJSON{
			URL: p.URL, Compression: p.Compression, FileHash: p.FileHash, FileSize: p.FileSize,
			NarHash: p.NarHash, NarSize: p.NarSize, References: baseNames(p.References),
			Signature: p.Signature, SignedBy: p.SignedBy, ContentAddressed: p.ContentAddressed, AllowedUnsignedBy: p.AllowedUnsignedBy,
		}
	}
	for name, paths := range l.Plan.Layers {
		out.Plan.Layers[name] = baseNames(paths)
	}
	if h := l.Plan.History; h != nil && h.Updates > 0 {
		out.Plan.History = &historyJSON{Updates: h.Updates, Packages: map[string]packageHistoryJSON{}}
		for name, p := range h.Packages {
			out.Plan.History.Packages[name] = packageHistoryJSON{Since: p.Since, Changes: p.Changes}
		}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(out); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func baseNames(paths []store.Path) []string {
	out := make([]string, len(paths)) // not nil: an empty list is [], not null
	for i, p := range paths {
		out[i] = p.Base()
	}
	return out
}

// Read reads and checks the lock file at path.
func Read(path string) (*Lock, error) {
	in, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	b, err := io.ReadAll(io.LimitReader(in, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	l, err := Parse(b)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return l, nil
}
