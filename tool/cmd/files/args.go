package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/rules-strata/rules_strata/tool/action"
	"github.com/rules-strata/rules_strata/tool/filelayer"
	"github.com/rules-strata/rules_strata/tool/layer"
	"github.com/rules-strata/rules_strata/tool/narfile"
	"github.com/rules-strata/rules_strata/tool/narsource"
	"github.com/rules-strata/rules_strata/tool/store"
	"github.com/rules-strata/rules_strata/tool/strictjson"
)

var help = fmt.Sprintf(`files turns files of the build into a layer of an OCI image.

Usage: files layer --output=BLOB --digest-file=JSON [options] --entry=JSON...
       files tar --tar=FILE --digest-file=JSON [--compression=NAME]
       files @FILE        (one argument a line, taken as it is)

files layer makes a layer:

  --output=BLOB            where the blob goes
  --digest-file=JSON       where its digest file goes: descriptor, diff ID
  --mtree=FILE             where a listing of the layer goes, in the format of mtree(5)
  --compression=NAME       %s (default: the first)
  --level=LEVEL            %s, or a number: 1 to 9 (gzip), 1 to 22 (zstd)
  --workers=N              cores to use; the bytes are the same for any number (default: all)
  --entry=JSON             something that the layer holds, in order
  --nar=JSON               the NAR of a store path that an entry is about

  --owner=UID:GID          whom entries belong to that say nothing else (default: 0:0, by name root:root)
  --owner-names=USER:GROUP the names of these; without, an --owner has none
  --mtime=SECONDS          time of all entries, in seconds since 1970 (default: 1)
  --exclude=PATTERN        leave out what matches, directories with all that is in them
  --rename=JSON            a list of pattern and new path, in which $1 to $9 stand for the wildcards
  --mode=OCTAL:PATTERN     permissions of the files and directories that match
  --set-owner=JSON         a list of pattern and "UID:GID" or "UID:GID USER:GROUP"
  --xattr=JSON             a list of pattern and "NAME=VALUE"
  --capabilities=JSON      a list of pattern and capabilities, as "cap_net_raw=ep"
  --collisions=WORD        two entries for one path: error (default), first, last
  --omit-parents=true      don't write the directories above entries
  --allow-whiteout-names=true
                           let names beginning with .wh. pass

A pattern is matched against paths in the image: * and ? stand for bytes of one name, ** as a component for any
number of components, \ takes the next byte as it is. Of several that match the last one counts, of --rename the first.

An entry is an object with its type: %s.

files tar reads a tar that is a layer as it is, plain, gzip or zstd, and writes its digest file.

On failure the exit code is 1 (2: wrong arguments), and no output is written.
`, list(layer.Compressions()), list(layer.Levels()), list(filelayer.Types()))

func list(words []string) string { return strings.Join(words, ", ") }

// config is what the arguments say.
type config struct {
	outputs action.LayerOutputs
	tar     string // of the command tar
	spec    filelayer.Spec
	layer   layer.Options
	nars    []narsource.Source
}

func parseTar(args []string) (*config, error) {
	c := &config{}
	flags := action.Flags{
		"--tar":         action.Text(&c.tar),
		"--digest-file": action.Text(&c.outputs.DigestFile),
		"--compression": action.Once(c.layer.Setter("compression")),
	}
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	return c, action.Require("--tar", c.tar, "--digest-file", c.outputs.DigestFile)
}

func parseLayer(args []string) (*config, error) {
	c := &config{}
	o := &c.spec.Options
	flags := action.Flags{
		"--compression":          action.Once(c.layer.Setter("compression")),
		"--level":                action.Once(c.layer.Setter("level")),
		"--workers":              action.Once(c.layer.Setter("workers")),
		"--entry":                c.addEntry,
		"--nar":                  c.addNAR,
		"--owner":                action.Once(o.SetOwner),
		"--owner-names":          action.Once(o.SetOwnerNames),
		"--mtime":                action.Once(c.setMtime),
		"--exclude":              o.AddExclude,
		"--rename":               pair(o.AddRename),
		"--mode":                 c.addMode,
		"--set-owner":            pair(o.AddOwner),
		"--xattr":                pair(o.AddXattr),
		"--capabilities":         pair(o.AddCapabilities),
		"--collisions":           action.Once(o.SetCollisions),
		"--omit-parents":         action.Switch(&o.OmitParents),
		"--allow-whiteout-names": action.Switch(&o.AllowWhiteoutNames),
	}
	c.outputs.Register(flags)
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if err := c.outputs.Check(); err != nil {
		return nil, err
	}
	if err := layer.CheckLevel(c.layer.Compression, c.layer.Level); err != nil {
		return nil, action.Usagef("--level: %w", err)
	}
	return c, nil
}

