package image

import (
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/store"
)

// What another layer holds as its NarHash says stays as it is: whatever reaches into it is named.
func TestBuildOn_Touched(t *testing.T) {
	files := func(name string, touched ...digestfile.Touched) *digestfile.File {
		f := testLayer(name)
		f.Name, f.Touched = name+".json", touched
		return f
	}
	one := testLayer("one", storePath(1), storePath(2))
	into := func(p store.Path, entry string, hides bool) digestfile.Touched {
		return digestfile.Touched{Path: string(p), Entry: strings.TrimPrefix(string(p), "/") + entry, Hides: hides}
	}
	store := func(hides bool) digestfile.Touched {
		return digestfile.Touched{Path: "/nix/store", Entry: "nix/.wh.store", Hides: hides}
	}
	for _, test := range []struct {
		what   string
		base   *Base
		layers []*digestfile.File
		want   string // "": no error
	}{
		{"a store path of its own", nil, []*digestfile.File{one, files("tar", into(storePath(3), "/bin/x", false))}, ""},
		{
			"over another's", nil,
			[]*digestfile.File{one, files("etc", into(storePath(2), "/bin/x", false))},
			`layer 2 of the image, etc.json: its entry "` + string(storePath(2))[1:] + `/bin/x" would change ` + string(storePath(2)) + `, which is checked by its NarHash and held by layer 1 of the image, sha256:`,
		},
		{"below another's", nil, []*digestfile.File{files("tar", into(storePath(1), "", false)), one}, `layer 1 of the image, tar.json: its entry "nix/store/`},
		{"a whiteout over it", nil, []*digestfile.File{one, files("tar", into(storePath(1), "/.wh.bin", true))}, `would remove something of ` + string(storePath(1))},
		{"a whiteout below it", nil, []*digestfile.File{files("tar", into(storePath(1), "/.wh.bin", true)), one}, ""},
		{"the store over it", nil, []*digestfile.File{one, files("tar", store(true))}, `its entry "nix/.wh.store" would remove something of ` + string(storePath(1))},
		{"the store below it", nil, []*digestfile.File{files("tar", store(true)), one}, ""},
		{"in the base", testBase(t, `{}`), []*digestfile.File{files("etc", into(storePath(9), "/x", false))}, `would change ` + string(storePath(9)) + `, which is checked by its NarHash and held by the base base.tar`},
		{"in the base, of which nobody knows whether it is whole", testBase(t, `{}`), []*digestfile.File{files("etc", into(storePath(8), "/x", false))}, ""},
		{"the base's store", testBase(t, `{}`), []*digestfile.File{files("etc", store(true))}, `would remove something of ` + string(storePath(9))},
		{"two at once", nil, []*digestfile.File{one, files("etc", into(storePath(1), "/x", false), into(storePath(2), "/x", false))}, "2 faults:"},
	} {
		_, err := BuildOn(test.base, Settings{System: "x86_64-linux"}, test.layers)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", test.what, err, test.want)
		}
	}
}
