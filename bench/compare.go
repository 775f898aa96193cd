package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// benchCase is one way to make a layer of the corpus, or a part of that work alone.
type benchCase struct {
	group string // its table
	name  string
	note  string // what its numbers leave out, or add
	need  string // a program without which it can't be run; "" for none
	// run does the work once, with its outputs in dir, and adds what it cost.
	run func(ctx context.Context, dir string, u *usage) error
}

func (c benchCase) String() string { return c.group + ": " + c.name }

// Groups of cases. The first case of each of the first three is strata's: 1.0 of its table.
const (
	groupNone   = "uncompressed"
	groupGzip   = "gzip"
	groupZstd   = "zstd"
	groupLimits = "limits"
)

// The cases that targets refer to.
const (
	strataCase    = "strata"
	fromZstd      = "strata, from .nar.zst"
	fromXz        = "strata, from .nar.xz"
	oneCore       = "strata, one core"
	fromXzOneCore = "strata, from .nar.xz, one core"
	seedScript    = "stream_layered_image.py"
	nix2container = "nix2container"
	umoci         = "umoci insert"
	tarZstd       = "tar \\| zstd -3"
	limitSHA256   = "SHA-256"
	limitCopy     = "copy"
	limitGzip     = "deflate encoder, for gzip"
	limitZstd     = "zstd -3 encoder (klauspost)"
	limitXz       = "xz decoder (strata's)"
	limitXzC      = "xz -dc"
	limitDiscard  = "the engine, output thrown away"
)

// strataArgs writes the arguments of the layer tool for the whole corpus into a file, and returns "@" and its name.
func (b *bench) strataArgs(cache string) (string, error) {
	var lines []string
	for _, p := range b.corpus.paths {
		info := p.infos[cache]
		lines = append(lines,
			"--store-path="+string(p.path), "--nar-hash="+info.NarHash.String(), fmt.Sprintf("--nar-size=%d", info.NarSize),
			"--nar-compression="+info.Compression, "--nar="+b.corpus.narFile(p, cache),
			"--file-hash="+info.FileHash.String(), fmt.Sprintf("--file-size=%d", info.FileSize))
	}
	file := filepath.Join(b.tmp, cache+".args")
	return "@" + file, os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o644)
}

// layerStage is the layer tool with its outputs in dir.
func (b *bench) layerStage(dir, compression, args string, env ...string) stage {
	return stage{env: env, argv: []string{
		b.layer, "--output=" + filepath.Join(dir, "blob"), "--digest-file=" + filepath.Join(dir, "blob.json"),
		"--compression=" + compression, args,
	}}
}

