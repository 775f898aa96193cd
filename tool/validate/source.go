package validate

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// maxFiles bounds how many files a layout or an archive may have: an image of
// 125 layers has 131.
const maxFiles = 1 << 16

// archiveName stands for the archive itself in faults.
const archiveName = "archive"

// source is the files of a layout, wherever they are.
type source struct {
	files map[string]file // by slash-joined name relative to the top
	links map[string]link // of an archive, likewise
	close func() error
}

// link is an entry of an archive that stands for another.
type link struct {
	to       string // its name
	typeflag byte
}

type file struct {
	size int64
	open func() (io.ReadCloser, error)
}

// openSource reads the names of what lies at the path: a directory, or a tar.
// Faults of the container itself are added to f; the error is for what can't
// be read at all.
func openSource(ctx context.Context, name string, f *faults) (*source, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return openDir(ctx, name, f)
	}
	return openArchive(ctx, name, f)
}

// openDir lists a directory's files. Links to files are as good as files:
// that is how a layout shares its blobs with what made them.
func openDir(ctx context.Context, dir string, f *faults) (*source, error) {
	dir, err := filepath.EvalSymlinks(dir) // WalkDir would not enter a link.
	if err != nil {
		return nil, err
	}
	s := &source{files: map[string]file{}, close: func() error { return nil }}
	return s, filepath.WalkDir(dir, func(at string, d fs.DirEntry, err error) error {
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		if d.IsDir() {
			return nil
		}
		rel, err := filepath.Rel(dir, at)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rel)
		info, err := os.Stat(at)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			f.add(name, "a link to nothing")
			return nil
		case err != nil:
			return err
		case !info.Mode().IsRegular():
			f.add(name, "want a file, found %s", info.Mode().Type())
			return nil
		case len(s.files) == maxFiles:
			return fmt.Errorf("%s: more than %d files", dir, maxFiles)
		}
		s.files[name] = file{info.Size(), func() (io.ReadCloser, error) { return os.Open(at) }}
		return nil
	})
}

// openTar opens an archive. One that is compressed is decompressed into a file that has no name any more.
func openTar(ctx context.Context, name string) (*os.File, error) {
	in, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	buffered := bufio.NewReaderSize(&contextReader{ctx, in}, bufferSize)
	compression := sniff(buffered)
	if compression == "none" {
		_, err := in.Seek(0, io.SeekStart)
		return in, err
	}
	defer in.Close()
	raw, done, err := decompress(buffered, compression)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", name, compression, err)
	}
	defer done()
	out, err := os.CreateTemp("", "strata-validate-*.tar")
	if err != nil {
		return nil, err
	}
	os.Remove(out.Name())
	n, err := io.CopyBuffer(struct{ io.Writer }{out}, io.LimitReader(raw, maxArchive+1), make([]byte, bufferSize))
	switch {
	case err != nil:
		err = fmt.Errorf("%s: %s: %w", name, compression, err)
	case n > maxArchive:
		err = fmt.Errorf("%s: more than %d bytes when decompressed", name, int64(maxArchive))
	default:
		if _, err = out.Seek(0, io.SeekStart); err == nil {
			return out, nil
		}
	}
	out.Close()
	return nil, err
}

// maxArchive bounds what an archive may come to on the disk when it is decompressed, in bytes.
const maxArchive = 64 << 30

// openArchive lists a tar's files with their places, so that each can be read
// on its own.
func openArchive(ctx context.Context, name string, f *faults) (s *source, err error) {
	in, err := openTar(ctx, name)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			in.Close()
		}
	}()
	s = &source{files: map[string]file{}, links: map[string]link{}, close: in.Close}
	var end int64 // of the last entry
	seen := map[string]bool{}
	// The tar reader seeks over contents and reads headers without a buffer of
	// its own, so the file stands at an entry's contents after Next.
	tr := tar.NewReader(in)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			if len(seen) == 0 {
				return nil, fmt.Errorf("%s: neither a directory nor a tar: %w", name, err)
			}
			f.add(archiveName, "after %d entries: %v", len(seen), err)
			return s, nil
		}
		at, err := in.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		end = at + (h.Size+blockSize-1)/blockSize*blockSize
		entry := strings.TrimSuffix(h.Name, "/")
		switch {
		case seen[entry]:
			f.add(archiveName, "%s is there twice", h.Name)
			continue
		case len(seen) == maxFiles:
			return nil, fmt.Errorf("%s: more than %d entries", name, maxFiles)
		}
		seen[entry] = true
		if !cleanName(entry) {
			f.add(archiveName, "%q: want a clean relative name", h.Name)
			continue
		}
		switch h.Typeflag {
		case tar.TypeDir:
		case tar.TypeReg:
			s.files[entry] = file{h.Size, func() (io.ReadCloser, error) {
				return io.NopCloser(io.NewSectionReader(in, at, h.Size)), nil
			}}
		case tar.TypeSymlink:
			s.links[entry] = link{path.Join(path.Dir(entry), h.Linkname), h.Typeflag}
		case tar.TypeLink:
			s.links[entry] = link{path.Clean(h.Linkname), h.Typeflag}
		default:
			f.addType(entry, h.Typeflag)
		}
	}
	return s, checkEnd(in, end, f)
}

// followLinks makes files of the links to files: docker save writes equal layers so, and skopeo, for older clients, each.
func (s *source) followLinks() {
	const maxLinks = 8 // one after the other
	for name, l := range s.links {
		for range maxLinks {
			next, ok := s.links[l.to]
			if !ok {
				break
			}
			l = next
		}
		if f, ok := s.files[l.to]; ok {
			s.files[name] = f
			delete(s.links, name)
		}
	}
}

// refuseLinks tells of the links that are left.
func (s *source) refuseLinks(f *faults) {
	for _, name := range slices.Sorted(maps.Keys(s.links)) {
		f.addType(name, s.links[name].typeflag)
	}
}

// addType tells of an entry that an archive shouldn't have.
func (f *faults) addType(name string, typeflag byte) {
	f.add(archiveName, "%s: want a file or a directory, found an entry of type %q", name, typeflag)
}

// checkEnd wants a tar to end in two blocks of zeros and nothing else to stand
// behind the offset at which its last entry ends.
func checkEnd(in *os.File, end int64, f *faults) error {
	info, err := in.Stat()
	if err != nil {
		return err
	}
	rest := io.NewSectionReader(in, end, max(info.Size()-end, 0))
	zeros, err := io.CopyBuffer(onlyZeros{}, struct{ io.Reader }{rest}, make([]byte, bufferSize))
	switch {
	case errors.Is(err, errNotZero):
		f.add(archiveName, "bytes follow the end of the tar")
	case err != nil:
		return err
	case zeros < 2*blockSize:
		f.add(archiveName, "the tar does not end in two blocks of zeros")
	}
	return nil
}

var errNotZero = errors.New("not zero")

// onlyZeros takes no other bytes.
type onlyZeros struct{}

func (onlyZeros) Write(p []byte) (int, error) {
	if trailingZeros(p) != len(p) {
		return 0, errNotZero
	}
	return len(p), nil
}

// cleanName says whether a name is relative and means the same wherever it is unpacked.
func cleanName(s string) bool {
	return s != "" && s[0] != '/' && path.Clean(s) == s && s != "." && s != ".." && !strings.HasPrefix(s, "../")
}
