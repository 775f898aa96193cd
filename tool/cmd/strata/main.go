// Command strata makes container images out of store paths, for people: it
// locks what a project file asks for (strata lock), and builds the image that
// Bazel would build from that lock (strata build). `strata help` lists all.
//
// Here are the command lines only; what they do is in tool/lock, tool/layer and tool/image.
//
// The rules of what it says: results go to standard output; errors to standard
// error, each "strata: error: …" or "strata: warning: …", some with a "strata: hint: …"; to standard error, too, how far the work
// is, on a terminal, and in the end what was done (unless --quiet). Exit codes: 0, 1 for a failure, 2 for a command line that
// makes no sense.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

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
	// Where nobody reads standard output any more (strata build -o - | head), a write shall fail: then what is temporary is
	// removed. By itself Go ends the process at once.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	launched, err := launchArguments(os.Args[0])
	if err == nil {
		err = enterWorkingDirectory()
	}
	if err != nil {
		report(os.Stderr, err)
		os.Exit(exitFailed)
	}
	os.Exit(run(ctx, append(launched, os.Args[1:]...), os.Stdout, os.Stderr))
}

// enterWorkingDirectory goes where the user is who said `bazel run`: Bazel
// starts the program in its runfiles, and says by an environment variable where
// it was called. Programs that `bazel run` starts and that went elsewhere themselves mean it so.
func enterWorkingDirectory() error {
	dir := os.Getenv("BUILD_WORKING_DIRECTORY")
	if dir == "" {
		return nil
	}
	now, err := os.Getwd()
	if err != nil || !strings.Contains(now, ".runfiles/") {
		return err
	}
	return os.Chdir(dir)
}
