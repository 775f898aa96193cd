package registry

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Where the disk is full, a pull says so and leaves nothing behind; when there is room, it completes.
func TestPull_DiskFull(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("a small disk can't be made here: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(disk, syscall.MNT_DETACH) })
	f, c, blobs, index := pushed(t)
	p := Pull{Reference: reference(t, c, f.host()+"/r/x:v1"), Dir: filepath.Join(disk, "x")}
	if _, err := c.Pull(t.Context(), p); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("error %v, want that there is no space", err)
	}
	if left, err := os.ReadDir(disk); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Pull(t.Context(), p); err != nil {
		t.Error(err)
	}
	for i := range index.Manifests {
		for _, d := range index.Manifests[i].Blobs() {
			got, err := os.ReadFile(filepath.Join(p.Dir, "blobs/sha256", d.Digest.Encoded()))
			if err != nil || string(got) != string(blobs[d.Digest]) {
				t.Errorf("%s: %d bytes, %v", d.Digest, len(got), err)
			}
		}
	}
}
