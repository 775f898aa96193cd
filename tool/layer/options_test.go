package layer

import (
	"archive/tar"
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/digestfile"
)

func pattern(tb testing.TB, text string) Pattern {
	tb.Helper()
	p, err := ParsePattern(text)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func TestPattern(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{".", "", true},
		{".", "a", false},
		{"a", "", false},
		{"**", "", false},
		{"a", "a", true},
		{"a", "a/b", false},
		{"a", "ab", false},
		{"a/b", "a/b", true},
		{"*", "a", true},
		{"*", "a/b", false},
		{"*.a", "lib.a", true},
		{"*.a", ".a", true},
		{"*.a", "lib.ab", false},
		{"lib*.so.*", "libfoo.so.so.1", true},
		{"a*b*c", "abbbcbc", true},
		{"a*b*c", "abbbcb", false},
		{"?", "a", true},
		{"?", "", false},
		{"?\xe9", "x\xe9", true},
		{"??", "\u00e9", true}, // bytes, not letters
		{"?", "\u00e9", false},
		{`\*`, "*", true},
		{`\*`, "a", false},
		{`a\\b`, `a\b`, true},
		{`\**`, "*x", true},
		{"**", "a", true},
		{"**", "a/b/c", true},
		{"a/**", "a", false},
		{"a/**", "a/b", true},
		{"a/**", "a/b/c", true},
		{"a/**", "b/a/c", false},
		{"**/a", "a", true},
		{"**/a", "b/c/a", true},
		{"**/a", "a/b", false},
		{"a/**/b", "a/b", true},
		{"a/**/b", "a/x/y/b", true},
		{"a/**/b", "a/x/y/c", false},
		{"**/a/**", "a", false},
		{"**/a/**", "x/a/y", true},
		{"**/a/*/b/**/c", "a/a/x/b/c/d/c", true},
		{"**/**", "a", true},
		{"**/*.py", "lib/python/x.py", true},
		{"[a]", "[a]", true},
	} {
		if got := pattern(t, c.pattern).Match([]byte(c.path)); got != c.want {
			t.Errorf("%q matches %q: %v, want %v", c.pattern, c.path, got, c.want)
		}
	}
}

// A pattern made to be slow isn't.
func TestPattern_Hostile(t *testing.T) {
	path := []byte(strings.Repeat("a/", 2000) + "a")
	for _, text := range []string{
		strings.Repeat("**/", 60) + "b",
		strings.Repeat("**/a/", 60) + "b",
		strings.Repeat("*a", 100) + "b",
	} {
		if pattern(t, text).Match(path) || pattern(t, text).Match(bytes.Repeat([]byte("a"), 255)) {
			t.Errorf("%.20q… matches", text)
		}
	}
	if _, err := ParsePattern(strings.Repeat("a/", maxPatternParts) + "a"); err == nil {
		t.Error("a pattern of too many components is taken")
	}
}

// optionsTree is a store path to try options on.
func optionsTree(tb testing.TB) NAR {
	return fromBytes(oddBase, makeNAR(
		tb,
		dir(""),
		dir("bin"), executable("bin/sh", "#!"), symlink("bin/sh2", "sh"),
		dir("share"),
		dir("share/doc"), file("share/doc/a", "1"), dir("share/doc/sub"), file("share/doc/sub/b", "2"),
		file("share/doc-x", "3"),
		dir("share/man"), file("share/man/.wh.gone", "4"),
		dir("tmp"),
	))
}

