package replay

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const traces = "../../../testdata/layering"

// What the planner brings is written down here: a change of it that sends more bytes
// must say so. The other strategies' numbers are those of other people's programs, written
// anew; a change of theirs is a mistake. bench/layering measures all histories.
func TestReplay(t *testing.T) {
	for _, tc := range []struct {
		trace     string
		run       Run
		update    float64 // to three digits
		firstPull float64
	}{
		{"solo", Run{Strategy: "size", MaxLayers: 24}, 1.209, 1},
		{"solo", Run{Strategy: "popularity", MaxLayers: 24}, 2.244, 1},
		{"solo", Run{Strategy: "auto", MaxLayers: 8}, 1.502, 1},
		{"solo", Run{Strategy: "auto", MaxLayers: 24}, 1.189, 1},
		{"solo", Run{Strategy: "nixery", MaxLayers: 24}, 1.886, 1},
	} {
		got := replay(t, tc.trace, tc.run)
		if math.Abs(got.Update-tc.update) > 0.0006 || math.Abs(got.FirstPull-tc.firstPull) > 0.0006 {
			t.Errorf("%s, %s, %d layers: update %.4f, first pull %.4f, want %.3f and %.3f", tc.trace, tc.run.Strategy, tc.run.MaxLayers, got.Update, got.FirstPull, tc.update, tc.firstPull)
		}
	}
}

// The fleet strategy, within what is recorded.
func TestReplay_Fleet(t *testing.T) {
	for _, tc := range []struct {
		trace                  string
		run                    Run
		update, firstPull, app float64 // at most
	}{
		{"solo", Run{MaxLayers: 8}, 1.24, 1, 0},
		{"solo", Run{MaxLayers: 24}, 1.047, 1, 0},
		{"solo", Run{MaxLayers: 24, PullEvery: 5}, 1.05, 1, 0},
		{"solo", Run{MaxLayers: 24, Forget: true}, 1.189, 1, 0},
		{"services", Run{MaxLayers: 24}, 1.026, 1.01, 0},
		{"services-app", Run{MaxLayers: 24}, 1.034, 1.01, 1.22},
	} {
		got := replay(t, tc.trace, tc.run)
		if got.Update > tc.update || got.FirstPull > tc.firstPull || got.App > tc.app && tc.app > 0 || got.MostLayers > tc.run.MaxLayers {
			t.Errorf("%s, %+v: %+v, want at most update %.3f, first pull %.3f, app %.3f", tc.trace, tc.run, got, tc.update, tc.firstPull, tc.app)
		}
	}
}

func replay(t *testing.T, trace string, run Run) Result {
	t.Helper()
	tr, err := Read(filepath.Join(traces, trace+".json.zst"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := run.Replay(tr)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestRead_Refuses(t *testing.T) {
	for text, want := range map[string]string{
		`{`:                   "unexpected EOF",
		`{"format": "other"}`: `format "other": want layering-trace/1`,
		`{"format": "layering-trace/1", "paths": [["a", "b"]]}`:                                            "path 0: 2 fields: want 5",
		`{"format": "layering-trace/1", "paths": [["h-b-1", "b", 1, [0], "o"]]}`:                           "path 0: reference 0: want one of the paths before it",
		`{"format": "layering-trace/1", "images": ["i"], "steps": [{"label": "s", "images": {"i": [7]}}]}`: `step "s": there is no path 7`,
	} {
		file := filepath.Join(t.TempDir(), "trace.json")
		if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(file, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", text, err, want)
		}
	}
}
