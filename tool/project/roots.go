package project

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rules-strata/rules_strata/tool/channel"
	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/store"
	"github.com/rules-strata/rules_strata/tool/strictjson"
)

// Channel is a list of store paths in which packages are looked up by name.
type Channel struct {
	Name string
	// URLs are those of its store-paths lists, by system: file:, http or https.
	// Relative file: URLs are relative to the project file's folder.
	URLs map[string]string
}

// Root is what images are made of, on one system: a store path, or where to look one up.
type Root struct {
	Name, System string

	// Of these one is set.
	Path    store.Path
	Package *Package
	File    *File
}

// Package is a root that is looked up by name in a channel.
type Package struct {
	channel.Query
	// Channel is the name of one of the project's channels; "" where the project has only one.
	Channel string
}

// File is a root that a file of Nix or Guix names: what tool/graph reads.
type File struct {
	// Path is the file's, with slashes, relative to the project file's folder or absolute.
	Path string
	// Output is which output is meant of what nix build made; "" if that is clear.
	Output string
	// Name is which store path is meant of several, by its name with or without version ("web-1.0", "web"); "" if that is clear.
	Name string
}

// systemExample is how the form of a root for several systems is explained.
const systemExample = `{"%s": …, "%s": …}`

func (p *Project) readChannels(v *strictjson.Value) error {
	return v.Members(func(name string, m *strictjson.Value) error {
		if err := CheckChannelName(name); err != nil {
			return m.Errorf("%w", err)
		}
		c := Channel{Name: name, URLs: map[string]string{}}
		if m.IsString() {
			var url string
			if err := strictjson.Parsed(&url, ParseChannelURL)(m); err != nil {
				return err
			}
			for _, system := range p.Systems {
				c.URLs[system] = url
			}
		} else if err := m.Members(func(system string, m *strictjson.Value) error {
			var url string
			if err := strictjson.Parsed(&url, ParseChannelURL)(m); err != nil {
				return err
			}
			c.URLs[system] = url
			return p.checkSystem(m, system)
		}); err != nil {
			return err
		}
		p.Channels = append(p.Channels, c)
		return nil
	})
}

func (p *Project) checkSystem(v *strictjson.Value, system string) error {
	if !slices.Contains(p.Systems, system) {
		return v.Errorf("the system %s is not among the systems: %s", system, strings.Join(p.Systems, ", "))
	}
	return nil
}

func (p *Project) readRoots(v *strictjson.Value) error {
	return v.Members(func(name string, m *strictjson.Value) error {
		if err := CheckRootName(name); err != nil {
			return m.Errorf("%w", err)
		}
		if form, err := isForm(m); err != nil {
			return err
		} else if form {
			return p.readForAll(name, m)
		}
		n := len(p.Roots)
		err := m.Members(func(system string, m *strictjson.Value) error {
			if err := p.checkSystem(m, system); err != nil {
				return err
			}
			return p.readRoot(name, system, m)
		})
		if err == nil && len(p.Roots) == n {
			err = m.Errorf("the root has no store path")
		}
		return err
	})
}

// isForm reports whether v is a store path or says where one is to be looked up, and not one of these by system.
func isForm(v *strictjson.Value) (bool, error) {
	form := v.IsString()
	if form {
		return true, nil
	}
	return form, v.Members(func(name string, _ *strictjson.Value) error {
		form = form || name == "package" || name == "file"
		return nil
	})
}

// readForAll reads a root that stands there without a system.
func (p *Project) readForAll(name string, v *strictjson.Value) error {
	for _, system := range p.Systems {
		if err := p.readRoot(name, system, v); err != nil {
			return err
		}
		if r := p.Roots[len(p.Roots)-1]; r.Package == nil && len(p.Systems) > 1 {
			what := "a store path"
			if r.File != nil {
				what = "what a file names"
			}
			return v.Errorf("want an object such as "+systemExample+": %s is of one system, and there are %d", p.Systems[0], p.Systems[1], what, len(p.Systems))
		}
	}
	if len(p.Systems) == 0 {
		return v.Errorf("no system is listed that the root could be for")
	}
	return nil
}

