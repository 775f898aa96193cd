package layeredimage

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rules-strata/rules_strata/tool/store"
	"github.com/rules-strata/rules_strata/tool/strictjson"
)

// MaxConfSize is the greatest size of a document in bytes.
const MaxConfSize = 64 << 20

// Conf is a document.
type Conf struct {
	// Architecture and OS are the platform, in Go's words.
	Architecture, OS string
	// Config is the image's config, a JSON object that goes into the image as it is.
	Config json.RawMessage
	// Created is the image's time, Mtime that of the files.
	Created, Mtime Time
	// RepoTag is the image's name.
	RepoTag string
	// StoreLayers are the store paths of each layer, lowest first.
	StoreLayers [][]store.Path
	// CustomisationLayer is the store path of what comes last; "" for none. It has either a layer.tar
	// and its checksum, or, in the form of 2020, the files themselves as they shall be at the image's root.
	CustomisationLayer store.Path
	// FromImage is a docker archive whose layers come first; "" for none.
	FromImage string
	// Owner is whom the files belong to; nil in the form of 2020: root.
	Owner *Owner
	// StoreDir is the store's directory.
	StoreDir string
}

// Owner is an owner with names.
type Owner struct {
	UID, GID     uint32
	Uname, Gname string
}

// Time is a time or "now".
type Time struct {
	Now bool
	At  time.Time
}

// of is the time, if now is now.
func (t Time) of(now time.Time) time.Time {
	if t.Now {
		return now
	}
	return t.At
}

// Parse reads a document. Fields that it doesn't know are errors: they would change the image.
func Parse(b []byte) (*Conf, error) {
	if len(b) > MaxConfSize {
		return nil, fmt.Errorf("over %d bytes", MaxConfSize)
	}
	doc, err := strictjson.Parse(b)
	if err != nil {
		return nil, err
	}
	c := &Conf{OS: "linux", StoreDir: "/nix/store"}
	var owner Owner
	owned, mtime := false, false
	id := func(p *uint32) func(*strictjson.Value) error {
		return func(v *strictjson.Value) error {
			owned = true
			text, err := v.Text()
			if err != nil { // A number, or the same in quotes.
				n, err := v.Int()
				if err != nil {
					return v.Errorf("want a number")
				}
				text = strconv.FormatInt(n, 10)
			}
			n, err := strconv.ParseUint(text, 10, 32)
			if err != nil {
				return v.Errorf("want an ID from 0 to %d, found %s", uint32(1<<32-1), text)
			}
			*p = uint32(n)
			return nil
		}
	}
	name := func(p *string) func(*strictjson.Value) error {
		return func(v *strictjson.Value) error { owned = true; return strictjson.StringInto(p)(v) }
	}
	err = doc.Fields(
		strictjson.Field{Name: "architecture", Read: strictjson.StringInto(&c.Architecture)},
		strictjson.Field{Name: "os", Read: strictjson.StringInto(&c.OS), Optional: true},
		strictjson.Field{Name: "config", Read: func(*strictjson.Value) error { return nil }},
		strictjson.Field{Name: "created", Read: strictjson.Parsed(&c.Created, parseTime)},
		strictjson.Field{Name: "mtime", Optional: true, Read: func(v *strictjson.Value) error { mtime = true; return strictjson.Parsed(&c.Mtime, parseTime)(v) }},
		strictjson.Field{Name: "repo_tag", Read: strictjson.StringInto(&c.RepoTag)},
		strictjson.Field{Name: "store_layers", Read: c.readLayers},
		strictjson.Field{Name: "customisation_layer", Optional: true, Read: func(v *strictjson.Value) error {
			if v.IsNull() {
				return nil
			}
			return strictjson.Parsed(&c.CustomisationLayer, store.ParsePath)(v)
		}},
		strictjson.Field{Name: "from_image", Read: optionalString(&c.FromImage), Optional: true},
		strictjson.Field{Name: "uid", Read: id(&owner.UID), Optional: true},
		strictjson.Field{Name: "gid", Read: id(&owner.GID), Optional: true},
		strictjson.Field{Name: "uname", Read: name(&owner.Uname), Optional: true},
		strictjson.Field{Name: "gname", Read: name(&owner.Gname), Optional: true},
		strictjson.Field{Name: "store_dir", Read: strictjson.StringInto(&c.StoreDir), Optional: true},
	)
	if err != nil {
		return nil, err
	}
	if owned {
		c.Owner = &owner
	}
	if !mtime {
		c.Mtime = c.Created
	}
	var config struct{ Config map[string]json.RawMessage }
	if err := json.Unmarshal(b, &config); err != nil {
		return nil, errors.New("config: want an object")
	}
	var raw struct{ Config json.RawMessage }
	if err := json.Unmarshal(b, &raw); err != nil {
		return nil, err
	}
	c.Config = raw.Config
	return c, c.check()
}

func (c *Conf) readLayers(v *strictjson.Value) error {
	return v.Each(func(l *strictjson.Value) error {
		var paths []store.Path
		err := l.Each(func(e *strictjson.Value) error {
			var p store.Path
			err := strictjson.Parsed(&p, store.ParsePath)(e)
			paths = append(paths, p)
			return err
		})
		c.StoreLayers = append(c.StoreLayers, paths)
		return err
	})
}

func (c *Conf) check() error {
	if err := store.CheckDir(c.StoreDir); err != nil {
		return fmt.Errorf("store_dir: %w", err)
	}
	seen := map[store.Path]int{}
	for i, l := range c.StoreLayers {
		if len(l) == 0 {
			return fmt.Errorf("store_layers: layer %d has no store path", i+1)
		}
		for _, p := range l {
			if p.Dir() != c.StoreDir {
				return fmt.Errorf("store_layers: %s is not in store_dir, %s", p, c.StoreDir)
			}
			if first, twice := seen[p]; twice {
				return fmt.Errorf("store_layers: %s is in layers %d and %d", p, first+1, i+1)
			}
			seen[p] = i
		}
	}
	if p := c.CustomisationLayer; p != "" && p.Dir() != c.StoreDir {
		return fmt.Errorf("customisation_layer: %s is not in store_dir, %s", p, c.StoreDir)
	}
	if len(c.StoreLayers) == 0 && c.CustomisationLayer == "" && c.FromImage == "" {
		return errors.New("store_layers: the image has no layers")
	}
	return nil
}

// optionalString takes null for nothing.
func optionalString(p *string) func(*strictjson.Value) error {
	return func(v *strictjson.Value) error {
		if v.IsNull() {
			return nil
		}
		return strictjson.StringInto(p)(v)
	}
}

// parseTime reads what Python's datetime.fromisoformat does, and "now".
func parseTime(s string) (Time, error) {
	if s == "now" {
		return Time{Now: true}, nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05", "2006-01-02"} {
		if t, err := time.Parse(layout, strings.TrimSpace(s)); err == nil {
			return Time{At: t.UTC()}, nil
		}
	}
	return Time{}, fmt.Errorf(`%q: want a time such as 1970-01-01T00:00:01Z, or "now"`, s)
}
