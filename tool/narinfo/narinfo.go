package narinfo

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/rules-strata/rules_strata/tool/store"
)

// MaxSize is the greatest length of a narinfo that [Parse] takes, in bytes:
// room for some 50,000 references. Readers stop there.
const MaxSize = 4 << 20

// DefaultCompression is meant where a narinfo has no Compression field.
const DefaultCompression = "bzip2"

// Info is what a narinfo says.
type Info struct {
	// StorePath is the path that all the rest is about. Whether it is the one
	// that was asked for is for the caller to check.
	StorePath store.Path
	// File is the file that holds the NAR; of several, the first.
	File
	// Alternatives are further files that hold the same NAR, compressed
	// otherwise, in the narinfo's order; none in Nix' caches.
	Alternatives []File
	// NarHash and NarSize (in bytes, above 0) are those of the NAR.
	NarHash store.Hash
	NarSize int64
	// References are the store paths that this one refers to, maybe itself among
	// them: sorted, each once, all in StorePath's directory.
	References []store.Path
	// Deriver is the base name of the derivation; "" if unknown.
	Deriver string
	// System is the platform, such as "x86_64-linux"; "" if the narinfo has none. Nothing vouches for it.
	System string
	// Signatures are the Sig fields in their order.
	Signatures []Signature
	// GuixSignature is the Signature field; nil if there is none.
	GuixSignature *GuixSignature
	// CA is the content address, such as "fixed:r:sha256:…"; "" if the path is not content-addressed.
	CA string
}

// File is a file of the cache that holds a NAR.
type File struct {
	// URL is where the file is, relative to the cache, percent-encoded as
	// in the narinfo. It has no scheme and no host and doesn't leave the cache.
	URL string
	// Compression is the field's value, such as "xz"; [DefaultCompression] if it
	// is missing. It may be one that strata doesn't know.
	Compression string
	// FileHash is the hash of the file; zero if the narinfo has none.
	FileHash store.Hash
	// FileSize is the length of the file in bytes; -1 if the narinfo has
	// none, or has 0 as caches write that don't know it.
	FileSize int64
}

// maxFiles bounds the files of one narinfo. Guix has as many as it knows compressions.
const maxFiles = 16

// Files are all files that hold the NAR, in the narinfo's order.
func (i *Info) Files() []File { return append([]File{i.File}, i.Alternatives...) }

// ErrTooLong says that a narinfo is over [MaxSize].
var ErrTooLong = fmt.Errorf("narinfo is longer than %d bytes", MaxSize)

// Parse reads the narinfo b, which must be whole. It keeps nothing of b. Errors
// name the line and the field; the caller adds the file's URL.
func Parse(b []byte) (*Info, error) {
	if len(b) > MaxSize {
		return nil, ErrTooLong
	}
	p := parser{whole: b, files: []File{{FileSize: -1}}, seen: map[string]int{}, fileSeen: map[string]int{}}
	for len(b) > 0 {
		p.line++
		line, rest, ok := bytes.Cut(b, []byte("\n"))
		if !ok {
			return nil, fmt.Errorf("narinfo line %d: want a newline at the end, found %.40q: the file is cut", p.line, line)
		}
		p.above = len(p.whole) - len(b)
		b = rest
		if err := p.field(string(line)); err != nil {
			return nil, fmt.Errorf("narinfo line %d: %w", p.line, err)
		}
	}
	if err := p.finish(); err != nil {
		return nil, fmt.Errorf("narinfo: %w", err)
	}
	return &p.info, nil
}

type parser struct {
	info       Info
	whole      []byte
	line       int
	above      int            // bytes before the line
	seen       map[string]int // field → line
	references []string       // base names, as they stand there
	files      []File
	fileSeen   map[string]int // as seen, but of the last of files
}

// file is the file that a field is about.
func (p *parser) file() *File { return &p.files[len(p.files)-1] }

// repeated says that a field is given again that may be there once.
func (p *parser) repeated(name string) error {
	if before := p.seen[name]; before > 0 {
		return fmt.Errorf("%s: given again after line %d; want it once", name, before)
	}
	p.seen[name] = p.line
	return nil
}

// repeatedOfFile does so for the fields of a file. There may be several files; then each
// begins with its URL, as Guix writes them.
func (p *parser) repeatedOfFile(name string) error {
	before := p.fileSeen[name]
	if name == "URL" && before > 0 {
		if first := slices.Min(slices.Collect(maps.Values(p.fileSeen))); first == before {
			if len(p.files) == maxFiles {
				return fmt.Errorf("URL: want at most %d of them", maxFiles)
			}
			p.files = append(p.files, File{FileSize: -1})
			p.fileSeen = map[string]int{}
			before = 0
		}
	}
	if before > 0 {
		return fmt.Errorf("%s: given again after line %d; want it once for each URL", name, before)
	}
	p.seen[name], p.fileSeen[name] = p.line, p.line
	return nil
}