// cases lists all cases of the comparison. Files that they need are made in b.tmp.
func (b *bench) cases(ctx context.Context) ([]benchCase, error) {
	args := map[string]string{}
	for cache := range compressions {
		var err error
		if args[cache], err = b.strataArgs(cache); err != nil {
			return nil, err
		}
	}
	strata := func(cache, compression string, env ...string) func(context.Context, string, *usage) error {
		return func(ctx context.Context, dir string, u *usage) error {
			return u.pipe(ctx, "", b.layerStage(dir, compression, args[cache], env...))
		}
	}
	one := "GOMAXPROCS=1"
	tar := stage{argv: []string{
		"tar", "-C", b.corpus.dir, "--sort=name", "--mtime=@1", "--owner=0", "--group=0", "--numeric-owner",
		"--hard-dereference", "-cf", "-", "nix",
	}}
	hashedTar := tar
	hashedTar.hashed = true
	// A compressed layer as a script makes it: both hashes, and the blob.
	tarThen := func(program ...string) func(context.Context, string, *usage) error {
		return func(ctx context.Context, dir string, u *usage) error {
			return u.pipe(ctx, filepath.Join(dir, "digest"), hashedTar, stage{argv: program},
				stage{argv: []string{"tee", filepath.Join(dir, "blob")}}, stage{argv: []string{"sha256sum"}})
		}
	}
	script, err := b.seedScript()
	if err != nil {
		return nil, err
	}
	graph, err := b.nix2containerGraph()
	if err != nil {
		return nil, err
	}
	img, err := b.rulesImg()
	if err != nil {
		return nil, err
	}
	cases := []benchCase{
		{group: groupNone, name: strataCase, run: strata("none", "none")},
		{group: groupNone, name: fromZstd, run: strata("zstd", "none")},
		{group: groupNone, name: fromXz, run: strata("xz", "none")},
		{group: groupNone, name: fromXzOneCore, run: strata("xz", "none", one)},
		{group: groupNone, name: "tar + sha256sum", need: "tar", run: func(ctx context.Context, dir string, u *usage) error {
			return u.pipe(ctx, filepath.Join(dir, "digest"), tar, stage{argv: []string{"tee", filepath.Join(dir, "blob")}}, stage{argv: []string{"sha256sum"}})
		}},
		{group: groupNone, name: seedScript, note: "makes the layer twice, into an image archive", need: "python3", run: script},
		{group: groupNone, name: nix2container, need: "nix2container", run: graph},
		{group: groupNone, name: "rules_img", note: "duplicate files become hard links", need: "img", run: img("none")},

		{group: groupGzip, name: strataCase, run: strata("none", "gzip")},
		{group: groupGzip, name: oneCore, run: strata("none", "gzip", one)},
		{group: groupGzip, name: fromXz, run: strata("xz", "gzip")},
		{group: groupGzip, name: "tar \\| gzip -6", need: "tar", run: tarThen("gzip", "-6", "-n")},
		{group: groupGzip, name: "tar \\| pigz -6", need: "pigz", run: tarThen("pigz", "-6", "-n")},
		{group: groupGzip, name: umoci, need: "umoci", run: b.umoci},
		{group: groupGzip, name: "tar, crane append", note: "gzip -1", need: "crane", run: func(ctx context.Context, dir string, u *usage) error {
			layer := filepath.Join(b.tmp, "crane.tar")
			defer os.Remove(layer)
			if err := u.pipe(ctx, layer, tar); err != nil {
				return err
			}
			return u.run(ctx, "crane", "append", "-f", layer, "-t", "bench:latest", "-o", filepath.Join(dir, "image.tar"))
		}},
		{group: groupGzip, name: "rules_img", note: "duplicate files become hard links", need: "img", run: img("gzip")},

		{group: groupZstd, name: strataCase, run: strata("none", "zstd")},
		{group: groupZstd, name: oneCore, run: strata("none", "zstd", one)},
		{group: groupZstd, name: fromZstd, run: strata("zstd", "zstd")},
		{group: groupZstd, name: tarZstd, need: "zstd", run: tarThen("zstd", "-3", "-q", "-c")},
		{group: groupZstd, name: "rules_img", note: "duplicate files become hard links", need: "img", run: img("zstd")},
	}

	// The limits are of the layer's own bytes, as strata writes them.
	plain := filepath.Join(b.tmp, "plain")
	if err := os.MkdirAll(plain, 0o755); err != nil {
		return nil, err
	}
	if err := new(usage).pipe(ctx, "", b.layerStage(plain, "none", args["none"])); err != nil {
		return nil, err
	}
	blob := filepath.Join(plain, "blob")
	lists := map[string]string{}
	for cache := range compressions {
		var names []string
		for _, p := range b.corpus.paths {
			names = append(names, b.corpus.narFile(p, cache))
		}
		file := filepath.Join(b.tmp, cache+".files")
		lists[cache] = "@" + file
		if err := os.WriteFile(file, []byte(strings.Join(names, "\n")), 0o644); err != nil {
			return nil, err
		}
	}
	self := func(argv ...string) func(context.Context, string, *usage) error {
		return func(ctx context.Context, dir string, u *usage) error {
			return u.run(ctx, append([]string{b.self, "child"}, argv...)...)
		}
	}
	decode := func(program, cache string) func(context.Context, string, *usage) error {
		return func(ctx context.Context, dir string, u *usage) error {
			argv := []string{program, "-dc"}
			for _, p := range b.corpus.paths {
				argv = append(argv, b.corpus.narFile(p, cache))
			}
			return u.run(ctx, argv...)
		}
	}
	return append(
		cases,
		benchCase{group: groupLimits, name: limitSHA256, run: self("sha256", blob)},
		benchCase{group: groupLimits, name: limitCopy, run: func(ctx context.Context, dir string, u *usage) error {
			return u.run(ctx, b.self, "child", "copy", filepath.Join(dir, "copy"), blob)
		}},
		benchCase{group: groupLimits, name: limitGzip, run: self("gzip", blob)},
		benchCase{group: groupLimits, name: limitZstd, run: self("zstd", blob)},
		benchCase{group: groupLimits, name: limitXz, run: self("unxz", lists["xz"])},
		benchCase{group: groupLimits, name: "zstd decoder (klauspost)", run: self("unzstd", lists["zstd"])},
		benchCase{group: groupLimits, name: limitXzC, need: "xz", run: decode("xz", "xz")},
		benchCase{group: groupLimits, name: "zstd -dc", need: "zstd", run: decode("zstd", "zstd")},
		benchCase{group: groupLimits, name: limitDiscard, run: self("engine", b.corpus.dir, "none", "none", "-", "-")},
	), nil
}

