package layer

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"

	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/nar"
	"github.com/rules-strata/rules_strata/tool/validate"
)

// Whatever the tree and the options: the tar, read back by archive/tar, has what a plain model of the options says; the
// listing says the same; and the oracle, which shares no code with either, finds the image right, unless it
// is told of other options.
func TestWrite_Oracle(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		var nodes []node
		drawNode(t, &nodes, "", rapid.IntRange(0, 5).Draw(t, "depth"))
		d := drawOptions(t, nodes)
		want := d.model(nodes)

		var blob, listed bytes.Buffer
		o := d.Options
		o.Mtree = &listed
		f, err := Write(t.Context(), &blob, []NAR{fromBytes(oddBase, makeNAR(t, nodes...))}, o)
		if err != nil {
			t.Fatal(err)
		}
		if got := listing(t, unpack(t, f.Compression, blob.Bytes())); !slices.Equal(withoutPax(got), want) {
			t.Fatalf("the tar:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if got := listingOfMtree(t, listed.String()); !slices.Equal(got, want) {
			t.Fatalf("the listing:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if faults := judge(t, dir, f, blob.Bytes(), d.expected()...); len(faults) > 0 {
			t.Fatalf("the oracle finds fault with it: %v", faults)
		}
		if o.StripPrefix != "" {
			return // The oracle knows no options of such a layer.
		}
		files := func(line string) bool { return !strings.HasPrefix(line, "symlink") }
		switch other := rapid.SampledFrom([]string{"owner", "mtime", "modes"}).Draw(t, "told wrong"); {
		case other == "owner" && len(want) > 2:
			wrong(t, judge(t, dir, f, blob.Bytes(), append(d.expected(), validate.WithOwner(7, 7, "", ""))...), "want 7:7")
		case other == "mtime":
			wrong(t, judge(t, dir, f, blob.Bytes(), append(d.expected(), validate.WithMtime(1<<34))...), "want 17179869184")
		case other == "modes" && slices.ContainsFunc(want[2:], files):
			all := func(_, _ string) (int64, bool) { return 0o10000, true }
			wrong(t, judge(t, dir, f, blob.Bytes(), append(d.expected(), validate.WithModes(all))...), "want 10000")
		}
	})
}

// wrong wants a fault that says what was wanted.
func wrong(t *rapid.T, faults []validate.Fault, want string) {
	t.Helper()
	for _, f := range faults {
		if strings.Contains(f.What, want) {
			return
		}
	}
	t.Fatalf("told of other options, the oracle tells no fault with %q: %v", want, faults)
}

// drawnOptions are options with their patterns as text, for the model.
type drawnOptions struct {
	Options
	excluded []string
	modes    []string // of Options.Modes
}

