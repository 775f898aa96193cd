package filelayer

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// Whatever docs/coming-from.md shows of specifications and entries can be read.
func TestDocs(t *testing.T) {
	b, err := os.ReadFile("../../docs/coming-from.md")
	check(t, err)
	_, rest, _ := strings.Cut(string(b), "\n### A whole example\n")
	_, rest, _ = strings.Cut(rest, "```json\n")
	spec, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("there is no specification in it")
	}
	if _, err := Parse([]byte(spec)); err != nil {
		t.Errorf("%s: %v", spec, err)
	}
	entries := regexp.MustCompile("`(\\{\"type\".*?)`").FindAllStringSubmatch(string(b), -1)
	if len(entries) < 4 {
		t.Errorf("%d entries in it", len(entries))
	}
	for _, e := range entries {
		if _, err := ParseEntry([]byte(e[1])); err != nil {
			t.Errorf("%s: %v", e[1], err)
		}
	}
}
