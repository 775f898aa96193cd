package validate

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"path"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// A tar that passes without a fault has clean names, each once, as the plain
// reader lists them.
func FuzzCheckTar(f *testing.F) {
	pack := func(headers ...tar.Header) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range headers {
			if err := w.WriteHeader(&h); err != nil {
				f.Fatal(err)
			}
			io.WriteString(w, strings.Repeat("x", int(h.Size)))
		}
		w.Close()
		return b.Bytes()
	}
	dir := func(name string, mode int64) tar.Header {
		return tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode}
	}
	const base = "nix/store/0g80j8fh4wp8p2jmb0a8giig40jzalcj-gcc"
	f.Add(pack())
	f.Add(pack(dir("nix/", 0o755), dir("nix/store/", 0o755), dir(base+"/", 0o555), tar.Header{Typeflag: tar.TypeReg, Name: base + "/a", Mode: 0o444, Size: 600}))
	f.Add(pack(dir("nix/", 0o755), dir("nix/", 0o755)))
	f.Add(pack(tar.Header{Typeflag: tar.TypeReg, Name: strings.Repeat("long/", 60) + "x", Mode: 0o444}))
	f.Add(pack(tar.Header{Typeflag: tar.TypeSymlink, Name: "./x", Linkname: "../../y", Mode: 0o777}, tar.Header{Typeflag: tar.TypeLink, Name: "h", Linkname: "/x"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var told []string
		facts := new(layerFacts)
		r := &hashingReader{r: bytes.NewReader(b), h: sha256.New()}
		err := checkTar(r, holding{[]string{"nix/store"}, true}, new(expected), func(format string, a ...any) { told = append(told, fmt.Sprintf(format, a...)) }, facts)
		if err != nil || len(told) > 0 {
			return
		}
		seen := map[string]bool{}
		tr := tar.NewReader(bytes.NewReader(b))
		for n := int64(0); ; n++ {
			h, err := tr.Next()
			if err == io.EOF {
				if n != facts.Entries {
					t.Fatalf("%d entries told, %d there", facts.Entries, n)
				}
				return
			}
			if err != nil {
				t.Fatalf("no fault told, but: %v", err)
			}
			name := path.Clean(h.Name)
			if seen[name] && name != "." || path.IsAbs(name) || name == ".." || strings.HasPrefix(name, "../") {
				t.Fatalf("no fault told, but %q", h.Name)
			}
			seen[name] = true
		}
	})
}

// Whatever the documents say, the oracle comes to an end and doesn't panic.
// In the index @M stands for the manifest's descriptor, there @C for the
// config's and @L for the layer's.
func FuzzDocuments(f *testing.F) {
	const config = `{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"]},` +
		`"history":[{"created_by":"strata","comment":"store paths: /nix/store/0g80j8fh4wp8p2jmb0a8giig40jzalcj-gcc"}]}`
	const manifest = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json",@C},` +
		`"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar",@L}]}`
	const index = `{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json",@M,"platform":{"architecture":"amd64","os":"linux"},` +
		`"annotations":{"org.opencontainers.image.ref.name":"dev","io.containerd.image.name":"docker.io/library/web:dev"}}]}`
	f.Add(index, manifest, config, `[{"Config":"x","RepoTags":["web:dev"],"Layers":["oci-layout"]}]`)
	f.Add(index, manifest, `{}`, `[]`)
	f.Add(strings.ReplaceAll(index, "manifest.v1", "index.v1"), index, config, `{}`)
	f.Add(`{"manifests":[{},{"digest":"sha256:x"},{"digest":"","platform":null}]}`, `null`, `[]`, `[null,{}]`)
	f.Fuzz(func(t *testing.T, index, manifest, config, docker string) {
		files := map[string]file{}
		put := func(name, content string) {
			files[name] = file{int64(len(content)), func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }}
		}
		blob := func(content string) string {
			d := digest.FromString(content)
			put("blobs/sha256/"+d.Encoded(), content)
			return fmt.Sprintf(`"digest":%q,"size":%d`, d, len(content))
		}
		manifest = strings.NewReplacer("@C", blob(config), "@L", blob(strings.Repeat("\x00", 1024))).Replace(manifest)
		put("index.json", strings.ReplaceAll(index, "@M", blob(manifest)))
		put("manifest.json", docker)
		put("oci-layout", `{"imageLayoutVersion":"1.0.0"}`)
		c := newChecker(context.Background(), files)
		if err := c.run(); err != nil {
			t.Fatal(err)
		}
	})
}

// Whatever a docker archive's documents say, the oracle comes to an end and doesn't panic.
func FuzzDockerArchive(f *testing.F) {
	id := strings.Repeat("a", 64)
	const config = `{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"]}}`
	f.Add(`[{"Config":"config.json","RepoTags":["web:dev"],"Layers":["`+id+`/layer.tar"]}]`, config, `{"web":{"dev":"`+id+`"}}`, `{"id":"`+id+`","Size":1024}`)
	f.Add(`[{"Config":"config.json","RepoTags":["web:dev","web:dev"],"Layers":["layer.tar","../layer.tar",""]}]`, config, `{"a":{"":""}}`, `null`)
	f.Add(`[{"Config":"manifest.json"},{},null]`, `{}`, `[]`, `[]`)
	f.Add(`[{"Config":"config.json","Layers":["config.json","config.json"]}]`, config, `null`, ``)
	f.Fuzz(func(t *testing.T, docker, config, repositories, layer string) {
		files := map[string]file{}
		for name, content := range map[string]string{
			"manifest.json": docker, "config.json": config, "repositories": repositories,
			id + "/json": layer, id + "/VERSION": "1.0", id + "/layer.tar": strings.Repeat("\x00", 1024),
		} {
			files[name] = file{int64(len(content)), func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }}
		}
		c := newChecker(context.Background(), files)
		if err := c.run(); err != nil {
			t.Fatal(err)
		}
	})
}
