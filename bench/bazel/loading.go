package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	"github.com/rules-strata/rules_strata/tool/lock"
	"github.com/rules-strata/rules_strata/tool/plan"
	"github.com/rules-strata/rules_strata/tool/store"
)

const lockModule = `
strata = use_extension("@rules_strata//rules:extension.bzl", "strata")
strata.lock(name = "store", lock = "//:strata.lock.json")
use_repo(strata, "store")
`

const imageFile = `load("@rules_strata//rules:image.bzl", "image")

image(
    name = "image",
    contents = ["@store//:app"],
)
`

// loading measures what comes before any action: in a workspace whose lock has
// one path, in one whose lock has many, and in one with a lock of one path and as
// many file groups that refer to each other alike, which is what as many targets cost anyway. The server
// is started anew each time.
func (b *bench) loading(paths int) error {
	one, err := syntheticLock(1)
	if err != nil {
		return err
	}
	many, err := syntheticLock(paths)
	if err != nil {
		return err
	}
	smallText, err := one.Marshal()
	if err != nil {
		return err
	}
	bigText, err := many.Marshal()
	if err != nil {
		return err
	}
	var workspaces []*workspace
	for _, c := range []struct {
		name   string
		files  map[string][]byte
		target string
	}{
		{"one", map[string][]byte{"strata.lock.json": smallText}, "//:image"},
		{"groups", map[string][]byte{"strata.lock.json": smallText, "groups/BUILD.bazel": fileGroups(many)}, "//groups:app"},
		{"many", map[string][]byte{"strata.lock.json": bigText}, "//:image"},
	} {
		c.files["BUILD.bazel"] = []byte(imageFile)
		w, err := b.workspace(c.name, lockModule, c.files)
		if err != nil {
			return err
		}
		w.target = c.target
		workspaces = append(workspaces, w)
	}
	commands := []struct {
		name string
		args func(w *workspace) []string
	}{
		{"`query @store//path:all`", func(w *workspace) []string {
			packages := "@store//path:all"
			if w.name == "groups" {
				packages = "@store//path:all + //groups:all"
			}
			return []string{"query", "--lockfile_mode=off", packages}
		}},
		{"`build --nobuild` of the image", func(w *workspace) []string {
			// The layer action would fetch the NARs: Bazel itself needs none of them, nor are there any.
			return buildFlags("--nobuild", "--@rules_strata//:nar_fetch=action", "//:image", w.target)
		}},
	}
	wall := make([][]timing, len(commands))
	cpu := make([][]timing, len(commands))
	for i := range commands {
		wall[i], cpu[i] = make([]timing, len(workspaces)), make([]timing, len(workspaces))
	}
	for round := range b.rounds + 1 {
		for i, c := range commands {
			for j, w := range workspaces {
				if _, err := w.bazel("shutdown"); err != nil {
					return err
				}
				took, err := w.bazel(c.args(w)...)
				if err != nil {
					return err
				}
				used, err := w.serverCPU()
				if err != nil {
					return err
				}
				if round > 0 { // The first one unpacks and compiles.
					wall[i][j] = append(wall[i][j], took)
					cpu[i][j] = append(cpu[i][j], used)
				}
			}
		}
	}
	fmt.Printf("| new server | | a lock of one path | and %d file groups | a lock of %[1]d paths |\n|---|---|--:|--:|--:|\n", paths)
	for i, c := range commands {
		fmt.Printf("| %s | wall | %v | %v | %v |\n", c.name, wall[i][0], wall[i][1], wall[i][2])
		fmt.Printf("| | CPU | %v | %v | %v |\n", cpu[i][0], cpu[i][1], cpu[i][2])
	}
	return nil
}

// fileGroups are targets that refer to each other as the paths of a lock do.
func fileGroups(l *lock.Lock) []byte {
	var b bytes.Buffer
	for _, path := range slices.Sorted(maps.Keys(l.Paths)) {
		fmt.Fprintf(&b, "filegroup(\n    name = %q,\n    srcs = [\n", path.Base())
		for _, r := range l.Paths[path].References {
			fmt.Fprintf(&b, "        %q,\n", ":"+r.Base())
		}
		fmt.Fprint(&b, "    ],\n)\n\n")
	}
	fmt.Fprintf(&b, "alias(\n    name = \"app\",\n    actual = %q,\n)\n", l.Roots["app"]["x86_64-linux"].Base())
	return b.Bytes()
}

// syntheticLock is a lock of n store paths in as many layers as are planned by default. Each path refers to eight of
// those before it, so that chains of references are as long as those of real closures (30 or so), and the last one to
// all that none else refers to.
func syntheticLock(n int) (*lock.Lock, error) {
	l := &lock.Lock{
		Roots: map[string]map[string]store.Path{},
		Paths: map[store.Path]*lock.Path{},
		Plan:  &plan.Plan{Strategy: plan.Size, MaxLayers: plan.DefaultMaxLayers, Layers: map[string][]store.Path{}},
	}
	var paths []store.Path
	free := map[store.Path]bool{}
	for i := range n {
		hash := store.Hash(sha256.Sum256(fmt.Appendf(nil, "%d", i)))
		path := store.Path(fmt.Sprintf("/nix/store/%.32s-package-%d-1.%d", hash.NixBase32(), i, i%10))
		var references []store.Path
		for j := range 8 {
			if i > 0 {
				references = append(references, paths[i*(j+1)/10])
				delete(free, references[j])
			}
		}
		if i == n-1 {
			references = append(references, slices.Collect(maps.Keys(free))...)
		}
		free[path] = true
		slices.Sort(references)
		l.Paths[path] = &lock.Path{
			URL:         "https://cache.example.org/nar/" + hash.NixBase32() + ".nar.xz",
			Compression: "xz",
			FileHash:    hash,
			FileSize:    int64(1000 + i),
			NarHash:     hash,
			NarSize:     int64(4096 + 8*i),
			References:  slices.Compact(references),
			SignedBy:    "example-1",
		}
		paths = append(paths, path)
	}
	root := paths[n-1]
	l.Roots["app"] = map[string]store.Path{"x86_64-linux": root}
	var layers []string
	for i := range min(n, plan.DefaultMaxLayers) {
		group := paths[i : i+1]
		if i == plan.DefaultMaxLayers-1 {
			group = paths[i:]
		}
		group = slices.Sorted(slices.Values(group))
		name := group[0].Base()
		l.Plan.Layers[name] = group
		layers = append(layers, name)
	}
	l.Plan.Images = map[string]map[string][]string{"app": {"x86_64-linux": layers}}
	text, err := l.Marshal()
	if err != nil {
		return nil, err
	}
	if _, err := lock.Parse(text); err != nil {
		return nil, fmt.Errorf("the lock that was made up: %w", err)
	}
	return l, nil
}
