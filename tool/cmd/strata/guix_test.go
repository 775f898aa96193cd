package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/rules-strata/rules_strata/tool/image/imagetest"
)

const guixRoot = "/gnu/store/w4qs8p8nwnldd2lx0dpigzlqsqk2m3s2-strata-app-1.0"

// guixLayer locks and builds the root of the Guix cache in testdata/web/guix/<cache> as one layer, and
// returns its tar and the image's digest.
func guixLayer(t *testing.T, cache string) (layer []byte, digest string) {
	t.Helper()
	dir := t.TempDir()
	lock, archive := filepath.Join(dir, "lock.json"), filepath.Join(dir, "image.tar")
	strata := func(args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		if code := run(t.Context(), append([]string{"-q"}, args...), &out, &errs); code != exitOK || errs.Len() > 0 {
			t.Fatalf("strata %s: exit code %d\n%s", args, code, errs.String())
		}
		return strings.TrimSpace(out.String())
	}
	strata("lock", "--cache", "file://"+filepath.Join(webDir, "guix", cache), "--public-key", "@"+filepath.Join(webDir, "guix/signing-key.pub"),
		"--root", "app="+guixRoot, "-o", lock)
	digest = strata("build", "--lock", lock, "--max-layers", "1", "--compression", "none", "-o", archive)
	files := map[string][]byte{}
	b, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
	var manifest []struct{ Layers []string }
	if err := json.Unmarshal(files["manifest.json"], &manifest); err != nil || len(manifest) != 1 || len(manifest[0].Layers) != 1 {
		t.Fatalf("manifest %s: %v", files["manifest.json"], err)
	}
	return files[manifest[0].Layers[0]], digest
}

// The image of a real Guix store has, entry for entry, what GNU tar packs of that store, below gnu/store.
func TestGuix_TreeIsTheStores(t *testing.T) {
	layer, digest := guixLayer(t, "cache")
	if _, baked := guixLayer(t, "baked"); baked != digest {
		t.Errorf("the baked cache gives %s, the other one %s", baked, digest)
	}
	got := imagetest.Listing(t, bytes.NewReader(layer))
	if len(got) < 2 || !strings.HasSuffix(got[0], "\tgnu/\t-") || !strings.HasSuffix(got[1], "\tgnu/store/\t-") {
		t.Fatalf("want gnu/ and gnu/store/ first, got %q", got[:min(2, len(got))])
	}
	got = got[2:]
	text, err := os.ReadFile(filepath.Join(webDir, "guix/single-layer-2017.list"))
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		want = append(want, line[:strings.LastIndexByte(line, '\t')]) // without the names of pax records: GNU tar has others
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// The programs in the image run out of /gnu/store, with nothing else in the root file system.
func TestGuix_Runs(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("chroot is for root only")
	}
	layer, _ := guixLayer(t, "baked")
	root := t.TempDir()
	extract(t, layer, root)
	in := func(args ...string) (string, error) {
		c := exec.CommandContext(t.Context(), args[0], args[1:]...)
		c.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
		c.Dir = "/"
		c.Env = []string{}
		out, err := c.CombinedOutput()
		return string(out), err
	}
	const busybox = "/gnu/store/wa89lqm0jhq9ddlqvspp0y2wa045sb4a-busybox-static-1.35.0/bin/busybox"
	if out, err := in(busybox, "true"); errors.Is(err, fs.ErrPermission) {
		t.Skipf("chroot isn't allowed here: %v", err)
	} else if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := in(busybox, "cat", guixRoot+"/share/link"); err != nil || out != "flat contents\n" {
		t.Errorf("cat through a link into another store path: %q, %v", out, err)
	}
	if out, err := in(guixRoot + "/bin/hello"); err != nil || out != "app says hello\n" {
		t.Errorf("bin/hello: %q, %v", out, err)
	}
}

// extract unpacks a layer.
func extract(t *testing.T, layer []byte, root string) {
	t.Helper()
	type dir struct {
		path string
		mode os.FileMode
	}
	var dirs []dir
	for r := tar.NewReader(bytes.NewReader(layer)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(root, h.Name)
		switch h.Typeflag {
		case tar.TypeDir:
			err = os.Mkdir(path, 0o700)
			dirs = append(dirs, dir{path, h.FileInfo().Mode().Perm()})
		case tar.TypeSymlink:
			err = os.Symlink(h.Linkname, path)
		default:
			var f *os.File
			if f, err = os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, h.FileInfo().Mode().Perm()); err == nil {
				if _, err = io.Copy(f, r); err == nil {
					err = f.Close()
				}
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range slices.Backward(dirs) {
		if err := os.Chmod(d.path, d.mode); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Chmod(d.path, 0o700) })
	}
}
