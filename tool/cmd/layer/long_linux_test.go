package main

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/rules-strata/rules_strata/tool/nar"
)

var long = flag.Bool("long", false, "run the tests that take minutes: go test ./tool/cmd/layer -run Long -v -long")

// maxRSS is what the program may take at most, in bytes, whatever goes in.
const maxRSS = 64 << 20

// TestLong_Memory shows that memory stays as it is from little to much: in one file, in files, in NARs. It prints
// what each took, so that CPU and wall time can be seen to grow with the bytes and the files.
func TestLong_Memory(t *testing.T) {
	if !*long {
		t.Skip("takes minutes; run it with -long")
	}
	t.Logf("%-9s %-5s %9s %8s %8s %9s", "input", "to", "MB in", "CPU s", "wall s", "RSS kB")
	for _, compression := range []string{"none", "zstd", "gzip"} {
		for _, size := range []int64{100 << 20, 1 << 30, 8<<30 + 1} {
			if compression == "gzip" && size > 1<<30 {
				size = 2 << 30 // It is the slowest, and does nothing that depends on a file's length.
			}
			measure(t, "one file", compression, []generated{{"none", func(w *nar.Writer) error { return oneFile(w, size) }}})
		}
		for _, files := range []int{1000, 20_000, 200_000} {
			measure(t, fmt.Sprint(files), compression, []generated{{"none", func(w *nar.Writer) error { return manyFiles(w, files, 4000) }}})
		}
		var nars []generated
		for i := range 400 {
			nars = append(nars, generated{[]string{"none", "zstd"}[i%2], func(w *nar.Writer) error { return manyFiles(w, 20, 10_000) }})
		}
		measure(t, "400 NARs", compression, nars)
	}
}

// generated is a NAR that is written as it is read.
type generated struct {
	compression string
	write       func(w *nar.Writer) error
}

// measure runs the program in a process of its own. A single NAR comes through a pipe, so that none needs the disk.
func measure(t *testing.T, what, compression string, nars []generated) {
	t.Helper()
	dir, outDir := t.TempDir(), t.TempDir()
	args := append(outputs(outDir), "--compression="+compression)
	var total int64
	for i, n := range nars {
		h := sha256.New()
		counted := &counter{w: h}
		if err := n.to(counted); err != nil {
			t.Fatal(err)
		}
		total += counted.n
		path := filepath.Join(dir, fmt.Sprint(i))
		args = append(
			args,
			fmt.Sprintf("--store-path=/nix/store/%032d-long", i),
			fmt.Sprintf("--nar-hash=sha256:%x", h.Sum(nil)),
			fmt.Sprintf("--nar-size=%d", counted.n),
			"--nar-compression="+n.compression,
			"--nar="+path,
		)
		if len(nars) > 1 {
			f, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			var w io.WriteCloser = f
			if n.compression == "zstd" {
				if w, err = zstd.NewWriter(f); err != nil {
					t.Fatal(err)
				}
			}
			if err := n.to(w); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			f.Close()
			continue
		}
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Skipf("no named pipes: %v", err)
		}
		go func() {
			if f, err := os.OpenFile(path, os.O_WRONLY, 0); err == nil {
				n.to(f)
				f.Close()
			}
		}()
	}
	params := filepath.Join(dir, "params")
	var text []byte
	for _, a := range args {
		text = append(append(text, a...), '\n')
	}
	if err := os.WriteFile(params, text, 0o666); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "@"+params)
	peak := filepath.Join(dir, "peak")
	cmd.Env = append(os.Environ(), "STRATA_TEST_PEAK="+peak)
	start := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", what, err, out)
	}
	wall := time.Since(start)
	status, err := os.ReadFile(peak)
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	var rss int64
	if _, err := fmt.Sscan(after, &rss); err != nil {
		t.Fatalf("no peak of memory in %s: %v", status, err)
	}
	cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	t.Logf("%-9s %-5s %9d %8.2f %8.2f %9d", what, compression, total>>20, cpu.Seconds(), wall.Seconds(), rss)
	if rss<<10 > maxRSS {
		t.Errorf("%s to %s: %d kB of memory, want at most %d", what, compression, rss, maxRSS>>10)
	}
	os.RemoveAll(outDir)
}

func (n generated) to(w io.Writer) error {
	z := nar.NewWriter(w)
	if err := n.write(z); err != nil {
		return err
	}
	return z.Close()
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.w.Write(p)
}

// oneFile is a file of patterns that compress about as programs do.
func oneFile(w *nar.Writer, size int64) error {
	if err := w.WriteEntry(&nar.Entry{Kind: nar.Regular, Size: size}); err != nil {
		return err
	}
	return writePattern(w, size)
}

func manyFiles(w *nar.Writer, files int, size int64) error {
	if err := w.WriteEntry(&nar.Entry{Kind: nar.Directory}); err != nil {
		return err
	}
	for i := range files {
		if i%1000 == 0 {
			if err := w.WriteEntry(&nar.Entry{Kind: nar.Directory, Path: fmt.Appendf(nil, "%06d", i)}); err != nil {
				return err
			}
		}
		if err := w.WriteEntry(&nar.Entry{Kind: nar.Regular, Path: fmt.Appendf(nil, "%06d/%06d", i-i%1000, i), Size: size}); err != nil {
			return err
		}
		if err := writePattern(w, size); err != nil {
			return err
		}
	}
	return nil
}

// pattern is 1 MiB: half noise, half repetition.
var pattern = func() []byte {
	b := make([]byte, 1<<20)
	state := uint64(1)
	for i := range b {
		if i%64 < 32 {
			state = state*6364136223846793005 + 1442695040888963407
			b[i] = byte(state >> 56)
		}
	}
	return b
}()

func writePattern(w io.Writer, n int64) error {
	for ; n > 0; n -= int64(len(pattern)) {
		if _, err := w.Write(pattern[:min(n, int64(len(pattern)))]); err != nil {
			return err
		}
	}
	return nil
}
