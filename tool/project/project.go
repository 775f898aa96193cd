// Package project reads the project file, strata.json: what people write to say
// which store paths they want, from which caches, and whom they trust.
//
//	{
//	  "caches": ["https://cache.nixos.org", {"url": "file:../cache", "allow_unsigned": true}],
//	  "public_keys": ["cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="],
//	  "systems": ["x86_64-linux"],
//	  "roots": {"web": "/nix/store/…-web-1.0"},
//	  "layering": {"max_layers": 64}
//	}
//
// Caches are asked in the order in which they stand there, whatever Priority
// they give themselves. A public key is Nix's "name:base64" or the S-expression of Guix's
// signing-key.pub; {"file": "keys/ci.guix.gnu.org.pub", "name": "ci.guix.gnu.org"}
// reads either from a file, relative to the project file's folder, and may name a key of Guix, which has no
// name of its own.
//
// [Read] and [Parse] are the entry points; [Project.Check] holds for projects
// made otherwise, as out of flags. Nothing here asks a cache.
package project

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/narinfo"
	"github.com/rules-strata/rules_strata/tool/plan"
	"github.com/rules-strata/rules_strata/tool/store"
	"github.com/rules-strata/rules_strata/tool/strictjson"
)

// DefaultFile is the project file's name where people name none.
const DefaultFile = "strata.json"

// MaxSize bounds a project file, in bytes.
const MaxSize = 4 << 20

// Project is what a project file says.
type Project struct {
	// Caches are asked in this order.
	Caches []Cache
	// PublicKeys are those whose signatures are believed.
	PublicKeys []narinfo.PublicKey
	// Systems are the platforms, as Nix and Guix name them: "x86_64-linux".
	Systems []string
	// Roots are sorted by name and system. All are in one store directory.
	Roots []Root
	// MaxLayers is the most layers that an image of a root may have.
	MaxLayers int
}

// Cache is a binary cache.
type Cache struct {
	// URL has the scheme file, http or https, and no slash at its end. A
	// relative file: URL is relative to the project file's folder.
	URL string
	// AllowUnsigned says that paths of this cache need no signature.
	AllowUnsigned bool
}

// Root is a store path that images are made of, on one system.
type Root struct {
	Name, System string
	Path         store.Path
}

