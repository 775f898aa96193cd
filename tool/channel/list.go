package channel

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/narfile"
	"github.com/rules-strata/rules_strata/tool/store"
)

const (
	// maxSize bounds a list's text, in bytes: 300,000 store paths come to some 20 MB.
	maxSize = 128 << 20
	// maxPaths bounds a list's lines.
	maxPaths = 1 << 21
	// maxLine bounds a line, in bytes, and is what is read at a time.
	maxLine = 64 << 10
	// maxMatches bounds the store paths that one query is remembered by.
	maxMatches = 4096
)

// magics are the first bytes of the compressed forms in which a list may be.
var magics = []struct{ compression, magic string }{
	{"xz", "\xfd7zXZ\x00"},
	{"zstd", "\x28\xb5\x2f\xfd"},
	{"gzip", "\x1f\x8b"},
	{"bzip2", "BZh"},
}

// Search reads the list at url, and returns what it says of each of queries, in
// their order. The list may be compressed by xz, zstd, gzip or bzip2, whatever its name.
// It is read as a stream, and only what matches a query is kept. Read, if not nil, is told of the bytes as they come.
func Search(ctx context.Context, client *fetch.Client, url string, queries []Query, read func(n int)) ([]*Result, error) {
	in, err := client.Open(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("store-paths list %w", err)
	}
	defer in.Close()
	results, err := scan(&passing{r: in, read: read}, queries)
	if err != nil {
		return nil, fmt.Errorf("store-paths list %s: %w", fetch.Redact(url), err)
	}
	return results, nil
}

// Scan is [Search] in an open list. Its errors don't name the list.
func Scan(r io.Reader, queries []Query) ([]*Result, error) {
	return scan(&passing{r: r}, queries)
}

func scan(source *passing, queries []Query) ([]*Result, error) {
	in := bufio.NewReaderSize(source, maxLine)
	for _, m := range magics {
		if start, _ := in.Peek(len(m.magic)); string(start) == m.magic {
			contents, err := narfile.Decompress(in, m.compression, maxSize)
			if err != nil {
				return nil, err
			}
			defer contents.Close()
			in = bufio.NewReaderSize(contents, maxLine)
			break
		}
	}
	results := make([]*Result, len(queries))
	for i, q := range queries {
		results[i] = &Result{Query: q, near: near{want: plain(q.Name)}}
	}
	err := scanLines(in, func(p store.Path) error {
		for _, r := range results {
			if err := r.add(p); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && source.err != nil {
		err = source.err // and not what a decoder made of it
	}
	if err != nil {
		return nil, err
	}
	return results, nil
}

// passing keeps the error, but for io.EOF, that its reader gives.
type passing struct {
	r    io.Reader
	read func(n int) // nil, or told of the bytes
	err  error
}

func (p *passing) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if p.read != nil && n > 0 {
		p.read(n)
	}
	if err != nil && err != io.EOF {
		p.err = err
	}
	return n, err
}

// scanLines calls f for each store path of a list's text.
func scanLines(in *bufio.Reader, f func(store.Path) error) error {
	var dir string
	size := int64(0)
	for n := 1; ; n++ {
		at := func(err error) error { return fmt.Errorf("line %d: %w", n, err) }
		line, err := in.ReadSlice('\n')
		switch {
		case err == bufio.ErrBufferFull:
			return at(fmt.Errorf("longer than %d bytes: this is no list of store paths", maxLine-1))
		case err == io.EOF && len(line) == 0:
			if n == 1 {
				return errors.New("it is empty")
			}
			return nil
		case err != nil && err != io.EOF:
			return err
		}
		if size += int64(len(line)); size > maxSize || n > maxPaths {
			return at(fmt.Errorf("it has more than %d store paths, or than %d bytes of contents", maxPaths, maxSize))
		}
		p, err := store.ParsePath(string(bytes.TrimSuffix(line, []byte("\n"))))
		if err != nil {
			if n == 1 {
				err = fmt.Errorf("this is no list of store paths, one on each line: %w", err)
			}
			return at(err)
		}
		if dir == "" {
			dir = p.Dir()
		}
		if p.Dir() != dir {
			return at(fmt.Errorf("%s is not in %s as the paths before it", p, dir))
		}
		if err := f(p); err != nil {
			return at(err)
		}
	}
}
