// Package layers_test looks into layers that the rules have built.
package layers_test

import (
	"compress/gzip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/image/imagetest"
)

// The image of a root of Guix has, entry for entry, what GNU tar packs of its real store, below gnu/store.
func TestGuix_EntriesAreTheStores(t *testing.T) {
	layers := strings.Fields(os.Getenv("STRATA_GUIX_LAYERS"))
	if len(layers) == 0 {
		t.Skip("Bazel builds the image: ./bazelw test //rules/tests/layers:layers_test")
	}
	var got []string
	for _, name := range layers {
		f, err := os.Open("../../../" + name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		r, err := gzip.NewReader(f)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got = append(got, imagetest.Listing(t, r)...)
	}
	text, err := os.ReadFile("../../../testdata/web/guix/single-layer-2017.list")
	if err != nil {
		t.Fatal(err)
	}
	// Each layer begins with the directories above its store paths, which the listing hasn't got.
	var want []string
	for range layers {
		for _, dir := range []string{"gnu/", "gnu/store/"} {
			want = append(want, "dir\t0755\t0\t0\t\t\t1\t0\t-\t"+dir+"\t-")
		}
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		want = append(want, line[:strings.LastIndexByte(line, '\t')]) // without the names of pax records: GNU tar has others
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("layers %v: got:\n%s\nwant:\n%s", layers, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
