//go:build unix

package atomicfile

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestFile_Mode(t *testing.T) {
	old := syscall.Umask(0o027)
	defer syscall.Umask(old)
	path := filepath.Join(t.TempDir(), "f")
	if _, err := WriteIfChanged(path, nil); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o640 {
		t.Errorf("mode %v, %v; want what the umask leaves of 0666", info.Mode(), err)
	}
}

// What is no regular file is neither read, however much it would give, nor replaced.
func TestWriteIfChanged_NotRegular(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/zero", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nothing", filepath.Join(dir, "dangling")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/dev/zero", pipe, dir, filepath.Join(dir, "link"), filepath.Join(dir, "dangling")} {
		done := make(chan error, 1)
		go func() {
			_, err := WriteIfChanged(path, nil)
			done <- err
		}()
		select {
		case err := <-done:
			if err == nil || !strings.Contains(err.Error(), path+": can't be written: it exists and is no regular file") {
				t.Errorf("%s: error %v", path, err)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: it is being read", path)
		}
	}
	if info, err := os.Lstat(pipe); err != nil || info.Mode().Type() != fs.ModeNamedPipe || names(t, dir) != "dangling link pipe" {
		t.Errorf("the pipe is %v, %v; there are %s", info, err, names(t, dir))
	}
}

// A file that can't be read but replaced is replaced.
func TestWriteIfChanged_Unreadable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("old"), 0o200); err != nil {
		t.Fatal(err)
	}
	if changed, err := WriteIfChanged(path, []byte("new")); err != nil || !changed || read(t, path) != "new" {
		t.Errorf("changed %v, error %v", changed, err)
	}
}
