package runlayer

import (
	"os"
	"path/filepath"
	"testing"
)

// A file that is written right after it was unpacked, in the same tick of the kernel's clock and with as many bytes, is another one. (Linux 6.13
// made ticks finer for those who look: there most file systems pass by that alone.)
func TestIdentify_SameTick(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	for range 200 {
		if err := os.WriteFile(name, []byte("old"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := setTime(name, 1, 0); err != nil {
			t.Fatal(err)
		}
		before, err := identify(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte("new"), 0o644); err != nil {
			t.Fatal(err)
		}
		if after, err := identify(name); err != nil || after == before {
			t.Fatalf("%v: the file is taken for what it was: %+v", err, after)
		}
	}
}
