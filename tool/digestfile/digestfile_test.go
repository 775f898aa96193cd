package digestfile

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/store"
)

// sample is a layer of two store paths.
func sample() *File {
	return &File{
		FormatVersion: FormatVersion,
		Descriptor: ocispec.Descriptor{
			MediaType: ocispec.MediaTypeImageLayerGzip,
			Digest:    "sha256:1a4f02e182536e93d2baac9c00bbbf2192a769f2ce75dfd2ee5f19e347824eda",
			Size:      230,
		},
		DiffID:           "sha256:458c3e2e3ec64853687c926cb47c34e7669a22d65da1d8dd810ffb7372114f44",
		UncompressedSize: 8704,
		Compression:      "gzip",
		Level:            "default",
		Entries:          5,
		StorePaths: []StorePath{
			{Path: "/nix/store/0g80j8fh4wp8p2jmb0a8giig40jzalcj-a", NarHash: store.Hash{1, 2, 3}, NarSize: 1000, Entries: 2},
			{Path: "/nix/store/znxxkmh64da14rs51fhii310i4r8y6ab-b+c", NarHash: store.Hash{31: 0xff}, NarSize: 96, Entries: 1},
		},
	}
}

// The form is part of what Bazel caches by; a change of it raises FormatVersion.
const sampleText = `{
  "formatVersion": 2,
  "descriptor": {
    "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
    "digest": "sha256:1a4f02e182536e93d2baac9c00bbbf2192a769f2ce75dfd2ee5f19e347824eda",
    "size": 230
  },
  "diffID": "sha256:458c3e2e3ec64853687c926cb47c34e7669a22d65da1d8dd810ffb7372114f44",
  "uncompressedSize": 8704,
  "compression": "gzip",
  "level": "default",
  "entries": 5,
  "storePaths": [
    {
      "path": "/nix/store/0g80j8fh4wp8p2jmb0a8giig40jzalcj-a",
      "narHash": "sha256:0102030000000000000000000000000000000000000000000000000000000000",
      "narSize": 1000,
      "entries": 2
    },
    {
      "path": "/nix/store/znxxkmh64da14rs51fhii310i4r8y6ab-b+c",
      "narHash": "sha256:00000000000000000000000000000000000000000000000000000000000000ff",
      "narSize": 96,
      "entries": 1
    }
  ]
}
`

func TestMarshal(t *testing.T) {
	got, err := sample().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != sampleText {
		t.Errorf("got %s", got)
	}
	f, err := Parse(got)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(f, sample()) {
		t.Errorf("read back %+v", f)
	}
}

