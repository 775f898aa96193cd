// Package docs_test checks the hand-written pages.
package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each line of formats.md's tables is tried by a test, and there is such a test.
func TestFormats_NamesRealTests(t *testing.T) {
	tests := map[string]bool{}
	err := filepath.WalkDir("../tool", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllSubmatch(b, -1) {
			tests[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("formats.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for line := range strings.Lines(string(page)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|--") || strings.HasSuffix(line, "| tried by |") {
			continue
		}
		lines++
		cells := strings.Split(strings.Trim(line, "|"), "|")
		named := regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(cells[len(cells)-1], -1)
		if len(cells) != 6 || strings.TrimSpace(cells[4]) == "" || len(named) == 0 {
			t.Errorf("want six cells, one of strata and one of tests: %s", line)
		}
		for _, n := range named {
			if !tests[n[1]] {
				t.Errorf("there is no test %s: %s", n[1], line)
			}
		}
	}
	if lines < 30 {
		t.Errorf("only %d lines of tables", lines)
	}
}
