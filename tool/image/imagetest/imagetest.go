// Package imagetest makes real layers and images for the tests of other
// packages, out of the binary cache in testdata/web that Nix wrote.
package imagetest

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/layer"
	"github.com/rules-strata/rules_strata/tool/narfile"
	"github.com/rules-strata/rules_strata/tool/narinfo"
)

// MiniCache are the 14 small store paths, below testdata/web. Among them are a
// path that is one file, an empty one, a link, two with the same contents, and
// names and modes of every kind.
const MiniCache = "variants/zstd"

// WebCache is the closure of a web server and two paths beside it, 42 in all, below testdata/web.
const WebCache = "cache"

// Layer is a layer in files of its own.
type Layer struct {
	*digestfile.File
	// BlobPath and DigestPath are the blob and its digest file.
	BlobPath, DigestPath string
}

// Blob is the layer for [image.WriteArchive] and [image.WriteLayout].
func (l Layer) Blob() image.Blob {
	return image.Blob{Descriptor: l.Descriptor, UncompressedSize: l.UncompressedSize, Path: l.BlobPath}
}

// NARs are all store paths of a cache below testdata, sorted, ready for [layer.Write].
func NARs(tb testing.TB, testdata, cache string) []layer.NAR {
	tb.Helper()
	dir := filepath.Join(testdata, "web", cache)
	names, err := filepath.Glob(filepath.Join(dir, "*.narinfo"))
	if err != nil || len(names) == 0 {
		tb.Fatalf("no narinfo files in %s (%v)", dir, err)
	}
	var nars []layer.NAR
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			tb.Fatal(err)
		}
		info, err := narinfo.Parse(b)
		if err != nil {
			tb.Fatalf("%s: %v", name, err)
		}
		at := filepath.Join(dir, filepath.FromSlash(info.URL))
		nars = append(nars, layer.NAR{
			File: narfile.File{
				StorePath: info.StorePath, Compression: info.Compression, FileHash: info.FileHash,
				FileSize: info.FileSize, NarHash: info.NarHash, NarSize: info.NarSize,
			},
			Open: func(context.Context) (io.ReadCloser, error) { return os.Open(at) },
		})
	}
	return nars
}

// Write makes a layer of the NARs in a temporary directory.
func Write(tb testing.TB, nars []layer.NAR, compression string) Layer {
	tb.Helper()
	dir := tb.TempDir()
	l := Layer{BlobPath: filepath.Join(dir, "layer.tar"), DigestPath: filepath.Join(dir, "layer.json")}
	out, err := os.Create(l.BlobPath)
	if err != nil {
		tb.Fatal(err)
	}
	defer out.Close()
	if l.File, err = layer.Write(context.Background(), out, nars, layer.Options{Compression: compression}); err != nil {
		tb.Fatal(err)
	}
	b, err := l.Marshal()
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(l.DigestPath, b, 0o644); err != nil {
		tb.Fatal(err)
	}
	return l
}

// Mini makes three layers of the store paths of [MiniCache]: two of one path, and one of the rest.
func Mini(tb testing.TB, testdata, compression string) []Layer {
	tb.Helper()
	nars := NARs(tb, testdata, MiniCache)
	return []Layer{
		Write(tb, nars[:1], compression),
		Write(tb, nars[1:2], compression),
		Write(tb, nars[2:], compression),
	}
}

// Web makes layers of the whole of [WebCache]: the largest paths in layers of
// their own, count layers in all.
func Web(tb testing.TB, testdata, compression string, count int) []Layer {
	tb.Helper()
	nars := NARs(tb, testdata, WebCache)
	slices.SortStableFunc(nars, func(a, b layer.NAR) int { return int(b.File.NarSize - a.File.NarSize) })
	var out []Layer
	for i := range count - 1 {
		out = append(out, Write(tb, nars[i:i+1], compression))
	}
	return append(out, Write(tb, nars[count-1:], compression))
}

// Build makes the image of the layers, and lists their blobs.
func Build(tb testing.TB, s image.Settings, layers []Layer) (*image.Image, []image.Blob) {
	tb.Helper()
	var files []*digestfile.File
	var blobs []image.Blob
	for _, l := range layers {
		files = append(files, l.File)
		blobs = append(blobs, l.Blob())
	}
	img, err := image.Build(s, files)
	if err != nil {
		tb.Fatal(err)
	}
	return img, blobs
}

// Archive writes the image's archive to a temporary file and returns its path.
func Archive(tb testing.TB, img *image.Image, blobs []image.Blob, tags ...string) string {
	tb.Helper()
	var b bytes.Buffer
	if err := image.WriteArchive(context.Background(), &b, img, blobs, tags); err != nil {
		tb.Fatal(err)
	}
	name := filepath.Join(tb.TempDir(), "image.tar")
	if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil {
		tb.Fatal(err)
	}
	return name
}