// seedScript prepares nixpkgs' dockerTools script.
func (b *bench) seedScript() (func(context.Context, string, *usage) error, error) {
	if b.script == "" {
		return nil, nil
	}
	custom := filepath.Join(b.tmp, "customisation")
	if err := os.MkdirAll(custom, 0o755); err != nil {
		return nil, err
	}
	empty := make([]byte, 10240)
	const sum = "84ff92691f909a05b224e1c56abb4864f01b4f8e3c854e4bb4c7baf1d3f6d652"
	if err := errors.Join(os.WriteFile(filepath.Join(custom, "layer.tar"), empty, 0o644),
		os.WriteFile(filepath.Join(custom, "checksum"), []byte(sum+"\n"), 0o644)); err != nil {
		return nil, err
	}
	var trees []string
	for _, p := range b.corpus.paths {
		trees = append(trees, b.corpus.tree(p))
	}
	conf, err := json.Marshal(map[string]any{
		"architecture": "amd64", "config": map[string]any{}, "os": "linux", "repo_tag": "bench:latest",
		"created": "1970-01-01T00:00:01+00:00", "mtime": "1970-01-01T00:00:01+00:00",
		"uid": "0", "gid": "0", "uname": "root", "gname": "root", "from_image": nil,
		"store_dir": filepath.Join(b.corpus.dir, "nix/store"), "store_layers": [][]string{trees}, "customisation_layer": custom,
	})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(b.tmp, "stream_layered_image.json")
	return func(ctx context.Context, dir string, u *usage) error {
		return u.pipe(ctx, filepath.Join(dir, "image.tar"), stage{argv: []string{"python3", b.script, file}})
	}, os.WriteFile(file, conf, 0o644)
}

// nix2containerGraph prepares nix2container, one layer.
func (b *bench) nix2containerGraph() (func(context.Context, string, *usage) error, error) {
	type node struct {
		Path       string   `json:"path"`
		References []string `json:"references"`
	}
	var nodes []node
	for _, p := range b.corpus.paths {
		nodes = append(nodes, node{Path: b.corpus.tree(p), References: []string{}})
	}
	text, err := json.Marshal(nodes)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(b.tmp, "closure-graph.json")
	return func(ctx context.Context, dir string, u *usage) error {
		return u.run(ctx, "nix2container", "layers-from-non-reproducible-storepaths", "--max-layers", "1",
			"--tar-directory", dir, filepath.Join(dir, "layers.json"), file)
	}, os.WriteFile(file, text, 0o644)
}

// rulesImg prepares rules_img's tool.
func (b *bench) rulesImg() (func(format string) func(context.Context, string, *usage) error, error) {
	// File by file: as a directory it takes no tree with symlinks in it.
	var list strings.Builder
	err := filepath.WalkDir(filepath.Join(b.corpus.dir, "nix"), func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		kind := "f"
		if d.Type() == fs.ModeSymlink {
			kind = "l"
		}
		fmt.Fprintf(&list, "%s\x00%s%s\n", strings.TrimPrefix(strings.TrimPrefix(name, b.corpus.dir), "/"), kind, name)
		return nil
	})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(b.tmp, "img.files")
	return func(format string) func(context.Context, string, *usage) error {
		return func(ctx context.Context, dir string, u *usage) error {
			return u.run(ctx, "img", "layer", "--format="+format, "--compressor-jobs=nproc", "--create-parent-directories",
				"--metadata="+filepath.Join(dir, "metadata.json"), "--add-from-file="+file, filepath.Join(dir, "blob"))
		}
	}, os.WriteFile(file, []byte(list.String()), 0o644)
}

