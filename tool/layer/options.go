package layer

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// Options are what a layer's bytes depend on, beside its NARs, and how it is
// made, which its bytes don't depend on. The zero value is a layer as image builders expect it.
type Options struct {
	// Compression is [Gzip] (also when empty), [Zstd] or [None].
	Compression string
	// Level is [LevelFastest], [LevelDefault] (also when empty), [LevelBest] or a
	// decimal number: 1 to 9 for gzip, 1 to 22 for zstd, as their own programs
	// count. The zstd encoder has four levels, which begin at 1, 3, 6 and 10; a number between means the one below.
	Level string

	// AllowWhiteoutNames lets names that begin with ".wh." pass as they are.
	// A container runtime takes them for orders to remove files.
	AllowWhiteoutNames bool
	// Owner is whom the entries of store paths belong to; nil: 0:0, "root". The
	// store directory and its parents belong to 0:0, unless OwnerAbove is set.
	Owner *Owner
	// OwnerAbove gives the store directory and its parents to Owner, too, as later versions of nixpkgs do.
	OwnerAbove bool
	// MtimeUnix is the time of all entries, in seconds since 1970; nil: 1, as in a Nix store.
	MtimeUnix *int64
	// StripPrefix, if not empty, makes a customisation layer of a single store path:
	// what is in this directory of it ("." is the store path itself, "share/x" a directory
	// in it) comes to stand at the image's root. The directory itself,
	// what is beside it, and the store directory aren't written.
	StripPrefix string
	// Exclude are patterns; entries that match one are left out, directories with all that is in them.
	Exclude []Pattern
	// Modes sets the permissions of the files and directories that a pattern
	// matches; the last rule that matches counts. Symlinks have none.
	Modes []ModeRule

	// Workers bounds the encoder's goroutines and the NARs that are decoded side by side;
	// below 1: as many as GOMAXPROCS. The bytes are the same for any number.
	Workers int
	// TempFile creates a file for NARs that are decoded long before their turn
	// comes (xz and others as slow; at most 512 MiB in each). It must not be seen by
	// others, and is gone once closed. Nil, or an error of it: decoding waits instead.
	TempFile func() (*os.File, error)
	// Mtree, if not nil, gets a listing of the layer in the format of mtree(5).
	// On an error it has got some part of it.
	Mtree io.Writer
}

// Owner is the owner of a layer's entries.
type Owner struct {
	UID, GID uint32
	// UserName and GroupName are what an unpacking tool prefers to the numbers if
	// it runs as root and knows them; empty: none. At most 31 bytes of ASCII.
	UserName, GroupName string
}

// ModeRule sets permissions.
type ModeRule struct {
	Pattern Pattern
	// Mode is the permissions with set-user-ID, set-group-ID and sticky bit: at most 0o7777.
	Mode uint16
}

// maxOwnerName is what fits into a ustar header with its NUL.
const maxOwnerName = 31

// tarFormat checks what the options say of the tar.
func (o Options) tarFormat(nars []NAR) (*tarFormat, error) {
	owner, mtime := Owner{UserName: ownerName, GroupName: ownerName}, int64(mtimeUnix)
	if o.Owner != nil {
		owner = *o.Owner
	}
	if o.MtimeUnix != nil {
		mtime = *o.MtimeUnix
	}
	if err := owner.check(); err != nil {
		return nil, err
	}
	if err := checkMtime(mtime); err != nil {
		return nil, err
	}
	if o.StripPrefix != "" {
		if err := checkStripPrefix(o.StripPrefix); err != nil {
			return nil, err
		}
		if len(nars) > 1 {
			return nil, fmt.Errorf("strip prefix %q: want one store path, found %d: their files could not be told apart", o.StripPrefix, len(nars))
		}
	}
	for _, p := range o.Exclude {
		if err := checkExclude(p); err != nil {
			return nil, err
		}
	}
	for _, m := range o.Modes {
		if m.Mode > 0o7777 || m.Pattern.text == "" {
			return nil, fmt.Errorf("mode %#o of %q: want a pattern and at most 07777", m.Mode, m.Pattern.text)
		}
	}
	f := newTarFormat(owner, mtime)
	if o.OwnerAbove {
		f.above = newTemplate(typeDirectory, modeStoreDir, mtime, owner)
	}
	return f, nil
}

// check refuses names that a header has no room for.
func (o Owner) check() error {
	for _, name := range []string{o.UserName, o.GroupName} {
		if len(name) > maxOwnerName || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return fmt.Errorf("owner name %q: want at most %d bytes of printable ASCII", name, maxOwnerName)
		}
	}
	return nil
}

func checkMtime(unix int64) error {
	if unix < 0 || unix > maxOctal12 {
		return fmt.Errorf("mtime %d: want 0 to %d seconds since 1970", unix, int64(maxOctal12))
	}
	return nil
}

func checkExclude(p Pattern) error {
	if p.text == "" || p.text == "." {
		return fmt.Errorf("exclude pattern %q: want one that leaves something of a store path", p.text)
	}
	return nil
}

func checkStripPrefix(p string) error {
	if p == "." {
		return nil
	}
	for c := range strings.SplitSeq(p, "/") {
		if c == "" || c == "." || c == ".." {
			return fmt.Errorf("strip prefix %q: want a directory in the store path, such as \"share/x\", or \".\" for the store path itself", p)
		}
	}
	return nil
}
