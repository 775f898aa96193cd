package clients_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/validate"
)

// TestCopy asks skopeo and crane what the archive and the layout are, and has
// skopeo move them through each of its forms.
func TestCopy(t *testing.T) {
	img := web(t)
	t.Run("oracle", func(t *testing.T) {
		judgeByOracle(t, img.archive)
		judgeByOracle(t, img.layout)
	})
	t.Run("skopeo_inspect", func(t *testing.T) {
		need(t, "skopeo")
		for _, from := range []string{"docker-archive:" + img.archive, "oci-archive:" + img.archive, "oci:" + img.ociLayout()} {
			var config ocispec.Image
			if err := json.Unmarshal([]byte(run(t, "skopeo", "inspect", "--config", from)), &config); err != nil {
				t.Fatal(err)
			}
			judgeConfig(t, from, img, &config)
		}
		for _, from := range []string{"oci-archive:" + img.archive, "oci:" + img.ociLayout()} {
			if got := run(t, "skopeo", "inspect", "--raw", from); got != string(img.raw) {
				t.Errorf("%s: its manifest is\n%s\nwant\n%s", from, got, img.raw)
			}
			var got struct{ Digest digest.Digest }
			if err := json.Unmarshal([]byte(run(t, "skopeo", "inspect", from)), &got); err != nil {
				t.Fatal(err)
			}
			if got.Digest != img.digest {
				t.Errorf("%s: digest %s, want %s", from, got.Digest, img.digest)
			}
		}
	})
	t.Run("skopeo_copy", func(t *testing.T) {
		need(t, "skopeo")
		for _, from := range []string{"oci-archive:" + img.archive, "oci:" + img.ociLayout()} {
			dir := filepath.Join(scratch(t), "copy")
			run(t, "skopeo", "copy", from, "dir:"+dir)
			if got := digest.FromString(readFile(t, filepath.Join(dir, "manifest.json"))); got != img.digest {
				t.Errorf("%s to dir: the manifest's digest is %s, want %s", from, got, img.digest)
			}
			if copied := skopeoCopy(t, from, img.tag()); copied.digest != img.digest {
				t.Errorf("%s to oci: digest %s, want %s", from, copied.digest, img.digest)
			}
		}
		// As a docker archive the layers come out uncompressed, named by their diff IDs.
		docker := filepath.Join(scratch(t), "docker.tar")
		run(t, "skopeo", "copy", "oci-archive:"+img.archive, "docker-archive:"+docker+":web:again")
		for _, archive := range []string{img.archive, docker} {
			dir := filepath.Join(scratch(t), "copy")
			run(t, "skopeo", "copy", "docker-archive:"+archive, "dir:"+dir)
			var m ocispec.Manifest
			if err := json.Unmarshal([]byte(readFile(t, filepath.Join(dir, "manifest.json"))), &m); err != nil {
				t.Fatal(err)
			}
			var layers []digest.Digest
			for _, l := range m.Layers {
				layers = append(layers, l.Digest)
			}
			if want := img.config.RootFS.DiffIDs; !slices.Equal(layers, want) {
				t.Errorf("%s: layers %v, want %v", archive, layers, want)
			}
			if m.Config.Digest != img.manifest.Config.Digest {
				t.Errorf("%s: config %s, want %s", archive, m.Config.Digest, img.manifest.Config.Digest)
			}
		}
	})
	t.Run("plain_user", func(t *testing.T) {
		// Skopeo unpacks an oci-archive, and umoci a layer, as whoever runs it: an
		// archive whose folders have no entries of their own, or entries that
		// can't be written below, is of no use to a user who isn't root.
		needIsolation(t)
		need(t, "skopeo", "umoci")
		const nobody = 65534
		dir := scratch(t)
		archive := filepath.Join(dir, "image.tar")
		if err := os.Link(img.archive, archive); err != nil {
			if err := os.WriteFile(archive, []byte(readFile(t, img.archive)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		for _, c := range []client{
			{"skopeo", "--insecure-policy", "copy", "oci-archive:" + archive, "oci:" + dir + "/copy:dev"},
			{"skopeo", "--insecure-policy", "copy", "docker-archive:" + archive, "dir:" + dir + "/dir"},
			{"umoci", "unpack", "--rootless", "--image", dir + "/copy:dev", dir + "/bundle"},
		} {
			cmd := c.command(t)
			cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
			cmd.Env = append(os.Environ(), "HOME="+dir, "TMPDIR="+dir)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%q as a plain user: %v\n%s", c, err, out)
			}
		}
		want := maps.Clone(webTree(t))
		for path, e := range want {
			e.uid, e.gid = nobody, nobody // who may give files to nobody else
			want[path] = e
		}
		judgeTree(t, want, dir+"/bundle/rootfs", true)
	})
	t.Run("crane_validate", func(t *testing.T) {
		need(t, "crane")
		run(t, "crane", "validate", "--tarball", img.archive)
	})
}

// readFile is the file's text.
func readFile(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// judgeByOracle has strata's own oracle look for faults in an archive or layout,
// ours or what a client made of it.
func judgeByOracle(t *testing.T, path string) {
	t.Helper()
	report, err := validate.Image(t.Context(), path)
	if err == nil {
		err = report.Err()
	}
	if err != nil {
		t.Errorf("%s: %v", path, err)
	}
}

// skopeoCopy copies an image to a new OCI layout as it is (skopeo would compress
// what isn't), checking the digests, and reads the layout.
func skopeoCopy(t *testing.T, from, tag string) *image {
	t.Helper()
	dir := filepath.Join(scratch(t), "layout")
	run(t, "skopeo", "copy", "--preserve-digests", from, "oci:"+dir+":"+tag)
	copied := &image{layout: dir}
	if err := copied.readLayout(); err != nil {
		t.Fatal(err)
	}
	judgeByOracle(t, dir)
	return copied
}

// judgeConfig compares a config that a client gives with the image's.
func judgeConfig(t *testing.T, what string, img *image, got *ocispec.Image) {
	t.Helper()
	if !slices.Equal(got.RootFS.DiffIDs, img.config.RootFS.DiffIDs) {
		t.Errorf("%s: diff IDs %v, want %v", what, got.RootFS.DiffIDs, img.config.RootFS.DiffIDs)
	}
	g, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	w, err := json.Marshal(img.config)
	if err != nil {
		t.Fatal(err)
	}
	if string(g) != string(w) {
		t.Errorf("%s: the config is\n%s\nwant\n%s", what, g, w)
	}
}
