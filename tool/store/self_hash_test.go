package store_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rules-strata/rules_strata/tool/store"
)

const selfPath = store.Path("/nix/store/6wrvzdad0i13x19kfypnq8ka11iifphd-self")

// selfHash is what SelfHash does, with all in memory.
func selfHash(nar []byte) (hash, withoutPlaces store.Hash) {
	part := []byte(selfPath.HashPart())
	zero := bytes.Clone(nar)
	var places strings.Builder
	for from := 0; ; {
		i := bytes.Index(zero[from:], part)
		if i < 0 {
			return sha256.Sum256(append(zero, places.String()...)), sha256.Sum256(zero)
		}
		from += i
		fmt.Fprintf(&places, "|%d", from)
		copy(zero[from:], make([]byte, len(part)))
		from += len(part)
	}
}

// However the NAR comes in pieces, the hash is that of the whole.
func TestSelfHash(t *testing.T) {
	part := selfPath.HashPart()
	rapid.Check(t, func(t *rapid.T) {
		var nar []byte
		for _, piece := range rapid.SliceOfN(rapid.SampledFrom([]string{part, part, part[:31], part[1:], part[:1], "x", strings.Repeat("y", 40)}), 0, 12).Draw(t, "pieces") {
			nar = append(nar, piece...)
		}
		h := store.NewSelfHash(selfPath)
		for rest := nar; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "n")
			if got, err := h.Write(rest[:n]); got != n || err != nil {
				t.Fatalf("Write: %d, %v", got, err)
			}
			rest = rest[n:]
		}
		want, zeroed := selfHash(nar)
		if got, bare, err := h.Sums(); err != nil || got != want || bare != zeroed {
			t.Fatalf("%q: got %v, %v, %v, want %v, %v", nar, got, bare, err, want, zeroed)
		}
	})
}

// What would take too much memory is an error.
func TestSelfHash_TooManyPlaces(t *testing.T) {
	h := store.NewSelfHash(selfPath)
	many := []byte(strings.Repeat(selfPath.HashPart(), 1<<10))
	for range 1 << 10 {
		h.Write(many)
	}
	if _, _, err := h.Sums(); err != nil {
		t.Error(err)
	}
	h.Write([]byte(selfPath.HashPart()))
	if _, _, err := h.Sums(); err == nil || !strings.Contains(err.Error(), "more than 1048576 times") {
		t.Errorf("one more: %v", err)
	}
}
