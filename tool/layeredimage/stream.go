package layeredimage

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/imagefile"
	"github.com/rules-strata/rules_strata/tool/layer"
	"github.com/rules-strata/rules_strata/tool/nar"
	"github.com/rules-strata/rules_strata/tool/narfile"
	"github.com/rules-strata/rules_strata/tool/store"
)

// Options are what isn't in the document.
type Options struct {
	// Store is the folder that the store paths are in; nil: the document's store_dir itself.
	Store *os.Root
	// Tags are names in place of the document's.
	Tags []string
	// Now is what "now" means.
	Now time.Time
	// Progress, if set, is told of each layer that begins, from 1.
	Progress func(layer, of int)
}

// Stream writes the image as a docker archive. Once ctx ends it fails with its cause.
func Stream(ctx context.Context, w io.Writer, c *Conf, o Options) error {
	tags := []string{c.RepoTag} // As it stands: that is what who reads the archive expects.
	if len(o.Tags) > 0 {
		tags = o.Tags
	}
	for _, t := range tags {
		if _, err := image.ParseReference(t); err != nil {
			return err
		}
	}
	root := o.Store
	if root == nil {
		var err error
		if root, err = os.OpenRoot(c.StoreDir); err != nil {
			return err
		}
		defer root.Close()
	}
	s := &streamer{
		ctx: ctx, conf: c, root: root, progress: o.Progress,
		created: c.Created.of(o.Now).UTC(), mtime: c.Mtime.of(o.Now),
		tar: tar.NewWriter(w),
	}
	return s.run(tags)
}

type streamer struct {
	ctx            context.Context
	conf           *Conf
	root           *os.Root
	progress       func(layer, of int)
	created, mtime time.Time

	tar      *tar.Writer
	total    int
	names    []string // of the layers in the archive
	diffIDs  []digest.Digest
	comments []string
}

func (s *streamer) run(tags []string) error {
	config := s.conf.Config
	s.total = len(s.conf.StoreLayers)
	if s.conf.CustomisationLayer != "" {
		s.total++
	}
	if s.conf.FromImage != "" {
		base, err := imagefile.Open(s.conf.FromImage)
		if err != nil {
			return fmt.Errorf("from_image: %w", err)
		}
		defer base.Close()
		img, err := base.Select("", nil)
		if err != nil {
			return fmt.Errorf("from_image: %w", err)
		}
		s.total += len(img.Layers)
		for _, l := range img.Layers {
			if err := s.baseLayer(l); err != nil {
				return fmt.Errorf("from_image %s: %w", s.conf.FromImage, err)
			}
		}
		if config, err = overlay(config, img.Spec.Config.Env); err != nil {
			return err
		}
	}
	if s.total > image.MaxLayers {
		return fmt.Errorf("the image has %d layers, but docker's graph drivers refuse more than %d", s.total, image.MaxLayers)
	}
	for _, paths := range s.conf.StoreLayers {
		if err := s.storeLayer(paths, s.options()); err != nil {
			return err
		}
	}
	if s.conf.CustomisationLayer != "" {
		if err := s.customisationLayer(s.conf.CustomisationLayer); err != nil {
			return fmt.Errorf("customisation_layer %s: %w", s.conf.CustomisationLayer, err)
		}
	}
	return s.documents(config, tags)
}

// begin names the next layer, and writes its header.
func (s *streamer) begin(size int64) error {
	name := fmt.Sprintf("%d/layer.tar", len(s.names)+1)
	s.names = append(s.names, name)
	if s.progress != nil {
		s.progress(len(s.names), s.total)
	}
	return s.header(name, size)
}

func (s *streamer) header(name string, size int64) error {
	return s.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: s.mtime.Truncate(time.Second)})
}

func (s *streamer) end(diffID digest.Digest, comment string) {
	s.diffIDs = append(s.diffIDs, diffID)
	s.comments = append(s.comments, comment)
}

func (s *streamer) baseLayer(l *imagefile.Layer) error {
	in, err := l.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	if err := s.begin(l.Descriptor.Size); err != nil {
		return err
	}
	if _, err := io.Copy(contextWriter{s.ctx, s.tar}, in); err != nil {
		return err
	}
	s.end(l.DiffID, "")
	return nil
}

// storeLayer makes a layer while it is written: its size is known from its files' names and sizes.
func (s *streamer) storeLayer(paths []store.Path, o layer.Options) error {
	var nars []layer.NAR
	var entries []layer.Entries
	for _, p := range paths {
		nars = append(nars, layer.NAR{
			File: narfile.File{StorePath: p}, Trusted: true,
			Open: func(ctx context.Context) (io.ReadCloser, error) { return dump(ctx, s.root, p.Base()), nil },
		})
		entries = append(entries, layer.Entries{Path: p, Each: func(f func(*nar.Entry) error) error {
			return nar.Walk(s.root, p.Base(), func(e *nar.Entry) error {
				if s.ctx.Err() != nil {
					return context.Cause(s.ctx)
				}
				return f(e)
			})
		}})
	}
	size, err := layer.TarSize(s.ctx, entries, o)
	if err != nil {
		return err
	}
	if err := s.begin(size); err != nil {
		return err
	}
	l, err := layer.Write(s.ctx, s.tar, nars, o)
	switch {
	case errors.Is(err, tar.ErrWriteTooLong), err == nil && l.UncompressedSize != size:
		return fmt.Errorf("layer of %s…: its files changed while they were read", paths[0])
	case err != nil:
		return err
	}
	names := make([]string, len(paths))
	for i, p := range paths {
		names[i] = string(p)
	}
	s.end(l.DiffID, "store paths: "+strings.Join(names, ", "))
	return nil
}

