package action

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func write(t testing.TB, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "x.params")
	if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestExpand(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"", nil},
		{"\n", []string{""}},
		{"\n\n", []string{"", ""}},
		{"a", []string{"a"}},
		{"a\n", []string{"a"}},
		{"a\n\nb\n", []string{"a", "", "b"}},
		{"a\r\nb\r\n", []string{"a\r", "b\r"}}, // a name may end in one
		{" a b \n'c'\n\"d\\\n$e\n", []string{" a b ", "'c'", `"d\`, "$e"}},
		{"@other\n--x=@y\n", []string{"@other", "--x=@y"}},
		{"--name=\xff\xfe\u2028x\n", []string{"--name=\xff\xfe\u2028x"}},
		{strings.Repeat("l", 1<<20+1) + "\n", []string{strings.Repeat("l", 1<<20+1)}},
	} {
		got, err := expand([]string{"first", "@" + write(t, c.text), "a@b"})
		want := slices.Concat([]string{"first"}, c.want, []string{"a@b"})
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%.40q: %.100q, %v; want %.100q", c.text, got, err, want)
		}
	}
	if got, err := expand(nil); err != nil || len(got) > 0 {
		t.Errorf("no arguments: %q, %v", got, err)
	}
	two := []string{"@" + write(t, "a\nb"), "@" + write(t, "c\n")}
	if got, err := expand(two); err != nil || !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("two files: %q, %v", got, err)
	}
}

func TestExpand_Refuses(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	if _, err := expand([]string{"@" + missing}); !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), "parameter file "+missing+": ") {
		t.Errorf("no file: %v", err)
	}
	if _, err := expand([]string{"@"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no name: %v", err)
	}
	if _, err := expand([]string{"@" + t.TempDir()}); err == nil {
		t.Error("a folder is read")
	}
	if _, err := expand([]string{"@" + write(t, "a\nb\x00\n")}); err == nil || !strings.HasSuffix(err.Error(), ": line 2 holds a NUL, which no argument can") {
		t.Errorf("NUL: %v", err)
	}

	// The bound is for all files together; a file without an end is not read on.
	half := write(t, strings.Repeat(strings.Repeat("x", 1<<20-1)+"\n", maxArguments>>21))
	if got, err := expand([]string{"@" + half, "@" + half}); err != nil || len(got) != maxArguments>>20 {
		t.Errorf("as much as is allowed: %d arguments, %v", len(got), err)
	}
	for _, args := range [][]string{{"@" + half, "@" + half, "@" + write(t, "x")}, {"@/dev/zero"}} {
		if _, err := expand(args); err == nil || !strings.HasSuffix(err.Error(), ": over 67108864 bytes of arguments") {
			t.Errorf("%v: error %v", args, err)
		}
	}
}

// What is read is what was written: joined by newlines again it is the file.
func FuzzExpand(f *testing.F) {
	for _, s := range []string{"", "\n", "a", "a\nb\n", "\r\n", "a\x00", "@x\n", "\xff\n\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := expand([]string{"@" + write(t, text)})
		if (err != nil) != strings.Contains(text, "\x00") {
			t.Fatalf("error %v", err)
		}
		if err != nil {
			return
		}
		if joined := strings.Join(got, "\n"); joined != strings.TrimSuffix(text, "\n") || text == "\n" && len(got) != 1 {
			t.Fatalf("%q", got)
		}
	})
}