func TestWrite_Options(t *testing.T) {
	mtime := int64(1 << 32)
	stem := "nix/store/" + oddBase
	all := []string{
		"nix/", "nix/store/", stem + "/", stem + "/bin/", stem + "/bin/sh", stem + "/bin/sh2", stem + "/share/",
		stem + "/share/doc/", stem + "/share/doc/a", stem + "/share/doc/sub/", stem + "/share/doc/sub/b", stem + "/share/doc-x",
		stem + "/share/man/", stem + "/share/man/.wh.gone", stem + "/tmp/",
	}
	without := func(part string) []string {
		return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return strings.HasPrefix(s, stem+"/"+part) })
	}
	for _, c := range []struct {
		what  string
		o     Options
		names []string
		check func(h *tar.Header) bool
	}{
		{"none", Options{}, all, func(h *tar.Header) bool {
			return h.Uid == 0 && h.ModTime.Unix() == 1 && (h.Uname == "root") == strings.HasPrefix(h.Name, stem)
		}},
		{"owner", Options{Owner: &Owner{UID: 1000, GID: 100, UserName: "me", GroupName: "us"}}, all, func(h *tar.Header) bool {
			if !strings.HasPrefix(h.Name, stem) {
				return h.Uid == 0 && h.Gid == 0 && h.Uname == "" && h.Gname == ""
			}
			return h.Uid == 1000 && h.Gid == 100 && h.Uname == "me" && h.Gname == "us" && h.PAXRecords == nil
		}},
		{"owner's numbers alone, too great for ustar", Options{Owner: &Owner{UID: 1_000_650_000, GID: 1<<32 - 1}}, all, func(h *tar.Header) bool {
			if !strings.HasPrefix(h.Name, stem) {
				return h.Uid == 0 && h.PAXRecords == nil
			}
			return h.Uid == 1_000_650_000 && h.Gid == 1<<32-1 && h.Uname == "" && h.Gname == ""
		}},
		{"mtime", Options{MtimeUnix: &mtime}, all, func(h *tar.Header) bool { return h.ModTime.Unix() == mtime && h.PAXRecords == nil }},
		{"exclude a directory", Options{Exclude: []Pattern{pattern(t, "share/doc")}}, without("share/doc/"), nil},
		{"exclude what is in it", Options{Exclude: []Pattern{pattern(t, "share/doc/**")}}, append(without("share/doc/")[:7:7], append([]string{stem + "/share/doc/"}, without("share/doc/")[7:]...)...), nil},
		{"exclude by two patterns", Options{Exclude: []Pattern{pattern(t, "share"), pattern(t, "**/sh2")}}, []string{"nix/", "nix/store/", stem + "/", stem + "/bin/", stem + "/bin/sh", stem + "/tmp/"}, nil},
		{"strip the store path", Options{StripPrefix: "."}, func() (names []string) {
			for _, n := range all[3:] {
				names = append(names, strings.TrimPrefix(n, stem+"/"))
			}
			return names
		}(), func(h *tar.Header) bool { return h.Uname == "root" }},
		{"strip a directory", Options{StripPrefix: "share/doc"}, []string{"a", "sub/", "sub/b"}, nil},
		{"strip and exclude", Options{StripPrefix: "share/doc", Exclude: []Pattern{pattern(t, "share/doc/sub")}}, []string{"a"}, nil},
		{
			"modes; the last one counts, symlinks have none",
			Options{Modes: []ModeRule{{pattern(t, "**"), 0o700}, {pattern(t, "tmp"), 0o1777}, {pattern(t, "."), 0o711}, {pattern(t, "bin/sh*"), 0o4755}}},
			all,
			func(h *tar.Header) bool {
				want := map[string]int64{
					"nix/": 0o755, "nix/store/": 0o755, stem + "/": 0o711,
					stem + "/tmp/": 0o1777, stem + "/bin/sh": 0o4755, stem + "/bin/sh2": 0o777,
				}[h.Name]
				if want == 0 {
					want = 0o700
				}
				return h.Mode == want
			},
		},
	} {
		c.o.AllowWhiteoutNames = true
		c.o.Compression = None
		var b, listing bytes.Buffer
		c.o.Mtree = &listing
		f, err := Write(t.Context(), &b, []NAR{optionsTree(t)}, c.o)
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
			continue
		}
		var names []string
		r := tar.NewReader(&b)
		for {
			h, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", c.what, err)
			}
			names = append(names, h.Name)
			if c.check != nil && !c.check(h) {
				t.Errorf("%s: entry %+v", c.what, h)
			}
		}
		if !slices.Equal(names, c.names) {
			t.Errorf("%s: entries\n%s\nwant\n%s", c.what, strings.Join(names, "\n"), strings.Join(c.names, "\n"))
		}
		if lines := strings.Count(listing.String(), "\n") - 1; lines != len(names) {
			t.Errorf("%s: %d lines in the listing, %d entries", c.what, lines, len(names))
		}
		stripped := c.o.StripPrefix != ""
		if (len(f.StorePaths) == 0) != stripped || (f.Stripped != nil) != stripped || stripped && f.Stripped.Prefix != c.o.StripPrefix {
			t.Errorf("%s: digest file has store paths %v, stripped %v", c.what, f.StorePaths, f.Stripped)
		}
		if text, err := f.Marshal(); err != nil {
			t.Error(err)
		} else if _, err := digestfile.Parse(text); err != nil {
			t.Errorf("%s: %v in\n%s", c.what, err, text)
		}
	}
}

