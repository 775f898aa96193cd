package layer

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/rules-strata/rules_strata/tool/nar"
)

// What every entry of a layer has unless options say otherwise, whatever the
// NAR: a store object has no owner and no time of its own. The values are those that Nix gives to the
// files of its store.
const (
	mtimeUnix = 1 // as Nix sets it, so that tools which distrust 0 ("no time") are content
	ownerName = "root"

	modeStoreDir   = 0o755 // the store directory and its parents, which no NAR describes
	modeDirectory  = 0o555
	modeRegular    = 0o444
	modeExecutable = 0o555
	modeSymlink    = 0o777
)

// Fields of a ustar header: offset and length (POSIX.1-2017, pax, "ustar
// Interchange Format").
const (
	blockSize = 512

	nameLen    = 100
	prefixLen  = 155
	linkLen    = 100
	offMode    = 100
	offUID     = 108
	offGID     = 116
	offSize    = 124
	offMtime   = 136
	offSum     = 148
	offType    = 156
	offLink    = 157
	offMagic   = 257
	offUname   = 265
	offGname   = 297
	offDevMaj  = 329
	offDevMin  = 337
	offPrefix  = 345
	lenID      = 8
	lenSize    = 12
	maxOctal8  = 1<<21 - 1 // seven octal digits
	maxOctal12 = 1<<33 - 1 // eleven octal digits: one byte less than 8 GiB
)

// Type flags of a ustar header.
const (
	typeRegular     = '0'
	typeLink        = '1'
	typeSymlink     = '2'
	typeCharDevice  = '3'
	typeBlockDevice = '4'
	typeDirectory   = '5'
	typeFIFO        = '6'
	typePax         = 'x'
)

// template is a header block that lacks only name, link target, size and
// checksum, and the sum of its bytes with a checksum of eight spaces.
type template struct {
	block [blockSize]byte
	sum   uint32
	// pax are records that every entry of this kind needs: ids that ustar can't say.
	pax   []byte
	mode  int64
	owner Owner
	// Of an entry that is not out of a NAR, for the listing.
	major, minor uint32
	xattrs       []Xattr
}

func newTemplate(typeflag byte, mode, mtime int64, owner Owner) *template {
	t := &template{mode: mode, owner: owner}
	b := t.block[:]
	octal(b[offMode:offMode+lenID], mode)
	t.id(b[offUID:offUID+lenID], "uid", owner.UID)
	t.id(b[offGID:offGID+lenID], "gid", owner.GID)
	octal(b[offSize:offSize+lenSize], 0)
	octal(b[offMtime:offMtime+lenSize], mtime)
	copy(b[offSum:offType], "        ")
	b[offType] = typeflag
	copy(b[offMagic:], "ustar\x0000")
	copy(b[offUname:], owner.UserName)
	copy(b[offGname:], owner.GroupName)
	octal(b[offDevMaj:offDevMaj+lenID], 0)
	octal(b[offDevMin:offDevMin+lenID], 0)
	t.sum = sum(b)
	return t
}

// id fills in an owner's number, or makes a record of it.
func (t *template) id(field []byte, key string, id uint32) {
	if id > maxOctal8 {
		t.pax = appendRecord(t.pax, key, strconv.FormatUint(uint64(id), 10))
		id = 0
	}
	octal(field, int64(id))
}

// device fills in a device's numbers.
func (t *template) device(e *Entry) {
	t.major, t.minor = e.Major, e.Minor
	octal(t.block[offDevMaj:offDevMaj+lenID], int64(e.Major))
	octal(t.block[offDevMin:offDevMin+lenID], int64(e.Minor))
	t.sum = sum(t.block[:])
}

// tarFormat is what the entries of a layer have in common.
type tarFormat struct {
	above, directory, regular, executable, symlink, pax *template

	mtime int64
}

func newTarFormat(owner Owner, mtime int64) *tarFormat {
	return &tarFormat{
		mtime:      mtime,
		above:      newTemplate(typeDirectory, modeStoreDir, mtime, Owner{}),
		directory:  newTemplate(typeDirectory, modeDirectory, mtime, owner),
		regular:    newTemplate(typeRegular, modeRegular, mtime, owner),
		executable: newTemplate(typeRegular, modeExecutable, mtime, owner),
		symlink:    newTemplate(typeSymlink, modeSymlink, mtime, owner),
		pax:        newTemplate(typePax, 0, 0, Owner{}),
	}
}

// paxName is the name of each extended header itself. Readers that know pax
// never show it; Python's tarfile writes the same.
const paxName = "././@PaxHeader"

var zeros [blockSize]byte

