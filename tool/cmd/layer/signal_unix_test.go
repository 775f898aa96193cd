//go:build unix

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rules-strata/rules_strata/tool/action"
)

// A signal in the middle of a NAR (here: a pipe that nobody fills up) ends the program with
// an error, and no file is left.
func TestMain_Signals(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	info := readInfo(t, webDir+"/variants/none", "asn0wpn021jshb0g4kh09vy554qv14a2")
	whole, err := os.ReadFile(filepath.Join(webDir, "variants/none", info.URL))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		dir, outDir := t.TempDir(), t.TempDir()
		pipe := filepath.Join(dir, "nar")
		if err := syscall.Mkfifo(pipe, 0o600); err != nil {
			t.Skipf("no named pipes: %v", err)
		}
		cmd := exec.Command(exe, append(outputs(outDir), group(info, "--nar="+pipe)...)...)
		cmd.Env = append(os.Environ(), "STRATA_TEST_MAIN=1")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		w, err := os.OpenFile(pipe, os.O_WRONLY, 0) // waits for the program to open it
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(whole[:len(whole)/2]); err != nil {
			t.Fatal(err)
		}
		if entries, _ := os.ReadDir(outDir); len(entries) == 0 {
			t.Error("nothing is being written: the test shows nothing")
		}
		if err := cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			cmd.Process.Kill()
			t.Fatalf("%v: it keeps running", s)
		}
		if code := cmd.ProcessState.ExitCode(); code != action.ExitFailure || !strings.Contains(stderr.String(), fmt.Sprintf("layer: error: stopped by signal: %v", s)) {
			t.Errorf("%v: exit code %d: %s", s, code, stderr.String())
		}
		checkNames(t, outDir)
		w.Close()
	}
}

// A pipe that nobody opens for writing is left at the first signal, too.
func TestMain_SignalWhileOpening(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	info := readInfo(t, webDir+"/variants/none", "asn0wpn021jshb0g4kh09vy554qv14a2")
	dir, outDir := t.TempDir(), t.TempDir()
	pipe := filepath.Join(dir, "nar")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skipf("no named pipes: %v", err)
	}
	cmd := exec.Command(exe, append(outputs(outDir), group(info, "--nar="+pipe)...)...)
	cmd.Env = append(os.Environ(), "STRATA_TEST_MAIN=1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for range 200 { // The outputs' temporary files are there once it runs.
		if entries, _ := os.ReadDir(outDir); len(entries) > 0 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		cmd.Process.Kill()
		t.Fatal("it keeps waiting for the pipe")
	}
	if code := cmd.ProcessState.ExitCode(); code != action.ExitFailure {
		t.Errorf("exit code %d, want %d", code, action.ExitFailure)
	}
	checkNames(t, outDir)
}

// A pipe whose writer goes away in the middle is a NAR that is too short.
func TestRun_ClosedPipe(t *testing.T) {
	info := readInfo(t, webDir+"/variants/none", "asn0wpn021jshb0g4kh09vy554qv14a2")
	whole, err := os.ReadFile(filepath.Join(webDir, "variants/none", info.URL))
	if err != nil {
		t.Fatal(err)
	}
	dir, outDir := t.TempDir(), t.TempDir()
	pipe := filepath.Join(dir, "nar")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skipf("no named pipes: %v", err)
	}
	go func() {
		if w, err := os.OpenFile(pipe, os.O_WRONLY, 0); err == nil {
			w.Write(whole[:len(whole)/2])
			w.Close()
		}
	}()
	code, stderr := runIn(t, outDir, group(info, "--nar="+pipe)...)
	want := fmt.Sprintf("layer: error: %s: FileSize mismatch: want %d, got %d", info.StorePath, len(whole), len(whole)/2)
	other := fmt.Sprintf("layer: error: %s: NarSize mismatch: want %d, got %d", info.StorePath, len(whole), len(whole)/2)
	if code != action.ExitFailure || !strings.HasPrefix(stderr, want) && !strings.HasPrefix(stderr, other) {
		t.Errorf("exit code %d, want %s…: %s", code, want, stderr)
	}
	checkNames(t, outDir)
}

// Outputs get the permissions that the umask leaves.
func TestMain_Umask(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o027))
	info := readInfo(t, webDir+"/cache", "171i7j9q1s51y1w5a5lwh4j9jxgzaqkr")
	dir := t.TempDir()
	if code, stderr := runIn(t, dir, group(info, fromFile(webDir+"/cache", info))...); code != action.ExitOK {
		t.Fatal(stderr)
	}
	for _, name := range []string{"blob", "blob.json"} {
		if f, err := os.Stat(filepath.Join(dir, name)); err != nil || f.Mode().Perm() != 0o640 {
			t.Errorf("%s: %v, %v; want 0640", name, f.Mode(), err)
		}
	}
}
