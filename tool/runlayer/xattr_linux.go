package runlayer

import (
	"archive/tar"
	"errors"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rules-strata/rules_strata/tool/layer"
)

const paxXattr = "SCHILY.xattr."

// maxXattrs is what Linux allows a file's attribute names to take, and a value.
const maxXattrs = 64 << 10

// isKept reports whether an extended attribute belongs to a file rather than to the machine: labels of security modules and notes
// of overlays don't.
func isKept(name string) bool {
	return name == "security.capability" ||
		name == "system.posix_acl_access" || name == "system.posix_acl_default" ||
		strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "user.overlay.")
}

func sortXattrs(xattrs []layer.Xattr) []layer.Xattr {
	slices.SortFunc(xattrs, func(a, b layer.Xattr) int { return strings.Compare(a.Name, b.Name) })
	return xattrs
}

// xattrsOf are a tar entry's.
func xattrsOf(h *tar.Header) (out []layer.Xattr) {
	for k, v := range h.PAXRecords {
		if name, ok := strings.CutPrefix(k, paxXattr); ok && isKept(name) {
			out = append(out, layer.Xattr{Name: name, Value: v})
		}
	}
	return sortXattrs(out)
}

// readXattrs are a file's on the disk.
func readXattrs(at string) (out []layer.Xattr, err error) {
	names := make([]byte, maxXattrs)
	n, err := unix.Llistxattr(at, names)
	switch {
	case errors.Is(err, unix.ENOTSUP):
		return nil, nil
	case err != nil:
		return nil, err
	}
	value := make([]byte, maxXattrs)
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names[:n]), "\x00"), "\x00") {
		if !isKept(name) {
			continue
		}
		n, err := unix.Lgetxattr(at, name, value)
		if err != nil {
			return nil, err
		}
		out = append(out, layer.Xattr{Name: name, Value: string(value[:n])})
	}
	return sortXattrs(out), nil
}