func drawOptions(t *rapid.T, nodes []node) drawnOptions {
	d := drawnOptions{Options: Options{
		Compression:        rapid.SampledFrom(Compressions()).Draw(t, "compression"),
		AllowWhiteoutNames: true,
	}}
	if rapid.Bool().Draw(t, "owned") {
		d.Owner = &Owner{UID: rapid.Uint32().Draw(t, "uid"), GID: rapid.Uint32().Draw(t, "gid")}
		d.Owner.UserName = rapid.StringMatching(`[a-z]{0,31}`).Draw(t, "user")
		d.Owner.GroupName = rapid.StringMatching(`[a-z]{0,31}`).Draw(t, "group")
	}
	if rapid.Bool().Draw(t, "timed") {
		mtime := rapid.Int64Range(0, maxOctal12).Draw(t, "mtime")
		d.MtimeUnix = &mtime
	}
	if nodes[0].Kind == nar.Directory && rapid.IntRange(0, 3).Draw(t, "strip") == 0 {
		dirs := []string{"."}
		for _, n := range nodes[1:] {
			if n.Kind == nar.Directory {
				dirs = append(dirs, string(n.Path))
			}
		}
		d.StripPrefix = rapid.SampledFrom(dirs).Draw(t, "prefix")
	}
	drawPattern := func() (string, Pattern, bool) {
		text := rapid.SampledFrom([]string{"*", "*/*", "**", "**/*a*", "??*", "**/n*", "none"}).Draw(t, "pattern")
		if n := nodes[rapid.IntRange(0, len(nodes)-1).Draw(t, "node")]; len(n.Path) > 0 && rapid.Bool().Draw(t, "by name") {
			text = quotePattern(string(n.Path))
		}
		p, err := ParsePattern(text)
		return text, p, err == nil
	}
	for range rapid.IntRange(0, 2).Draw(t, "exclusions") {
		text, p, ok := drawPattern()
		if ok && !(d.StripPrefix != "" && d.StripPrefix != "." && d.matches(text, d.StripPrefix)) { // or the prefix would be missing
			d.excluded, d.Exclude = append(d.excluded, text), append(d.Exclude, p)
		}
	}
	for range rapid.IntRange(0, 3).Draw(t, "mode rules") {
		text, p, ok := drawPattern()
		if rapid.IntRange(0, 4).Draw(t, "of the root") == 0 {
			text, ok = ".", true
			p, _ = ParsePattern(text)
		}
		if ok {
			mode := rapid.Uint16Range(0, 0o7777).Draw(t, "mode")
			d.modes, d.Modes = append(d.modes, text), append(d.Modes, ModeRule{p, mode})
		}
	}
	return d
}

