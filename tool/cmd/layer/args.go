package main

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rules-strata/rules_strata/tool/action"
	"github.com/rules-strata/rules_strata/tool/layer"
	"github.com/rules-strata/rules_strata/tool/narfile"
	"github.com/rules-strata/rules_strata/tool/narsource"
	"github.com/rules-strata/rules_strata/tool/store"
)

var help = fmt.Sprintf(`layer turns the NARs of store paths into a layer of an OCI image.

Usage: layer --output=BLOB --digest-file=JSON [options] NAR-GROUP...
       layer @FILE        (one argument a line, taken as it is)

  --output=BLOB            where the blob goes
  --digest-file=JSON       where its digest file goes: descriptor, diff ID, store paths
  --mtree=FILE             where a listing of the layer goes, in the format of mtree(5)
  --compression=NAME       %s (default: the first)
  --level=LEVEL            %s, or a number: 1 to 9 (gzip), 1 to 22 (zstd)
  --workers=N              cores to use; the bytes are the same for any number (default: all)
  --help                   print this text

What is in the layer, and as what:

  --allow-whiteout-names   let names beginning with .wh. pass; container runtimes take them for orders to remove files
  --owner=UID:GID          whom all in the store paths belongs to (default: 0:0, by name root:root)
  --owner-names=USER:GROUP the names of these; without, an --owner has none
  --mtime=SECONDS          time of all entries, in seconds since 1970 (default: 1)
  --strip-prefix=DIR       put what is in this directory of the one store path at the image's root; . is the store path itself
  --exclude=PATTERN        leave out what matches, directories with all that is in them; may be given again
  --mode=OCTAL:PATTERN     permissions of the files and directories that match; may be given again: the last match counts

A pattern is matched against paths relative to the store path (. is the store path itself): * and ? stand for
bytes of one name, ** as a component for any number of components, \ takes the next byte as it is.

Each store path is a group of arguments, begun by its --store-path:

  --store-path=PATH        such as /nix/store/<hash>-<name>
  --nar-hash=HASH          of the NAR: sha256:<hex>, or any form that Nix writes
  --nar-size=N             of the NAR, in bytes
  --nar-compression=NAME   how the NAR file is compressed: %s
  --nar=FILE               the NAR file, or:
  --url=URL                where it is (http:, https:, file:); several are tried in order
  --file-hash=HASH         of the NAR file as it is stored; needed with --url
  --file-size=N            of the NAR file, in bytes

The bytes are checked against all of these as they stream. On failure the exit
code is 1 (2: wrong arguments), and neither output is written.
`, names(layer.Compressions()), names(layer.Levels()), names(narfile.Compressions()))

func names(list []string) string { return strings.Join(list, ", ") }

// config is what the arguments say.
type config struct {
	output     string
	digestFile string
	mtree      string
	options    layer.Options
	nars       []narsource.Source // a group of arguments each
}

// flagSet is the state of parse: which flags were seen, and where.
type flagSet struct {
	c    config
	seen map[string]bool // of the layer, or of the current group
	top  map[string]bool
}

// parse reads the arguments. All but --url may be given once, in a group or for the layer.
func parse(args []string) (*config, error) {
	s := flagSet{top: map[string]bool{}}
	for _, a := range args {
		name, value, hasValue := strings.Cut(a, "=")
		if !strings.HasPrefix(name, "--") {
			return nil, action.Usagef("argument %q: want --name=value", a)
		}
		if name == "--allow-whiteout-names" && !hasValue {
			value, hasValue = "true", true
		}
		if !hasValue {
			return nil, action.Usagef("argument %s: it needs a value: %s=…", a, name)
		}
		if err := s.set(name, value); err != nil {
			return nil, &action.UsageError{Err: err}
		}
	}
	if err := s.checkGroup(); err != nil {
		return nil, &action.UsageError{Err: err}
	}
	c := &s.c
	switch {
	case c.output == "":
		return nil, action.Usagef("--output is missing")
	case c.digestFile == "":
		return nil, action.Usagef("--digest-file is missing")
	case filepath.Clean(c.output) == filepath.Clean(c.digestFile):
		return nil, action.Usagef("--output and --digest-file name the same file %s", c.output)
	case c.mtree != "" && (filepath.Clean(c.mtree) == filepath.Clean(c.output) || filepath.Clean(c.mtree) == filepath.Clean(c.digestFile)):
		return nil, action.Usagef("--mtree and another output name the same file %s", c.mtree)
	case len(c.nars) == 0:
		return nil, action.Usagef("no --store-path: a layer needs at least one")
	}
	if err := layer.CheckLevel(c.options.Compression, c.options.Level); err != nil {
		return nil, action.Usagef("--level: %w", err)
	}
	if s.top["--owner-names"] && !s.top["--owner"] {
		return nil, action.Usagef("--owner-names needs --owner")
	}
	return c, nil
}

