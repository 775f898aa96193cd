package roots_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/channel"
	"github.com/rules-strata/rules_strata/tool/project"
)

// What docs/roots.md shows is read, and its table is what a list gives.
func TestDocs(t *testing.T) {
	b, err := os.ReadFile("../../docs/roots.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(string(b), -1)
	if len(blocks) != 6 {
		t.Errorf("got %d blocks of JSON, want 6", len(blocks))
	}
	for _, block := range blocks {
		text := block[1]
		const others = `"caches": [{"url": "file:cache", "allow_unsigned": true}], `
		switch {
		case strings.Contains(text, `"channels": {"own"`):
			text = `{` + others + `"systems": ["x86_64-linux", "aarch64-linux"], "roots": {"r": {"package": "nginx"}}, ` + strings.TrimPrefix(text, "{")
		case !strings.Contains(text, `"caches"`):
			text = `{` + others + `"systems": ["x86_64-linux"], "channels": {"nixos-25.05": "file:store-paths"}, "roots": ` + text + `}`
		}
		if _, err := project.Parse([]byte(text)); err != nil {
			t.Errorf("%v:\n%s", err, text)
		}
	}

	rows := regexp.MustCompile("(?m)^\\| (`.*`) \\| `([^`]*)`.*\\|$").FindAllStringSubmatch(string(b), -1)
	if len(rows) != 19 {
		t.Errorf("the table has %d lines, want 19", len(rows))
	}
	var list strings.Builder
	listed := map[string]bool{}
	for _, row := range rows {
		if name := row[2]; !listed[name] {
			listed[name] = true
			list.WriteString(a + name + "\n" + c + name + "-devdoc\n")
		}
	}
	for _, row := range rows {
		for query := range strings.SplitSeq(row[1], ", ") {
			q, err := channel.ParseQuery(strings.Trim(query, "`"))
			if err != nil {
				t.Error(err)
				continue
			}
			results, err := channel.Scan(strings.NewReader(list.String()), []channel.Query{q})
			if err != nil {
				t.Fatal(err)
			}
			if paths, err := results[0].Paths(); err != nil || len(paths) != 1 || paths[0].Name() != row[2] {
				t.Errorf("%s: got %v, %v, want %s", query, paths, err, row[2])
			}
		}
	}
}
