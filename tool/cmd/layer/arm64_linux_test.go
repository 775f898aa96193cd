package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/rules-strata/rules_strata/tool/action"
)

// The same bytes come of every processor: a program built for arm64 and run by qemu, whose encoders have no assembly of
// amd64, writes what this one writes.
func TestRun_Arm64(t *testing.T) {
	skip := t.Skip
	if os.Getenv("STRATA_REQUIRE_CLIENTS") == "1" {
		skip = t.Fatal
	} else if !*long {
		t.Skip("it takes a minute, with building the program; run it with -long")
	}
	if runtime.GOARCH != "amd64" {
		t.Skip("it compares arm64 with amd64")
	}
	qemu, err := exec.LookPath("qemu-aarch64-static")
	if err != nil {
		if qemu, err = exec.LookPath("qemu-aarch64"); err != nil {
			skip("qemu-aarch64 is not installed (Debian: qemu-user-static)")
		}
	}
	if os.Getenv("TEST_SRCDIR") != "" {
		t.Skip("it needs the sources, which a test under Bazel doesn't have")
	}
	program := filepath.Join(t.TempDir(), "layer")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building for arm64: %v\n%s", err, out)
	}

	var groups []string
	for _, n := range []struct{ cache, base string }{
		{"variants/bash-xz", "xznc9l6ppin9j93x7xsvaba3qkn46hwr"}, // longer than a block of each encoder
		{"variants/zstd", "asn0wpn021jshb0g4kh09vy554qv14a2"},    // names of all sorts
		{"variants/br", "znxxkmh64da14rs51fhii310i4r8y6ab"},
		{"variants/lzip", "0i1z7gpjsbqynxvczq9y25iqvl66875x"},
	} {
		info := readInfo(t, webDir+"/"+n.cache, n.base)
		groups = append(groups, group(info, fromFile(webDir+"/"+n.cache, info))...)
	}
	for _, options := range [][]string{
		{"--compression=none"},
		{"--compression=gzip", "--level=1"},
		{"--compression=gzip", "--level=4"},
		{"--compression=gzip"},
		{"--compression=gzip", "--level=9"},
		{"--compression=zstd", "--level=fastest"},
		{"--compression=zstd"},
		{"--compression=zstd", "--level=6"},
		{"--compression=zstd", "--level=best"},
	} {
		args := append(options, groups...)
		here, there := t.TempDir(), t.TempDir()
		if code, stderr := runIn(t, here, args...); code != action.ExitOK {
			t.Fatalf("%v: exit code %d: %s", options, code, stderr)
		}
		cmd := exec.Command(qemu, append(append([]string{program}, outputs(there)...), args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: on arm64: %v\n%s", options, err, out)
		}
		for _, name := range []string{"blob", "blob.json"} {
			want, err := os.ReadFile(filepath.Join(here, name))
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(filepath.Join(there, name))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%v: %s is another one on arm64: %d bytes, %d on amd64", options, name, len(got), len(want))
			}
		}
	}
}
