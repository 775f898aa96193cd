package layer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/nar"
	"github.com/rules-strata/rules_strata/tool/narfile"
	"github.com/rules-strata/rules_strata/tool/store"
)

// Type says what an entry of a layer is.
type Type byte

// The types of entries, as a tar marks them.
const (
	TypeRegular     Type = typeRegular
	TypeLink        Type = typeLink // a further name of a file before it
	TypeSymlink     Type = typeSymlink
	TypeCharDevice  Type = typeCharDevice
	TypeBlockDevice Type = typeBlockDevice
	TypeDirectory   Type = typeDirectory
	TypeFIFO        Type = typeFIFO
)

// String is the type in words.
func (t Type) String() string {
	switch t {
	case TypeRegular:
		return "file"
	case TypeLink:
		return "hard link"
	case TypeSymlink:
		return "symlink"
	case TypeCharDevice:
		return "character device"
	case TypeBlockDevice:
		return "block device"
	case TypeDirectory:
		return "directory"
	case TypeFIFO:
		return "named pipe"
	}
	return fmt.Sprintf("Type(%q)", byte(t))
}

// Entry is an entry of a layer that is not made of NARs.
type Entry struct {
	// Name is the path in the image, relative and clean: "etc/passwd". A directory's too has no slash at its end.
	Name string
	Type Type
	// Mode is the permissions with set-user-ID, set-group-ID and sticky bit: at most 0o7777.
	Mode  uint16
	Owner Owner
	// MtimeUnix is the time of the last change, in seconds since 1970: 0 to 2^33-1.
	MtimeUnix int64
	// Link is a symlink's target, or the Name of the file that a hard link is a further name of.
	Link string
	// Size is the length of a regular file's contents, in bytes.
	Size int64
	// Major and Minor are a device's numbers, each below 2^21.
	Major, Minor uint32
	// Xattrs are extended attributes, sorted by name.
	Xattrs []Xattr
}

// Xattr is an extended attribute, as "security.capability". In a tar it is a pax record "SCHILY.xattr.NAME", as GNU tar, bsdtar and
// all container clients know it.
type Xattr struct {
	Name, Value string
}

// Tar takes the entries of a layer that is not made of NARs.
type Tar struct {
	w      *tarWriter
	survey digestfile.Survey
}

// WriteTar writes a layer to w of the entries that write adds, and returns what its digest file says. Which entries, and
// in what order, is write's to answer for: parents should come before what is in them, and no name twice. Of the options
// it heeds those that are about how, not about what: Compression, Level, Workers and Mtree.
//
// Write's ctx ends, too, when a later stage fails. After an error, w has got some part of a blob that must not be used.
func WriteTar(ctx context.Context, w io.Writer, o Options, write func(context.Context, *Tar) error) (*digestfile.File, error) {
	return o.blob(ctx, w, o.workers(), func(ctx context.Context, _ context.CancelCauseFunc, r *ring, out *digestfile.File) error {
		t := &Tar{w: &tarWriter{tarFormat: newTarFormat(Owner{}, 0), out: r}}
		if o.Mtree != nil {
			t.w.mtree = newMtree(o.Mtree)
		}
		if err := write(ctx, t); err != nil {
			return err
		}
		out.Entries = t.w.entries
		t.survey.Report(out)
		if err := t.w.end(); err != nil {
			return err
		}
		return t.w.mtree.close()
	})
}

