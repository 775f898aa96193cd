package image

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rules-strata/rules_strata/tool/store"
)

// How an image without a name of its own is called after the store paths that it is of.
const (
	// DefaultNameStorePath is the first root's name as the repository, and its hash as the tag:
	// /nix/store/<hash>-web-1.0 is web-1.0:<hash>. Another build of the same is another tag.
	DefaultNameStorePath = "store-path"
	// DefaultNameGuix is what `guix pack -f docker` calls it: the packages' names
	// without their versions, joined by dashes, and the tag latest.
	DefaultNameGuix = "guix"
	// DefaultNameNone is no name: clients load the image by its ID.
	DefaultNameNone = "none"
)

// DefaultNames are the values of [Naming.Default]; the first is the default.
func DefaultNames() []string {
	return []string{DefaultNameStorePath, DefaultNameGuix, DefaultNameNone}
}

// Naming is what an image is to be called.
type Naming struct {
	// Tags are names as [ParseReference] takes them, with {KEY} for values of Stamp if that is not nil.
	Tags []string
	// Files hold further names, one a line; empty lines are left out.
	Files []string
	// Stamp has the values.
	Stamp *Stamp
	// Default is one of [DefaultNames]: how to call the image if nothing above names it.
	Default string
	// Roots are the store paths that it is of, for the default.
	Roots []store.Path
}

// Names returns the names, each once, in their order.
func (n Naming) Names() ([]string, error) {
	var names []string
	from := map[Reference]string{}
	add := func(where, name string) error {
		r, err := ParseReference(name)
		if err != nil {
			return err
		}
		if other, twice := from[r]; twice && other == where {
			return fmt.Errorf("image name %q: %s is given twice", name, r)
		} else if twice {
			return nil // What a file says again.
		}
		from[r] = where
		names = append(names, name)
		return nil
	}
	for _, t := range n.Tags {
		name := t
		if n.Stamp != nil {
			var err error
			if name, err = n.Stamp.Apply(t); err != nil {
				return nil, fmt.Errorf("repo_tags: %q: %w", t, err)
			}
		}
		if err := add("repo_tags", name); err != nil {
			return nil, fmt.Errorf("repo_tags: %w", err)
		}
	}
	for _, f := range n.Files {
		if err := eachLine(f, func(line string) error { return add(f, strings.TrimSpace(line)) }); err != nil {
			return nil, err
		}
	}
	if len(n.Tags) > 0 || len(n.Files) > 0 || len(n.Roots) == 0 {
		return names, nil
	}
	name, err := DefaultName(n.Default, n.Roots)
	if err != nil || name == "" {
		return nil, err
	}
	return []string{name}, nil
}

// DefaultName calls an image after its roots; style is one of [DefaultNames], or
// empty for the first. The name is lower-case whatever the store paths are, and
// what no name can hold is a dash in it ([CanonicalRepository] for Guix').
func DefaultName(style string, roots []store.Path) (string, error) {
	var repository, tag string
	switch style {
	case DefaultNameNone:
		return "", nil
	case DefaultNameGuix:
		repository, tag = CanonicalRepository(friendlyName(roots)), defaultTag
	case "", DefaultNameStorePath:
		repository, tag = repositoryName(roots[0].Name()), roots[0].HashPart()
	default:
		return "", fmt.Errorf("default_name: %q: want one of %s", style, strings.Join(DefaultNames(), ", "))
	}
	name := repository + ":" + tag
	if _, err := ParseReference(name); err != nil {
		return "", fmt.Errorf("default_name: %s gives no good name: %w; set repo_tags, or default_name to %s", roots[0], err, DefaultNameNone)
	}
	return name, nil
}

// repositoryName makes a component of a name: lower-case, and a dash for all that is
// no letter or digit, save a dot or underscore that stands alone between two.
func repositoryName(name string) string {
	var b strings.Builder
	sep := ""
	for i := range len(name) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if !isLower(c) && !isDigit(c) {
			sep += string(rune(c))
			continue
		}
		switch {
		case sep == "" || b.Len() == 0:
		case sep == "." || sep == "_" || sep == "__":
			b.WriteString(sep)
		default:
			b.WriteByte('-')
		}
		sep = ""
		b.WriteByte(c)
	}
	return b.String()
}

// maxFriendlyName is from where on Guix leaves out the last of several packages.
const maxFriendlyName = 40

// friendlyName joins the packages' names, as Guix' manifest->friendly-name does
// (guix/scripts/pack.scm).
func friendlyName(roots []store.Path) string {
	var names []string
	for _, r := range roots {
		name, _ := store.SplitName(r.Name())
		names = append(names, name)
	}
	for len(names) > 1 && len(strings.Join(names, "-")) >= maxFriendlyName {
		names = names[:len(names)-1]
	}
	return strings.Join(names, "-")
}

// CanonicalRepository is Guix' canonicalize-repository-name (guix/docker.scm): lower-case,
// without separators in front, a dot for what else is not allowed, of 2 to 255 characters.
func CanonicalRepository(name string) string {
	const minLen, padding = 2, "a"
	b := []byte(strings.TrimLeft(strings.ToLower(name), tagPunct))
	for i, c := range b {
		if !isLower(c) && !isDigit(c) && !slices.Contains([]byte(tagPunct), c) {
			b[i] = '.'
		}
	}
	name = string(b[:min(len(b), maxNameLen)])
	for len(name) < minLen {
		name += padding
	}
	return name
}
