// Command files is the action binary behind file_layer, root_layer, etc_layer
// and tar_layer: it turns files of the build into a layer and its digest file.
//
// It is a binary of its own, apart from tool/cmd/layer: what changes here makes
// no layer of store paths anew in anyone's cache. All that it knows of layers is
// in package filelayer; here are the arguments and the outputs (whole or not at all).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/rules-strata/rules_strata/tool/paramfile"
)

func main() {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		s := <-signals
		signal.Stop(signals) // A second one ends the process at once.
		cancel(fmt.Errorf("stopped by signal: %v", s))
	}()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// usageError is a fault in the arguments.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, a ...any) error { return usageError{fmt.Errorf(format, a...)} }

// run is the whole program: it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	err := dispatch(ctx, args, stdout)
	if err == nil {
		return exitOK
	}
	for fault := range strings.SplitSeq(err.Error(), "\n") { // Those of a specification are told together.
		fmt.Fprintf(stderr, "files: error: %s\n", fault)
	}
	if errors.As(err, new(usageError)) {
		fmt.Fprintln(stderr, "files: hint: files --help lists the arguments")
		return exitUsage
	}
	var h interface{ Hint() string }
	if errors.As(err, &h) && h.Hint() != "" {
		fmt.Fprintf(stderr, "files: hint: %s\n", h.Hint())
	}
	return exitFailure
}

func dispatch(ctx context.Context, args []string, stdout io.Writer) error {
	args, err := paramfile.Expand(args)
	if err != nil {
		return err
	}
	for _, a := range args {
		if a == "--help" || a == "-h" {
			_, err := io.WriteString(stdout, help)
			return err
		}
	}
	if len(args) == 0 {
		return usagef("want a command: layer or tar")
	}
	c, err := parse(args[0], args[1:])
	if err != nil {
		return err
	}
	if c.command == commandTar {
		return c.writeVerbatim(ctx)
	}
	return c.writeLayer(ctx)
}
