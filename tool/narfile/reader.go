package narfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/rules-strata/rules_strata/tool/store"
)

// fileBufferSize is what is asked of a file at a time.
const fileBufferSize = 64 << 10

// File says what a binary cache promises of a NAR and of the file it is in.
type File struct {
	// StorePath is the path whose NAR it is. Errors don't name it: who reads several does.
	StorePath store.Path
	// Compression is one of [Compressions].
	Compression string
	// FileHash is the hash of the file as it is stored; zero: not checked.
	FileHash store.Hash
	// FileSize is the file's length in bytes; -1: not checked, but bounded by NarSize.
	FileSize int64
	// NarHash and NarSize (in bytes) are those of the NAR in it; both always checked.
	NarHash store.Hash
	NarSize int64
}

// DecodeError says that a file is not what its compression's format wants.
type DecodeError struct {
	// Compression is the format, such as "xz".
	Compression string
	// Offset is how many bytes of the file the decoder had taken, some of them ahead of the fault.
	Offset int64
	// Err is the decoder's error; [io.ErrUnexpectedEOF] if the file is cut, [ErrWindow] if it wants too much memory.
	Err error
}

// Error names format and offset.
func (e *DecodeError) Error() string {
	return fmt.Sprintf("bad %s data at or before byte %d of the file: %s", e.Compression, e.Offset, plainText(e.Err))
}

// Unwrap returns e.Err.
func (e *DecodeError) Unwrap() error { return e.Err }

// Reader reads NAR files, one after the other, each begun by [Reader.Reset].
// It keeps its decoders, and so their windows, from file to file. The zero Reader is ready for Reset.
type Reader struct {
	file   File
	source source
	buf    *bufio.Reader // over source
	dec    decoders
	in     io.Reader // the open decoder; nil before the first Read
	nar    *store.VerifiedReader
	err    error
}

var errNoFile = errors.New("narfile: Read before Reset")

// Reset begins to read the file f from src. Its error is about f; what is wrong with the bytes, Read says. The caller
// closes src.
func (r *Reader) Reset(src io.Reader, f File) error {
	r.err = r.reset(src, f)
	return r.err
}

func (r *Reader) reset(src io.Reader, f File) error {
	if err := CheckCompression(f.Compression); err != nil {
		return err
	}
	if f.NarHash.IsZero() || f.NarSize < 0 {
		return errors.New("narfile: a file without NarHash and NarSize can't be checked")
	}
	r.file = f
	r.source.reset(src, &r.file)
	r.in = nil
	if r.buf == nil {
		r.buf = bufio.NewReaderSize(&r.source, fileBufferSize)
		r.nar = store.NewVerifiedReader(nil, 0, store.Hash{}, "Nar")
	}
	r.buf.Reset(&r.source)
	r.nar.Reset((*decoded)(r), f.NarSize, f.NarHash, "Nar")
	return nil
}

// Read gives the NAR's bytes, never more than NarSize, and [io.EOF] only if all
// that the File says of them holds. Wrong sizes and hashes are
// [store.HashMismatchError]s, damaged compression a [DecodeError]; errors of the source are returned as they are.
func (r *Reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if r.nar == nil {
		return 0, errNoFile
	}
	n, err := r.nar.Read(p)
	switch {
	case err == io.EOF:
		r.err = r.finish()
	case err != nil:
		r.err = r.explain(err)
	}
	return n, r.err
}

// Close lets go of the decoders' memory. The Reader can be Reset again.
func (r *Reader) Close() error {
	r.dec.close()
	*r = Reader{}
	return nil
}

// decoded is the decompressed file before any check.
type decoded Reader

func (d *decoded) Read(p []byte) (n int, err error) {
	r := (*Reader)(d)
	if r.in == nil {
		in, err := r.dec.open(r.file.Compression, r.buf)
		if err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF // An empty file is no compressed one.
			}
			return 0, r.decodeError(err)
		}
		r.in = in
	}
	n, err = r.in.Read(p)
	switch {
	case err == nil:
	case err == io.EOF && (r.source.err == nil || r.source.err == io.EOF):
	default: // Also an io.EOF that the decoder made of the source's error.
		err = r.decodeError(err)
	}
	return n, err
}

// decodeError says what was wrong with the file, be it that the decoder said it or that it was why the decoder stopped.
func (r *Reader) decodeError(err error) error {
	if s := r.source.err; s != nil && s != io.EOF {
		return s
	}
	unused := r.buf.Buffered()
	if in, ok := r.in.(interface{ Buffered() int }); ok && r.in != r.buf {
		unused += in.Buffered()
	}
	return &DecodeError{Compression: r.file.Compression, Offset: r.source.n - int64(unused), Err: commonError(err)}
}

// finish checks the file, whose NAR was right, behind the NAR's end. The
// decoders of today read on to the file's end themselves; one that didn't would be found out here.
func (r *Reader) finish() error {
	_, err := r.buf.Peek(1)
	switch {
	case err == nil:
		return r.decodeError(errors.New("more bytes follow the compressed stream"))
	case r.source.err != nil:
		return r.source.err // io.EOF only if size and hash of the file are right.
	}
	return err
}

// explain looks for the cause of err: a file that was damaged on its way
// shows as any fault of decompression or as another NAR. So the rest of the
// file, which FileSize bounds, is read for its hash, and if that is wrong, the error says so first.
func (r *Reader) explain(err error) error {
	if r.file.FileHash.IsZero() {
		return err
	}
	if r.source.err == nil {
		// Its error stays in r.source.err.
		_, _ = io.Copy(io.Discard, &r.source)
	}
	var mismatch *store.HashMismatchError
	if errors.As(r.source.err, &mismatch) && err != r.source.err {
		return fmt.Errorf("%w; the damage shows as: %w", mismatch, err)
	}
	return err
}
