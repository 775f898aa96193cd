package image

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/digestfile"
)

// build makes an image of a layer, and returns its config.
func build(t *testing.T, base *Base, s Settings, layers ...*digestfile.File) (*Image, configDocument) {
	t.Helper()
	s.System = "x86_64-linux"
	if len(layers) == 0 {
		one := testLayer("one", storePath(1))
		one.Users = &digestfile.NameList{Names: []string{"a", "b", "me", "you"}}
		layers = []*digestfile.File{one}
	}
	img, err := BuildOn(base, s, layers)
	if err != nil {
		t.Fatal(err)
	}
	var doc configDocument
	if err := json.Unmarshal(img.Config, &doc); err != nil {
		t.Fatal(err)
	}
	return img, doc
}

// configText is the object "config" of an image on a base whose own is base.
func configText(t *testing.T, base string, s Settings) string {
	t.Helper()
	var b *Base
	if base != "" {
		b = testBase(t, base)
	}
	_, doc := build(t, b, s)
	text, err := json.Marshal(doc.Config)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What goes over what, from the base over config_json to the other settings.
func TestConfig_Merged(t *testing.T) {
	tests := []struct {
		name, base string
		s          Settings
		want       string
	}{
		{"nothing said", `{"User":"1","Env":["A=1"],"Entrypoint":["/e"],"Cmd":["c"],"Shell":["/s"],"Labels":{"a":"b"},"Tty":true,"StopTimeout":0}`, Settings{}, `{"User":"1","Env":["A=1"],"Entrypoint":["/e"],"Cmd":["c"],"Labels":{"a":"b"},"Shell":["/s"],"Tty":true,"StopTimeout":0}`},
		{"Guix writes keys in small letters", `{"env":["A=1"],"entrypoint":["/e"]}`, Settings{}, `{"Env":["A=1"],"Entrypoint":["/e"]}`},
		{"env by name", `{"Env":["PATH=/usr/bin","A=1","B=2"]}`, Settings{Env: []string{"B=x=y", "C=3"}}, `{"Env":["PATH=/usr/bin","A=1","B=x=y","C=3"]}`},
		{"PATH in front of the base's", `{"Env":["PATH=/usr/bin","A=1"]}`, Settings{EnvPrepend: []string{"PATH=/a/bin"}}, `{"Env":["PATH=/a/bin:/usr/bin","A=1"]}`},
		{"PATH in front of the image's", `{"Env":["PATH=/usr/bin"]}`, Settings{Env: []string{"PATH=/b"}, EnvPrepend: []string{"PATH=/a"}}, `{"Env":["PATH=/a:/b"]}`},
		{"PATH in front of nothing", ``, Settings{EnvPrepend: []string{"PATH=/a"}}, `{"Env":["PATH=/a"]}`},
		{"PATH in front of an empty one", `{"Env":["PATH="]}`, Settings{EnvPrepend: []string{"PATH=/a"}}, `{"Env":["PATH=/a"]}`},
		{"entrypoint clears cmd", `{"Entrypoint":["/e"],"Cmd":["c"]}`, Settings{Entrypoint: []string{"/f"}}, `{"Entrypoint":["/f"]}`},
		{"entrypoint and cmd", `{"Entrypoint":["/e"],"Cmd":["c"]}`, Settings{Entrypoint: []string{"/f"}, Cmd: []string{"d"}}, `{"Entrypoint":["/f"],"Cmd":["d"]}`},
		{"cmd alone", `{"Entrypoint":["/e"],"Cmd":["c"]}`, Settings{Cmd: []string{"d"}}, `{"Entrypoint":["/e"],"Cmd":["d"]}`},
		{"an empty entrypoint clears both", `{"Entrypoint":["/e"],"Cmd":["c"]}`, Settings{ConfigJSON: `{"Entrypoint":[]}`}, `{}`},
		{"null is nothing", `{"Entrypoint":["/e"],"Cmd":["c"]}`, Settings{ConfigJSON: `{"Entrypoint":null,"Cmd":null,"Env":null,"User":null}`}, `{"Entrypoint":["/e"],"Cmd":["c"]}`},
		{"entrypoint goes with config_json's cmd", ``, Settings{ConfigJSON: `{"Cmd":["c"]}`, Entrypoint: []string{"/f"}}, `{"Entrypoint":["/f"],"Cmd":["c"]}`},
		{"sets add up", `{"ExposedPorts":{"80/tcp":{}},"Volumes":{"/v":{}},"Labels":{"a":"1","b":"2"}}`, Settings{ExposedPorts: []string{"81"}, Volumes: []string{"/w"}, Labels: map[string]string{"b": "3"}}, `{"ExposedPorts":{"80/tcp":{},"81/tcp":{}},"Volumes":{"/v":{},"/w":{}},"Labels":{"a":"1","b":"3"}}`},
		{"config_json under the rest", ``, Settings{ConfigJSON: `{"ExposedPorts":{"80":null},"Env":["A=1","B=2"],"User":"me"}`, Env: []string{"A=3"}, User: "you"}, `{"User":"you","ExposedPorts":{"80/tcp":{}},"Env":["A=3","B=2"]}`},
		{"single values", `{"User":"a","WorkingDir":"/a","StopSignal":"SIGINT"}`, Settings{User: "b", WorkingDir: "/b", StopSignal: "9"}, `{"User":"b","WorkingDir":"/b","StopSignal":"9"}`},
		{"triggers are not inherited", `{"OnBuild":["RUN a"],"Healthcheck":{"Test":["CMD","/a"]}}`, Settings{}, `{"Healthcheck":{"Test":["CMD","/a"]}}`},
		{"healthcheck replaces", `{"Healthcheck":{"Test":["CMD","/a"],"Retries":7}}`, Settings{Healthcheck: []string{"NONE"}}, `{"Healthcheck":{"Test":["NONE"]}}`},
		{"healthcheck in nanoseconds", ``, Settings{Healthcheck: []string{"CMD-SHELL", "a | b"}, HealthcheckOptions: map[string]string{"interval": "1.5s"}}, `{"Healthcheck":{"Test":["CMD-SHELL","a | b"],"Interval":1500000000}}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := configText(t, test.base, test.s); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

func TestConfigJSON_Faults(t *testing.T) {
	for in, want := range map[string]string{
		`{"Entrypiont":[]}`:                              "config_json: line 1, column 15: Entrypiont: unknown key; known are ArgsEscaped, AttachStderr,",
		`{"entrypoint":[]}`:                              "entrypoint: unknown key; it is written Entrypoint",
		`{"config":{"Cmd":[]}}`:                          `config: unknown key; want what a whole config has as "config"`,
		`[]`:                                             "config_json: line 1, column 1: want an object, found a list",
		`{"Cmd":"x"}`:                                    "Cmd: want a list, found a string",
		`{"Cmd":["a"],"Cmd":["b"]}`:                      `"Cmd" is there twice`,
		`{"Env":["A"]}`:                                  `config_json: env: "A": want NAME=value`,
		`{"WorkingDir":"a"}`:                             `config_json: workdir: "a": want an absolute path`,
		`{"ExposedPorts":{"x":{}}}`:                      `ExposedPorts.x: "x": want PORT or PORT/PROTOCOL`,
		`{"ExposedPorts":{"80/tcp":{},"80":{}}}`:         `"80": 80/tcp is listed twice`,
		`{"ExposedPorts":["80"]}`:                        "ExposedPorts: want an object, found a list",
		`{"Volumes":{"/a":{"x":1}}}`:                     "unknown field",
		`{"Volumes":{"a":{}}}`:                           `config_json: volumes: "a": want an absolute path`,
		`{"Healthcheck":{"Tests":[]}}`:                   "Healthcheck.Tests: unknown field; known are Test, Interval",
		`{"Healthcheck":{}}`:                             `config_json: healthcheck: "": want CMD and a program`,
		`{"Healthcheck":{"Test":["NONE"],"Interval":1}}`: "interval", // under a millisecond
		`{"Memory":1.5}`:                                 "Memory: want an integer",
		`{"Tty":1}`:                                      "Tty: want true or false, found a number",
		`{}{}`:                                           "more follows",
	} {
		s := Settings{System: "x86_64-linux", ConfigJSON: in}
		if err := s.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v: want one with %q", in, err, want)
		}
	}
}

func TestSettings_Faults(t *testing.T) {
	for name, test := range map[string]struct {
		s    Settings
		want string
	}{
		"health: nothing":    {Settings{HealthcheckOptions: map[string]string{"retries": "1"}}, `healthcheck: "": want CMD and a program`},
		"health: no word":    {Settings{Healthcheck: []string{"/bin/ask"}}, `healthcheck: "/bin/ask": want CMD and a program`},
		"health: NONE, more": {Settings{Healthcheck: []string{"NONE", "x"}}, "want nothing behind NONE"},
		"health: CMD alone":  {Settings{Healthcheck: []string{"CMD"}}, "want a program and its arguments behind CMD"},
		"health: CMD, empty": {Settings{Healthcheck: []string{"CMD", ""}}, "want a program and its arguments behind CMD"},
		"health: two lines":  {Settings{Healthcheck: []string{"CMD-SHELL", "a", "b"}}, "want one line of shell behind CMD-SHELL"},
		"health: option":     {Settings{Healthcheck: []string{"NONE"}, HealthcheckOptions: map[string]string{"every": "1s"}}, `healthcheck_options: "every": want interval, timeout,`},
		"health: time":       {Settings{Healthcheck: []string{"NONE"}, HealthcheckOptions: map[string]string{"timeout": "3"}}, `healthcheck_options: "timeout": "3": want a time such as 30s`},
		"health: too short":  {Settings{Healthcheck: []string{"NONE"}, HealthcheckOptions: map[string]string{"timeout": "1us"}}, "want at least 1ms"},
		"health: negative":   {Settings{Healthcheck: []string{"NONE"}, HealthcheckOptions: map[string]string{"retries": "-1"}}, `"retries": -1: want 0 or more`},
		"health: no number":  {Settings{Healthcheck: []string{"NONE"}, HealthcheckOptions: map[string]string{"retries": "x"}}, `"retries": "x": want a number`},
		"shell":              {Settings{Shell: []string{""}}, `shell: "": the program's name is empty`},
		"on-build: empty":    {Settings{OnBuild: []string{" "}}, `on_build: " ": want an instruction`},
		"on-build: FROM":     {Settings{OnBuild: []string{"from x"}}, `on_build: "from x": docker takes no FROM as a trigger`},
		"author":             {Settings{Author: "a\x00"}, "author: \"a\\x00\": holds a NUL"},
		"env_prepend":        {Settings{EnvPrepend: []string{"PATH"}}, `env_prepend: "PATH": want NAME=value`},
		"created":            {Settings{Created: "12.5"}, `created: "12.5": want a time as RFC 3339 has it, such as 1970-01-01T00:00:01Z, or in seconds since 1970`},
		"created, far":       {Settings{Created: "999999999999999"}, "created: "},
		"max_layers, parse":  {Settings{MaxLayers: 1}, ""},
	} {
		test.s.System = "x86_64-linux"
		switch err := test.s.Check(); {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: error %v: want one with %q", name, err, test.want)
		}
	}
}

func TestCreated(t *testing.T) {
	for in, want := range map[string]string{
		"": "1970-01-01T00:00:01Z", "0": "1970-01-01T00:00:00Z", "1700000000": "2023-11-14T22:13:20Z", "2024-01-01T00:00:00+01:00": "2023-12-31T23:00:00Z",
	} {
		if _, doc := build(t, nil, Settings{Created: in}); doc.Created.Format("2006-01-02T15:04:05Z07:00") != want {
			t.Errorf("%q: created %v, want %s", in, doc.Created, want)
		}
	}
}

// A store path that a setting names is in the image, or the build fails.
func TestNamedStorePaths(t *testing.T) {
	const have, other = "/nix/store/00000000000000000000000000000001-path-1", "/nix/store/11111111111111111111111111111111-path-1"
	const stranger = "/gnu/store/22222222222222222222222222222222-x"
	tests := []struct {
		name string
		s    Settings
		want string
	}{
		{"all there", Settings{
			Entrypoint: []string{have + "/bin/x", "--file=" + have}, Cmd: []string{have}, Env: []string{"PATH=" + have + "/bin:" + have + "/sbin", "CFLAGS=-I" + have + "/include"},
			Labels: map[string]string{"a": "made of " + have + ".", "b": "file://" + have}, Healthcheck: []string{"CMD", have},
		}, ""},
		{"no store paths", Settings{Cmd: []string{"/nix/store", "/nix/store/x", "/nix/store/11111111111111111111111111111111", "/mnt" + other, "/nix/store/e1111111111111111111111111111111-x"}}, ""},
		{"annotations say what they like", Settings{Annotations: map[string]string{"deriver": other}}, ""},
		{"by a mount", Settings{Cmd: []string{other}, Labels: map[string]string{"k": stranger}, StorePathsMounted: true}, ""},
		{"entrypoint", Settings{Entrypoint: []string{other + "/bin/x"}}, `entrypoint: "` + other + `/bin/x": ` + other + " is not in the image; it has " + have},
		{"cmd", Settings{Cmd: []string{"a", "--x=" + stranger + ":"}}, `cmd: "--x=` + stranger + `:": ` + stranger + " is not in the image; put it into the image's contents"},
		{"env", Settings{Env: []string{"PATH=" + have + "/bin:" + other + "/bin"}}, "env: "},
		{"env_prepend", Settings{EnvPrepend: []string{"PATH=" + other}}, "env_prepend: "},
		{"label", Settings{Labels: map[string]string{"k": "-L" + other + "/lib"}}, "labels: k: "},
		{"healthcheck", Settings{Healthcheck: []string{"CMD", other + "/bin/x"}}, "healthcheck: "},
		{"shell", Settings{Shell: []string{other + "/bin/sh"}}, "shell: "},
		{"workdir", Settings{WorkingDir: other}, "workdir: "},
		{"config_json", Settings{ConfigJSON: `{"Cmd":["` + other + `"]}`}, "cmd: "},
		{"the name is longer", Settings{Cmd: []string{"/nix/store/00000000000000000000000000000001-path"}}, "cmd: "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.s.System = "x86_64-linux"
			_, err := Build(test.s, []*digestfile.File{testLayer("one", storePath(1))})
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("error %v: want one with %q", err, test.want)
			}
		})
	}
	// Two at once, in one error.
	_, err := Build(Settings{System: "x86_64-linux", Cmd: []string{other, stranger}}, []*digestfile.File{testLayer("one", storePath(1))})
	if err == nil || !strings.Contains(err.Error(), "2 faults") {
		t.Errorf("got %v", err)
	}
}

// What is taken as a config gives a config that reads back, and is never a crash.
func FuzzConfigJSON(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"Cmd":["a"],"Entrypoint":[],"Env":["A=b"],"Labels":{"a":"b"},"ExposedPorts":{"80":{}},"Volumes":{"/v":null}}`,
		`{"Healthcheck":{"Test":["CMD","x"],"Interval":1000000,"Retries":3},"StopTimeout":1,"Memory":-1,"Tty":true}`,
		`{"cmd":[]}`, `null`, `{"Shell":["/bin/sh"],"OnBuild":["RUN x"]}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		s := Settings{System: "x86_64-linux", ConfigJSON: in}
		img, err := Build(s, []*digestfile.File{testLayer("a", storePath(1))})
		if err != nil || in == "" {
			return
		}
		var doc struct{ Config json.RawMessage }
		if err := json.Unmarshal(img.Config, &doc); err != nil {
			t.Fatal(err)
		}
		s.ConfigJSON = string(doc.Config)
		again, err := Build(s, []*digestfile.File{testLayer("a", storePath(1))})
		if err != nil || string(again.Config) != string(img.Config) {
			t.Errorf("%s: its config %s gives another, or none (%v)", in, doc.Config, err)
		}
	})
}