// umoci adds the corpus to an empty image; what the empty image costs isn't counted.
func (b *bench) umoci(ctx context.Context, dir string, u *usage) error {
	layout := filepath.Join(dir, "layout")
	var uncounted usage
	if err := uncounted.run(ctx, "umoci", "init", "--layout", layout); err != nil {
		return err
	}
	if err := uncounted.run(ctx, "umoci", "new", "--image", layout+":bench"); err != nil {
		return err
	}
	argv := []string{"umoci", "insert"}
	if os.Geteuid() != 0 {
		argv = append(argv, "--rootless")
	}
	return u.run(ctx, append(argv, "--image", layout+":bench", filepath.Join(b.corpus.dir, "nix"), "/nix")...)
}

// compare runs all cases in turns and reports the tables and what they say of the targets.
func (b *bench) compare(ctx context.Context) error {
	cases, err := b.cases(ctx)
	if err != nil {
		return err
	}
	// What can't be run is a row of the table too.
	var missing []benchCase
	cases = slices.DeleteFunc(cases, func(c benchCase) bool {
		_, err := exec.LookPath(c.need)
		gone := c.run == nil || c.need != "" && err != nil
		if gone {
			missing = append(missing, c)
		}
		return gone
	})
	if err := b.warm(ctx); err != nil {
		return err
	}
	results, err := b.inTurns(ctx, cases, b.rounds)
	if err != nil {
		return err
	}
	b.report.compare(cases, missing, results)
	return nil
}

// warm reads the whole corpus, so that it is in the page cache.
func (b *bench) warm(ctx context.Context) error {
	return filepath.WalkDir(b.corpus.dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		return eachFile([]string{name}, func(r io.Reader) error { return errors.Join(ctx.Err(), pump(io.Discard, r)) })
	})
}

// inTurns runs each case once, then each again, rounds times, and returns the medians.
// When ctx ends after the first round, they are of the rounds so far.
func (b *bench) inTurns(ctx context.Context, cases []benchCase, rounds int) (map[string]usage, error) {
	all := map[string][]usage{}
	for round := range rounds {
		for _, c := range cases {
			start := time.Now()
			u, err := b.once(ctx, c)
			if ctx.Err() != nil && round > 0 {
				say("stopped: what was measured so far is reported")
				return medians(all), nil
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c, err)
			}
			say("round %d of %d, %s: CPU %.2f s, %.2f s, %.0f MB (%.1f s)", round+1, rounds, c, u.cpu.Seconds(), u.wall.Seconds(), float64(u.rss)/1e6, time.Since(start).Seconds())
			all[c.String()] = append(all[c.String()], u)
		}
	}
	return medians(all), nil
}

func medians(all map[string][]usage) map[string]usage {
	of := map[string]usage{}
	for name, list := range all {
		of[name] = usage{
			cpu:  median(list, func(u usage) time.Duration { return u.cpu }),
			wall: median(list, func(u usage) time.Duration { return u.wall }),
			rss:  median(list, func(u usage) int64 { return u.rss }),
			size: median(list, func(u usage) int64 { return u.size }),
		}
	}
	return of
}

// once runs a case in a directory of its own.
func (b *bench) once(ctx context.Context, c benchCase) (usage, error) {
	var u usage
	dir, err := os.MkdirTemp(b.tmp, "case-")
	if err != nil {
		return u, err
	}
	defer os.RemoveAll(dir)
	if err := c.run(ctx, dir, &u); err != nil {
		return u, err
	}
	u.size, err = largestFile(dir)
	return u, err
}

func median[T time.Duration | int64](list []usage, of func(usage) T) T {
	var values []T
	for _, u := range list {
		values = append(values, of(u))
	}
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}

// largestFile is the size of the largest file in dir: the blob, whatever lies beside it.
func largestFile(dir string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size = max(size, info.Size())
		}
		return err
	})
	return size, err
}
