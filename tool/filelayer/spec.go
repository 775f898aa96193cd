package filelayer

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/rules-strata/rules_strata/tool/layer"
	"github.com/rules-strata/rules_strata/tool/store"
	"github.com/rules-strata/rules_strata/tool/strictjson"
)

// maxSpec bounds a specification, in bytes.
const maxSpec = 64 << 20

// Spec says what is in a layer. As JSON it is an object:
//
//	{
//	  "entries": [
//	    {"type": "file", "from": "motd.txt", "path": "etc/motd"},
//	    {"type": "symlink", "path": "bin/sh", "target": "/nix/store/…-bash/bin/bash"},
//	    {"type": "directory", "path": "tmp", "mode": "1777"}
//	  ],
//	  "modes": {"bin/ping": "4755"},
//	  "owners": {"home/me/**": "1000:100 me:users"}
//	}
type Spec struct {
	Entries []Entry
	Options
}

// Options hold for all entries of a layer.
type Options struct {
	// Owner is whom entries belong to that say nothing else; nil: 0:0, "root".
	Owner *layer.Owner
	// MtimeUnix is the time of all entries, in seconds since 1970; nil: 1, as in a Nix store.
	MtimeUnix *int64
	// Exclude are patterns of what is left out, directories with all that is in them. They match paths before Rename.
	Exclude []layer.Pattern
	// Rename moves what a pattern matches, with all below it; of several the first that matches counts.
	Rename []Rename
	// Modes, Owners, Xattrs and Capabilities set what their names say of all that a pattern matches; the last match counts.
	Modes        []layer.ModeRule
	Owners       []OwnerRule
	Xattrs       []XattrRule
	Capabilities []CapabilityRule
	// Collisions says what to do with two entries for one path: [CollisionsError] (also when empty), [CollisionsFirst], [CollisionsLast].
	Collisions string
	// OmitParents leaves out the directories above entries that no entry names. Where a base image has them, they keep what they are there.
	OmitParents bool
	// AllowWhiteoutNames lets names that begin with ".wh." pass as they are. (Those in tars do anyway: there they are meant.)
	AllowWhiteoutNames bool
}

// The values of [Options.Collisions].
const (
	CollisionsError = "error"
	CollisionsFirst = "first"
	CollisionsLast  = "last"
)

// OwnerRule sets an owner.
type OwnerRule struct {
	Pattern layer.Pattern
	Owner   layer.Owner
}

// XattrRule sets extended attributes.
type XattrRule struct {
	Pattern layer.Pattern
	Xattrs  []layer.Xattr
}

// CapabilityRule sets the capabilities of programs.
type CapabilityRule struct {
	Pattern layer.Pattern
	// Value is that of the extended attribute security.capability.
	Value string
}

// Entry is something that a layer holds. Each type has fields of its own; the rest are empty.
type Entry struct {
	// Type is one of the types below.
	Type string
	// Path is where it goes in the image: relative, clean; "" is the root.
	Path string
	// From is the file, folder or tar on disk.
	From string
	// Text is a file's contents.
	Text string
	// Target is what a symlink points to.
	Target string
	// Mode, if not nil, is the permissions of a file or directory.
	Mode *uint16
	// Owner, if not nil, is whom it belongs to.
	Owner *layer.Owner
	// Follow says of a folder that symlinks in it are followed. Bazel's directories have none, but a sandbox is made of them.
	Follow bool
	// Shared says of a file that it is one with all other shared ones that come from the same file: further names are hard links. A
	// symlink that leads nowhere stays one: these are a program's runfiles.
	Shared bool
	// Root is the store path that links, copies, certificates, time zones or programs are of.
	Root store.Path
	// RootName names the Root in place of a store path: see [Spec.ResolveRoots].
	RootName string
	// Subdirs are the directories of Root that are linked or copied, relative and clean; empty: all.
	Subdirs []string
	// Zone is the time zone, as "Europe/Berlin"; "": none is set.
	Zone string
	// Users is what an entry of type [TypeUsers] has.
	Users *Users
	// By says in messages who wants the entry, as "files: //app:motd" or "entries[3]".
	By string
}

