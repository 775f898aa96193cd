package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rules-strata/rules_strata/tool/validate"
)

// The commands in docs/caches.md do what they say, one after the other.
func TestDocs_Caches(t *testing.T) {
	text, err := os.ReadFile("../../../docs/caches.md")
	if err != nil {
		t.Fatal(err)
	}
	disk, dir := newDisk(t), t.TempDir()
	copyFile := func(to, from, old, new string) {
		t.Helper()
		b, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, to), bytes.ReplaceAll(b, []byte(old), []byte(new)), 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// What the lines before the first command make, and a lock.
	copyFile("closure.json", filepath.Join(disk, "references"), "/nix/store", disk+"/store")
	copyFile("registration", filepath.Join(disk, "registration"), "", "")
	copyFile("secret.key", filepath.Join(webDir, "keys/strata-web-1.secret"), "", "")
	if err := os.MkdirAll(filepath.Join(dir, "mnt/nix"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(disk, "store"), filepath.Join(dir, "mnt/nix/store")); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	strata := func(args ...string) {
		t.Helper()
		if code := run(t.Context(), append([]string{"-q"}, args...), new(bytes.Buffer), os.Stderr); code != exitOK {
			t.Errorf("strata %s: exit code %d", strings.Join(args, " "), code)
		}
	}
	strata("lock", "--cache", "file://"+webDir+"/variants/zstd", "--public-key", webKey(t, "strata-web-1"), "--root", "mini=/nix/store/21c0vs5yp5r1xg52vsmiblv2mlsh0v50-mini-1.0")

	commands := map[string]int{}
	replace := []string{}
	for _, host := range []string{"cache", "mirror"} {
		s := httptest.NewServer(putHandler(t.TempDir()))
		defer s.Close()
		replace = append(replace, "https://"+host+".example.com", s.URL)
	}
	shell := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "```"):
			shell = line == "```sh"
		case shell && strings.HasPrefix(line, "strata "):
			args := strings.Fields(strings.NewReplacer(replace...).Replace(line))[1:]
			commands[args[0]]++
			strata(args...)
		case shell && !strings.HasPrefix(line, "nix"):
			t.Errorf("what is %q?", line)
		}
	}
	if commands["cache"] < 3 || commands["mirror"] < 2 {
		t.Errorf("docs/caches.md has the commands %v", commands)
	}
	for _, name := range []string{"cache", "other-cache", "mirror"} {
		if _, err := os.Stat(filepath.Join(dir, name, "21c0vs5yp5r1xg52vsmiblv2mlsh0v50.narinfo")); err != nil {
			t.Error(err)
		}
	}
}

// formatsHeading is where in docs/coming-from.md the part on formats and platforms begins, which is of another lock.
const formatsHeading = "\n## Formats\n"

// The commands in docs/coming-from.md on formats and platforms do what they say: what each writes is what the oracle takes.
func TestDocs_Formats(t *testing.T) {
	text, err := os.ReadFile("../../../docs/coming-from.md")
	if err != nil {
		t.Fatal(err)
	}
	_, formats, _ := strings.Cut(string(text), formatsHeading)
	t.Chdir(t.TempDir())
	project := `{
  "caches": ["file://` + webDir + `/variants/zstd"],
  "public_keys": ["` + webKey(t, "strata-web-1") + `"],
  "systems": ["x86_64-linux", "aarch64-linux"],
  "roots": {"web": {
    "x86_64-linux": "/nix/store/21c0vs5yp5r1xg52vsmiblv2mlsh0v50-mini-1.0",
    "aarch64-linux": "/nix/store/21c0vs5yp5r1xg52vsmiblv2mlsh0v50-mini-1.0"
  }}
}`
	if err := os.WriteFile("strata.json", []byte(project), 0o666); err != nil {
		t.Fatal(err)
	}
	strata := func(args ...string) {
		t.Helper()
		if code := run(t.Context(), append([]string{"-q"}, args...), new(bytes.Buffer), os.Stderr); code != exitOK {
			t.Errorf("strata %s: exit code %d", strings.Join(args, " "), code)
		}
	}
	strata("lock")
	tried, shell := 0, false
	for line := range strings.Lines(formats) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "```"):
			shell = line == "```sh"
		case shell:
			tried++
			args := strings.Fields(line)
			if !strings.Contains(line, "--system") {
				args = append(args, "--system", "x86_64-linux")
			}
			strata(args[1:]...)
			output := args[slices.Index(args, "-o")+1]
			if strings.HasSuffix(output, ".nixery") {
				continue // no image to any client but one
			}
			if r, err := validate.Image(t.Context(), output); err != nil || r.Err() != nil {
				t.Errorf("%s: %v %v", line, err, r.Err())
			}
		}
	}
	if tried < 7 {
		t.Errorf("%d commands in docs/coming-from.md on formats", tried)
	}
}

