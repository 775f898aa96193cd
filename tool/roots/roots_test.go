package roots_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/nar"
	"github.com/rules-strata/rules_strata/tool/project"
	"github.com/rules-strata/rules_strata/tool/roots"
	"github.com/rules-strata/rules_strata/tool/store"
)

const (
	web           = "/nix/store/dr6a8bs5f2hyww3awb6nnhxlg3qvfdhr-web-1.0"
	customisation = "/nix/store/f14gp6azl45il7v2m7cnflw01yidqs42-web-customisation-layer"
	nginx         = "/nix/store/317swdjdxnw2jxvpycixvw0wkpjkp9lz-nginx-1.22.1"
	a             = "/nix/store/0c0b1a2d3f4g5h6i7j8k9l0m1n2p3q4r-"
	b             = "/nix/store/1c0b1a2d3f4g5h6i7j8k9l0m1n2p3q4r-"
	c             = "/nix/store/2c0b1a2d3f4g5h6i7j8k9l0m1n2p3q4r-"
	drv           = "/nix/store/3c0b1a2d3f4g5h6i7j8k9l0m1n2p3q4r-a.drv"
)

func testdata(t testing.TB, elem ...string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(append([]string{"../../testdata/web"}, elem...)...))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// folder is a project's folder with these files.
func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// resolve resolves the roots of a project of one system, which are said in JSON.
func resolve(t testing.TB, dir, rootsJSON string, o roots.Options) ([]roots.Root, error) {
	t.Helper()
	return resolveAll(t, dir, `"systems": ["x86_64-linux"], "channels": {"one": "file:store-paths"}, "roots": `+rootsJSON, o)
}

func resolveAll(t testing.TB, dir, fields string, o roots.Options) ([]roots.Root, error) {
	t.Helper()
	p, err := project.Parse([]byte(`{"caches": [{"url": "file:cache", "allow_unsigned": true}], ` + fields + `}`))
	if err != nil {
		t.Fatal(err)
	}
	o.Dir, o.Client = dir, fetch.New(fetch.Options{Dir: dir, Attempts: 1})
	return roots.Resolve(context.Background(), p, o)
}

