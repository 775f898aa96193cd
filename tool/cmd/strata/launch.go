package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// launchSuffix is what a rule's executable, which is a link to this program,
// has beside it: the arguments that the rule means, one a line. Whoever starts it
// adds his own behind them. So a rule that is run needs no script.
const launchSuffix = ".strata-args"

// runfilesVariable, at the beginning of a line, is the folder of the runfiles.
const runfilesVariable = "${RUNFILES}/"

// launchArguments returns the arguments that a rule gives to program, as it was
// called; none if no rule made it.
func launchArguments(program string) ([]string, error) {
	b, err := os.ReadFile(program + launchSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var args []string
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSuffix(line, "\n")
		if rest, ok := strings.CutPrefix(line, runfilesVariable); ok {
			dir, err := runfiles(program)
			if err != nil {
				return nil, err
			}
			line = filepath.Join(dir, filepath.FromSlash(rest))
		}
		args = append(args, line)
	}
	return args, nil
}

// runfiles is the folder with a program's runfiles: its own, or, of a program that is in
// another one's, that one's.
func runfiles(program string) (string, error) {
	program, err := filepath.Abs(program)
	if err != nil {
		return "", err
	}
	const suffix = ".runfiles"
	if info, err := os.Stat(program + suffix); err == nil && info.IsDir() {
		return program + suffix, nil
	}
	if dir := os.Getenv("RUNFILES_DIR"); dir != "" {
		return filepath.Abs(dir)
	}
	if i := strings.LastIndex(program, suffix+string(filepath.Separator)); i >= 0 {
		return program[:i+len(suffix)], nil
	}
	return "", fmt.Errorf("%s: there are no runfiles beside it; build it with --enable_runfiles", program)
}
