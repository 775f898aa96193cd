// Command bazel measures what the rules cost in real Bazel:
//
//	go run ./bench/bazel loading    what a lock of 2,000 paths adds to the start of a Bazel server
//	go run ./bench/bazel actions    a thousand layers of 1 kB, next to a thousand actions that do nothing
//
// Each case is a workspace of its own, with the tools prebuilt; cases run in turns, and what is
// printed (Markdown) is medians. It runs in the checkout and uses its bazelw.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench: error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("bench/bazel", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "usage: go run ./bench/bazel [options] loading|actions")
		flags.PrintDefaults()
	}
	rounds := flags.Int("rounds", 5, "how many times each case is run")
	paths := flags.Int("paths", 0, "store paths of the lock (2000), or layers (1000)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 || *rounds < 1 || *paths < 0 {
		flags.Usage()
		return errors.New("want one of loading and actions")
	}
	b, err := newBench(ctx, *rounds)
	if err != nil {
		return err
	}
	defer b.close()
	switch what := flags.Arg(0); what {
	case "loading":
		return b.loading(orDefault(*paths, 2000))
	case "actions":
		return b.actions(orDefault(*paths, 1000))
	default:
		return fmt.Errorf("%q: want loading or actions", what)
	}
}

func orDefault(n, otherwise int) int {
	if n == 0 {
		return otherwise
	}
	return n
}

// timing is what one command took, in all of its rounds.
type timing []time.Duration

func (t timing) median() time.Duration {
	sorted := slices.Sorted(slices.Values(t))
	return sorted[len(sorted)/2]
}

func (t timing) String() string {
	return fmt.Sprintf("%.2f s (%.2f to %.2f)", t.median().Seconds(), slices.Min(t).Seconds(), slices.Max(t).Seconds())
}
