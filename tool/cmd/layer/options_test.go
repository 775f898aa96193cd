package main

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/action"
	"github.com/rules-strata/rules_strata/tool/digestfile"
)

// All flags of a layer's contents together, read back from the blob.
func TestRun_Options(t *testing.T) {
	info := readInfo(t, webDir+"/cache", "asn0wpn021jshb0g4kh09vy554qv14a2")
	dir := t.TempDir()
	args := append(
		group(info, fromFile(webDir+"/cache", info)),
		"--compression=none", "--workers=3", "--mtree="+filepath.Join(dir, "blob.mtree"),
		"--owner=1000:100", "--owner-names=me:users", "--mtime=7", "--strip-prefix=.",
		"--exclude=links", "--exclude=**/zero*", "--mode=0700:**", "--mode=1777:empty",
	)
	if code, stderr := runIn(t, dir, args...); code != action.ExitOK {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	checkNames(t, dir, "blob", "blob.json", "blob.mtree")
	b, err := os.ReadFile(filepath.Join(dir, "blob"))
	if err != nil {
		t.Fatal(err)
	}
	listing, err := os.ReadFile(filepath.Join(dir, "blob.mtree"))
	if err != nil {
		t.Fatal(err)
	}
	entries := 0
	for r := tar.NewReader(bytes.NewReader(b)); ; entries++ {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		mode := int64(0o700)
		switch {
		case h.Name == "empty/":
			mode = 0o1777
		case h.Typeflag == tar.TypeSymlink:
			mode = 0o777
		}
		if h.Uid != 1000 || h.Gid != 100 || h.Uname != "me" || h.Gname != "users" || h.ModTime.Unix() != 7 || h.Mode != mode {
			t.Errorf("entry %+v, want mode %o", h, mode)
		}
		for _, not := range []string{"nix", "links", "zero"} {
			if strings.Contains(h.Name, not) {
				t.Errorf("%s is there", h.Name)
			}
		}
		if name := "./" + strings.TrimSuffix(h.Name, "/") + " type="; isPlain(h.Name) && !bytes.Contains(listing, []byte("\n"+name)) {
			t.Errorf("no line begins with %s", name)
		}
	}
	f, err := digestfile.Read(filepath.Join(dir, "blob.json"))
	if err != nil {
		t.Fatal(err)
	}
	if f.Stripped == nil || f.Stripped.Path != info.StorePath || f.Entries != int64(entries) || entries < 10 || bytes.Count(listing, []byte("\n")) != entries+1 {
		t.Errorf("%d entries, digest file %+v, listing\n%s", entries, f, listing)
	}
}

// isPlain reports whether a listing has the name as it is.
func isPlain(name string) bool {
	return !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`#=\`, r) })
}

// Any number of workers gives the same files.
func TestRun_Workers(t *testing.T) {
	var groups []string
	for _, base := range []string{"asn0wpn021jshb0g4kh09vy554qv14a2", "znxxkmh64da14rs51fhii310i4r8y6ab", "0i1z7gpjsbqynxvczq9y25iqvl66875x"} {
		info := readInfo(t, webDir+"/variants/xz", base)
		groups = append(groups, group(info, fromFile(webDir+"/variants/xz", info))...)
	}
	bash := readInfo(t, webDir+"/variants/bash-xz", "xznc9l6ppin9j93x7xsvaba3qkn46hwr")
	groups = append(groups, group(bash, fromFile(webDir+"/variants/bash-xz", bash))...)
	for _, compression := range []string{"gzip", "zstd", "none"} {
		var want string
		for _, workers := range []string{"1", "2", "8", "64"} {
			f := mustRun(t, append(groups, "--compression="+compression, "--workers="+workers)...)
			if want == "" {
				want = string(f.Descriptor.Digest)
			} else if got := string(f.Descriptor.Digest); got != want {
				t.Errorf("%s, %s workers: %s, want %s", compression, workers, got, want)
			}
		}
	}
}
