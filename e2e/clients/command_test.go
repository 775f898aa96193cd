package clients_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// commandTimeout ends a client that hangs; none takes a tenth of it.
const commandTimeout = 3 * time.Minute

// command returns a command whose whole process group dies with the test.
func command(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandTimeout)
	t.Cleanup(cancel)
	return commandContext(ctx, name, args...)
}

func commandContext(ctx context.Context, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, name, args...)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = 5 * time.Second
	return c
}

// run runs a client, which must succeed, and returns its standard output without
// white space around it. What it wrote to standard error is shown if it fails.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := try(t, name, args...)
	if err != "" {
		t.Fatal(err)
	}
	return out
}

// try is run for a client that may fail: failure is a text that tells the whole
// story, or "".
func try(t *testing.T, name string, args ...string) (output, failure string) {
	t.Helper()
	c := command(t, name, args...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); err != nil {
		return "", "$ " + name + " " + strings.Join(args, " ") + "\n" + stdout.String() + stderr.String() + name + ": " + err.Error()
	}
	return strings.TrimSpace(stdout.String()), ""
}

// client is a program with the arguments that each of its uses begins with.
type client []string

func (c client) run(t *testing.T, args ...string) string {
	t.Helper()
	return run(t, c[0], c.with(args)...)
}

func (c client) try(t *testing.T, args ...string) (output, failure string) {
	t.Helper()
	return try(t, c[0], c.with(args)...)
}

func (c client) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return command(t, c[0], c.with(args)...)
}

func (c client) with(args []string) []string {
	return append(c[1:len(c):len(c)], args...)
}

// start starts a daemon that ends with the test: by SIGTERM, then by SIGKILL.
// What it writes goes to a file, and into the test's log if the test fails.
// The channel is closed when it has ended.
func start(t *testing.T, name string, args ...string) (ended <-chan struct{}) {
	t.Helper()
	log, err := os.CreateTemp(workDir, name+"-*.log")
	if err != nil {
		t.Fatal(err)
	}
	c := commandContext(context.Background(), name, args...)
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		c.Wait()
		close(done)
	}()
	t.Cleanup(func() {
		c.Process.Signal(syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(30 * time.Second):
			t.Errorf("%s did not end on SIGTERM", name)
		}
		syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
		<-done
		log.Close()
		if t.Failed() {
			b, _ := os.ReadFile(log.Name())
			t.Logf("the log of %s ends:\n%s", name, b[max(0, len(b)-4000):])
		}
	})
	return done
}

// await polls until ready says yes, or fails the test when the daemon has ended
// or half a minute is over.
func await(t *testing.T, what string, ended <-chan struct{}, ready func() bool) {
	t.Helper()
	for limit := time.Now().Add(30 * time.Second); !ready(); time.Sleep(50 * time.Millisecond) {
		select {
		case <-ended:
			t.Fatalf("%s: it ended", what)
		default:
		}
		if time.Now().After(limit) {
			t.Fatalf("%s: not after half a minute", what)
		}
	}
}