func TestResolve(t *testing.T) {
	dir := folder(t, map[string]string{
		"store-paths":  web + "\n" + nginx + "\n" + nginx + "-doc\n",
		"result.json":  `[{"drvPath": "` + drv + `", "outputs": {"out": "` + web + `"}}]`,
		"outputs.json": `[{"drvPath": "` + drv + `", "outputs": {"dev": "` + b + `x-1-dev", "out": "` + a + `x-1"}}]`,
	})
	var read int64
	got, err := resolve(t, dir, `{
		"a": "`+web+`",
		"b": {"package": "nginx"},
		"c": {"x86_64-linux": {"package": "nginx", "output": "doc", "channel": "one"}},
		"d": {"file": "result.json"},
		"e": {"x86_64-linux": {"file": "outputs.json", "output": "dev", "name": "x"}},
		"f": {"x86_64-linux": "`+nginx+`"}
	}`, roots.Options{Progress: func(bytes int64) { read = bytes }})
	want := []roots.Root{
		{"a", "x86_64-linux", web, ""},
		{"b", "x86_64-linux", nginx, "channel file:store-paths: nginx"},
		{"c", "x86_64-linux", nginx + "-doc", "channel file:store-paths: nginx^doc"},
		{"d", "x86_64-linux", web, "file result.json"},
		{"e", "x86_64-linux", b + "x-1-dev", "file outputs.json, output dev, name x"},
		{"f", "x86_64-linux", nginx, ""},
	}
	if size := int64(len(web+nginx+nginx) + len("-doc") + 3); read != size {
		t.Errorf("told of %d bytes of the list, want %d", read, size)
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}

// What real Nix writes of a closure names its roots.
func TestResolve_RealFiles(t *testing.T) {
	for _, c := range []struct{ file, name, want string }{
		{"closure/registration", "web-1.0", web},
		{"closure/registration", "web", web},
		{"closure/registration", "web-customisation-layer", customisation},
		{"closure/registration", "nginx", nginx}, // not a root of that closure
		{"closure/exportReferencesGraph.txt", "", web},
		{"closure/exportReferencesGraph-customisation.txt", "", customisation},
		{"closure/path-info-nix-2.8.json", "web", web},
		{"closure/path-info-nix-2.34-format1.json", "web", web},
		{"closure/path-info-nix-2.34-format2.json", "web", web},
	} {
		got, err := resolve(t, ".", fmt.Sprintf(`{"r": {"file": %q%s}}`, testdata(t, c.file), optional("name", c.name)), roots.Options{})
		if err != nil || string(got[0].Path) != c.want {
			t.Errorf("%s, name %s: got %v, %v, want %s", c.file, c.name, got, err, c.want)
		}
	}
}

func optional(field, value string) string {
	if value == "" {
		return ""
	}
	return fmt.Sprintf(", %q: %q", field, value)
}

func TestResolve_Files(t *testing.T) {
	built := func(outputs ...string) string {
		return `{"drvPath": "` + drv + `", "outputs": {` + strings.Join(outputs, ", ") + `}}`
	}
	out, dev, bin, man := `"out": "`+a+`x-1"`, `"dev": "`+b+`x-1-dev"`, `"bin": "`+b+`x-1-bin"`, `"man": "`+c+`x-1-man"`
	other := `"out": "` + c + `y-1"`
	for _, tc := range []struct{ name, text, more, want, hint string }{
		{"one output", "[" + built(out) + "]", "", a + "x-1", ""},
		{"the only output", "[" + built(bin) + "]", "", b + "x-1-bin", ""},
		{"the main output of several", "[" + built(dev, out) + "]", "", a + "x-1", ""},
		{"an output", "[" + built(dev, out) + "]", `, "output": "dev"`, b + "x-1-dev", ""},
		{"out by name", "[" + built(dev, out) + "]", `, "output": "out"`, a + "x-1", ""},
		{"several without out", "[" + built(bin, man) + "]", "", "it names 2 store paths that may be meant: " + b + "x-1-bin (output bin), " + c + "x-1-man (output man)", `choose one by "output": "bin"`},
		{"no such output", "[" + built(bin, man) + "]", `, "output": "lib"`, "nothing in it has that name and output; there are " + b + "x-1-bin (output bin)", `"output": "bin"`},
		{"several derivations", "[" + built(out) + "," + built(other) + "]", "", "it names 2 store paths that may be meant: " + a + "x-1 (output out), " + c + "y-1 (output out)", `"name": "x-1"`},
		{"one of them", "[" + built(out, dev) + "," + built(other) + "]", `, "name": "y"`, c + "y-1", ""},
		{"one of them, without out", "[" + built(other) + "," + built(bin) + "]", "", "it names 2 store paths", `"name": "y-1"`},
		{"one derivation twice", "[" + built(out) + "," + built(out) + "]", "", a + "x-1", ""},
		{"a store path that was built", `["` + a + `x-1"]`, "", a + "x-1", ""},
		{"no such name", "[" + built(out) + "]", `, "name": "z"`, "nothing in it has that name", ""},
		{"a graph has no outputs", a + "x-1\n\n0\n", `, "output": "out"`, "nothing in it has that name and output; there are " + a + "x-1", ""},
		{"two tops", a + "x-1\n\n0\n" + b + "y-1\n\n0\n", "", "it names 2 store paths that may be meant: " + a + "x-1, " + b + "y-1", `choose one by "name": "x-1"`},
		{"two of one name", a + "x-1\n\n0\n" + b + "x-2\n\n0\n", `, "name": "x"`, "it names 2 store paths", `"name": "x-1"`},
		{"not a graph", "hello", "", "want a references graph, a registration, or the JSON of nix path-info or nix build", ""},
		{"another JSON", `{"a": 1}`, "", "result: line 1", ""},
		{"deep JSON", strings.Repeat("[", 100_000), "", "nested more than 64 deep", ""},
		{"empty", "", "", "it is empty", ""},
		{"a list of store paths", a + "x-1\n" + b + "x-2\n", "", "line 3", ""},
	} {
		dir := folder(t, map[string]string{"result": tc.text})
		got, err := resolve(t, dir, `{"r": {"file": "result"`+tc.more+`}}`, roots.Options{})
		if err == nil {
			if string(got[0].Path) != tc.want {
				t.Errorf("%s: got %s, want %s", tc.name, got[0].Path, tc.want)
			}
			continue
		}
		var hinted interface{ Hint() string }
		if !strings.HasPrefix(err.Error(), "root r on x86_64-linux: ") || !strings.Contains(err.Error(), tc.want) || !errors.As(err, &hinted) || !strings.Contains(hinted.Hint(), tc.hint) {
			t.Errorf("%s: got %v, hint %v, want %q", tc.name, err, hinted, tc.want)
		}
	}
	var many strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&many, "/nix/store/%032d-x-%d\n\n0\n", i, i)
	}
	if _, err := resolve(t, folder(t, map[string]string{"result": many.String()}), `{"r": {"file": "result"}}`, roots.Options{}); err == nil || !strings.HasSuffix(err.Error(), "and 990 more") {
		t.Errorf("many tops: got %v", err)
	}
}