func TestParse_Refusals(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{sampleText, "", "line 1, column 1: the document ends too early"},
		{sampleText, "null", "want an object, found null"},
		{sampleText, "[]", "want an object, found a list"},
		{sampleText, "{}", "formatVersion is missing"},
		{"}\n  ]", "}\n", "line 27, column 1: "},
		{"\n}\n", "\n}\n{}", "line 28, column 1: more follows"},
		{"\n}\n", "\n}\nx", "line 28, column 1: more follows"},
		{`"formatVersion": 2`, `"formatVersion": 3`, "line 2, column 20: formatVersion: want 2, found 3; build the layer again"},
		{`"formatVersion": 2`, `"more": {}, "formatVersion": 3`, "formatVersion: want 2, found 3; build the layer again"},
		{`"formatVersion": 2`, `"formatVersion": "1"`, "formatVersion: want a number, found a string"},
		{`"formatVersion": 2`, `"FormatVersion": 1`, "FormatVersion: unknown field"},
		{`"formatVersion": 2`, `"formatVersion": 2, "formatVersion": 2`, `"formatVersion" is there twice`},
		{`"diffID"`, `"DiffID"`, "DiffID: unknown field"},
		{`"entries": 5`, `"entries": 5, "more": 1`, `more: unknown field`},
		{`"entries": 5,`, ``, `entries is missing`},
		{`"size": 230`, `"size": 230, "colour": 1`, `descriptor.colour: unknown field; known are mediaType, digest, size`},
		{`"size": 230`, `"size": 230, "urls": ["https://example.org/x"]`, `descriptor.urls: unknown field`},
		{`"size": 230`, `"size": 230, "data": "YQ=="`, `descriptor.data: unknown field`},
		{`"size": 230`, `"size": 230, "annotations": {"a": "b"}`, `descriptor.annotations: unknown field`},
		{`"size": 230`, `"size": 230, "size": 231`, `"size" is there twice`},
		{`"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",`, ``, "descriptor: mediaType is missing"},
		{`layer.v1.tar+gzip`, `layer.v1.tar`, `descriptor.mediaType: want "application/vnd.oci.image.layer.v1.tar+gzip", as the compression is gzip; found "application/vnd.oci.image.layer.v1.tar"`},
		{`application/vnd.oci.image.layer.v1.tar+gzip`, `application/vnd.docker.image.rootfs.diff.tar.gzip`, `descriptor.mediaType: want "application/vnd.oci`},
		{`"compression": "gzip"`, `"compression": "zstd"`, `descriptor.mediaType: want "application/vnd.oci.image.layer.v1.tar+zstd"`},
		{`"compression": "gzip"`, `"compression": "xz"`, `compression: want one of gzip, none, zstd; found "xz"`},
		{`"compression": "gzip"`, `"compression": ""`, `compression: want one of`},
		{`"size": 230`, `"size": -1`, "descriptor.size: want 0 or more, found -1"},
		{`"size": 230`, `"size": 1e3`, "descriptor.size: want an integer"},
		{`"uncompressedSize": 8704`, `"uncompressedSize": -8704`, "uncompressedSize: want 0 or more, found -8704"},
		{`"entries": 5`, `"entries": -5`, "entries: want 0 or more, found -5"},
		{`"digest": "sha256:1a4f`, `"digest": "sha256:1A4F`, "descriptor.digest: "},
		{`"digest": "sha256:1a4f`, `"digest": "sha256:../../1a4f`, "descriptor.digest: "},
		{`"diffID": "sha256:458c`, `"diffID": "458c`, "diffID: "},
		{`"diffID": "sha256:458c3e2e3ec64853687c926cb47c34e7669a22d65da1d8dd810ffb7372114f44"`, `"diffID": "sha512:` + strings.Repeat("0", 128) + `"`, "want sha256:<64 hex>, found sha512"},
		{`"path": "/nix/store/0g80`, `"path": "/nix/store/../0g80`, "storePaths[0].path: "},
		{`znxxkmh64da14rs51fhii310i4r8y6ab-b+c`, `0g80j8fh4wp8p2jmb0a8giig40jzalcj-a`, "storePaths[1]: /nix/store/0g80j8fh4wp8p2jmb0a8giig40jzalcj-a is there twice"},
		{`"narHash": "sha256:0102`, `"narHash": "sha256:01`, "storePaths[0].narHash: "},
		{`"narHash": "sha256:010203`, `"narHash": "sha256:000000`, "storePaths[0].narHash: all zeros: it was never computed"},
		{`"narSize": 96`, `"narSize": -96`, "storePaths[1].narSize: want 0 or more, found -96"},
		{`"entries": 5,`, `"entries": 5, "stripped": {"path": "/nix/store/x", "prefix": "."},`, "stripped"},
		{`"entries": 5,`, `"entries": 5, "touched": [{"path": "nix/store", "entry": "x"}],`, "touched[0].path: "},
		{`"entries": 5,`, `"entries": 5, "touched": [{"path": "/nix/store"}],`, "touched[0]: entry is missing"},
		{`"entries": 5,`, `"entries": 5, "touched": [{"path": "/b", "entry": "x"}, {"path": "/a", "entry": "x"}],`, "touched[1]: /a: want the paths sorted, each once"},
		{`"entries": 5,`, `"entries": 5, "users": {"names": ["b", "a"]},`, `users.names[1]: "a": want the names sorted, each once`},
		{`"entries": 5,`, `"entries": 5, "users": {"names": ["a:b"]},`, `users.names[0]: "a:b": want a name`},
		{`"entries": 5,`, `"entries": 5, "groups": {"names": ["a"], "removed": true},`, "groups: want one of names, removed and unknown"},
		{`"entries": 5,`, `"entries": 5, "groups": {"removed": true, "unknown": "x"},`, "groups: want one of names, removed and unknown"},
		{
			`"entries": 5,`,
			`"entries": 5, "stripped": {"path": "/nix/store/znxxkmh64da14rs51fhii310i4r8y6ab-b", "narHash": "sha256:` + strings.Repeat("1", 64) + `", "narSize": 1, "entries": 1, "prefix": "."},`,
			"stripped: want a prefix, and no storePaths beside it",
		},
	} {
		text := strings.Replace(sampleText, c.old, c.new, 1)
		if text == sampleText {
			t.Fatalf("%q is not in the sample", c.old)
		}
		f, err := Parse([]byte(text))
		if err == nil || f != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q for %q: %v, want an error with %q", c.new, c.old, err, c.want)
		}
	}
}

