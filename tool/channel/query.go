package channel

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/rules-strata/rules_strata/tool/store"
)

// maxQuery bounds a query, in bytes: store names have at most 211.
const maxQuery = 300

// Query says which package of a list is wanted.
type Query struct {
	// Set is the package set, such as "python3Packages"; "" for none.
	Set string
	// Name is the package's name without version, as its store path has it behind what the set puts before it: "nginx".
	Name string
	// Version is the version; "" for any. It may end in an output: "1.26.3-doc".
	Version string
	// Output is the derivation's output, such as "dev"; "" and "out" for the main one.
	Output string
	// FoldCase says that letters in Name and Version match in either case, but a package of this very name goes before others.
	FoldCase bool

	prefix *regexp.Regexp // what Set puts before Name; nil for nothing
}

// ParseQuery reads what people write for a package:
//
//	nginx                      by name, if the list has one version of it
//	nginx-1.26.3               by name and version
//	openssl^bin, openssl.bin   one of its outputs; nginx-1.26.3-doc as the store path says it
//	python3Packages.requests   out of a package set: python3.12-requests-2.32.3
func ParseQuery(s string) (Query, error) { return parseQuery(s, false) }

// ParseFolded is [ParseQuery] for where there are no capital letters, as in the names of images: the result's FoldCase is set,
// and python3packages.requests is of python3Packages.
func ParseFolded(s string) (Query, error) { return parseQuery(s, true) }

func parseQuery(s string, fold bool) (Query, error) {
	bad := func(format string, args ...any) (Query, error) {
		return Query{}, fmt.Errorf("package %.300q: %w", s, fmt.Errorf(format, args...))
	}
	if s == "" || len(s) > maxQuery {
		return bad("want 1 to %d characters", maxQuery)
	}
	q := Query{FoldCase: fold}
	name, output, ok := strings.Cut(s, "^")
	if ok {
		if err := CheckOutput(output); err != nil {
			return bad("%w", err)
		}
		q.Output = output
	}
	if set, rest, ok := strings.Cut(name, "."); ok {
		prefix, known := prefixOf(set, fold)
		switch {
		case known:
			q.Set, q.prefix, name = set, prefix, rest
		case strings.HasSuffix(set, "Packages"), fold && strings.HasSuffix(strings.ToLower(set), "packages"):
			return bad("no package set %s is known; write the name as the store path has it, such as python3.12-requests; known are %s", set, knownSets)
		}
	}
	if dot := strings.LastIndexByte(name, '.'); dot > 0 && q.Output == "" && commonOutputs[name[dot+1:]] {
		name, q.Output = name[:dot], name[dot+1:]
	}
	for i := range len(name) {
		if !isAlphanumeric(name[i]) && strings.IndexByte("+-._?=", name[i]) < 0 {
			return bad("illegal character %q; want letters, digits and + - . _ ? =", name[i])
		}
	}
	if q.Name, q.Version = store.SplitName(name); q.Name == "" {
		return bad("it has no name")
	}
	return q, nil
}

// String is the query as [ParseQuery] reads it, in one form only.
func (q Query) String() string {
	s := q.Name
	if q.Set != "" {
		s = q.Set + "." + s
	}
	if q.Version != "" {
		s += "-" + q.Version
	}
	if q.Output != "" {
		s += "^" + q.Output
	}
	return s
}

// CheckOutput says what keeps s from being the name of an output.
func CheckOutput(s string) error {
	for i := range len(s) {
		if !isAlphanumeric(s[i]) && strings.IndexByte("+-._?=", s[i]) < 0 {
			return fmt.Errorf("output %.80q: illegal character %q; want letters, digits and + - . _ ? =", s, s[i])
		}
	}
	if s == "" || len(s) > maxQuery {
		return errors.New(`the output has no name; write "out" for the main one`)
	}
	return nil
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func isAlphanumeric(c byte) bool { return '0' <= c && c <= '9' || isLetter(c) }

// commonOutputs are the outputs that nixpkgs' packages have (doc/stdenv/multiple-output.chapter.md,
// and what the builders for languages add): behind a version, one of these is an output and not part of the version.
var commonOutputs = map[string]bool{
	"bin": true, "debug": true, "dev": true, "devdoc": true, "devman": true, "dist": true, "doc": true,
	"info": true, "lib": true, "man": true, "out": true, "static": true, "tools": true,
}

// sets are the package sets of nixpkgs whose builders put something before a
// package's name (pkgs/development: interpreters/python, perl-modules, ruby-modules,
// interpreters/lua-5, r-modules; build-support: ocaml, coq, php; emacs and vim plugins), and some
// that put nothing. Where "#" stands in an attribute there may be a version, "312" or "_3_12";
// where it stands in the prefix, there is one: of it, or any.
var sets = []struct{ attribute, prefix string }{
	{"python#Packages", "python#-"},
	{"perl#Packages", "perl#-"},
	{"rubyPackages#", "ruby#-"},
	{"lua#Packages", "lua#-"},
	{"luajitPackages", "luajit#-"},
	{"ocamlPackages#", "ocaml#-"},
	{"coqPackages#", "coq#-"},
	{"php#Extensions", "php-"},
	{"rPackages", "r-"},
	{"emacsPackages", "emacs-"},
	{"vimPlugins", "vimplugin-"},
	{"haskellPackages", ""},
	{"kdePackages", ""},
	{"xorg", ""},
}

// knownSets is for people.
var knownSets = func() string {
	var names []string
	for _, s := range sets {
		names = append(names, strings.ReplaceAll(s.attribute, "#", ""))
	}
	return strings.Join(names, ", ")
}()

// attributeVersion is a version in an attribute: digits, the first of them the major version, or parts behind underscores.
const attributeVersion = `([0-9]*|(?:_[0-9]+)+)`

// prefixOf returns what the package set of that name puts before its packages' names.
func prefixOf(attribute string, fold bool) (prefix *regexp.Regexp, known bool) {
	begin := "^"
	if fold {
		begin = "(?i)^"
	}
	for _, s := range sets {
		m := regexp.MustCompile(begin + strings.Replace(s.attribute, "#", attributeVersion, 1) + "$").FindStringSubmatch(attribute)
		if m == nil {
			continue
		}
		if s.prefix == "" {
			return nil, true
		}
		version := `[0-9]+`
		if len(m) > 1 && m[1] != "" {
			version = regexp.QuoteMeta(dotted(m[1]))
		}
		return regexp.MustCompile("^" + strings.Replace(s.prefix, "#", version+`(?:\.[0-9]+)*`, 1)), true
	}
	return nil, false
}

// dotted makes "3.12" of "312" and of "_3_12".
func dotted(version string) string {
	if parts, ok := strings.CutPrefix(version, "_"); ok {
		return strings.ReplaceAll(parts, "_", ".")
	}
	if len(version) == 1 {
		return version
	}
	return version[:1] + "." + version[1:]
}
