package imagetest

import (
	"archive/tar"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
	"testing"
)

// Listing says of each entry of a layer, uncompressed, what the listings in
// testdata/web say: kind, mode, owner, time, size, SHA-256, name and target, with tabs between them. Those have the
// names of pax records besides.
func Listing(tb testing.TB, layer io.Reader) []string {
	tb.Helper()
	var lines []string
	for r := tar.NewReader(layer); ; {
		h, err := r.Next()
		if err == io.EOF {
			return lines
		}
		if err != nil {
			tb.Fatal(err)
		}
		kind, sum := map[byte]string{tar.TypeReg: "file", tar.TypeDir: "dir", tar.TypeSymlink: "symlink"}[h.Typeflag], "-"
		if kind == "file" {
			hash := sha256.New()
			if _, err := io.Copy(hash, r); err != nil {
				tb.Fatal(err)
			}
			sum = fmt.Sprintf("%x", hash.Sum(nil))
		}
		lines = append(lines, fmt.Sprintf("%s\t%04o\t%d\t%d\t%s\t%s\t%d\t%d\t%s\t%s\t%s", kind, h.Mode, h.Uid, h.Gid, h.Uname, h.Gname,
			h.ModTime.Unix(), h.Size, sum, listed(h.Name), listed(h.Linkname)))
	}
}

// listed writes a name as the listings have it.
func listed(name string) string {
	if name == "" {
		return "-"
	}
	var b strings.Builder
	for i := range len(name) {
		if c := name[i]; c > 0x20 && c < 0x7f && c != '\\' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return b.String()
}
