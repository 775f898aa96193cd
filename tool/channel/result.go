package channel

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/rules-strata/rules_strata/tool/store"
)

// Result is what a list says of a query.
type Result struct {
	Query   Query
	matches []match
	near    near
}

// match is a store path of the package that is asked for, in any version and output.
type match struct {
	path store.Path
	// interpreter is what the package set puts before the name: "python3.12-".
	interpreter string
	// version is what follows the name; it may end in an output.
	version string
	// folded: the name is the query's only if case doesn't count.
	folded bool
}

// add looks at one path of the list.
func (r *Result) add(p store.Path) error {
	q := &r.Query
	name, interpreter := p.Name(), ""
	if q.prefix != nil {
		at := q.prefix.FindStringIndex(name)
		if at == nil {
			return nil
		}
		name, interpreter = name[at[1]:], name[:at[1]]
	}
	switch base, version := store.SplitName(name); {
	case q.same(base, q.Name):
		r.matches = append(r.matches, match{p, interpreter, version, base != q.Name})
	case q.Output != "" && q.Version == "" && version == "" && q.same(name, q.Name+"-"+q.Output): // a package without a version
		r.matches = append(r.matches, match{p, interpreter, q.Output, name != q.Name+"-"+q.Output})
	case len(r.matches) == 0:
		r.near.add(interpreter, base)
	}
	if len(r.matches) > maxMatches {
		return fmt.Errorf("more than %d store paths have the name %s", maxMatches, q.Name)
	}
	return nil
}

// same reports whether two names are one to the query.
func (q *Query) same(a, b string) bool { return a == b || q.FoldCase && strings.EqualFold(a, b) }

// Paths returns the store paths that the query means, sorted and at least one.
// Several have the same name and differ in their hash: they are of several
// systems, which the list doesn't tell, or built twice. Its errors are [NotFoundError] and [AmbiguousError].
func (r *Result) Paths() ([]store.Path, error) {
	if len(r.matches) == 0 {
		return nil, &NotFoundError{Query: r.Query, Near: r.near.names()}
	}
	if slices.ContainsFunc(r.matches, func(m match) bool { return !m.folded }) {
		r.matches = slices.DeleteFunc(r.matches, func(m match) bool { return m.folded })
	}
	found := r.choose()
	if len(found) == 0 {
		return nil, &NotFoundError{Query: r.Query, Others: distinctNames(r.matches)}
	}
	if names := distinctNames(found); len(names) > 1 {
		return nil, &AmbiguousError{Query: r.Query, Names: names}
	}
	var paths []store.Path
	for _, m := range found {
		paths = append(paths, m.path)
	}
	slices.Sort(paths)
	return slices.Compact(paths), nil
}

// choose returns the matches of the query's version and output.
func (r *Result) choose() []match {
	q := r.Query
	versions := map[string]bool{}
	for _, m := range r.matches {
		versions[m.interpreter+m.version] = true
	}
	var whole, found []match
	for _, m := range r.matches {
		if q.Version != "" && q.same(m.version, q.Version) && q.Output == "" {
			whole = append(whole, m)
		}
		version, output := m.version, ""
		if v, o, ok := splitOutput(m.version); ok && (commonOutputs[o] || versions[m.interpreter+v]) {
			version, output = v, o
		}
		if output == strings.TrimPrefix(q.Output, "out") && (q.Version == "" || q.same(version, q.Version)) {
			found = append(found, m)
		}
	}
	if len(whole) > 0 {
		return whole
	}
	return found
}

// splitOutput splits "1.26.3-doc" into version and what may be an output.
// Nixpkgs names an output's path "<name>-<output>", but for the main one.
func splitOutput(s string) (version, output string, ok bool) {
	if s != "" && isLetter(s[0]) && !strings.Contains(s, "-") { // of a package without a version
		return "", s, true
	}
	dash := strings.LastIndexByte(s, '-')
	if dash <= 0 || dash+1 == len(s) || !isLetter(s[dash+1]) {
		return s, "", false
	}
	return s[:dash], s[dash+1:], true
}

