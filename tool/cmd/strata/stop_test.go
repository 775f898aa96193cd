package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// Stopped in the middle of a download, strata leaves nothing behind and says why.
func TestStopped(t *testing.T) {
	files := http.FileServer(http.Dir(filepath.Join(webDir, "cache")))
	var handler atomic.Pointer[http.HandlerFunc]
	handle := func(f http.HandlerFunc) { handler.Store(&f) }
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*handler.Load())(w, r) }))
	defer s.Close()

	dir := t.TempDir()
	lockFile, archive := filepath.Join(dir, "lock.json"), filepath.Join(dir, "image.tar")
	lockArgs := []string{
		"lock", "--cache", s.URL, "--public-key", webKey(t, "strata-web-1"),
		"--root", "web=/nix/store/dr6a8bs5f2hyww3awb6nnhxlg3qvfdhr-web-1.0", "-o", lockFile,
	}
	handle(files.ServeHTTP)
	if code := run(t.Context(), lockArgs, new(bytes.Buffer), os.Stderr); code != exitOK {
		t.Fatalf("lock: exit code %d", code)
	}
	good, err := os.ReadFile(lockFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(archive, []byte("old"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		hang string // requests of this suffix stall
		args []string
	}{
		{"fkrb1qrhrnbscg7h6adzd8zp536bkfgb.narinfo", append(slices.Clone(lockArgs), "--refresh")},
		{".nar.zst", []string{"build", "--lock", lockFile, "-o", archive}},
		{".nar.zst", []string{"build", "--lock", lockFile, "--max-layers", "1", "-o", archive, "--digest-file", filepath.Join(dir, "digest")}},
		{".nar.zst", []string{"build", "--lock", lockFile, "--format", "layout", "-o", filepath.Join(dir, "layout")}},
	} {
		ctx, stop := context.WithCancelCause(t.Context())
		handle(func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasSuffix(r.URL.Path, tc.hang) {
				files.ServeHTTP(w, r)
				return
			}
			w.Header().Set("Content-Length", "100")
			w.Write([]byte("x"))
			w.(http.Flusher).Flush()
			stop(errors.New("stopped by signal: terminated"))
			<-r.Context().Done()
		})
		var out, errs bytes.Buffer
		code := run(ctx, tc.args, &out, &errs)
		stop(nil)
		if code != exitFailed || errs.String() != "strata: error: stopped by signal: terminated\n" || out.Len() > 0 {
			t.Errorf("%v: exit code %d, stdout %q, stderr %q", tc.args, code, &out, &errs)
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 2 {
			t.Errorf("%v: left behind: %v, %v", tc.args, entries, err)
		}
		if b, err := os.ReadFile(lockFile); err != nil || !bytes.Equal(b, good) {
			t.Errorf("%v: the lock is another one: %v", tc.args, err)
		}
		if b, err := os.ReadFile(archive); err != nil || string(b) != "old" {
			t.Errorf("%v: the archive is another one: %v", tc.args, err)
		}
	}
}

// When nobody reads an archive to its end, as in strata build -o - | head, strata says nothing, and leaves nothing behind.
func TestStopped_NobodyReads(t *testing.T) {
	lock, err := filepath.Abs("../../../examples/web/strata.lock.json")
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r.Close()
	temp := t.TempDir()
	var stderr bytes.Buffer
	cmd := exec.Command("strata", "build", "--lock", lock, "--root", "web", "--compression", "none", "-o", "-")
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	cmd.Stdout, cmd.Stderr = w, &stderr
	cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != exitFailed || stderr.Len() > 0 {
		t.Errorf("%v, want exit code %d; stderr %q", cmd.ProcessState, exitFailed, &stderr)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
