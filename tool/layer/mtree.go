package layer

import (
	"bufio"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"strconv"
)

// mtreeWriter writes what is in a layer as text, in the format of mtree(5) that bsdtar and NetBSD's
// mtree read: the tar's entries in its order, a line each, with full paths.
//
//	#mtree
//	./nix/store/…-hello/bin/hello type=file mode=555 uid=0 gid=0 uname=root gname=root time=1.0 size=4 sha256digest=…
//
// A hard link is a file with hardlink= in place of size and hash; extended attributes are xattr.NAME= in base64, as go-mtree
// has them. In names and link targets all bytes but printable ASCII, and the backslash,
// "#" and "=", are "\" and three octal digits. It is written in the pass that makes the layer. Its
// methods do nothing on nil.
type mtreeWriter struct {
	w    *bufio.Writer
	line []byte
	hash hash.Hash
	sum  [sha256.Size]byte
}

func newMtree(w io.Writer) *mtreeWriter {
	l := &mtreeWriter{w: bufio.NewWriterSize(w, 64<<10), hash: sha256.New()}
	l.line = append(l.line, "#mtree\n"...)
	return l
}

// entry begins a line. The name has no slash at its end.
func (l *mtreeWriter) entry(h *template, mode int, mtime int64, name, link []byte, size int64) error {
	if l == nil {
		return nil
	}
	if mode == noMode {
		mode = int(h.mode)
	}
	b := append(l.line, "./"...)
	b = appendVis(b, name)
	b = append(b, " type="...)
	switch h.block[offType] {
	case typeDirectory:
		b = append(b, "dir"...)
	case typeSymlink:
		b = append(b, "link"...)
	case typeCharDevice:
		b = append(b, "char"...)
	case typeBlockDevice:
		b = append(b, "block"...)
	case typeFIFO:
		b = append(b, "fifo"...)
	default: // A hard link too is the file, under a further name.
		b = append(b, "file"...)
	}
	b = append(b, " mode="...)
	b = strconv.AppendInt(b, int64(mode), 8)
	b = append(b, " uid="...)
	b = strconv.AppendUint(b, uint64(h.owner.UID), 10)
	b = append(b, " gid="...)
	b = strconv.AppendUint(b, uint64(h.owner.GID), 10)
	if h.owner.UserName != "" {
		b = append(b, " uname="...)
		b = appendVis(b, []byte(h.owner.UserName))
	}
	if h.owner.GroupName != "" {
		b = append(b, " gname="...)
		b = appendVis(b, []byte(h.owner.GroupName))
	}
	b = append(b, " time="...)
	b = strconv.AppendInt(b, mtime, 10)
	b = append(b, ".0"...)
	for _, x := range h.xattrs {
		b = append(b, " xattr."...)
		b = appendVis(b, []byte(x.Name))
		b = append(b, '=')
		b = base64.StdEncoding.AppendEncode(b, []byte(x.Value))
	}
	switch h.block[offType] {
	case typeSymlink:
		b = append(b, " link="...)
		b = appendVis(b, link)
	case typeLink:
		b = append(b, " hardlink=./"...)
		b = appendVis(b, link)
	case typeCharDevice, typeBlockDevice:
		b = fmt.Appendf(b, " device=native,%d,%d", h.major, h.minor)
	case typeRegular:
		b = append(b, " size="...)
		b = strconv.AppendInt(b, size, 10)
		l.hash.Reset()
		l.line = b
		return nil // endEntry adds the hash.
	}
	l.line = append(b, '\n')
	return l.flush()
}

// contents are some more bytes of the file whose line was begun.
func (l *mtreeWriter) contents(p []byte) {
	if l != nil {
		l.hash.Write(p)
	}
}

// endEntry ends the line of a file.
func (l *mtreeWriter) endEntry(h *template) error {
	if l == nil || h.block[offType] != typeRegular {
		return nil
	}
	l.line = append(l.line, " sha256digest="...)
	l.line = hex.AppendEncode(l.line, l.hash.Sum(l.sum[:0]))
	l.line = append(l.line, '\n')
	return l.flush()
}

func (l *mtreeWriter) flush() error {
	_, err := l.w.Write(l.line)
	l.line = l.line[:0]
	return mtreeError(err)
}

func (l *mtreeWriter) close() error {
	if l == nil {
		return nil
	}
	return mtreeError(l.w.Flush())
}

// listingError is an error of the listing's writer: no store path's fault.
type listingError struct{ err error }

func (e *listingError) Error() string { return "writing the listing: " + e.err.Error() }
func (e *listingError) Unwrap() error { return e.err }

func mtreeError(err error) error {
	if err != nil {
		return &listingError{err}
	}
	return nil
}

// appendVis appends s as vis(3) writes it, in octal throughout.
func appendVis(b, s []byte) []byte {
	for _, c := range s {
		if c > ' ' && c <= '~' && c != '\\' && c != '#' && c != '=' {
			b = append(b, c)
		} else {
			b = append(b, '\\', '0'+c>>6, '0'+c>>3&7, '0'+c&7)
		}
	}
	return b
}