func (c *config) addEntry(value string) error {
	e, err := filelayer.ParseEntry([]byte(value))
	if err != nil && e.By != "" {
		err = fmt.Errorf("%s: %w", e.By, err)
	}
	c.spec.Entries = append(c.spec.Entries, e)
	return err
}

func (c *config) setMtime(value string) error {
	t, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return fmt.Errorf("%q: want a number of seconds", value)
	}
	return c.spec.Options.SetMtime(t)
}

func (c *config) addMode(value string) error {
	octal, pattern, ok := strings.Cut(value, ":")
	if !ok {
		return fmt.Errorf("%q: want OCTAL:PATTERN", value)
	}
	return c.spec.Options.AddMode(pattern, octal)
}

// pair takes a JSON list of two strings.
func pair(set func(a, b string) error) func(string) error {
	return func(text string) error {
		v, err := strictjson.Parse([]byte(text))
		if err != nil {
			return err
		}
		var both []string
		err = v.Each(func(v *strictjson.Value) error {
			s, err := v.Text()
			both = append(both, s)
			return err
		})
		if err == nil && len(both) != 2 {
			err = fmt.Errorf("%s: want a list of two strings", text)
		}
		if err != nil {
			return err
		}
		return set(both[0], both[1])
	}
}

// addNAR reads where a store path's NAR is.
func (c *config) addNAR(text string) error {
	v, err := strictjson.Parse([]byte(text))
	if err != nil {
		return err
	}
	n := narsource.Source{File: narfile.File{FileSize: -1}}
	hash := func(h *store.Hash) func(*strictjson.Value) error { return strictjson.Parsed(h, store.ParseHash) }
	size := func(to *int64) func(*strictjson.Value) error { return strictjson.Parsed(to, parseSize) }
	err = v.Fields(
		strictjson.Field{Name: "store_path", Read: strictjson.Parsed(&n.File.StorePath, store.ParsePath)},
		strictjson.Field{Name: "nar_hash", Read: hash(&n.File.NarHash)},
		strictjson.Field{Name: "nar_size", Read: size(&n.File.NarSize)},
		strictjson.Field{Name: "compression", Read: func(v *strictjson.Value) (err error) {
			if n.File.Compression, err = v.Text(); err == nil {
				err = narfile.CheckCompression(n.File.Compression)
			}
			return err
		}},
		strictjson.Field{Name: "nar", Read: strictjson.StringInto(&n.Path), Optional: true},
		strictjson.Field{Name: "urls", Optional: true, Read: func(v *strictjson.Value) error {
			return v.Each(func(v *strictjson.Value) error {
				u, err := v.Text()
				n.URLs = append(n.URLs, u)
				return err
			})
		}},
		strictjson.Field{Name: "file_hash", Read: hash(&n.File.FileHash), Optional: true},
		strictjson.Field{Name: "file_size", Read: size(&n.File.FileSize), Optional: true},
	)
	switch {
	case err != nil:
		return err
	case (n.Path == "") == (len(n.URLs) == 0):
		return fmt.Errorf("%s: want either nar or urls", n.File.StorePath)
	case len(n.URLs) > 0 && n.File.FileHash.IsZero():
		return fmt.Errorf("%s: urls need a file_hash, so that what they give is pinned", n.File.StorePath)
	}
	c.nars = append(c.nars, n)
	return nil
}

func parseSize(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q: want a number of bytes", s)
	}
	return n, nil
}