func distinctNames(matches []match) []string {
	names := make([]string, len(matches))
	for i, m := range matches {
		names[i] = m.path.Name()
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// maxShown bounds the names in an error.
const maxShown = 10

func shown(names []string) string {
	if len(names) > maxShown {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxShown], ", "), len(names)-maxShown)
	}
	return strings.Join(names, ", ")
}

// NotFoundError says that a list doesn't have a package, or not in the version or output that is wanted.
type NotFoundError struct {
	Query Query
	// Others are the names of the package's store paths of other versions and outputs, if there are any.
	Others []string
	// Near are names like the package's, the likest first. They are empty if there are Others.
	Near []string
}

// Error says what is there in its place.
func (e *NotFoundError) Error() string {
	if len(e.Others) > 0 {
		return fmt.Sprintf("no store path in the list is %s; there are %s", e.Query, shown(e.Others))
	}
	return fmt.Sprintf("no store path in the list is of a package %s", e.Query)
}

// Hint says what to write.
func (e *NotFoundError) Hint() string {
	switch {
	case len(e.Others) > 0:
		return fmt.Sprintf("write one of these names as the package, such as %q", e.Others[0])
	case len(e.Near) > 0:
		return "a list has no attributes but only the names in store paths; like this one are " + strings.Join(e.Near, ", ")
	}
	return "a list has no attributes but only the names in store paths: `nix eval --raw nixpkgs#<attribute>.name` prints one"
}

// AmbiguousError says that several store paths of a list, not of one name, are what is asked for.
type AmbiguousError struct {
	Query Query
	// Names are those of the store paths, sorted.
	Names []string
}

// Error lists them.
func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("several store paths in the list are of a package %s: %s", e.Query, shown(e.Names))
}

// Hint says what to write.
func (e *AmbiguousError) Hint() string {
	return fmt.Sprintf("write one of these names as the package, such as %q", e.Names[0])
}

// near collects the names that are most like one, a few.
type near struct {
	want  string // as plain has it
	found []nearName
}

type nearName struct {
	name     string
	distance int
}

const maxNear = 5

// add looks at the name base, which follows interpreter.
func (n *near) add(interpreter, base string) {
	distance := likeness(n.want, plain(base))
	if distance < 0 {
		return
	}
	if len(n.found) == maxNear && n.found[maxNear-1].distance < distance {
		return
	}
	name := nearName{interpreter + base, distance}
	at, there := slices.BinarySearchFunc(n.found, name, func(a, b nearName) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(a.name, b.name))
	})
	if !there && at < maxNear {
		n.found = slices.Insert(n.found, at, name)
		n.found = n.found[:min(len(n.found), maxNear)]
	}
}

func (n *near) names() []string {
	var names []string
	for _, f := range n.found {
		names = append(names, f.name)
	}
	return names
}

// maxLikeness bounds the letters in which names that are alike may differ.
const maxLikeness = 3

// likeness is 0 for equal names, the number of letters to change if these are
// few, more where one holds the other, and -1 for names that aren't alike.
func likeness(want, name string) int {
	if want == "" || name == "" {
		return -1
	}
	longer := len(name) - len(want)
	if most := min(len(want)/3, maxLikeness); -most <= longer && longer <= most {
		if d := editDistance(want, name); d <= most {
			return d
		}
	}
	switch {
	case len(want) >= 3 && strings.Contains(name, want):
		return maxLikeness + longer
	case len(name) >= 3 && strings.HasPrefix(want, name):
		return maxLikeness - longer
	}
	return -1
}

// plain is a name without what people misremember: case and separators.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'A' <= r && r <= 'Z':
			return r | 0x20
		case r == '-' || r == '_' || r == '.':
			return -1
		}
		return r
	}, s)
}

// editDistance is how many bytes to insert, delete or change, or pairs of
// neighbours to swap, make b of a; no byte is touched twice ("optimal string alignment").
func editDistance(a, b string) int {
	const usual = 64 // longer names are rare, and cost an allocation
	var buf [3][usual]int
	before, row, next := buf[0][:0], buf[1][:0], buf[2][:0]
	for j := range len(b) + 1 {
		before, row, next = append(before, 0), append(row, j), append(next, 0)
	}
	for i := range len(a) {
		next[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next[j+1] = min(row[j]+cost, row[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row, next = row, next, before
	}
	return row[len(b)]
}
