package image

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rules-strata/rules_strata/tool/store"
)

const nameHash = "/nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-"

func TestDefaultName(t *testing.T) {
	tests := []struct {
		style string
		names []string
		want  string
	}{
		{"", []string{"web-1.0"}, "web-1.0:00bgd045z0d4icpbc2yyz4gx48ak44la"},
		{"store-path", []string{"web-1.0", "other-2"}, "web-1.0:00bgd045z0d4icpbc2yyz4gx48ak44la"},
		{"store-path", []string{"GraphicsMagick-1.3.40"}, "graphicsmagick-1.3.40:00bgd045z0d4icpbc2yyz4gx48ak44la"},
		{"store-path", []string{"gtk+-3.24"}, "gtk-3.24:00bgd045z0d4icpbc2yyz4gx48ak44la"},
		{"store-path", []string{"libstdc++"}, "libstdc:00bgd045z0d4icpbc2yyz4gx48ak44la"},
		{"store-path", []string{"_a..b__c___d-.e?f="}, "a-b__c-d-e-f:00bgd045z0d4icpbc2yyz4gx48ak44la"},
		{"guix", []string{"hello-2.12.1"}, "hello:latest"},
		{"guix", []string{"guile-3.0.9", "guile-readline-3.0.9"}, "guile-guile-readline:latest"},
		{"guix", []string{"a-very-long-name-of-a-package-1", "another-1", "third-1"}, "a-very-long-name-of-a-package-another:latest"},
		{"guix", []string{"GTK+-3.24"}, "gtk.:latest"},
		{"guix", []string{"r-1.0"}, "ra:latest"},
		{"none", []string{"web-1.0"}, ""},
	}
	for _, test := range tests {
		var roots []store.Path
		for _, n := range test.names {
			roots = append(roots, store.Path(nameHash+n))
		}
		got, err := DefaultName(test.style, roots)
		if test.want == "gtk.:latest" { // Guix makes a name that docker refuses.
			if err == nil || !strings.Contains(err.Error(), `gives no good name: image name "gtk.:latest": component "gtk." of the name: it ends in .; set repo_tags, or default_name to none`) {
				t.Errorf("%v: got %q, %v", test.names, got, err)
			}
			continue
		}
		if err != nil || got != test.want {
			t.Errorf("%s %v: got %q (%v), want %q", test.style, test.names, got, err, test.want)
		}
	}
	if _, err := DefaultName("x", []store.Path{nameHash + "a"}); err == nil || !strings.Contains(err.Error(), `default_name: "x": want one of store-path, guix, none`) {
		t.Errorf("got %v", err)
	}
	if _, err := DefaultName("", []store.Path{nameHash + "++"}); err == nil {
		t.Error("a name of nothing")
	}
}

// Whatever a store path is called, its image has a good name, or there is an error.
func TestDefaultName_Property(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[a-zA-Z0-9+._?=-]{1,60}`).Draw(t, "name")
		p, err := store.ParsePath(nameHash + name)
		if err != nil {
			t.Skip()
		}
		got, err := DefaultName("", []store.Path{p})
		if hasAlnum := strings.ContainsFunc(name, func(r rune) bool { return isAlnum(byte(r)) }); hasAlnum && err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		if err == nil && strings.ToLower(got) != got {
			t.Fatalf("%s: %s", p, got)
		}
	})
}

// As guix/docker.scm has it, with its limits.
func TestCanonicalRepository(t *testing.T) {
	for in, want := range map[string]string{
		"Guile-GIT": "guile-git", "._-x-": "x-", "a+b c": "a.b.c", "": "aa", "x": "xa", "-": "aa",
		strings.Repeat("y", 300): strings.Repeat("y", 255),
	} {
		if got := CanonicalRepository(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestNaming(t *testing.T) {
	file := textFile(t, "web:2\n\n example.org/web:3 \nweb:1\n")
	stamp := &Stamp{Status: Status{"STABLE_REV": "abc"}}
	roots := []store.Path{nameHash + "web-1.0"}
	for name, test := range map[string]struct {
		n    Naming
		want []string
		err  string
	}{
		"nothing":                {Naming{}, nil, ""},
		"default":                {Naming{Roots: roots}, []string{"web-1.0:00bgd045z0d4icpbc2yyz4gx48ak44la"}, ""},
		"tags go before":         {Naming{Roots: roots, Tags: []string{"web:1"}}, []string{"web:1"}, ""},
		"tags, files, stamp":     {Naming{Tags: []string{"web:1", "web:{STABLE_REV}"}, Files: []string{file}, Stamp: stamp}, []string{"web:1", "web:abc", "web:2", "example.org/web:3"}, ""},
		"a file without names":   {Naming{Roots: roots, Files: []string{textFile(t, "\n")}}, nil, ""},
		"twice":                  {Naming{Tags: []string{"web:1", "docker.io/library/web:1"}}, nil, `repo_tags: image name "docker.io/library/web:1": docker.io/library/web:1 is given twice`},
		"bad":                    {Naming{Tags: []string{"Web"}}, nil, `repo_tags: image name "Web": component "Web" of the name: want lower-case letters`},
		"bad in a file":          {Naming{Files: []string{textFile(t, "a\nb c\n")}}, nil, `file.txt: line 2: image name "b c"`},
		"no stamp":               {Naming{Tags: []string{"web:{STABLE_REV}"}}, nil, `repo_tags: image name "web:{STABLE_REV}": tag "{STABLE_REV}"`},
		"no value":               {Naming{Tags: []string{"web:{X}"}, Stamp: stamp}, nil, `repo_tags: "web:{X}": {X} has no value`},
		"a value that is no tag": {Naming{Tags: []string{"web:{X}"}, Stamp: &Stamp{Defaults: map[string]string{"X": "y/"}}}, nil, `image name "web:y/"`},
	} {
		got, err := test.n.Names()
		switch {
		case test.err == "" && (err != nil || !slices.Equal(got, test.want)):
			t.Errorf("%s: got %q (%v), want %q", name, got, err, test.want)
		case test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)):
			t.Errorf("%s: error %v: want one with %q", name, err, test.err)
		}
	}
}
