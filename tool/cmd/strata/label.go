package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// bazelVariable is the environment variable that names the program which labels are asked of.
const bazelVariable = "BAZEL"

// isLabel says whether an argument is a label of Bazel's, such as "//app:image", "@other//app:image" or ":image".
func isLabel(arg string) bool {
	return strings.HasPrefix(arg, "//") || strings.HasPrefix(arg, "@") || strings.HasPrefix(arg, ":")
}

// labelFile returns the file that a target of the workspace around builds. Bazel is asked for its name alone: it builds nothing.
func labelFile(ctx context.Context, label string) (string, error) {
	bazel, err := findBazel()
	if err != nil {
		return "", fmt.Errorf("%s: %w", label, err)
	}
	out, err := askBazel(ctx, bazel, "cquery", "--output=files", label)
	if err != nil {
		return "", fmt.Errorf("%s: %w", label, err)
	}
	files := strings.Fields(out)
	if len(files) != 1 {
		return "", &hinted{fmt.Errorf("%s: it builds %d files, want one, an image", label, len(files)), "name the target of the image itself, or the file"}
	}
	// Names are relative to where Bazel works.
	root, err := askBazel(ctx, bazel, "info", "execution_root")
	if err != nil {
		return "", fmt.Errorf("%s: %w", label, err)
	}
	file := filepath.Join(strings.TrimSpace(root), filepath.FromSlash(files[0]))
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return "", &hinted{fmt.Errorf("%s: %s is not built", label, files[0]), fmt.Sprintf("%s build %s", filepath.Base(bazel), label)}
	}
	return file, nil
}

func findBazel() (string, error) {
	if named := os.Getenv(bazelVariable); named != "" {
		return named, nil
	}
	for _, name := range []string{"bazel", "bazelisk"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", &hinted{errors.New("there is neither bazel nor bazelisk on the PATH"), "name the program by $" + bazelVariable}
}

// maxBazelAnswer bounds what is kept of what Bazel says, in bytes.
const maxBazelAnswer = 1 << 20

func askBazel(ctx context.Context, bazel string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, bazel, args...)
	cmd.WaitDelay = 10 * time.Second
	out, errs := &boundedBuffer{}, &boundedBuffer{}
	cmd.Stdout, cmd.Stderr = out, errs
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		for line := range strings.Lines(errs.String()) {
			if text, ok := strings.CutPrefix(line, "ERROR: "); ok {
				return "", fmt.Errorf("%s %s: %s", filepath.Base(bazel), args[0], strings.TrimSpace(text))
			}
		}
		return "", fmt.Errorf("%s %s: %w", filepath.Base(bazel), args[0], err)
	}
	return out.String(), nil
}

// boundedBuffer keeps the first bytes of what is written to it.
type boundedBuffer struct{ bytes.Buffer }

func (b *boundedBuffer) Write(p []byte) (int, error) {
	if left := maxBazelAnswer - b.Len(); left > 0 {
		b.Buffer.Write(p[:min(len(p), left)])
	}
	return len(p), nil
}