// Add writes an entry, and a regular file's contents: Size bytes out of contents, which is read no further. [io.ErrUnexpectedEOF] says that there are less.
func (t *Tar) Add(e *Entry, contents io.Reader) error {
	if err := e.check(); err != nil {
		return fmt.Errorf("%q: %w", e.Name, err)
	}
	if err := t.survey.Touch(e.Name, byte(e.Type)); err != nil {
		return fmt.Errorf("%q: %w", e.Name, err)
	}
	contents = t.survey.Entry(e.Name, byte(e.Type), contents)
	h := newTemplate(byte(e.Type), int64(e.Mode), e.MtimeUnix, e.Owner)
	h.device(e)
	for _, x := range e.Xattrs {
		h.pax = appendRecord(h.pax, "SCHILY.xattr."+x.Name, x.Value)
	}
	h.xattrs = e.Xattrs
	name := []byte(e.Name)
	if e.Type == TypeDirectory {
		name = append(name, '/')
	}
	link := []byte(e.Link)
	if err := t.w.header(h, noMode, name, link, e.Size); err != nil {
		return err
	}
	if err := t.w.mtree.entry(h, noMode, e.MtimeUnix, []byte(e.Name), link, e.Size); err != nil {
		return err
	}
	if e.Type == TypeRegular {
		if err := t.w.contents(contents, e.Size); err != nil {
			return err
		}
	}
	return t.w.mtree.endEntry(h)
}

// check refuses what a header can't say, or what would be another entry than is meant.
func (e *Entry) check() error {
	switch {
	case e.Name == "" || e.Name == "." || e.Name == ".." || path.Clean(e.Name) != e.Name || e.Name[0] == '/' || strings.HasPrefix(e.Name, "../"):
		return errors.New("want a clean path, relative to the image's root")
	case strings.ContainsRune(e.Name, 0) || strings.ContainsRune(e.Link, 0):
		return errors.New("a NUL can't be part of a name")
	case e.Mode > 0o7777:
		return fmt.Errorf("mode %#o: want at most 07777", e.Mode)
	case e.Size < 0 || e.Size > 0 && e.Type != TypeRegular:
		return fmt.Errorf("a %s of %d bytes", e.Type, e.Size)
	case (e.Link != "") != (e.Type == TypeSymlink || e.Type == TypeLink):
		return fmt.Errorf("a %s with the target %q", e.Type, e.Link)
	case e.Major > maxOctal8 || e.Minor > maxOctal8:
		return fmt.Errorf("device %d,%d: want numbers below 2^21", e.Major, e.Minor)
	}
	for _, x := range e.Xattrs {
		if x.Name == "" || strings.ContainsAny(x.Name, "=\n\x00") {
			return fmt.Errorf("extended attribute %q: want a name without = and line breaks", x.Name)
		}
	}
	if err := checkMtime(e.MtimeUnix); err != nil {
		return err
	}
	return e.Owner.check()
}

// ReadNAR reads a NAR from beginning to end, and calls visit for each entry, with a regular file's contents. What is
// wrong with its bytes is a [PathError] that [Retry] knows; the entries that visit saw are to be believed only if ReadNAR returns nil.
func ReadNAR(ctx context.Context, n NAR, visit func(e *nar.Entry, contents io.Reader) error) error {
	err := readNAR(ctx, n, visit)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil: // Not the NAR's fault.
		return context.Cause(ctx)
	}
	return &PathError{n.File.StorePath, err}
}

func readNAR(ctx context.Context, n NAR, visit func(*nar.Entry, io.Reader) error) error {
	in, err := n.Open(ctx)
	if err != nil {
		return err
	}
	defer in.Close()
	var file narfile.Reader
	defer file.Close()
	if err := file.Reset(in, n.File); err != nil {
		return err
	}
	r := nar.NewReader(&file)
	for {
		e, err := r.Next()
		if err == io.EOF { // And the hashes hold, or it would be another error.
			return nil
		}
		if err == nil {
			err = visit(e, r)
		}
		if err != nil {
			return explain(err, &file)
		}
	}
}

// explain says of an error in a NAR's format that the NAR isn't the one that was promised, where that is so: then that is what
// went wrong, and how it shows is chance. NarSize bounds what is left to read of rest.
func explain(err error, rest io.Reader) error {
	if errors.As(err, new(*nar.FormatError)) {
		var mismatch *store.HashMismatchError
		if _, end := io.Copy(io.Discard, rest); errors.As(end, &mismatch) && !errors.As(err, new(*store.HashMismatchError)) {
			err = fmt.Errorf("%w; the damage shows as: %w", mismatch, err)
		}
	}
	return err
}
