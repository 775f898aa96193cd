package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
)

// Go reads back what each type of entry says.
func TestWriteTar(t *testing.T) {
	entries := []*Entry{
		{Name: "d", Type: TypeDirectory, Mode: 0o1777, MtimeUnix: 7, Owner: Owner{UID: 1, GID: 2, UserName: "me", GroupName: "us"}},
		{Name: "d/null", Type: TypeCharDevice, Mode: 0o666, Major: 1, Minor: 3},
		{Name: "d/pipe", Type: TypeFIFO, Mode: 0o600},
		{Name: "d/sda", Type: TypeBlockDevice, Mode: 0o660, Major: 8},
		{Name: "f", Type: TypeRegular, Mode: 0o4755, Size: 5, MtimeUnix: 1 << 32, Owner: Owner{UID: 1 << 31}, Xattrs: []Xattr{{"security.capability", "\x01\n\x00="}, {"user.ü", "x"}}},
		{Name: "g", Type: TypeLink, Mode: 0o4755, Link: "f"},
		{Name: "l", Type: TypeSymlink, Mode: 0o777, Link: "/" + strings.Repeat("x", 200)},
	}
	var b bytes.Buffer
	f, err := WriteTar(t.Context(), &b, Options{Compression: None}, func(_ context.Context, to *Tar) error {
		for _, e := range entries {
			if err := to.Add(e, strings.NewReader("hello, and no more")); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if f.Entries != int64(len(entries)) || f.Descriptor.Size != int64(b.Len()) || f.Descriptor.Digest != f.DiffID {
		t.Errorf("digest file %+v", f)
	}
	r := tar.NewReader(&b)
	for _, want := range entries {
		h, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		got := &Entry{
			Name: strings.TrimSuffix(h.Name, "/"), Type: Type(h.Typeflag), Mode: uint16(h.Mode), MtimeUnix: h.ModTime.Unix(), Link: h.Linkname, Size: int64(len(text)),
			Owner: Owner{UID: uint32(h.Uid), GID: uint32(h.Gid), UserName: h.Uname, GroupName: h.Gname}, Major: uint32(h.Devmajor), Minor: uint32(h.Devminor),
		}
		for _, x := range want.Xattrs {
			if h.PAXRecords["SCHILY.xattr."+x.Name] == x.Value {
				got.Xattrs = append(got.Xattrs, x)
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("behind the last entry: %v", err)
	}
}

// What a header can't say, or would say otherwise, is refused.
func TestTar_Errors(t *testing.T) {
	for _, test := range []struct {
		entry Entry
		want  string
	}{
		{Entry{Name: "", Type: TypeDirectory}, "want a clean path"},
		{Entry{Name: "/a", Type: TypeDirectory}, "want a clean path"},
		{Entry{Name: "a/", Type: TypeDirectory}, "want a clean path"},
		{Entry{Name: "../a", Type: TypeDirectory}, "want a clean path"},
		{Entry{Name: "a/../b", Type: TypeDirectory}, "want a clean path"},
		{Entry{Name: "a\x00", Type: TypeDirectory}, "a NUL"},
		{Entry{Name: "a", Type: TypeDirectory, Mode: 0o10000}, "mode 010000: want at most 07777"},
		{Entry{Name: "a", Type: TypeDirectory, MtimeUnix: -1}, "mtime -1: want 0 to"},
		{Entry{Name: "a", Type: TypeDirectory, Size: 1}, "a directory of 1 bytes"},
		{Entry{Name: "a", Type: TypeSymlink}, `a symlink with the target ""`},
		{Entry{Name: "a", Type: TypeRegular, Link: "b"}, `a file with the target "b"`},
		{Entry{Name: "a", Type: TypeCharDevice, Major: 1 << 21}, "want numbers below 2^21"},
		{Entry{Name: "a", Type: TypeRegular, Xattrs: []Xattr{{"a=b", ""}}}, `extended attribute "a=b"`},
		{Entry{Name: "a", Type: TypeRegular, Owner: Owner{UserName: "ü"}}, `owner name "ü"`},
		{Entry{Name: "a", Type: TypeRegular, Size: 9}, "unexpected EOF"},
	} {
		_, err := WriteTar(t.Context(), io.Discard, Options{}, func(_ context.Context, to *Tar) error {
			return to.Add(&test.entry, strings.NewReader("short"))
		})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: error %v, want one with %q", test.entry, err, test.want)
		}
	}
	// An error of the blob's writer ends what adds entries.
	full := errors.New("full")
	_, err := WriteTar(t.Context(), errWriter{full}, Options{Compression: None}, func(_ context.Context, to *Tar) error {
		for {
			if err := to.Add(&Entry{Name: "a", Type: TypeDirectory}, nil); err != nil {
				return err
			}
		}
	})
	if !errors.Is(err, full) {
		t.Errorf("error %v, want the writer's", err)
	}
}

type errWriter struct{ err error }

func (w errWriter) Write([]byte) (int, error) { return 0, w.err }
