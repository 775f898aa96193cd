package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/imagefile"
	"github.com/rules-strata/rules_strata/tool/inventory"
	"github.com/rules-strata/rules_strata/tool/store"
)

type inspectFlags struct {
	image imageFlags
	why   string
	whole bool
	json  bool
}

func newInspectCommand() *cobra.Command {
	var f inspectFlags
	c := &cobra.Command{
		Use:   "inspect IMAGE",
		Short: "Show what an image is and which store paths it holds",
		Long: `Shows an image's digests, config and layers, and the store paths in them with
their sizes, whoever made the image.

--why tells who pulls a store path in: the shortest chain of references from what
the config names (or, if it names none, from what nothing refers to), and all paths that
refer to it. References are found as Nix finds them, by the hash parts in the
files' contents; so it works without a lock and without a store.

Of an image in a registry the layers are fetched only with --whole or --why. Otherwise
the store paths are those that the image's history tells of.
` + imageArguments,
		Example: `  strata inspect web.tar
  strata inspect web.oci --why openssl
  strata inspect registry.example.org/team/web:1.0
  strata inspect //app:image
  strata inspect web.tar --json | jq '.store_paths[] | select(.bytes > 1e6) | .path'`,
		Args: oneArgument("image"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, args[0])
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.why, "why", "", "who pulls a store `PATH` in; its name, or a part of it, will do")
	fl.BoolVar(&f.whole, "whole", false, "fetch the layers of an image in a registry, too")
	fl.BoolVar(&f.json, "json", false, "print JSON")
	f.image.register(fl)
	return c
}

// The JSON that --json prints.
type (
	inspectJSON struct {
		Form      string   `json:"form"`
		Digest    string   `json:"digest"`
		MediaType string   `json:"media_type"`
		Config    string   `json:"config_digest"`
		Platform  string   `json:"platform"`
		Tags      []string `json:"tags"`
		// Bytes is the sum of the blobs' sizes.
		Bytes      int64           `json:"bytes"`
		Image      json.RawMessage `json:"config"`
		Layers     []inspectLayer  `json:"layers"`
		StorePaths []inspectPath   `json:"store_paths"`
		Other      inspectOther    `json:"other"`
		Why        *inspectWhy     `json:"why,omitempty"`
	}
	inspectLayer struct {
		Digest     string `json:"digest"`
		DiffID     string `json:"diff_id"`
		MediaType  string `json:"media_type"`
		Bytes      int64  `json:"bytes"`
		StorePaths int    `json:"store_paths"`
		// Present is false where the blob isn't in the file.
		Present bool   `json:"present"`
		History string `json:"history,omitempty"`
	}
	inspectPath struct {
		Path  string `json:"path"`
		Layer int    `json:"layer"` // from 0
		// Entries is a number of files, directories and links, Bytes the sum of the files' lengths.
		Entries int64  `json:"entries"`
		Bytes   int64  `json:"bytes"`
		NarHash string `json:"nar_hash,omitempty"`
		NarSize int64  `json:"nar_size,omitempty"`
	}
	inspectOther struct {
		Entries int64 `json:"entries"`
		Bytes   int64 `json:"bytes"`
	}
	inspectWhy struct {
		Path string `json:"path"`
		// Chain leads from a root to the path; empty if none does.
		Chain []string `json:"chain"`
		// Referrers are all paths that refer to it.
		Referrers []string `json:"referrers"`
	}
)

func (f *inspectFlags) run(cmd *cobra.Command, path string) error {
	file, err := f.image.openWith(cmd, path, f.whole || f.why != "")
	if err != nil {
		return err
	}
	defer file.Close()
	img := file.Image
	progress := newProgress(cmd)
	progress.show("reading %s", path)
	inv, shallow, err := readInventory(cmd.Context(), img)
	var why *inventory.Path
	if err == nil && f.why != "" {
		if shallow {
			err = errors.New("--why: some layers aren't in the file, and references are found in their contents")
		} else if why, err = findPath(inv, f.why); err == nil { // All contents are read for it: a slip of the pen comes before.
			progress.show("looking for references")
			err = inv.References(cmd.Context())
		}
	}
	progress.clear()
	if err != nil {
		return stopped(cmd.Context(), err)
	}
	out := describeImage(file.File, img, inv)
	if why != nil {
		out.Why = whyPath(img, inv, why)
	}
	switch {
	case f.json:
		return writeJSON(cmd.OutOrStdout(), out)
	case f.why != "":
		_, err = io.WriteString(cmd.OutOrStdout(), whyText(out.Why))
	default:
		_, err = io.WriteString(cmd.OutOrStdout(), inspectText(file, out))
	}
	return err
}