// Of what is wrong, all is told.
func TestResolve_AllErrors(t *testing.T) {
	dir := folder(t, map[string]string{"store-paths": nginx + "\n" + a + "hello-1\n" + b + "hello-1\n", "bad": "bad"})
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o777); err != nil {
		t.Fatal(err)
	}
	_, err := resolve(t, dir, `{
		"a": {"package": "ngnix"}, "b": {"package": "nginx-2"}, "c": {"file": "gone"}, "d": {"file": "bad"}, "e": {"file": "folder"},
		"f": {"package": "hello"}, "g": "`+web+`"
	}`, roots.Options{})
	for _, want := range []string{
		"root a on x86_64-linux: no store path in the list is of a package ngnix",
		"root b on x86_64-linux: no store path in the list is nginx-2; there are nginx-1.22.1",
		"root c on x86_64-linux: open " + dir + "/gone: no such file",
		"root d on x86_64-linux: " + dir + "/bad: want a references graph",
		"root e on x86_64-linux: " + dir + "/folder: it is no regular file",
		"root f on x86_64-linux: the list has 2 store paths of the name hello-1, and none of them is seen to be for x86_64-linux: " + a + "hello-1 " + b + "hello-1",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	_, err = resolve(t, t.TempDir(), `{"a": {"package": "x"}, "b": {"package": "y"}}`, roots.Options{})
	if !errors.Is(err, fetch.ErrNotFound) || strings.Count(err.Error(), "not found") != 1 {
		t.Errorf("no list: got %v, want it once", err)
	}
	_, err = resolve(t, folder(t, map[string]string{"store-paths": "/gnu/store/0c0b1a2d3f4g5h6i7j8k9l0m1n2p3q4r-x-1\n"}), `{"a": {"package": "x"}, "b": "`+web+`"}`, roots.Options{})
	if err == nil || !strings.Contains(err.Error(), "the roots must be of one store directory: a is /gnu/store/0c0b1a2d3f4g5h6i7j8k9l0m1n2p3q4r-x-1, b is "+web) {
		t.Errorf("two stores: got %v", err)
	}
}

