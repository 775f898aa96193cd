package rules_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/image"
)

// The tools say of the settings in settings_cases.bzl what image_settings_test.bzl expects of the rules.
func TestSettingsCases(t *testing.T) {
	var cases [][4]*string
	decode(t, stringIn(t, string(read(t, "settings_cases.bzl")), "SETTINGS_CASES"), &cases)
	if len(cases) == 0 {
		t.Fatal("no cases")
	}
	for _, c := range cases {
		field, value := *c[0], *c[2]
		s := image.Settings{System: "x86_64-linux"}
		var err error
		want := fmt.Sprintf("%s: %q: ", field, value)
		switch field {
		case "user":
			s.User = value
		case "workdir":
			s.WorkingDir = value
		case "volumes":
			s.Volumes = []string{value}
		case "ports":
			s.ExposedPorts = []string{value}
		case "healthcheck":
			s.Healthcheck = strings.Split(value, " ")
		case "stop_signal":
			s.StopSignal = value
		case "image name":
			want = fmt.Sprintf("image name %q: ", value)
			_, err = image.ParseReference(value)
		default:
			t.Fatalf("unknown setting %s", field)
		}
		if field != "image name" {
			err = s.Check()
		}
		switch {
		case c[3] == nil && err != nil:
			t.Errorf("%s %q: %v", field, value, err)
		case c[3] != nil && (err == nil || err.Error() != want+*c[3]):
			t.Errorf("%s %q: got %v, want %s", field, value, err, want+*c[3])
		}
	}
}
