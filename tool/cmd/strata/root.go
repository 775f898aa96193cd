package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/rules-strata/rules_strata/tool/terminal"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// usageError is a command line that makes no sense.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// hinted is an error with advice.
type hinted struct {
	error
	hint string
}

func (e *hinted) Unwrap() error { return e.error }
func (e *hinted) Hint() string  { return e.hint }

// run is the whole program: it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	if nobodyReads(err) {
		return exitFailed // As other programs, it doesn't complain: whoever stopped reading knows.
	}
	report(stderr, err)
	if errors.As(err, new(*usageError)) {
		fmt.Fprintf(stderr, "strata: hint: %s --help says more\n", cmd.CommandPath())
		return exitUsage
	}
	return exitFailed
}

// nobodyReads reports whether err is that standard output is a pipe whose reader has gone.
func nobodyReads(err error) bool {
	var write *fs.PathError
	return errors.As(err, &write) && write.Path == os.Stdout.Name() && errors.Is(write, syscall.EPIPE)
}

// warn writes what people should know who get what they asked for.
func warn(w io.Writer, format string, args ...any) {
	fmt.Fprintf(w, "strata: warning: "+format+"\n", args...)
}

// report writes each of the errors that err joins, and each hint once, at the end.
func report(w io.Writer, err error) {
	var hints []string
	var one func(error)
	one = func(err error) {
		if joined, ok := err.(interface{ Unwrap() []error }); ok && strings.Contains(err.Error(), "\n") {
			for _, err := range joined.Unwrap() {
				one(err)
			}
			return
		}
		fmt.Fprintf(w, "strata: error: %s\n", terminal.Printable(err.Error()))
		var h interface{ Hint() string }
		if errors.As(err, &h) && h.Hint() != "" {
			for _, before := range hints {
				if before == h.Hint() {
					return
				}
			}
			hints = append(hints, h.Hint())
		}
	}
	one(err)
	for _, h := range hints {
		fmt.Fprintf(w, "strata: hint: %s\n", terminal.Printable(h))
	}
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "strata",
		Short: "Container images out of Nix and Guix store paths",
		Long: `strata turns store paths (Nix, Guix) into container images, reproducible to the
bit, without Nix or Guix on the machine: out of a binary cache.

  strata lock    checks signatures and pins what strata.json asks for
  strata plan    shows how a lock's paths are layered, and what an update sends
  strata diff    shows what differs between two locks, or two images
  strata verify  checks a lock again, against its caches, or an image
  strata build   makes the image that Bazel makes from the same lock
  strata inspect shows what an image is, and which store paths it holds
  strata ls      lists the files of an image
  strata load    puts an image into docker, podman or containerd
  strata stream  writes an image as an archive, for other runtimes
  strata export  writes an image's root file system as one tar
  strata push    sends an image to a registry, as far as it lacks it
  strata pull    fetches an image from a registry, with or without its layers
  strata serve   serves images to pull: built ones, and packages by name
  strata cache   writes a signed binary cache from store paths on disk
  strata mirror  copies what a lock names into a cache of your own
  strata version says which strata this is`,
		Example: `  strata lock
  strata build --root web --tag web:dev -o web.tar
  strata load web.tar
  strata build --help`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
		// Errors are reported by run, in one form.
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.PersistentFlags().BoolP(quietFlag, "q", false, "print results, warnings and errors alone, not what is done on the way and what was done")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	commands := []*cobra.Command{
		newLockCommand(), newPlanCommand(), newDiffCommand(), newVerifyCommand(),
		newBuildCommand(), newInspectCommand(), newLsCommand(), newLoadCommand(), newStreamCommand(), newExportCommand(),
		newServeCommand(), newCacheCommand(), newMirrorCommand(), newPushCommand(), newPullCommand(), newVersionCommand(),
	}
	for _, c := range commands {
		if c.Args == nil {
			c.Args = noArgs
		}
		root.AddCommand(c)
	}
	root.Args = func(_ *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usagef("there is no command %q", args[0])
		}
		return nil
	}
	return root
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes flags only, found %q", cmd.CommandPath(), args[0])
	}
	return nil
}
