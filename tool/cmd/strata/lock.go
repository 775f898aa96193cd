package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/lock"
	"github.com/rules-strata/rules_strata/tool/narinfo"
	"github.com/rules-strata/rules_strata/tool/plan"
	"github.com/rules-strata/rules_strata/tool/project"
)

// defaultSystem is what images are made for where nobody says another one.
const defaultSystem = "x86_64-linux"

type lockFlags struct {
	project       string
	output        string
	caches        []string
	allowUnsigned []string
	publicKeys    []string
	roots         []string
	channel       string
	system        string
	maxLayers     int
	refresh       bool
	update        []string
	updateAll     bool
	check         bool
	network       fetchFlags
}

func newLockCommand() *cobra.Command {
	var f lockFlags
	c := &cobra.Command{
		Use:   "lock",
		Short: "Check the caches' signatures and pin the closures of the roots",
		Long: `Reads strata.json, asks its caches for the closures of its roots, checks each
path's signature, plans the layers, and writes strata.lock.json beside it.

What the lock that is there says of a path is kept if it still holds by its
signature: only new paths are asked for. --refresh asks for all.

With --cache and --root there is no project file: the flags say all.

On any error the lock that is there stays as it is. A lock that would say the
same isn't touched.`,
		Example: `  strata lock
  strata lock --check    # in CI: is the lock what the project file says?
  strata lock --project images/strata.json
  strata lock --cache https://cache.nixos.org \
    --public-key cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY= \
    --root hello=/nix/store/…-hello-2.12.1 -o strata.lock.json
  strata lock --cache … --public-key … --root hello=@result.json    # nix build --json
  strata lock --cache … --public-key … --root hello=hello \
    --channel https://channels.nixos.org/nixos-25.05/store-paths.xz`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.project, "project", project.DefaultFile, "the project `FILE`")
	fl.StringVarP(&f.output, "output", "o", "", "the lock `FILE` (default: "+lock.DefaultFile+" beside the project file)")
	fl.StringArrayVar(&f.caches, "cache", nil, "the `URL` of a binary cache (file:, http: or https:); repeatable, asked in this order")
	fl.StringArrayVar(&f.publicKeys, "public-key", nil, "a `KEY` whose signatures are trusted: Nix' name:base64, Guix' (public-key …), or @FILE that holds one or is Guix' acl; repeatable")
	fl.StringArrayVar(&f.allowUnsigned, "allow-unsigned", nil, "the `URL` of a --cache whose paths need no signature; repeatable")
	fl.StringArrayVar(&f.roots, "root", nil, "a root, `NAME=STOREPATH`, NAME=@FILE for the one that a file of Nix or Guix names, or NAME=PACKAGE for one out of the --channel; repeatable")
	fl.StringVar(&f.channel, "channel", "", "the `URL` of a store-paths list, in which packages are looked up")
	fl.StringVar(&f.system, "system", defaultSystem, "the `SYSTEM` of each --root")
	fl.IntVar(&f.maxLayers, "max-layers", plan.DefaultMaxLayers, "the most layers `N` that an image may have")
	fl.StringArrayVar(&f.update, "update", nil, "look the root `NAME` up anew; repeatable")
	fl.BoolVar(&f.updateAll, "update-all", false, "look all roots up anew")
	fl.BoolVar(&f.refresh, "refresh", false, "ask the caches for every path, also for what the lock has and its signatures vouch for")
	fl.BoolVar(&f.check, "check", false, "write nothing; fail if the lock isn't what locking would write, and show what would change")
	f.network.register(fl)
	return c
}

func (f *lockFlags) run(cmd *cobra.Command) error {
	if f.output == "-" {
		return usagef("--output: want a file: a lock's relative URLs are relative to its folder")
	}
	p, dir, err := f.readProject(cmd)
	if err != nil {
		return err
	}
	output := cmp.Or(f.output, filepath.Join(filepath.Dir(f.project), lock.DefaultFile))
	old, damage, err := f.readOld(output)
	if err != nil {
		return err
	}
	client, err := f.network.client(dir)
	if err != nil {
		return err
	}
	o := lock.Options{
		Project: p,
		Dir:     dir,
		LockDir: lock.Folder(output),
		Client:  client,

		Previous:  old,
		Refresh:   f.refresh,
		Update:    f.update,
		UpdateAll: f.updateAll,
	}
	progress := newProgress(cmd)
	o.Progress = func(p lock.Progress) {
		if p.Found == 0 {
			progress.show("looking up roots, %s", formatBytes(p.Looked))
			return
		}
		read := ""
		if p.Bytes > 0 {
			read = ", " + formatBytes(p.Bytes)
		}
		progress.show("%d of %d store paths%s", p.Done, p.Found, read)
	}
	l, err := lock.Make(cmd.Context(), o)
	progress.clear()
	if err != nil {
		return stopped(cmd.Context(), err)
	}
	idle, err := plan.IdleGroups(l.PlanImages(), p.Groups)
	if err != nil {
		return err
	}
	for _, name := range idle {
		warn(cmd.ErrOrStderr(), "layering: the group %s means no path that no group before it means; strata plan shows how packages are named", name)
	}
	contents := fmt.Sprintf("%d store paths, %d layers", len(l.Paths), len(l.Plan.Layers))
	if f.check {
		if err := f.compare(cmd.OutOrStdout(), output, old, l); err != nil {
			return err
		}
		progress.say("%s is up to date: %s", output, contents)
		return nil
	}
	changed, err := lock.Write(output, l)
	if err != nil {
		return err
	}
	if damage != nil {
		warn(cmd.ErrOrStderr(), "%v: all was locked anew", damage)
	}
	if !changed {
		progress.say("%s is up to date: %s", output, contents)
		return nil
	}
	if old != nil {
		progress.write(diffText(lock.Compare(old, l), false) + "\n")
	}
	progress.say("%s written in %s: %s", output, progress.elapsed(), contents)
	return nil
}

