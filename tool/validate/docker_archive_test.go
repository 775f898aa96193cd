package validate_test

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/image/imagetest"
)

// tarEntry is one file or directory of an archive.
type tarEntry struct {
	name string
	dir  bool
	b    []byte
}

func readTar(t *testing.T, archive []byte) []tarEntry {
	t.Helper()
	var out []tarEntry
	for tr := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, tarEntry{h.Name, h.Typeflag == tar.TypeDir, b})
	}
}

func writeTar(t *testing.T, entries []tarEntry) string {
	t.Helper()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: e.name, Mode: 0o644, Size: int64(len(e.b))}
		if e.dir {
			h.Typeflag = tar.TypeDir
		}
		if err := tw.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write(e.b); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "archive.tar")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// One thing after the other that is wrong with a docker archive is told, where it is.
func TestImage_DockerArchive_Faults(t *testing.T) {
	layers := imagetest.Mini(t, testdata, "gzip")
	img, blobs := imagetest.Build(t, image.Settings{System: "x86_64-linux", Cmd: []string{"/x"}}, layers)
	var b bytes.Buffer
	form := image.Archive{Format: image.FormatDockerArchive, Legacy: true}
	if err := form.Write(t.Context(), &b, img, blobs, []string{"web:dev", "example.org/web:1"}); err != nil {
		t.Fatal(err)
	}
	good := readTar(t, b.Bytes())
	// The folder of each layer, lowest first.
	var folders []string
	for _, e := range good {
		if e.dir {
			folders = append(folders, e.name)
		}
	}
	if r := check(t, writeTar(t, good)); r.Err() != nil || len(folders) != len(layers) {
		t.Fatalf("the good archive of %d layers: %v", len(folders), r.Err())
	}
	config := img.ConfigDescriptor.Digest.Encoded() + ".json"
	for _, test := range []struct {
		name, file, old, new string
		want                 string
	}{
		{"config's bytes", config, `"os":"linux"`, `"os":"LINUX"`, config + ": its bytes have the digest sha256:"},
		{"diff IDs", config, img.DiffIDs[1].String(), img.DiffIDs[0].String(), "diff ID 2 is "},
		{"layers in another order", "manifest.json", folders[0], folders[1], "diff ID 1 is "},
		{"a layer that is missing", "manifest.json", folders[2], strings.Repeat("a", 64) + "/", strings.Repeat("a", 64) + "/layer.tar: missing"},
		{"a name twice", "manifest.json", "example.org/web:1", "docker.io/library/web:dev", "RepoTags: docker.io/library/web:dev is there twice"},
		{"a bad name", "manifest.json", "example.org/web:1", "example.org/Web:1", "RepoTags: image name"},
		{"a name that repositories lacks", "manifest.json", "example.org/web:1", "example.org/web:2", "repositories: example.org/web:2 is missing"},
		{"a name of another layer", "repositories", strings.TrimSuffix(folders[2], "/"), strings.TrimSuffix(folders[1], "/"), "manifest.json has"},
		{"version", folders[1] + "VERSION", "1.0", "2.0", folders[1] + `VERSION: "2.0": want 1.0`},
		{"id", folders[1] + "json", `"id":"`, `"id":"0`, folders[1] + `json: id "0`},
		{"parent", folders[1] + "json", `"parent":"`, `"parent":"0`, folders[1] + `json: parent "0`},
		{"no parent", folders[2] + "json", `"parent":`, `"x":`, folders[2] + `json: parent "": want`},
		{"checksum", folders[0] + "json", `"checksum":"sha256`, `"checksum":"sha512`, folders[0] + `json: checksum "sha512`},
		{"size", folders[0] + "json", `"Size":1`, `"Size":11`, folders[0] + "json: Size 11"},
		{"config of the topmost", folders[2] + "json", `"/x"`, `"/y"`, folders[2] + "json: its config is not that of " + config},
		{"a layer's bytes", folders[0] + "layer.tar", "ustar", "USTAR", folders[0] + "layer.tar: "},
		{"no JSON", "repositories", "{", "[", "repositories: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			var entries []tarEntry
			changed := false
			for _, e := range good {
				if e.name == test.file {
					b := bytes.Replace(e.b, []byte(test.old), []byte(test.new), 1)
					changed = !bytes.Equal(b, e.b)
					e.b = b
				}
				entries = append(entries, e)
			}
			if !changed {
				t.Fatalf("%q is not in %s", test.old, test.file)
			}
			r := check(t, writeTar(t, entries))
			if r.Err() == nil || !strings.Contains(r.Err().Error(), test.want) {
				t.Errorf("got %v\nwant a fault with %q", r.Err(), test.want)
			}
		})
	}
	for _, missing := range []string{config, folders[1] + "VERSION", folders[1] + "json", folders[1] + "layer.tar", "manifest.json"} {
		t.Run("without "+missing, func(t *testing.T) {
			var entries []tarEntry
			for _, e := range good {
				if e.name != missing {
					entries = append(entries, e)
				}
			}
			want := missing + ": missing"
			if missing == "manifest.json" {
				want = "oci-layout: missing"
			}
			if r := check(t, writeTar(t, entries)); r.Err() == nil || !strings.Contains(r.Err().Error(), want) {
				t.Errorf("got %v\nwant a fault with %q", r.Err(), want)
			}
		})
	}
	t.Run("one file too many", func(t *testing.T) {
		r := check(t, writeTar(t, append(good[:len(good):len(good)], tarEntry{name: "more", b: []byte("x")})))
		if r.Err() == nil || !strings.Contains(r.Err().Error(), "more: nothing refers to it") {
			t.Errorf("got %v", r.Err())
		}
	})
}
