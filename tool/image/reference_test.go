package image

import (
	"strings"
	"testing"

	"github.com/distribution/reference"
)

func TestParseReference(t *testing.T) {
	tests := []struct{ in, want, fault string }{
		{"web", "docker.io/library/web:latest", ""},
		{"web:dev", "docker.io/library/web:dev", ""},
		{"team/web:dev", "docker.io/team/web:dev", ""},
		{"library/web", "docker.io/library/web:latest", ""},
		{"docker.io/web", "docker.io/library/web:latest", ""},
		{"index.docker.io/web", "docker.io/library/web:latest", ""},
		{"localhost/web:1", "localhost/web:1", ""},
		{"localhost:5000/a/b:1", "localhost:5000/a/b:1", ""},
		{"example.org/a__b/c--d.e:X_1.2-3", "example.org/a__b/c--d.e:X_1.2-3", ""},
		{"[::1]:5000/web", "[::1]:5000/web:latest", ""},
		{"Example/web", "Example/web:latest", ""}, // A registry, as docker has it.
		{"web:_", "docker.io/library/web:_", ""},
		{strings.Repeat("a", 247) + ":t", "docker.io/library/" + strings.Repeat("a", 247) + ":t", ""},

		{"", "", "want NAME or NAME:TAG"},
		{"Web", "", `component "Web" of the name: want lower-case letters`},
		{"team/Web", "", `component "Web"`},
		{"web:", "", "the tag is empty"},
		{"web:-x", "", `tag "-x"`},
		{"web:a b", "", `tag "a b"`},
		{"web:" + strings.Repeat("a", 129), "", "the tag has 129 characters, want at most 128"},
		{"web/", "", "empty component"},
		{"/web", "", "empty component"},
		{"a//b", "", "empty component"},
		{"web_", "", `component "web_" of the name: it ends in _`},
		{"_web", "", `component "_web"`},
		{"a___b", "", `"___" can't stand between letters`},
		{"a..b", "", `".." can't stand between letters`},
		{"a.-b", "", `".-" can't stand between letters`},
		{"wéb", "", `component "wéb"`},
		{"web\n", "", `component`},
		{"web@sha256:" + strings.Repeat("0", 64), "", "can't have a digest"},
		{strings.Repeat("0a", 32), "", "64 hexadecimal digits"},
		{strings.Repeat("a", 248), "", "the repository's name has 256 characters, want at most 255"},
		{"a.b:x/web", "", `registry "a.b:x": want a number as the port`},
		{"a.b:/web", "", `registry "a.b:": want a number as the port`},
		{"-a.b/web", "", `registry "-a.b": want a host name`},
		{"a_b.c/web", "", `registry "a_b.c": "_" can't be in a host name`},
		{"[::x]/web", "", "want an IPv6 address"},
		{"[::1]x/web", "", "want a port after the address"},
		{"https://example.org/web", "", `registry "https:"`},
	}
	for _, test := range tests {
		got, err := ParseReference(test.in)
		switch {
		case test.fault == "" && (err != nil || got.String() != test.want):
			t.Errorf("%q: got %s (%v), want %s", test.in, got, err, test.want)
		case test.fault != "" && (err == nil || !strings.Contains(err.Error(), test.fault) || !strings.HasPrefix(err.Error(), `image name "`)):
			t.Errorf("%q: error %v: want one with %q", test.in, err, test.fault)
		}
	}
}

// Docker's own parser takes the same names and means the same by them.
func FuzzParseReference(f *testing.F) {
	for _, s := range []string{
		"web", "web:dev", "team/web", "docker.io/web", "index.docker.io/a/b:c", "localhost/x", "localhost:1/x", "Foo/x", "a.b/c", "[::1]:5/x", "[a]/b:c",
		"a__b", "a_-b", "a:b:c", "a:5/b:c", "a@b", "./a", "a/./b", ":", "/", "A.b/c", "a-", "-a", "x.y:/z", "docker.io/library/a/b", "a/b:_", "\xff", "é/a",
		strings.Repeat("a", 64), strings.Repeat("b/", 140) + "c", "x:" + strings.Repeat("t", 129),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		var want string
		named, wantErr := reference.ParseNormalizedNamed(in)
		if wantErr == nil {
			if _, digested := named.(reference.Digested); digested {
				named, wantErr = nil, reference.ErrDigestInvalidFormat // Right for docker, but no name to give.
			} else {
				want = reference.TagNameOnly(named).String()
			}
		}
		got, err := ParseReference(in)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%q: got %s (%v), docker %s (%v)", in, got, err, want, wantErr)
		}
		if err == nil && got.String() != want {
			t.Fatalf("%q: got %s, docker %s", in, got, want)
		}
		if err == nil {
			if again, err := ParseReference(got.String()); err != nil || again != got {
				t.Fatalf("%q: %s reads back as %s (%v)", in, got, again, err)
			}
		}
	})
}
