package validate_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/image/imagetest"
	"github.com/rules-strata/rules_strata/tool/validate"
)

// tarEntry is one file, directory or symbolic link of an archive.
type tarEntry struct {
	name string
	dir  bool
	b    []byte
	link string // where it leads
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
		out = append(out, tarEntry{name: h.Name, dir: h.Typeflag == tar.TypeDir, b: b})
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
		if e.link != "" {
			h.Typeflag, h.Linkname = tar.TypeSymlink, e.link
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

// Since docker 25, docker save writes a layout, with files for older clients that no document of OCI's refers to.
func TestImage_AnyOrigin_Layout(t *testing.T) {
	img, blobs := imagetest.Build(t, image.Settings{System: "x86_64-linux"}, imagetest.Mini(t, testdata, "gzip"))
	good, err := os.ReadFile(imagetest.Archive(t, img, blobs, "web:dev"))
	if err != nil {
		t.Fatal(err)
	}
	entries := append(readTar(t, good), tarEntry{name: "repositories", b: []byte("{}")}, tarEntry{name: "blobs/sha256/" + strings.Repeat("a", 64), b: []byte("{}")})
	path := writeTar(t, entries)
	if r, err := validate.Image(t.Context(), path, validate.WithAnyOrigin()); err != nil || r.Err() != nil {
		t.Errorf("got %v, %v", err, r.Err())
	}
	if r := check(t, path); r.Err() == nil || !strings.Contains(r.Err().Error(), "nothing refers to it") {
		t.Errorf("without the option: got %v", r.Err())
	}
}

// foreign are docker archives of one image as others write them; the layers are foreignLayers.
func foreign(t *testing.T) map[string][]tarEntry {
	t.Helper()
	lower, upper := foreignLayers(t)
	digestOf := func(b []byte) string { return digest.FromBytes(b).Encoded() }
	config := []byte(`{"architecture":"amd64","os":"linux","config":{"Env":null,"ArgsEscaped":true},"container":"0123",` +
		`"history":[{"created_by":"/bin/sh -c #(nop) COPY a /"},{"created_by":"CMD","empty_layer":true},{"created_by":"b"},{"created_by":"b"}],` +
		`"rootfs":{"type":"layers","diff_ids":["sha256:` + digestOf(lower) + `","sha256:` + digestOf(upper) + `","sha256:` + digestOf(upper) + `"]}}`)
	id := digestOf(config)
	a, b, c := strings.Repeat("a", 64), strings.Repeat("b", 64), strings.Repeat("c", 64)
	file := func(name string, b []byte) tarEntry { return tarEntry{name: name, b: b} }
	manifest := func(config string, layers ...string) tarEntry {
		b, err := json.Marshal([]map[string]any{{"Config": config, "RepoTags": []string{"web:dev"}, "Layers": layers}})
		if err != nil {
			t.Fatal(err)
		}
		return file("manifest.json", b)
	}
	folder := func(id, more string) []tarEntry {
		return []tarEntry{{name: id + "/", dir: true}, file(id+"/VERSION", []byte("1.0")), file(id+"/json", []byte(`{"id":"`+id+`"`+more+`}`))}
	}
	repositories := file("repositories", []byte(`{"web":{"dev":"`+c+`"}}`))
	var compressed bytes.Buffer
	z := gzip.NewWriter(&compressed)
	if _, err := z.Write(upper); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	return map[string][]tarEntry{
		"docker save": slices.Concat(
			folder(a, `,"created":"1970-01-01T00:00:00Z"`), []tarEntry{file(a+"/layer.tar", lower)},
			folder(b, `,"parent":"`+a+`"`), []tarEntry{file(b+"/layer.tar", upper)},
			folder(c, `,"parent":"`+b+`"`), []tarEntry{{name: c + "/layer.tar", link: "../" + b + "/layer.tar"}},
			[]tarEntry{file(id+".json", config), manifest(id+".json", a+"/layer.tar", b+"/layer.tar", c+"/layer.tar"), repositories}),
		"skopeo": slices.Concat(
			[]tarEntry{file(digestOf(lower)+".tar", lower)}, folder(a, ""), []tarEntry{{name: a + "/layer.tar", link: "../" + digestOf(lower) + ".tar"}},
			[]tarEntry{
				file(digestOf(upper)+".tar", upper), file(id+".json", config),
				manifest(id+".json", digestOf(lower)+".tar", digestOf(upper)+".tar", digestOf(upper)+".tar"), repositories,
			}),
		"dockerTools": slices.Concat(
			folder(a, `,"checksum":"tarsum.v1+sha256:00","Size":1`), []tarEntry{file(a+"/layer.tar", lower)},
			folder(b, `,"parent":"`+a+`","checksum":"tarsum.v1+sha256:00","Size":1`), []tarEntry{file(b+"/layer.tar", upper)},
			[]tarEntry{file(id+".json", config), manifest(id+".json", a+"/layer.tar", b+"/layer.tar", b+"/layer.tar"), repositories}),
		"crane": {
			file("sha256:"+id, config), file("x.tar.gz", compressed.Bytes()), file("y.tar", lower),
			manifest("sha256:"+id, "y.tar", "x.tar.gz", "x.tar.gz"),
		},
		"rules_oci": {
			file("blobs/sha256/"+id, config), file("blobs/sha256/x.tar.gz", compressed.Bytes()), file("blobs/sha256/y.tar", lower),
			manifest("blobs/sha256/"+id, "blobs/sha256/y.tar", "blobs/sha256/x.tar.gz", "blobs/sha256/x.tar.gz"),
		},
	}
}

// foreignLayers are layers with store paths as a COPY leaves them.
func foreignLayers(t *testing.T) (lower, upper []byte) {
	t.Helper()
	layer := func(names ...string) []byte {
		var b bytes.Buffer
		tw := tar.NewWriter(&b)
		for i, name := range names {
			if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o640, Uid: i, ModTime: time.Unix(int64(i), 0)}); err != nil {
				t.Fatal(err)
			}
		}
		if err := tw.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	const path = "nix/store/00000000000000000000000000000000-x/"
	return layer(path+"b", path+"a"), layer(path+".wh.a", path+"b")
}

// Docker archives of others pass when it isn't known who made them, and what is wrong with them is told all the same.
func TestImage_DockerArchive_AnyOrigin(t *testing.T) {
	faults := func(t *testing.T, entries []tarEntry) error {
		t.Helper()
		r, err := validate.Image(t.Context(), writeTar(t, entries), validate.WithAnyOrigin())
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Images) != 1 && r.Err() == nil {
			t.Errorf("%d images", len(r.Images))
		}
		return r.Err()
	}
	for name, entries := range foreign(t) {
		t.Run(name, func(t *testing.T) {
			if err := faults(t, entries); err != nil {
				t.Error(err)
			}
			if r := check(t, writeTar(t, entries)); r.Err() == nil {
				t.Error("without the option nothing is wrong: it is no archive of another's")
			}
			for i, e := range entries {
				var old, want string
				switch {
				case bytes.Contains(e.b, []byte("ustar")):
					old, want = "000-x/", "diff ID "
				case bytes.Contains(e.b, []byte("diff_ids")):
					old, want = "amd64", "its bytes have the digest"
				default:
					continue
				}
				changed := slices.Clone(entries)
				changed[i].b = bytes.Replace(e.b, []byte(old), []byte(strings.ToUpper(old)), 1)
				if err := faults(t, changed); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s changed: got %v, want a fault with %q", e.name, err, want)
				}
			}
			if name == "docker save" {
				entries[0].name = "x/"
				for i := range entries {
					if entries[i].link != "" {
						entries[i].link = "../../layer.tar"
					}
				}
				if err := faults(t, entries); err == nil || !strings.Contains(err.Error(), `found an entry of type '2'`) {
					t.Errorf("a link out of the archive: got %v", err)
				}
			}
		})
	}
}
