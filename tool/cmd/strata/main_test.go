package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/rules-strata/rules_strata/tool/runlayer"
	"github.com/rules-strata/rules_strata/tool/validate"
)

// webDir is testdata/web as an absolute path.
var webDir string

func TestMain(m *testing.M) {
	runlayer.Main()
	var err error
	if webDir, err = filepath.Abs("../../../testdata/web"); err != nil {
		panic(err)
	}
	testscript.Main(m, map[string]func(){"strata": main})
}

// webKey is a public key of the fixtures; what is right there is signed by strata-web-1.
func webKey(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(webDir, "keys", name+".public"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// The scripts in testdata/script, one for each feature. Beside testscript's own
// commands they have those below, and the variables WEB (testdata/web), KEY (the public
// key that signed it), KEY2 (another one), LOCK (that of examples/web), DISK (see newDisk) and STRATA_DIR (where the command is).
//
// In short tests, which the race detector makes ten times as slow, those rest that only move many bytes.
func TestScripts(t *testing.T) {
	disk := newDisk(t)
	exampleLock, err := filepath.Abs("../../../examples/web/strata.lock.json")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("WEB", webDir)
			e.Setenv("KEY", webKey(t, "strata-web-1"))
			e.Setenv("KEY2", webKey(t, "strata-web-2"))
			e.Setenv("DISK", disk)
			// For scripts that hide the machine's programs.
			bin, _, _ := strings.Cut(e.Getenv("PATH"), string(filepath.ListSeparator))
			e.Setenv("STRATA_DIR", bin)
			e.Setenv("LOCK", exampleLock)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"readenv":  cmdReadEnv,
			"registry": cmdRegistry,
			"serve":    cmdServe,
			"serveput": cmdServePut,
			"lists":    cmdLists,
			"maketar":  cmdMaketar,
			"oracle":   cmdOracle,
			"status":   cmdStatus,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// serve VAR DIR [STATUS AUTHORIZATION] serves a folder over HTTP, and puts the URL into a variable. What has not that
// header is answered by that status.
func cmdServe(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 && len(args) != 4 {
		ts.Fatalf("usage: serve VAR DIR [STATUS AUTHORIZATION]")
	}
	files := http.FileServer(http.Dir(ts.MkAbs(args[1])))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(args) == 4 && r.Header.Get("Authorization") != args[3] {
			code, err := strconv.Atoi(args[2])
			ts.Check(err)
			http.Error(w, "who are you?", code)
			return
		}
		files.ServeHTTP(w, r)
	}))
	ts.Defer(s.Close)
	ts.Setenv(args[0], s.URL)
	ts.Setenv("HOST", s.Listener.Addr().String())
}

// readenv VAR FILE puts what is in a file into a variable, without the line's end.
func cmdReadEnv(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: readenv VAR FILE")
	}
	ts.Setenv(args[0], strings.TrimSuffix(ts.ReadFile(args[1]), "\n"))
}

// registry VAR starts a registry, go-containerregistry's, and puts its host into a variable. It believes nearly
// everything: what real ones make of a push is tested in e2e/clients.
func cmdRegistry(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: registry VAR")
	}
	s := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	ts.Defer(s.Close)
	ts.Setenv(args[0], s.Listener.Addr().String())
}

// status CODE PROGRAM ARG... runs a program as exec does, and checks its exit code.
func cmdStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status CODE PROGRAM ARG...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

// lists DIR NAME... checks that a folder holds these and nothing else, hidden or not.
func cmdLists(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: lists DIR NAME...")
	}
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	var names []string
	for _, e := range entries {
		if e.Name() != ".tmp" { // testscript's own
			names = append(names, e.Name())
		}
	}
	want := slices.Sorted(slices.Values(args[1:]))
	if !slices.Equal(names, want) {
		ts.Fatalf("%s holds %q, want %q", args[0], names, want)
	}
}

// oracle IMAGE checks an archive or a layout by all that can be computed from it.
func cmdOracle(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: oracle IMAGE")
	}
	if testing.Short() {
		return // It judges bytes, no races, and the race detector makes it ten times as slow.
	}
	report, err := validate.Image(context.Background(), ts.MkAbs(args[0]))
	ts.Check(err)
	for _, f := range report.Faults {
		ts.Logf("%s", f)
	}
	if len(report.Faults) > 0 {
		ts.Fatalf("%s: %d faults", args[0], len(report.Faults))
	}
	for _, i := range report.Images {
		ts.Logf("%s: %d layers, names %s", i.Digest, len(i.Layers), i.Names)
	}
}

// cmdMaketar is `maketar FILE DIR`: a tar of a folder, as Go writes it.
func cmdMaketar(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: maketar FILE DIR")
	}
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	defer f.Close()
	w := tar.NewWriter(f)
	ts.Check(w.AddFS(os.DirFS(ts.MkAbs(args[1]))))
	ts.Check(w.Close())
}