// readRoot reads the root of one system.
func (p *Project) readRoot(name, system string, v *strictjson.Value) error {
	r := Root{Name: name, System: system}
	var err error
	switch form := (*strictjson.Value)(nil); {
	case v.IsString():
		if err = strictjson.Parsed(&r.Path, store.ParsePath)(v); err == nil {
			err = p.checkDir(r)
		}
	default:
		if form, err = member(v, "file"); err != nil {
			return err
		}
		if form != nil {
			r.File = new(File)
			err = r.File.read(v)
		} else {
			r.Package = new(Package)
			if err = r.Package.read(v); err == nil {
				_, err = p.ListURL(r)
			}
		}
	}
	var placed *strictjson.Error
	if err != nil && !errors.As(err, &placed) {
		err = v.Errorf("%w", err)
	}
	p.Roots = append(p.Roots, r)
	return err
}

// member is the member of that name of the object that v must be; nil if it has none.
func member(v *strictjson.Value, name string) (found *strictjson.Value, err error) {
	return found, v.Members(func(n string, m *strictjson.Value) error {
		if n == name {
			found = m
		}
		return nil
	})
}

func (k *Package) read(v *strictjson.Value) error {
	var output string
	err := v.Fields(
		strictjson.Field{Name: "package", Read: strictjson.Parsed(&k.Query, channel.ParseQuery)},
		strictjson.Field{Name: "output", Optional: true, Read: strictjson.Parsed(&output, parseOutput)},
		strictjson.Field{Name: "channel", Optional: true, Read: strictjson.StringInto(&k.Channel)},
	)
	switch {
	case err != nil:
		return err
	case output != "" && k.Output != "" && output != k.Output:
		return fmt.Errorf("package names the output %s, and output %s; keep one", k.Output, output)
	case output != "":
		k.Output = output
	}
	return nil
}

func (f *File) read(v *strictjson.Value) error {
	return v.Fields(
		strictjson.Field{Name: "file", Read: strictjson.Parsed(&f.Path, parseFile)},
		strictjson.Field{Name: "output", Optional: true, Read: strictjson.Parsed(&f.Output, parseOutput)},
		strictjson.Field{Name: "name", Optional: true, Read: strictjson.Parsed(&f.Name, parseName)},
	)
}

// ParseRoot reads what a command line says of a root on a system: NAME=STOREPATH,
// NAME=@FILE, or NAME=PACKAGE, which is looked up in the only channel.
func ParseRoot(s, system string) (Root, error) {
	name, text, ok := strings.Cut(s, "=")
	if !ok {
		return Root{}, fmt.Errorf("want NAME=STOREPATH, NAME=@FILE or NAME=PACKAGE, found %.300q", s)
	}
	if err := CheckRootName(name); err != nil {
		return Root{}, err
	}
	r := Root{Name: name, System: system}
	var err error
	if file, ok := strings.CutPrefix(text, "@"); ok {
		r.File = new(File)
		r.File.Path, err = parseFile(file)
	} else if strings.HasPrefix(text, "/") {
		r.Path, err = store.ParsePath(text)
	} else {
		r.Package = new(Package)
		r.Package.Query, err = channel.ParseQuery(text)
	}
	return r, err
}

// FileIn returns where the file is, where the project file is in the folder dir.
func (f *File) FileIn(dir string) string {
	path := filepath.FromSlash(f.Path)
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// maxFileName and maxChannelURL bound, in bytes, what becomes part of a line in the lock.
const (
	maxFileName   = 1024
	maxChannelURL = 2048
)

func parseOutput(s string) (string, error) { return s, channel.CheckOutput(s) }

func parseFile(s string) (string, error) {
	if s == "" || len(s) > maxFileName || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", fmt.Errorf("file %.300q: want the name of a file, of at most %d bytes and without control characters", s, maxFileName)
	}
	return s, nil
}

func parseName(s string) (string, error) {
	if s == "" || len(s) > store.MaxNameLen || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "", fmt.Errorf("name %.80q: want the name of a store path, with or without its version, such as web-1.0 or web", s)
	}
	return s, nil
}

