package bazel

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"testing"
)

// spawn is what an execution log in JSON says of one process
// (src/main/protobuf/spawn.proto of Bazel, SpawnExec).
type spawn struct {
	Mnemonic    string   `json:"mnemonic"`
	TargetLabel string   `json:"targetLabel"`
	CacheHit    bool     `json:"cacheHit"`
	Runner      string   `json:"runner"`
	Outputs     []string `json:"listedOutputs"`
	Inputs      []struct {
		Path string `json:"path"`
	} `json:"inputs"`
}

type spawns []spawn

func readSpawns(t *testing.T, path string) spawns {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all spawns
	for d := json.NewDecoder(f); ; {
		var s spawn
		if err := d.Decode(&s); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all = append(all, s)
	}
}

// ran counts the processes of a mnemonic that were started.
func (all spawns) ran(mnemonic string) (n int) {
	for _, s := range all {
		if s.Mnemonic == mnemonic && !s.CacheHit {
			n++
		}
	}
	return n
}

// cached counts the actions of a mnemonic whose outputs came out of a cache.
func (all spawns) cached(mnemonic string) (n int) {
	for _, s := range all {
		if s.Mnemonic == mnemonic && s.CacheHit {
			n++
		}
	}
	return n
}

// started are all processes that were started, by mnemonic.
func (all spawns) started() map[string]int {
	m := map[string]int{}
	for _, s := range all {
		if !s.CacheHit {
			m[s.Mnemonic]++
		}
	}
	return m
}
