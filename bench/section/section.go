// Package section writes what was measured into Markdown files, between lines like
//
//	<!-- bench: compare -->
//	…
//	<!-- bench: end -->
package section

import (
	"fmt"
	"os"
	"strings"
)

// Section is what stands between a pair of markers.
type Section struct {
	// Name is that of the first marker.
	Name string
	// Text is Markdown.
	Text string
}

const endMarker = "<!-- bench: end -->"

func beginMarker(name string) string { return "<!-- bench: " + name + " -->" }

// Update puts each section between its markers in a file. A section without markers there is an error, and nothing is written.
func Update(file string, sections []Section) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	text := string(old)
	for _, s := range sections {
		if text, err = s.Replace(text); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return os.WriteFile(file, []byte(text), 0o644)
}

// Replace returns text with s between its markers.
func (s Section) Replace(text string) (string, error) {
	before, rest, ok := strings.Cut(text, beginMarker(s.Name))
	_, after, ended := strings.Cut(rest, endMarker)
	if !ok || !ended {
		return "", fmt.Errorf("no place for section %s: want a line %s and behind it %s", s.Name, beginMarker(s.Name), endMarker)
	}
	return before + beginMarker(s.Name) + "\n" + strings.TrimSpace(s.Text) + "\n" + endMarker + after, nil
}

// Markdown is all sections, one after the other.
func Markdown(sections []Section) string {
	var out strings.Builder
	for _, s := range sections {
		fmt.Fprintf(&out, "\n%s\n", s.Text)
	}
	return out.String()
}
