package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/action"
	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/image/imagetest"
	"github.com/rules-strata/rules_strata/tool/layer"
	"github.com/rules-strata/rules_strata/tool/runlayer"
)

func TestMain(m *testing.M) {
	runlayer.Main()
	os.Exit(m.Run())
}

func runIn(t *testing.T, args ...string) (code int, stderr string) {
	t.Helper()
	var out, errors bytes.Buffer
	code = program.Run(t.Context(), args, &out, &errors)
	if out.Len() > 0 {
		t.Errorf("standard output: %s", &out)
	}
	return code, errors.String()
}

const busybox = "/nix/store/wnl9zz2m90jmg2k4xnvcc1nlyg08i69j-busybox-static-1.35.0"

// write writes a file into dir and returns its path.
func write(t *testing.T, dir, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// boxImage is an image of busybox: the arguments that name its parts.
func boxImage(t *testing.T, dir string) (args []string, l imagetest.Layer) {
	t.Helper()
	for _, n := range imagetest.NARs(t, "../../../testdata", imagetest.WebCache) {
		if string(n.File.StorePath) == busybox {
			l = imagetest.Write(t, []layer.NAR{n}, layer.Zstd)
		}
	}
	img, _ := imagetest.Build(t, image.Settings{System: "x86_64-linux", Env: []string{"FROM=image"}}, []imagetest.Layer{l})
	return []string{
		"--config=" + write(t, dir, "config.json", img.Config), "--manifest=" + write(t, dir, "manifest.json", img.Manifest),
		"--layer=" + l.DigestPath, "--blob=" + l.BlobPath,
	}, l
}

// A layer, by a parameter file.
func TestRun(t *testing.T) {
	dir, out := t.TempDir(), t.TempDir()
	parts, _ := boxImage(t, dir)
	spec := write(t, dir, "spec.json", []byte(`{"command": ["`+busybox+`/bin/sh", "-c", "echo $FROM > /said"], "mtime": 7}`))
	at := func(name string) string { return filepath.Join(out, name) }
	params := write(t, dir, "params", []byte(strings.Join(append(parts,
		"--spec="+spec, "--output="+at("blob.tar"), "--digest-file="+at("blob.json"), "--mtree="+at("mtree"), "--compression=none", "--workers=2"), "\n")))
	if code, stderr := runIn(t, "@"+params); code != action.ExitOK || stderr != "" {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	mtree, err := os.ReadFile(at("mtree"))
	const want = "#mtree\n./said type=file mode=644 uid=0 gid=0 uname=root gname=root time=7.0 size=6 sha256digest=254eddf15d9534e3b20c55469077aa2f24f167aa4b897a36381d3e251e4829c2\n"
	if err != nil || string(mtree) != want {
		t.Errorf("%v: got\n%s\nwant\n%s", err, mtree, want)
	}
	f, err := digestfile.Read(at("blob.json"))
	if err != nil || f.Entries != 1 {
		t.Errorf("digest file: %+v, %v", f, err)
	}
	if left, _ := os.ReadDir(out); len(left) != 3 {
		t.Errorf("%v: want the three outputs", left)
	}
}

// Faults: the exit code, the argument or file named, and nothing left.
func TestRun_Errors(t *testing.T) {
	dir, out := t.TempDir(), t.TempDir()
	parts, l := boxImage(t, dir)
	spec := "--spec=" + write(t, dir, "spec.json", []byte(`{"command": ["`+busybox+`/bin/sh", "-c", "echo x; exit 5"]}`))
	outputs := []string{"--output=" + filepath.Join(out, "b"), "--digest-file=" + filepath.Join(out, "j")}
	with := func(args ...string) []string { return append(outputs[:len(outputs):len(outputs)], args...) }
	whole := slices.Clip(append(with(spec), parts...))
	blob, err := os.ReadFile(l.BlobPath)
	if err != nil {
		t.Fatal(err)
	}
	blob[len(blob)/2] ^= 1
	damaged := write(t, dir, "damaged", blob)
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{nil, action.ExitUsage, "--spec is missing"},
		{with(spec), action.ExitUsage, "--config is missing"},
		{with("spec"), action.ExitUsage, `argument "spec": want --name=value`},
		{with("--spec"), action.ExitUsage, "it takes a value: --spec=…"},
		{with("--fly=1"), action.ExitUsage, "--fly: no such argument"},
		{with(spec, spec), action.ExitUsage, "--spec: given twice"},
		{with("--blob=x"), action.ExitUsage, "--blob: want its --layer before it"},
		{append(whole, "--layer=x"), action.ExitUsage, "--layer=x: want its --blob behind it"},
		{append(whole, "--mtree="+filepath.Join(out, "b")), action.ExitUsage, "name the same file"},
		{append(whole, "--level=12"), action.ExitUsage, `--level: level "12"`},
		{append(with("--spec="+l.BlobPath), parts...), action.ExitFailure, "--spec: "},
		{append(with(spec), parts[:2]...), action.ExitFailure, "layer 1 of the image, sha256:"},
		{append(with(spec, "--layer="+l.DigestPath, "--blob="+damaged), parts[:2]...), action.ExitFailure, "layer 1: "},
		{append(whole, "--base="+out), action.ExitFailure, "it is no OCI layout"},
		{whole, action.ExitFailure, "exit code 5; it wrote:\nx\n"},
	} {
		code, stderr := runIn(t, test.args...)
		if code != test.code || !strings.HasPrefix(stderr, "run: error: ") || !strings.Contains(stderr, test.want) {
			t.Errorf("%q: exit code %d, want %d and %q: %s", test.args, code, test.code, test.want, stderr)
		}
		if entries, _ := os.ReadDir(out); len(entries) > 0 {
			t.Fatalf("%q: %v is left", test.args, entries)
		}
	}
}
