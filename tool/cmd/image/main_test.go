package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/image/imagetest"
	"github.com/rules-strata/rules_strata/tool/validate"
)

const testdata = "../../../testdata"

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"image": main})
}

// TestScripts runs testdata/script. Each script finds three layers of real
// store paths as layers/N.json and layers/N.tar.gz, the third again as zstd in
// layers/3z.json and layers/3z.tar.zst; `oracle PATH` lists what is wrong with
// an image.
func TestScripts(t *testing.T) {
	layers := map[string]imagetest.Layer{}
	for i, l := range imagetest.Mini(t, testdata, "gzip") {
		layers[fmt.Sprintf("%d", i+1)] = l
	}
	layers["3z"] = imagetest.Mini(t, testdata, "zstd")[2]
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			dir := filepath.Join(e.WorkDir, "layers")
			if err := os.Mkdir(dir, 0o755); err != nil {
				return err
			}
			for name, l := range layers {
				ext := ".tar.gz"
				if l.Compression == "zstd" {
					ext = ".tar.zst"
				}
				for to, from := range map[string]string{name + ".json": l.DigestPath, name + ext: l.BlobPath} {
					b, err := os.ReadFile(from)
					if err != nil {
						return err
					}
					if err := os.WriteFile(filepath.Join(dir, to), b, 0o644); err != nil {
						return err
					}
				}
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"oracle": oracle},
	})
}

func oracle(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: oracle PATH")
	}
	r, err := validate.Image(context.Background(), ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Check(r.Err())
	for _, img := range r.Images {
		ts.Logf("%s %v %v, %d layers", img.Digest, img.Names, img.Refs, len(img.Layers))
	}
}

// A signal in the midst of a blob ends the command like any error: exit code
// 1, and no file, half or whole, is there.
func TestArchive_Interrupted(t *testing.T) {
	layers := imagetest.Mini(t, testdata, "none")[2:]
	img, blobs := imagetest.Build(t, image.Settings{System: "x86_64-linux"}, layers)
	dir := t.TempDir()
	config, manifest, pipe := filepath.Join(dir, "config"), filepath.Join(dir, "manifest"), filepath.Join(dir, "pipe")
	for path, b := range map[string][]byte{config: img.Config, manifest: img.Manifest} {
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(pipe, 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		b, err := os.ReadFile(blobs[0].Path)
		if err != nil {
			t.Error(err)
		}
		w, err := os.OpenFile(pipe, os.O_WRONLY, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer w.Close()
		half := len(b) / 2
		if _, err := w.Write(b[:half]); err != nil {
			t.Error(err)
		}
		cancel()
		w.Write(b[half:]) // The other side may be gone by now.
	}()
	var stdout, stderr bytes.Buffer
	out := filepath.Join(dir, "image.tar")
	code := run(ctx, []string{
		"archive", "--config=" + config, "--manifest=" + manifest,
		"--layer=" + layers[0].DigestPath, "--blob=" + pipe, "--output=" + out,
	}, &stdout, &stderr)
	if code != exitFailed || !strings.Contains(stderr.String(), "image: error: ") || !strings.Contains(stderr.String(), "interrupted") {
		t.Errorf("exit code %d, %s", code, &stderr)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 {
		t.Errorf("left behind: %v (%v)", entries, err)
	}
}

// When one output can't be put into its place, none of the others stays there.
func TestOutputs_AllOrNone(t *testing.T) {
	dir := t.TempDir()
	var o outputs
	for _, name := range []string{"first", "second", "third"} {
		if _, err := o.create(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "second", "not-empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := o.commit(); err == nil {
		t.Error("a file takes the place of a directory")
	}
	o.discard()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != "second" {
		t.Errorf("left behind: %v (%v)", entries, err)
	}
}
