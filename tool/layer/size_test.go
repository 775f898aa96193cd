package layer

import (
	"context"
	"io"
	"os"
	"testing"

	"github.com/rules-strata/rules_strata/tool/nar"
	"github.com/rules-strata/rules_strata/tool/nar/nartest"
	"github.com/rules-strata/rules_strata/tool/narfile"
)

// A layer of trees on the disk is the one of their NARs, and its size is known from names and sizes alone.
func TestWrite_Trusted(t *testing.T) {
	dir := t.TempDir()
	nartest.RestoreCache(t, webDir+"/cache", dir)
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	mtime := int64(1_000_000)
	for name, o := range map[string]Options{
		"plain": {Compression: None},
		"owner": {Compression: None, Owner: &Owner{UID: 3_000_000, GID: 7, UserName: "u"}, OwnerAbove: true, MtimeUnix: &mtime},
	} {
		t.Run(name, func(t *testing.T) {
			nars := wholeCache(t, webDir+"/cache")
			var trees []NAR
			var entries []Entries
			for _, n := range nars {
				p := n.File.StorePath
				trees = append(trees, NAR{File: narfile.File{StorePath: p}, Trusted: true, Open: func(context.Context) (io.ReadCloser, error) {
					r, w := io.Pipe()
					go func() { w.CloseWithError(nar.Dump(w, root, p.Base())) }()
					return r, nil
				}})
				entries = append(entries, Entries{p, func(f func(*nar.Entry) error) error { return nar.Walk(root, p.Base(), f) }})
			}
			want, err := Write(t.Context(), io.Discard, nars, o)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Write(t.Context(), io.Discard, trees, o)
			if err != nil {
				t.Fatal(err)
			}
			if got.DiffID != want.DiffID {
				t.Errorf("diff ID %s, want %s", got.DiffID, want.DiffID)
			}
			size, err := TarSize(t.Context(), entries, o)
			if err != nil || size != want.UncompressedSize {
				t.Errorf("size %d (%v), want %d", size, err, want.UncompressedSize)
			}
		})
	}
	for _, n := range wholeCache(t, webDir+"/cache") {
		base := n.File.StorePath.Base()
		if info, err := root.Lstat(base); err != nil || !info.IsDir() {
			continue
		}
		o := Options{Compression: None, StripPrefix: "."}
		want, err := Write(t.Context(), io.Discard, []NAR{n}, o)
		if err != nil {
			t.Fatal(err)
		}
		size, err := TarSize(t.Context(), []Entries{{n.File.StorePath, func(f func(*nar.Entry) error) error { return nar.Walk(root, base, f) }}}, o)
		if err != nil || size != want.UncompressedSize {
			t.Errorf("%s at the root: size %d (%v), want %d", base, size, err, want.UncompressedSize)
		}
	}
	if _, err := TarSize(t.Context(), []Entries{{"/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-gone", func(f func(*nar.Entry) error) error { return nar.Walk(root, "gone", f) }}}, Options{}); err == nil {
		t.Error("a path that isn't there has a size")
	}
}

// Sizes from 8 GiB on need one header more.
func TestTarSize_Large(t *testing.T) {
	of := func(size int64) int64 {
		n, err := TarSize(t.Context(), []Entries{{"/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a", func(f func(*nar.Entry) error) error {
			return f(&nar.Entry{Kind: nar.Regular, Size: size})
		}}}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if got, want := of(8<<30)-of(8<<30-512), int64(512+2*blockSize); got != want {
		t.Errorf("512 bytes more at 8 GiB are %d bytes more of tar, want %d", got, want)
	}
}
