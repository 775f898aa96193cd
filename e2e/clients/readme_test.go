package clients_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

const (
	readmeFile    = root + "/README.md"
	readmeHeading = "## Quick start"
	readmeBuild   = "./bazelw build //examples/web:image"
	readmeArchive = "bazel-bin/examples/web/image.tar"
)

// TestReadme runs the README's first commands as they are there, by a docker
// whose daemon is the test's own; the archive's path alone is replaced. Bazel's
// line is not run: what it builds is the image under test.
func TestReadme(t *testing.T) {
	img := web(t)
	commands, err := quickStart(readFile(t, readmeFile))
	if err != nil {
		t.Fatalf("%s: %v", filepath.Clean(readmeFile), err)
	}
	if commands[0] != readmeBuild {
		t.Fatalf("the quick start begins with %q, want %q", commands[0], readmeBuild)
	}
	need(t, "curl")
	d := docker(t)
	t.Setenv("DOCKER_HOST", d[2])
	steps := map[string]bool{}
	for _, c := range commands[1:] {
		t.Log("$ " + c)
		switch {
		case strings.HasPrefix(c, "docker load ") && strings.Contains(c, readmeArchive):
			out := run(t, "bash", "-euc", strings.ReplaceAll(c, readmeArchive, img.archive))
			t.Log(out)
			steps["load"] = true
		case strings.HasPrefix(c, "docker run "):
			run(t, "bash", "-euc", c)
			steps["run"] = true
		case strings.HasPrefix(c, "curl "):
			// A person types it later than a test can.
			judgePage(t, "bash", "-euc", c)
			steps["answer"] = true
		default:
			t.Errorf("this test doesn't know what %q is for", c)
		}
	}
	for _, s := range []string{"load", "run", "answer"} {
		if !steps[s] {
			t.Errorf("the quick start lacks the command to %s", s)
		}
	}
}

// quickStart is the commands in the first fenced block below the heading: its
// lines in an sh block, the lines after "$ " in a console block.
func quickStart(readme string) ([]string, error) {
	_, section, ok := strings.Cut(readme, "\n"+readmeHeading+"\n")
	if !ok {
		return nil, fmt.Errorf("no heading %q", readmeHeading)
	}
	_, block, ok := strings.Cut(section, "\n```")
	if !ok {
		return nil, fmt.Errorf("no fenced block under %q", readmeHeading)
	}
	kind, block, _ := strings.Cut(block, "\n")
	block, _, ok = strings.Cut(block, "\n```")
	if !ok || kind != "sh" && kind != "console" {
		return nil, fmt.Errorf("the first block under %q is of kind %q, want sh or console, and an end", readmeHeading, kind)
	}
	var commands []string
	for line := range strings.Lines(strings.ReplaceAll(block, "\\\n", " ")) {
		line = strings.TrimSpace(line)
		if kind == "console" {
			if line, ok = strings.CutPrefix(line, "$ "); !ok {
				continue
			}
		}
		if line != "" && !strings.HasPrefix(line, "#") {
			commands = append(commands, line)
		}
	}
	if len(commands) == 0 {
		return nil, fmt.Errorf("the first block under %q has no command", readmeHeading)
	}
	return commands, nil
}
