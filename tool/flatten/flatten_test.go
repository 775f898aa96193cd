package flatten

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// layerOf makes a layer of lines, in order:
//
//	dir/ [MODE [UID]]      a directory
//	file=CONTENTS          a regular file
//	link->TARGET           a symlink
//	name=>OTHER            a hard link
func layerOf(tb testing.TB, lines ...string) Layer {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, line := range lines {
		h := &tar.Header{Mode: 0o644, ModTime: time.Unix(5, 0)}
		body := ""
		if name, target, ok := strings.Cut(line, "=>"); ok {
			h.Typeflag, h.Name, h.Linkname = tar.TypeLink, name, target
		} else if name, target, ok := strings.Cut(line, "->"); ok {
			h.Typeflag, h.Name, h.Linkname, h.Mode = tar.TypeSymlink, name, target, 0o777
		} else if name, text, ok := strings.Cut(line, "="); ok {
			h.Typeflag, h.Name, body = tar.TypeReg, name, text
		} else {
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
			name, rest, _ := strings.Cut(line, " ")
			h.Name = name
			fmt.Sscanf(rest, "%o %d", &h.Mode, &h.Uid)
		}
		h.Size = int64(len(body))
		if err := w.WriteHeader(h); err != nil {
			tb.Fatal(err)
		}
		io.WriteString(w, body)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil }
}

// listing is a tar as lines, as layerOf reads them.
func listing(tb testing.TB, b []byte) (lines []string) {
	tb.Helper()
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return lines
		}
		if err != nil {
			tb.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			tb.Fatal(err)
		}
		switch h.Typeflag {
		case tar.TypeDir:
			line := h.Name
			if h.Mode != 0o755 || h.Uid != 0 {
				line += fmt.Sprintf(" %o", h.Mode)
			}
			if h.Uid != 0 {
				line += fmt.Sprintf(" %d", h.Uid)
			}
			lines = append(lines, line)
		case tar.TypeReg:
			lines = append(lines, h.Name+"="+string(body))
		case tar.TypeSymlink:
			lines = append(lines, h.Name+"->"+h.Linkname)
		case tar.TypeLink:
			lines = append(lines, h.Name+"=>"+h.Linkname)
		default:
			lines = append(lines, fmt.Sprintf("%s type %q", h.Name, h.Typeflag))
		}
	}
}

