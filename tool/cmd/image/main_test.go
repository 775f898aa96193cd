package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
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

// imageFiles writes config and manifest of an image of the layers into dir.
func imageFiles(t *testing.T, dir string, layers []imagetest.Layer) (config, manifest string, blobs []image.Blob) {
	t.Helper()
	img, blobs := imagetest.Build(t, image.Settings{System: "x86_64-linux"}, layers)
	config, manifest = filepath.Join(dir, "config"), filepath.Join(dir, "manifest")
	for path, b := range map[string][]byte{config: img.Config, manifest: img.Manifest} {
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return config, manifest, blobs
}
