package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/rules-strata/rules_strata/tool/nar"
	"github.com/rules-strata/rules_strata/tool/narinfo"
	"github.com/rules-strata/rules_strata/tool/store"
)

// corpus is a set of real packages as store paths, in a directory:
//
//	nix/store/<hash>-<name>   each path as a tree, for the tools that read trees
//	none/ zstd/ xz/           the same as unsigned binary caches, compressed by `zstd -3` and `xz -6`
//	complete                  is there when all of this is
type corpus struct {
	dir   string
	paths []*corpusPath // in the order of their store paths

	narSize int64 // of all
}

// corpusPath is one store path; infos has its narinfo in each of the binary caches.
type corpusPath struct {
	path  store.Path
	infos map[string]*narinfo.Info
}

// compressions are the binary caches of a corpus, and what writes their NARs; none: they stay as they are.
var compressions = map[string][]string{
	"none": nil,
	"zstd": {"zstd", "-3", "-q", "-c"},
	"xz":   {"xz", "-6", "-c"},
}

// tree is where the path lies as files.
func (c *corpus) tree(p *corpusPath) string { return filepath.Join(c.dir, string(p.path)) }

// narFile is where the path's NAR lies.
func (c *corpus) narFile(p *corpusPath, compression string) string {
	return filepath.Join(c.dir, compression, p.infos[compression].URL)
}

// describe says how much a corpus is.
func (c *corpus) describe() (string, error) {
	files := 0
	err := filepath.WalkDir(filepath.Join(c.dir, "nix"), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files++
		}
		return err
	})
	if err != nil {
		return "", err
	}
	size := func(compression string) (n float64) {
		for _, p := range c.paths {
			n += float64(p.infos[compression].FileSize)
		}
		return n / 1e6
	}
	return fmt.Sprintf("%d store paths, %d files, %.0f MB of NARs (%.0f MB as .nar.zst, %.0f MB as .nar.xz)",
		len(c.paths), files, size("none"), size("zstd"), size("xz")), nil
}

// openCorpus returns the corpus in dir. What is missing of it is made.
func openCorpus(ctx context.Context, dir string, expressions []string, say func(string, ...any)) (*corpus, error) {
	if _, err := os.Stat(filepath.Join(dir, "complete")); errors.Is(err, fs.ErrNotExist) {
		say("making the corpus in %s, once", dir)
		if err := makeCorpus(ctx, dir, expressions, say); err != nil {
			return nil, fmt.Errorf("corpus: %w", err)
		}
	}
	c, err := loadCorpus(dir)
	if err != nil {
		return nil, fmt.Errorf("corpus: %w; remove %s to have it made anew", err, dir)
	}
	return c, nil
}

func loadCorpus(dir string) (*corpus, error) {
	bases, err := os.ReadFile(filepath.Join(dir, "complete"))
	if err != nil {
		return nil, err
	}
	c := &corpus{dir: dir}
	for base := range strings.FieldsSeq(string(bases)) {
		p := &corpusPath{path: store.Path("/nix/store/" + base), infos: map[string]*narinfo.Info{}}
		for compression := range compressions {
			text, err := os.ReadFile(filepath.Join(dir, compression, p.path.HashPart()+".narinfo"))
			if err != nil {
				return nil, err
			}
			if p.infos[compression], err = narinfo.Parse(text); err != nil {
				return nil, err
			}
		}
		c.paths = append(c.paths, p)
		c.narSize += p.infos["none"].NarSize
	}
	slices.SortFunc(c.paths, func(a, b *corpusPath) int { return strings.Compare(string(a.path), string(b.path)) })
	return c, nil
}