// readInventory looks through the layers. Of an image that isn't whole it has
// what the layers' histories say, without sizes.
func readInventory(ctx context.Context, img *imagefile.Image) (inv *inventory.Inventory, shallow bool, err error) {
	var layers []inventory.Layer
	for _, l := range img.Layers {
		shallow = shallow || !l.Present()
		layers = append(layers, l.Uncompressed)
	}
	if !shallow {
		inv, err = inventory.Read(ctx, layers)
		return inv, false, err
	}
	inv = new(inventory.Inventory)
	for i, h := range layerHistory(img) {
		paths, _, err := image.ParseHistoryComment(h.Comment)
		if err != nil {
			continue // Somebody else's.
		}
		for _, p := range paths {
			inv.Paths = append(inv.Paths, &inventory.Path{Path: p.Path, Layer: i, NarHash: p.NarHash, NarFault: imagefile.ErrAbsent})
		}
	}
	return inv, true, nil
}

// layerHistory is the history of each layer; nothing where the config tells of more or fewer.
func layerHistory(img *imagefile.Image) []ocispec.History {
	var h []ocispec.History
	for _, e := range img.Spec.History {
		if !e.EmptyLayer {
			h = append(h, e)
		}
	}
	if len(h) != len(img.Layers) {
		return make([]ocispec.History, len(img.Layers))
	}
	return h
}

func describeImage(file *imagefile.File, img *imagefile.Image, inv *inventory.Inventory) *inspectJSON {
	out := &inspectJSON{
		Form: string(file.Form), Digest: img.Descriptor.Digest.String(), MediaType: img.Descriptor.MediaType,
		Config: img.ConfigDescriptor.Digest.String(), Platform: image.PlatformText(img.Spec.Platform),
		Tags: append([]string{}, img.Names...), Image: img.Config,
		Layers: []inspectLayer{}, StorePaths: []inspectPath{},
		Other: inspectOther{inv.Other.Entries, inv.Other.Bytes},
	}
	history := layerHistory(img)
	for i, l := range img.Layers {
		out.Bytes += l.Descriptor.Size
		out.Layers = append(out.Layers, inspectLayer{
			Digest: l.Descriptor.Digest.String(), DiffID: l.DiffID.String(), MediaType: l.Descriptor.MediaType,
			Bytes: l.Descriptor.Size, Present: l.Present(), History: history[i].CreatedBy,
		})
	}
	for _, p := range inv.Paths {
		j := inspectPath{Path: string(p.Path), Layer: p.Layer, Entries: p.Entries, Bytes: p.Bytes, NarSize: p.NarSize}
		if p.NarFault == nil {
			j.NarHash = p.NarHash.String()
		}
		out.StorePaths = append(out.StorePaths, j)
		out.Layers[p.Layer].StorePaths++
	}
	return out
}

// inspectText is what people read.
func inspectText(file *openImage, out *inspectJSON) string {
	var t table
	t.head("")
	t.row("digest", out.Digest)
	t.row("config", out.Config)
	t.row("platform", out.Platform)
	for i, n := range out.Tags {
		t.row([]string{"tags", ""}[min(i, 1)], familiar(n))
	}
	if spec := &file.Image.Spec; spec.Created != nil {
		t.row("created", spec.Created.UTC().Format("2006-01-02T15:04:05Z"))
	}
	c := file.Image.Spec.Config
	list := func(name string, values []string) {
		if len(values) > 0 {
			t.row(name, strings.Join(values, " "))
		}
	}
	list("entrypoint", quoted(c.Entrypoint))
	list("cmd", quoted(c.Cmd))
	for i, e := range c.Env {
		t.row([]string{"env", ""}[min(i, 1)], e)
	}
	list("user", slices.DeleteFunc([]string{c.User}, func(s string) bool { return s == "" }))
	list("workdir", slices.DeleteFunc([]string{c.WorkingDir}, func(s string) bool { return s == "" }))
	list("ports", slices.Sorted(maps.Keys(c.ExposedPorts)))
	list("volumes", slices.Sorted(maps.Keys(c.Volumes)))
	for i, k := range slices.Sorted(maps.Keys(c.Labels)) {
		t.row([]string{"labels", ""}[min(i, 1)], k+"="+c.Labels[k])
	}
	t.head(fmt.Sprintf("%d layers, %s", len(out.Layers), formatBytes(out.Bytes)))
	for i, l := range out.Layers {
		what := fmt.Sprintf("%d store paths", l.StorePaths)
		if l.StorePaths == 1 {
			k := slices.IndexFunc(out.StorePaths, func(p inspectPath) bool { return p.Layer == i })
			what = store.Path(out.StorePaths[k].Path).Name()
		} else if l.StorePaths == 0 {
			what = cmp.Or(l.History, "no store path")
		}
		if !l.Present {
			what += map[bool]string{false: " (not in the file)", true: " (not fetched)"}[file.remote]
		}
		t.row("", fmt.Sprintf("%d", i+1), l.Digest[:19], shortenText(what, 60), formatBytes(l.Bytes))
	}
	var sum int64
	for _, p := range out.StorePaths {
		sum += p.Bytes
	}
	// Without the layers nobody knows sizes.
	shallow := slices.ContainsFunc(out.Layers, func(l inspectLayer) bool { return !l.Present })
	if n := len(out.StorePaths); n > 0 && shallow {
		t.head(fmt.Sprintf("%d store paths, by the image's history", n))
	} else if n > 0 {
		t.head(fmt.Sprintf("%d store paths, %s", n, formatBytes(sum)))
	}
	paths := slices.Clone(out.StorePaths)
	slices.SortStableFunc(paths, func(a, b inspectPath) int { return cmp.Compare(b.Bytes, a.Bytes) })
	for _, p := range paths {
		row := []string{"", store.Path(p.Path).Base(), fmt.Sprintf("layer %d", p.Layer+1), formatBytes(p.Bytes)}
		if shallow {
			row = row[:3]
		}
		t.row(row...)
	}
	if out.Other.Entries > 0 {
		t.head("")
		t.row(fmt.Sprintf("beside them %d entries", out.Other.Entries), formatBytes(out.Other.Bytes))
	}
	return strings.TrimPrefix(t.String(), "\n")
}

