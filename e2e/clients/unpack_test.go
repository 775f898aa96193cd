package clients_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestUnpack has each client unpack the image, and compares every entry (path,
// type, mode, owner, time, link, size, content) with the truth. Docker's tree
// is judged while the image runs, in TestRun.
func TestUnpack(t *testing.T) {
	img := web(t)
	t.Run("umoci", func(t *testing.T) {
		judgeTree(t, webTree(t), filepath.Join(umociUnpack(t, img), "rootfs"), true)
	})
	t.Run("podman", func(t *testing.T) {
		p := podman(t, "runc")
		name := podmanLoad(t, p, img)
		top := p.run(t, "image", "mount", name)
		defer p.run(t, "image", "unmount", name)
		judgeTree(t, webTree(t), top, true)
	})
	t.Run("buildah", func(t *testing.T) {
		needIsolation(t)
		need(t, "buildah")
		t.Log(run(t, "buildah", "--version"))
		storage, _ := containersStorage(t)
		b := append(client{"buildah"}, storage...)
		container := b.run(t, "from", "oci-archive:"+img.archive)
		top := b.run(t, "mount", container)
		defer b.run(t, "rm", container)
		judgeTree(t, webTree(t), top, true)
	})
	t.Run("containerd", func(t *testing.T) {
		ctr := containerd(t)
		name := containerdImport(t, ctr, img)
		top := scratch(t)
		ctr.run(t, "images", "mount", "--snapshotter=overlayfs", name, top)
		defer func() {
			if err := syscall.Unmount(top, 0); err != nil {
				t.Error(err)
			}
		}()
		judgeTree(t, webTree(t), top, true)
	})
	// The two plain readers of tars: what they don't take, no script would.
	t.Run("bsdtar", func(t *testing.T) {
		needIsolation(t)
		need(t, "bsdtar")
		t.Log(run(t, "bsdtar", "--version"))
		// One tar of all, since bsdtar sets the time of a directory only if it
		// made it in the same run.
		merge := []string{"-c", "-f", filepath.Join(scratch(t), "merged.tar")}
		for _, l := range img.manifest.Layers {
			merge = append(merge, "@"+img.blobPath(l.Digest))
		}
		run(t, "bsdtar", merge...)
		top := scratch(t)
		run(t, "bsdtar", "-x", "-p", "-f", merge[2], "-C", top)
		judgeTree(t, webTree(t), top, true)
	})
	t.Run("tar", func(t *testing.T) {
		needIsolation(t)
		need(t, "tar")
		version, _, _ := strings.Cut(run(t, "tar", "--version"), "\n")
		t.Log(version)
		top := scratch(t)
		for _, l := range img.manifest.Layers {
			run(t, "tar", "-x", "-p", "-f", img.blobPath(l.Digest), "-C", top)
		}
		judgeTree(t, webTree(t), top, true)
	})
}

// TestExport unpacks what strata export writes by the two plain readers of tars.
func TestExport(t *testing.T) {
	img := web(t)
	for name, args := range map[string][]string{
		"tar":    {"-x", "-p", "-f"},
		"bsdtar": {"-x", "-p", "-f"},
	} {
		t.Run(name, func(t *testing.T) {
			needIsolation(t)
			need(t, name)
			dir := scratch(t)
			root, file := filepath.Join(dir, "root"), filepath.Join(dir, "root.tar")
			if err := os.Mkdir(root, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := strata("export", img.layout, "-o", file); err != nil {
				t.Fatal(err)
			}
			run(t, name, append(args, file, "-C", root)...)
			judgeTree(t, webTree(t), root, true)
		})
	}
}

// umociUnpack makes an OCI runtime bundle of the image.
func umociUnpack(t *testing.T, img *image) (bundle string) {
	t.Helper()
	needIsolation(t)
	need(t, "umoci")
	t.Log(run(t, "umoci", "--version"))
	bundle = filepath.Join(scratch(t), "bundle")
	run(t, "umoci", "unpack", "--image", img.ociLayout(), bundle)
	return bundle
}

// podmanLoad loads the archive and returns the image's name in podman.
func podmanLoad(t *testing.T, p client, img *image) string {
	t.Helper()
	out := p.run(t, "load", "--input", img.archive)
	// "Loaded image: NAME", or "Loaded image(s): NAME" of older ones.
	_, name, ok := strings.Cut(out, ": ")
	if !ok || !strings.HasSuffix(name, "/"+img.short()) {
		t.Fatalf("podman load says %q, want it to name %s", out, img.short())
	}
	want := strings.TrimPrefix(img.manifest.Config.Digest.String(), "sha256:")
	if id := p.run(t, "image", "inspect", "--format", "{{.Id}}", name); id != want {
		t.Errorf("podman's ID of the image is %s, want the config's digest %s", id, want)
	}
	return name
}

// containerdImport imports the archive, has its contents checked, and returns
// the image's name in containerd.
func containerdImport(t *testing.T, ctr client, img *image) string {
	t.Helper()
	ctr.run(t, "images", "import", "--snapshotter=overlayfs", img.archive)
	list := ctr.run(t, "images", "check", "--snapshotter=overlayfs", "name=="+img.name)
	if !strings.Contains(list, img.name) || !strings.Contains(list, img.digest.String()) || !strings.Contains(list, " complete ") {
		t.Errorf("ctr images check says\n%s\nwant %s, %s and complete", list, img.name, img.digest)
	}
	return img.name
}
