package action

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type hinted struct{ error }

func (hinted) Hint() string { return "do it again\n" }

// What a program says and ends with is the same for all of them.
func TestRun(t *testing.T) {
	stopped, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("stopped by signal: terminated"))
	for _, tc := range []struct {
		name string
		ctx  context.Context
		err  error
		code int
		want string
	}{
		{"well", t.Context(), nil, ExitOK, ""},
		{"failure", t.Context(), errors.New("x.nar: it is gone"), ExitFailure, "p: error: x.nar: it is gone\n"},
		{"several", t.Context(), errors.Join(errors.New("a"), errors.New("b")), ExitFailure, "p: error: a\np: error: b\n"},
		{"lines", t.Context(), errors.New("it wrote:\n  x"), ExitFailure, "p: error: it wrote:\n  x\n"},
		{"hint", t.Context(), fmt.Errorf("x: %w", hinted{errors.New("y")}), ExitFailure, "p: error: x: y\np: hint: do it again\n"},
		{"usage", t.Context(), fmt.Errorf("x: %w", Usagef("no %s", "y")), ExitUsage, "p: error: x: no y\np: hint: p --help lists the arguments\n"},
		{"stopped", stopped, fmt.Errorf("x: %w", context.Canceled), ExitFailure, "p: error: stopped by signal: terminated\n"},
		{"stopped, and said where", stopped, fmt.Errorf("x: %w", context.Cause(stopped)), ExitFailure, "p: error: x: stopped by signal: terminated\n"},
		{"stopped too late", stopped, nil, ExitOK, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var stdout, stderr strings.Builder
			p := Program{Name: "p", Help: "help\n", Do: func(context.Context, []string) error { return tc.err }}
			if code := p.Run(tc.ctx, []string{"--x"}, &stdout, &stderr); code != tc.code || stderr.String() != tc.want || stdout.Len() > 0 {
				t.Errorf("exit code %d, stdout %q, stderr %q; want %d, nothing, %q", code, &stdout, &stderr, tc.code, tc.want)
			}
		})
	}
}

// Do has the arguments of parameter files, and never --help.
func TestRun_Arguments(t *testing.T) {
	file := filepath.Join(t.TempDir(), "params")
	if err := os.WriteFile(file, []byte("--a=1\n-h\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var got []string
	p := Program{Name: "p", Help: "help\n", Do: func(_ context.Context, args []string) error {
		got = args
		return nil
	}}
	var stdout strings.Builder
	if code := p.Run(t.Context(), []string{"--b", "@" + file}, &stdout, io.Discard); code != ExitOK || stdout.String() != "help\n" || got != nil {
		t.Errorf("with -h: exit code %d, %q, %q", code, &stdout, got)
	}
	if err := os.WriteFile(file, []byte("--a=1\n@x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if code := p.Run(t.Context(), []string{"--b", "@" + file}, &stdout, io.Discard); code != ExitOK || strings.Join(got, " ") != "--b --a=1 @x" {
		t.Errorf("exit code %d, arguments %q", code, got)
	}
	if code := p.Run(t.Context(), []string{"@" + file + ".none"}, &stdout, io.Discard); code != ExitFailure {
		t.Errorf("exit code %d of a parameter file that isn't there", code)
	}
}
