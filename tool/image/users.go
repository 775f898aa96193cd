package image

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rules-strata/rules_strata/tool/digestfile"
)

// maxShownNames bounds how many names an error lists.
const maxShownNames = 12

// checkDefined wants the names in a config's user, USER or USER:GROUP, to be defined: by the /etc/passwd and /etc/group of the uppermost layer
// that has them, as a container runtime reads them when it starts the program. Numbers need nobody. Where the lists can't be
// known, since the base's layers weren't looked at or a list is a link, any name may be right.
func checkDefined(attribute, user string, base *Base, layers []*digestfile.File, below int) error {
	name, group, _ := strings.Cut(user, ":")
	for _, part := range []struct {
		what, name, file string
		base             func(*Base) *digestfile.NameList
		layer            func(*digestfile.File) *digestfile.NameList
	}{
		{"user", name, "/etc/passwd", func(b *Base) *digestfile.NameList { return b.Users }, func(f *digestfile.File) *digestfile.NameList { return f.Users }},
		{"group", group, "/etc/group", func(b *Base) *digestfile.NameList { return b.Groups }, func(f *digestfile.File) *digestfile.NameList { return f.Groups }},
	} {
		if strings.Trim(part.name, "0123456789") == "" {
			continue
		}
		list, of := &digestfile.NameList{Removed: true}, ""
		if base != nil {
			list, of = part.base(base), "the base "+base.Name
		}
		for i, l := range layers {
			if own := part.layer(l); own != nil {
				list, of = own, layerName(l, below+i)
			}
		}
		fault := func(format string, args ...any) error {
			return fmt.Errorf("%s: %q: %s; an etc_layer defines users and groups, or give a number", attribute, user, fmt.Sprintf(format, args...))
		}
		switch {
		case list == nil || list.Unknown != "" || slices.Contains(list.Names, part.name):
		case list.Removed:
			return fault("nobody can tell who the %s %q is, since the image has no %s", part.what, part.name, part.file)
		default:
			return fault("there is no %s %q: the image's %s (%s) has %s", part.what, part.name, part.file, of, namesText(list.Names))
		}
	}
	return nil
}

// saysUser is who says the user, in the words of a message.
func (s *Settings) saysUser(say *said, base *Base) string {
	switch {
	case s.User != "":
		return "user"
	case say.config.User != "" || base == nil:
		return "config_json: User"
	}
	return fmt.Sprintf("base %s: user", base.Name)
}

// namesText lists names, of many the first.
func namesText(names []string) string {
	switch n := len(names) - maxShownNames; {
	case len(names) == 0:
		return "none"
	case n > 0:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxShownNames], ", "), n)
	}
	return strings.Join(names, ", ")
}

// layerName is what messages call layer i of an image, counted from 0.
func layerName(l *digestfile.File, i int) string {
	if l.Name == "" {
		return fmt.Sprintf("layer %d of the image, %s", i+1, l.Descriptor.Digest)
	}
	return fmt.Sprintf("layer %d of the image, %s", i+1, l.Name)
}
