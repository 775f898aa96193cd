package database

import (
	"path"

	"github.com/rules-strata/rules_strata/tool/filelayer"
	"github.com/rules-strata/rules_strata/tool/store"
)

// state is where a package manager keeps what it knows of its store, and what it makes there when it finds nothing; paths are relative to the
// image's root. (Both make their locks and the space that they reserve for collecting garbage on a full disk when they need them.)
type state struct {
	dir         string   // all of it
	directories []string // below dir
	version     string   // of the schema
}

var states = map[Kind]state{
	Nix:  {"nix/var/nix", []string{"gcroots/per-user", "profiles/per-user", "temproots"}, "10"},
	Guix: {"var/guix", []string{"daemon-socket", "profiles/per-user", "temproots"}, "7"},
}

// rootsDir is the directory of the garbage collector's roots for an image. Where is of no consequence to Nix and Guix; dockerTools'
// includeNixDB has them there.
const rootsDir = "gcroots/docker"

// guixProfile is the name of a store path that is a profile of Guix, and as what Guix has a user's in the directory of profiles.
const (
	guixProfileName = "profile"
	guixProfile     = "profiles/per-user/root/guix-profile"
)

// Spec returns the layer that holds the database, the number of its schema, the roots and the directories that belong there, all
// root's. A single root that is a profile of Guix is root's profile too, as `guix pack` has it.
func (r *Registration) Spec() (*filelayer.Spec, error) {
	db, err := r.Bytes()
	if err != nil {
		return nil, err
	}
	s := states[r.Kind]
	by := string(r.Kind) + " database"
	spec := new(filelayer.Spec)
	add := func(e filelayer.Entry) {
		e.Path, e.By = path.Join(s.dir, e.Path), by
		spec.Entries = append(spec.Entries, e)
	}
	for _, d := range s.directories {
		add(filelayer.Entry{Type: filelayer.TypeDirectory, Path: d})
	}
	mode := uint16(0o644)
	add(filelayer.Entry{Type: filelayer.TypeText, Path: "db/db.sqlite", Text: string(db), Mode: &mode})
	add(filelayer.Entry{Type: filelayer.TypeText, Path: "db/schema", Text: s.version, Mode: &mode})
	link := func(name, target string) {
		add(filelayer.Entry{Type: filelayer.TypeSymlink, Path: name, Target: target})
	}
	link("gcroots/profiles", "/"+s.dir+"/profiles")
	for _, root := range r.roots() {
		link(rootsDir+"/"+root.Base(), string(root))
	}
	if p := r.profile(); p != "" {
		link(guixProfile, path.Base(guixProfile)+"-1-link")
		link(guixProfile+"-1-link", string(p))
	}
	return spec, nil
}

// profile is the image's profile of Guix, if it has one.
func (r *Registration) profile() store.Path {
	if r.Kind == Guix && len(r.Roots) == 1 && r.Roots[0].Name() == guixProfileName {
		return r.Roots[0]
	}
	return ""
}
