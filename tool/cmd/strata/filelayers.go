package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/filelayer"
	"github.com/rules-strata/rules_strata/tool/layer"
	"github.com/rules-strata/rules_strata/tool/lock"
	"github.com/rules-strata/rules_strata/tool/plan"
	"github.com/rules-strata/rules_strata/tool/runlayer"
	"github.com/rules-strata/rules_strata/tool/store"
)

// fileLayerFlags are the flags that say what an image holds beside its store paths.
type fileLayerFlags struct {
	layers       []fileLayerFlag // in the order of the command line
	files        []string
	symlinks     []string
	directories  []string
	noStorePaths bool
}

// fileLayerFlag is one --files, --tar-layer or --run.
type fileLayerFlag struct{ flag, file string }

// fileLayer is a layer above those of the store.
type fileLayer struct {
	name string
	by   string // the flags that want it, for messages
	spec *filelayer.Spec
	dir  string         // what the specification's file names are relative to
	tar  string         // in place of a specification: the layer as it is
	run  *runlayer.Spec // in place of both: what a command changes in what is below
}

func (f *fileLayerFlags) register(fl *pflag.FlagSet) {
	for _, o := range []struct{ flag, usage string }{
		{"files", "a JSON `FILE` that says what is in a layer of files; repeatable, each is a layer above the store's"},
		{"tar-layer", "a tar `FILE` (plain, gzip, zstd) that is a layer as it is; repeatable"},
		{"run", "a JSON `FILE` that says which command of the image to run over what is below; a layer of what it changed; repeatable"},
	} {
		fl.Func(o.flag, o.usage, func(file string) error {
			f.layers = append(f.layers, fileLayerFlag{o.flag, file})
			return nil
		})
	}
	fl.StringArrayVar(&f.files, "file", nil, "a file or folder `PATH=SOURCE` in the image; repeatable")
	fl.StringArrayVar(&f.symlinks, "symlink", nil, "a symlink `PATH=TARGET` in the image; repeatable")
	fl.StringArrayVar(&f.directories, "directory", nil, "a directory `PATH[=MODE]` in the image; repeatable")
	fl.BoolVar(&f.noStorePaths, "no-store-paths", false, "leave the store paths out: they come in by a mount")
}

