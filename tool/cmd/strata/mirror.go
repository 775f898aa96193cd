package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rules-strata/rules_strata/tool/binarycache"
	"github.com/rules-strata/rules_strata/tool/lock"
)

type mirrorFlags struct {
	lock    string
	json    bool
	network fetchFlags
}

func newMirrorCommand() *cobra.Command {
	var f mirrorFlags
	c := &cobra.Command{
		Use:   "mirror DIR|URL",
		Short: "Copy what a lock names into a cache of your own",
		Long: `Copies every NAR that a lock names, byte for byte and checked by its hashes, and
the narinfos with their signatures, into a folder or to an HTTP server that
takes PUT. What is there is not sent again, so the command may be stopped and
run again, and locks may share a mirror.

The mirror is a binary cache: strata and Nix take from it what they took from the
caches that it was copied from. To let builds take NARs from it first, name it in
strata.json, and lock again; no digest changes:

  "caches": [{"url": "https://cache.nixos.org", "mirrors": ["https://nix.example.com"]}]

A path that Guix' cache offers in several compressions is copied in the one that
the lock names.`,
		Example: `  strata mirror mirror
  strata mirror --lock images/strata.lock.json https://nix.example.com`,
		Args: oneArgument("folder or URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, args[0])
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.lock, "lock", lock.DefaultFile, "the lock `FILE`")
	fl.BoolVar(&f.json, "json", false, "print what was done as JSON")
	f.network.register(fl)
	return c
}

func (f *mirrorFlags) run(cmd *cobra.Command, target string) error {
	c, err := openCache(target, &f.network)
	if err != nil {
		return err
	}
	l, err := lock.Read(f.lock)
	if err != nil {
		return err
	}
	client, err := f.network.client(lock.Folder(f.lock))
	if err != nil {
		return err
	}
	progress := newProgress(cmd)
	result, caches, err := binarycache.Mirror(cmd.Context(), c, binarycache.MirrorOptions{
		Lock:     l,
		Client:   client,
		Progress: progress.showCopied,
	})
	progress.clear()
	if err != nil {
		return stopped(cmd.Context(), err)
	}
	progress.sayCopied(c, result)
	if f.json {
		report := newCacheReport(c, result)
		report.Mirrors = map[string][]string{}
		for _, cache := range caches {
			report.Mirrors[cache] = []string{c.URL()}
		}
		return writeJSON(cmd.OutOrStdout(), report)
	}
	for _, cache := range caches {
		progress.say("in caches of strata.json: %s", fmt.Sprintf(`{"url": %q, "mirrors": [%q]}`, cache, c.URL()))
	}
	return nil
}
