package image

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/digestfile"
)

func textFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.txt")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestStamp_Apply(t *testing.T) {
	s := Stamp{Status: Status{"STABLE_REV": "abc", "EMPTY": "", "BOTH": "status"}, Defaults: map[string]string{"BOTH": "default", "USER": "me"}}
	for in, want := range map[string]string{
		"":                              "",
		"plain":                         "plain",
		"{STABLE_REV}":                  "abc",
		"v{STABLE_REV}-{USER}{EMPTY}.":  "vabc-me.",
		"{BOTH}":                        "status",
		"${STABLE_REV}":                 "${STABLE_REV}",
		`{"a": {}, "b": "{STABLE_REV}"`: `{"a": {}, "b": "abc"`,
		"{lower} {} { {1A} {A-B} {":     "{lower} {} { {1A} {A-B} {",
		"{{STABLE_REV}}":                "{abc}",
	} {
		if got, err := s.Apply(in); err != nil || got != want {
			t.Errorf("%q: got %q (%v), want %q", in, got, err, want)
		}
	}
	if _, err := s.Apply("a {NOT_THERE}"); err == nil || err.Error() != "{NOT_THERE} has no value: the build's status has BOTH, EMPTY, STABLE_REV" {
		t.Errorf("got %v", err)
	}
	if _, err := (Stamp{}).Apply("{A}"); err == nil || !strings.Contains(err.Error(), "the build is not stamped") {
		t.Errorf("got %v", err)
	}
}

func TestReadStatus(t *testing.T) {
	one := textFile(t, "BUILD_EMBED_LABEL \nSTABLE_GIT 1 2  3 \r\n\nBUILD_HOST\n")
	two := textFile(t, "STABLE_GIT new\n")
	got, err := ReadStatus(one, two)
	want := Status{"BUILD_EMBED_LABEL": "", "STABLE_GIT": "new", "BUILD_HOST": ""}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("got %q (%v)", got, err)
	}
	if got, err := ReadStatus(one); err != nil || got["STABLE_GIT"] != "1 2  3 " {
		t.Errorf("got %q (%v)", got, err)
	}
	for text, want := range map[string]string{
		"A b\nlower case\n": `line 2: "lower case": want KEY VALUE`,
		"A=b\n":             "line 1: ",
	} {
		if _, err := ReadStatus(textFile(t, text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v: want one with %q", text, err, want)
		}
	}
	if _, err := ReadStatus(textFile(t, "A "+strings.Repeat("x", maxStatusSize))); err == nil || !strings.Contains(err.Error(), "over 4194304 bytes") {
		t.Errorf("too large: %v", err)
	}
}

func TestReadKeyValues(t *testing.T) {
	got, err := ReadKeyValues(textFile(t, "# a comment\na=1\n\nb= two = 2 \na=3\n c =\r\n"))
	if want := map[string]string{"a": "3", "b": " two = 2 ", "c": ""}; err != nil || !maps.Equal(got, want) {
		t.Errorf("got %q (%v), want %q", got, err, want)
	}
	for _, text := range []string{"a", "=b", " =b"} {
		if _, err := ReadKeyValues(textFile(t, text)); err == nil || !strings.Contains(err.Error(), "line 1: ") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// Stamped settings are checked with their values, and are plain settings otherwise.
func TestSettings_Stamped(t *testing.T) {
	s, err := ParseSettings([]byte(`{"system":"x86_64-linux","stamp":true,"created":"{BUILD_TIMESTAMP}","labels":{"rev":"r{STABLE_REV}","x":"{X}"},
		"annotations":{"a":"{STABLE_REV}"},"author":"{X}","comment":"{X}","env":["A={X}"],"stamp_defaults":{"X":"why"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Check(); err == nil || !strings.Contains(err.Error(), "3 faults") {
		t.Errorf("without a status: %v", err)
	}
	s.Status = Status{"BUILD_TIMESTAMP": "1700000000", "STABLE_REV": "1"}
	got, doc := build(t, nil, *s)
	plain, _ := build(t, nil, Settings{
		Created: "2023-11-14T22:13:20Z", Labels: map[string]string{"rev": "r1", "x": "why"}, Annotations: map[string]string{"a": "1"},
		Author: "why", Comment: "why", Env: []string{"A={X}"},
	})
	if string(got.Manifest) != string(plain.Manifest) {
		t.Errorf("got %+v", doc)
	}
	s.Status["STABLE_REV"] = "a\x00"
	if _, err := Build(*s, []*digestfile.File{testLayer("one", storePath(1))}); err == nil || !strings.Contains(err.Error(), "holds a NUL") {
		t.Errorf("got %v", err)
	}
}

func FuzzStamp(f *testing.F) {
	f.Add("a {KEY} ${KEY} {{KEY}} {key} {", "value")
	f.Fuzz(func(t *testing.T, text, value string) {
		got, err := Stamp{Status: Status{"KEY": value}}.Apply(text)
		if err != nil {
			return
		}
		if !strings.Contains(text, "{KEY}") && got != text {
			t.Errorf("%q became %q", text, got)
		}
		if n := strings.Count(text, "{KEY}") - strings.Count(text, "${KEY}"); len(got) != len(text)+n*(len(value)-len("{KEY}")) {
			t.Errorf("%q became %q", text, got)
		}
	})
}
