package filelayer

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/layer"
)

// mediaTypes are those of OCI's image-spec (layer.md), by compression.
var mediaTypes = map[string]string{
	layer.Gzip: ocispec.MediaTypeImageLayerGzip,
	layer.Zstd: ocispec.MediaTypeImageLayerZstd,
	layer.None: ocispec.MediaTypeImageLayer,
}

// Verbatim reads a tar, plain or compressed by gzip or zstd, that is to be a layer byte for byte, and returns what its
// digest file says. Compression, if it isn't empty, is what it must be. A tar that clients would refuse or
// read otherwise than it is meant is an error: one that is cut off, or whose names are absolute or lead out.
func Verbatim(ctx context.Context, r io.Reader, compression string) (*digestfile.File, error) {
	blob := &hashingReader{r: &cancellable{ctx, r}, h: sha256.New()}
	buffered := bufio.NewReaderSize(blob, 256<<10)
	head, err := buffered.Peek(headSize)
	if len(head) == 0 {
		if err == io.EOF {
			err = errors.New("an empty file is no tar")
		}
		return nil, err
	}
	found := compressionOf(head)
	if compression != "" && found != compression {
		return nil, fmt.Errorf("want the compression %s, found %s", compression, found)
	}
	in, err := decompress(buffered, found)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", found, err)
	}
	defer in.Close()
	plain := &hashingReader{r: in, h: sha256.New()}
	var survey digestfile.Survey
	entries, err := checkTar(plain, &survey)
	if err == nil {
		_, err = io.Copy(io.Discard, plain)
	}
	if err == nil {
		_, err = io.Copy(io.Discard, buffered)
	}
	if err == nil && (plain.zeros < endSize || plain.n%512 != 0) {
		err = errNoEnd
	}
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	file := &digestfile.File{
		FormatVersion:    digestfile.FormatVersion,
		Descriptor:       ocispec.Descriptor{MediaType: mediaTypes[found], Digest: blob.digest(), Size: blob.n},
		DiffID:           plain.digest(),
		UncompressedSize: plain.n,
		Compression:      found,
		Entries:          entries,
	}
	survey.Report(file)
	return file, nil
}

// checkTar reads a tar to its end, and counts its entries.
func checkTar(in io.Reader, survey *digestfile.Survey) (entries int64, err error) {
	r := tar.NewReader(in)
	var links symlinks
	for {
		h, err := r.Next()
		if err == io.EOF {
			if entries == 0 {
				return 0, errors.New("it has no entries")
			}
			return entries, nil
		}
		if err != nil {
			return 0, fmt.Errorf("after %d entries: %w", entries, err)
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		entries++
		names := []string{h.Name}
		if h.Typeflag == tar.TypeLink {
			names = append(names, h.Linkname)
		}
		for _, name := range names {
			if _, err := tarName(name); err != nil || strings.HasPrefix(name, "/") {
				return 0, &hintedError{
					fmt.Errorf("entry %.200q: want names relative to the image's root, found %.200q", h.Name, name),
					"a file layer takes a tar apart and normalises it",
				}
			}
		}
		for key := range h.PAXRecords {
			if x, ok := strings.CutPrefix(key, paxXattr); ok && isOverlayNote(x) {
				return 0, &hintedError{
					fmt.Errorf("entry %.200q: its attribute %.200q is a note of an overlay file system, by which lower layers could be hidden", h.Name, x),
					"a file layer takes a tar apart and leaves such notes out; GNU tar does by --xattrs-exclude='*.overlay.*'",
				}
			}
		}
		name, _ := tarName(h.Name)
		if err := touch(survey, &links, name, h); err != nil {
			return 0, fmt.Errorf("entry %.200q: %w", h.Name, err)
		}
		if contents := survey.Entry(name, flagOf(h), r); contents != r {
			if _, err := io.Copy(io.Discard, contents); err != nil {
				return 0, fmt.Errorf("entry %.200q: %w", h.Name, err)
			}
		}
	}
}

// touch notes which store paths an entry reaches into: by its name, by that of the file that it is another name of, since
// clients give it owner and mode of the link, or by symlinks that are in the way to one of them.
func touch(survey *digestfile.Survey, links *symlinks, name string, h *tar.Header) error {
	names, target := []string{name}, ""
	switch h.Typeflag {
	case tar.TypeLink:
		of, _ := tarName(h.Linkname)
		names = append(names, of)
	case tar.TypeSymlink:
		target = h.Linkname
	}
	for _, n := range names {
		at, err := links.place(n)
		if err != nil {
			return err
		}
		if err := survey.TouchAt(name, at, flagOf(h)); err != nil {
			return err
		}
	}
	return links.see(name, target)
}

// flagOf is the type of an entry, the old ones of files as the new one.
func flagOf(h *tar.Header) byte {
	if h.Typeflag == tar.TypeCont {
		return tar.TypeReg
	}
	return h.Typeflag
}

// hintedError is an error with advice.
type hintedError struct {
	error
	hint string
}

func (e *hintedError) Unwrap() error { return e.error }

// Hint is the advice.
func (e *hintedError) Hint() string { return e.hint }

// endSize is the length of the end that POSIX wants a tar to have, two blocks.
const endSize = 1024

var errNoEnd = errors.New("it doesn't end in two blocks of zeros, as a tar does: it is cut off")

// hashingReader hashes and counts what passes through.
type hashingReader struct {
	r     io.Reader
	h     hash.Hash
	n     int64
	zeros int64 // at the end
}

func (r *hashingReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.h.Write(p[:n])
	r.n += int64(n)
	if rest := len(bytes.TrimRight(p[:n], "\x00")); rest > 0 {
		r.zeros = int64(n - rest)
	} else {
		r.zeros += int64(n)
	}
	return n, err
}

func (r *hashingReader) digest() digest.Digest {
	return digest.NewDigest(digest.SHA256, r.h)
}
