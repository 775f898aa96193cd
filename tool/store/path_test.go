package store

import (
	"os"
	"strings"
	"testing"
)

func TestParsePath_RealPaths(t *testing.T) {
	b, err := os.ReadFile("../../testdata/web/closure/paths")
	if err != nil {
		t.Fatal(err)
	}
	paths := strings.Fields(string(b))
	if len(paths) < 40 {
		t.Fatalf("want the closure's 40 paths and more, found %d", len(paths))
	}
	for _, s := range paths {
		p, err := ParsePath(s)
		if err != nil {
			t.Error(err)
			continue
		}
		if p.Dir() != "/nix/store" || p.Dir()+"/"+p.Base() != s || p.HashPart()+"-"+p.Name() != p.Base() || p.String() != s {
			t.Errorf("%s: got dir %q, base %q, hash part %q, name %q", s, p.Dir(), p.Base(), p.HashPart(), p.Name())
		}
		if again, err := JoinPath(p.Dir(), p.Base()); err != nil || again != p {
			t.Errorf("%s joined again: got %s, %v", s, again, err)
		}
	}
}

func TestParsePath(t *testing.T) {
	const hash = "xznc9l6ppin9j93x7xsvaba3qkn46hwr"
	for _, c := range []struct{ name, path, want string }{
		{"plain", "/nix/store/" + hash + "-bash-5.2.15", ""},
		{"Guix", "/gnu/store/" + hash + "-hello", ""},
		{"deep directory", "/home/me/my_store.2/a+b=c/nix/store/" + hash + "-a", ""},
		{"all characters of names", "/nix/store/" + hash + "-aZ09+-._?=", ""},
		{"one character", "/nix/store/" + hash + "-a", ""},
		{"hidden name", "/nix/store/" + hash + "-.hidden", ""},
		{"dots and more", "/nix/store/" + hash + "-...", ""},
		{"longest name", "/nix/store/" + hash + "-" + strings.Repeat("n", 211), ""},

		{"empty", "", "want an absolute path"},
		{"relative", hash + "-bash", "want an absolute path"},
		{"in the root", "/" + hash + "-bash", "want an absolute path"},
		{"relative directory", "nix/store/" + hash + "-bash", "want an absolute path below /"},
		{"below a store path", "/nix/store/" + hash + "-bash/bin", "want 32 characters of hash"},
		{"trailing slash", "/nix/store/" + hash + "-bash/", "want 32 characters of hash"},
		{"double slash", "/nix//store/" + hash + "-bash", `the component ""`},
		{"double slash at the end", "/nix/store//" + hash + "-bash", `the component ""`},
		{"dot", "/nix/./store/" + hash + "-bash", `the component "."`},
		{"dotdot", "/nix/store/../" + hash + "-bash", `the component ".."`},
		{"line feed in the directory", "/nix/st\nore/" + hash + "-bash", `illegal character '\n'`},
		{"NUL in the directory", "/nix/store\x00/" + hash + "-bash", `illegal character '\x00'`},
		{"quote in the directory", `/nix/st"ore/` + hash + "-bash", `illegal character '"'`},
		{"backslash in the directory", `/nix/st\ore/` + hash + "-bash", `illegal character '\\'`},
		{"percent in the directory", "/nix/st%ore/" + hash + "-bash", `illegal character '%'`},
		{"space in the directory", "/nix/my store/" + hash + "-bash", `illegal character ' '`},
		{"brace in the directory", "/nix/{store}/" + hash + "-bash", `illegal character '{'`},
		{"not ASCII in the directory", "/nix/störe/" + hash + "-bash", `illegal character`},
		{"only the directory", "/nix/store", "want 32 characters of hash"},
		{"hash part short", "/nix/store/" + hash[1:] + "-bash", "want 32 characters of hash"},
		{"hash part long", "/nix/store/" + hash + "0-bash", "want 32 characters of hash"},
		{"letter e in the hash", "/nix/store/e" + hash[1:] + "-bash", "'e' is no nixbase32 character"},
		{"capital in the hash", "/nix/store/X" + hash[1:] + "-bash", "'X' is no nixbase32 character"},
		{"no dash", "/nix/store/" + hash + "_bash", "a dash"},
		{"no name", "/nix/store/" + hash + "-", "and a name"},
		{"name dot", "/nix/store/" + hash + "-.", `the name "." is not allowed`},
		{"name dotdot", "/nix/store/" + hash + "-..", `the name ".." is not allowed`},
		{"name dot dash", "/nix/store/" + hash + "-.-a", `the name ".-a" is not allowed`},
		{"name dotdot dash", "/nix/store/" + hash + "-..-a", `the name "..-a" is not allowed`},
		{"long name", "/nix/store/" + hash + "-" + strings.Repeat("n", 212), "212 characters, want at most 211"},
		{"space", "/nix/store/" + hash + "-a b", "illegal character ' '"},
		{"carriage return", "/nix/store/" + hash + "-bash\r", `illegal character '\r'`},
		{"not ASCII", "/nix/store/" + hash + "-b\xffsh", "illegal character"},
		{"whiteout", "/nix/store/.wh." + hash + "-bash", "want 32 characters of hash"},
	} {
		p, err := ParsePath(c.path)
		switch {
		case c.want == "" && (err != nil || string(p) != c.path):
			t.Errorf("%s: want it taken, got %q, %v", c.name, p, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: want an error with %q, got %v", c.name, c.want, err)
		case c.want != "" && p != "":
			t.Errorf("%s: want no path beside the error, got %q", c.name, p)
		}
	}
	if _, err := ParsePath("/nix/store/" + strings.Repeat("x", 1<<20)); err == nil || len(err.Error()) > 1000 {
		t.Error("want a short error for a long text")
	}
	if _, err := JoinPath("/nix/store", "../"+hash+"-bash"); err == nil {
		t.Error("a base name leads out of the store directory")
	}
}

// The zero value and what was never checked give no panic.
func TestPath_Unchecked(t *testing.T) {
	for _, p := range []Path{"", "/", "x", "/x", "/nix/store/short"} {
		_, _, _, _ = p.Dir(), p.Base(), p.HashPart(), p.Name()
	}
}

func FuzzParsePath(f *testing.F) {
	f.Add("/nix/store/xznc9l6ppin9j93x7xsvaba3qkn46hwr-bash-5.2.15")
	f.Add("/nix/store/xznc9l6ppin9j93x7xsvaba3qkn46hwr-..")
	f.Add("/gnu/../store/xznc9l6ppin9j93x7xsvaba3qkn46hwr-a")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePath(s)
		if err != nil {
			return
		}
		if string(p) != s || p.Dir()+"/"+p.HashPart()+"-"+p.Name() != s || len(p.HashPart()) != HashPartLen || p.Name() == "" {
			t.Fatalf("%q is taken as dir %q, hash part %q, name %q", s, p.Dir(), p.HashPart(), p.Name())
		}
		if strings.Trim(s, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-._?=/") != "" || strings.Contains(s+"/", "/../") || strings.Contains(s, "//") {
			t.Fatalf("%q is taken", s)
		}
	})
}

// As `nix-instantiate --eval -E 'builtins.parseDrvName "…"'` says, of Nix 2.8 and 2.34.
func TestSplitName(t *testing.T) {
	for name, want := range map[string][2]string{
		"nginx-1.22.1":         {"nginx", "1.22.1"},
		"gcc-12.2.0-libgcc":    {"gcc", "12.2.0-libgcc"},
		"nix-cache-info":       {"nix-cache-info", ""},
		"glibc-2.36-9":         {"glibc", "2.36-9"},
		"python3.11-six-1.16":  {"python3.11-six", "1.16"},
		"x-":                   {"x-", ""},
		"-":                    {"-", ""},
		"x--y":                 {"x", "-y"},
		"-1":                   {"", "1"},
		"unstable-2024-01-01":  {"unstable", "2024-01-01"},
		"a-_b":                 {"a", "_b"},
		"":                     {"", ""},
		"bash-interactive-5.2": {"bash-interactive", "5.2"},
	} {
		if pkg, version := SplitName(name); pkg != want[0] || version != want[1] {
			t.Errorf("%q: got %q and %q, want %q", name, pkg, version, want)
		}
	}
}
