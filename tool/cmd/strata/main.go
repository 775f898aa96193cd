// Command strata makes container images out of store paths, for people: it
// locks what a project file asks for (strata lock), and builds the image that
// Bazel would build from that lock (strata build). `strata help` lists all.
//
// Here are the command lines only; what they do is in tool/lock, tool/layer and tool/image.
//
// The rules of what it says: results go to standard output; errors to standard
// error, each "strata: error: …", some with a "strata: hint: …"; progress to standard
// error, and only if that is a terminal. Exit codes: 0, 1 for a failure, 2 for a
// command line that makes no sense.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		s := <-signals
		signal.Stop(signals) // A second one ends the process at once.
		cancel(fmt.Errorf("stopped by signal: %v", s))
	}()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
