package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rules-strata/rules_strata/tool/nar"
	"github.com/rules-strata/rules_strata/tool/narinfo"
	"github.com/rules-strata/rules_strata/tool/store"
)

// states are the images that are moved one after the other.
var states = []struct{ name, root, label string }{
	{"first", "before", "one"},
	{"again", "before", "one"},
	{"one path changed", "after", "one"},
	{"config changed", "after", "two"},
}

// buildImages builds the image of each state, as an OCI layout below dir. Its roots refer to all store paths of a binary cache, but
// to one of two that are alike in size: "before" to the one, "after" to the other.
func buildImages(dir, strata, cache string) (layouts []string, description string, err error) {
	if cache, err = filepath.Abs(cache); err != nil {
		return nil, "", err
	}
	files, err := filepath.Glob(filepath.Join(cache, "*.narinfo"))
	if err != nil {
		return nil, "", err
	}
	own := filepath.Join(dir, "cache")
	if err := os.Mkdir(own, 0o755); err != nil {
		return nil, "", err
	}
	if err := os.WriteFile(filepath.Join(own, "nix-cache-info"), []byte("StoreDir: /nix/store\n"), 0o644); err != nil {
		return nil, "", err
	}
	var paths []*narinfo.Info
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, "", err
		}
		p, err := narinfo.Parse(text)
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", file, err)
		}
		// In a cache of its own, the corpus' with the roots: links to the NARs.
		if err := errors.Join(os.WriteFile(filepath.Join(own, filepath.Base(file)), text, 0o644), os.Symlink(filepath.Join(cache, p.URL), filepath.Join(own, p.URL))); err != nil {
			return nil, "", err
		}
		paths = append(paths, p)
	}
	if len(paths) < 4 {
		return nil, "", fmt.Errorf("%s has %d store paths, want a binary cache as bench/run makes one (-cache names another)", cache, len(paths))
	}
	slices.SortFunc(paths, func(a, b *narinfo.Info) int { return int(a.NarSize - b.NarSize) })
	middle := len(paths) / 2
	before, after := paths[middle-1], paths[middle]
	rest := slices.Concat(paths[:middle-1], paths[middle+1:])

	lock := filepath.Join(dir, "strata.lock.json")
	args := []string{"lock", "-o", lock, "--system", "x86_64-linux", "--cache", "file://" + own, "--allow-unsigned", "file://" + own}
	for name, one := range map[string]*narinfo.Info{"before": before, "after": after} {
		path, err := writeRoot(own, name, append(slices.Clone(rest), one))
		if err != nil {
			return nil, "", err
		}
		args = append(args, "--root", name+"="+string(path))
	}
	if err := run(exec.Command(strata, args...)); err != nil {
		return nil, "", err
	}
	for i, s := range states {
		if i > 0 && s.root == states[i-1].root && s.label == states[i-1].label {
			layouts = append(layouts, layouts[i-1])
			continue
		}
		layout := filepath.Join(dir, fmt.Sprint("layout", i))
		if err := run(exec.Command(strata, "build", "--lock", lock, "--root", s.root, "--label", "state="+s.label, "--tag", "bench:dev", "--format=layout", "-o", layout)); err != nil {
			return nil, "", err
		}
		layouts = append(layouts, layout)
	}
	unpacked := before.NarSize
	for _, p := range rest {
		unpacked += p.NarSize
	}
	return layouts, fmt.Sprintf("%d store paths, %d MB unpacked; the path that changes has %.1f MB", len(rest)+2, unpacked/1e6, float64(after.NarSize)/1e6), nil
}

// writeRoot adds to an unsigned binary cache a store path, an empty directory, that refers to others.
func writeRoot(cache, name string, references []*narinfo.Info) (store.Path, error) {
	sum := store.Hash(sha256.Sum256([]byte(name)))
	path, err := store.JoinPath("/nix/store", sum.NixBase32()[:store.HashPartLen]+"-"+name)
	if err != nil {
		return "", err
	}
	var archive bytes.Buffer
	w := nar.NewWriter(&archive)
	if err := w.WriteEntry(&nar.Entry{Kind: nar.Directory}); err != nil {
		return "", err
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	var names []string
	for _, r := range references {
		names = append(names, r.StorePath.Base())
	}
	hash := store.Hash(sha256.Sum256(archive.Bytes())).NixBase32()
	info := fmt.Sprintf("StorePath: %s\nURL: empty.nar\nCompression: none\nFileHash: sha256:%s\nFileSize: %d\nNarHash: sha256:%s\nNarSize: %d\nReferences: %s\n",
		path, hash, archive.Len(), hash, archive.Len(), strings.Join(names, " "))
	if err := os.WriteFile(filepath.Join(cache, "empty.nar"), archive.Bytes(), 0o644); err != nil {
		return "", err
	}
	return path, os.WriteFile(filepath.Join(cache, path.HashPart()+".narinfo"), []byte(info), 0o644)
}

// run runs a command, whose error has what it says.
func run(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args[:min(2, len(cmd.Args))], " "), err, out)
	}
	return nil
}
