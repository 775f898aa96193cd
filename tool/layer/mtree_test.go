package layer

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// update rewrites goldens: UPDATE_GOLDENS=1 go test ./tool/layer -run Mtree
var update = os.Getenv("UPDATE_GOLDENS") != ""

// The listing of a layer that real Nix made the contents of: every kind of entry, and names of all sorts.
func TestMtree_Golden(t *testing.T) {
	for _, c := range []struct{ golden, cache, base string }{
		{"testdata/oddities.mtree", "cache", "asn0wpn021jshb0g4kh09vy554qv14a2-oddities-1.0"},
		{"testdata/not-utf8.mtree", "variants/not-utf8", "7m2axs1nmhaasyxj9k6h1k6cd5pkqnai"},
	} {
		var got bytes.Buffer
		mustWrite(t, []NAR{cached(t, webDir+"/"+c.cache, c.base)}, Options{Mtree: &got})
		if update {
			if err := os.WriteFile(c.golden, got.Bytes(), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(c.golden)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s:\n%s\nwant\n%s", c.golden, got.Bytes(), want)
		}
	}
}

// bsdtar lists the tar as we do: it writes the same format, with lines and keywords in an order of its own.
func TestMtree_Bsdtar(t *testing.T) {
	bsdtar := lookPath(t, "bsdtar")
	nars := append(oddNARs(t), cached(t, webDir+"/cache", "nvlrrmc6bmlc3ms0y9gsb58m5nfk9aw3-gmp-6.2.1"))
	var got bytes.Buffer
	b := mustWrite(t, nars, Options{Mtree: &got, Owner: &Owner{UID: 1000, GID: 3_000_000, UserName: "me"}, AllowWhiteoutNames: true})
	cmd := exec.Command(bsdtar, "--format=mtree", "--options=!all,type,mode,uid,gid,uname,gname,time,size,sha256,link", "-cf", "-", "@-")
	cmd.Stdin = bytes.NewReader(b)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	theirs, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	sortLines := func(text []byte) (lines []string) {
		for line := range strings.Lines(string(text)) {
			words := strings.Fields(line)
			slices.Sort(words)
			lines = append(lines, strings.Join(words, " "))
		}
		slices.Sort(lines) // bsdtar has all directories last.
		return lines
	}
	ourLines, theirLines := sortLines(got.Bytes()), sortLines(theirs)
	for i := range max(len(ourLines), len(theirLines)) {
		if i >= len(ourLines) || i >= len(theirLines) {
			t.Fatalf("%d lines, bsdtar has %d", len(ourLines), len(theirLines))
		}
		if ourLines[i] != theirLines[i] {
			t.Fatalf("line %d:\n%.300s\nbsdtar has\n%.300s", i+1, ourLines[i], theirLines[i])
		}
	}
}

func TestMtree_WriteError(t *testing.T) {
	checkGoroutines(t)
	for _, compression := range Compressions() {
		for _, after := range []int{0, 70_000} {
			nodes := []node{dir("")}
			for _, c := range "abcdefghijklmnopqrstuvwxyz" {
				name := strings.Repeat(string(c), 200)
				nodes = append(nodes, dir(name))
				for _, d := range "abcdefghijklmnopqrstuvwxyz" {
					nodes = append(nodes, file(name+"/"+strings.Repeat(string(d), 200), "x"))
				}
			}
			n := fromBytes(oddBase, makeNAR(t, nodes...))
			_, err := Write(t.Context(), io.Discard, []NAR{n}, Options{Compression: compression, Mtree: &failingWriter{left: after}})
			if !errors.Is(err, errDiskFull) || !strings.Contains(err.Error(), "writing the listing: ") {
				t.Errorf("%s, after %d bytes: error %v", compression, after, err)
			}
			if errors.As(err, new(*PathError)) {
				t.Errorf("%s, after %d bytes: it is no fault of a store path: %v", compression, after, err)
			}
		}
	}
}
