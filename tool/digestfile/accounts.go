package digestfile

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rules-strata/rules_strata/tool/strictjson"
)

// NameList is what a layer makes of a list of names, /etc/passwd or /etc/group.
// Of the three fields one is said; a list that has no names says none.
type NameList struct {
	// Names are those that the list defines, sorted, each once.
	Names []string `json:"names,omitempty"`
	// Removed says that the list is gone, by a whiteout.
	Removed bool `json:"removed,omitempty"`
	// Unknown says why the layer alone doesn't tell what names there are: "a symlink", which
	// leads to another layer for the most part.
	Unknown string `json:"unknown,omitempty"`
}

// What is read of a list of names, at most; of a greater one the names are unknown.
const (
	maxList      = 1 << 20 // bytes
	maxListNames = 10_000
	maxListName  = 255 // bytes of a name; longer ones can't be asked for
)

// The lists, and the directory that they are in.
const (
	listDir    = "etc"
	passwdFile = "etc/passwd"
	groupFile  = "etc/group"
)

// Accounts finds in a layer's entries what it makes of /etc/passwd and /etc/group. The zero value has seen none.
type Accounts struct {
	passwd, group accountList
}

// accountList is what was seen of one list.
type accountList struct {
	removed, there bool
	above          string // what the directory is, where that is none
	unknown        string
	text           bytes.Buffer
}

// limitedText keeps what a list of names has, and a byte more than that may be.
type limitedText struct{ to *bytes.Buffer }

func (l limitedText) Write(p []byte) (int, error) {
	l.to.Write(p[:min(len(p), maxList+1-l.to.Len())])
	return len(p), nil
}

// Entry takes an entry: its name, clean and relative to the image's root, its type as archive/tar has it, and a file's
// contents, which are to be read by way of the reader that it returns.
func (a *Accounts) Entry(name string, typeflag byte, contents io.Reader) io.Reader {
	// Of all entries but a few this is all that is asked.
	if name != passwdFile && name != groupFile && name != listDir && !isWhiteout(name) {
		return contents
	}
	if target, _, ok := removal(name); ok {
		for file, l := range map[string]*accountList{passwdFile: &a.passwd, groupFile: &a.group} {
			l.removed = l.removed || target == "" || target == listDir || target == file
		}
		return contents
	}
	l := &a.passwd
	switch name {
	case listDir:
		a.passwd.above, a.group.above = "", ""
		if typeflag != tar.TypeDir {
			a.passwd.above = fmt.Sprintf("/%s is %s", listDir, typeText(typeflag))
			a.group.above = a.passwd.above
		}
		return contents
	case groupFile:
		l = &a.group
	}
	l.there, l.unknown = true, ""
	l.text.Reset()
	if typeflag != tar.TypeReg {
		l.unknown = typeText(typeflag)
		return contents
	}
	if contents == nil {
		return nil // It is empty.
	}
	return io.TeeReader(contents, limitedText{&l.text})
}

// Lists returns what the layer makes of /etc/passwd and of /etc/group; nil: nothing.
func (a *Accounts) Lists() (users, groups *NameList) { return a.passwd.names(), a.group.names() }

func (l *accountList) names() *NameList {
	switch {
	case l.above != "":
		return &NameList{Unknown: l.above}
	case l.unknown != "":
		return &NameList{Unknown: l.unknown}
	case !l.there && l.removed:
		return &NameList{Removed: true}
	case !l.there:
		return nil
	case l.text.Len() > maxList:
		return &NameList{Unknown: fmt.Sprintf("a file of over %d bytes", maxList)}
	}
	var names []string
	for line := range bytes.Lines(l.text.Bytes()) {
		name, _, ok := bytes.Cut(bytes.TrimSpace(line), []byte{':'})
		if ok && isAccountName(name) {
			names = append(names, string(name))
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) > maxListNames {
		return &NameList{Unknown: fmt.Sprintf("a file of over %d names", maxListNames)}
	}
	return &NameList{Names: names}
}

// isAccountName reports whether somebody could ask for a name: what an image's config can't say needs not be known.
func isAccountName(name []byte) bool {
	return len(name) > 0 && len(name) <= maxListName && utf8.Valid(name) &&
		!bytes.ContainsFunc(name, func(r rune) bool {
			return r <= ' ' || unicode.IsControl(r) || r == utf8.RuneError || r == '/' || r == ':'
		})
}

// typeText is a type of entry in words.
func typeText(typeflag byte) string {
	switch typeflag {
	case tar.TypeSymlink:
		return "a symlink"
	case tar.TypeLink:
		return "a hard link"
	case tar.TypeDir:
		return "a directory"
	}
	return "no regular file"
}

// readNameList reads one, checked.
func readNameList(to **NameList) func(*strictjson.Value) error {
	return func(v *strictjson.Value) error {
		l := new(NameList)
		*to = l
		if err := v.Fields(
			strictjson.Field{Name: "names", Optional: true, Read: func(v *strictjson.Value) error {
				return v.Each(func(v *strictjson.Value) error {
					name, err := v.Text()
					switch {
					case err != nil:
						return err
					case !isAccountName([]byte(name)):
						return v.Errorf("%q: want a name", name)
					case len(l.Names) > 0 && name <= l.Names[len(l.Names)-1]:
						return v.Errorf("%q: want the names sorted, each once", name)
					case len(l.Names) == maxListNames:
						return v.Errorf("over %d names", maxListNames)
					}
					l.Names = append(l.Names, name)
					return nil
				})
			}},
			strictjson.Field{Name: "removed", Optional: true, Read: func(v *strictjson.Value) (err error) { l.Removed, err = v.Bool(); return err }},
			strictjson.Field{Name: "unknown", Optional: true, Read: strictjson.StringInto(&l.Unknown)},
		); err != nil {
			return err
		}
		if said := [3]bool{len(l.Names) > 0, l.Removed, l.Unknown != ""}; said[0] && said[1] || said[0] && said[2] || said[1] && said[2] {
			return v.Errorf("want one of names, removed and unknown")
		}
		return nil
	}
}

// Names to which the OCI image-spec gives a meaning (layer.md, "Whiteouts").
const (
	whiteoutPrefix = ".wh."
	whiteoutOpaque = ".wh..wh..opq"
)

func isWhiteout(name string) bool {
	return strings.HasPrefix(name[strings.LastIndexByte(name, '/')+1:], whiteoutPrefix)
}

// removal returns what a whiteout hides of the layers below: a name, or (opaque) all that is in a directory.
// The root is "". Of other entries ok is false.
func removal(name string) (target string, opaque, ok bool) {
	dir, base := path.Split(name)
	dir = strings.TrimSuffix(dir, "/")
	hidden, ok := strings.CutPrefix(base, whiteoutPrefix)
	switch {
	case !ok:
		return "", false, false
	case base == whiteoutOpaque:
		return dir, true, true
	case dir == "":
		return hidden, false, true
	}
	return dir + "/" + hidden, false, true
}
