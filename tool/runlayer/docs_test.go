package runlayer

import (
	"os"
	"strings"
	"testing"
)

// The specification that docs/coming-from-run.md shows can be read.
func TestDocs(t *testing.T) {
	b, err := os.ReadFile("../../docs/coming-from-run.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "```json\n")
	spec, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("there is no specification in it")
	}
	if _, err := Parse([]byte(spec)); err != nil {
		t.Errorf("%s: %v", spec, err)
	}
}