// quotePattern is the pattern of one path.
func quotePattern(path string) string {
	var b strings.Builder
	for _, c := range []byte(path) {
		if strings.IndexByte(`*?\`, c) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	return b.String()
}

// matches reports whether a pattern matches a path or a directory above it, as the documentation says.
func (d drawnOptions) matches(text, p string) bool {
	for ; p != "." && p != ""; p = path.Dir(p) {
		if matchesPath(text, p) {
			return true
		}
	}
	return false
}

func matchesPath(text, p string) bool {
	if text == "." || p == "" {
		return text == "." && p == ""
	}
	return matchPlain(strings.Split(text, "/"), strings.Split(p, "/"))
}

// mode is what the rules say of a path.
func (d drawnOptions) mode(p string) (int64, bool) {
	for i, text := range slices.Backward(d.modes) {
		if matchesPath(text, p) {
			return int64(d.Modes[i].Mode), true
		}
	}
	return 0, false
}

// model says what of the tree comes into the layer, and as what: in the form of [listing].
func (d drawnOptions) model(nodes []node) (lines []string) {
	owner, mtime := "0\t0\troot\troot", int64(1)
	if o := d.Owner; o != nil {
		owner = fmt.Sprintf("%d\t%d\t%s\t%s", o.UID, o.GID, dash(o.UserName), dash(o.GroupName))
	}
	if d.MtimeUnix != nil {
		mtime = *d.MtimeUnix
	}
	if d.StripPrefix == "" {
		for _, name := range []string{"nix/", "nix/store/"} {
			lines = append(lines, fmt.Sprintf("dir\t0755\t0\t0\t-\t-\t%d\t0\t-\t%s\t-", mtime, name))
		}
	}
	for _, n := range nodes {
		p := string(n.Path)
		if slices.ContainsFunc(d.excluded, func(text string) bool { return d.matches(text, p) }) {
			continue
		}
		name := "nix/store/" + oddBase + "/" + p
		switch d.StripPrefix {
		case "":
			name = strings.TrimSuffix(name, "/")
		case ".":
			name = p
		default:
			rest, ok := strings.CutPrefix(p, d.StripPrefix+"/")
			if !ok {
				continue
			}
			name = rest
		}
		if name == "" {
			continue
		}
		kind, mode, size, sum, target := "file", int64(0o444), 0, "-", ""
		switch {
		case n.Kind == nar.Directory:
			kind, mode, name = "dir", 0o555, name+"/"
		case n.Kind == nar.Symlink:
			kind, mode, target = "symlink", 0o777, string(n.Target)
		default:
			size, sum = len(n.contents), fmt.Sprintf("%x", sha256.Sum256([]byte(n.contents)))
			if n.Executable {
				mode = 0o555
			}
		}
		if m, ok := d.mode(p); ok && n.Kind != nar.Symlink {
			mode = m
		}
		lines = append(lines, fmt.Sprintf("%s\t%04o\t%s\t%d\t%d\t%s\t%s\t%s", kind, mode, owner, mtime, size, sum, escape(name), escape(target)))
	}
	return lines
}

// expected tells the oracle of the options.
func (d drawnOptions) expected() []validate.Option {
	options := []validate.Option{validate.WithWhiteoutNames(), validate.WithModes(func(storePath, path string) (int64, bool) {
		if storePath != "/nix/store/"+oddBase {
			return 0, true
		}
		return d.mode(path)
	})}
	if o := d.Owner; o != nil {
		options = append(options, validate.WithOwner(o.UID, o.GID, o.UserName, o.GroupName))
	}
	if d.MtimeUnix != nil {
		options = append(options, validate.WithMtime(*d.MtimeUnix))
	}
	return options
}

// withoutPax takes the keys of pax headers off listing's lines.
func withoutPax(lines []string) []string {
	for i, l := range lines {
		lines[i] = l[:strings.LastIndexByte(l, '\t')]
	}
	return lines
}

// listingOfMtree is a listing's lines in the form of [listing].
func listingOfMtree(t *rapid.T, text string) (lines []string) {
	unvis := func(s string) string {
		var b []byte
		for i := 0; i < len(s); i++ {
			c := s[i]
			if c == '\\' {
				c = s[i+1]&7<<6 | s[i+2]&7<<3 | s[i+3]&7
				i += 3
			}
			b = append(b, c)
		}
		return string(b)
	}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if line == "#mtree\n" {
			continue
		}
		v := map[string]string{"size": "0", "sha256digest": "-"}
		for _, w := range words[1:] {
			key, value, ok := strings.Cut(w, "=")
			if !ok {
				t.Fatalf("listing: %q", line)
			}
			v[key] = unvis(value)
		}
		name := strings.TrimPrefix(unvis(words[0]), "./")
		switch v["type"] {
		case "dir":
			name += "/"
		case "link":
			v["type"] = "symlink"
		}
		mode := strings.Repeat("0", max(0, 4-len(v["mode"]))) + v["mode"]
		lines = append(lines, strings.Join([]string{
			v["type"], mode, v["uid"], v["gid"], dash(v["uname"]), dash(v["gname"]), strings.TrimSuffix(v["time"], ".0"),
			v["size"], v["sha256digest"], escape(name), escape(v["link"]),
		}, "\t"))
	}
	return lines
}

// unpack decompresses a blob by other means than the engine's.
func unpack(t *rapid.T, compression string, blob []byte) io.Reader {
	switch compression {
	case Gzip:
		z, err := gzip.NewReader(bytes.NewReader(blob))
		if err != nil {
			t.Fatal(err)
		}
		return z
	case Zstd:
		z, err := zstd.NewReader(bytes.NewReader(blob), zstd.WithDecoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(z.Close)
		return z
	}
	return bytes.NewReader(blob)
}

// judge makes an image of the layer and returns what the oracle finds wrong with it.
func judge(t *rapid.T, dir string, f *digestfile.File, blob []byte, options ...validate.Option) []validate.Fault {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	img, err := image.Build(image.Settings{System: "x86_64-linux"}, []*digestfile.File{f})
	must(err)
	var archive bytes.Buffer
	blobs := []image.Blob{{Descriptor: f.Descriptor, Path: "blob", Open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(blob)), nil
	}}}
	must(image.WriteArchive(context.Background(), &archive, img, blobs, []string{"oracle:test"}))
	name := path.Join(dir, "image.tar")
	must(os.WriteFile(name, archive.Bytes(), 0o666))
	report, err := validate.Image(context.Background(), name, options...)
	must(err)
	if len(report.Images) != 1 || report.Images[0].Layers[0].Digest != f.Descriptor.Digest {
		t.Fatalf("the oracle found %+v", report.Images)
	}
	return report.Faults
}