// tarWriter writes a layer's tar: the store directory, then each store path's
// entries in the order they come. It allocates nothing per entry.
//
// A header is plain ustar wherever that can say it. A pax extended header goes
// before it only for
//
//   - a path of over 100 bytes that has no slash at which prefix (155) and name
//     (100) could part, a link target of over 100 bytes, a size of 8 GiB or more;
//   - an owner's number of over seven octal digits;
//   - a name or target that is UTF-8 but not ASCII: ustar doesn't say what such
//     bytes mean, pax says that they are UTF-8.
//
// Bytes that aren't UTF-8 stay as they are in the ustar fields if they fit: all
// of GNU tar, bsdtar, Python and Go read them back so. Where they don't fit, the
// extended header begins with hdrcharset=BINARY (POSIX.1-2017, pax), as Python's tarfile
// writes it. Then all four read back the right bytes; GNU tar warns of the
// "unknown extended header keyword", with exit code 0. Without that record
// bsdtar can't convert the name "from UTF-8 to current locale" and exits with 1.
//
// Fields that an extended header overrides are filled all the same, as far as
// they go: bsdtar takes a symlink whose plain target is empty for a file.
type tarWriter struct {
	*tarFormat
	out     *ring
	entries int64
	mtree   *mtreeWriter // nil: none is wanted

	name    []byte // the entry's path in the tar: stem, slash, path in the NAR
	stem    int    // length of the store path's part of name
	records []byte // of an extended header
}