// Each system has its own paths, by a list of its own, a file of its own or a path.
func TestResolve_Systems(t *testing.T) {
	dir := folder(t, map[string]string{
		"x86": a + "nginx-1.26.3\n", "arm": b + "nginx-1.26.3\n",
		"x86.json": `[{"outputs": {"out": "` + a + `app"}}]`, "arm.json": `[{"outputs": {"out": "` + b + `app"}}]`,
	})
	got, err := resolveAll(t, dir, `"systems": ["x86_64-linux", "aarch64-linux"],
		"channels": {"c": {"x86_64-linux": "file:x86", "aarch64-linux": "file:arm"}},
		"roots": {
			"app": {"x86_64-linux": {"file": "x86.json"}, "aarch64-linux": {"file": "arm.json"}},
			"mixed": {"x86_64-linux": {"package": "nginx"}, "aarch64-linux": "`+c+`nginx"},
			"nginx": {"package": "nginx"},
			"one": {"aarch64-linux": {"package": "nginx"}}
		}`, roots.Options{})
	want := []roots.Root{
		{"app", "aarch64-linux", b + "app", "file arm.json"},
		{"app", "x86_64-linux", a + "app", "file x86.json"},
		{"mixed", "aarch64-linux", c + "nginx", ""},
		{"mixed", "x86_64-linux", a + "nginx-1.26.3", "channel file:x86: nginx"},
		{"nginx", "aarch64-linux", b + "nginx-1.26.3", "channel file:arm: nginx"},
		{"nginx", "x86_64-linux", a + "nginx-1.26.3", "channel file:x86: nginx"},
		{"one", "aarch64-linux", b + "nginx-1.26.3", "channel file:arm: nginx"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}

// A list is read once, and not at all for roots whose paths are kept; a file is read where there is one.
func TestResolve_Keep(t *testing.T) {
	var requests atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		fmt.Fprintf(w, "%snginx-1.26.3\n%shello-2.12.1\n", a, b)
	}))
	defer server.Close()
	source := "channel " + server.URL + "/store-paths: "
	dir := folder(t, map[string]string{"there": `["` + a + `x"]`})
	fields := `"systems": ["x86_64-linux"], "channels": {"c": "` + server.URL + `/store-paths"},
		"roots": {"gone": {"file": "gone"}, "hello": {"package": "hello"}, "nginx": {"package": "nginx"}, "there": {"file": "there"}}`
	lock := map[string]store.Path{
		"gone x86_64-linux file gone":                     c + "x",
		"hello x86_64-linux " + source + "hello":          c + "hello-2.10",
		"nginx x86_64-linux " + source + "nginx":          c + "nginx-1.20",
		"nginx x86_64-linux " + source + "nginx-1.20":     c + "nginx-1.19",
		"there x86_64-linux file there":                   c + "x",
		"there x86_64-linux file there, output out":       c + "y",
		"hello aarch64-linux " + source + "hello":         c + "hello-2.9",
		"another x86_64-linux " + source + "hello":        c + "hello-2.8",
		"hello x86_64-linux channel other: hello":         c + "hello-2.7",
		"nginx x86_64-linux " + source + "nginx^out":      c + "nginx-1.18",
		"nginx x86_64-linux channel file:x: nginx":        c + "nginx-1.17",
		"nginx x86_64-linux " + source + "nginx-mainline": c + "nginx-1.16",
	}
	keep := func(name, system, source string) (store.Path, bool) {
		p, ok := lock[name+" "+system+" "+source]
		return p, ok
	}
	paths := func(wantRequests int32, keep func(name, system, source string) (store.Path, bool)) string {
		t.Helper()
		requests.Store(0)
		got, err := resolveAll(t, dir, fields, roots.Options{Keep: keep})
		if err != nil || requests.Load() != wantRequests {
			t.Errorf("got %v and %d requests, want %d", err, requests.Load(), wantRequests)
		}
		var names []string
		for _, r := range got {
			names = append(names, r.Path.HashPart()[:1]+" "+r.Path.Name())
		}
		return strings.Join(names, ", ")
	}
	if got := paths(0, keep); got != "2 x, 2 hello-2.10, 2 nginx-1.20, 0 x" {
		t.Errorf("all is kept: got %s", got)
	}
	delete(lock, "nginx x86_64-linux "+source+"nginx")
	if got := paths(1, keep); got != "2 x, 2 hello-2.10, 0 nginx-1.26.3, 0 x" {
		t.Errorf("one is looked up: got %s", got)
	}
	delete(lock, "hello x86_64-linux "+source+"hello")
	if got := paths(1, keep); got != "2 x, 1 hello-2.12.1, 0 nginx-1.26.3, 0 x" {
		t.Errorf("both are looked up: got %s", got)
	}
	if _, err := resolveAll(t, dir, fields, roots.Options{}); err == nil || !strings.Contains(err.Error(), "root gone on x86_64-linux: ") {
		t.Errorf("no lock: got %v", err)
	}
}

// program is the head of an ELF file for a machine.
func program(class, data byte, number uint16) []byte {
	b := make([]byte, 64)
	copy(b, "\x7fELF")
	b[4], b[5] = class, data
	if data == 2 {
		binary.BigEndian.PutUint16(b[18:], number)
	} else {
		binary.LittleEndian.PutUint16(b[18:], number)
	}
	return b
}

