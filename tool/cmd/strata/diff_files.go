package main

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/rules-strata/rules_strata/tool/flatten"
	"github.com/rules-strata/rules_strata/tool/imagefile"
)

// fileDiffJSON is what --json writes of the files of two images.
type fileDiffJSON struct {
	Added   []string     `json:"added"`
	Removed []string     `json:"removed"`
	Changed []fileChange `json:"changed"`
}

// fileChange is a file that both images have.
type fileChange struct {
	Name string `json:"name"`
	// Fields are what differs: "type", "mode", "owner", "size", "contents", "target", "device", "attributes".
	Fields []string `json:"fields"`
}

// fileState is what is compared of a file; times aren't.
type fileState struct {
	kind         byte
	mode         int64
	uid, gid     int
	size         int64
	contents     [sha256.Size]byte
	target       string
	major, minor int64
	attributes   string
}

// imageFiles are the files that a container of the image finds, by name.
func imageFiles(ctx context.Context, img *imagefile.Image) (map[string]fileState, error) {
	var layers []flatten.Layer
	for _, l := range img.Layers {
		layers = append(layers, l.Uncompressed)
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(flatten.Write(ctx, w, layers)) }()
	defer r.Close()
	files := map[string]fileState{}
	sum := sha256.New()
	for in := tar.NewReader(r); ; {
		h, err := in.Next()
		if err == io.EOF {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		s, err := stateOf(h, in, sum)
		if err != nil {
			return nil, err
		}
		files["/"+strings.Trim(strings.TrimPrefix(h.Name, "."), "/")] = s
	}
}

func stateOf(h *tar.Header, in io.Reader, sum hash.Hash) (fileState, error) {
	s := fileState{kind: h.Typeflag, mode: h.Mode, uid: h.Uid, gid: h.Gid, size: h.Size, target: h.Linkname, major: h.Devmajor, minor: h.Devminor}
	if h.Typeflag == tar.TypeReg {
		sum.Reset()
		if _, err := io.Copy(sum, in); err != nil {
			return s, err
		}
		sum.Sum(s.contents[:0])
	}
	for _, k := range slices.Sorted(maps.Keys(h.PAXRecords)) {
		if strings.Contains(k, "xattr.") {
			s.attributes += fmt.Sprintf("%q=%q ", k, h.PAXRecords[k])
		}
	}
	return s, nil
}

func compareFiles(before, after map[string]fileState) *fileDiffJSON {
	d := &fileDiffJSON{Added: []string{}, Removed: []string{}, Changed: []fileChange{}}
	for _, name := range slices.Sorted(maps.Keys(after)) {
		was, there := before[name]
		if is := after[name]; !there {
			d.Added = append(d.Added, name)
		} else if was != is {
			d.Changed = append(d.Changed, fileChange{name, differing(was, is)})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, there := after[name]; !there {
			d.Removed = append(d.Removed, name)
		}
	}
	return d
}

// differing says in which fields two states of a file differ.
func differing(a, b fileState) []string {
	var out []string
	for _, f := range []struct {
		name string
		same bool
	}{
		{"type", a.kind == b.kind},
		{"mode", a.mode == b.mode},
		{"owner", a.uid == b.uid && a.gid == b.gid},
		{"size", a.size == b.size},
		{"contents", a.contents == b.contents},
		{"target", a.target == b.target},
		{"device", a.major == b.major && a.minor == b.minor},
		{"attributes", a.attributes == b.attributes},
	} {
		if !f.same {
			out = append(out, f.name)
		}
	}
	return out
}

func fileRows(t *table, d *fileDiffJSON) {
	t.head("files")
	for _, name := range d.Added {
		t.row("", "+ "+printable(name))
	}
	for _, name := range d.Removed {
		t.row("", "- "+printable(name))
	}
	for _, c := range d.Changed {
		t.row("", "~ "+printable(c.Name), strings.Join(c.Fields, ", "))
	}
	t.row("", fmt.Sprintf("%d added, %d removed, %d changed", len(d.Added), len(d.Removed), len(d.Changed)))
}
