// Command run is the action binary behind run_layer: it runs a program of an image over the image, and makes a layer of
// what the program changed, with its digest file.
//
// All that it knows of that is in package runlayer; here are the arguments and the outputs (whole or not at all).
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
	"github.com/rules-strata/rules_strata/tool/runlayer"
)

func main() {
	runlayer.Main()
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
	fmt.Fprintf(stderr, "run: error: %v\n", err)
	if errors.As(err, new(usageError)) {
		fmt.Fprintln(stderr, "run: hint: run --help lists the arguments")
		return exitUsage
	}
	var h interface{ Hint() string }
	if errors.As(err, &h) && h.Hint() != "" {
		fmt.Fprintf(stderr, "run: hint: %s\n", strings.TrimSpace(h.Hint()))
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
