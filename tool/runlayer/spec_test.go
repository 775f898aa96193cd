package runlayer

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	s, err := Parse([]byte(`{"command": ["/bin/sh", "-c", "a\nb"], "env": {"A": "b=c", "PATH": "/x"}, "user": "web:video", "workdir": "/srv", "time_limit": "90s", "scratch": ["/var/cache/"], "owners": {"srv/**": "1000:100 web:users"}, "mtime": 5}`))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(s.Command, []string{"/bin/sh", "-c", "a\nb"}) || s.User != "web:video" || s.Workdir != "/srv" || s.TimeLimit != 90*time.Second ||
		!slices.Equal(s.scratch(), []string{"var/cache"}) || !slices.Equal(s.Owners, []OwnerRule{{"srv/**", "1000:100 web:users"}}) || s.mtime() != 5 {
		t.Errorf("got %+v", s)
	}
	want := []string{"SOURCE_DATE_EPOCH=5", "B=image", "A=b=c", "PATH=/x"}
	if got := s.environment([]string{"A=image", "B=image", "PATH=/image"}); !slices.Equal(got, want) {
		t.Errorf("environment %q, want %q", got, want)
	}
	s, err = Parse([]byte(`{"command": ["x"]}`))
	if err != nil || !slices.Equal(s.scratch(), []string{"tmp"}) || s.mtime() != 1 {
		t.Errorf("got %+v, %v; want the defaults", s, err)
	}
	if s, err = Parse([]byte(`{"command": ["x"], "scratch": []}`)); err != nil || len(s.scratch()) != 0 {
		t.Errorf("got %+v, %v; want no scratch", s, err)
	}
}

func TestParse_Errors(t *testing.T) {
	for text, want := range map[string]string{
		`{}`:                                          "command",
		`{"command": []}`:                             "command: want a program and its arguments",
		`{"command": "x"}`:                            "command: want a list",
		`{"command": ["x"], "x": 1}`:                  "x: unknown field",
		`{"command": ["x"], "env": {"A=": ""}}`:       `"A=": a variable's name has no =`,
		`{"command": ["x"], "env": {"": ""}}`:         "want NAME=VALUE",
		`{"command": ["x"], "user": "a:b:c"}`:         `user: "a:b:c": want USER or USER:GROUP`,
		`{"command": ["x"], "user": ""}`:              "want USER or USER:GROUP",
		`{"command": ["x"], "user": "-1"}`:            "want USER or USER:GROUP",
		`{"command": ["x"], "workdir": "srv"}`:        `workdir: "srv": want an absolute path`,
		`{"command": ["x"], "time_limit": "5"}`:       `time_limit: "5": want a time such as 90s`,
		`{"command": ["x"], "time_limit": "-5s"}`:     "want a time such as 90s",
		`{"command": ["x"], "time_limit": "25h"}`:     "at most 24h0m0s",
		`{"command": ["x"], "mtime": -1}`:             "mtime: -1: want 0 to",
		`{"command": ["x"], "scratch": ["../x"]}`:     `the component ".."`,
		`{"command": ["x"], "scratch": ["/"]}`:        "want a path in the image",
		`{"command": ["x"], "scratch": ["dev/shm"]}`:  "inside or around, /dev",
		`{"command": ["x"], "scratch": ["a", "a/b"]}`: "inside or around, /a",
		`{"command": ["x"], "owners": {"a": "web"}}`:  `"web": want UID:GID`,
		`{"command": ["x"], "owners": {"/": "1:1"}}`:  "the image's root is no entry of a layer",
		`{"command": ["x\u0000"]}`:                    "a NUL can't be part of an argument",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q in it", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"command": ["/bin/sh"], "env": {"A": "b"}, "user": "web", "workdir": "/", "time_limit": "1s", "scratch": ["tmp"], "mtime": 1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Parse(b)
		if err != nil {
			return
		}
		if err := s.Check(); err != nil || len(s.Command) == 0 {
			t.Errorf("%q is taken, but %v", b, err)
		}
		for _, v := range s.environment(nil) {
			if strings.ContainsRune(v, 0) || strings.IndexByte(v, '=') < 1 {
				t.Errorf("%q: a variable %q", b, v)
			}
		}
	})
}

func TestOutput(t *testing.T) {
	var o output
	line := []byte(strings.Repeat("x", 999) + "\n")
	for range 1000 {
		o.Write(line)
	}
	o.Write([]byte("end"))
	got := o.Bytes()
	lost := len(line)*1000 + 3 - maxHead - maxTail
	if !bytes.HasPrefix(got, line) || !bytes.HasSuffix(got, []byte("\nend")) || !bytes.Contains(got, []byte("[934467 bytes are left out]")) || lost != 934467 {
		t.Errorf("got %d bytes, %d should be left out: %.50s … %s", len(got), lost, got, got[len(got)-10:])
	}
	var big output
	big.Write(make([]byte, 1<<20))
	if n := len(big.Bytes()); n > maxHead+maxTail+100 {
		t.Errorf("one write of 1 MiB leaves %d bytes", n)
	}
}