func makeCorpus(ctx context.Context, dir string, expressions []string, say func(string, ...any)) error {
	for _, program := range []string{"apt-get", "apt-cache", "dpkg-deb", "xz", "zstd"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("it is made of the distribution's packages, which needs %s: run this on Debian or a relative of it", program)
		}
	}
	// Packages of their own directory, so that all files there are the corpus'.
	debs := filepath.Join(dir, "debs")
	if err := os.MkdirAll(debs, 0o755); err != nil {
		return err
	}
	if err := fetchPackages(ctx, debs, expressions, say); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(debs, "*.deb"))
	if err != nil {
		return err
	}
	say("unpacking and compressing them")
	bases := make([]string, len(files))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.NumCPU())
	for i, file := range files {
		group.Go(func() error {
			var err error
			if bases[i], err = addPackage(ctx, dir, file); err != nil {
				return fmt.Errorf("%s: %w", filepath.Base(file), err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "complete"), []byte(strings.Join(bases, "\n")+"\n"), 0o644)
}

// notInName is what a store path's name can't hold of a package's version.
var notInName = regexp.MustCompile(`[^a-zA-Z0-9+._?=-]`)

// addPackage makes a store path of one package, and returns its base name.
// What an interrupted run has finished is left alone.
func addPackage(ctx context.Context, dir, deb string) (string, error) {
	id, err := exec.CommandContext(ctx, "dpkg-deb", "-W", "--showformat=${Package}-${Version}", deb).Output()
	if err != nil {
		return "", fmt.Errorf("dpkg-deb -W: %w", err)
	}
	hash := store.Hash(sha256.Sum256(id)).NixBase32()[:store.HashPartLen]
	path, err := store.JoinPath("/nix/store", hash+"-"+notInName.ReplaceAllString(string(id), "-"))
	if err != nil {
		return "", err
	}
	tree := filepath.Join(dir, string(path))
	if _, err := os.Stat(tree); errors.Is(err, fs.ErrNotExist) {
		aside := tree + ".part"
		if err := os.RemoveAll(aside); err != nil {
			return "", err
		}
		if err := os.MkdirAll(aside, 0o755); err != nil {
			return "", err
		}
		if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", deb, aside).CombinedOutput(); err != nil {
			return "", fmt.Errorf("dpkg-deb -x: %w\n%s", err, out)
		}
		if err := storeModes(aside); err != nil {
			return "", err
		}
		if err := os.Rename(aside, tree); err != nil {
			return "", err
		}
	}
	plain, narHash, narSize, err := writeNAR(dir, tree, path)
	if err != nil {
		return "", err
	}
	for compression, program := range compressions {
		cache := filepath.Join(dir, compression)
		infoFile := filepath.Join(cache, path.HashPart()+".narinfo")
		if _, err := os.Stat(infoFile); err == nil {
			continue
		}
		file, url := plain, filepath.Base(plain)
		if program != nil {
			url += "." + compression
			file = filepath.Join(cache, url)
			if err := compress(ctx, program, plain, file); err != nil {
				return "", err
			}
		}
		hash, size, err := hashFile(file)
		if err != nil {
			return "", err
		}
		info := fmt.Sprintf("StorePath: %s\nURL: %s\nCompression: %s\nFileHash: sha256:%s\nFileSize: %d\nNarHash: sha256:%s\nNarSize: %d\nReferences: \n",
			path, url, compression, hash.NixBase32(), size, narHash.NixBase32(), narSize)
		if err := os.WriteFile(infoFile, []byte(info), 0o644); err != nil {
			return "", err
		}
	}
	return path.Base(), nil
}

// storeModes gives files the modes of a store. Directories stay writable, so that a corpus can be removed.
func storeModes(tree string) error {
	return filepath.WalkDir(tree, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return os.Chmod(name, 0o755)
		case d.Type().IsRegular():
			info, err := d.Info()
			if err != nil {
				return err
			}
			return os.Chmod(name, 0o444|info.Mode().Perm()&0o111)
		}
		return nil
	})
}

// writeNAR writes the NAR of tree into the uncompressed cache.
func writeNAR(dir, tree string, path store.Path) (file string, hash store.Hash, size int64, err error) {
	cache := filepath.Join(dir, "none")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", hash, 0, err
	}
	for compression := range compressions {
		if err := os.MkdirAll(filepath.Join(dir, compression), 0o755); err != nil {
			return "", hash, 0, err
		}
	}
	file = filepath.Join(cache, path.HashPart()+".nar")
	out, err := os.Create(file)
	if err != nil {
		return "", hash, 0, err
	}
	defer out.Close()
	h := sha256.New()
	w := nar.NewWriter(io.MultiWriter(out, h))
	if err := addTree(w, tree, ""); err != nil {
		return "", hash, 0, err
	}
	if err := w.Close(); err != nil {
		return "", hash, 0, err
	}
	h.Sum(hash[:0])
	if size, err = out.Seek(0, io.SeekCurrent); err != nil {
		return "", hash, 0, err
	}
	return file, hash, size, out.Close()
}

// addTree writes the node at root/name and what is in it. os.ReadDir lists names as a NAR wants them.
func addTree(w *nar.Writer, root, name string) error {
	full := filepath.Join(root, name)
	info, err := os.Lstat(full)
	if err != nil {
		return err
	}
	switch info.Mode().Type() {
	case 0:
		if err := w.WriteEntry(&nar.Entry{Path: []byte(name), Kind: nar.Regular, Executable: info.Mode()&0o111 != 0, Size: info.Size()}); err != nil {
			return err
		}
		f, err := os.Open(full)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(w, f)
		return err
	case fs.ModeSymlink:
		target, err := os.Readlink(full)
		if err != nil {
			return err
		}
		return w.WriteEntry(&nar.Entry{Path: []byte(name), Kind: nar.Symlink, Target: []byte(target)})
	case fs.ModeDir:
		if err := w.WriteEntry(&nar.Entry{Path: []byte(name), Kind: nar.Directory}); err != nil {
			return err
		}
		entries, err := os.ReadDir(full)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := addTree(w, root, filepath.Join(name, e.Name())); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("%s: a NAR can't hold a %v", full, info.Mode().Type())
}

// compress runs a program from file to file.
func compress(ctx context.Context, program []string, from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.CommandContext(ctx, program[0], program[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", program[0], err)
	}
	return out.Close()
}

func hashFile(name string) (hash store.Hash, size int64, err error) {
	f, err := os.Open(name)
	if err != nil {
		return hash, 0, err
	}
	defer f.Close()
	h := sha256.New()
	size, err = io.Copy(h, f)
	h.Sum(hash[:0])
	return hash, size, err
}
