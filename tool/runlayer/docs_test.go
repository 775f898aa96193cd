package runlayer

import (
	"os"
	"strings"
	"testing"
)

// The specification of a command that docs/coming-from.md shows can be read.
func TestDocs(t *testing.T) {
	b, err := os.ReadFile("../../docs/coming-from.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "\n### A whole example of a command\n")
	_, rest, _ = strings.Cut(rest, "```json\n")
	spec, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("there is no specification in it")
	}
	if _, err := Parse([]byte(spec)); err != nil {
		t.Errorf("%s: %v", spec, err)
	}
}
