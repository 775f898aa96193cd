package main

import (
	"bytes"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/rules-strata/rules_strata/tool/validate"
)

// docCommands runs the commands of strata in the sh blocks of a page, one after the other, in
// the current folder, and returns how often each was there. Of a pipeline that is the first command.
func docCommands(t *testing.T, text string) map[string]int {
	t.Helper()
	tried, shell := map[string]int{}, false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "```") {
			shell = line == "```sh"
			continue
		}
		command, _, _ := strings.Cut(line, "|")
		command, _, _ = strings.Cut(command, " #")
		args := strings.Fields(command)
		if !shell || len(args) == 0 || args[0] == "bazel" { // e2e/bazel runs those.
			continue
		}
		if args[0] != "strata" {
			t.Errorf("what is %q?", line)
			continue
		}
		tried[args[1]]++
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), args[1:], &stdout, &stderr); code != exitOK || stdout.Len() == 0 && !strings.Contains(command, "-o ") {
			t.Errorf("%s: exit code %d, %d bytes of output, %s", line, code, stdout.Len(), &stderr)
		}
	}
	return tried
}

// docImage makes the image that the pages are about, in all forms that they name, and a lock, in a new current folder.
func docImage(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("it moves many bytes, one after the other")
	}
	t.Chdir(t.TempDir())
	for _, args := range [][]string{
		{"lock", "--cache", "file://" + webDir + "/cache", "--public-key", webKey(t, "strata-web-1"), "--root", "web=/nix/store/dr6a8bs5f2hyww3awb6nnhxlg3qvfdhr-web-1.0"},
		{"build", "--tag", "web:dev", "-o", "web.tar", "--cmd", "/nix/store/dr6a8bs5f2hyww3awb6nnhxlg3qvfdhr-web-1.0/start"},
		{"build", "--tag", "web:dev", "--format", "layout", "-o", "web.oci", "--cmd", "/nix/store/dr6a8bs5f2hyww3awb6nnhxlg3qvfdhr-web-1.0/start"},
	} {
		if code := run(t.Context(), append([]string{"-q"}, args...), io.Discard, os.Stderr); code != exitOK {
			t.Fatalf("strata %s: exit code %d", strings.Join(args, " "), code)
		}
	}
}

func readDoc(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("../../../docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The commands in docs/loading.md do what they say.
func TestDocs_Loading(t *testing.T) {
	text := readDoc(t, "loading.md")
	docImage(t)
	tried := docCommands(t, text)
	for name, want := range map[string]int{"stream": 2, "export": 1, "inspect": 3, "diff": 2, "ls": 1, "verify": 1} {
		if tried[name] != want {
			t.Errorf("strata %s: %d times, want %d", name, tried[name], want)
		}
	}
	// What the page shows of --why is what is printed.
	_, chain, _ := strings.Cut(text, "config names:\n\n```\n")
	chain, _, _ = strings.Cut(chain, "```")
	var stdout bytes.Buffer
	if code := run(t.Context(), []string{"inspect", "web.oci", "--why", "zlib"}, &stdout, os.Stderr); code != exitOK || chain == "" || !strings.HasPrefix(stdout.String(), chain) {
		t.Errorf("strata inspect --why: %s\nthe page has\n%s", &stdout, chain)
	}
	if r, err := validate.Image(t.Context(), "web.tar"); err != nil || r.Err() != nil { // that strata stream wrote
		t.Errorf("%v, %v", err, r.Err())
	}
}

// The commands in docs/pushing.md do what they say, with another registry in the place of those that it names.
func TestDocs_Pushing(t *testing.T) {
	text := readDoc(t, "pushing.md")
	docImage(t)
	s := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer s.Close()
	host := s.Listener.Addr().String()
	for _, name := range []string{"/team/base:1.0", "/debian:12-slim"} {
		if code := run(t.Context(), []string{"push", "-q", "web.tar", host + name}, io.Discard, os.Stderr); code != exitOK {
			t.Fatalf("%s: exit code %d", name, code)
		}
	}
	text = strings.NewReplacer("registry.example.org/", host+"/", "strata pull debian:", "strata pull "+host+"/debian:").Replace(text)
	if tried := docCommands(t, text); tried["push"] != 1 || tried["pull"] != 3 {
		t.Errorf("docs/pushing.md has the commands %v", tried)
	}
	if r, err := validate.Image(t.Context(), "debian.oci"); err != nil || r.Err() != nil {
		t.Errorf("%v, %v", err, r.Err())
	}
}