// put writes a store path of one file into the binary cache in dir/cache.
func put(t testing.TB, dir, path string, contents []byte, references ...string) {
	t.Helper()
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	for _, e := range []nar.Entry{{Kind: nar.Directory}, {Path: []byte("bin"), Kind: nar.Directory}, {Path: []byte("bin/x"), Kind: nar.Regular, Size: int64(len(contents))}} {
		if err := w.WriteEntry(&e); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Write(contents); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	p := store.Path(path)
	sum := sha256.Sum256(b.Bytes())
	var refs []string
	for _, r := range references {
		refs = append(refs, store.Path(r).Base())
	}
	info := fmt.Sprintf("StorePath: %s\nURL: %s.nar\nCompression: none\nNarHash: %s\nNarSize: %d\nReferences: %s\n",
		p, p.HashPart(), store.Hash(sum), b.Len(), strings.Join(refs, " "))
	if err := os.MkdirAll(filepath.Join(dir, "cache"), 0o777); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{p.HashPart() + ".narinfo": []byte(info), p.HashPart() + ".nar": b.Bytes()} {
		if err := os.WriteFile(filepath.Join(dir, "cache", name), text, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// A list of several systems' paths: their programs tell which is which.
func TestResolve_SystemsByPrograms(t *testing.T) {
	x86, arm, mac := program(2, 1, 62), program(2, 1, 183), []byte("\xcf\xfa\xed\xfe and so on, for twenty bytes")
	script := []byte("#!/nix/store/…/bin/sh, a script")
	dir := folder(t, map[string]string{"store-paths": strings.Join([]string{
		a + "app-1.0", b + "app-1.0", c + "app-1.0", // three systems
		a + "wrapper-1.0", b + "wrapper-1.0", // scripts, which refer to shells
		a + "data-1.0", b + "data-1.0", // the same in each system
		a + "text-1.0", b + "text-1.0", // not the same, but no programs either
		a + "twice-1.0", b + "twice-1.0", // built twice for one
		a + "gone-1.0", b + "gone-1.0",
		a + "foreign-1.0", b + "foreign-1.0",
		a + "liar-1.0", b + "liar-1.0",
	}, "\n") + "\n"})
	// The hash part is all that a cache knows a path by: each name has hash parts of its own here.
	rename := func(path string, digit int) string {
		return strings.Replace(path, "g5h6i7j8", fmt.Sprintf("g5h6i7%02d", digit), 1)
	}
	list, err := os.ReadFile(filepath.Join(dir, "store-paths"))
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"app", "wrapper", "data", "text", "twice", "gone", "foreign", "liar"}
	of := func(prefix, name string) string {
		return rename(prefix, slices.Index(names, name)) + name + "-1.0"
	}
	text := string(list)
	for _, name := range names {
		for _, prefix := range []string{a, b, c} {
			text = strings.ReplaceAll(text, prefix+name+"-1.0", of(prefix, name))
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "store-paths"), []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	put(t, dir, of(a, "app"), arm)
	put(t, dir, of(b, "app"), mac)
	put(t, dir, of(c, "app"), x86)
	put(t, dir, of(a, "wrapper"), script, of(a, "app"), of(a, "wrapper"))
	put(t, dir, of(b, "wrapper"), script, of(a, "gone"), of(b, "data"), of(c, "app"))
	put(t, dir, of(a, "data"), []byte("data"))
	put(t, dir, of(b, "data"), []byte("data"))
	put(t, dir, of(a, "text"), []byte("text"))
	put(t, dir, of(b, "text"), []byte("other text"))
	put(t, dir, of(a, "twice"), x86)
	put(t, dir, of(b, "twice"), append(x86, "again"...))
	put(t, dir, of(a, "foreign"), program(1, 1, 3))
	put(t, dir, of(b, "foreign"), program(2, 2, 62))
	put(t, dir, of(a, "liar"), x86)
	nar := filepath.Join(dir, "cache", store.Path(of(a, "liar")).HashPart()+".nar")
	if err := os.WriteFile(nar, []byte("no archive"), 0o666); err != nil {
		t.Fatal(err)
	}
	find := func(name string) (string, error) {
		got, err := resolveAll(t, dir, `"systems": ["x86_64-linux", "aarch64-linux"], "channels": {"all": "file:store-paths"}, "roots": {"r": {"package": "`+name+`"}}`, roots.Options{})
		if err != nil {
			return "", err
		}
		return string(got[0].Path) + " " + string(got[1].Path), nil // aarch64-linux is first
	}
	for name, want := range map[string]string{
		"app":     of(a, "app") + " " + of(c, "app"),
		"wrapper": of(a, "wrapper") + " " + of(b, "wrapper"),
		"data":    of(a, "data") + " " + of(a, "data"),
	} {
		if got, err := find(name); err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", name, got, err, want)
		}
	}
	for name, want := range map[string]string{
		"text":    "root r on x86_64-linux: the list has 2 store paths of the name text-1.0, and none of them is seen to be for x86_64-linux: " + of(a, "text") + " " + of(b, "text"),
		"twice":   "root r on x86_64-linux: the list has 2 store paths of the name twice-1.0, and 2 of them are for x86_64-linux: " + of(a, "twice"),
		"gone":    "none of them is seen to be for aarch64-linux: " + of(a, "gone"),
		"foreign": "none of them is seen to be for x86_64-linux: " + of(a, "foreign"),
		"liar":    of(a, "liar") + ": ",
	} {
		_, err := find(name)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
	var hinted interface{ Hint() string }
	if _, err := find("twice"); !errors.As(err, &hinted) || !strings.Contains(hinted.Hint(), `write the store path itself: {"aarch64-linux": "`+of(a, "twice")+`"}`) {
		t.Errorf("got the hint %v", hinted)
	}
}

// Each system that an image can be for has its own machine, but for those of ARM with 32 bits.
func TestMachines(t *testing.T) {
	for _, system := range image.Systems() {
		dir := folder(t, map[string]string{"store-paths": a + "app\n" + b + "app\n" + c + "app\n"})
		one := map[string][]byte{
			"aarch64-linux": program(2, 1, 183), "armhf-linux": program(1, 1, 40), "armv6l-linux": program(1, 1, 40), "armv7l-linux": program(1, 1, 40),
			"i686-linux": program(1, 1, 3), "loongarch64-linux": program(2, 1, 258), "mips64el-linux": program(2, 1, 8), "powerpc64le-linux": program(2, 1, 21),
			"riscv64-linux": program(2, 1, 243), "s390x-linux": program(2, 2, 22), "x86_64-linux": program(2, 1, 62),
		}[system]
		if one == nil {
			t.Errorf("%s has no machine", system)
			continue
		}
		put(t, dir, a+"app", program(1, 2, 20)) // 32 bits PowerPC, big endian
		put(t, dir, b+"app", one)
		got, err := resolveAll(t, dir, `"systems": ["`+system+`"], "channels": {"all": "file:store-paths"}, "roots": {"r": {"package": "app"}}`, roots.Options{})
		if err != nil || got[0].Path != b+"app" {
			t.Errorf("%s: got %v, %v", system, got, err)
		}
	}
}

// Real programs in a real cache, of the path itself or of what it refers to: all of them are for x86_64-linux.
func TestResolve_RealPrograms(t *testing.T) {
	list, err := os.ReadFile(testdata(t, "closure/paths"))
	if err != nil {
		t.Fatal(err)
	}
	// Another system's are in the list, too, but in no cache.
	for line := range strings.Lines(string(list)) {
		list = append(list, a+store.Path(line).Name()...)
	}
	dir := folder(t, map[string]string{"store-paths": string(list)})
	for _, name := range []string{"nginx-1.22.1", "glibc-2.36-9", "python3-minimal-3.11.2", "busybox-static-1.35.0", "web-1.0", "start-web", "pyapp-1.0", "web-profile"} {
		p, err := project.Parse([]byte(`{"caches": [{"url": "file:gone", "allow_unsigned": true}, {"url": "file://` + testdata(t, "cache") + `", "allow_unsigned": true}], "systems": ["x86_64-linux"],
			"channels": {"all": "file:store-paths"}, "roots": {"r": {"package": "` + name + `"}}}`))
		if err != nil {
			t.Fatal(err)
		}
		got, err := roots.Resolve(context.Background(), p, roots.Options{Dir: dir, Client: fetch.New(fetch.Options{Dir: dir})})
		if err != nil || got[0].Path.Name() != name || strings.HasPrefix(string(got[0].Path), a) {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}
