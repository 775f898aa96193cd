//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rules-strata/rules_strata/tool/action"
	"github.com/rules-strata/rules_strata/tool/image/imagetest"
)

// A signal in the midst of a blob ends the command like any error: exit code
// 1, and no file, half or whole, is there.
func TestArchive_Interrupted(t *testing.T) {
	layers := imagetest.Mini(t, testdata, "none")[2:]
	dir := t.TempDir()
	config, manifest, blobs := imageFiles(t, dir, layers)
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	go func() {
		b, err := os.ReadFile(blobs[0].Path)
		if err != nil {
			t.Error(err)
		}
		w, err := os.OpenFile(pipe, os.O_WRONLY, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer w.Close()
		half := len(b) / 2
		if _, err := w.Write(b[:half]); err != nil {
			t.Error(err)
		}
		cancel(errors.New("stopped by signal: interrupt"))
		w.Write(b[half:]) // The other side may be gone by now.
	}()
	var stdout, stderr bytes.Buffer
	out := filepath.Join(dir, "image.tar")
	code := program.Run(ctx, []string{
		"archive", "--config=" + config, "--manifest=" + manifest,
		"--layer=" + layers[0].DigestPath, "--blob=" + pipe, "--output=" + out,
	}, &stdout, &stderr)
	if code != action.ExitFailure || !strings.HasPrefix(stderr.String(), "image: error: ") || !strings.HasSuffix(stderr.String(), ": stopped by signal: interrupt\n") {
		t.Errorf("exit code %d, %s", code, &stderr)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 {
		t.Errorf("left behind: %v (%v)", entries, err)
	}
}
