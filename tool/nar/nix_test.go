package nar_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Real Nix of version 2.34 or later judges each archive as we do, except that it doesn't look behind
// the end. Skipped where there is no such nix-store on the PATH.
func TestReader_AgreesWithNix(t *testing.T) {
	out, err := exec.Command("nix-store", "--version").Output()
	if err != nil {
		t.Skip("no nix-store on the PATH")
	}
	v := regexp.MustCompile(`(\d+)\.(\d+)`).FindStringSubmatch(string(out))
	if v == nil {
		t.Fatalf("nix-store --version says %q", out)
	}
	major, _ := strconv.Atoi(v[1])
	if minor, _ := strconv.Atoi(v[2]); major < 2 || major == 2 && minor < 34 {
		t.Skipf("nix-store is of version %s; older ones than 2.34 take what must be refused", v[0])
	}
	restore := func(b string) (string, error) {
		dir := filepath.Join(t.TempDir(), "r")
		cmd := exec.Command("nix-store", "--restore", dir)
		cmd.Stdin = strings.NewReader(b)
		cmd.Env = append(os.Environ(), "NIX_STATE_DIR="+t.TempDir())
		text, err := cmd.CombinedOutput()
		return string(text), err
	}
	for _, c := range hostile {
		text, err := restore(c.nar)
		if took := err == nil; took != c.nixTakes {
			t.Errorf("%s: Nix takes it: %v, the table says %v: %s", c.name, took, c.nixTakes, text)
		}
	}
	for i := 0; i < len(richNAR); i += 7 { // every place of a string's eight bytes in turn
		b := []byte(richNAR)
		b[i] ^= 1 << (i % 8)
		_, wantErr := referenceParse(string(b))
		if text, err := restore(string(b)); (err == nil) != (wantErr == nil) {
			t.Errorf("byte %d flipped: Nix says %v (%s), the reference %v", i, err, text, wantErr)
		}
	}
	for name, b := range map[string]string{"rich": richNAR, "64 levels": archive(nested(63)), "target of 4095 bytes": archive(link(strings.Repeat("t", 4095)))} {
		if text, err := restore(b); err != nil {
			t.Errorf("%s: Nix refuses it: %s", name, text)
		}
	}
}