// field reads one line.
func (p *parser) field(line string) error {
	name, value, ok := strings.Cut(line, ":")
	if !ok {
		return fmt.Errorf("want \"Field: value\", found %.80q", line)
	}
	if strings.HasSuffix(line, "\r") {
		return errors.New("want lines that end in a newline only, found a carriage return before it")
	}
	if strings.IndexByte(line, 0) >= 0 {
		return fmt.Errorf("%.40q: found a NUL", name)
	}
	parse, known := fields[name]
	var err error
	switch {
	case !known || name == "Sig":
	case name == "URL" || name == "Compression" || name == "FileHash" || name == "FileSize":
		err = p.repeatedOfFile(name)
	default:
		err = p.repeated(name)
	}
	if err != nil {
		return err
	}
	// Nix takes the value from two bytes behind the colon, wherever that is: without the space it would read another value than we.
	value, ok = strings.CutPrefix(value, " ")
	if !ok {
		return fmt.Errorf("want a space behind the first colon, found %.80q", line)
	}
	if !known {
		return nil
	}
	if err := parse(p, value); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// fields holds what reads each known field's value. All others are ignored.
var fields = map[string]func(p *parser, v string) error{
	"StorePath": func(p *parser, v string) (err error) {
		p.info.StorePath, err = store.ParsePath(v)
		return err
	},
	"URL": func(p *parser, v string) error {
		p.file().URL = v
		return CheckURL(v)
	},
	"Compression": func(p *parser, v string) error {
		p.file().Compression = v // Empty means the default, too.
		return checkWord(v)
	},
	"FileHash": func(p *parser, v string) (err error) {
		p.file().FileHash, err = store.ParseHash(v)
		return err
	},
	"FileSize": func(p *parser, v string) error {
		n, err := parseSize(v)
		if n > 0 {
			p.file().FileSize = n
		}
		return err
	},
	"NarHash": func(p *parser, v string) (err error) {
		p.info.NarHash, err = store.ParseHash(v)
		return err
	},
	"NarSize": func(p *parser, v string) (err error) {
		p.info.NarSize, err = parseSize(v)
		if err == nil && p.info.NarSize == 0 {
			err = errors.New("want a size above 0, found 0")
		}
		return err
	},
	"References": func(p *parser, v string) error {
		for base := range strings.SplitSeq(v, " ") {
			if base == "" {
				continue
			}
			if err := store.CheckBase(base); err != nil {
				return err
			}
			p.references = append(p.references, base)
		}
		return nil
	},
	"Deriver": func(p *parser, v string) error {
		if v == "unknown-deriver" {
			return nil
		}
		p.info.Deriver = v
		return store.CheckBase(v)
	},
	"System": func(p *parser, v string) error {
		p.info.System = v
		return checkWord(v)
	},
	"Sig": func(p *parser, v string) error {
		s, err := ParseSignature(v)
		p.info.Signatures = append(p.info.Signatures, s)
		return err
	},
	"Signature": func(p *parser, v string) (err error) {
		p.info.GuixSignature, err = parseGuixSignature(v)
		if err != nil {
			return err
		}
		p.info.GuixSignature.signed = sha256.Sum256(p.whole[:p.above])
		for _, name := range []string{"StorePath", "NarHash", "NarSize", "References"} {
			if p.seen[name] == 0 {
				p.info.GuixSignature.uncovered = append(p.info.GuixSignature.uncovered, name)
			}
		}
		return nil
	},
	"CA": func(p *parser, v string) error {
		p.info.CA = v
		return checkWord(v)
	},
}

// finish checks what only the whole can show.
func (p *parser) finish() error {
	for _, name := range []string{"StorePath", "URL", "NarHash", "NarSize"} {
		if p.seen[name] == 0 {
			return fmt.Errorf("%s missing", name)
		}
	}
	for i := range p.files {
		f := &p.files[i]
		if f.Compression == "" && len(p.files) > 1 {
			return fmt.Errorf("no Compression of the URL %.200q, where there are several", f.URL)
		}
		if f.Compression == "" {
			f.Compression = DefaultCompression
		}
	}
	p.info.File = p.files[0]
	if len(p.files) > 1 {
		p.info.Alternatives = p.files[1:]
	}
	slices.Sort(p.references)
	p.references = slices.Compact(p.references)
	p.info.References = make([]store.Path, len(p.references))
	for i, base := range p.references { // Both parts were checked as they were read.
		p.info.References[i] = store.Path(p.info.StorePath.Dir() + "/" + base)
	}
	return nil
}

// parseSize reads a number of bytes: decimal digits, below 2^63.
func parseSize(s string) (int64, error) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, fmt.Errorf("want a number of bytes, found %.40q", s)
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("want a number of bytes below 2^63, found %.40q", s)
	}
	return n, nil
}

// checkWord takes what may be shown to people as it is: no space, no control character.
func checkWord(s string) error {
	if i := strings.IndexFunc(s, func(c rune) bool { return c <= ' ' || c >= 0x7f }); i >= 0 {
		return fmt.Errorf("want printable ASCII without spaces, found %.80q", s)
	}
	return nil
}

// CheckURL says what keeps u from being a narinfo's URL, which names a file below the cache: it must be a
// relative path, with or without a query, that stays below also when a server
// or a file system decodes it.
func CheckURL(u string) error {
	if u == "" {
		return errors.New("want a path relative to the cache, found none")
	}
	if err := checkWord(u); err != nil {
		return err
	}
	path, _, _ := strings.Cut(u, "?")
	if strings.ContainsAny(u, "#\\") {
		return fmt.Errorf("want a path relative to the cache, without # and \\, found %.200q", u)
	}
	for i, part := range strings.Split(path, "/") {
		name, err := url.PathUnescape(part)
		switch {
		case err != nil:
			return fmt.Errorf("%.200q: %w", u, err)
		case i == 0 && strings.Contains(part, ":"):
			return fmt.Errorf("want a path relative to the cache, found one with a scheme or host: %.200q", u)
		case name == "" || name == "." || name == "..":
			return fmt.Errorf("want a path that stays in the cache, found the component %q in %.200q", part, u)
		case strings.ContainsAny(name, "/\\\x00"):
			return fmt.Errorf("want a path that stays in the cache, found an encoded slash, backslash or NUL in %.200q", u)
		}
	}
	return nil
}