func TestWrite(t *testing.T) {
	type layers [][]string
	for _, c := range []struct {
		name   string
		layers layers
		want   []string
	}{
		{"one", layers{{"a/", "a/f=1", "l->a"}}, []string{"a/", "a/f=1", "l->a"}},
		{"a file is replaced", layers{{"f=1", "g=1"}, {"f=2"}}, []string{"g=1", "f=2"}},
		{"a whiteout", layers{{"f=1", "d/", "d/x=1"}, {".wh.f=", ".wh.d="}}, nil},
		{"a whiteout of nothing", layers{{"f=1"}, {".wh.g="}}, []string{"f=1"}},
		{"a whiteout hides lower layers only", layers{{"f=1"}, {"f=2", ".wh.f="}}, []string{"f=2"}},
		{"removed and made again above", layers{{"d/", "d/x=1"}, {".wh.d="}, {"d/ 700", "d/y=2"}}, []string{"d/ 700", "d/y=2"}},
		{"removed and made again in one layer", layers{{"d/", "d/x=1"}, {"d/y=2", ".wh.d="}}, []string{"d/", "d/y=2"}},
		{"opaque", layers{{"d/", "d/x=1", "d/s/", "d/s/z=1"}, {"d/ 700", "d/y=2", "d/.wh..wh..opq="}}, []string{"d/ 700", "d/y=2"}},
		{"opaque before its siblings", layers{{"d/", "d/x=1"}, {"d/", "d/.wh..wh..opq=", "d/x=2"}}, []string{"d/", "d/x=2"}},
		{"opaque is not for layers above", layers{{"d/"}, {"d/", "d/.wh..wh..opq="}, {"d/x=3"}}, []string{"d/", "d/x=3"}},
		{"opaque, touched below without an entry", layers{{"d/", "d/s/ 700", "d/s/old=1"}, {"d/s/new=2", "d/.wh..wh..opq="}}, []string{"d/", "d/s/", "d/s/new=2"}},
		{"notes of aufs", layers{{".wh..wh.plnk/", ".wh..wh.aufs=x", "f=1"}}, []string{"f=1"}},
		{"the last word on a directory", layers{{"d/ 700 5", "d/x=1"}, {"d/ 711 6"}}, []string{"d/ 711 6", "d/x=1"}},
		{"a directory becomes a file", layers{{"d/", "d/x=1"}, {"d=file"}}, []string{"d=file"}},
		{"a file becomes a directory", layers{{"d=file"}, {"d/", "d/x=1"}}, []string{"d/", "d/x=1"}},
		{"a file becomes a directory that has no entry", layers{{"d=file"}, {"d/x=1"}}, []string{"d/", "d/x=1"}},
		{"a directory becomes a link", layers{{"d/", "d/x=1", "e/"}, {"d->e"}}, []string{"e/", "d->e"}},
		{"implied directories", layers{{"a/b/c=1"}, {"a/b/ 700"}}, []string{"a/", "a/b/ 700", "a/b/c=1"}},
		{"through a link", layers{{"usr/", "usr/lib/", "lib->usr/lib"}, {"lib/x=1", "lib/.wh.y="}}, []string{"usr/", "usr/lib/", "lib->usr/lib", "usr/lib/x=1"}},
		{"through absolute and upward links", layers{{"a/", "a/b/", "a/b/l->../../c", "m->/a/b", "c/"}, {"m/l/x=1"}}, []string{"a/", "a/b/", "a/b/l->../../c", "m->/a/b", "c/", "c/x=1"}},
		{"up from the root", layers{{"l->../../..", "d/"}, {"l/d/x=1"}}, []string{"l->../../..", "d/", "d/x=1"}},
		{"hard links", layers{{"a=1", "b=>a", "c=>b"}}, []string{"a=1", "b=>a", "c=>a"}},
		{"a hard link to a lower layer", layers{{"a=1"}, {"d/", "d/b=>a"}}, []string{"a=1", "d/", "d/b=>a"}},
		{"the first name is replaced", layers{{"a=1", "b=>a", "c=>a"}, {"a=2"}}, []string{"b=1", "c=>b", "a=2"}},
		{"the first name is removed", layers{{"a=1", "d/", "d/b=>a"}, {".wh.a="}}, []string{"d/", "d/b=1"}},
		{"all names are removed", layers{{"a=1", "b=>a"}, {".wh.a=", ".wh.b="}}, nil},
		{"a hard link to a symlink", layers{{"a->x", "b=>a"}}, []string{"a->x", "b=>a"}},
		{"dots and slashes", layers{{"./", "./a/", "/a/./f=1"}}, []string{"./", "a/", "a/f=1"}},
		{"not UTF-8", layers{{"\xff/", "\xff/\xfe=1", "l->\xfd"}}, []string{"\xff/", "\xff/\xfe=1", "l->\xfd"}},
		{"long names", layers{{strings.Repeat("a", 200) + "/" + strings.Repeat("b", 200) + "=1"}}, []string{strings.Repeat("a", 200) + "/", strings.Repeat("a", 200) + "/" + strings.Repeat("b", 200) + "=1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var in []Layer
			for _, l := range c.layers {
				in = append(in, layerOf(t, l...))
			}
			var b bytes.Buffer
			if err := Write(t.Context(), &b, in); err != nil {
				t.Fatal(err)
			}
			got, want := strings.Join(listing(t, b.Bytes()), "\n"), strings.Join(c.want, "\n")
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			// The result is a layer, and flat already.
			var again bytes.Buffer
			whole := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil }
			if err := Write(t.Context(), &again, []Layer{whole}); err != nil || !bytes.Equal(again.Bytes(), b.Bytes()) {
				t.Errorf("once more it is another one (%v)", err)
			}
		})
	}
}

// Extended attributes, owners by name, devices and fractions of seconds stay.
func TestWrite_Metadata(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []*tar.Header{
		{
			Typeflag: tar.TypeReg, Name: "f", Mode: 0o4755, Uid: 70000, Gid: 5_000_000, Uname: "u", Gname: "g", ModTime: time.Unix(7, 5e8),
			PAXRecords: map[string]string{"SCHILY.xattr.security.capability": "\x01\x00\x00\x02"}, Format: tar.FormatPAX,
		},
		{Typeflag: tar.TypeChar, Name: "null", Mode: 0o666, Devmajor: 1, Devminor: 3, ModTime: time.Unix(7, 0)},
		{Typeflag: tar.TypeFifo, Name: "p", Mode: 0o600, ModTime: time.Unix(7, 0)},
	} {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	var out bytes.Buffer
	if err := Write(t.Context(), &out, []Layer{func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil }}); err != nil {
		t.Fatal(err)
	}
	r, want := tar.NewReader(&out), tar.NewReader(&b)
	for {
		h, err := r.Next()
		w, errWant := want.Next()
		if err == io.EOF && errWant == io.EOF {
			return
		}
		if err != nil || errWant != nil {
			t.Fatal(err, errWant)
		}
		if h.Name != w.Name || h.Mode != w.Mode || h.Uid != w.Uid || h.Gid != w.Gid || h.Uname != w.Uname || h.Gname != w.Gname ||
			!h.ModTime.Equal(w.ModTime) || h.Devmajor != w.Devmajor || h.Devminor != w.Devminor ||
			h.PAXRecords["SCHILY.xattr.security.capability"] != w.PAXRecords["SCHILY.xattr.security.capability"] {
			t.Errorf("got  %+v\nwant %+v", h, w)
		}
	}
}

