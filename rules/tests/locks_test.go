package rules_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/lock"
)

// The tools judge of the locks in lock_cases.bzl as lock_file_test.bzl says of the rules.
func TestLockCases(t *testing.T) {
	cases := string(read(t, "lock_cases.bzl"))
	text := stringIn(t, cases, "LOCK")
	if _, err := lock.Parse([]byte(text)); err != nil {
		t.Fatal(err)
	}
	for _, table := range []struct {
		name string
		good bool
	}{{"LOCK_GOOD", true}, {"LOCK_BAD", false}} {
		var changes [][2]any
		decode(t, stringIn(t, cases, table.name), &changes)
		for _, c := range changes {
			var changed any
			decode(t, text, &changed)
			at := changed.(map[string]any)
			keys := c[0].([]any)
			for _, key := range keys[:len(keys)-1] {
				at = at[key.(string)].(map[string]any)
			}
			at[keys[len(keys)-1].(string)] = c[1]
			if c[1] == nil {
				delete(at, keys[len(keys)-1].(string))
			}
			b, err := json.Marshal(changed)
			if err != nil {
				t.Fatal(err)
			}
			what := fmt.Sprintf("%v = %v", keys, c[1])
			if _, err := lock.Parse(b); (err == nil) != table.good {
				t.Errorf("%s: %s: got error %v", table.name, what, err)
			}
		}
	}
}

// decode keeps numbers as they are written.
func decode(t *testing.T, text string, v any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewBufferString(text))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		t.Fatal(err)
	}
}

// stringIn is the value of a string in three quotes in a .bzl file; such strings here have no escapes but JSON's, and so are raw.
func stringIn(t *testing.T, file, name string) string {
	t.Helper()
	_, rest, found := strings.Cut(file, "\n"+name+" = ")
	rest = strings.TrimPrefix(strings.TrimPrefix(rest, "r"), `"""`)
	text, _, closed := strings.Cut(rest, `"""`)
	if !found || !closed {
		t.Fatalf("no string %s", name)
	}
	return text
}
