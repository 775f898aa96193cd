package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/pflag"

	"github.com/rules-strata/rules_strata/tool/database"
	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/lock"
	"github.com/rules-strata/rules_strata/tool/store"
)

// databaseFlags are the flags that put the database of the store into an image.
type databaseFlags struct {
	nix, guix bool
	time      int64
}

func (f *databaseFlags) register(fl *pflag.FlagSet) {
	fl.BoolVar(&f.nix, "nix-database", false, "add Nix' database of the image's store paths, and roots for its garbage collector")
	fl.BoolVar(&f.guix, "guix-database", false, "the same for Guix")
	fl.Int64Var(&f.time, "registration-time", database.DefaultTime, "the time in `SECONDS` since 1970 that the database says of the paths")
}

// kind is the kind of database that is asked for; "" if none is.
func (f *databaseFlags) kind() database.Kind {
	switch {
	case f.nix:
		return database.Nix
	case f.guix:
		return database.Guix
	}
	return ""
}

// check is for what the flags alone show.
func (f *databaseFlags) check(fl *pflag.FlagSet) error {
	kind := f.kind()
	if kind == "" {
		if fl.Changed("registration-time") {
			return errors.New("--registration-time: it goes with --nix-database or --guix-database")
		}
		return nil
	}
	if f.nix && f.guix {
		return errors.New("--guix-database: --nix-database is given too; a store is the one's or the other's")
	}
	if f.time < 0 {
		return fmt.Errorf("--registration-time: %d: want 0 or more", f.time)
	}
	for _, flag := range []string{"no-store-paths", "exclude", "mode"} {
		if fl.Changed(flag) {
			return fmt.Errorf("--%s: --%s-database registers store paths that are in the image, whole and as they are", flag, kind)
		}
	}
	return nil
}

// layer returns the layer with the database of an image of root on system, which is built on below, if that isn't nil. Beside the root's closure
// it has what the base is known to hold, as far as the lock knows the same paths with all that they refer to.
func (f *databaseFlags) layer(l *lock.Lock, root, system string, below *image.Base) (*fileLayer, error) {
	top := l.Roots[root][system]
	r := database.Registration{Kind: f.kind(), Time: f.time, Roots: []store.Path{top}}
	if dir := top.Dir(); dir != r.Kind.StoreDir() {
		for _, k := range database.Kinds() {
			if dir == k.StoreDir() {
				return nil, &hinted{fmt.Errorf("--%s-database: the lock's store paths are in %s", r.Kind, dir), fmt.Sprintf("use --%s-database", k)}
			}
		}
		return nil, fmt.Errorf("--%s-database: the lock's store paths are in %s, whose database is not known to be anywhere", r.Kind, dir)
	}
	for _, p := range f.paths(l, top, below) {
		e := l.Paths[p]
		path := database.Path{Path: p, NarHash: e.NarHash, NarSize: e.NarSize, References: e.References, ContentAddress: e.ContentAddressed}
		if e.Signature != "" {
			path.Signatures = []string{e.Signature}
		}
		r.Paths = append(r.Paths, path)
	}
	spec, err := r.Spec()
	if err != nil {
		return nil, fmt.Errorf("--%s-database: %w", r.Kind, err)
	}
	name := string(r.Kind) + "-database"
	return &fileLayer{name: name, by: "--" + name, spec: spec}, nil
}

func (f *databaseFlags) paths(l *lock.Lock, top store.Path, below *image.Base) []store.Path {
	there := map[store.Path]bool{}
	for _, p := range l.Closure(top) {
		there[p] = true
	}
	if below == nil {
		return slices.Sorted(maps.Keys(there))
	}
	inBase := func(p store.Path) bool {
		hash, ok := below.StorePaths[p]
		return ok && l.Paths[p] != nil && l.Paths[p].NarHash == hash
	}
	for p := range below.StorePaths {
		if !inBase(p) {
			continue
		}
		closure := l.Closure(p)
		if !slices.ContainsFunc(closure, func(c store.Path) bool { return !there[c] && !inBase(c) }) {
			for _, c := range closure {
				there[c] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(there))
}
