package image

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/store"
)

// testBase is a base of one layer, which holds store path 9, with a config.
func testBase(t *testing.T, config string) *Base {
	t.Helper()
	return &Base{
		Name: "base.tar",
		Config: fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","author":"Bob","comment":"the base","moby.buildkit.buildinfo.v1":"x","created":"2001-01-01T00:00:00Z",
			"config":%s,"rootfs":{"type":"layers","diff_ids":["%s"]},"history":[{"created_by":"ADD"},{"created_by":"ENV","empty_layer":true}]}`,
			config, digest.FromString("tar")),
		Layers: []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromString("tar"), Size: 3}},
		StorePaths: map[store.Path]store.Hash{
			storePath(9): {9},
			storePath(8): {},
		},
	}
}

func TestBuildOn(t *testing.T) {
	has := testLayer("has", storePath(9))
	has.StorePaths[0].NarHash = store.Hash{9}
	partly := testLayer("partly", storePath(9), storePath(2))
	partly.StorePaths[0].NarHash = store.Hash{9}
	img, doc := build(t, testBase(t, `{"Env":["A=1"]}`), Settings{Comment: "mine", Cmd: []string{string(storePath(9)), string(storePath(8))}},
		has, testLayer("one", storePath(1)), testLayer("files"), testLayer("unsure", storePath(8)))
	if len(img.Layers) != 4 || img.Layers[0].Digest != digest.FromString("tar") || img.Layers[1].Digest != digest.FromString("one") {
		t.Errorf("layers %v: want the base's, one, files and unsure", img.Layers)
	}
	if len(doc.RootFS.DiffIDs) != 4 || doc.RootFS.DiffIDs[0] != digest.FromString("tar") || doc.RootFS.DiffIDs[3] != has.DiffID[:0]+testLayer("unsure").DiffID {
		t.Errorf("diff IDs %v", doc.RootFS.DiffIDs)
	}
	var history []string
	for _, h := range doc.History {
		history = append(history, h.CreatedBy)
	}
	if got := strings.Join(history, " "); got != "ADD ENV strata strata strata" {
		t.Errorf("history %q", got)
	}
	if doc.Author != "Bob" || doc.Comment != "mine" || doc.Created.Year() != 1970 {
		t.Errorf("author %q, comment %q, created %v", doc.Author, doc.Comment, doc.Created)
	}
	if strings.Contains(string(img.Config), "buildkit") {
		t.Error("what others put into the base's config is inherited")
	}
	// A layer of which the base has a part stays; one of which it has all is all that may be there.
	if img, _ := build(t, testBase(t, `{}`), Settings{}, partly); len(img.Layers) != 2 {
		t.Errorf("layers %v", img.Layers)
	}
	if img, _ := build(t, testBase(t, `{}`), Settings{Labels: map[string]string{"a": "b"}}, has); len(img.Layers) != 1 {
		t.Errorf("layers %v", img.Layers)
	}
	if _, doc := build(t, testBase(t, `{}`), Settings{Author: "Ada"}); doc.Author != "Ada" || doc.Comment != "" {
		t.Errorf("author %q, comment %q", doc.Author, doc.Comment)
	}
	// Without a history, there is one nevertheless.
	b := testBase(t, `{}`)
	b.Config = []byte(strings.ReplaceAll(string(b.Config), `"history"`, `"herstory"`))
	if _, doc := build(t, b, Settings{}); len(doc.History) != 2 {
		t.Errorf("history %v", doc.History)
	}
}

func TestBuildOn_Errors(t *testing.T) {
	edit := func(old, new string) func(*Base) {
		return func(b *Base) {
			text := strings.ReplaceAll(string(b.Config), old, new)
			if text == string(b.Config) {
				t.Fatalf("%s has not %s", text, old)
			}
			b.Config = []byte(text)
		}
	}
	many := func(n int) func(*Base) {
		return func(b *Base) {
			var doc configDocument
			if err := json.Unmarshal(b.Config, &doc); err != nil {
				t.Fatal(err)
			}
			b.Layers, doc.RootFS.DiffIDs, doc.History = nil, nil, nil
			for i := range n {
				d := digest.FromString(fmt.Sprint(i))
				b.Layers = append(b.Layers, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: d, Size: 1})
				doc.RootFS.DiffIDs = append(doc.RootFS.DiffIDs, d)
			}
			var err error
			if b.Config, err = json.Marshal(doc); err != nil {
				t.Fatal(err)
			}
		}
	}
	tests := []struct {
		name   string
		change func(*Base)
		s      Settings
		want   string
	}{
		{"architecture", edit("amd64", "arm64"), Settings{}, "base base.tar: it is for linux/arm64, but the image for linux/amd64"},
		{"system", edit(`"linux"`, `"windows"`), Settings{}, "base base.tar: it is for windows/amd64"},
		{"variant", edit(`"os"`, `"variant":"v3","os"`), Settings{}, "it is for linux/amd64/v3, but the image for linux/amd64"},
		{"usual variant", edit(`"os"`, `"variant":"v1","os"`), Settings{}, ""},
		{"no JSON", edit("{", "["), Settings{}, "base base.tar: config: "},
		{"rootfs", edit(`"layers"`, `"squash"`), Settings{}, `base base.tar: config: rootfs.type "squash"`},
		{"diff IDs", edit(`"diff_ids":[`, `"diff_ids":["`+digest.FromString("x").String()+`",`), Settings{}, "base base.tar: its config has 2 layers, its manifest 1"},
		{"a diff ID", edit(`"diff_ids":["sha256:`, `"diff_ids":["sha256:../`), Settings{}, "base base.tar: config: layer 1: digest"},
		{"history", edit(`{"created_by":"ADD"},`, ``), Settings{}, "base base.tar: its history tells of 0 layers, it has 1"},
		{"layer", func(b *Base) { b.Layers[0].Size = -1 }, Settings{}, "base base.tar: layer 1: "},
		{"another NarHash", func(b *Base) { b.StorePaths[storePath(1)] = store.Hash{7} }, Settings{}, "is in the base base.tar with NarHash sha256:07"},
		{"125 layers", many(124), Settings{}, ""},
		{"126 layers", many(125), Settings{}, "the image has 126 layers, 125 of them the base's, but docker's graph drivers (overlay2, vfs) refuse more than 125"},
		{"max_layers", many(9), Settings{MaxLayers: 9}, "the image has 10 layers, 9 of them the base's, but max_layers is 9: raise it, or say by base_layers how many the base has"},
		{"base_layers", many(9), Settings{BaseLayers: 8}, "base_layers: 8, but the base has 9"},
		{"base_layers, right", many(9), Settings{BaseLayers: 9}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := testBase(t, `{}`)
			test.change(b)
			test.s.System = "x86_64-linux"
			_, err := BuildOn(b, test.s, []*digestfile.File{testLayer("one", storePath(1))})
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("error %v: want one with %q", err, test.want)
			}
		})
	}
}

// A base of Guix, docker or Debian may say v8 of arm64, or nothing.
func TestUsualVariant(t *testing.T) {
	b := &Base{Name: "b"}
	arm64 := ocispec.Platform{OS: "linux", Architecture: "arm64"}
	v8 := ocispec.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}
	v6 := ocispec.Platform{OS: "linux", Architecture: "arm", Variant: "v6"}
	arm := ocispec.Platform{OS: "linux", Architecture: "arm"}
	if err := b.checkPlatform(v8, arm64); err != nil {
		t.Error(err)
	}
	if err := b.checkPlatform(arm, v6); err == nil {
		t.Error("a base of arm/v7 for an image of arm/v6")
	}
}
