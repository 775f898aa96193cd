package channel_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/rules-strata/rules_strata/tool/channel"
	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/store"
)

// names are a list's names, as nixpkgs gives them to what its packages and their builders make.
var names = []string{
	"nginx-1.26.3", "nginx-1.26.3-doc", "nginx-mainline-1.27.4", "bash-5.2p37", "bash-interactive-5.2p37", "bash-interactive-5.2p37-doc",
	"openssl-3.3.2", "openssl-3.3.2-bin", "openssl-3.3.2-dev", "openssl-3.3.2-man", "openssl-1.1.1w", "openssl-1.1.1w-bin",
	"python3-3.12.8", "python3-3.13.1", "python3-3.12.8-debug",
	"python3.12-requests-2.32.3", "python3.12-requests-2.32.3-dist", "python3.13-requests-2.32.3", "python3.13-requests-2.32.3-dist",
	"python3.12-numpy-1.26.4", "python3.12-requests-oauthlib-2.0.0", "python3.12-pyyaml-6.0.2",
	"perl5.40.0-URI-5.28", "perl5.40.0-URI-5.28-devdoc", "perl5.38.2-URI-5.28", "perl5.40.0-DBD-SQLite-1.74",
	"ruby3.3-rake-13.2.1", "lua5.2-lpeg-1.1.0-1", "luajit2.1-lpeg-1.1.0-1", "ocaml5.1.1-yojson-2.2.2", "ocaml4.14.2-yojson-2.2.2",
	"coq8.20-mathcomp-2.3.0", "php-redis-6.1.0", "r-ggplot2-3.5.1", "emacs-magit-4.1.3", "vimplugin-vim-fugitive-2024-11-30",
	"aeson-2.1.2.1", "libX11-1.8.10", "zlib-ng-2.2.2", "zlib-1.3.1", "zlib-1.3.1-static",
	"gcc-13.3.0", "gcc-13.3.0-libgcc", "gcc-13.3.0-lib", "foo-0-unstable-2024-11-30", "foo-0-unstable-2024-11-30-dev",
	"pre-1.0-rc1", "pre-1.0-rc1-dev", "only-2.0-bin", "only-2.0-dev", "python3.12-node.js-1.0",
	"motd", "initrd", "initrd-dev", "source", "hello-2.12.1", "hello-2.12.1",
}

// list is a store-paths list of these names. A hash is of nothing but the line's number.
func list(names []string) string {
	var b strings.Builder
	for i, name := range names {
		fmt.Fprintf(&b, "/nix/store/%032d-%s\n", i, name)
	}
	return b.String()
}

