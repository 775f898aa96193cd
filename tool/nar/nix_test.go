package nar_test

import (
	"flag"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/nixtest"
)

// oldTakes are those of hostile that Nix 2.8 takes, and 2.34 refuses.
var oldTakes = []string{
	"no type",
	"file without contents",
	"executable file without contents",
	"executable twice",
	"executable after contents",
	"contents twice",
	"symlink without target",
	"target with NUL",
	"entry without node",
	"name twice",
	"unsorted",
	"unsorted behind a directory",
	"a prefix comes late",
	"sorted as signed bytes",
	"sorted by path, not by name",
	"unsorted, deep",
	"65 levels",
	"200 levels",
}

// nixFlips says how densely TestReader_AgreesWithNix flips bytes; each costs a run of Nix.
var nixFlips = flag.Int("nix-flips", 61, "flip every `N`th byte of an archive and ask Nix about it; odd, so that all places of a string's eight bytes have their turn")

// Real Nix judges each archive as we do: 2.34 in everything, except that it doesn't look behind the
// end; 2.8 in all that it is right about.
func TestReader_AgreesWithNix(t *testing.T) {
	for _, version := range []string{nixtest.Old, nixtest.New} {
		t.Run(version, func(t *testing.T) {
			t.Parallel() // it mostly waits
			n := nixtest.Open(t, version)
			isNew := version == nixtest.New
			restore := func(b string) error {
				cmd := n.Command("nix-store", "--restore", filepath.Join(t.TempDir(), "r"))
				cmd.Stdin = strings.NewReader(b)
				_, err := n.Finish(cmd)
				return err
			}
			for _, c := range hostile {
				want := c.nixTakes || !isNew && slices.Contains(oldTakes, c.name)
				if err := restore(c.nar); (err == nil) != want {
					t.Errorf("%s: Nix takes it: %v, the table says %v: %v", c.name, err == nil, want, err)
				}
			}
			for i := 0; i < len(richNAR); i += *nixFlips {
				b := []byte(richNAR)
				b[i] ^= 1 << (i % 8)
				_, wantErr := referenceParse(string(b))
				if err := restore(string(b)); (err == nil) != (wantErr == nil) && (isNew || err != nil) {
					t.Errorf("byte %d flipped: Nix says %v, the reference %v", i, err, wantErr)
				}
			}
			for name, b := range map[string]string{"rich": richNAR, "64 levels": archive(nested(63)), "target of 4095 bytes": archive(link(strings.Repeat("t", 4095)))} {
				if err := restore(b); err != nil {
					t.Errorf("%s: Nix refuses it: %v", name, err)
				}
			}
		})
	}
}
