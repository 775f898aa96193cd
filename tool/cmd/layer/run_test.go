package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rules-strata/rules_strata/tool/action"
	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/narinfo"
)

// webDir holds binary caches that real Nix wrote, and broken ones.
const webDir = "../../../testdata/web"

// TestMain lets the test binary be the program itself, in a process of its own.
func TestMain(m *testing.M) {
	if peak := os.Getenv("STRATA_TEST_PEAK"); peak != "" {
		// With what the kernel says of this process. (The peak that its parent is told may be the parent's own.)
		code := program.Run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)
		if status, err := os.ReadFile("/proc/self/status"); err == nil {
			os.WriteFile(peak, status, 0o666)
		}
		os.Exit(code)
	}
	if os.Getenv("STRATA_TEST_MAIN") != "" {
		main()
	}
	os.Exit(m.Run())
}

// readInfo reads the narinfo of base, a store path, its base name or its hash part.
func readInfo(t *testing.T, cache, base string) *narinfo.Info {
	t.Helper()
	hash, _, _ := strings.Cut(filepath.Base(base), "-")
	text, err := os.ReadFile(filepath.Join(cache, hash+".narinfo"))
	if err != nil {
		t.Fatal(err)
	}
	info, err := narinfo.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// group is the arguments of one store path in the cache dir. A base of "" leaves the NAR file to the caller.
func group(info *narinfo.Info, sources ...string) []string {
	args := []string{
		"--store-path=" + string(info.StorePath),
		"--nar-hash=" + info.NarHash.String(),
		"--nar-size=" + strconv.FormatInt(info.NarSize, 10),
		"--nar-compression=" + info.Compression,
	}
	if !info.FileHash.IsZero() {
		args = append(args, "--file-hash="+info.FileHash.String(), "--file-size="+strconv.FormatInt(info.FileSize, 10))
	}
	return append(args, sources...)
}

func fromFile(cache string, info *narinfo.Info) string {
	return "--nar=" + filepath.Join(cache, info.URL)
}

// outputs are the arguments that name outputs in dir.
func outputs(dir string) []string {
	return []string{"--output=" + filepath.Join(dir, "blob"), "--digest-file=" + filepath.Join(dir, "blob.json")}
}

// runIn runs the program with its outputs in dir, and returns exit code and standard error.
func runIn(t *testing.T, dir string, args ...string) (int, string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := program.Run(t.Context(), append(outputs(dir), args...), &stdout, &stderr)
	if stdout.Len() > 0 {
		t.Errorf("standard output: %s", stdout.String())
	}
	return code, stderr.String()
}

// mustRun returns the digest file of a run that must succeed.
func mustRun(t *testing.T, args ...string) *digestfile.File {
	t.Helper()
	dir := t.TempDir()
	if code, stderr := runIn(t, dir, args...); code != action.ExitOK || stderr != "" {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	f, err := digestfile.Read(filepath.Join(dir, "blob.json"))
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "blob")); err != nil || info.Size() != f.Descriptor.Size {
		t.Fatalf("blob: %v, %v; want %d bytes", info, err, f.Descriptor.Size)
	}
	checkNames(t, dir, "blob", "blob.json")
	return f
}

// checkNames fails unless dir holds exactly these files.
func checkNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("in the output directory: %q, want %q", got, want)
	}
}

