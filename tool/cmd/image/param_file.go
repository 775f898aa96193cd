package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

// maxArgument bounds one line of a parameter file in bytes, far above any path.
const maxArgument = 1 << 20

// expand replaces every @FILE with the lines of FILE, as Bazel's parameter
// files of the format "multiline" have it: one argument a line, no quoting.
func expand(args []string) ([]string, error) {
	var out []string
	for _, a := range args {
		path, ok := strings.CutPrefix(a, "@")
		if !ok {
			out = append(out, a)
			continue
		}
		lines, err := readLines(path)
		if err != nil {
			return nil, usagef("parameter file %s: %w", path, err)
		}
		out = append(out, lines...)
	}
	return out, nil
}

func readLines(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var lines []string
	s := bufio.NewScanner(f)
	s.Buffer(nil, maxArgument)
	for s.Scan() {
		lines = append(lines, s.Text())
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("line %d: %w", len(lines)+1, err)
	}
	return lines, nil
}
