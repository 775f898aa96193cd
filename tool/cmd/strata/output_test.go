package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/image/imagetest"
)

// names lists what is in a folder, hidden or not.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// When the digest can't take its place, because a folder came there meanwhile,
// the image isn't there either, and what was in its place is.
func TestOutput_AllOrNone(t *testing.T) {
	img, blobs := imagetest.Build(t, image.Settings{System: "x86_64-linux"}, imagetest.Mini(t, filepath.Dir(webDir), "zstd"))
	for _, tc := range []struct {
		name, format string
		before       func(path string) error
		want         []string
	}{
		{"archive", image.FormatArchive, nil, []string{"digest"}},
		{"archive over another", image.FormatArchive, func(path string) error { return os.WriteFile(path, []byte("old"), 0o666) }, []string{"digest", "image"}},
		{"layout", formatLayout, nil, []string{"digest"}},
		{"layout in an empty folder", formatLayout, func(path string) error { return os.Mkdir(path, 0o777) }, []string{"digest", "image"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			d := &destination{path: filepath.Join(dir, "image"), format: tc.format, digestFile: filepath.Join(dir, "digest")}
			if tc.before != nil {
				if err := tc.before(d.path); err != nil {
					t.Fatal(err)
				}
			}
			out, err := d.open()
			if err != nil {
				t.Fatal(err)
			}
			defer out.abort()
			if err := os.Mkdir(d.digestFile, 0o777); err != nil {
				t.Fatal(err)
			}
			if err := out.write(t.Context(), img, img.Descriptor.Digest, blobs); err == nil {
				t.Error("a file takes the place of a folder")
			}
			if got := names(t, dir); !slices.Equal(got, tc.want) {
				t.Errorf("there are %q, want %q", got, tc.want)
			}
			switch info, err := os.Stat(d.path); {
			case err != nil:
			case info.IsDir():
				if got := names(t, d.path); len(got) > 0 {
					t.Errorf("in the layout: %q", got)
				}
			default:
				if b, err := os.ReadFile(d.path); err != nil || string(b) != "old" {
					t.Errorf("the archive is another one: %v", err)
				}
			}
		})
	}
}

// Stopped while a blob is being copied, after all layers are made, it fails as well.
func TestOutput_Stopped(t *testing.T) {
	img, blobs := imagetest.Build(t, image.Settings{System: "x86_64-linux"}, imagetest.Mini(t, filepath.Dir(webDir), "zstd"))
	errStop := errors.New("stopped by signal: terminated")
	for _, format := range []string{image.FormatArchive, formatLayout} {
		dir := t.TempDir()
		d := &destination{path: filepath.Join(dir, "image"), format: format, digestFile: filepath.Join(dir, "digest")}
		out, err := d.open()
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancelCause(t.Context())
		b := slices.Clone(blobs)
		b[1].Open = func() (io.ReadCloser, error) {
			stop(errStop)
			content, err := os.ReadFile(b[1].Path)
			return io.NopCloser(bytes.NewReader(content)), err
		}
		if err := out.write(ctx, img, img.Descriptor.Digest, b); !errors.Is(err, errStop) {
			t.Errorf("%s: error %v: want the context's", format, err)
		}
		out.abort()
		if got := names(t, dir); len(got) > 0 {
			t.Errorf("%s: left behind: %q", format, got)
		}
	}
}
