package ondemand

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What the cache didn't write isn't its own, whatever the folder that somebody named has in it: neither is it removed, nor
// is anything written through a link.
func TestCache_ForeignFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	linked, unfinished := "blobs/"+strings.Repeat("1", 64), []string{"blobs/.new.2b8xft.tmp", "blobs/.strata-123", "lists/.ab.new.1.tmp"}
	foreign := []string{"images/photo.jpg", "images/.gitkeep", "layers/sketch", "blobs/sha256/" + strings.Repeat("2", 64), "lists/todo"}
	for _, name := range foreign {
		write(name, "theirs")
	}
	for _, name := range unfinished {
		write(name, "ours")
	}
	write("elsewhere", "theirs")
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), filepath.Join(dir, linked)); err != nil {
		t.Fatal(err)
	}
	s := open(t, Options{CacheDir: dir, CacheSize: 1})
	f, err := s.cache.create(blobsDir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Abort()
	if err := s.cache.commit(f, linked); err != nil {
		t.Error(err)
	}
	if info, err := os.Lstat(filepath.Join(dir, linked)); err != nil || !info.Mode().IsRegular() {
		t.Errorf("in the link's place: %v, %v; want a file", info, err)
	}
	for _, name := range append(foreign, "elsewhere") {
		if b, err := os.ReadFile(filepath.Join(dir, name)); string(b) != "theirs" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	for _, name := range unfinished {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s is there still", name)
		}
	}
}