// Read reads and checks the project file at path.
func Read(path string) (*Project, error) {
	in, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	b, err := io.ReadAll(io.LimitReader(in, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("project file %s: %w", path, err)
	}
	p, err := parse(b, filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("project file %s: %w", path, err)
	}
	return p, nil
}

// Parse reads and checks a project file's bytes, which are in the current
// folder. Errors say where in the file.
func Parse(b []byte) (*Project, error) { return parse(b, "") }

func parse(b []byte, dir string) (*Project, error) {
	if len(b) > MaxSize {
		return nil, fmt.Errorf("over %d bytes", MaxSize)
	}
	doc, err := strictjson.Parse(b)
	if err != nil {
		return nil, err
	}
	p := &Project{MaxLayers: plan.DefaultMaxLayers}
	readPublicKeys := func(v *strictjson.Value) error { return p.readPublicKeys(v, dir) }
	err = doc.Fields(
		strictjson.Field{Name: "caches", Read: p.readCaches},
		strictjson.Field{Name: "public_keys", Read: readPublicKeys, Optional: true},
		strictjson.Field{Name: "systems", Read: p.readSystems},
		strictjson.Field{Name: "roots", Read: p.readRoots},
		strictjson.Field{Name: "layering", Read: p.readLayering, Optional: true},
	)
	if err != nil {
		return nil, err
	}
	return p, p.Check()
}

func (p *Project) readCaches(v *strictjson.Value) error {
	return v.Each(func(e *strictjson.Value) error {
		var c Cache
		parse := strictjson.Parsed(&c.URL, ParseCacheURL)
		var err error
		if e.IsString() {
			err = parse(e)
		} else {
			err = e.Fields(
				strictjson.Field{Name: "url", Read: parse},
				strictjson.Field{Name: "allow_unsigned", Optional: true, Read: func(v *strictjson.Value) (err error) {
					c.AllowUnsigned, err = v.Bool()
					return err
				}},
			)
		}
		p.Caches = append(p.Caches, c)
		return err
	})
}

func (p *Project) readPublicKeys(v *strictjson.Value, dir string) error {
	return v.Each(func(e *strictjson.Value) error {
		var key narinfo.PublicKey
		var err error
		if e.IsString() {
			err = strictjson.Parsed(&key, narinfo.ParsePublicKey)(e)
		} else {
			var file, name string
			err = e.Fields(
				strictjson.Field{Name: "file", Read: strictjson.StringInto(&file)},
				strictjson.Field{Name: "name", Read: strictjson.StringInto(&name), Optional: true},
			)
			if err == nil {
				if !filepath.IsAbs(file) {
					file = filepath.Join(dir, filepath.FromSlash(file))
				}
				if key, err = ReadPublicKey(file, name); err != nil {
					err = e.Errorf("%w", err)
				}
			}
		}
		p.PublicKeys = append(p.PublicKeys, key)
		return err
	})
}

// maxKeyFile bounds the file of a public key, in bytes.
const maxKeyFile = 64 << 10

// ReadPublicKey reads a file that holds one public key, in a form that
// [narinfo.ParsePublicKey] knows. Name, if it isn't empty, is given to a key that has none of its own.
func ReadPublicKey(file, name string) (narinfo.PublicKey, error) {
	bad := func(err error) (narinfo.PublicKey, error) {
		return narinfo.PublicKey{}, fmt.Errorf("public key file %s: %w", file, err)
	}
	// Looked at before it is opened: opening a pipe would wait for a writer.
	if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() {
		return bad(errors.New("it is no regular file"))
	}
	in, err := os.Open(file)
	if err != nil {
		return narinfo.PublicKey{}, fmt.Errorf("public key file: %w", err)
	}
	defer in.Close()
	b, err := io.ReadAll(io.LimitReader(in, maxKeyFile+1))
	if err != nil {
		return bad(err)
	}
	if len(b) > maxKeyFile {
		return bad(fmt.Errorf("over %d bytes", maxKeyFile))
	}
	text := strings.TrimSpace(string(b))
	if name != "" {
		if !strings.HasPrefix(text, "(") {
			return bad(errors.New("the key has a name; give none beside it"))
		}
		text = name + ":" + text
	}
	key, err := narinfo.ParsePublicKey(text)
	if err != nil {
		return bad(err)
	}
	return key, nil
}

func (p *Project) readSystems(v *strictjson.Value) error {
	return v.Each(func(e *strictjson.Value) error {
		var system string
		err := strictjson.Parsed(&system, ParseSystem)(e)
		if err == nil && slices.Contains(p.Systems, system) {
			err = e.Errorf("%s is listed twice", system)
		}
		p.Systems = append(p.Systems, system)
		return err
	})
}

func (p *Project) readRoots(v *strictjson.Value) error {
	return v.Members(func(name string, m *strictjson.Value) error {
		if err := CheckRootName(name); err != nil {
			return m.Errorf("%w", err)
		}
		if m.IsString() {
			if len(p.Systems) != 1 {
				return m.Errorf(`want an object such as {"x86_64-linux": "/nix/store/…"}: a root by its path alone needs exactly one system, and there are %d`, len(p.Systems))
			}
			return p.readRoot(name, p.Systems[0], m)
		}
		n := len(p.Roots)
		err := m.Members(func(system string, path *strictjson.Value) error {
			if !slices.Contains(p.Systems, system) {
				return path.Errorf("the system %s is not among the systems: %s", system, strings.Join(p.Systems, ", "))
			}
			return p.readRoot(name, system, path)
		})
		if err == nil && len(p.Roots) == n {
			err = m.Errorf("the root has no store path")
		}
		return err
	})
}

func (p *Project) readRoot(name, system string, v *strictjson.Value) error {
	r := Root{Name: name, System: system}
	if err := strictjson.Parsed(&r.Path, store.ParsePath)(v); err != nil {
		return err
	}
	if len(p.Roots) > 0 && p.Roots[0].Path.Dir() != r.Path.Dir() {
		return v.Errorf("%w", errDirs(p.Roots[0], r))
	}
	p.Roots = append(p.Roots, r)
	return nil
}

func (p *Project) readLayering(v *strictjson.Value) error {
	return v.Fields(strictjson.Field{Name: "max_layers", Optional: true, Read: func(v *strictjson.Value) error {
		n, err := v.Int()
		if err != nil {
			return err
		}
		p.MaxLayers = int(min(max(n, -1), plan.MaxLayers+1)) // fits an int of any size
		if plan.CheckMaxLayers(p.MaxLayers) != nil {
			return v.Errorf("%d: want 1 to %d", n, plan.MaxLayers)
		}
		return nil
	}})
}

// Check checks what no field alone can show, and sorts the roots.
func (p *Project) Check() error {
	if len(p.Caches) == 0 {
		return errors.New("caches: want at least one")
	}
	seen := map[string]bool{}
	for _, c := range p.Caches {
		if seen[c.URL] {
			return fmt.Errorf("caches: %s is listed twice", fetch.Redact(c.URL))
		}
		seen[c.URL] = true
		if len(p.PublicKeys) == 0 && !c.AllowUnsigned {
			return fmt.Errorf("public_keys: want the key of who signs for %s, or allow that cache to be unsigned", fetch.Redact(c.URL))
		}
	}
	if len(p.Systems) == 0 {
		return errors.New("systems: want at least one, such as x86_64-linux")
	}
	for i, system := range p.Systems {
		platform, err := image.PlatformOf(system)
		if err != nil {
			return fmt.Errorf("systems: %w", err)
		}
		for _, other := range p.Systems[:i] {
			if o, _ := image.PlatformOf(other); other != system && o.OS == platform.OS && o.Architecture == platform.Architecture && o.Variant == platform.Variant {
				return fmt.Errorf("systems: %s and %s are the same platform: no image could choose between them; keep one", other, system)
			}
		}
	}
	if len(p.Roots) == 0 {
		return errors.New("roots: want at least one")
	}
	slices.SortFunc(p.Roots, func(a, b Root) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.System, b.System))
	})
	for i, r := range p.Roots {
		if i > 0 && r.Name == p.Roots[i-1].Name && r.System == p.Roots[i-1].System {
			return fmt.Errorf("roots: %s on %s is there twice", r.Name, r.System)
		}
		if r.Path.Dir() != p.Roots[0].Path.Dir() {
			return fmt.Errorf("roots: %w", errDirs(p.Roots[0], r))
		}
	}
	return plan.CheckMaxLayers(p.MaxLayers)
}

func errDirs(a, b Root) error {
	return fmt.Errorf("the roots must be of one store directory: %s is in %s, %s in %s", a.Name, a.Path.Dir(), b.Name, b.Path.Dir())
}

// StoreDir is the store directory of all roots.
func (p *Project) StoreDir() string { return p.Roots[0].Path.Dir() }

// ParseCacheURL returns the URL of a cache as [Cache] has it.
func ParseCacheURL(s string) (string, error) {
	if err := fetch.Check(s); err != nil {
		return "", err
	}
	u, err := url.Parse(s)
	if err != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return "", fmt.Errorf("%s: want a cache's URL without query and fragment", fetch.Redact(s))
	}
	if trimmed := strings.TrimRight(s, "/"); len(trimmed) > len("file:") {
		s = trimmed
	}
	return s, nil
}

// ParseSystem returns s if it is a system that images can be made for.
func ParseSystem(s string) (string, error) {
	_, err := image.PlatformOf(s)
	return s, err
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
