package ondemand

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/rules-strata/rules_strata/tool/imagefile"
	"github.com/rules-strata/rules_strata/tool/layer"
	"github.com/rules-strata/rules_strata/tool/layertar"
	"github.com/rules-strata/rules_strata/tool/nar"
	"github.com/rules-strata/rules_strata/tool/narfile"
	"github.com/rules-strata/rules_strata/tool/store"
)

// outlines are NARs of store paths with all that these have but the files' contents: enough to make links to what is in them. They
// are read out of layers that the cache has, so that no NAR is fetched and decompressed a second time.
type outlines struct {
	cache    *cache
	where    map[store.Path]digest.Digest // the layers
	tempFile func() (*os.File, error)

	known map[store.Path]layer.NAR
	files []*os.File
}

// read reads the outlines of paths, each layer once. Of a path whose layer isn't known, or is gone, there is none afterwards.
func (o *outlines) read(ctx context.Context, paths ...store.Path) error {
	wanted := map[digest.Digest]map[string]store.Path{} // by what the tar calls it
	for _, p := range paths {
		d, ok := o.where[p]
		if _, known := o.known[p]; !ok || known {
			continue
		}
		if wanted[d] == nil {
			wanted[d] = map[string]store.Path{}
		}
		wanted[d][strings.TrimPrefix(string(p), "/")] = p
	}
	for d, names := range wanted {
		if err := o.readLayer(ctx, d, names); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("layer %s: %w", d, err)
		}
	}
	return nil
}

// readLayer reads the outlines of some of the store paths in a layer. Their entries follow one another there, in a NAR's order.
func (o *outlines) readLayer(ctx context.Context, d digest.Digest, names map[string]store.Path) error {
	blob, err := o.cache.blob(ctx, d)
	if err != nil {
		return err
	}
	defer blob.Close()
	var now *outline
	err = layertar.Each(ctx, func() (io.ReadCloser, error) {
		return imagefile.Decompress(bufio.NewReaderSize(blob, 128<<10))
	}, func(h *tar.Header, _ io.Reader) error {
		name := strings.TrimSuffix(h.Name, "/")
		if now != nil {
			if below, ok := strings.CutPrefix(name, now.name+"/"); ok {
				return now.add(h, below)
			}
			if err := o.finish(now); err != nil {
				return err
			}
			now = nil
		}
		p, ok := names[name]
		if !ok {
			return nil
		}
		f, err := o.tempFile()
		if err != nil {
			return err
		}
		o.files = append(o.files, f)
		now = newOutline(name, p, f)
		return now.add(h, "")
	})
	if err == nil && now != nil {
		err = o.finish(now)
	}
	return err
}

func (o *outlines) finish(of *outline) error {
	n, err := of.finish()
	if err != nil {
		return err
	}
	if o.known == nil {
		o.known = map[store.Path]layer.NAR{}
	}
	o.known[of.path] = n
	return nil
}

// nar returns the outline of a path, if it was read.
func (o *outlines) nar(p store.Path) (layer.NAR, bool) {
	n, ok := o.known[p]
	return n, ok
}

// close removes what was read.
func (o *outlines) close() {
	for _, f := range o.files {
		f.Close()
	}
}

// outline is a NAR that is being written.
type outline struct {
	name string
	path store.Path
	file *os.File
	size int64
	sum  hash.Hash
	nar  *nar.Writer
}

func newOutline(name string, p store.Path, f *os.File) *outline {
	o := &outline{name: name, path: p, file: f, sum: sha256.New()}
	o.nar = nar.NewWriter(o)
	return o
}

// Write is what becomes of the NAR's bytes.
func (o *outline) Write(b []byte) (int, error) {
	o.sum.Write(b)
	o.size += int64(len(b))
	return o.file.Write(b)
}

// add adds an entry, below the store path.
func (o *outline) add(h *tar.Header, below string) error {
	e := nar.Entry{Path: []byte(below)}
	switch h.Typeflag {
	case tar.TypeReg:
		e.Kind, e.Executable = nar.Regular, h.Mode&0o111 != 0
	case tar.TypeDir:
		e.Kind = nar.Directory
	case tar.TypeSymlink:
		e.Kind, e.Target = nar.Symlink, []byte(h.Linkname)
	default:
		return fmt.Errorf("%s: want a file, directory or symlink, found the type %q", h.Name, h.Typeflag)
	}
	return o.nar.WriteEntry(&e)
}

// finish returns the NAR. It is open for as long as the file is.
func (o *outline) finish() (layer.NAR, error) {
	if err := o.nar.Close(); err != nil {
		return layer.NAR{}, err
	}
	return layer.NAR{
		File: narfile.File{StorePath: o.path, Compression: "none", FileSize: -1, NarHash: store.Hash(o.sum.Sum(nil)), NarSize: o.size},
		Open: func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(io.NewSectionReader(o.file, 0, o.size)), nil
		},
	}, nil
}
