package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/rules-strata/rules_strata/tool/nar"
	"github.com/rules-strata/rules_strata/tool/narfile"
	"github.com/rules-strata/rules_strata/tool/narinfo"
	"github.com/rules-strata/rules_strata/tool/store"
)

// webDir holds binary caches that real Nix wrote, and what nixpkgs' image writer makes of them.
const webDir = "../../testdata/web"

// cached returns what the narinfo of base, a store path or its base name, says in the cache dir.
func cached(tb testing.TB, dir, base string) NAR {
	tb.Helper()
	hash, _, _ := strings.Cut(filepath.Base(base), "-")
	text, err := os.ReadFile(filepath.Join(dir, hash+".narinfo"))
	if err != nil {
		tb.Fatal(err)
	}
	info, err := narinfo.Parse(text)
	if err != nil {
		tb.Fatal(err)
	}
	return NAR{
		File: narfile.File{
			StorePath:   info.StorePath,
			Compression: info.Compression,
			FileHash:    info.FileHash,
			FileSize:    info.FileSize,
			NarHash:     info.NarHash,
			NarSize:     info.NarSize,
		},
		Open: func(context.Context) (io.ReadCloser, error) { return os.Open(filepath.Join(dir, info.URL)) },
	}
}

// wholeCache returns all paths of the cache dir.
func wholeCache(tb testing.TB, dir string) []NAR {
	tb.Helper()
	infos, err := filepath.Glob(filepath.Join(dir, "*.narinfo"))
	if err != nil || len(infos) == 0 {
		tb.Fatalf("no narinfo in %s: %v", dir, err)
	}
	var nars []NAR
	for _, f := range infos {
		nars = append(nars, cached(tb, dir, strings.TrimSuffix(filepath.Base(f), ".narinfo")))
	}
	return nars
}

// fromBytes is an uncompressed NAR in memory, with the hash that it has.
func fromBytes(base string, b []byte) NAR {
	return NAR{
		File: narfile.File{
			StorePath:   store.Path("/nix/store/" + base),
			Compression: "none",
			FileSize:    -1,
			NarHash:     sha256.Sum256(b),
			NarSize:     int64(len(b)),
		},
		Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil },
	}
}

// node is an entry of a NAR to be made, with the contents of a file.
type node struct {
	nar.Entry
	contents string
}

func dir(path string) node { return node{Entry: nar.Entry{Path: []byte(path), Kind: nar.Directory}} }

func file(path, contents string) node {
	return node{Entry: nar.Entry{Path: []byte(path), Kind: nar.Regular, Size: int64(len(contents))}, contents: contents}
}

func executable(path, contents string) node {
	n := file(path, contents)
	n.Executable = true
	return n
}

func symlink(path, target string) node {
	return node{Entry: nar.Entry{Path: []byte(path), Kind: nar.Symlink, Target: []byte(target)}}
}

// fataler is what helpers need of a test, of Go's or of rapid's.
type fataler interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// makeNAR writes nodes as a NAR.
func makeNAR(tb fataler, nodes ...node) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	for _, n := range nodes {
		if err := w.WriteEntry(&n.Entry); err != nil {
			tb.Fatal(err)
		}
		if _, err := io.WriteString(w, n.contents); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// mustWrite returns the blob of nars, written without compression unless o says otherwise.
func mustWrite(tb testing.TB, nars []NAR, o Options) []byte {
	tb.Helper()
	if o.Compression == "" {
		o.Compression = None
	}
	var b bytes.Buffer
	if _, err := Write(tb.Context(), &b, nars, o); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// listing writes a tar in the form of the fixtures (list_tar.py there), one line an entry:
// type, mode, uid, gid, user name, group name, mtime, size, SHA-256, name, link target, keys of the pax header.
// It reads with archive/tar, which shares no code with the writer.
func listing(tb fataler, r io.Reader) []string {
	tb.Helper()
	var lines []string
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if err == io.EOF {
			return lines
		}
		if err != nil {
			tb.Fatalf("after %d entries: %v", len(lines), err)
		}
		sum := "-"
		typ := map[byte]string{tar.TypeReg: "file", tar.TypeDir: "dir", tar.TypeSymlink: "symlink"}[h.Typeflag]
		if h.Typeflag == tar.TypeReg {
			d := sha256.New()
			if _, err := io.Copy(d, t); err != nil {
				tb.Fatalf("%s: %v", h.Name, err)
			}
			sum = fmt.Sprintf("%x", d.Sum(nil))
		}
		var keys []string
		for _, k := range []string{"hdrcharset", "linkpath", "path", "size"} {
			if _, ok := h.PAXRecords[k]; ok {
				keys = append(keys, k)
			}
		}
		lines = append(lines, fmt.Sprintf("%s\t%04o\t%d\t%d\t%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s",
			typ, h.Mode, h.Uid, h.Gid, dash(h.Uname), dash(h.Gname), h.ModTime.Unix(), h.Size, sum,
			escape(h.Name), escape(h.Linkname), dash(strings.Join(keys, ","))))
	}
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// escape writes bytes outside 0x21…0x7e and the backslash as \xNN.
func escape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if 0x21 <= c && c <= 0x7e && c != '\\' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return dash(b.String())
}

// truth is one image that nixpkgs' stream_layered_image.py (with its faults
// repaired) made of the paths in testdata's cache.
type truth struct {
	paths [][]string // of each store layer
	lines [][]string // of each store layer: its listing
}

func readTruth(tb testing.TB, name string) truth {
	tb.Helper()
	var t truth
	text, err := os.ReadFile(filepath.Join(webDir, "truth", name, "conf.json"))
	if err != nil {
		tb.Fatal(err)
	}
	var conf struct {
		StoreLayers [][]string `json:"store_layers"`
	}
	if err := json.Unmarshal(text, &conf); err != nil {
		tb.Fatal(err)
	}
	t.paths = conf.StoreLayers
	packed, err := os.ReadFile(filepath.Join(webDir, "truth", name, "repaired-nar-order", "layers.list.zst"))
	if err != nil {
		tb.Fatal(err)
	}
	d, err := zstd.NewReader(nil)
	if err != nil {
		tb.Fatal(err)
	}
	defer d.Close()
	list, err := d.DecodeAll(packed, nil)
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(list)) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "# layer ") {
			t.lines = append(t.lines, nil)
			continue
		}
		last := &t.lines[len(t.lines)-1]
		*last = append(*last, line)
	}
	if len(t.lines) != len(t.paths)+1 {
		tb.Fatalf("%s: %d listings for %d store layers and the customisation layer", name, len(t.lines), len(t.paths))
	}
	t.lines = t.lines[:len(t.paths)] // The customisation layer isn't made of store paths.
	return t
}
