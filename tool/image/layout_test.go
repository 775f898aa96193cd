package image

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tree lists what lies below dir, a line each; links with their targets.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		b.WriteString(rel)
		if d.Type() == fs.ModeSymlink {
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			b.WriteString(" -> " + to)
		}
		b.WriteString("\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const layoutTree = `blobs
blobs/sha256
blobs/sha256/3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3TWO
blobs/sha256/7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431edONE
blobs/sha256/CONFIG
blobs/sha256/MANIFEST
index.json
oci-layout
`

func wantTree(img *Image, one, two string) string {
	s := strings.NewReplacer("ONE", one, "TWO", two,
		"CONFIG", img.ConfigDescriptor.Digest.Encoded(), "MANIFEST", img.Descriptor.Digest.Encoded()).Replace(layoutTree)
	lines := strings.SplitAfter(strings.TrimSuffix(s, "index.json\noci-layout\n"), "\n")
	// Two of the names depend on the image: sort as the walk does.
	for i := range lines {
		for j := i + 1; j < len(lines)-1; j++ {
			if lines[j] < lines[i] {
				lines[i], lines[j] = lines[j], lines[i]
			}
		}
	}
	return strings.Join(lines, "") + "index.json\noci-layout\n"
}

func TestWriteLayout(t *testing.T) {
	img, blobs := testImage(t, "one", "two")
	for name, test := range map[string]struct {
		how      Linking
		existing bool
		one, two string
	}{
		"links":                {Symlink, false, " -> ../../../../blobs/one.tar.gz", " -> ../../../../blobs/two.tar.gz"},
		"links into existing":  {Symlink, true, " -> ../../../../blobs/one.tar.gz", " -> ../../../../blobs/two.tar.gz"},
		"copies":               {Copy, false, "", ""},
		"copies into existing": {Copy, true, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			top := t.TempDir()
			mkdir(t, filepath.Join(top, "blobs"))
			mkdir(t, filepath.Join(top, "out"))
			dir := filepath.Join(top, "out", "layout")
			if test.existing {
				mkdir(t, dir)
			}
			if err := WriteLayout(t.Context(), dir, img, files(t, filepath.Join(top, "blobs"), blobs), []string{"web:dev", "other:dev"}, test.how); err != nil {
				t.Fatal(err)
			}
			if got, want := tree(t, dir), wantTree(img, test.one, test.two); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if got := tree(t, filepath.Join(top, "out")); strings.Count(got, "\n") != 9 {
				t.Errorf("something else lies beside the layout:\n%s", got)
			}
			if b, err := os.ReadFile(filepath.Join(dir, blobName(img.Layers[1]))); string(b) != "two" {
				t.Errorf("blob: %q (%v)", b, err)
			}
			// A tag that two names share is told apart by its whole name.
			index := readIndex(t, dir)
			if len(index.Manifests) != 2 {
				t.Fatalf("%d entries in the index, want 2", len(index.Manifests))
			}
			for i, want := range []string{"dev", "docker.io/library/other:dev"} {
				if got := index.Manifests[i].Annotations["org.opencontainers.image.ref.name"]; got != want {
					t.Errorf("ref name %d is %q, want %q", i, got, want)
				}
			}
			info, err := os.Stat(dir)
			if err != nil || info.Mode().Perm() != 0o755 {
				t.Errorf("mode of the directory: %v (%v)", info.Mode(), err)
			}
		})
	}
}

// Links hold where the layout, or a blob, is named through links.
func TestWriteLayout_ThroughLinks(t *testing.T) {
	img, blobs := testImage(t, "one")
	top := t.TempDir()
	real := filepath.Join(top, "a", "deep", "place")
	store := filepath.Join(top, "b", "blobs")
	for _, d := range []string{real, store} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"short": "a/deep/place", "blobs": "b/blobs"} {
		if err := os.Symlink(to, filepath.Join(top, link)); err != nil {
			t.Fatal(err)
		}
	}
	files(t, store, blobs)
	named := Blob{Descriptor: blobs[0].Descriptor, Path: filepath.Join("blobs", "one.tar.gz")}
	t.Chdir(top)
	if err := WriteLayout(t.Context(), "short/layout", img, []Blob{named}, nil, Symlink); err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(real, "layout", blobName(img.Layers[0]))
	if b, err := os.ReadFile(at); string(b) != "one" {
		t.Errorf("%q (%v)", b, err)
	}
	// The name that was given is kept, not what it leads to today.
	if to, err := os.Readlink(at); to != "../../../../../../blobs/one.tar.gz" {
		t.Errorf("it links to %s (%v)", to, err)
	}
}

// After an error nothing new is there, and what was there is as before.
func TestWriteLayout_ErrorsLeaveNothing(t *testing.T) {
	img, blobs := testImage(t, "one", "two")
	for name, change := range map[string]struct {
		how  Linking
		do   func(t *testing.T, blobs []Blob)
		want string
	}{
		"link to nothing":   {Symlink, func(t *testing.T, b []Blob) { remove(t, b[1].Path) }, "no such file"},
		"other size":        {Symlink, func(t *testing.T, b []Blob) { write(t, b[1].Path, "twos") }, "want a file of 3 bytes, found 4"},
		"a directory":       {Symlink, func(t *testing.T, b []Blob) { remove(t, b[1].Path); mkdir(t, b[1].Path) }, "want a file of 3 bytes"},
		"no file":           {Symlink, func(t *testing.T, b []Blob) { b[1].Path = "" }, "in no file that could be linked to"},
		"copied bytes":      {Copy, func(t *testing.T, b []Blob) { write(t, b[1].Path, "too") }, "two.tar.gz): BlobHash mismatch"},
		"copied from error": {Copy, func(t *testing.T, b []Blob) { b[1].Open = func() (io.ReadCloser, error) { return nil, errFull } }, "disk full"},
	} {
		for _, existing := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				top := t.TempDir()
				mkdir(t, filepath.Join(top, "blobs"))
				mkdir(t, filepath.Join(top, "out"))
				dir := filepath.Join(top, "out", "layout")
				want := ""
				if existing {
					mkdir(t, dir)
					want = "layout\n"
				}
				b := files(t, filepath.Join(top, "blobs"), blobs)
				change.do(t, b)
				err := WriteLayout(t.Context(), dir, img, b, nil, change.how)
				if err == nil || !strings.Contains(err.Error(), change.want) {
					t.Errorf("error %v: want one with %q", err, change.want)
				}
				if got := tree(t, filepath.Join(top, "out")); got != want {
					t.Errorf("left behind:\n%s", got)
				}
			})
		}
	}
}

// A layout that is stopped in the middle of a blob, or between two links, is gone.
func TestWriteLayout_Stopped(t *testing.T) {
	img, blobs := testImage(t, "one", "two")
	errStop := errors.New("stopped by signal")
	for _, existing := range []bool{false, true} {
		for _, how := range []Linking{Symlink, Copy} {
			top := t.TempDir()
			mkdir(t, filepath.Join(top, "blobs"))
			mkdir(t, filepath.Join(top, "out"))
			dir := filepath.Join(top, "out", "layout")
			want := ""
			if existing {
				mkdir(t, dir)
				want = "layout\n"
			}
			ctx, stop := context.WithCancelCause(t.Context())
			b := files(t, filepath.Join(top, "blobs"), blobs)
			if how == Copy {
				b[1].Open = func() (io.ReadCloser, error) {
					stop(errStop)
					return os.Open(b[1].Path)
				}
			} else {
				stop(errStop)
			}
			if err := WriteLayout(ctx, dir, img, b, nil, how); !errors.Is(err, errStop) {
				t.Errorf("error %v: want the context's", err)
			}
			if got := tree(t, filepath.Join(top, "out")); got != want {
				t.Errorf("left behind:\n%s", got)
			}
		}
	}
}

func TestWriteLayout_NotEmpty(t *testing.T) {
	img, blobs := testImage(t, "one")
	top := t.TempDir()
	b := files(t, top, blobs)
	err := WriteLayout(t.Context(), top, img, b, nil, Symlink)
	if err == nil || !strings.Contains(err.Error(), "the directory is not empty") {
		t.Errorf("error %v", err)
	}
	if got := tree(t, top); got != "one.tar.gz\n" {
		t.Errorf("it is now\n%s", got)
	}
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	remove(t, path)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