// Each broken cache whose narinfo is believable fails here: exit code 1, the
// store path said once, and no file left.
func TestRun_BadCaches(t *testing.T) {
	for _, c := range []struct{ dir, message string }{
		{"01-wrong-narhash", "NarHash mismatch: want sha256:"},
		{"02-wrong-filehash", "FileHash mismatch: want sha256:"},
		{"03-truncated-zstd", "bad zstd data"},
		{"04-truncated-nar", "NarSize mismatch: want 880, got 440"},
		{"09-unsorted-entries", "bad NAR at offset"},
		{"10-duplicate-names", "bad NAR at offset"},
		{"11-dotdot-name", "bad NAR at offset"},
		{"12-slash-name", "bad NAR at offset"},
		{"13-trailing-garbage", "bad NAR at offset"},
		{"14-nonzero-padding", "bad NAR at offset"},
		{"16-huge-declared-size", "bad NAR at offset 101"},
		{"20-bad-magic", "bad NAR at offset"},
		{"21-missing-nar", "no such file"},
	} {
		t.Run(c.dir, func(t *testing.T) {
			cache := filepath.Join(webDir, "bad", c.dir)
			info := readInfo(t, cache, request(t, cache))
			good := readInfo(t, webDir+"/cache", "171i7j9q1s51y1w5a5lwh4j9jxgzaqkr") // comes before or after, by its name
			for _, compression := range []string{"none", "gzip", "zstd"} {
				dir := t.TempDir()
				args := append(group(good, fromFile(webDir+"/cache", good)), group(info, fromFile(cache, info))...)
				code, stderr := runIn(t, dir, append(args, "--compression="+compression)...)
				if code != action.ExitFailure {
					t.Errorf("exit code %d, want %d", code, action.ExitFailure)
				}
				if !strings.HasPrefix(stderr, "layer: error: "+string(info.StorePath)+": ") || strings.Count(stderr, string(info.StorePath)) != 1 {
					t.Errorf("want an error that begins with the store path, got %s", stderr)
				}
				if !strings.Contains(stderr, c.message) || strings.Count(stderr, "\n") != 1 {
					t.Errorf("want %q in one line, got %s", c.message, stderr)
				}
				checkNames(t, dir)
			}
		})
	}
}

