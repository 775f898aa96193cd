package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/bench/section"
	"github.com/rules-strata/rules_strata/tool/nar"
)

// A tree becomes the NAR of its names, modes, links and contents.
func TestAddTree(t *testing.T) {
	root := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(root, "lib", "empty"), 0o755))
	must(os.WriteFile(filepath.Join(root, "lib", "a"), []byte("contents"), 0o644))
	must(os.WriteFile(filepath.Join(root, "lib.so"), nil, 0o755))
	must(os.Symlink("nowhere", filepath.Join(root, "bin")))
	must(storeModes(root))

	var archive bytes.Buffer
	w := nar.NewWriter(&archive)
	must(addTree(w, root, ""))
	must(w.Close())

	var got []string
	r := nar.NewReader(&archive)
	for {
		e, err := r.Next()
		if err == io.EOF {
			break
		}
		must(err)
		line := e.Kind.String() + " " + string(e.Path) + " " + string(e.Target)
		if e.Executable {
			line += "x"
		}
		if e.Kind == nar.Regular {
			contents, err := io.ReadAll(r)
			must(err)
			line += string(contents)
		}
		got = append(got, line)
	}
	want := []string{
		"directory  ", "symlink bin nowhere", "directory lib ", "regular lib/a contents", "directory lib/empty ", "regular lib.so x",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestHighest(t *testing.T) {
	names := []string{"gcc-9", "gcc-12", "gcc-12-base", "gcc-11", "python3.9-minimal", "python3.11-minimal"}
	for pattern, want := range map[string]string{
		"^(gcc-[0-9]+)$":              "gcc-12",
		`^(python3\.[0-9]+-minimal)$`: "python3.11-minimal",
		"^(clang-[0-9]+)$":            "",
	} {
		if got := highest(names, regexp.MustCompile(pattern)); got != want {
			t.Errorf("%s: got %q, want %q", pattern, got, want)
		}
	}
}

// The last program's output goes into the file, whatever is hashed on the way, and the cost is of all.
func TestPipe(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	var u usage
	err := u.pipe(t.Context(), out, stage{argv: []string{"sh", "-c", "echo $WORD"}, env: []string{"WORD=a layer"}, hashed: true}, stage{argv: []string{"cat"}})
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(out); string(got) != "a layer\n" {
		t.Errorf("output: %q", got)
	}
	if u.cpu <= 0 || u.wall <= 0 || u.rss <= 0 {
		t.Errorf("usage: %+v", u)
	}
}

func TestPipe_Failure(t *testing.T) {
	for _, stages := range [][]stage{
		{{argv: []string{"sh", "-c", "echo no space >&2; exit 3"}}, {argv: []string{"cat"}}},
		{{argv: []string{"echo"}}, {argv: []string{"sh", "-c", "cat; echo no space >&2; exit 3"}}},
	} {
		if err := new(usage).pipe(t.Context(), "", stages...); err == nil || !strings.Contains(err.Error(), "exit status 3\nno space") {
			t.Errorf("%v: got error %v", stages, err)
		}
	}
	err := new(usage).pipe(t.Context(), "", stage{argv: []string{"cat", "/dev/zero"}}, stage{argv: []string{"/no/such/program"}})
	if err == nil || !strings.Contains(err.Error(), "/no/such/program") {
		t.Errorf("got error %v", err)
	}
}

func TestTopEntries(t *testing.T) {
	const text = `File: bench
Duration: 1.20s, Total samples = 2.34s (195%)
Showing nodes accounting for 2.34s, 100% of 2.34s total
      flat  flat%   sum%        cum   cum%
     1.07s 45.73% 45.73%      1.07s 45.73%  crypto/internal/fips140/sha256.blockSHANI
     0.50s 21.37% 67.10%      0.60s 25.64%  github.com/rules-strata/rules_strata/tool/nar.(*Reader).Next (inline)
     0.01s  0.43% 67.53%      0.60s 25.64%  runtime.memmove
         0     0% 67.53%      0.60s 25.64%  runtime.goexit
`
	want := []profileEntry{{"45.73%", "sha256.blockSHANI"}, {"21.37%", "nar.(*Reader).Next"}}
	if got := topEntries(text, 8); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := topEntries(text, 1); !slices.Equal(got, want[:1]) {
		t.Errorf("got %q, want %q", got, want[:1])
	}
}

func TestFit(t *testing.T) {
	l := fit([]float64{1, 2, 4}, []float64{5, 7, 11})
	if l.a < 2.999 || l.a > 3.001 || l.b < 1.999 || l.b > 2.001 || l.r2 < 0.999 {
		t.Errorf("3 + 2x: got %+v", l)
	}
	if l := fit([]float64{1, 2, 3, 4}, []float64{1, -1, 1, -1}); l.r2 > 0.5 {
		t.Errorf("no line: got %+v", l)
	}
}

// A target whose cases weren't run is left out; others say whether they are met.
func TestTargets(t *testing.T) {
	results := map[string]usage{
		groupGzip + ": " + strataCase: {cpu: 6e9, size: 90, rss: 65e6},
		groupGzip + ": " + umoci:      {cpu: 10e9, size: 100},
	}
	list := targets(results)
	var met []bool
	for _, t := range list {
		met = append(met, t.met())
	}
	if len(list) != 3 || !slices.Equal(met, []bool{true, true, false}) {
		t.Errorf("got %+v", list)
	}
}

// Beside a ratio to another program stands the best that it could be.
func TestTargets_Possible(t *testing.T) {
	text := targetTable(targets(map[string]usage{
		groupNone + ": " + strataCase:     {cpu: 1.5e9},
		groupNone + ": " + nix2container:  {cpu: 2.7e9},
		groupLimits + ": " + limitSHA256:  {cpu: 0.5e9},
		groupLimits + ": " + limitCopy:    {cpu: 0.2e9},
		groupLimits + ": " + limitDiscard: {wall: 1e9},
	}))
	for _, want := range []string{
		"| uncompressed: CPU, to two SHA-256 passes and a copy | ≤ 1.25 | 1.250 | met |\n",
		"| uncompressed: CPU of nix2container, to strata's | ≥ 2.20 | 1.800 | **missed**; two SHA-256 passes and a copy alone: 2.25 |\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("got\n%swant a line\n%s", text, want)
		}
	}
}

// The document has a place for every section that is measured.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile("../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"machine", "compare", "limits", "targets", "profile", "growth", "actions"} {
		if _, err := (section.Section{Name: name}).Replace(string(text)); err != nil {
			t.Error(err)
		}
	}
}
