package main

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/rules-strata/rules_strata/tool/lock"
	"github.com/rules-strata/rules_strata/tool/project"
)

type verifyFlags struct {
	lock          string
	project       string
	publicKeys    []string
	allowUnsigned []string
	deep          bool
	json          bool
	registries    trustFlags
	network       fetchFlags
}

func newVerifyCommand() *cobra.Command {
	var f verifyFlags
	c := &cobra.Command{
		Use:   "verify [IMAGE]",
		Short: "Check a lock again, against its caches, or an image",
		Long: `Checks the signature or content address of every path of a lock, and asks the
caches again whether they still say of it what the lock says. With --deep, every
NAR is read, too, from its cache and from each mirror that the lock lists: its
hashes, its sizes, and that it is an archive which Nix would take.

The trusted keys are those of the project file. All that is wrong is told.

Of an IMAGE all that it says of itself is computed
again: digests, sizes, diff IDs; of layers that strata made, the order of entries, too. With --lock, the NAR of
each store path is made again out of the layers, too, and must have the lock's
hash, and what the path refers to must be in the image.
` + imageArguments,
		Example: `  strata verify
  strata verify web.tar --lock strata.lock.json
  strata verify registry.example.org/team/web:1.0
  strata verify --deep --lock images/strata.lock.json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("want at most one image, found %d arguments", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return f.runImage(cmd, args[0])
			}
			return f.run(cmd)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.lock, "lock", lock.DefaultFile, "the lock `FILE`")
	fl.StringVar(&f.project, "project", "", "the project `FILE` (default: "+project.DefaultFile+" beside the lock)")
	fl.StringArrayVar(&f.publicKeys, "public-key", nil, "in place of a project file's: a `KEY` whose signatures are trusted, as for strata lock; repeatable")
	fl.StringArrayVar(&f.allowUnsigned, "allow-unsigned", nil, "in place of a project file's: the `URL` of a cache, as the lock has it, whose paths need no signature; repeatable")
	fl.BoolVar(&f.deep, "deep", false, "read every NAR")
	fl.BoolVar(&f.json, "json", false, "print what was found as JSON")
	f.registries.register(fl)
	f.network.register(fl)
	return c
}

// verifyJSON is what --json writes.
type verifyJSON struct {
	Paths     int           `json:"paths"`
	Files     int           `json:"files"`
	FileBytes int64         `json:"file_bytes"`
	Faults    []verifyFault `json:"faults"`
}

type verifyFault struct {
	Path string `json:"path"`
	Text string `json:"text"`
}

func (f *verifyFlags) run(cmd *cobra.Command) error {
	l, err := lock.Read(f.lock)
	if err != nil {
		return err
	}
	dir := lock.Folder(f.lock)
	client, err := f.network.client(dir)
	if err != nil {
		return err
	}
	progress := newProgress(cmd)
	o := lock.VerifyOptions{
		Client: client,
		Deep:   f.deep,
		Progress: func(paths int, bytes int64) {
			progress.show("%d of %d store paths, %s", paths, len(l.Paths), formatBytes(bytes))
		},
	}
	if err := f.trust(cmd, dir, &o); err != nil {
		return err
	}
	report, err := lock.Verify(cmd.Context(), l, o)
	progress.clear()
	if cmd.Context().Err() != nil {
		return stopped(cmd.Context(), err)
	}
	if f.json && err == nil {
		return f.printJSON(cmd, report)
	}
	all := make([]error, 0, len(report.Faults)+1)
	for _, fault := range report.Faults {
		all = append(all, fault)
	}
	if err != nil {
		all = append(all, err)
	}
	switch {
	case len(all) == 1:
		return all[0]
	case len(all) > 1:
		return errors.Join(all...)
	case f.deep:
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is right: %d store paths, %d NAR files (%s)\n", f.lock, report.Paths, report.Files, formatBytes(report.FileBytes))
	default:
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is right: %d store paths\n", f.lock, report.Paths)
	}
	return err
}

func (f *verifyFlags) printJSON(cmd *cobra.Command, report *lock.VerifyReport) error {
	out := verifyJSON{Paths: report.Paths, Files: report.Files, FileBytes: report.FileBytes, Faults: []verifyFault{}}
	for _, fault := range report.Faults {
		out.Faults = append(out.Faults, verifyFault{string(fault.Path), fault.Err.Error()})
	}
	if err := writeJSON(cmd.OutOrStdout(), out); err != nil {
		return err
	}
	switch n := len(out.Faults); n {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("%s: 1 fault in it", f.lock)
	default:
		return fmt.Errorf("%s: %d faults in it", f.lock, n)
	}
}

// trust says whom o trusts: whom the flags name, or else the project file.
func (f *verifyFlags) trust(cmd *cobra.Command, dir string, o *lock.VerifyOptions) error {
	if len(f.publicKeys)+len(f.allowUnsigned) > 0 {
		if cmd.Flags().Changed("project") {
			return usagef("--project and --public-key or --allow-unsigned exclude each other: a project file says that itself")
		}
		for _, s := range f.publicKeys {
			keys, err := parsePublicKeys(s)
			if err != nil {
				return &usageError{fmt.Errorf("--public-key: %w", err)}
			}
			o.PublicKeys = append(o.PublicKeys, keys...)
		}
		for _, s := range f.allowUnsigned {
			url, err := project.ParseCacheURL(s)
			if err != nil {
				return &usageError{fmt.Errorf("--allow-unsigned: %w", err)}
			}
			o.Unsigned = append(o.Unsigned, url)
		}
		return nil
	}
	file := cmp.Or(f.project, filepath.Join(filepath.Dir(f.lock), project.DefaultFile))
	p, err := project.Read(file)
	if err != nil {
		return &hinted{err, "name the project file (--project), or say whom you trust by --public-key"}
	}
	o.PublicKeys = p.PublicKeys
	o.Unsigned, err = lock.UnsignedCaches(p, lock.Folder(file), dir)
	return err
}