func TestWrite_OptionRefusals(t *testing.T) {
	n := optionsTree(t)
	other := n
	other.File.StorePath = "/nix/store/11111111111111111111111111111111-other"
	before, late := int64(-1), int64(1<<33)
	for _, c := range []struct {
		nars []NAR
		o    Options
		want string
	}{
		{nil, Options{Owner: &Owner{UserName: strings.Repeat("x", 32)}}, "at most 31 bytes"},
		{nil, Options{Owner: &Owner{GroupName: "a b"}}, `owner name "a b"`},
		{nil, Options{MtimeUnix: &before}, "mtime -1: want 0 to 8589934591"},
		{nil, Options{MtimeUnix: &late}, "mtime 8589934592"},
		{nil, Options{StripPrefix: "/etc"}, `strip prefix "/etc": want a directory in the store path`},
		{nil, Options{StripPrefix: "../etc"}, `strip prefix "../etc"`},
		{nil, Options{StripPrefix: "etc"}, string(n.File.StorePath) + `: strip prefix "etc": the store path has no such directory`},
		{nil, Options{StripPrefix: "bin/sh"}, `strip prefix "bin/sh": the store path has no such directory`},
		{[]NAR{fromBytes(oddBase, makeNAR(t, file("", "x")))}, Options{StripPrefix: "."}, `strip prefix ".": the store path has no such directory`},
		{[]NAR{n, other}, Options{StripPrefix: "."}, "want one store path, found 2"},
		{nil, Options{Exclude: []Pattern{{}}}, `exclude pattern ""`},
		{nil, Options{Exclude: []Pattern{pattern(t, ".")}}, `exclude pattern "."`},
		{nil, Options{Modes: []ModeRule{{pattern(t, "a"), 0o10000}}}, "mode 010000"},
		{nil, Options{Modes: []ModeRule{{Pattern{}, 0o700}}}, "want a pattern"},
		{nil, Options{}, "begins with .wh."},
		{nil, Options{Exclude: []Pattern{pattern(t, "share/man")}}, ""},
		{nil, Options{StripPrefix: "share/doc"}, ""},
	} {
		if c.nars == nil {
			c.nars = []NAR{n}
		}
		_, err := Write(t.Context(), io.Discard, c.nars, c.o)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: error %v, want %q", c.o, err, c.want)
		}
	}
}

// Levels by number are those of the encoders; what is the same has one name.
func TestWrite_Levels(t *testing.T) {
	n := cached(t, webDir+"/cache", "nvlrrmc6bmlc3ms0y9gsb58m5nfk9aw3-gmp-6.2.1")
	for _, c := range []struct{ compression, level, name string }{
		{Gzip, "1", LevelFastest},
		{Gzip, "4", "4"},
		{Gzip, "6", LevelDefault},
		{Gzip, "9", LevelBest},
		{Zstd, "2", LevelFastest},
		{Zstd, "3", LevelDefault},
		{Zstd, "5", LevelDefault},
		{Zstd, "7", "6"},
		{Zstd, "22", LevelBest},
	} {
		f, err := Write(t.Context(), io.Discard, []NAR{n}, Options{Compression: c.compression, Level: c.level})
		if err != nil {
			t.Errorf("%s %s: %v", c.compression, c.level, err)
			continue
		}
		same, err := Write(t.Context(), io.Discard, []NAR{n}, Options{Compression: c.compression, Level: c.name})
		if err != nil || f.Level != c.name || same.Descriptor.Digest != f.Descriptor.Digest {
			t.Errorf("%s %s: the digest file says level %q, want %q; bytes equal: %v, %v", c.compression, c.level, f.Level, c.name, err == nil && same.Descriptor.Digest == f.Descriptor.Digest, err)
		}
	}
	for _, bad := range []Options{{Level: "0"}, {Level: "10"}, {Level: "-1"}, {Level: "+6"}, {Level: "06"}, {Compression: Zstd, Level: "23"}, {Compression: None, Level: "1"}} {
		if err := CheckLevel(bad.Compression, bad.Level); err == nil {
			t.Errorf("%s level %q is taken", bad.Compression, bad.Level)
		}
	}
}
