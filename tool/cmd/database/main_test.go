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

const (
	hash  = "sha256:dc82290f76a8c4c0093918abf04ab11f0cb4e6069f2a60acc44c94fd9b6663a7"
	twin  = "/nix/store/171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-twin-a"
	other = "/nix/store/f6w0mrfvggf8rd72k5wcg9nw4033vjkn-twin-a"
)

func pathArgument(path, references string) string {
	return `--path={"path": "` + path + `", "nar_hash": "` + hash + `", "nar_size": "24736", "references": [` + references + `]}`
}

func runWith(t *testing.T, args ...string) (code int, stderr string) {
	t.Helper()
	var out, errors bytes.Buffer
	code = program.Run(t.Context(), args, &out, &errors)
	if out.Len() > 0 {
		t.Errorf("standard output: %s", &out)
	}
	return code, errors.String()
}

// By a parameter file, as Bazel runs it: blob and digest file, the same whatever the order of the paths.
func TestRun(t *testing.T) {
	var diffIDs []string
	for i, paths := range [][]string{
		{pathArgument(twin, `"`+other+`"`), pathArgument(other, "")},
		{pathArgument(other, ""), pathArgument(twin, `"`+other+`"`)},
	} {
		dir := t.TempDir()
		output, digests := filepath.Join(dir, "blob.tar.zst"), filepath.Join(dir, "blob.json")
		lines := append([]string{"--output=" + output, "--digest-file=" + digests, "--compression=zstd", "--kind=nix", "--registration-time=5", "--root=" + twin}, paths...)
		params := filepath.Join(dir, "params")
		if err := os.WriteFile(params, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
		if code, stderr := runWith(t, "@"+params); code != action.ExitOK {
			t.Fatalf("exit code %d: %s", code, stderr)
		}
		file, err := digestfile.Read(digests)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(output)
		if err != nil || info.Size() != file.Descriptor.Size || len(file.StorePaths) != 0 {
			t.Errorf("%d: %+v, %v", i, file, err)
		}
		diffIDs = append(diffIDs, string(file.DiffID))
	}
	if diffIDs[0] != diffIDs[1] {
		t.Errorf("diff IDs %q", diffIDs)
	}
}

// Faults: the exit code, the argument or the path named, and nothing left.
func TestRun_Errors(t *testing.T) {
	dir := t.TempDir()
	base := []string{"--output=" + filepath.Join(dir, "b"), "--digest-file=" + filepath.Join(dir, "j"), "--kind=nix"}
	with := func(args ...string) []string { return append(base[:len(base):len(base)], args...) }
	tests := []struct {
		name string
		args []string
		code int
		want string
	}{
		{"nothing", nil, action.ExitUsage, "--output is missing"},
		{"no kind", base[:2], action.ExitUsage, "--kind is missing"},
		{"kind", append(base[:2:2], "--kind=snix"), action.ExitUsage, `--kind: "snix": want nix or guix`},
		{"twice", with("--kind=nix"), action.ExitUsage, "--kind: given twice"},
		{"unknown", with("--store=x"), action.ExitUsage, "--store: no such argument"},
		{"no value", with("--root"), action.ExitUsage, "--root: it takes a value"},
		{"no option", with("x"), action.ExitUsage, `argument "x": want --name=value`},
		{"compression", with("--compression=xz"), action.ExitUsage, `--compression: "xz": want one of`},
		{"time", with("--registration-time=-1"), action.ExitUsage, `--registration-time: "-1": want a number of seconds, 0 or more`},
		{"root", with("--root=/nix/store/../etc"), action.ExitUsage, "--root: store path"},
		{"no JSON", with("--path={"), action.ExitUsage, "--path: line 1"},
		{"field", with(`--path={"path": "` + twin + `", "deriver": ""}`), action.ExitUsage, `deriver`},
		{"size", with(`--path={"path": "` + twin + `", "nar_hash": "` + hash + `", "nar_size": "1e9", "references": []}`), action.ExitUsage, `nar_size: "1e9": want a number of bytes`},
		{"one file", []string{"--output=" + dir + "/b", "--digest-file=" + dir + "/./b", "--kind=nix"}, action.ExitUsage, "name the same file"},
		{"no paths", with(), action.ExitFailure, "there is no store path to register"},
		{"unregistered", with(pathArgument(twin, `"`+other+`"`)), action.ExitFailure, twin + ": it refers to " + other + ", which is not registered"},
		{"another store", append(base[:2:2], "--kind=guix", pathArgument(twin, "")), action.ExitFailure, "a database of guix knows paths in /gnu/store alone"},
		{"no folder", []string{"--output=" + dir + "/none/b", "--digest-file=" + dir + "/j", "--kind=nix", pathArgument(twin, "")}, action.ExitFailure, "--output=" + dir + "/none/b"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			code, stderr := runWith(t, test.args...)
			if code != test.code || !strings.Contains(stderr, "database: error: ") || !strings.Contains(stderr, test.want) {
				t.Errorf("exit code %d, want %d; %s, want %s", code, test.code, stderr, test.want)
			}
			left, err := os.ReadDir(dir)
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}