func shortenText(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most-1], "") + "…"
}

// quoted is arguments as a shell would want them, where they aren't plain.
func quoted(args []string) []string {
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = a
		if a == "" || strings.ContainsAny(a, " \t\n'\"\\$&;|<>(){}*?#~`!") {
			out[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return out
}

// whyPath says who pulls in a path.
func whyPath(img *imagefile.Image, inv *inventory.Inventory, to *inventory.Path) *inspectWhy {
	w := &inspectWhy{Path: string(to.Path), Chain: []string{}, Referrers: []string{}}
	for _, p := range inv.Why(rootsOf(img, inv), to) {
		w.Chain = append(w.Chain, string(p.Path))
	}
	for _, p := range inv.Paths {
		if slices.Contains(p.References, to) {
			w.Referrers = append(w.Referrers, string(p.Path))
		}
	}
	return w
}

// findPath finds the one store path that a name, or a part of it, means.
func findPath(inv *inventory.Inventory, name string) (*inventory.Path, error) {
	var exact, near []*inventory.Path
	for _, p := range inv.Paths {
		pkg, _ := store.SplitName(p.Path.Name())
		switch {
		case string(p.Path) == name:
			return p, nil
		case p.Path.Base() == name, p.Path.Name() == name, pkg == name, p.Path.HashPart() == name:
			exact = append(exact, p)
		case strings.Contains(p.Path.Base(), name):
			near = append(near, p)
		}
	}
	if len(exact) == 0 {
		exact = near
	}
	switch len(exact) {
	case 0:
		return nil, fmt.Errorf("--why: the image has no store path %q", name)
	case 1:
		return exact[0], nil
	}
	var names []string
	for _, p := range exact {
		names = append(names, string(p.Path))
	}
	return nil, &hinted{fmt.Errorf("--why: %q may be any of %d store paths", name, len(exact)), "there are " + strings.Join(names, ", ")}
}

// rootsOf are the store paths that the config names, or, if it names none, those that nothing refers to.
func rootsOf(img *imagefile.Image, inv *inventory.Inventory) []*inventory.Path {
	var named, top []*inventory.Path
	referred := map[*inventory.Path]bool{}
	for _, p := range inv.Paths {
		for _, r := range p.References {
			referred[r] = true
		}
	}
	config, _ := json.Marshal(img.Spec.Config) // Not the history, which lists all of them.
	for _, p := range inv.Paths {
		if strings.Contains(string(config), p.Path.HashPart()) {
			named = append(named, p)
		}
		if !referred[p] {
			top = append(top, p)
		}
	}
	if len(named) > 0 {
		return named
	}
	return top
}

func whyText(w *inspectWhy) string {
	var b strings.Builder
	if len(w.Chain) == 0 {
		fmt.Fprintf(&b, "%s\nis in the image, but nothing that the config names leads to it\n", w.Path)
	}
	for i, p := range w.Chain {
		if i > 0 {
			b.WriteString(strings.Repeat("  ", i-1) + "└─ ")
		}
		b.WriteString(p + "\n")
	}
	switch n := len(w.Referrers); {
	case n == 1 && len(w.Chain) > 1:
		b.WriteString("\nnothing else refers to it\n")
	case n > 0:
		fmt.Fprintf(&b, "\n%d store paths refer to it\n", n)
		for _, p := range w.Referrers {
			b.WriteString("  " + p + "\n")
		}
	}
	return b.String()
}
