// Package project reads the project file, strata.json: what people write to say
// which store paths they want, from which caches, and whom they trust.
//
//	{
//	  "caches": ["https://cache.nixos.org", {"url": "file:../cache", "allow_unsigned": true}],
//	  "public_keys": ["cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="],
//	  "systems": ["x86_64-linux"],
//	  "channels": {"nixos-25.05": "https://channels.nixos.org/nixos-25.05/store-paths.xz"},
//	  "roots": {
//	    "web": "/nix/store/…-web-1.0",
//	    "nginx": {"package": "nginx"},
//	    "app": {"file": "result.json"}
//	  },
//	  "layering": {
//	    "max_layers": 64,
//	    "groups": [{"name": "libc", "packages": ["glibc*", "gcc"]}]
//	  }
//	}
//
// A root is a store path, or an object that says where one is to be looked up,
// or an object with one of these for each system. docs/roots.md has all forms.
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
	// Channels are sorted by name.
	Channels []Channel
	// Roots are sorted by name and system. Those that are store paths are all in one store directory.
	Roots []Root
	// MaxLayers is the most layers that an image of a root may have.
	MaxLayers int
	// Strategy is how paths are grouped into layers, one of [plan.Strategies]; empty: the default.
	Strategy string
	// LayerCost is what a layer costs beside its bytes, in bytes.
	LayerCost int64
	// Groups are the layers that people want.
	Groups []plan.Group
}

// Cache is a binary cache.
type Cache struct {
	// URL has the scheme file, http or https, and no slash at its end. A
	// relative file: URL is relative to the project file's folder.
	URL string
	// AllowUnsigned says that paths of this cache need no signature.
	AllowUnsigned bool
	// Mirrors are the URLs of caches that have this one's files under the same
	// relative URLs, in the form of URL.
	Mirrors []string
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
		strictjson.Field{Name: "channels", Read: p.readChannels, Optional: true},
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
				strictjson.Field{Name: "mirrors", Optional: true, Read: c.readMirrors},
			)
		}
		p.Caches = append(p.Caches, c)
		return err
	})
}

func (c *Cache) readMirrors(v *strictjson.Value) error {
	return v.Each(func(e *strictjson.Value) error {
		var mirror string
		if err := strictjson.Parsed(&mirror, ParseMirrorURL)(e); err != nil {
			return err
		}
		if mirror == c.URL || slices.Contains(c.Mirrors, mirror) {
			return e.Errorf("%s is the cache itself, or listed twice", fetch.Redact(mirror))
		}
		c.Mirrors = append(c.Mirrors, mirror)
		return nil
	})
}

func (p *Project) readPublicKeys(v *strictjson.Value, dir string) error {
	return v.Each(func(e *strictjson.Value) error {
		keys := make([]narinfo.PublicKey, 1)
		var err error
		if e.IsString() {
			err = strictjson.Parsed(&keys[0], narinfo.ParsePublicKey)(e)
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
				if keys, err = ReadPublicKeys(file, name); err != nil {
					err = e.Errorf("%w", err)
				}
			}
		}
		p.PublicKeys = append(p.PublicKeys, keys...)
		return err
	})
}

// maxKeyFile bounds the file of a public key, in bytes.
const maxKeyFile = 64 << 10

// ReadPublicKeys reads a file that holds a public key, or several, in a form that
// [narinfo.ParsePublicKeys] knows. Name, if it isn't empty, is given to a key that has none of its own.
func ReadPublicKeys(file, name string) ([]narinfo.PublicKey, error) {
	bad := func(err error) ([]narinfo.PublicKey, error) {
		return nil, fmt.Errorf("public key file %s: %w", file, err)
	}
	// Looked at before it is opened: opening a pipe would wait for a writer.
	if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() {
		return bad(errors.New("it is no regular file"))
	}
	in, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("public key file: %w", err)
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
	keys, err := narinfo.ParsePublicKeys(text)
	if err != nil {
		return bad(err)
	}
	return keys, nil
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
	if err := p.checkRoots(); err != nil {
		return err
	}
	return p.checkLayering()
}

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

// ParseMirrorURL returns the URL of a mirror as [Cache] has it. It goes into the lock, and so holds no credentials.
func ParseMirrorURL(s string) (string, error) {
	url, err := ParseCacheURL(s)
	if err != nil {
		return "", err
	}
	return url, checkNoUser(url)
}

// checkNoUser says that rawURL, which can be parsed, holds credentials.
func checkNoUser(rawURL string) error {
	if u, err := url.Parse(rawURL); err != nil || u.User != nil {
		return fmt.Errorf("%s: want a URL without user and password, which belong into ~/.netrc", fetch.Redact(rawURL))
	}
	return nil
}

// ParseSystem returns s if it is a system that images can be made for.
func ParseSystem(s string) (string, error) {
	_, err := image.PlatformOf(s)
	return s, err
}
