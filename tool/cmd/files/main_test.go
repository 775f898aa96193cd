package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/action"
	"github.com/rules-strata/rules_strata/tool/digestfile"
)

// bash is the NAR of a store path, as an argument.
const bash = `--nar={"store_path": "/nix/store/xznc9l6ppin9j93x7xsvaba3qkn46hwr-bash-5.2.15", "nar": "NAR", "compression": "COMPRESSION", "nar_hash": "HASH", "nar_size": "SIZE"}`

func runIn(t *testing.T, dir string, args ...string) (code int, stderr string) {
	t.Helper()
	var out, errors bytes.Buffer
	code = program.Run(t.Context(), args, &out, &errors)
	if out.Len() > 0 {
		t.Errorf("standard output: %s", &out)
	}
	return code, errors.String()
}

// A layer, by a parameter file; then the layer as a tar as it is: the same digests.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(at("motd"), []byte("hello\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	params := strings.Join([]string{
		"layer", "--output=" + at("blob.tar.zst"), "--digest-file=" + at("blob.json"), "--mtree=" + at("mtree"), "--compression=zstd", "--level=best",
		`--entry={"type": "file", "from": "` + at("motd") + `", "path": "etc/motd"}`,
		`--entry={"type": "directory", "path": "tmp/a b"}`,
		"--mode=1777:tmp/*", "--owner=1:2", "--owner-names=a:b", "--mtime=5", `--rename=["etc", "usr/etc"]`, `--set-owner=["tmp/*", "3:4"]`,
		`--xattr=["usr/etc/motd", "user.a=b"]`, "--collisions=last", "--omit-parents=true", "--workers=2",
	}, "\n")
	if err := os.WriteFile(at("params"), []byte(params), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, stderr := runIn(t, dir, "@"+at("params")); code != action.ExitOK {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	mtree, err := os.ReadFile(at("mtree"))
	if err != nil {
		t.Fatal(err)
	}
	const want = `#mtree
./tmp/a\040b type=dir mode=1777 uid=3 gid=4 time=5.0
./usr/etc/motd type=file mode=644 uid=1 gid=2 uname=a gname=b time=5.0 xattr.user.a=Yg== size=6 sha256digest=5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03
`
	if string(mtree) != want {
		t.Errorf("got\n%s\nwant\n%s", mtree, want)
	}
	if code, stderr := runIn(t, dir, "tar", "--tar="+at("blob.tar.zst"), "--digest-file="+at("again.json"), "--compression=zstd"); code != action.ExitOK {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	first, err := digestfile.Read(at("blob.json"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := digestfile.Read(at("again.json"))
	if err != nil {
		t.Fatal(err)
	}
	if first.Descriptor.Digest != again.Descriptor.Digest || first.DiffID != again.DiffID || first.Entries != again.Entries {
		t.Errorf("as a layer %+v, as a tar %+v", first, again)
	}
}

// Faults: the exit code, the argument named, and nothing left.
func TestRun_Errors(t *testing.T) {
	dir := t.TempDir()
	outputs := []string{"layer", "--output=" + filepath.Join(dir, "b"), "--digest-file=" + filepath.Join(dir, "j")}
	with := func(args ...string) []string { return append(outputs[:len(outputs):len(outputs)], args...) }
	text := `--entry={"type": "text", "text": "x", "path": "a", "by": "content: a"}`
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{nil, action.ExitUsage, "want a command"},
		{[]string{"fly"}, action.ExitUsage, `"fly" is no command`},
		{[]string{"layer"}, action.ExitUsage, "--output is missing"},
		{[]string{"layer", "--output=x"}, action.ExitUsage, "--digest-file is missing"},
		{[]string{"tar", "--digest-file=x"}, action.ExitUsage, "--tar is missing"},
		{[]string{"tar", "--entry=x"}, action.ExitUsage, "--entry: no such argument"},
		{[]string{"layer", "--output=x", "--digest-file=./x"}, action.ExitUsage, "name the same file"},
		{with("text"), action.ExitUsage, `argument "text": want --name=value`},
		{with("--mode"), action.ExitUsage, "it takes a value: --mode=…"},
		{with("--omit-parents=yes"), action.ExitUsage, "want true or false"},
		{with("--mtime=1", "--mtime=2"), action.ExitUsage, "--mtime: given twice"},
		{with("--mtime=-1"), action.ExitUsage, "--mtime: -1: want 0 to"},
		{with("--compression=xz"), action.ExitUsage, `--compression: "xz": want one of gzip, zstd, none`},
		{with("--level=12"), action.ExitUsage, `--level: level "12"`},
		{with("--workers=0"), action.ExitUsage, `--workers: "0": want a number`},
		{with("--mode=0755"), action.ExitUsage, `--mode: "0755": want OCTAL:PATTERN`},
		{with(`--rename=["a"]`), action.ExitUsage, `--rename: ["a"]: want a list of two strings`},
		{with(`--entry={"type": "text", "text": "x", "path": "../a", "by": "content: ../a"}`), action.ExitUsage, `--entry: content: ../a: line 1, column`},
		{with(strings.NewReplacer("NAR", "", "COMPRESSION", "none", "HASH", "sha256:"+strings.Repeat("0", 64), "SIZE", "1").Replace(bash)), action.ExitUsage, "--nar: "},
		{with(), action.ExitFailure, "the layer is empty"},
		{with(text, `--entry={"type": "text", "text": "y", "path": "a", "by": "content: b"}`), action.ExitFailure, "a is there twice: content: a wants a file, content: b wants a file"},
		{with(`--entry={"type": "shell", "root": "/nix/store/xznc9l6ppin9j93x7xsvaba3qkn46hwr-bash-5.2.15", "by": "shell: //:bash"}`), action.ExitFailure, "shell: //:bash: /nix/store/xznc9l6ppin9j93x7xsvaba3qkn46hwr-bash-5.2.15: no --nar is given of it"},
		{[]string{"tar", "--tar=" + dir + "/none", "--digest-file=" + dir + "/j"}, action.ExitFailure, "no such file"},
	} {
		code, stderr := runIn(t, dir, test.args...)
		if code != test.code || !strings.HasPrefix(stderr, "files: error: ") || !strings.Contains(stderr, test.want) {
			t.Errorf("%q: exit code %d, want %d and %q: %s", test.args, code, test.code, test.want, stderr)
		}
		if entries, _ := os.ReadDir(dir); len(entries) > 0 {
			t.Fatalf("%q: %v is left", test.args, entries)
		}
	}
}
