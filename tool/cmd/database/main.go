// Command database is the action binary behind the databases of image: it makes the layer by which Nix or Guix, inside the image or
// over it, knows the image's store paths.
//
// It is a binary of its own since it alone needs SQLite. All that it knows of databases is in package database, of layers in
// package filelayer; here are the arguments and the outputs (whole or not at all).
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
	for fault := range strings.SplitSeq(err.Error(), "\n") { // Those of a registration are told together.
		fmt.Fprintf(stderr, "database: error: %s\n", fault)
	}
	if errors.As(err, new(usageError)) {
		fmt.Fprintln(stderr, "database: hint: database --help lists the arguments")
		return exitUsage
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
	c, err := parse(args)
	if err != nil {
		return err
	}
	return c.write(ctx)
}