// options are those of the layers that are made here.
func (s *streamer) options() layer.Options {
	mtime := s.mtime.Unix()
	o := layer.Options{Compression: layer.None, MtimeUnix: &mtime}
	if w := s.conf.Owner; w != nil {
		o.Owner = &layer.Owner{UID: w.UID, GID: w.GID, UserName: w.Uname, GroupName: w.Gname}
		o.OwnerAbove = true
	}
	return o
}

// dump is a store path's NAR, made as it is read.
func dump(ctx context.Context, root *os.Root, base string) io.ReadCloser {
	r, w := io.Pipe()
	stop := context.AfterFunc(ctx, func() { w.CloseWithError(context.Cause(ctx)) })
	go func() {
		out := bufio.NewWriterSize(w, 128<<10) // A pipe hands over each write by itself.
		err := nar.Dump(out, root, base)
		if err == nil {
			err = out.Flush()
		}
		stop()
		w.CloseWithError(err)
	}()
	return r
}

// customisationLayer takes the path's layer.tar as it is, and holds it to the
// checksum beside it; or makes a layer of its files.
func (s *streamer) customisationLayer(p store.Path) error {
	const most = 1 << 10
	in, err := s.root.Open(p.Base() + "/layer.tar")
	if errors.Is(err, fs.ErrNotExist) {
		o := s.options()
		o.StripPrefix = "."
		return s.storeLayer([]store.Path{p}, o)
	}
	if err != nil {
		return err
	}
	defer in.Close()
	f, err := s.root.Open(p.Base() + "/checksum")
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(f, most))
	f.Close()
	if err != nil {
		return err
	}
	diffID := digest.NewDigestFromEncoded(digest.SHA256, strings.TrimSpace(string(text)))
	want, err := store.ParseHash(diffID.String())
	if err != nil {
		return fmt.Errorf("checksum: %w", err)
	}
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("layer.tar: want a file, found %s", info.Mode().Type())
	}
	if err := s.begin(info.Size()); err != nil {
		return err
	}
	if _, err := io.Copy(contextWriter{s.ctx, s.tar}, store.NewVerifiedReader(in, info.Size(), want, "Layer")); err != nil {
		return err
	}
	s.end(diffID, "store paths: "+string(p))
	return nil
}

// documents writes config and manifest, which come last, as all that they say of the layers is known now.
func (s *streamer) documents(config json.RawMessage, tags []string) error {
	type history struct {
		Created time.Time `json:"created"`
		Comment string    `json:"comment,omitempty"`
	}
	doc := struct {
		Created      time.Time       `json:"created"`
		Architecture string          `json:"architecture"`
		OS           string          `json:"os"`
		Config       json.RawMessage `json:"config"`
		RootFS       ocispec.RootFS  `json:"rootfs"`
		History      []history       `json:"history"`
	}{
		Created: s.created, Architecture: s.conf.Architecture, OS: s.conf.OS, Config: config,
		RootFS: ocispec.RootFS{Type: "layers", DiffIDs: s.diffIDs},
	}
	for _, c := range s.comments {
		doc.History = append(doc.History, history{s.created, c})
	}
	b, err := marshal(doc)
	if err != nil {
		return err
	}
	configName := digest.FromBytes(b).Encoded() + ".json"
	manifest, err := marshal([]any{struct {
		Config   string
		RepoTags []string
		Layers   []string
	}{configName, tags, s.names}})
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		b    []byte
	}{{configName, b}, {"manifest.json", manifest}} {
		if err := s.header(f.name, int64(len(f.b))); err != nil {
			return err
		}
		if _, err := s.tar.Write(f.b); err != nil {
			return err
		}
	}
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	return s.tar.Close()
}

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// overlay puts the base's environment below the config's: of a name that is there twice, the last value
// counts, in the place of the first.
func overlay(config json.RawMessage, base []string) (json.RawMessage, error) {
	if len(base) == 0 {
		return config, nil
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(config, &fields); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	var own []string
	if e, ok := fields["Env"]; ok {
		if err := json.Unmarshal(e, &own); err != nil {
			return nil, fmt.Errorf("config: Env: %w", err)
		}
	}
	at := map[string]int{}
	var env []string
	for _, e := range append(base, own...) {
		name, _, _ := strings.Cut(e, "=")
		if i, twice := at[name]; twice {
			env[i] = e
			continue
		}
		at[name] = len(env)
		env = append(env, e)
	}
	b, err := marshal(env)
	if err != nil {
		return nil, err
	}
	fields["Env"] = b
	return marshal(fields)
}

// contextWriter fails once its context ends.
type contextWriter struct {
	ctx context.Context
	w   io.Writer
}

func (c contextWriter) Write(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.w.Write(p)
}