// A blob that is not compressed is the tar itself.
func TestParse_NotCompressed(t *testing.T) {
	f := sample()
	f.Compression, f.Level = "none", ""
	f.Descriptor = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: f.DiffID, Size: f.UncompressedSize}
	f.StorePaths = nil
	parse := func() error {
		b, err := f.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		_, err = Parse(b)
		return err
	}
	if err := parse(); err != nil {
		t.Error(err)
	}
	f.Descriptor.Size--
	if err := parse(); err == nil || !strings.Contains(err.Error(), "descriptor.size: want the uncompressedSize 8704") {
		t.Errorf("other size: error %v", err)
	}
	f.Descriptor.Digest = sample().Descriptor.Digest
	if err := parse(); err == nil || !strings.Contains(err.Error(), "descriptor.digest: want the diffID sha256:458c") {
		t.Errorf("other digest: error %v", err)
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "layer.json")
	if _, err := Read(path); !os.IsNotExist(err) {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(path, []byte(sampleText), 0o666); err != nil {
		t.Fatal(err)
	}
	f, err := Read(path)
	want := sample()
	want.Name = path
	if err != nil || !reflect.DeepEqual(f, want) {
		t.Errorf("%+v, %v", f, err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil || !strings.HasPrefix(err.Error(), "digest file "+path+": ") {
		t.Errorf("cut: %v, want an error that names the file", err)
	}
	// A file over the limit is refused before it is in memory.
	big, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer big.Close()
	if err := big.Truncate(maxSize + 1); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil || !strings.Contains(err.Error(), "over 67108864 bytes") {
		t.Errorf("too big: %v", err)
	}
}

// Whatever is accepted is written and read again as the same.
func FuzzParse(f *testing.F) {
	f.Add([]byte(sampleText))
	f.Add([]byte(strings.Replace(sampleText, `"storePaths"`, `"touched": [{"path": "/nix/store/0g80j8fh4wp8p2jmb0a8giig40jzalcj-a", "entry": "x", "hides": true}], "users": {"names": ["a", "b"]}, "groups": {"unknown": "a symlink"}, "storePaths"`, 1)))
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"formatVersion":2,"descriptor":{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:458c3e2e3ec64853687c926cb47c34e7669a22d65da1d8dd810ffb7372114f44","size":0},"diffID":"sha256:458c3e2e3ec64853687c926cb47c34e7669a22d65da1d8dd810ffb7372114f44","uncompressedSize":0,"compression":"none","entries":0,"storePaths":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := Parse(b)
		if err != nil {
			return
		}
		first, err := file.Marshal()
		if err != nil {
			t.Fatalf("accepted, but not written: %v", err)
		}
		again, err := Parse(first)
		if err != nil {
			t.Fatalf("written, but not accepted: %v\n%s", err, first)
		}
		second, err := again.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, second) {
			t.Fatalf("other bytes the second time:\n%s\n%s", first, second)
		}
	})
}