// The types of entries, and the fields that they have beside By.
const (
	TypeFile      = "file"      // From, Path, Mode, Owner, Shared
	TypeText      = "text"      // Text, Path, Mode, Owner
	TypeFolder    = "folder"    // From, Path, Follow
	TypeTar       = "tar"       // From, Path: plain, gzip or zstd
	TypeSymlink   = "symlink"   // Target, or From: a symlink on disk; Path, Owner
	TypeDirectory = "directory" // Path, Mode, Owner
	TypeRemove    = "remove"    // Path: what lower layers have there is gone
	TypeClear     = "clear"     // Path: what lower layers have in this directory is gone
	TypeLinks     = "links"     // Root, Subdirs, Path: symlinks to all files of Root
	TypeCopies    = "copies"    // Root, Subdirs, Path: the files themselves
	TypeUsers     = "users"     // Users
	TypeCerts     = "ca_certificates"
	TypeZones     = "time_zones" // Root, Zone
	TypeShell     = "shell"      // Root: /bin/sh
	TypeEnv       = "env"        // Root: /usr/bin/env
)

// ReadFile reads a specification from a file.
func ReadFile(name string) (*Spec, error) {
	in, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	b, err := io.ReadAll(io.LimitReader(in, maxSpec+1))
	if err == nil && len(b) > maxSpec {
		err = fmt.Errorf("over %d bytes", maxSpec)
	}
	var s *Spec
	if err == nil {
		s, err = Parse(b)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

// Parse reads a specification.
func Parse(b []byte) (*Spec, error) {
	doc, err := strictjson.Parse(b)
	if err != nil {
		return nil, err
	}
	s := new(Spec)
	var names bool
	field := func(name string, read func(*strictjson.Value) error) strictjson.Field {
		return strictjson.Field{Name: name, Read: read, Optional: true}
	}
	rules := func(set func(pattern string, v *strictjson.Value) error) func(*strictjson.Value) error {
		return func(v *strictjson.Value) error {
			return v.Members(func(pattern string, m *strictjson.Value) error {
				return wrap(m, set(pattern, m))
			})
		}
	}
	texts := func(set func(pattern, text string) error) func(*strictjson.Value) error {
		return rules(func(pattern string, v *strictjson.Value) error {
			text, err := v.Text()
			if err != nil {
				return err
			}
			return set(pattern, text)
		})
	}
	err = doc.Fields(
		field("entries", func(v *strictjson.Value) error {
			return v.Each(func(v *strictjson.Value) error {
				e, err := readEntry(v)
				if e.By == "" {
					e.By = v.Path()
				}
				s.Entries = append(s.Entries, e)
				return err
			})
		}),
		field("owner", text(s.SetOwner)),
		field("owner_names", text(func(t string) error { names = true; return s.SetOwnerNames(t) })),
		field("mtime", func(v *strictjson.Value) error {
			n, err := v.Int()
			if err != nil {
				return err
			}
			return wrap(v, s.SetMtime(n))
		}),
		field("exclude", func(v *strictjson.Value) error { return v.Each(text(s.AddExclude)) }),
		field("rename", texts(s.AddRename)),
		field("modes", texts(s.AddMode)),
		field("owners", texts(s.AddOwner)),
		field("capabilities", texts(s.AddCapabilities)),
		field("xattrs", rules(func(pattern string, v *strictjson.Value) error {
			return v.Each(text(func(t string) error { return s.AddXattr(pattern, t) }))
		})),
		field("collisions", text(s.SetCollisions)),
		field("parents", func(v *strictjson.Value) error {
			write, err := v.Bool()
			s.OmitParents = !write
			return err
		}),
		field("allow_whiteout_names", func(v *strictjson.Value) (err error) { s.AllowWhiteoutNames, err = v.Bool(); return err }),
	)
	if err == nil && names && s.Owner == nil {
		err = errors.New("owner_names: want owner too; names without numbers are no owner")
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// ParseEntry reads one entry of a specification.
func ParseEntry(b []byte) (Entry, error) {
	v, err := strictjson.Parse(b)
	if err != nil {
		return Entry{}, err
	}
	return readEntry(v)
}

// text makes a reader of a string out of a function that takes one.
func text(set func(string) error) func(*strictjson.Value) error {
	return func(v *strictjson.Value) error {
		t, err := v.Text()
		if err != nil {
			return err
		}
		return wrap(v, set(t))
	}
}

// wrap gives an error of v its place, unless it has one.
func wrap(v *strictjson.Value, err error) error {
	if err == nil || errors.As(err, new(*strictjson.Error)) {
		return err
	}
	return v.Errorf("%w", err)
}

func readEntry(v *strictjson.Value) (e Entry, err error) {
	// The type first: it says which fields there are.
	err = v.Members(func(name string, m *strictjson.Value) (err error) {
		if name == "type" {
			e.Type, err = m.Text()
		}
		return err
	})
	if err != nil {
		return e, err
	}
	fields := map[string]strictjson.Field{
		"from":    {Name: "from", Read: text(func(t string) error { e.From = t; return notEmpty(t) })},
		"path":    {Name: "path", Read: text(func(t string) (err error) { e.Path, err = CleanPath(t, false); return err })},
		"into":    {Name: "path", Read: text(func(t string) (err error) { e.Path, err = CleanPath(t, true); return err }), Optional: true},
		"text":    {Name: "text", Read: strictjson.StringInto(&e.Text)},
		"target":  {Name: "target", Read: text(func(t string) error { e.Target = t; return CheckTarget(t) })},
		"mode":    {Name: "mode", Read: text(func(t string) (err error) { e.Mode, err = parseModePointer(t); return err }), Optional: true},
		"owner":   {Name: "owner", Read: text(func(t string) (err error) { e.Owner, err = ParseOwner(t); return err }), Optional: true},
		"follow":  {Name: "follow", Read: func(v *strictjson.Value) (err error) { e.Follow, err = v.Bool(); return err }, Optional: true},
		"shared":  {Name: "shared", Read: func(v *strictjson.Value) (err error) { e.Shared, err = v.Bool(); return err }, Optional: true},
		"root":    {Name: "root", Read: text(e.setRoot)},
		"subdirs": {Name: "subdirs", Read: func(v *strictjson.Value) error { return v.Each(text(e.addSubdir)) }, Optional: true},
		"zone":    {Name: "zone", Read: text(func(t string) error { e.Zone = t; return checkZone(t) }), Optional: true},
	}
	of := func(names ...string) []strictjson.Field {
		all := []strictjson.Field{
			{Name: "type", Read: func(*strictjson.Value) error { return nil }},
			{Name: "by", Read: strictjson.StringInto(&e.By), Optional: true},
		}
		for _, n := range names {
			all = append(all, fields[n])
		}
		return all
	}
	switch e.Type {
	case TypeFile:
		err = v.Fields(of("from", "path", "mode", "owner", "shared")...)
	case TypeText:
		err = v.Fields(of("text", "path", "mode", "owner")...)
	case TypeFolder:
		err = v.Fields(of("from", "into", "follow")...)
	case TypeTar:
		err = v.Fields(of("from", "into")...)
	case TypeSymlink:
		target, from := fields["target"], fields["from"]
		target.Optional, from.Optional = true, true
		err = v.Fields(append(of("path", "owner"), target, from)...)
		if err == nil && (e.Target == "") == (e.From == "") {
			err = v.Errorf("want a target, or from: a symlink on disk")
		}
	case TypeDirectory:
		err = v.Fields(of("path", "mode", "owner")...)
	case TypeRemove, TypeClear:
		err = v.Fields(of("path")...)
	case TypeLinks, TypeCopies:
		err = v.Fields(of("root", "subdirs", "into")...)
	case TypeUsers:
		e.Users = new(Users)
		err = e.Users.read(v, of())
	case TypeCerts, TypeShell, TypeEnv:
		err = v.Fields(of("root")...)
	case TypeZones:
		err = v.Fields(of("root", "zone")...)
	default:
		err = v.Errorf("type: want one of %s; found %q", strings.Join(entryTypes, ", "), e.Type)
	}
	return e, err
}

var entryTypes = []string{
	TypeFile, TypeText, TypeFolder, TypeTar, TypeSymlink, TypeDirectory, TypeRemove, TypeClear,
	TypeLinks, TypeCopies, TypeUsers, TypeCerts, TypeZones, TypeShell, TypeEnv,
}

// Types lists the types of entries.
func Types() []string { return slices.Clone(entryTypes) }

func notEmpty(s string) error {
	if s == "" {
		return errors.New("it is empty")
	}
	return nil
}

// setRoot reads a store path, or a name for one.
func (e *Entry) setRoot(text string) (err error) {
	if strings.HasPrefix(text, "/") {
		e.Root, err = store.ParsePath(text)
		return err
	}
	e.RootName = text
	return notEmpty(text)
}

// ResolveRoots sets the Root of entries that have a name for it, as resolve says.
func (s *Spec) ResolveRoots(resolve func(name string) (store.Path, error)) error {
	for i := range s.Entries {
		e := &s.Entries[i]
		if e.RootName == "" {
			continue
		}
		root, err := resolve(e.RootName)
		if err != nil {
			return fmt.Errorf("%s: %w", e.by(), err)
		}
		e.Root = root
	}
	return nil
}

func (e *Entry) addSubdir(text string) error {
	dir, err := CleanPath(text, false)
	e.Subdirs = append(e.Subdirs, dir)
	return err
}

// Limits of a path in an image, as Linux has them.
const (
	maxPath = 4095
	maxName = 255
)

// CleanPath reads the path of something in an image: with or without a slash in front or behind, without "." and ".." and
// double slashes. What it returns has none of these; "" is the image's root, an error unless root is set.
func CleanPath(text string, root bool) (string, error) {
	p := strings.TrimSuffix(strings.TrimPrefix(text, "/"), "/")
	if p == "" || p == "." {
		if root {
			return "", nil
		}
		return "", fmt.Errorf("%q: want a path in the image, as \"etc/motd\"", text)
	}
	if fault := pathFault(p); fault != "" {
		return "", fmt.Errorf("%.200q: want a path in the image, found %s", text, fault)
	}
	return p, nil
}

// pathFault says what keeps p from being a clean relative path, or "".
func pathFault(p string) string {
	if len(p) > maxPath {
		return fmt.Sprintf("one of %d bytes", len(p))
	}
	if strings.ContainsRune(p, 0) {
		return "a NUL in it"
	}
	for c := range strings.SplitSeq(p, "/") {
		switch {
		case c == "":
			return "a double slash"
		case c == "." || c == "..":
			return fmt.Sprintf("the component %q", c)
		case len(c) > maxName:
			return fmt.Sprintf("a component of %d bytes", len(c))
		}
	}
	return ""
}

// CheckTarget says what keeps target from being a symlink's.
func CheckTarget(target string) error {
	if target == "" || len(target) > maxPath || strings.ContainsRune(target, 0) {
		return fmt.Errorf("%.200q: want a target of 1 to %d bytes without NUL", target, maxPath)
	}
	return nil
}

// ParseMode reads permissions, in octal.
func ParseMode(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 8, 12)
	if err != nil {
		return 0, fmt.Errorf("%q: want octal digits, at most 7777", text)
	}
	return uint16(n), nil
}

func parseModePointer(text string) (*uint16, error) {
	m, err := ParseMode(text)
	return &m, err
}

// ParseOwner reads an owner: "UID:GID", or "UID:GID USER:GROUP".
func ParseOwner(text string) (*layer.Owner, error) {
	ids, names, named := strings.Cut(text, " ")
	uid, gid, ok := strings.Cut(ids, ":")
	u, err1 := strconv.ParseUint(uid, 10, 32)
	g, err2 := strconv.ParseUint(gid, 10, 32)
	if !ok || err1 != nil || err2 != nil {
		return nil, fmt.Errorf("%q: want UID:GID, two numbers below 2^32, or UID:GID USER:GROUP", text)
	}
	o := &layer.Owner{UID: uint32(u), GID: uint32(g)}
	if named {
		return o, setOwnerNames(o, names)
	}
	return o, nil
}

func setOwnerNames(o *layer.Owner, text string) error {
	user, group, ok := strings.Cut(text, ":")
	if !ok {
		return fmt.Errorf("%q: want USER:GROUP", text)
	}
	for _, name := range []string{user, group} {
		if len(name) > 31 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return fmt.Errorf("%q: want names of at most 31 bytes of printable ASCII", text)
		}
	}
	o.UserName, o.GroupName = user, group
	return nil
}