// ListURL returns the URL of the list in which the package r is looked up.
func (p *Project) ListURL(r Root) (string, error) {
	name := r.Package.Channel
	if name == "" && len(p.Channels) == 1 {
		name = p.Channels[0].Name
	}
	names := make([]string, len(p.Channels))
	for i, c := range p.Channels {
		names[i] = c.Name
		if c.Name != name {
			continue
		}
		if url, ok := c.URLs[r.System]; ok {
			return url, nil
		}
		return "", fmt.Errorf("channel %s has no list for %s", name, r.System)
	}
	switch {
	case len(names) == 0:
		return "", errors.New(`there is no channel to look the package up in; add "channels": {"nixos-25.05": "https://channels.nixos.org/nixos-25.05/store-paths.xz"}`)
	case name == "":
		return "", fmt.Errorf(`say in which channel to look the package up: "channel": one of %s`, strings.Join(names, ", "))
	}
	return "", fmt.Errorf("channel %.80q is not among the channels: %s", name, strings.Join(names, ", "))
}

// checkRoots checks what Check has to of channels and roots, and sorts them.
func (p *Project) checkRoots() error {
	slices.SortFunc(p.Channels, func(a, b Channel) int { return cmp.Compare(a.Name, b.Name) })
	for i, c := range p.Channels {
		if i > 0 && c.Name == p.Channels[i-1].Name {
			return fmt.Errorf("channels: %s is there twice", c.Name)
		}
	}
	slices.SortFunc(p.Roots, func(a, b Root) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.System, b.System))
	})
	for i, r := range p.Roots {
		if i > 0 && r.Name == p.Roots[i-1].Name && r.System == p.Roots[i-1].System {
			return fmt.Errorf("roots: %s on %s is there twice", r.Name, r.System)
		}
		var err error
		switch {
		case r.Package != nil:
			_, err = p.ListURL(r)
		case r.File == nil:
			err = p.checkDir(r)
		}
		if err != nil {
			return fmt.Errorf("roots: %s: %w", r.Name, err)
		}
	}
	return nil
}

// checkDir says that r's path is of another store directory than the others' before it.
func (p *Project) checkDir(r Root) error {
	for _, first := range p.Roots {
		if first.Path == "" {
			continue
		}
		if first.Path.Dir() != r.Path.Dir() {
			return fmt.Errorf("the roots must be of one store directory: %s is in %s, %s in %s", first.Name, first.Path.Dir(), r.Name, r.Path.Dir())
		}
		break
	}
	return nil
}

// StoreDir is the store directory of the roots that are store paths; "" if none is.
func (p *Project) StoreDir() string {
	for _, r := range p.Roots {
		if r.Path != "" {
			return r.Path.Dir()
		}
	}
	return ""
}

// ParseChannelURL returns s if it is the URL of a store-paths list.
func ParseChannelURL(s string) (string, error) {
	url, err := ParseMirrorURL(s)
	if err == nil && len(s) > maxChannelURL {
		err = fmt.Errorf("the URL is longer than %d bytes", maxChannelURL)
	}
	if err == nil && url != s {
		err = fmt.Errorf("%s: want the URL of the list itself, such as https://channels.nixos.org/nixos-25.05/store-paths.xz", fetch.Redact(s))
	}
	return url, err
}

// CheckChannelName says why name is no name of a channel.
func CheckChannelName(name string) error {
	if name == "" || len(name) > 128 || strings.ContainsFunc(name, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && !strings.ContainsRune("._-", r)
	}) {
		return fmt.Errorf("channel name %.80q: want 1 to 128 letters, digits and . _ -", name)
	}
	return nil
}

// CheckRootName says why name is no name of a root, which becomes a Bazel
// target in the top package of a lock's repository (rules/private/hub_files.bzl).
func CheckRootName(name string) error {
	for i := range len(name) {
		c := name[i]
		alnum := '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !alnum && (i == 0 || strings.IndexByte("._-", c) < 0) {
			return fmt.Errorf("root name %q: want letters, digits and . _ -, the first a letter or a digit", name)
		}
	}
	if name == "" || len(name) > 128 {
		return fmt.Errorf("root name %q: want 1 to 128 characters", name)
	}
	if _, err := image.PlatformOf(name); err == nil || slices.Contains(reservedNames, name) {
		return fmt.Errorf("root name %q: a lock's repository has something else of that name under Bazel; choose another", name)
	}
	return nil
}

// reservedNames are the files and packages beside the roots, and what Bazel
// takes for patterns. rules/private/store_names.bzl has the same.
var reservedNames = []string{
	"BUILD", "BUILD.bazel", "MODULE.bazel", "REPO.bazel", "WORKSPACE", "WORKSPACE.bazel", "WORKSPACE.bzlmod",
	"all", "all-targets", "layer", "nars.bzl", "path",
}