// The other commands in docs/coming-from.md do what they say, and the one that is there to fail does.
func TestDocs_ComingFrom(t *testing.T) {
	if testing.Short() {
		t.Skip("it moves many bytes, one after the other")
	}
	text, err := os.ReadFile("../../../docs/coming-from.md")
	if err != nil {
		t.Fatal(err)
	}
	rest, _, _ := strings.Cut(string(text), formatsHeading)
	_, files, _ := strings.Cut(rest, "\n### A whole example\n")
	_, files, _ = strings.Cut(files, "```json\n")
	files, _, _ = strings.Cut(files, "```")
	t.Chdir(t.TempDir())
	for name, content := range map[string]string{
		"files.json":  files,
		"config.json": `{"Env": ["PATH=/usr/bin"], "Cmd": ["/nix/store/dr6a8bs5f2hyww3awb6nnhxlg3qvfdhr-web-1.0/start"]}`,
		"status.txt":  "STABLE_GIT_COMMIT abc123\n",
	} {
		if err := os.WriteFile(name, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	lock := []string{"lock", "-q", "--cache", "file://" + webDir + "/cache", "--public-key", webKey(t, "strata-web-1"), "--system", "x86_64-linux"}
	for _, root := range []string{"web=/nix/store/dr6a8bs5f2hyww3awb6nnhxlg3qvfdhr-web-1.0", "bash=/nix/store/xznc9l6ppin9j93x7xsvaba3qkn46hwr-bash-5.2.15"} {
		lock = append(lock, "--root", root)
	}
	if code := run(t.Context(), lock, new(bytes.Buffer), os.Stderr); code != exitOK {
		t.Fatalf("strata lock: exit code %d", code)
	}
	tried, block := map[string]int{}, ""
	for line := range strings.Lines(rest) {
		line = strings.TrimSpace(line)
		if after, ok := strings.CutPrefix(line, "```"); ok {
			block = after
			continue
		}
		if !strings.HasPrefix(block, "sh") {
			continue
		}
		tried[block]++
		var stderr bytes.Buffer
		args := strings.Fields(strings.ReplaceAll(line, "'", ""))
		code := run(t.Context(), args[1:], new(bytes.Buffer), &stderr)
		if want := strings.HasSuffix(block, "fails"); want != (code != exitOK) {
			t.Errorf("%s: exit code %d, %s", line, code, &stderr)
		}
		if code != exitOK {
			continue
		}
		output := args[slices.Index(args, "-o")+1]
		if r, err := validate.Image(t.Context(), output); err != nil || r.Err() != nil {
			t.Errorf("%s: %v %v", line, err, r.Err())
		}
	}
	if tried["sh"] < 8 || tried["sh fails"] < 1 {
		t.Errorf("docs/coming-from.md has the commands %v", tried)
	}
}

// The commands in docs/serving.md do what they say, with the project file that stands there, on fixtures. What
// other clients pull there is tried in e2e/clients.
func TestDocs_Serving(t *testing.T) {
	text, err := os.ReadFile("../../../docs/serving.md")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	strata := func(args ...string) {
		t.Helper()
		if code := run(t.Context(), append([]string{"-q"}, args...), new(bytes.Buffer), os.Stderr); code != exitOK {
			t.Errorf("strata %s: exit code %d", strings.Join(args, " "), code)
		}
	}
	strata("lock", "--cache", "file://"+webDir+"/variants/zstd", "--public-key", webKey(t, "strata-web-1"), "--root", "mini=/nix/store/21c0vs5yp5r1xg52vsmiblv2mlsh0v50-mini-1.0", "-o", "mini.lock.json")
	strata("build", "--lock", "mini.lock.json", "--format", "layout", "-o", "mini.oci")
	strata("build", "--lock", "mini.lock.json", "-o", "web.tar")

	var host string
	var stop func()
	serve := func(args ...string) {
		t.Helper()
		if stop != nil {
			stop()
		}
		os.Remove("address")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan int, 1)
		go func() {
			ended <- run(ctx, append(args, "--listen", "127.0.0.1:0", "--address-file", "address", "--cache", "kept"), new(bytes.Buffer), io.Discard)
		}()
		stop = func() {
			t.Helper()
			cancel()
			if code := <-ended; code != exitOK {
				t.Errorf("strata %s: exit code %d", strings.Join(args, " "), code)
			}
		}
		for {
			if b, err := os.ReadFile("address"); err == nil {
				host = strings.TrimSpace(string(b))
				return
			}
			select {
			case code := <-ended:
				t.Fatalf("strata %s: exit code %d", strings.Join(args, " "), code)
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	block, json := "", ""
	served, pulled := 0, 0
	for line := range strings.Lines(string(text)) {
		if after, ok := strings.CutPrefix(line, "```"); ok {
			block = strings.TrimSpace(after)
			continue
		}
		line = strings.TrimSpace(line)
		args := strings.Fields(line)
		switch block {
		case "json":
			json += line + "\n"
		case "sh":
			project := strings.NewReplacer(
				"https://cache.nixos.org", "file://"+webDir+"/cache",
				"cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=", webKey(t, "strata-web-1"),
				"https://channels.nixos.org/nixos-25.05/store-paths.xz", "file://"+webDir+"/closure/paths",
			).Replace(json)
			if err := os.WriteFile("strata.json", []byte(project), 0o666); err != nil {
				t.Fatal(err)
			}
			serve(args[1:]...)
			served++
		case "sh pull":
			if args[0] != "strata" {
				continue
			}
			args = append(strings.Fields(strings.ReplaceAll(line, "127.0.0.1:5000", host)), "-o", fmt.Sprintf("pulled%d.oci", pulled))
			strata(args[1:]...)
			if r, err := validate.Image(t.Context(), args[len(args)-1]); err != nil || r.Err() != nil {
				t.Errorf("%s: %v %v", line, err, r.Err())
			}
			pulled++
		}
	}
	stop()
	if served != 2 || pulled != 2 {
		t.Errorf("docs/serving.md serves %d times and pulls %d times", served, pulled)
	}
}
