package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rules-strata/rules_strata/tool/binarycache"
	"github.com/rules-strata/rules_strata/tool/graph"
	"github.com/rules-strata/rules_strata/tool/narinfo"
)

type cacheFlags struct {
	graph       string
	key         string
	unsigned    bool
	store       string
	compression string
	output      string
	json        bool
	network     fetchFlags
}

func newCacheCommand() *cobra.Command {
	var f cacheFlags
	c := &cobra.Command{
		Use:   "cache",
		Short: "Write a signed binary cache from store paths on disk",
		Long: `Puts store paths that are on this machine's disk into a binary cache, as
nix copy does, but without Nix: for each a NAR and a signed narinfo.

Which paths, and what they refer to, says a graph. Any of these will do:

  nix path-info --json --recursive PATH   Nix' database; has hashes, which are checked
  a closureInfo's registration            what nix-store --load-db reads; has hashes
  exportReferencesGraph                   of a derivation of Nix; has none
  #:references-graphs                     of a derivation of Guix; has none

A path that is in the cache already, whole and signed by the key, is left as it
is, so the command may be stopped and run again.

A key is made by nix key generate-secret, or nix-store --generate-binary-cache-key.
Its public half, which the command prints at the end, belongs into
public_keys of strata.json, as the cache belongs into caches.`,
		Example: `  nix path-info --json --recursive ./result > closure.json
  strata cache --graph closure.json --key secret.key -o cache
  strata cache --graph closure.json --key secret.key -o https://cache.example.com
  strata cache --graph /mnt/closure/registration --store /mnt/nix/store --key secret.key -o cache`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.graph, "graph", "", "the `FILE` that lists the store paths with their references; - for standard input")
	fl.StringVar(&f.key, "key", "", "the `FILE` with the secret key that signs, as Nix writes it")
	fl.BoolVar(&f.unsigned, "unsigned", false, "sign nothing, in place of --key")
	fl.StringVar(&f.store, "store", "", "the `DIR` that the store paths are in (default: what their names say, such as /nix/store)")
	fl.StringVar(&f.compression, "compression", binarycache.Compressions()[0], "how NARs are compressed: `"+strings.Join(binarycache.Compressions(), "|")+"`")
	fl.StringVarP(&f.output, "output", "o", "", "the cache: a `DIR|URL`, a folder or an HTTP server that takes PUT")
	fl.BoolVar(&f.json, "json", false, "print what was done as JSON")
	f.network.register(fl)
	return c
}

func (f *cacheFlags) run(cmd *cobra.Command) error {
	switch {
	case f.graph == "":
		return usagef("--graph: want a file that lists the store paths")
	case f.output == "":
		return usagef("--output: want a folder or a URL")
	case f.key == "" && !f.unsigned:
		return usagef("want --key to sign by, or --unsigned")
	case f.key != "" && f.unsigned:
		return usagef("--key and --unsigned exclude each other")
	}
	known := false
	for _, name := range binarycache.Compressions() {
		known = known || name == f.compression
	}
	if !known {
		return usagef("--compression: want %s, found %q", strings.Join(binarycache.Compressions(), ", "), f.compression)
	}
	c, err := openCache(f.output, &f.network)
	if err != nil {
		return err
	}
	o := binarycache.WriteOptions{Compression: f.compression}
	if f.key != "" {
		key, err := narinfo.ReadSecretKey(f.key)
		if err != nil {
			return fmt.Errorf("--key: %w", err)
		}
		o.Key = &key
	}
	if o.Graph, err = f.readGraph(cmd.InOrStdin()); err != nil {
		return fmt.Errorf("--graph: %w", err)
	}
	if f.store == "" {
		f.store = o.Graph.StoreDir()
	}
	if o.Store, err = os.OpenRoot(f.store); err != nil {
		return fmt.Errorf("--store: %w", err)
	}
	defer o.Store.Close()
	progress := newProgress(cmd)
	o.Progress = progress.showCopied
	result, err := binarycache.Write(cmd.Context(), c, o)
	progress.clear()
	if err != nil {
		return stopped(cmd.Context(), err)
	}
	report := newCacheReport(c, result)
	if o.Key != nil {
		report.PublicKey = o.Key.Public().String()
	}
	progress.sayCopied(c, result)
	if f.json {
		return writeJSON(cmd.OutOrStdout(), report)
	}
	if report.PublicKey != "" {
		progress.say("the key that vouches for it: %s", report.PublicKey)
	}
	return nil
}

func (f *cacheFlags) readGraph(stdin io.Reader) (g *graph.Graph, err error) {
	if f.graph != "-" {
		g, err = graph.Read(f.graph)
	} else {
		var b []byte
		if b, err = io.ReadAll(io.LimitReader(stdin, graph.MaxSize+1)); err == nil {
			g, err = graph.Parse(b)
		}
	}
	if err == nil && len(g.Nodes) == 0 {
		err = &hinted{
			errors.New("it says no references: it is what nix build --json says of outputs"),
			"make it with nix path-info --json --recursive, or take a references graph or a registration",
		}
	}
	return g, err
}

// openCache opens a cache to write to.
func openCache(target string, network *fetchFlags) (*binarycache.Cache, error) {
	if target == "-" {
		return nil, usagef("a cache is a folder or a URL; standard output can't be one")
	}
	client, err := network.client("")
	if err != nil {
		return nil, err
	}
	return binarycache.Open(target, client)
}

// cacheReport is what --json says of a cache that was written.
type cacheReport struct {
	// Cache is its URL.
	Cache string `json:"cache"`
	// PathsWritten and PathsThere are numbers of store paths; those that were there are left as they were.
	PathsWritten int `json:"paths_written"`
	PathsThere   int `json:"paths_there"`
	// FilesWritten is a number of NARs, BytesWritten the sum of their sizes as they are stored.
	FilesWritten int   `json:"files_written"`
	BytesWritten int64 `json:"bytes_written"`
	// PublicKey is the signer's, of strata cache.
	PublicKey string `json:"public_key,omitempty"`
	// Mirrors are what strata.json may say of strata mirror's caches.
	Mirrors map[string][]string `json:"mirrors,omitempty"`
}

func newCacheReport(c *binarycache.Cache, r binarycache.Result) *cacheReport {
	return &cacheReport{
		Cache: c.URL(), PathsWritten: r.Written, PathsThere: r.There, FilesWritten: r.Files, BytesWritten: r.FileBytes,
	}
}

func (p *progress) showCopied(at binarycache.Progress) {
	p.show("%d of %d store paths, %s", at.Done, at.Total, formatBytes(at.Bytes))
}

func (p *progress) sayCopied(c *binarycache.Cache, r binarycache.Result) {
	p.say("%s: %d store paths written, %d were there; %d NARs (%s) in %s", c, r.Written, r.There, r.Files, formatBytes(r.FileBytes), p.elapsed())
}