// storeDir writes the entries of the store directory dir ("/nix/store") and
// its parents.
func (t *tarWriter) storeDir(dir string) error {
	t.name = append(t.name[:0], dir[1:]...)
	t.name = append(t.name, '/')
	for i, c := range t.name {
		if c == '/' {
			if err := t.header(t.above, noMode, t.name[:i+1], nil, 0); err != nil {
				return err
			}
			if err := t.mtree.entry(t.above, noMode, t.mtime, t.name[:i], nil, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// begin sets the directory that the next entries are in, without its slashes; "" is the image's root.
func (t *tarWriter) begin(dir string) {
	t.name = append(t.name[:0], dir...)
	t.stem = len(t.name)
}

// entry writes the header of e, which gets the path below [tarWriter.begin]'s directory,
// and mode unless that is noMode; then the contents of a regular file, which it reads
// from r until they end.
func (t *tarWriter) entry(path []byte, e *nar.Entry, mode int, r io.Reader) error {
	h, size, err := t.entryHeader(path, e, mode)
	if err != nil {
		return err
	}
	if e.Kind == nar.Regular {
		if err := t.contents(r, size); err != nil {
			return err
		}
	}
	return t.mtree.endEntry(h)
}

// entryHeader is entry without the contents, whose size it returns.
func (t *tarWriter) entryHeader(path []byte, e *nar.Entry, mode int) (h *template, size int64, err error) {
	t.name = t.name[:t.stem]
	if len(path) > 0 && t.stem > 0 {
		t.name = append(t.name, '/')
	}
	t.name = append(t.name, path...)
	switch e.Kind {
	case nar.Directory:
		h = t.directory
		t.name = append(t.name, '/')
	case nar.Symlink:
		h = t.symlink
	case nar.Regular:
		h = t.regular
		if e.Executable {
			h = t.executable
		}
		size = e.Size // e is r's own: reading may change it
	default:
		return nil, 0, fmt.Errorf("entry %q: unknown kind %d", e.Path, e.Kind)
	}
	if err := t.header(h, mode, t.name, e.Target, size); err != nil {
		return nil, 0, err
	}
	// What the listing says of it comes first: a target is valid until something is read.
	return h, size, t.mtree.entry(h, mode, t.mtime, bytes.TrimSuffix(t.name, []byte{'/'}), e.Target, size)
}

// contents copies size bytes straight into the ring's buffers, and pads them.
func (t *tarWriter) contents(r io.Reader, size int64) error {
	for n := size; n > 0; {
		room, err := t.out.room()
		if err != nil {
			return err
		}
		if int64(len(room)) > n {
			room = room[:n]
		}
		got, err := r.Read(room)
		t.mtree.contents(room[:got])
		t.out.advance(got)
		n -= int64(got)
		if err == io.EOF && n > 0 {
			return io.ErrUnexpectedEOF
		}
		if err != nil && err != io.EOF {
			return err
		}
	}
	return t.pad(size)
}

func (t *tarWriter) pad(size int64) error {
	_, err := t.out.Write(zeros[:-size&(blockSize-1)])
	return err
}

// end writes the two zero blocks that POSIX asks for. The archive isn't filled
// up to a tape's record of 10,240 bytes: no reader wants it, and Go's writer, whose
// layers all clients know, doesn't either.
func (t *tarWriter) end() error {
	for range 2 {
		if _, err := t.out.Write(zeros[:]); err != nil {
			return err
		}
	}
	return nil
}

// header writes one entry's header, with an extended header before it if need
// be. A directory's name ends in a slash.
func (t *tarWriter) header(h *template, mode int, name, link []byte, size int64) error {
	t.entries++
	slash, fits := splitName(name)
	paxPath := !fits || isText(name)
	paxLink := len(link) > linkLen || isText(link)
	paxSize := size > maxOctal12
	if paxPath || paxLink || paxSize || len(h.pax) > 0 {
		t.records = append(t.records[:0], h.pax...)
		if paxPath && !utf8.Valid(name) || paxLink && !utf8.Valid(link) {
			t.records = appendRecord(t.records, "hdrcharset", "BINARY")
		}
		if paxPath {
			t.records = appendRecord(t.records, "path", name)
		}
		if paxLink {
			t.records = appendRecord(t.records, "linkpath", link)
		}
		if paxSize {
			var digits [20]byte
			t.records = appendRecord(t.records, "size", strconv.AppendInt(digits[:0], size, 10))
			size = 0
		}
		b, err := t.out.block()
		if err != nil {
			return err
		}
		*b = t.pax.block
		copy(b[:nameLen], paxName)
		octal(b[offSize:offSize+lenSize], int64(len(t.records)))
		seal(b, t.pax)
		if _, err := t.out.Write(t.records); err != nil {
			return err
		}
		if err := t.pad(int64(len(t.records))); err != nil {
			return err
		}
	}

	b, err := t.out.block()
	if err != nil {
		return err
	}
	*b = h.block
	switch {
	case paxPath:
		copyASCII(b[:nameLen], name)
	case slash > 0:
		copy(b[offPrefix:offPrefix+prefixLen], name[:slash])
		copy(b[:nameLen], name[slash+1:])
	default:
		copy(b[:nameLen], name)
	}
	if paxLink {
		copyASCII(b[offLink:offLink+linkLen], link)
	} else {
		copy(b[offLink:offLink+linkLen], link)
	}
	if size != 0 {
		octal(b[offSize:offSize+lenSize], size)
	}
	if mode != noMode {
		octal(b[offMode:offMode+lenID], int64(mode))
	}
	seal(b, h)
	return nil
}

// splitName says whether a ustar header can hold name, and at which slash it
// parts into prefix and name; 0: no prefix is needed.
func splitName(name []byte) (slash int, fits bool) {
	if len(name) <= nameLen {
		return 0, true
	}
	// The last slash that leaves a prefix of at most 155 bytes and isn't the
	// one that ends a directory's name.
	end := min(len(name)-1, prefixLen+1)
	slash = bytes.LastIndexByte(name[:end], '/')
	if slash <= 0 || len(name)-slash-1 > nameLen {
		return 0, false
	}
	return slash, true
}

// isText reports whether b is UTF-8, but more than ASCII.
func isText(b []byte) bool { return !isASCII(b) && utf8.Valid(b) }

func isASCII(b []byte) bool {
	for len(b) >= 8 {
		if binary.NativeEndian.Uint64(b)&0x8080808080808080 != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// copyASCII fills a field that an extended header overrides: as much as fits,
// in ASCII, for readers that know no pax.
func copyASCII(dst, src []byte) {
	for i := range copy(dst, src) {
		if dst[i] >= utf8.RuneSelf {
			dst[i] = '?'
		}
	}
}

// appendRecord adds "<length> <key>=<value>\n", the length counting its own digits.
func appendRecord[T string | []byte](dst []byte, key string, value T) []byte {
	n := len(key) + len(value) + len(" =\n")
	length := n + decimals(n)
	length = n + decimals(length) // the digits may bring one digit more
	dst = strconv.AppendInt(dst, int64(length), 10)
	dst = append(dst, ' ')
	dst = append(dst, key...)
	dst = append(dst, '=')
	dst = append(dst, value...)
	return append(dst, '\n')
}

func decimals(n int) int {
	d := 1
	for ; n >= 10; n /= 10 {
		d++
	}
	return d
}

// octal fills a numeric field: leading zeros, ended by a NUL.
func octal(field []byte, v int64) {
	field[len(field)-1] = 0
	for i := len(field) - 2; i >= 0; i-- {
		field[i] = '0' + byte(v&7)
		v >>= 3
	}
}

// seal writes the checksum of b, which was made from h: six digits, NUL, space.
func seal(b *[blockSize]byte, h *template) {
	// Only the fields that differ from the template are summed.
	s := h.sum
	s += sum(b[:offUID]) - sum(h.block[offMode:offUID])
	s += sum(b[offSize:offMtime]) - sum(h.block[offSize:offMtime])
	s += sum(b[offLink:offMagic])
	s += sum(b[offPrefix:])
	octal(b[offSum:offSum+7], int64(s))
	b[offSum+7] = ' '
}

func sum(b []byte) (s uint32) {
	for _, c := range b {
		s += uint32(c)
	}
	return s
}
