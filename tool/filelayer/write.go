package filelayer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/layer"
	"github.com/rules-strata/rules_strata/tool/store"
)

// Sources are where a layer's entries come from.
type Sources struct {
	// Dir is the folder that relative names of files on disk are relative to; "": the current one.
	Dir string
	// NAR returns the NAR of a store path that an entry is about. Nil: there are none.
	NAR func(store.Path) (layer.NAR, error)
	// Follow, if set, returns the NAR of a store path that a symlink to a directory leads to, out of one that an entry links;
	// false: none is to be had. What is in the directory is linked then in place of the symlink, where the symlink is
	// in its store path's root, as bin in many a profile, or another store path has a directory of the same name.
	Follow func(store.Path) (layer.NAR, bool)
	// TempFile creates a file for what can be read but once: contents of compressed tars, files that are copied out of NARs. It
	// must not be seen by others, and is gone once closed. Nil: in the system's folder for temporary files.
	TempFile func() (*os.File, error)
}

// Write writes the layer that s says to w, and returns what its digest file says. Of the options it heeds Compression,
// Level, Workers and Mtree. Errors name the entry (its By), what was wanted and what was found; of faults in the
// specification up to ten are told at once. After an error, w has got some part of a blob that must not be used, or nothing.
func Write(ctx context.Context, w io.Writer, s *Spec, src Sources, o layer.Options) (*digestfile.File, error) {
	if err := layer.CheckLevel(o.Compression, o.Level); err != nil {
		return nil, err
	}
	nars, err := src.nars(s)
	if err != nil {
		return nil, err
	}
	var g *gatherer
	var nodes []*node
	defer func() {
		if g != nil {
			g.close()
		}
	}()
	// A NAR with wrong bytes is taken from elsewhere, if it is there.
	err = layer.Retry(nars, func() (err error) {
		if g != nil {
			g.close()
		}
		g = &gatherer{ctx: ctx, spec: s, src: src, nars: nars}
		nodes, err = g.gather()
		return err
	})
	if err != nil {
		return nil, err
	}
	return layer.WriteTar(ctx, w, o, func(ctx context.Context, t *layer.Tar) error {
		return writeNodes(ctx, t, s, nodes)
	})
}

// nars returns the NARs of all store paths that entries are about, each once.
func (s *Sources) nars(spec *Spec) ([]layer.NAR, error) {
	var out []layer.NAR
	seen := map[store.Path]bool{}
	for i := range spec.Entries {
		e := &spec.Entries[i]
		if e.Root == "" && e.RootName != "" {
			return nil, fmt.Errorf("%s: root %q: want a store path", e.by(), e.RootName)
		}
		if e.Root == "" || seen[e.Root] {
			continue
		}
		seen[e.Root] = true
		if s.NAR == nil {
			return nil, fmt.Errorf("%s: %s: no NAR is given of it", e.by(), e.Root)
		}
		n, err := s.NAR(e.Root)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.by(), err)
		}
		out = append(out, n)
	}
	return out, nil
}

// linkKey is what two names of one file have in common.
type linkKey struct {
	contents contents
	mode     uint16
	owner    layer.Owner
	xattrs   string
}

// writeNodes writes nodes in their order.
func writeNodes(ctx context.Context, t *layer.Tar, s *Spec, nodes []*node) error {
	owner := layer.Owner{UserName: "root", GroupName: "root"}
	if s.Owner != nil {
		owner = *s.Owner
	}
	mtime := int64(1)
	if s.MtimeUnix != nil {
		mtime = *s.MtimeUnix
	}
	first := map[linkKey]string{} // the first name of a file with several
	for _, n := range nodes {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		e := &layer.Entry{
			Name: n.path, Type: n.kind, Mode: n.mode, Owner: owner, MtimeUnix: mtime, Link: n.target, Size: n.size,
			Major: n.major, Minor: n.minor, Xattrs: n.xattrs,
		}
		if n.owner != nil {
			e.Owner = *n.owner
		}
		if n.rank == rankImplied && n.kind == layer.TypeDirectory && n.owner == nil {
			e.Owner = layer.Owner{UserName: "root", GroupName: "root"} // Who has a file in /srv doesn't have /srv.
		}
		if n.kind != layer.TypeRegular {
			if err := t.Add(e, nil); err != nil {
				return fmt.Errorf("%s: %w", n.by, err)
			}
			continue
		}
		if n.shared {
			key := linkKey{n.contents, e.Mode, e.Owner, fmt.Sprintf("%q", e.Xattrs)}
			if name, ok := first[key]; ok {
				e.Type, e.Link, e.Size = layer.TypeLink, name, 0
				if err := t.Add(e, nil); err != nil {
					return fmt.Errorf("%s: %w", n.by, err)
				}
				continue
			}
			first[key] = n.path
		}
		if err := writeFile(t, e, n); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("%s: %s: %w", n.by, n.path, err)
		}
	}
	return nil
}

func writeFile(t *layer.Tar, e *layer.Entry, n *node) error {
	in, err := n.contents.open()
	if err != nil {
		return err
	}
	defer in.Close()
	if err := t.Add(e, in); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("it changed while it was read, or is cut off: it had %d bytes", n.size)
		}
		return err
	}
	var more [1]byte
	if got, _ := in.Read(more[:]); got > 0 {
		return fmt.Errorf("it changed while it was read: it had %d bytes", n.size)
	}
	return nil
}
