package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/validate"
)

// Where a case of testdata/web/bad must end.
const (
	atLock  = "lock"  // strata lock refuses it
	atBuild = "build" // strata build refuses it: only the NAR shows what is wrong
	works   = ""      // unusual, but right
)

// badCaches is what each of the caches in testdata/web/bad must come to, and a
// word of the error.
var badCaches = map[string]struct{ refused, says string }{
	"00-control":               {works, ""},
	"01-wrong-narhash":         {atBuild, "NarHash mismatch: want sha256:"},
	"02-wrong-filehash":        {atBuild, "FileHash mismatch: want sha256:"}, // Nix takes it: no signature covers FileHash
	"03-truncated-zstd":        {atBuild, "bad zstd data"},
	"04-truncated-nar":         {atBuild, "NarSize mismatch"},
	"05-bad-signature":         {atLock, "the signature by strata-web-1 doesn't fit"},
	"06-untrusted-key":         {atLock, "signed by strata-web-2; trusted are strata-web-1"},
	"07-no-signature":          {atLock, "it has no signature"},
	"08-missing-reference":     {atLock, "none of the caches has it"},
	"09-unsorted-entries":      {atBuild, "want names in ascending order, each once: one behind \"b\", found \"a\""},
	"10-duplicate-names":       {atBuild, "want names in ascending order, each once: one behind \"a\", found \"a\""},
	"11-dotdot-name":           {atBuild, "found \"..\""},
	"12-slash-name":            {atBuild, "found \"a/b\", which holds a slash"},
	"13-trailing-garbage":      {atBuild, "want the end of the archive, found more bytes"},
	"14-nonzero-padding":       {atBuild, "want padding of zeros"},
	"15-storepath-mismatch":    {atLock, "the narinfo is about another path"},
	"16-huge-declared-size":    {atBuild, "want a file's contents, found the end of the input"},
	"17-path-not-in-store":     {atLock, "the narinfo is about another path: /tmp/"},
	"18-crlf-narinfo":          {atLock, "carriage return"},
	"19-duplicate-keys":        {atLock, "given again"}, // Nix takes the last one in silence
	"20-bad-magic":             {atBuild, "found \"nix-archive-2\""},
	"21-missing-nar":           {atBuild, "not found"},
	"22-other-store-dir":       {atLock, "the cache is of the store directory /gnu/store, the roots are in /nix/store"},
	"23-empty-narinfo":         {atLock, "StorePath missing"},
	"24-narinfo-cut":           {atLock, "want a newline at the end"},
	"50-no-filehash":           {works, ""},
	"51-unknown-field":         {works, ""},
	"52-order":                 {works, ""},
	"53-second-signature-good": {works, ""},
	"54-narhash-hex":           {works, ""},
	"55-narhash-sri":           {works, ""},
	"56-no-compression-field":  {works, ""},
	"57-unsorted-references":   {works, ""},
	"58-no-newline-at-end":     {atLock, "want a newline at the end"}, // as Nix has it
	"59-deriver-unknown":       {works, ""},
	"60-two-zstd-frames":       {works, ""},
	"61-zstd-long-window":      {works, ""},
}

// Every broken cache is refused, with the store path in the message and nothing
// half-written; the unusual ones give an image.
func TestBadCaches(t *testing.T) {
	index, err := os.ReadFile(filepath.Join(webDir, "bad/index.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(index)), "\n")
	if len(lines) != len(badCaches) {
		t.Errorf("index.tsv has %d cases, this table %d", len(lines), len(badCaches))
	}
	otherLock, err := os.ReadFile("../../../examples/web/strata.lock.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		name, _, _ := strings.Cut(line, "\t")
		t.Run(name, func(t *testing.T) {
			want, ok := badCaches[name]
			if !ok {
				t.Fatal("the case is not in the table")
			}
			request, err := os.ReadFile(filepath.Join(webDir, "bad", name, "REQUEST"))
			if err != nil {
				t.Fatal(err)
			}
			path := strings.TrimSpace(string(request))

			// A lock and an archive are there already.
			dir := t.TempDir()
			lockFile, archive := filepath.Join(dir, "lock.json"), filepath.Join(dir, "image.tar")
			old := map[string][]byte{lockFile: otherLock, archive: []byte("old")}
			for f, b := range old {
				if err := os.WriteFile(f, b, 0o666); err != nil {
					t.Fatal(err)
				}
			}
			untouched := func(files ...string) {
				t.Helper()
				for _, f := range files {
					if b, err := os.ReadFile(f); err != nil || !bytes.Equal(b, old[f]) {
						t.Errorf("%s was touched: %.20q, %v", f, b, err)
					}
				}
				entries, err := os.ReadDir(dir)
				if err != nil || len(entries) != 2 {
					t.Errorf("left behind: %v, %v", entries, err)
				}
			}
			strata := func(args ...string) (code int, stderr string) {
				var out, errs bytes.Buffer
				code = run(t.Context(), args, &out, &errs)
				return code, errs.String()
			}

			code, stderr := strata("lock", "-q", "--cache", "file://"+filepath.Join(webDir, "bad", name), "--public-key", webKey(t, "strata-web-1"),
				"--root", "case="+path, "-o", lockFile)
			if want.refused == atLock {
				if code != exitFailed || !strings.HasPrefix(stderr, "strata: error: "+path+": ") || !strings.Contains(stderr, want.says) {
					t.Errorf("exit code %d, stderr:\n%s\nwant 1, the path and %q", code, stderr, want.says)
				}
				untouched(lockFile, archive)
				return
			}
			if code != exitOK || stderr != "" {
				t.Fatalf("lock: exit code %d, stderr:\n%s", code, stderr)
			}
			// In a layer of its own, and together with others.
			for _, layers := range []string{"64", "1"} {
				code, stderr = strata("build", "-q", "--lock", lockFile, "--max-layers", layers, "-o", archive)
				if want.refused == atBuild {
					if code != exitFailed || !strings.HasPrefix(stderr, "strata: error: "+path+": ") || !strings.Contains(stderr, want.says) {
						t.Errorf("exit code %d, stderr:\n%s\nwant 1, the path and %q", code, stderr, want.says)
					}
					untouched(archive)
					continue
				}
				if code != exitOK || stderr != "" {
					t.Fatalf("build: exit code %d, stderr:\n%s", code, stderr)
				}
				report, err := validate.Image(t.Context(), archive)
				if err != nil {
					t.Fatal(err)
				}
				if len(report.Faults) > 0 || len(report.Images) != 1 {
					t.Fatalf("%d images, faults %v", len(report.Images), report.Faults)
				}
				var has []string
				for _, l := range report.Images[0].Layers {
					has = append(has, l.StorePaths...)
				}
				if !slices.Contains(has, path) {
					t.Errorf("the image holds %v, not %s", has, path)
				}
			}
		})
	}
}
