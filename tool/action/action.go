// Package action is what the action binaries do alike, whatever they make: they
// take their arguments from files, stop when Bazel or a person tells them to, say what is wrong and what may help, and end with an
// exit code that tells a wrong command line from a failure.
package action

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/rules-strata/rules_strata/tool/terminal"
)

// The exit codes of an action binary.
const (
	ExitOK      = 0
	ExitFailure = 1
	ExitUsage   = 2 // The arguments are wrong.
)

// Program is an action binary.
type Program struct {
	// Name is what its messages begin with.
	Name string
	// Help is what --help prints.
	Help string
	// Do does the work. args are those of the command line, with what stands in parameter files ("@FILE") in their places; none
	// is --help. It stops when ctx ends. An error with a method Hint() string says by it what may help.
	Do func(ctx context.Context, args []string) error
}

// Main runs the program and ends the process. The first SIGINT, SIGTERM or SIGHUP ends Do's ctx, a second one the process at once.
func (p Program) Main() {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		s := <-signals
		signal.Stop(signals)
		cancel(fmt.Errorf("stopped by signal: %v", s))
	}()
	os.Exit(p.Run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// Run is [Program.Main] without the process: it returns the exit code.
func (p Program) Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	err := p.run(ctx, args, stdout)
	if err == nil {
		return ExitOK
	}
	faults := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok { // as by errors.Join
		faults = joined.Unwrap()
	}
	for _, fault := range faults {
		fmt.Fprintf(stderr, "%s: error: %s\n", p.Name, terminal.Printable(fault.Error()))
	}
	if errors.As(err, new(*UsageError)) {
		fmt.Fprintf(stderr, "%s: hint: %[1]s --help lists the arguments\n", p.Name)
		return ExitUsage
	}
	var h interface{ Hint() string }
	if errors.As(err, &h) && h.Hint() != "" {
		fmt.Fprintf(stderr, "%s: hint: %s\n", p.Name, terminal.Printable(strings.TrimSpace(h.Hint())))
	}
	return ExitFailure
}

func (p Program) run(ctx context.Context, args []string, stdout io.Writer) error {
	args, err := expand(args)
	if err != nil {
		return err
	}
	if slices.Contains(args, "--help") || slices.Contains(args, "-h") {
		_, err := io.WriteString(stdout, p.Help)
		return err
	}
	err = p.Do(ctx, args)
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(err, cause) {
		return cause // What else went wrong is a consequence.
	}
	return err
}

// UsageError is a fault in the arguments.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the fault itself.
func (e *UsageError) Unwrap() error { return e.Err }

// Usagef returns a [UsageError], with a text as by [fmt.Errorf].
func Usagef(format string, a ...any) error { return &UsageError{fmt.Errorf(format, a...)} }