func query(t testing.TB, s string) channel.Query {
	t.Helper()
	q, err := channel.ParseQuery(s)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// look looks one package up.
func look(t testing.TB, text, s string) ([]store.Path, error) {
	t.Helper()
	results, err := channel.Scan(strings.NewReader(text), []channel.Query{query(t, s)})
	if err != nil {
		t.Fatal(err)
	}
	return results[0].Paths()
}

func TestPaths(t *testing.T) {
	text := list(names)
	for query, want := range map[string]string{
		"nginx":                             "nginx-1.26.3",
		"nginx-1.26.3":                      "nginx-1.26.3",
		"nginx-1.26.3-doc":                  "nginx-1.26.3-doc",
		"nginx^doc":                         "nginx-1.26.3-doc",
		"nginx.doc":                         "nginx-1.26.3-doc",
		"nginx.out":                         "nginx-1.26.3",
		"nginx^out":                         "nginx-1.26.3",
		"nginx-mainline":                    "nginx-mainline-1.27.4",
		"bash":                              "bash-5.2p37",
		"bash-interactive":                  "bash-interactive-5.2p37",
		"openssl-3.3.2":                     "openssl-3.3.2",
		"openssl-3.3.2^bin":                 "openssl-3.3.2-bin",
		"openssl-3.3.2.bin":                 "openssl-3.3.2-bin",
		"openssl-3.3.2-bin":                 "openssl-3.3.2-bin",
		"openssl^dev":                       "openssl-3.3.2-dev", // only one version has it
		"python3-3.12.8":                    "python3-3.12.8",
		"python312Packages.requests":        "python3.12-requests-2.32.3",
		"python312Packages.requests-2.32.3": "python3.12-requests-2.32.3",
		"python312Packages.requests.dist":   "python3.12-requests-2.32.3-dist",
		"python3Packages.numpy":             "python3.12-numpy-1.26.4",
		"pythonPackages.numpy":              "python3.12-numpy-1.26.4",
		"python312Packages.node.js":         "python3.12-node.js-1.0",
		"python3.12-requests":               "python3.12-requests-2.32.3",
		"python3.13-requests-2.32.3":        "python3.13-requests-2.32.3",
		"perl540Packages.URI":               "perl5.40.0-URI-5.28",
		"perl538Packages.URI":               "perl5.38.2-URI-5.28",
		"perlPackages.DBD-SQLite":           "perl5.40.0-DBD-SQLite-1.74",
		"rubyPackages.rake":                 "ruby3.3-rake-13.2.1",
		"rubyPackages_3_3.rake":             "ruby3.3-rake-13.2.1",
		"luaPackages.lpeg":                  "lua5.2-lpeg-1.1.0-1",
		"lua52Packages.lpeg":                "lua5.2-lpeg-1.1.0-1",
		"luajitPackages.lpeg":               "luajit2.1-lpeg-1.1.0-1",
		"ocamlPackages_5_1.yojson":          "ocaml5.1.1-yojson-2.2.2",
		"coqPackages_8_20.mathcomp":         "coq8.20-mathcomp-2.3.0",
		"phpExtensions.redis":               "php-redis-6.1.0",
		"php83Extensions.redis":             "php-redis-6.1.0",
		"rPackages.ggplot2":                 "r-ggplot2-3.5.1",
		"emacsPackages.magit":               "emacs-magit-4.1.3",
		"vimPlugins.vim-fugitive":           "vimplugin-vim-fugitive-2024-11-30",
		"haskellPackages.aeson":             "aeson-2.1.2.1",
		"xorg.libX11":                       "libX11-1.8.10",
		"zlib":                              "zlib-1.3.1",
		"zlib^static":                       "zlib-1.3.1-static",
		"gcc":                               "gcc-13.3.0",
		"gcc^libgcc":                        "gcc-13.3.0-libgcc",
		"foo":                               "foo-0-unstable-2024-11-30",
		"foo^dev":                           "foo-0-unstable-2024-11-30-dev",
		"pre":                               "pre-1.0-rc1", // a version that ends like an output's name
		"pre^dev":                           "pre-1.0-rc1-dev",
		"only^bin":                          "only-2.0-bin",
		"motd":                              "motd",
		"initrd":                            "initrd",
		"initrd^dev":                        "initrd-dev",
		"initrd-dev":                        "initrd-dev",
	} {
		paths, err := look(t, text, query)
		if err != nil || len(paths) != 1 || paths[0].Name() != want {
			t.Errorf("%s: got %v, %v, want %s", query, paths, err, want)
		}
	}
	// Two of one name: of two systems, it may be.
	if paths, err := look(t, text, "hello"); err != nil || len(paths) != 2 || paths[0] >= paths[1] {
		t.Errorf("hello: got %v, %v", paths, err)
	}
}

func TestPaths_SayWhatToWrite(t *testing.T) {
	text := list(names)
	for _, c := range []struct{ query, want, hint string }{
		{"openssl", "several store paths in the list are of a package openssl: openssl-1.1.1w, openssl-3.3.2", `"openssl-1.1.1w"`},
		{"openssl^bin", "openssl-1.1.1w-bin, openssl-3.3.2-bin", `"openssl-1.1.1w-bin"`},
		{"python3Packages.requests", "of a package python3Packages.requests: python3.12-requests-2.32.3, python3.13-requests-2.32.3", `"python3.12-requests-2.32.3"`},
		{"perlPackages.URI", "perl5.38.2-URI-5.28, perl5.40.0-URI-5.28", ""},
		{"nginx-1.27", "no store path in the list is nginx-1.27; there are nginx-1.26.3, nginx-1.26.3-doc", `"nginx-1.26.3"`},
		{"nginx^lib", "is nginx^lib; there are nginx-1.26.3, nginx-1.26.3-doc", ""},
		{"only", "is only; there are only-2.0-bin, only-2.0-dev", `"only-2.0-bin"`},
		{"ngnix", "no store path in the list is of a package ngnix", "like this one are nginx"},
		{"zlb", "of a package zlb", "are zlib"},
		{"postgresql", "of a package postgresql", "`nix eval --raw nixpkgs#<attribute>.name`"},
		{"perlPackages.DBDSQLite", "of a package perlPackages.DBDSQLite", "are perl5.40.0-DBD-SQLite"},
		{"python3Packages.PyYAML", "of a package python3Packages.PyYAML", "are python3.12-pyyaml"},
		{"mainline", "of a package mainline", "are nginx-mainline"},
		{"bash-completion", "of a package bash-completion", "are bash"},
		{"python311Packages.numpy", "of a package python311Packages.numpy", ""},
		{"lua5Packages.lpegg", "of a package lua5Packages.lpegg", "are lua5.2-lpeg"},
	} {
		paths, err := look(t, text, c.query)
		var hinted interface{ Hint() string }
		if err == nil || !strings.Contains(err.Error(), c.want) || !errors.As(err, &hinted) || !strings.Contains(hinted.Hint(), c.hint) {
			t.Errorf("%s: got %v, %v, hint %v; want %q, %q", c.query, paths, err, hinted, c.want, c.hint)
		}
	}
	many := make([]string, 3000)
	for i := range many {
		many[i] = fmt.Sprintf("many-%d", i)
	}
	_, err := look(t, list(many), "many")
	if err == nil || !strings.HasSuffix(err.Error(), "and 2990 more") || len(err.Error()) > 500 {
		t.Errorf("many versions: got %v", err)
	}
}

func TestParseQuery(t *testing.T) {
	for _, s := range []string{"nginx", "nginx-1.26.3", "openssl-3^bin", "python3Packages.requests", "python3.12-requests-2.32.3", "a_b+c?d=e", "rPackages.ggplot2^dev"} {
		if got := query(t, s).String(); got != s {
			t.Errorf("%s becomes %s", s, got)
		}
	}
	if got := query(t, "openssl.bin").String(); got != "openssl^bin" {
		t.Errorf("openssl.bin becomes %s", got)
	}
	for s, want := range map[string]string{
		"": "want 1 to 300", strings.Repeat("a", 301): "want 1 to 300", "a b": `illegal character ' '`, "a/b": `illegal character '/'`, "nixpkgs#a": "illegal",
		"a\n": "illegal", "a\x00": "illegal", "ä": "illegal", "a^": `write "out"`, "a^b^c": "illegal", "^bin": "no name", "-1": "no name", "rPackages.": "no name",
		"nodePackages.x": "no package set nodePackages is known; write the name as the store path has it, such as python3.12-requests; known are pythonPackages, ",
	} {
		if q, err := channel.ParseQuery(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, %v, want %q", s, q, err, want)
		}
	}
}

// A list is taken in every form in which it may be published.
// Where names have no capital letters, as those of images, they mean what has some, unless there is a package of the very name.
func TestParseFolded(t *testing.T) {
	more := append(slices.Clone(names), "Thing-1.0RC1", "SDL2-2.30", "sdl2-1.0", "python3.12-PyThing-7.0")
	for query, want := range map[string]string{
		"libx11":                        "libX11-1.8.10",
		"thing-1.0rc1":                  "Thing-1.0RC1",
		"sdl2":                          "sdl2-1.0",
		"perl540packages.uri":           "perl5.40.0-URI-5.28",
		"python312packages.pything-7.0": "python3.12-PyThing-7.0",
		"rpackages.ggplot2":             "r-ggplot2-3.5.1",
		"openssl-3.3.2.bin":             "openssl-3.3.2-bin",
		"nginx":                         "nginx-1.26.3",
		"bash-interactive":              "bash-interactive-5.2p37",
		"python313packages.requests":    "python3.13-requests-2.32.3",
	} {
		q, err := channel.ParseFolded(query)
		if err != nil {
			t.Errorf("%s: %v", query, err)
			continue
		}
		results, err := channel.Scan(strings.NewReader(list(more)), []channel.Query{q})
		if err != nil {
			t.Fatal(err)
		}
		paths, err := results[0].Paths()
		if err != nil || len(paths) != 1 || paths[0].Name() != want {
			t.Errorf("%s is %v, %v; want %s", query, paths, err, want)
		}
	}
	if _, err := channel.ParseFolded("foopackages.x"); err == nil || !strings.Contains(err.Error(), "no package set foopackages is known") {
		t.Errorf("a set that nobody knows: %v", err)
	}
	if q := query(t, "libx11"); q.FoldCase {
		t.Error("ParseQuery folds case")
	}
}

func TestSearch_Forms(t *testing.T) {
	text := list(names)
	dir := t.TempDir()
	write := func(name string, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := io.WriteString(z, text); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	e, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	write("store-paths", []byte(text))
	write("no-newline", []byte(strings.TrimSuffix(text, "\n")))
	write("store-paths.gz", zipped.Bytes())
	write("store-paths.zst", e.EncodeAll([]byte(text), nil))
	forms := []string{"store-paths", "no-newline", "store-paths.gz", "store-paths.zst", "store-paths.xz", "store-paths.bz2"}
	for _, form := range forms[4:] { // list(names) by the real programs: xz, bzip2
		b, err := os.ReadFile(filepath.Join("testdata", form))
		if err != nil {
			t.Fatal(err)
		}
		write(form, b)
	}
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	client := fetch.New(fetch.Options{Dir: dir})
	queries := []channel.Query{query(t, "nginx"), query(t, "motd"), query(t, "nowhere")}
	for _, form := range forms {
		for _, base := range []string{"file:", server.URL + "/"} {
			results, err := channel.Search(context.Background(), client, base+form, queries, nil)
			if err != nil || len(results) != 3 {
				t.Errorf("%s: %v", base+form, err)
				continue
			}
			for i, want := range []string{"nginx-1.26.3", "motd"} {
				if p, err := results[i].Paths(); err != nil || len(p) != 1 || p[0].Name() != want {
					t.Errorf("%s: got %v, %v, want %s", base+form, p, err, want)
				}
			}
			if _, err := results[2].Paths(); !errors.As(err, new(*channel.NotFoundError)) {
				t.Errorf("%s: got %v", base+form, err)
			}
		}
	}
	// A damaged one is an error, cut where it may be.
	for _, form := range forms[2:] {
		b, err := os.ReadFile(filepath.Join(dir, form))
		if err != nil {
			t.Fatal(err)
		}
		for n := 0; n < len(b); n += 1 + len(b)/50 {
			write("cut", b[:n])
			if _, err := channel.Search(context.Background(), client, "file:cut", queries, nil); err == nil {
				t.Errorf("%s cut at %d of %d is taken", form, n, len(b))
			}
		}
		write("cut", append(b, "behind"...))
		if _, err := channel.Search(context.Background(), client, "file:cut", queries, nil); err == nil {
			t.Errorf("%s with more behind is taken", form)
		}
	}
	if _, err := channel.Search(context.Background(), client, server.URL+"/gone", queries, nil); !errors.Is(err, fetch.ErrNotFound) || !strings.HasPrefix(err.Error(), "store-paths list http://") {
		t.Errorf("no list: got %v", err)
	}
}

func TestScan_Refuses(t *testing.T) {
	good := list(names[:3])
	for name, c := range map[string]struct{ text, want string }{
		"nothing":              {"", "it is empty"},
		"a page":               {"<!doctype html>\n", "line 1: this is no list of store paths"},
		"CR":                   {strings.ReplaceAll(good, "\n", "\r\n"), `line 1: this is no list of store paths, one on each line`},
		"CR later":             {good + strings.ReplaceAll(good, "\n", "\r\n"), `line 4: store path`},
		"NUL":                  {good + "\x00\n", "line 4: store path"},
		"an empty line":        {good + "\n" + good, "line 4: store path"},
		"garbage":              {good + "garbage", "line 4: store path"},
		"a path below a path":  {strings.Replace(good, "1.26.3\n", "1.26.3/bin/nginx\n", 1), "line 1"},
		"another store":        {good + strings.ReplaceAll(good, "/nix/store", "/gnu/store"), "line 4: /gnu/store/00000000000000000000000000000000-nginx-1.26.3 is not in /nix/store as the paths before it"},
		"a long line":          {good + "/nix/store/" + strings.Repeat("a", 1<<20), "line 4: longer than 65535 bytes"},
		"too many of one name": {strings.Repeat(good, 4097), "more than 4096 store paths have the name nginx"},
		"a cut path":           {good[:len(good)-30], "line 3"},
		"not xz":               {"\xfd7zXZ\x00garbage that isn't a stream", "bad xz data"},
	} {
		_, err := channel.Scan(strings.NewReader(c.text), []channel.Query{query(t, "nginx^doc")})
		if err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 1000 {
			t.Errorf("%s: got %.1500v, want %q", name, err, c.want)
		}
	}
	broken := errors.New("the cable is cut")
	for _, text := range []string{good, "\x28\xb5\x2f\xfd", "\x1f\x8b"} {
		r := io.MultiReader(strings.NewReader(text), iotest.ErrReader(broken))
		if _, err := channel.Scan(r, nil); !errors.Is(err, broken) {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

// counting counts what is read.
type counting struct {
	r io.Reader
	n int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

type endless struct{ text string }

func (e endless) Read(p []byte) (int, error) {
	n := 0
	for n+len(e.text) <= len(p) {
		n += copy(p[n:], e.text)
	}
	return n, nil
}

// A list that never ends does end, plain or unpacked, and costs no memory.
func TestScan_Bombs(t *testing.T) {
	line := list([]string{strings.Repeat("x", 180) + "-1.0"})
	if _, err := channel.Scan(endless{line}, []channel.Query{query(t, "nginx")}); err == nil || !strings.Contains(err.Error(), "more than 2097152 store paths, or than 134217728 bytes") {
		t.Errorf("an endless list: got %v", err)
	}
	for _, name := range []string{"zeros.xz", "zeros.bz2"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		r := &counting{r: io.MultiReader(bytes.NewReader(b), endless{string(b)})}
		if _, err := channel.Scan(r, nil); err == nil || !strings.Contains(err.Error(), "line 1: longer than") {
			t.Errorf("%s: got %v", name, err)
		}
		if r.n > 1<<20 {
			t.Errorf("%s: %d bytes were read", name, r.n)
		}
	}
	// One that unpacks to good lines, without end.
	e, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	frame := e.EncodeAll(bytes.Repeat([]byte(line), 100_000), nil)
	if _, err := channel.Scan(endless{string(frame)}, nil); err == nil || !strings.Contains(err.Error(), "more than 134217728 bytes of contents") {
		t.Errorf("a list in %d bytes a frame: got %v", len(frame), err)
	}
}

// What a list says doesn't depend on its order, nor on what else is asked.
func TestScan_OrderIsNothing(t *testing.T) {
	texts := strings.SplitAfter(list(names), "\n")
	forwards := strings.Join(texts, "")
	slices.Reverse(texts)
	backwards := strings.Join(texts, "")
	var queries []channel.Query
	for _, s := range []string{"nginx", "nginxx", "openssl", "openssl.bin", "hello", "python3Packages.requests", "zlib", "z"} {
		queries = append(queries, query(t, s))
	}
	say := func(text string, queries []channel.Query) string {
		results, err := channel.Scan(strings.NewReader(text), queries)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, r := range results {
			paths, err := r.Paths()
			fmt.Fprintln(&b, paths, err)
			if h, ok := err.(interface{ Hint() string }); ok {
				fmt.Fprintln(&b, h.Hint())
			}
		}
		return b.String()
	}
	want := say(forwards, queries)
	one := ""
	for _, q := range queries {
		one += say(forwards, []channel.Query{q})
	}
	if got := say(backwards, queries); got != want || one != want {
		t.Errorf("forwards:\n%sbackwards:\n%sone by one:\n%s", want, got, one)
	}
}

func FuzzScan(f *testing.F) {
	// Short ones: with long ones, fuzzing is slow.
	f.Add([]byte(list([]string{"nginx-1.26.3", "nginx-1.26.3-doc"})), "nginx")
	f.Add([]byte(list([]string{"openssl-3-bin", "openssl-3", "openssl-1.1.1w"})), "openssl^bin")
	f.Add([]byte(list([]string{"perl5.38.2-URI-5.28", "perl5.40.0-URI-5.28"})), "perlPackages.URI")
	f.Add([]byte(list([]string{"a-1-dev", "a-dev", "a"})), "a.dev")
	f.Add([]byte("\x1f\x8b"), "python3Packages.requests-2.dist")
	f.Add([]byte("/gnu/store/00000000000000000000000000000000-a-1\r\n"), "a-1.0-dev")
	f.Fuzz(func(t *testing.T, text []byte, s string) {
		q, err := channel.ParseQuery(s)
		if err != nil {
			return
		}
		if again, err := channel.ParseQuery(q.String()); err != nil || again.String() != q.String() {
			t.Fatalf("%q becomes %q, and that %q, %v", s, q, again, err)
		}
		results, err := channel.Scan(bytes.NewReader(text), []channel.Query{q})
		if err != nil {
			return
		}
		paths, err := results[0].Paths()
		if (err == nil) != (len(paths) > 0) {
			t.Fatalf("%s, %v", paths, err)
		}
		for i, p := range paths {
			if _, err := store.ParsePath(p.String()); err != nil || p.Name() != paths[0].Name() || !strings.Contains(p.Name(), q.Name) || !bytes.Contains(text, []byte(p)) && text[0] == '/' {
				t.Fatalf("%s is %q", q, p)
			}
			if i > 0 && paths[i-1] >= p {
				t.Fatalf("not sorted: %s", paths)
			}
			// Who writes the whole name gets the same, if that name can be told from its version's.
			whole, err := channel.ParseQuery(p.Name())
			if err != nil || whole.Output != "" || whole.Set != "" {
				continue
			}
			r, err := channel.Scan(bytes.NewReader(text), []channel.Query{whole})
			if err != nil {
				t.Fatal(err)
			}
			if same, err := r[0].Paths(); err != nil || !slices.Equal(same, paths) {
				t.Fatalf("%q finds %s, %q finds %s, %v", q, paths, whole, same, err)
			}
		}
	})
}

// BenchmarkScan reads a list as long as nixpkgs', for 20 packages that aren't in it.
func BenchmarkScan(b *testing.B) {
	long := make([]string, 0, 200_000)
	for i := range 200_000 {
		long = append(long, fmt.Sprintf("%s-%d", []string{"python3.12-package", "lib", "haskell-thing-with-name", "texlive-fonts"}[i%4], i))
	}
	text := list(long)
	var queries []channel.Query
	for i := range 20 {
		queries = append(queries, query(b, fmt.Sprintf("package%c", 'a'+i)))
	}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := channel.Scan(strings.NewReader(text), queries); err != nil {
			b.Fatal(err)
		}
	}
}
