package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/rules-strata/rules_strata/tool/layer"
)

// layerFlags are the flags that say what store paths' files are like in the image's layers, and how these are compressed: those of
// the layer tool, for all layers alike.
type layerFlags struct {
	options layer.Options
	err     error // the first
}

func (f *layerFlags) register(fl *pflag.FlagSet) {
	for _, flag := range []struct{ name, usage string }{
		{"compression", "the `KIND` of the layers' compression: " + strings.Join(layer.Compressions(), ", ") + " (default " + layer.Compressions()[0] + ")"},
		{"level", "the `LEVEL` of the compression: " + strings.Join(layer.Levels(), ", ") + ", or a number (1 to 9 for gzip, 1 to 22 for zstd)"},
		{"owner", "whom the store paths' files belong to, `UID:GID` (default 0:0, by name root:root)"},
		{"owner-names", "the names of --owner, `USER:GROUP`"},
		{"mtime", "the time of the store paths' files in `SECONDS` since 1970 (default 1)"},
		{"exclude", "leave out what matches the `PATTERN`, such as share/man or **/*.a, in each store path; repeatable"},
		{"mode", "the permissions of what matches, `OCTAL:PATTERN`, such as 0700:etc/secret; repeatable, the last match counts"},
		{"allow-whiteout-names", "let names pass that begin with .wh.; container runtimes take them for orders to remove files"},
	} {
		of := fl.VarPF(&layerFlag{f, flag.name, ""}, flag.name, "", flag.usage)
		if flag.name == "allow-whiteout-names" {
			of.NoOptDefVal = "true"
		}
	}
}

// check says what is wrong with the flags.
func (f *layerFlags) check(fl *pflag.FlagSet) error {
	if f.err != nil {
		return f.err
	}
	if err := layer.CheckLevel(f.options.Compression, f.options.Level); err != nil {
		return fmt.Errorf("--level: %w", err)
	}
	if fl.Changed("owner-names") && !fl.Changed("owner") {
		return errors.New("--owner-names: it goes with --owner")
	}
	return nil
}

// layerFlag is a flag that sets the option of its name.
type layerFlag struct {
	of          *layerFlags
	name, value string
}

func (f *layerFlag) String() string { return f.value }

func (f *layerFlag) Type() string {
	if f.name == "allow-whiteout-names" {
		return "bool"
	}
	return "string"
}

// Set leaves errors to check: what pflag makes of them says all twice.
func (f *layerFlag) Set(value string) error {
	f.value = value
	if _, err := f.of.options.Set(f.name, value); err != nil && f.of.err == nil {
		f.of.err = fmt.Errorf("--%s: %w", f.name, err)
	}
	return nil
}
