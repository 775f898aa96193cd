package clients_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
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

// clean is run for what a test does last, when its context is over. A failure is the test's.
func (c client) clean(t *testing.T, args ...string) (output string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	cmd := commandContext(ctx, c[0], c.with(args)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Errorf("$ %s %s\n%s%s%v", c[0], strings.Join(cmd.Args[1:], " "), &stdout, &stderr, err)
	}
	return strings.TrimSpace(stdout.String())
}

func (c client) with(args []string) []string {
	return append(c[1:len(c):len(c)], args...)
}

// daemon is a program that runs beside the tests, and what it has written.
type daemon struct {
	name    string
	process *os.Process
	log     string
	ended   chan struct{} // closed when it has
}

func launch(t *testing.T, name string, args ...string) *daemon {
	t.Helper()
	log, err := os.CreateTemp(workDir, filepath.Base(name)+"-*.log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	c := commandContext(context.Background(), name, args...)
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	d := &daemon{name: name, process: c.Process, log: log.Name(), ended: make(chan struct{})}
	go func() {
		c.Wait()
		close(d.ended)
	}()
	return d
}

// showLog has the end of the log in that of the test, if it fails.
func (d *daemon) showLog(t *testing.T) {
	t.Cleanup(func() {
		if t.Failed() {
			b, _ := os.ReadFile(d.log)
			t.Logf("the log of %s ends:\n%s", d.name, b[max(0, len(b)-4000):])
		}
	})
}

// start starts a daemon that ends with the test: by SIGTERM, then by SIGKILL.
// The channel is closed when it has ended.
func start(t *testing.T, name string, args ...string) (ended <-chan struct{}) {
	t.Helper()
	d := launch(t, name, args...)
	d.showLog(t)
	t.Cleanup(func() {
		d.process.Signal(syscall.SIGTERM)
		select {
		case <-d.ended:
		case <-time.After(30 * time.Second):
			t.Errorf("%s did not end on SIGTERM", name)
		}
		syscall.Kill(-d.process.Pid, syscall.SIGKILL)
		<-d.ended
	})
	return d.ended
}

// shared are the daemons that share has started.
var shared = map[string]*daemon{}

// share starts a daemon, unless it runs, and waits until it is ready. It lives until all tests are over, and ends with their namespaces.
func share(t *testing.T, name string, ready func() bool, command string, args ...string) *daemon {
	t.Helper()
	d := shared[name]
	if d == nil {
		d = launch(t, command, args...)
		d.name = name
		shared[name] = d
	}
	d.showLog(t)
	await(t, name+" answers", d.ended, ready)
	return d
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