func request(t *testing.T, cache string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(cache, "REQUEST"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// The unusual caches that Nix takes, we take.
func TestRun_UnusualCaches(t *testing.T) {
	dirs, err := filepath.Glob(webDir + "/bad/[056][0-9]-*")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, cache := range dirs {
		name := filepath.Base(cache)
		if name != "00-control" && name < "50" || strings.HasPrefix(name, "58-") {
			continue
		}
		n++
		info := readInfo(t, cache, request(t, cache))
		f := mustRun(t, group(info, fromFile(cache, info))...)
		if p := f.StorePaths[0]; p.Path != info.StorePath || p.NarSize != info.NarSize || p.NarHash != info.NarHash {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if n != 12 {
		t.Errorf("%d unusual caches, want 12", n)
	}
}

// What was there before a failure is there after it.
func TestRun_KeepsOldOutputs(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"blob", "blob.json"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("old"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	cache := webDir + "/bad/01-wrong-narhash"
	info := readInfo(t, cache, request(t, cache))
	if code, stderr := runIn(t, dir, group(info, fromFile(cache, info))...); code != action.ExitFailure {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	checkNames(t, dir, "blob", "blob.json")
	for _, name := range []string{"blob", "blob.json"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != "old" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}

// An output that can't be put in its place fails, and leaves neither.
func TestRun_OutputFaults(t *testing.T) {
	info := readInfo(t, webDir+"/cache", "171i7j9q1s51y1w5a5lwh4j9jxgzaqkr")
	nar := group(info, fromFile(webDir+"/cache", info))

	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "blob.json"), 0o777); err != nil {
		t.Fatal(err)
	}
	code, stderr := runIn(t, dir, nar...)
	if code != action.ExitFailure || !strings.Contains(stderr, "blob.json") {
		t.Errorf("the digest file is a directory: exit code %d: %s", code, stderr)
	}
	checkNames(t, dir, "blob.json")

	gone := filepath.Join(dir, "gone")
	code, stderr = runIn(t, gone, nar...)
	if code != action.ExitFailure || !strings.Contains(stderr, filepath.Join(gone, "blob")) {
		t.Errorf("no such directory: exit code %d: %s", code, stderr)
	}
}

// Arguments, and what is said about wrong ones.
func TestRun_Usage(t *testing.T) {
	info := readInfo(t, webDir+"/cache", "171i7j9q1s51y1w5a5lwh4j9jxgzaqkr")
	nar := group(info, fromFile(webDir+"/cache", info))
	without := func(name string) []string {
		return slices.DeleteFunc(slices.Clone(nar), func(a string) bool { return strings.HasPrefix(a, "--"+name+"=") })
	}
	path := string(info.StorePath)
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "no --store-path"},
		{[]string{"blob"}, `argument "blob": want --name=value`},
		{[]string{"--frobnicate=1"}, "argument --frobnicate: unknown"},
		{[]string{"--nar-size=5"}, "its --store-path is missing before it"},
		{[]string{"--compression=lzma"}, `--compression: "lzma": want one of gzip, zstd, none`},
		{[]string{"--compression=gzip", "--compression=zstd"}, "--compression: given twice"},
		{append(slices.Clone(nar), "--level=11"), `--level: level "11": want one of fastest, default, best, or for gzip a number from 1 to 9`},
		{append(slices.Clone(nar), "--compression=none", "--level=1"), `--level: level "1": compression "none" has no levels`},
		{append(slices.Clone(nar), "--level=06"), `--level: level "06"`},
		{[]string{"--workers=0"}, `--workers: "0": want a number of 1 or more`},
		{[]string{"--workers=many"}, `--workers: "many"`},
		{[]string{"--owner=root"}, `--owner: "root": want UID:GID`},
		{[]string{"--owner=0:4294967296"}, `--owner: "0:4294967296"`},
		{[]string{"--owner-names=root"}, `--owner-names: "root": want USER:GROUP`},
		{append(slices.Clone(nar), "--owner-names=a:b"), "--owner-names needs --owner"},
		{[]string{"--mtime=now"}, `--mtime: "now": want a number of seconds`},
		{[]string{"--mtime=-1"}, "--mtime: mtime -1: want 0 to 8589934591 seconds"},
		{append(slices.Clone(nar), "--mtime=now"), `layer: error: --mtime: "now"`}, // it is the layer's, not that path's
		{[]string{"--owner-names=a:b c"}, `--owner-names: owner name "b c": want at most 31 bytes`},
		{[]string{"--strip-prefix="}, "--strip-prefix: its value is empty"},
		{[]string{"--strip-prefix=../x"}, `--strip-prefix: strip prefix "../x": want a directory`},
		{[]string{"--exclude=."}, `--exclude: exclude pattern ".": want one that leaves something`},
		{[]string{"--exclude=/share"}, `--exclude: pattern "/share": want a relative path`},
		{[]string{"--exclude=a/../b"}, `--exclude: pattern "a/../b": want no . and .. components`},
		{[]string{"--exclude=a**"}, `--exclude: pattern "a**": ** stands alone`},
		{[]string{`--exclude=a\`}, `a backslash with nothing behind it`},
		{[]string{"--mode=8:bin/*"}, `--mode: "8:bin/*": want OCTAL:PATTERN`},
		{[]string{"--mode=10000:bin/*"}, `--mode: "10000:bin/*"`},
		{[]string{"--mode=755"}, `--mode: "755"`},
		{[]string{"--mode=755:"}, `--mode: pattern "": it is empty`},
		{append(slices.Clone(nar), "--mtree="), "--mtree: its value is empty"},
		{[]string{"--level"}, "--level: it needs a value"},
		{[]string{"--allow-whiteout-names=perhaps"}, `--allow-whiteout-names: "perhaps"`},
		{[]string{"--store-path=/nix/store/x"}, `--store-path: store path "/nix/store/x"`},
		{[]string{"--store-path=../../etc/passwd"}, `--store-path: store path`},
		{without("nar"), path + ": neither --nar nor --url is given"},
		{without("nar-hash"), path + ": --nar-hash is missing"},
		{without("nar-size"), path + ": --nar-size is missing"},
		{without("nar-compression"), path + ": --nar-compression is missing"},
		{append(without("nar-hash"), "--nar-hash=md5:x"), path + `: --nar-hash: hash "md5:x"`},
		{append(without("nar-size"), "--nar-size=-1"), path + `: --nar-size: "-1": want a number of bytes`},
		{append(without("nar-size"), "--nar-size="), path + `: --nar-size: `},
		{append(without("nar-compression"), "--nar-compression=arj"), path + `: --nar-compression: compression "arj" is not known`},
		{append(slices.Clone(nar), "--nar-size=5"), path + ": --nar-size: given twice"},
		{append(slices.Clone(nar), "--url=http://x/y"), path + ": --nar and --url are both given"},
		{append(without("nar"), "--nar="), path + ": --nar: its value is empty"},
		{
			slices.DeleteFunc(append(without("nar"), "--url=http://x/y"), func(a string) bool { return strings.HasPrefix(a, "--file-hash") }),
			path + ": --url needs --file-hash",
		},
	} {
		dir := t.TempDir()
		code, stderr := runIn(t, dir, c.args...)
		if code != action.ExitUsage || !strings.HasPrefix(stderr, "layer: error: ") || !strings.Contains(stderr, c.want) {
			t.Errorf("%q: exit code %d, want %d and %q: %s", c.args, code, action.ExitUsage, c.want, stderr)
		}
		if !strings.Contains(stderr, "layer: hint: ") {
			t.Errorf("%q: no hint: %s", c.args, stderr)
		}
		checkNames(t, dir)
	}

	for _, args := range [][]string{nar, append(nar, "--output=x"), append(nar, "--output=a/../x", "--digest-file=x")} {
		var stderr bytes.Buffer
		if code := program.Run(t.Context(), args, io.Discard, &stderr); code != action.ExitUsage {
			t.Errorf("%q: exit code %d: %s", args, code, stderr.String())
		}
	}
	code, stderr := runIn(t, t.TempDir(), append(slices.Clone(nar), nar...)...)
	if code != action.ExitFailure || !strings.Contains(stderr, path+": named twice") {
		t.Errorf("a path twice: exit code %d: %s", code, stderr)
	}
	var stdout bytes.Buffer
	if code := program.Run(t.Context(), []string{"--help"}, &stdout, io.Discard); code != action.ExitOK || stdout.String() != help {
		t.Errorf("--help: exit code %d: %s", code, stdout.String())
	}
}

// An argument file holds one argument a line, whatever is in it.
func TestRun_ArgumentFile(t *testing.T) {
	dir := t.TempDir()
	info := readInfo(t, webDir+"/cache", "171i7j9q1s51y1w5a5lwh4j9jxgzaqkr")
	odd := filepath.Join(dir, `a "name" with spaces, $HOME and \backslash`)
	b, err := os.ReadFile(filepath.Join(webDir, "cache", info.URL))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(odd, b, 0o666); err != nil {
		t.Fatal(err)
	}
	args := append(group(info, "--nar="+odd), "--compression=none")
	params := filepath.Join(dir, "layer.params")
	for _, end := range []string{"\n", ""} {
		if err := os.WriteFile(params, []byte(strings.Join(args, "\n")+end), 0o666); err != nil {
			t.Fatal(err)
		}
		if f := mustRun(t, "@"+params); f.Descriptor.Digest != f.DiffID {
			t.Errorf("digest %s, want that of the tar, %s", f.Descriptor.Digest, f.DiffID)
		}
	}
	if code, stderr := runIn(t, t.TempDir(), "@"+dir+"/none"); code != action.ExitFailure || !strings.Contains(stderr, dir+"/none") {
		t.Errorf("no argument file: exit code %d: %s", code, stderr)
	}
}

// The order of the groups and the NAR's compression don't show in the outputs.
func TestRun_SameBytes(t *testing.T) {
	var want *digestfile.File
	for _, variant := range []string{"none", "xz", "zstd", "gzip", "bzip2"} {
		a := readInfo(t, webDir+"/variants/"+variant, "asn0wpn021jshb0g4kh09vy554qv14a2")
		b := readInfo(t, webDir+"/variants/"+variant, "znxxkmh64da14rs51fhii310i4r8y6ab")
		groups := [][]string{group(a, fromFile(webDir+"/variants/"+variant, a)), group(b, fromFile(webDir+"/variants/"+variant, b))}
		for range 2 {
			slices.Reverse(groups)
			f := mustRun(t, slices.Concat(groups...)...)
			if want == nil {
				want = f
			}
			if f.Descriptor.Digest != want.Descriptor.Digest || f.DiffID != want.DiffID {
				t.Errorf("%s: digest %s, want %s", variant, f.Descriptor.Digest, want.Descriptor.Digest)
			}
		}
	}
}

// serve is an HTTP server over a cache. Before is called first, and says whether it has answered.
func serve(t *testing.T, cache string, before func(w http.ResponseWriter, r *http.Request) bool) *httptest.Server {
	t.Helper()
	files := http.FileServer(http.Dir(cache))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if before == nil || !before(w, r) {
			files.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func TestRun_URL(t *testing.T) {
	cache := webDir + "/cache"
	info := readInfo(t, cache, "fkrb1qrhrnbscg7h6adzd8zp536bkfgb") // 900 kB
	want := mustRun(t, append(group(info, fromFile(cache, info)), "--compression=zstd")...)
	check := func(t *testing.T, urls ...string) {
		t.Helper()
		args := append(group(info), "--compression=zstd")
		for _, u := range urls {
			args = append(args, "--url="+u)
		}
		if got := mustRun(t, args...); got.Descriptor.Digest != want.Descriptor.Digest {
			t.Errorf("digest %s, from the file it is %s", got.Descriptor.Digest, want.Descriptor.Digest)
		}
	}

	good := serve(t, cache, nil)
	t.Run("whole", func(t *testing.T) { check(t, good.URL+"/"+info.URL) })
	t.Run("file URL", func(t *testing.T) {
		abs, err := filepath.Abs(filepath.Join(cache, info.URL))
		if err != nil {
			t.Fatal(err)
		}
		check(t, "file://"+abs)
	})
	t.Run("404 then another", func(t *testing.T) { check(t, good.URL+"/nar/none", good.URL+"/"+info.URL) })
	t.Run("no server then another", func(t *testing.T) {
		check(t, "ftp://127.0.0.1/x", good.URL+"/"+info.URL)
	})
	t.Run("cut connections", func(t *testing.T) {
		// The first answers end in the middle.
		var requests atomic.Int32
		s := serve(t, cache, func(w http.ResponseWriter, r *http.Request) bool {
			if requests.Add(1) > 2 {
				return false
			}
			panicAfter(w, r, cache, 100_000)
			return true
		})
		check(t, s.URL+"/"+info.URL)
		if n := requests.Load(); n != 3 {
			t.Errorf("%d requests, want 3", n)
		}
	})
	t.Run("cut for good then another", func(t *testing.T) {
		// Whole by HTTP's rules, but shorter than the lock says.
		s := serve(t, cache, func(w http.ResponseWriter, r *http.Request) bool {
			b, err := os.ReadFile(filepath.Join(cache, r.URL.Path))
			if err != nil {
				t.Error(err)
			}
			w.Write(b[:300_000])
			return true
		})
		check(t, s.URL+"/"+info.URL, good.URL+"/"+info.URL)
	})

	// damaged serves the NAR with the right length and a wrong byte at a place.
	damaged := func(at int) *httptest.Server {
		return serve(t, cache, func(w http.ResponseWriter, r *http.Request) bool {
			b, err := os.ReadFile(filepath.Join(cache, r.URL.Path))
			if err != nil {
				t.Error(err)
			}
			b[at] ^= 1
			w.Write(b)
			return true
		})
	}
	t.Run("wrong bytes then another", func(t *testing.T) {
		for _, at := range []int{0, 500, 300_000, int(info.FileSize) - 1} {
			s := damaged(at)
			check(t, s.URL+"/"+info.URL, good.URL+"/"+info.URL)
			check(t, good.URL+"/nar/none", s.URL+"/"+info.URL, s.URL+"/"+info.URL, good.URL+"/"+info.URL)
		}
	})
	t.Run("cut for good then wrong bytes then another", func(t *testing.T) {
		short := serve(t, cache, func(w http.ResponseWriter, r *http.Request) bool {
			b, err := os.ReadFile(filepath.Join(cache, r.URL.Path))
			if err != nil {
				t.Error(err)
			}
			w.Write(b[:300_000])
			return true
		})
		check(t, short.URL+"/"+info.URL, damaged(400_000).URL+"/"+info.URL, good.URL+"/"+info.URL)
	})

	for _, c := range []struct {
		what, want string
		urls       func() []string
	}{
		{"404", "404 Not Found", func() []string { return []string{good.URL + "/nar/none"} }},
		{"two 404", "none of its 2 URLs works: ", func() []string { return []string{good.URL + "/a", good.URL + "/b"} }},
		{"wrong bytes", "FileHash mismatch: want " + info.FileHash.String(), func() []string {
			s := serve(t, cache, func(w http.ResponseWriter, r *http.Request) bool {
				b, err := os.ReadFile(filepath.Join(cache, r.URL.Path))
				if err != nil {
					t.Error(err)
				}
				b[len(b)-1] ^= 1 // zstd's checksum sees it too, but FileHash is what counts
				w.Write(b)
				return true
			})
			return []string{s.URL + "/" + info.URL}
		}},
		{"wrong bytes at both", "none of its 2 URLs works: FileHash mismatch: want " + info.FileHash.String(), func() []string {
			return []string{damaged(1000).URL + "/" + info.URL, damaged(2000).URL + "/" + info.URL}
		}},
		{"more than there should be", "FileSize mismatch", func() []string {
			s := serve(t, cache, func(w http.ResponseWriter, r *http.Request) bool {
				b, err := os.ReadFile(filepath.Join(cache, r.URL.Path))
				if err != nil {
					t.Error(err)
				}
				w.Write(append(b, "more"...))
				return true
			})
			return []string{s.URL + "/" + info.URL}
		}},
		{"shorter than there should be", "it ends after 300000 of " + strconv.FormatInt(info.FileSize, 10), func() []string {
			s := serve(t, cache, func(w http.ResponseWriter, r *http.Request) bool {
				b, err := os.ReadFile(filepath.Join(cache, r.URL.Path))
				if err != nil {
					t.Error(err)
				}
				w.Write(b[:300_000])
				return true
			})
			return []string{s.URL + "/" + info.URL}
		}},
	} {
		t.Run(c.what, func(t *testing.T) {
			dir := t.TempDir()
			args := group(info)
			for _, u := range c.urls() {
				args = append(args, "--url="+u)
			}
			code, stderr := runIn(t, dir, args...)
			if code != action.ExitFailure || !strings.HasPrefix(stderr, "layer: error: "+string(info.StorePath)+": ") || !strings.Contains(stderr, c.want) {
				t.Errorf("exit code %d, want %q: %s", code, c.want, stderr)
			}
			for _, a := range args {
				if url, ok := strings.CutPrefix(a, "--url="); ok && !strings.Contains(stderr, url) {
					t.Errorf("the error doesn't name %s: %s", url, stderr)
				}
			}
			checkNames(t, dir)
		})
	}
}

// The action's environment names credentials.
func TestRun_Credentials(t *testing.T) {
	cache := webDir + "/cache"
	info := readInfo(t, cache, "fkrb1qrhrnbscg7h6adzd8zp536bkfgb")
	s := serve(t, cache, func(w http.ResponseWriter, r *http.Request) bool {
		user, password, _ := r.BasicAuth()
		if user == "me" && password == "hunter2" {
			return false
		}
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return true
	})
	netrc := filepath.Join(t.TempDir(), "netrc")
	if err := os.WriteFile(netrc, []byte("machine 127.0.0.1 login me password hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := group(info, "--url="+s.URL+"/"+info.URL)
	t.Setenv("NETRC", netrc)
	mustRun(t, args...)
	t.Setenv("NETRC", netrc+".none")
	if code, stderr := runIn(t, t.TempDir(), args...); code != action.ExitFailure || !strings.Contains(stderr, "401 Unauthorized") || !strings.Contains(stderr, "\nlayer: hint: if 127.0.0.1 wants credentials") {
		t.Errorf("exit code %d, want a hint: %s", code, stderr)
	}
	t.Setenv("STRATA_CREDENTIAL_HELPER", "/nowhere")
	if code, stderr := runIn(t, t.TempDir(), args...); code != action.ExitFailure || !strings.Contains(stderr, "$STRATA_CREDENTIAL_HELPER: credential helper /nowhere: ") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	mustRun(t, group(info, fromFile(cache, info))...) // It fetches nothing, and needs none.
}

// A layer that was begun anew for a damaged NAR is the same to the last byte of the listing; and an error about a NAR in a file names the file.
func TestRun_Damaged(t *testing.T) {
	cache := webDir + "/variants/xz"
	var groups []string
	good, bad := serve(t, cache, nil), serve(t, cache, func(w http.ResponseWriter, r *http.Request) bool {
		b, err := os.ReadFile(filepath.Join(cache, r.URL.Path))
		if err != nil {
			t.Error(err)
		}
		b[len(b)/2] ^= 1
		w.Write(b)
		return true
	})
	all, err := filepath.Glob(cache + "/*.narinfo")
	if err != nil || len(all) < 10 {
		t.Fatal(all, err)
	}
	var files []string
	for _, name := range all {
		info := readInfo(t, cache, strings.TrimSuffix(filepath.Base(name), ".narinfo"))
		groups = append(groups, group(info, "--url="+bad.URL+"/"+info.URL, "--url="+good.URL+"/"+info.URL)...)
		files = append(files, group(info, fromFile(cache, info))...)
	}
	dir, want := t.TempDir(), t.TempDir()
	for to, args := range map[string][]string{dir: groups, want: files} {
		if code, stderr := runIn(t, to, append([]string{"--mtree=" + filepath.Join(to, "mtree")}, args...)...); code != action.ExitOK {
			t.Fatal(stderr)
		}
	}
	for _, name := range []string{"blob", "blob.json", "mtree"} {
		a, errA := os.ReadFile(filepath.Join(dir, name))
		b, errB := os.ReadFile(filepath.Join(want, name))
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("%s differs: %d and %d bytes, %v, %v", name, len(a), len(b), errA, errB)
		}
	}
	checkNames(t, dir, "blob", "blob.json", "mtree")

	info := readInfo(t, cache, "asn0wpn021jshb0g4kh09vy554qv14a2")
	file := filepath.Join(t.TempDir(), "file.nar.xz")
	if err := os.WriteFile(file, []byte("no xz"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, stderr := runIn(t, t.TempDir(), group(info, "--nar="+file)...); code != action.ExitFailure || !strings.Contains(stderr, ", in "+file+"\n") {
		t.Errorf("exit code %d, want an error that names %s: %s", code, file, stderr)
	}
}

// panicAfter answers as a file server does, and cuts the connection after n bytes.
func panicAfter(w http.ResponseWriter, r *http.Request, cache string, n int64) {
	http.FileServer(http.Dir(cache)).ServeHTTP(&cutWriter{w, n}, r)
}

type cutWriter struct {
	http.ResponseWriter
	left int64
}

func (c *cutWriter) Write(p []byte) (int, error) {
	if c.left < int64(len(p)) {
		c.ResponseWriter.Write(p[:c.left])
		c.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= int64(len(p))
	return c.ResponseWriter.Write(p)
}
