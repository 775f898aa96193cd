package section

import (
	"strings"
	"testing"
)

func TestReplace(t *testing.T) {
	const text = "# Title\n<!-- bench: a -->\nold\n<!-- bench: end -->\nbetween\n<!-- bench: b -->\nkept\n<!-- bench: end -->\n"
	got, err := Section{Name: "a", Text: "\nnew\n"}.Replace(text)
	if want := strings.Replace(text, "old", "new", 1); err != nil || got != want {
		t.Errorf("got %q, %v", got, err)
	}
	for _, bad := range []string{"", "<!-- bench: a -->\nold\n"} {
		if _, err := (Section{Name: "a"}).Replace(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}
