package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A rule's executable has its arguments beside it; where its runfiles are it finds out as they may be.
func TestLaunchArguments(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "load")
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if args, err := launchArguments(program); err != nil || args != nil {
		t.Errorf("without a rule: %q, %v", args, err)
	}
	t.Setenv("RUNFILES_DIR", "")
	write(program+launchSuffix, "load\n${RUNFILES}/_main/app/load.parts.json\n--runtime=a b\n")
	if _, err := launchArguments(program); err == nil || !strings.Contains(err.Error(), "no runfiles") {
		t.Errorf("without runfiles: %v", err)
	}
	for name, c := range map[string]struct{ env, program, want string }{
		"its own":       {"", program, program + ".runfiles"},
		"of the caller": {filepath.Join(dir, "caller.runfiles"), filepath.Join(dir, "elsewhere"), filepath.Join(dir, "caller.runfiles")},
		"around it":     {"", filepath.Join(dir, "other.runfiles/_main/app/load"), filepath.Join(dir, "other.runfiles")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("RUNFILES_DIR", c.env)
			write(filepath.Join(c.want, "_main/app/load.parts.json"), "{}")
			write(c.program+launchSuffix, "load\n${RUNFILES}/_main/app/load.parts.json\n--runtime=a b\n")
			args, err := launchArguments(c.program)
			if want := []string{"load", c.want + "/_main/app/load.parts.json", "--runtime=a b"}; err != nil || !slices.Equal(args, want) {
				t.Errorf("%q (%v), want %q", args, err, want)
			}
		})
	}
}
