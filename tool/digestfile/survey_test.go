package digestfile

import (
	"archive/tar"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const (
	pathA = "/nix/store/0g80j8fh4wp8p2jmb0a8giig40jzalcj-a"
	pathB = "/gnu/store/znxxkmh64da14rs51fhii310i4r8y6ab-b+c"
	pathC = "/opt/my/store/znxxkmh64da14rs51fhii310i4r8y6ab-c"
)

// entry is one of a layer's.
type entry struct {
	name     string
	typeflag byte
	text     string
}

// survey takes entries as a layer's writer does.
func survey(t *testing.T, entries ...entry) (*File, error) {
	t.Helper()
	var s Survey
	for _, e := range entries {
		if e.typeflag == 0 {
			e.typeflag = tar.TypeReg
		}
		before := fmt.Sprint(s.touched, s.passwd, s.group)
		if err := s.Touch(e.name, e.typeflag); err != nil {
			return nil, err
		}
		in := s.Entry(e.name, e.typeflag, strings.NewReader(e.text))
		if b, err := io.ReadAll(in); err != nil || string(b) != e.text {
			t.Fatalf("%s: read %q, %v", e.name, b, err)
		}
		if after := fmt.Sprint(s.touched, s.passwd, s.group); after != before && !s.Wants([]byte(e.name)) {
			t.Fatalf("%s: not wanted, but it counts", e.name)
		}
	}
	f := &File{}
	s.Report(f)
	return f, nil
}

// Which store paths a layer reaches into, by the names of its entries.
func TestSurvey_Touched(t *testing.T) {
	const a, b, c = "nix/store/0g80j8fh4wp8p2jmb0a8giig40jzalcj-a", "gnu/store/znxxkmh64da14rs51fhii310i4r8y6ab-b+c", "opt/my/store/znxxkmh64da14rs51fhii310i4r8y6ab-c"
	dir := func(name string) entry { return entry{name: name, typeflag: tar.TypeDir} }
	for _, test := range []struct {
		what    string
		entries []entry
		want    []Touched
	}{
		{"nothing", []entry{dir("etc"), {name: "etc/passwd"}, {name: "nix/var/nix/db/db.sqlite"}, dir("nix"), dir("nix/store"), {name: "nix/store/.links"}}, nil},
		{"no store path's name", []entry{{name: "nix/store/0g80j8fh4wp8p2jmb0a8giig40jzale-a/x"}, {name: "srv/0g80j8fh4wp8p2jmb0a8giig40jzalcj_a"}}, nil},
		{"a file in one", []entry{dir("nix/store"), {name: a + "/bin/x"}, {name: a + "/bin/y"}}, []Touched{{pathA, a + "/bin/x", false}}},
		{"a file counts more than its directory", []entry{dir(a), dir(a + "/bin"), {name: a + "/bin/x"}}, []Touched{{pathA, a + "/bin/x", false}}},
		{"itself", []entry{{name: a, typeflag: tar.TypeSymlink}}, []Touched{{pathA, a, false}}},
		{"several, sorted", []entry{{name: c}, dir(a), {name: b + "/x"}}, []Touched{{pathB, b + "/x", false}, {pathA, a, false}, {pathC, c, false}}},
		{"a whiteout of one", []entry{{name: "nix/store/.wh.0g80j8fh4wp8p2jmb0a8giig40jzalcj-a"}}, []Touched{{pathA, "nix/store/.wh.0g80j8fh4wp8p2jmb0a8giig40jzalcj-a", true}}},
		{"a whiteout in one", []entry{{name: a + "/bin/.wh.x"}}, []Touched{{pathA, a + "/bin/.wh.x", true}}},
		{"an opaque directory in one", []entry{{name: a + "/bin/.wh..wh..opq"}}, []Touched{{pathA, a + "/bin/.wh..wh..opq", true}}},
		{"a file counts more than a whiteout", []entry{{name: a + "/.wh.x"}, {name: a + "/y"}, {name: a + "/.wh.z"}}, []Touched{{pathA, a + "/y", false}}},
		{"an opaque store", []entry{{name: "nix/store/.wh..wh..opq"}}, []Touched{{"/nix/store", "nix/store/.wh..wh..opq", true}}},
		{"a whiteout of the store", []entry{{name: "nix/.wh.store"}}, []Touched{{"/nix/store", "nix/.wh.store", true}}},
		{"a whiteout above it", []entry{{name: ".wh.gnu"}}, []Touched{{"/gnu/store", ".wh.gnu", true}}},
		{"an opaque root", []entry{{name: ".wh..wh..opq"}}, []Touched{{"/gnu/store", ".wh..wh..opq", true}, {"/nix/store", ".wh..wh..opq", true}}},
		{"a symlink in the store's place", []entry{{name: "nix", typeflag: tar.TypeSymlink}}, []Touched{{"/nix/store", "nix", true}}},
		{"other whiteouts", []entry{{name: "etc/.wh.x"}, {name: ".wh.srv"}, {name: "var/.wh..wh..opq"}}, nil},
	} {
		f, err := survey(t, test.entries...)
		if err != nil || !reflect.DeepEqual(f.Touched, test.want) {
			t.Errorf("%s: got %+v, %v; want %+v", test.what, f.Touched, err, test.want)
		}
	}
	for _, name := range []string{".wh.", "etc/.wh.", "etc/.wh...", "etc/.wh.."} {
		if _, err := survey(t, entry{name: name}); err == nil || !strings.Contains(err.Error(), "a whiteout of ") {
			t.Errorf("%s: error %v, want that it names nothing", name, err)
		}
	}
}

// What is noted of a layer has an end.
func TestSurvey_Bounds(t *testing.T) {
	var s Survey
	var err error
	n := 0
	for ; err == nil && n < 2*maxTouched; n++ {
		err = s.Touch(fmt.Sprintf("nix/store/%032d-x", n), tar.TypeDir)
	}
	if n != maxTouched+1 || !strings.Contains(err.Error(), "reaches into more than 100000 store paths") {
		t.Errorf("after %d store paths: error %v", n, err)
	}
	long := "nix/store/0g80j8fh4wp8p2jmb0a8giig40jzalcj-a/" + strings.Repeat("x/", 1000) + "\xff"
	f, err := survey(t, entry{name: long})
	if err != nil || len(f.Touched[0].Entry) > maxTouchedEntry+3 {
		t.Errorf("%+v, %v", f, err)
	}
	for what, text := range map[string]string{
		"a file of over 1048576 bytes": strings.Repeat("x:x:1:1::/:/bin/sh\n", maxList/19+1),
		"a file of over 10000 names": func() string {
			var b strings.Builder
			for i := range maxListNames + 1 {
				fmt.Fprintf(&b, "u%d:x\n", i)
			}
			return b.String()
		}(),
	} {
		if f, err := survey(t, entry{name: "etc/passwd", text: text}); err != nil || f.Users.Unknown != what {
			t.Errorf("%+v, %v; want %s", f.Users, err, what)
		}
	}
}

// Whom a layer's lists define, and when nobody can tell.
func TestSurvey_Accounts(t *testing.T) {
	const passwd = "root:x:0:0:root:/root:/bin/sh\n\n  web:x:1000:100::/:/bin/sh\nweb:again\n:empty\nno colon\nbad name:x\n" + "\xff:x\nlast:x:5:5::/:/bin/sh"
	names := func(n ...string) *NameList { return &NameList{Names: n} }
	removed := &NameList{Removed: true}
	for _, test := range []struct {
		what          string
		entries       []entry
		users, groups *NameList
	}{
		{"nothing", []entry{{name: "etc/passwd-"}, {name: "srv/etc/passwd"}, {name: "etc", typeflag: tar.TypeDir}}, nil, nil},
		{"both", []entry{{name: "etc/group", text: "root:x:0:\nusers:x:100:web\n"}, {name: "etc/passwd", text: passwd}}, names("last", "root", "web"), names("root", "users")},
		{"an empty list", []entry{{name: "etc/passwd"}}, names(), nil},
		{"the last counts", []entry{{name: "etc/passwd", text: "a:x\n"}, {name: "etc/passwd", text: "b:x\n"}}, names("b"), nil},
		{"a symlink", []entry{{name: "etc/passwd", typeflag: tar.TypeSymlink}}, &NameList{Unknown: "a symlink"}, nil},
		{"a hard link", []entry{{name: "etc/group", typeflag: tar.TypeLink}}, nil, &NameList{Unknown: "a hard link"}},
		{"a symlink for the directory", []entry{{name: "etc", typeflag: tar.TypeSymlink}}, &NameList{Unknown: "/etc is a symlink"}, &NameList{Unknown: "/etc is a symlink"}},
		{"a whiteout", []entry{{name: "etc/.wh.passwd"}}, removed, nil},
		{"a whiteout of the directory", []entry{{name: ".wh.etc"}}, removed, removed},
		{"an opaque directory", []entry{{name: "etc/.wh..wh..opq"}, {name: "etc/group", text: "g:x\n"}}, removed, names("g")},
		{"an opaque root", []entry{{name: ".wh..wh..opq"}}, removed, removed},
	} {
		f, err := survey(t, test.entries...)
		if err != nil || !reflect.DeepEqual(f.Users, test.users) || !reflect.DeepEqual(f.Groups, test.groups) {
			t.Errorf("%s: got %+v and %+v, %v; want %+v and %+v", test.what, f.Users, f.Groups, err, test.users, test.groups)
		}
	}
}

// Whatever names and contents a layer has, its digest file reads back as it was.
func TestSurvey_ReadsBack(t *testing.T) {
	component := rapid.SampledFrom([]string{"nix", "store", "gnu", "etc", "passwd", "group", "0g80j8fh4wp8p2jmb0a8giig40jzalcj-a", "x?", ".wh.store", ".wh.passwd", ".wh..wh..opq", "\xff"})
	rapid.Check(t, func(rt *rapid.T) {
		var entries []entry
		for _, parts := range rapid.SliceOf(rapid.SliceOfN(component, 1, 4)).Draw(rt, "names") {
			entries = append(entries, entry{strings.Join(parts, "/"), rapid.SampledFrom([]byte{tar.TypeReg, tar.TypeDir, tar.TypeSymlink}).Draw(rt, "type"), rapid.String().Draw(rt, "text")})
		}
		f, err := survey(t, entries...)
		if err != nil {
			rt.Fatal(err)
		}
		whole := sample()
		whole.Touched, whole.Users, whole.Groups = f.Touched, f.Users, f.Groups
		b, err := whole.Marshal()
		if err != nil {
			rt.Fatal(err)
		}
		again, err := Parse(b)
		if err != nil || !reflect.DeepEqual(again, whole) {
			rt.Fatalf("%v: %s\nread back %+v", err, b, again)
		}
	})
}
