// Command bench measures the layer tool on real packages: against what people
// use instead, against the limits of the machine it runs on, and as inputs
// grow. docs/performance.md holds what it printed, and says how to read it; bench/run runs it.
//
// Every measurement is of processes of their own (CPU time and memory as the
// kernel counts them), also those of the limits and of profiles: for them
// this program starts itself as a child (child.go). The cases of a table are
// run in turns, and the table has their medians: what disturbs the machine disturbs all alike.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/rules-strata/rules_strata/bench/section"
)

// sections are the parts of docs/performance.md that are written by this program, in the order in which they are measured.
var sections = []string{"compare", "profile", "growth", "actions"}

// bench is one run: its options, and what all measurements need.
type bench struct {
	rounds int
	long   bool
	script string // path of stream_layered_image.py, or ""
	layer  string // the layer tool
	self   string // this program
	tmp    string // for outputs
	corpus *corpus
	report report
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "child" {
		if err := child(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "bench: error:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		fmt.Fprintln(os.Stderr, "bench: error:", err)
		os.Exit(1)
	}
}

func say(format string, a ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", a...) }

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("bench/run", flag.ContinueOnError)
	small := flags.Bool("small", false, "use a corpus of some 70 MB instead of 700 MB, for a quick look")
	long := flags.Bool("long", false, "let inputs grow to 8 GB (needs 20 GB of disk)")
	rounds := flags.Int("rounds", 5, "how many times each case is run")
	script := flags.String("stream-layered-image", "", "`path` of nixpkgs' stream_layered_image.py, to compare with")
	only := flags.String("only", strings.Join(sections, ","), "the parts to measure")
	update := flags.Bool("update", false, "put the results into docs/performance.md")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("argument %q: options only; -help lists them", flags.Arg(0))
	}
	if *rounds < 1 {
		return fmt.Errorf("-rounds=%d: want 1 or more", *rounds)
	}
	parts := strings.Split(*only, ",")
	for _, p := range parts {
		if !slices.Contains(sections, p) {
			return fmt.Errorf("-only=%s: want some of %s", p, strings.Join(sections, ","))
		}
	}

	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	name, expressions := "full", packages
	if *small {
		name, expressions = "small", smallPackages
	}
	b := &bench{rounds: *rounds, long: *long, script: *script}
	if b.corpus, err = openCorpus(ctx, filepath.Join(cache, "strata-bench", name), expressions, say); err != nil {
		return err
	}
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if b.tmp, err = os.MkdirTemp("", "strata-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.tmp)
	b.layer = filepath.Join(b.tmp, "tool")
	// As Bazel builds it.
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", b.layer, "./tool/cmd/layer")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("building the layer tool: %w", err)
	}
	measure := map[string]func(context.Context) error{
		"compare": b.compare, "profile": b.profile, "growth": b.growth, "actions": b.actions,
	}
	contents, err := b.corpus.describe()
	if err != nil {
		return err
	}
	say("%s", contents)
	others := watchOthers()
	for _, part := range sections {
		if !slices.Contains(parts, part) || ctx.Err() != nil {
			continue
		}
		say("%s", part)
		if err = measure[part](ctx); err != nil {
			err = fmt.Errorf("%s: %w", part, err)
			break // What was measured before is reported all the same.
		}
	}
	b.report.describe(contents, b.rounds, others.share())
	fmt.Print(section.Markdown(b.report.sections))
	if *update {
		err = errors.Join(err, section.Update("docs/performance.md", b.report.sections))
	}
	return err
}
