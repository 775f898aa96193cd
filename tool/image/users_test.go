package image

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/digestfile"
)

// A user by name is somebody whom the image's lists define, or the build fails, as far as that can be known.
func TestBuildOn_User(t *testing.T) {
	names := func(n ...string) *digestfile.NameList { return &digestfile.NameList{Names: n} }
	removed, unknown := &digestfile.NameList{Removed: true}, &digestfile.NameList{Unknown: "a symlink"}
	etc := func(name string, users, groups *digestfile.NameList) *digestfile.File {
		f := testLayer(name)
		f.Name, f.Users, f.Groups = name+".json", users, groups
		return f
	}
	base := func(users, groups *digestfile.NameList, user string) *Base {
		b := testBase(t, `{"User":"`+user+`"}`)
		b.Users, b.Groups = users, groups
		return b
	}
	plain := testLayer("one", storePath(1))
	many := make([]string, 20)
	for i := range many {
		many[i] = fmt.Sprintf("u%02d", i)
	}
	for _, test := range []struct {
		what   string
		base   *Base
		s      Settings
		layers []*digestfile.File
		want   string // "": no error
	}{
		{"a number", nil, Settings{User: "1000:100"}, nil, ""},
		{"nobody says", nil, Settings{}, nil, ""},
		{"defined", nil, Settings{User: "web:users"}, []*digestfile.File{etc("etc", names("root", "web"), names("root", "users"))}, ""},
		{"a number and a name", nil, Settings{User: "5:users"}, []*digestfile.File{etc("etc", nil, names("root", "users"))}, ""},
		{"not defined", nil, Settings{User: "wbe"}, []*digestfile.File{etc("etc", names("root", "web"), nil)}, `user: "wbe": there is no user "wbe": the image's /etc/passwd (layer 2 of the image, etc.json) has root, web; an etc_layer defines`},
		{"no such group", nil, Settings{User: "web:staff"}, []*digestfile.File{etc("etc", names("web"), names("web"))}, `user: "web:staff": there is no group "staff": the image's /etc/group (layer 2 of the image, etc.json) has web`},
		{"no list of groups", nil, Settings{User: "web:staff"}, []*digestfile.File{etc("etc", names("web"), nil)}, `nobody can tell who the group "staff" is, since the image has no /etc/group`},
		{"no list", nil, Settings{User: "root"}, nil, `user: "root": nobody can tell who the user "root" is, since the image has no /etc/passwd; an etc_layer defines users and groups, or give a number`},
		{"an empty list", nil, Settings{User: "web"}, []*digestfile.File{etc("etc", names(), nil)}, `has none`},
		{"a long list", nil, Settings{User: "web"}, []*digestfile.File{etc("etc", names(many...), nil)}, `u11 and 8 more`},
		{"the uppermost list counts", nil, Settings{User: "web"}, []*digestfile.File{etc("a", names("web"), nil), etc("b", names("root"), nil)}, `(layer 3 of the image, b.json) has root`},
		{"removed", nil, Settings{User: "web"}, []*digestfile.File{etc("a", names("web"), nil), etc("b", removed, nil)}, `the image has no /etc/passwd`},
		{"a link", nil, Settings{User: "web"}, []*digestfile.File{etc("a", names("root"), nil), etc("b", unknown, nil)}, ""},
		{"config_json", nil, Settings{ConfigJSON: `{"User":"web"}`}, nil, `config_json: User: "web": `},
		{"the base isn't known", base(nil, nil, ""), Settings{User: "web:web"}, nil, ""},
		{"the base has it", base(names("web"), names("web"), ""), Settings{User: "web:web"}, nil, ""},
		{"the base hasn't", base(names("root"), nil, ""), Settings{User: "web"}, nil, `the image's /etc/passwd (the base base.tar) has root`},
		{"the base has no list", base(removed, removed, ""), Settings{User: "web"}, nil, `the image has no /etc/passwd`},
		{"a layer over a base that isn't known", base(nil, nil, ""), Settings{User: "web"}, []*digestfile.File{etc("etc", names("root"), nil)}, `has root`},
		{"the base's user", base(names("web"), nil, "web"), Settings{}, nil, ""},
		{"the base's user, taken away", base(names("web"), nil, "web"), Settings{}, []*digestfile.File{etc("etc", names("root"), nil)}, `base base.tar: user: "web": there is no user "web"`},
		{"more is to come", nil, Settings{User: "web", Unfinished: true}, nil, ""},
	} {
		test.s.System = "x86_64-linux"
		_, err := BuildOn(test.base, test.s, append([]*digestfile.File{plain}, test.layers...))
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", test.what, err, test.want)
		}
	}
}