// readOld returns the lock that is there, nil if there is none. One that isn't whole
// (a merge has left its marks in it, another version wrote it) is as none, so
// that locking mends it; damage says then what is wrong with it.
func (f *lockFlags) readOld(output string) (old *lock.Lock, damage, err error) {
	if info, err := os.Stat(output); err == nil && !info.Mode().IsRegular() && !f.check {
		return nil, nil, nil // Writing says what is wrong with it; reading might wait for ever.
	}
	old, err = lock.Read(output)
	var file *fs.PathError
	switch {
	case err == nil:
		return old, nil, nil
	case f.check:
		return nil, nil, &hinted{err, adviceToLock}
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, nil
	case errors.As(err, &file):
		return nil, nil, err
	}
	return nil, err, nil
}

const adviceToLock = "run `strata lock`, and check in what it writes"

// compare is what --check does: an error unless l is what the lock file says, to the byte. What differs it writes to w.
func (f *lockFlags) compare(w io.Writer, output string, old, l *lock.Lock) error {
	is, err := os.ReadFile(output)
	if err != nil {
		return err
	}
	want, err := l.Marshal()
	if err != nil || bytes.Equal(is, want) {
		return err
	}
	d := lock.Compare(old, l)
	if d.Empty() {
		return &hinted{fmt.Errorf("%s isn't written as locking would write it", output), adviceToLock}
	}
	if _, err := io.WriteString(w, diffText(d, false)); err != nil {
		return err
	}
	return &hinted{fmt.Errorf("%s isn't what the project file says: it would change as shown", output), adviceToLock}
}

// stopped returns why the program was told to stop, if that is why err came.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// readProject returns the project of the file or of the flags, and the folder
// that its file: URLs are relative to.
func (f *lockFlags) readProject(cmd *cobra.Command) (*project.Project, string, error) {
	flagsOnly := []string{"cache", "root", "channel", "public-key", "allow-unsigned", "system", "max-layers"}
	var given []string
	for _, name := range flagsOnly {
		if cmd.Flags().Changed(name) {
			given = append(given, "--"+name)
		}
	}
	if len(given) == 0 {
		p, err := project.Read(f.project)
		if errors.Is(err, fs.ErrNotExist) {
			err = &hinted{err, "write a project file, or say all by --cache, --public-key and --root"}
		}
		return p, lock.Folder(f.project), err
	}
	if cmd.Flags().Changed("project") {
		return nil, "", usagef("--project and %s exclude each other: a project file says that itself", given[0])
	}
	p, err := f.fromFlags()
	if err == nil {
		err = p.Check()
	}
	if err != nil {
		return nil, "", &usageError{err}
	}
	return p, ".", nil
}

func (f *lockFlags) fromFlags() (*project.Project, error) {
	p := &project.Project{Systems: []string{f.system}, MaxLayers: f.maxLayers}
	if len(f.caches) == 0 || len(f.roots) == 0 {
		return nil, errors.New("want at least one --cache and one --root, or a project file")
	}
	if _, err := project.ParseSystem(f.system); err != nil {
		return nil, fmt.Errorf("--system: %w", err)
	}
	for _, s := range f.caches {
		url, err := project.ParseCacheURL(s)
		if err != nil {
			return nil, fmt.Errorf("--cache: %w", err)
		}
		p.Caches = append(p.Caches, project.Cache{URL: url})
	}
	for _, s := range f.allowUnsigned {
		url, err := project.ParseCacheURL(s)
		if err != nil {
			return nil, fmt.Errorf("--allow-unsigned: %w", err)
		}
		known := false
		for i := range p.Caches {
			if p.Caches[i].URL == url {
				p.Caches[i].AllowUnsigned, known = true, true
			}
		}
		if !known {
			return nil, fmt.Errorf("--allow-unsigned: %s is none of the --cache URLs", fetch.Redact(s))
		}
	}
	for _, s := range f.publicKeys {
		keys, err := parsePublicKeys(s)
		if err != nil {
			return nil, fmt.Errorf("--public-key: %w", err)
		}
		p.PublicKeys = append(p.PublicKeys, keys...)
	}
	for _, s := range f.roots {
		root, err := project.ParseRoot(s, f.system)
		if err != nil {
			return nil, fmt.Errorf("--root: %w", err)
		}
		if root.Package != nil && f.channel == "" {
			return nil, fmt.Errorf("--root: %s is a package; say by --channel where to look it up, or write a store path or @FILE", s)
		}
		p.Roots = append(p.Roots, root)
	}
	if f.channel != "" {
		url, err := project.ParseChannelURL(f.channel)
		if err != nil {
			return nil, fmt.Errorf("--channel: %w", err)
		}
		p.Channels = []project.Channel{{Name: "channel", URLs: map[string]string{f.system: url}}}
	}
	return p, nil
}

// parsePublicKeys reads the value of --public-key.
func parsePublicKeys(s string) ([]narinfo.PublicKey, error) {
	if file, ok := strings.CutPrefix(s, "@"); ok {
		return project.ReadPublicKeys(file, "")
	}
	return narinfo.ParsePublicKeys(s)
}