// read returns the layers that the flags ask for, lowest first; what --file, --symlink and --directory name is the last. Names of
// roots in a specification are those of the lock, on this system.
func (f *fileLayerFlags) read(l *lock.Lock, root, system string) ([]fileLayer, error) {
	var out []fileLayer
	for _, one := range f.layers {
		fl := fileLayer{name: filepath.Base(one.file), by: "--" + one.flag + " " + one.file}
		switch one.flag {
		case "tar-layer":
			fl.tar = one.file
			out = append(out, fl)
			continue
		case "run":
			spec, err := runlayer.ReadFile(one.file)
			if err != nil {
				return nil, fmt.Errorf("--run: %w", err)
			}
			fl.run = spec
			out = append(out, fl)
			continue
		}
		spec, err := filelayer.ReadFile(one.file)
		if err != nil {
			return nil, fmt.Errorf("--files: %w", err)
		}
		fl.spec, fl.dir = spec, filepath.Dir(one.file)
		out = append(out, fl)
	}
	single, err := f.single()
	if err != nil {
		return nil, &usageError{err}
	}
	if single != nil {
		out = append(out, fileLayer{name: "files", by: "--file, --symlink and --directory", spec: single})
	}
	closure := l.Closure(l.Roots[root][system])
	for _, fl := range out {
		if fl.spec == nil {
			continue
		}
		err := fl.spec.ResolveRoots(func(name string) (store.Path, error) {
			p, ok := l.Roots[name][system]
			if !ok {
				return "", fmt.Errorf("the lock has no root %q for %s", name, system)
			}
			return p, nil
		})
		for _, e := range fl.spec.Entries {
			if err != nil || e.Root == "" {
				continue
			}
			if l.Paths[e.Root] == nil {
				err = fmt.Errorf("%s: %s: the lock doesn't have it", e.By, e.Root)
			} else if !f.noStorePaths && !slices.Contains(closure, e.Root) {
				err = &hinted{fmt.Errorf("%s: leads to %s, which is in no layer", e.By, e.Root), "lock a root that refers to it, or leave out all store paths by --no-store-paths"}
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", fl.name, err)
		}
	}
	return out, nil
}

// single is what the flags for single entries say; nil: none is given.
func (f *fileLayerFlags) single() (*filelayer.Spec, error) {
	s := new(filelayer.Spec)
	for _, text := range f.files {
		path, source, ok := strings.Cut(text, "=")
		if !ok || source == "" {
			return nil, fmt.Errorf("--file: want PATH=SOURCE, found %q", text)
		}
		e := filelayer.Entry{Type: filelayer.TypeFile, From: source, By: "--file " + path}
		info, err := os.Stat(source)
		if err == nil && info.IsDir() {
			e.Type = filelayer.TypeFolder
		}
		if e.Path, err = filelayer.CleanPath(path, e.Type == filelayer.TypeFolder); err != nil {
			return nil, fmt.Errorf("--file: %w", err)
		}
		s.Entries = append(s.Entries, e)
	}
	for _, text := range f.symlinks {
		path, target, _ := strings.Cut(text, "=")
		clean, err := filelayer.CleanPath(path, false)
		if err = errors.Join(err, filelayer.CheckTarget(target)); err != nil {
			return nil, fmt.Errorf("--symlink: want PATH=TARGET, found %q: %w", text, err)
		}
		s.Entries = append(s.Entries, filelayer.Entry{Type: filelayer.TypeSymlink, Path: clean, Target: target, By: "--symlink " + path})
	}
	for _, text := range f.directories {
		path, octal, hasMode := strings.Cut(text, "=")
		e := filelayer.Entry{Type: filelayer.TypeDirectory, By: "--directory " + path}
		var err error
		if e.Path, err = filelayer.CleanPath(path, false); err == nil && hasMode {
			var mode uint16
			mode, err = filelayer.ParseMode(octal)
			e.Mode = &mode
		}
		if err != nil {
			return nil, fmt.Errorf("--directory: %w", err)
		}
		s.Entries = append(s.Entries, e)
	}
	if len(s.Entries) == 0 {
		return nil, nil
	}
	return s, nil
}

// roomFor leaves room for so many file layers above the layers of a closure: as the rule image does it, all count against the limit.
func roomFor(layers []plan.Layer, closure []plan.Path, fileLayers, limit int) ([]plan.Layer, error) {
	if len(layers)+fileLayers <= limit {
		return layers, nil
	}
	if fileLayers >= limit {
		return nil, fmt.Errorf("%d layers of files, but at most %d layers: set --max-layers to more", fileLayers, limit)
	}
	return plan.Shrink(layers, closure, limit-fileLayers)
}

// buildFileLayer makes a layer of files at path; of a tar that is a layer as it is, it returns the tar's own path.
func (b *builder) buildFileLayer(ctx context.Context, fl fileLayer, path string) (string, *digestfile.File, error) {
	if fl.tar != "" {
		in, err := os.Open(fl.tar)
		if err != nil {
			return "", nil, err
		}
		defer in.Close()
		file, err := filelayer.Verbatim(ctx, in, "")
		if err != nil {
			return "", nil, fmt.Errorf("--tar-layer: %s: %w", fl.tar, err)
		}
		return fl.tar, file, nil
	}
	blob, err := os.Create(path)
	if err != nil {
		return "", nil, err
	}
	defer blob.Close()
	src := filelayer.Sources{
		Dir:      fl.dir,
		NAR:      func(p store.Path) (layer.NAR, error) { return b.lock.NAR(b.client, p), nil },
		TempFile: func() (*os.File, error) { return unnamedFile(filepath.Dir(path)) },
	}
	file, err := filelayer.Write(ctx, blob, fl.spec, src, layer.Options{Compression: b.options.Compression, Level: b.options.Level})
	if err != nil {
		if lines := strings.Contains(err.Error(), "\n"); !lines {
			err = fmt.Errorf("%s: %w", fl.name, err)
		}
		return "", nil, withAdvice(err)
	}
	return path, file, blob.Close()
}

// unnamedFile makes a file in dir that nobody else sees, and that is gone once closed.
func unnamedFile(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "*")
	if err == nil {
		os.Remove(f.Name()) // Where that fails, it goes with the folder.
	}
	return f, err
}
