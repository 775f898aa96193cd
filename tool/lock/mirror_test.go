package lock

import (
	"reflect"
	"slices"
	"testing"

	"github.com/rules-strata/rules_strata/tool/narinfo"
	"github.com/rules-strata/rules_strata/tool/project"
)

func TestURLs(t *testing.T) {
	l := &Lock{Mirrors: map[string][]string{
		"https://a.example.org":       {"https://m1.example.org/a", "file:../m2"},
		"https://a.example.org/inner": {"https://m3.example.org", "https://m1.example.org/a/inner", "https://a.example.org/inner"},
		"file:cache":                  {"http://m4.example.org"},
	}}
	for _, tc := range []struct {
		url  string
		want []string
	}{
		{"https://a.example.org/nar/x.nar.xz?y", []string{"https://m1.example.org/a/nar/x.nar.xz?y", "file:../m2/nar/x.nar.xz?y"}},
		{"https://a.example.org/inner/nar/x", []string{"https://m1.example.org/a/inner/nar/x", "file:../m2/inner/nar/x", "https://m3.example.org/nar/x"}},
		{"file:cache/nar/x", []string{"http://m4.example.org/nar/x"}},
		{"file:cache2/nar/x", nil},
		{"https://a.example.org2/nar/x", nil},
		{"https://b.example.org/nar/x", nil},
	} {
		if got := l.URLs(&Path{URL: tc.url}); !slices.Equal(got, append(tc.want, tc.url)) {
			t.Errorf("%s: got %v, want %v and the URL itself", tc.url, got, tc.want)
		}
	}
}

// The lock lists the mirrors that the project file lists, and asks none of them.
func TestMake_Mirrors(t *testing.T) {
	good := newTestKey(t, "good-1")
	c := newTestCache(t)
	c.put(newObject(t, "app"), good)
	p := projectOf(storePath("app"), []narinfo.PublicKey{good.public}, project.Cache{
		URL: "file://" + c.dir, Mirrors: []string{"https://m.example.org/nix", "file:mirror"},
	})
	l, err := makeLock(t, p, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{"file://" + c.dir: {"https://m.example.org/nix", "file:mirror"}}
	if !reflect.DeepEqual(l.Mirrors, want) {
		t.Errorf("mirrors %v, want %v", l.Mirrors, want)
	}
	again, err := Parse(mustMarshal(t, l))
	if err != nil {
		t.Fatal(err)
	}
	base := storePath("app").Base()
	got := again.URLs(again.Paths[storePath("app")])
	if want := []string{"https://m.example.org/nix/nar/" + base + ".nar", "file:mirror/nar/" + base + ".nar", "file://" + c.dir + "/nar/" + base + ".nar"}; !slices.Equal(got, want) {
		t.Errorf("URLs %v, want %v", got, want)
	}
}
