package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
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

// The commands.
const (
	commandLayer = "layer"
	commandTar   = "tar"
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
  --omit-parents           don't write the directories above entries
  --allow-whiteout-names   let names beginning with .wh. pass

A pattern is matched against paths in the image: * and ? stand for bytes of one name, ** as a component for any
number of components, \ takes the next byte as it is. Of several that match the last one counts, of --rename the first.

An entry is an object with its type: %s.

files tar reads a tar that is a layer as it is, plain, gzip or zstd, and writes its digest file.

On failure the exit code is 1 (2: wrong arguments), and no output is written.
`, list(layer.Compressions()), list(layer.Levels()), list(filelayer.Types()))

func list(words []string) string { return strings.Join(words, ", ") }

// config is what the arguments say.
type config struct {
	command    string
	output     string
	digestFile string
	mtree      string
	tar        string
	spec       filelayer.Spec
	layer      layer.Options
	nars       []narsource.Source
}

// repeatable are the arguments that may be given again.
var repeatable = []string{"--entry", "--nar", "--exclude", "--rename", "--mode", "--set-owner", "--xattr", "--capabilities"}

func parse(command string, args []string) (*config, error) {
	if command != commandLayer && command != commandTar {
		return nil, action.Usagef("%q is no command: want layer or tar", command)
	}
	c := &config{command: command}
	seen := map[string]bool{}
	for _, a := range args {
		name, value, hasValue := strings.Cut(a, "=")
		if !strings.HasPrefix(name, "--") {
			return nil, action.Usagef("argument %q: want --name=value", a)
		}
		flag := name == "--omit-parents" || name == "--allow-whiteout-names"
		if hasValue == flag || !flag && value == "" {
			return nil, action.Usagef("argument %s: it takes %s", a, map[bool]string{true: "no value", false: "a value: " + name + "=…"}[flag])
		}
		if seen[name] && !slices.Contains(repeatable, name) {
			return nil, action.Usagef("%s: given twice", name)
		}
		seen[name] = true
		set := c.set
		if command == commandTar {
			set = c.setTar
		}
		if err := set(name, value); err != nil {
			return nil, &action.UsageError{Err: fmt.Errorf("%s: %w", name, err)}
		}
	}
	required := map[string]string{"--digest-file": c.digestFile}
	if command == commandTar {
		required["--tar"] = c.tar
	} else {
		required["--output"] = c.output
	}
	for _, name := range []string{"--tar", "--output", "--digest-file"} {
		if value, ok := required[name]; ok && value == "" {
			return nil, action.Usagef("%s is missing", name)
		}
	}
	outputs := []string{c.output, c.digestFile, c.mtree}
	for i, o := range outputs {
		if o != "" && slices.ContainsFunc(outputs[:i], func(p string) bool { return p != "" && filepath.Clean(p) == filepath.Clean(o) }) {
			return nil, action.Usagef("two outputs name the same file %s", o)
		}
	}
	if err := layer.CheckLevel(c.layer.Compression, c.layer.Level); err != nil {
		return nil, action.Usagef("--level: %w", err)
	}
	return c, nil
}

var errUnknown = errors.New("no such argument")

// setTar takes an argument of the command tar.
func (c *config) setTar(name, value string) error {
	switch name {
	case "--tar":
		c.tar = value
		return nil
	case "--digest-file", "--compression":
		return c.set(name, value)
	}
	return errUnknown
}

// set takes an argument of the command layer.
func (c *config) set(name, value string) (err error) {
	o := &c.spec.Options
	switch name {
	case "--output":
		c.output = value
	case "--digest-file":
		c.digestFile = value
	case "--mtree":
		c.mtree = value
	case "--compression":
		c.layer.Compression = value
		if !slices.Contains(layer.Compressions(), value) {
			err = fmt.Errorf("%q: want one of %s", value, list(layer.Compressions()))
		}
	case "--level":
		c.layer.Level = value // Which there are depends on the compression.
	case "--workers":
		c.layer.Workers, err = strconv.Atoi(value)
		if err != nil || c.layer.Workers < 1 {
			err = fmt.Errorf("%q: want a number of 1 or more", value)
		}
	case "--entry":
		var e filelayer.Entry
		if e, err = filelayer.ParseEntry([]byte(value)); err != nil && e.By != "" {
			err = fmt.Errorf("%s: %w", e.By, err)
		}
		c.spec.Entries = append(c.spec.Entries, e)
	case "--nar":
		err = c.addNAR(value)
	case "--owner":
		err = o.SetOwner(value)
	case "--owner-names":
		err = o.SetOwnerNames(value)
	case "--mtime":
		var t int64
		if t, err = strconv.ParseInt(value, 10, 64); err != nil {
			return fmt.Errorf("%q: want a number of seconds", value)
		}
		err = o.SetMtime(t)
	case "--exclude":
		err = o.AddExclude(value)
	case "--rename":
		err = pair(value, o.AddRename)
	case "--mode":
		octal, pattern, ok := strings.Cut(value, ":")
		if !ok {
			return fmt.Errorf("%q: want OCTAL:PATTERN", value)
		}
		err = o.AddMode(pattern, octal)
	case "--set-owner":
		err = pair(value, o.AddOwner)
	case "--xattr":
		err = pair(value, o.AddXattr)
	case "--capabilities":
		err = pair(value, o.AddCapabilities)
	case "--collisions":
		err = o.SetCollisions(value)
	case "--omit-parents":
		o.OmitParents = true
	case "--allow-whiteout-names":
		o.AllowWhiteoutNames = true
	default:
		err = errUnknown
	}
	return err
}

// pair reads a JSON list of two strings.
func pair(text string, set func(a, b string) error) error {
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