func TestWrite_Bad(t *testing.T) {
	for name, c := range map[string]struct {
		layers []Layer
		want   string
	}{
		"leads out":             {[]Layer{layerOf(t, "a/../../x=1")}, `".."`},
		"hard link out":         {[]Layer{layerOf(t, "x=>../y")}, `a hard link to "../y"`},
		"hard link to nothing":  {[]Layer{layerOf(t, "x=>y")}, `"y", which is no file`},
		"hard link to a folder": {[]Layer{layerOf(t, "y/", "x=>y")}, `"y", which is no file`},
		"hard link to removed":  {[]Layer{layerOf(t, "y=1"), layerOf(t, ".wh.y=", "x=>y")}, `"y", which is no file`},
		"loop":                  {[]Layer{layerOf(t, "a->b", "b->a", "a/x=1")}, "more than 40 symlinks"},
		"below a file":          {[]Layer{layerOf(t, "a=1", "a/x=1")}, `"a" is no directory`},
		"root is a file":        {[]Layer{layerOf(t, ".=1")}, "only a directory can be the root"},
		"whiteout of dots":      {[]Layer{layerOf(t, ".wh...=")}, "a whiteout of no name"},
		"long":                  {[]Layer{layerOf(t, strings.Repeat("a/", 3000)+"b=x")}, "want at most 4096"},
		"deep by links":         {[]Layer{layerOf(t, strings.Repeat("a/", 2000)+"b->"+strings.Repeat("c/", 100), strings.Repeat("a/", 2000)+"b/x=1")}, "directories in one another"},
		"cut":                   {[]Layer{func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(strings.Repeat("x", 700))), nil }}, "layer 1: "},
		"gone":                  {[]Layer{layerOf(t, "a=1"), func() (io.ReadCloser, error) { return nil, errors.New("gone") }}, "layer 2: gone"},
	} {
		t.Run(name, func(t *testing.T) {
			err := Write(t.Context(), io.Discard, c.layers)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	n := 0
	changing := func() (io.ReadCloser, error) {
		n++
		return layerOf(t, []string{"a=1", "b=1"}[:n]...)()
	}
	if err := Write(t.Context(), io.Discard, []Layer{changing}); !errors.Is(err, errChanged) {
		t.Errorf("a layer that changes: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	if err := Write(ctx, io.Discard, []Layer{layerOf(t, "a=1")}); err == nil || !strings.Contains(err.Error(), "enough") {
		t.Errorf("stopped: %v", err)
	}
}

// Any two layers give a tar that is one, with each name once and parents first, and that is flat.
func FuzzWrite(f *testing.F) {
	raw := func(lines ...string) []byte {
		r, _ := layerOf(f, lines...)()
		b, _ := io.ReadAll(r)
		return b
	}
	f.Add(raw("a/", "a/f=1", "b=>a/f"), raw(".wh.a=", "a/g=2"))
	f.Add(raw("l->d", "d/", "d/x=1"), raw("l/.wh..wh..opq=", "l/y=2"))
	f.Add(raw("a=1", "a=2"), raw("a=>a"))
	f.Fuzz(func(t *testing.T, lower, upper []byte) {
		var layers []Layer
		for _, b := range [][]byte{lower, upper} {
			layers = append(layers, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil })
		}
		var out bytes.Buffer
		if err := Write(context.Background(), &out, layers); err != nil {
			return
		}
		seen := map[string]bool{}
		for r := tar.NewReader(bytes.NewReader(out.Bytes())); ; {
			h, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			name := strings.TrimSuffix(h.Name, "/")
			if seen[name] {
				t.Fatalf("%q is there twice", name)
			}
			seen[name] = true
			if i := strings.LastIndexByte(name, '/'); i >= 0 && !seen[name[:i]] {
				t.Fatalf("%q comes before its directory", name)
			}
			if h.Typeflag == tar.TypeLink && !seen[h.Linkname] {
				t.Fatalf("%q is a link to %q, which comes later", name, h.Linkname)
			}
			if strings.HasPrefix(name[strings.LastIndexByte(name, '/')+1:], ".wh.") {
				t.Fatalf("%q is an order", name)
			}
		}
	})
}