// set takes one flag.
func (s *flagSet) set(name, value string) error {
	if name == "--store-path" {
		if err := s.checkGroup(); err != nil {
			return err
		}
		p, err := store.ParsePath(value)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		s.seen = map[string]bool{}
		s.c.nars = append(s.c.nars, narsource.Source{File: narfile.File{StorePath: p, FileSize: -1}})
		return nil
	}
	if known, err := s.setLayer(name, value); known || err != nil {
		if err == nil && s.top[name] && name != "--exclude" && name != "--mode" {
			err = fmt.Errorf("%s: given twice", name)
		}
		s.top[name] = true
		return err
	}
	if len(s.c.nars) == 0 {
		return fmt.Errorf("argument %s: unknown, or its --store-path is missing before it", name)
	}
	n := &s.c.nars[len(s.c.nars)-1]
	if err := s.setNAR(n, name, value); err != nil {
		return fmt.Errorf("%s: %w", n.File.StorePath, err)
	}
	return nil
}

// setNAR takes a flag of a group.
func (s *flagSet) setNAR(n *narsource.Source, name, value string) error {
	if s.seen[name] && name != "--url" {
		return fmt.Errorf("%s: given twice", name)
	}
	s.seen[name] = true
	var err error
	switch name {
	case "--nar-hash":
		n.File.NarHash, err = store.ParseHash(value)
	case "--nar-size":
		n.File.NarSize, err = parseSize(value)
	case "--nar-compression":
		n.File.Compression = value
		err = narfile.CheckCompression(value)
	case "--file-hash":
		n.File.FileHash, err = store.ParseHash(value)
	case "--file-size":
		n.File.FileSize, err = parseSize(value)
	case "--nar":
		n.Path = value
	case "--url":
		n.URLs = append(n.URLs, value)
	default:
		return fmt.Errorf("argument %s: unknown", name)
	}
	if err == nil && value == "" {
		err = fmt.Errorf("its value is empty")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// setLayer takes a flag that is the layer's.
func (s *flagSet) setLayer(name, value string) (known bool, err error) {
	switch name {
	case "--output":
		s.c.output = value
	case "--digest-file":
		s.c.digestFile = value
	case "--mtree":
		s.c.mtree = value
		if value == "" {
			err = fmt.Errorf("%s: its value is empty", name)
		}
	default:
		if known, err = s.c.options.Set(strings.TrimPrefix(name, "--"), value); err != nil {
			err = fmt.Errorf("%s: %w", name, err)
		}
		return known, err
	}
	return true, err
}

// checkGroup says what the last group lacks.
func (s *flagSet) checkGroup() error {
	if len(s.c.nars) == 0 {
		return nil
	}
	n := s.c.nars[len(s.c.nars)-1]
	var fault string
	switch {
	case !s.seen["--nar-hash"]:
		fault = "--nar-hash is missing"
	case !s.seen["--nar-size"]:
		fault = "--nar-size is missing"
	case !s.seen["--nar-compression"]:
		fault = "--nar-compression is missing"
	case n.Path == "" && len(n.URLs) == 0:
		fault = "neither --nar nor --url is given"
	case n.Path != "" && len(n.URLs) > 0:
		fault = "--nar and --url are both given"
	case len(n.URLs) > 0 && !s.seen["--file-hash"]:
		fault = "--url needs --file-hash, so that what it gives is pinned"
	default:
		return nil
	}
	return fmt.Errorf("%s: %s", n.File.StorePath, fault)
}

func parseSize(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q: want a number of bytes", s)
	}
	return n, nil
}
