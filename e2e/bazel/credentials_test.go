package bazel

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// A cache that asks for a password gets the one that a credential helper says
// or that .netrc has for its host; the lock has none.
func TestCredentials(t *testing.T) {
	const user, password = "me", "hunter2"
	files := http.FileServer(http.Dir(filepath.Join(sourceDir(t), "testdata/web/cache")))
	var served atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, _ := r.BasicAuth(); u != user || p != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="cache"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		served.Add(1)
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)

	w := newWorkspace(t)
	host := strings.TrimPrefix(server.URL, "http://")
	w.lock("--cache", "http://"+user+":"+password+"@"+host, "--root", bashRoot)
	if lock := w.read("strata.lock.json"); strings.Contains(lock, password) || !strings.Contains(lock, server.URL+"/nar/") {
		t.Fatalf("the lock holds the password, or not the cache's URL:\n%s", lock)
	}
	flags := func(more ...string) []string {
		return append(more, "--output_groups=manifest", "--repository_cache="+filepath.Join(t.TempDir(), "repositories"), "//:bash")
	}

	w.write("other.netrc", "machine other.example.org login me password hunter2\n")
	w.env = []string{"NETRC=" + filepath.Join(w.dir, "other.netrc")}
	before := served.Load()
	if out := w.buildFails(flags()...); !strings.Contains(out, "its NAR could not be fetched from "+server.URL) {
		t.Errorf("without a password: got:\n%s", out)
	}
	if served.Load() != before {
		t.Fatal("a NAR was served without a password: what follows would show nothing")
	}

	// The protocol of https://github.com/EngFlow/credential-helper-spec: a request on standard input, headers on standard output.
	name, _, _ := strings.Cut(host, ":")
	basic := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	w.write("helper", "#!/bin/sh\ncat >/dev/null\necho '{\"headers\": {\"Authorization\": [\"Basic "+basic+"\"]}}'\n")
	if err := os.Chmod(filepath.Join(w.dir, "helper"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.build(flags("--credential_helper=" + name + "=%workspace%/helper")...)
	if served.Load() == before {
		t.Error("with a credential helper, no NAR was asked for")
	}

	before = served.Load()
	w.newOutputBase()
	w.write("netrc", "machine "+name+" login "+user+" password "+password+"\n")
	w.env = []string{"NETRC=" + filepath.Join(w.dir, "netrc")}
	w.build(flags()...)
	if served.Load() == before {
		t.Error("with netrc, no NAR was asked for")
	}

	// The layer action has what --action_env names, not what Bazel itself has. A sandbox has a /tmp of its own.
	inAction := func(more ...string) []string {
		return flags(append(more, "--@rules_strata//:nar_fetch=action", "--sandbox_add_mount_pair="+w.dir)...)
	}
	before = served.Load()
	if out := w.buildFails(inAction("--credential_helper=" + name + "=%workspace%/helper")...); !strings.Contains(out, "layer: error: ") || !strings.Contains(out, "401") || strings.Contains(out, password) {
		t.Errorf("action without a password: got:\n%s", out)
	}
	if served.Load() != before {
		t.Fatal("a NAR was served without a password: what follows would show nothing")
	}
	for _, env := range []string{"NETRC", "STRATA_CREDENTIAL_HELPER=" + name + "=" + filepath.Join(w.dir, "helper")} {
		before = served.Load()
		if n := w.build(inAction("--action_env=" + env)...).ran("StrataLayer"); n == 0 || served.Load() == before {
			t.Errorf("--action_env=%s: %d layer actions ran and asked for %d NARs", env, n, served.Load()-before)
		}
	}

	// A layer action that fetches by itself has what its own environment names, and no more.
	action := []string{"--output_groups=manifest", "--@rules_strata//:nar_fetch=action", "//:bash"}
	before = served.Load()
	if out := w.buildFails(action...); !strings.Contains(out, "401 Unauthorized; it wants credentials") || !strings.Contains(out, "layer: hint: if "+name+" wants credentials") {
		t.Errorf("an action without a password: got:\n%s", out)
	}
	w.build(append(action, "--action_env=NETRC="+filepath.Join(w.dir, "netrc"))...)
	if served.Load() == before {
		t.Error("the action asked for no NAR")
	}
}
