package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/rules-strata/rules_strata/tool/lock"
	"github.com/rules-strata/rules_strata/tool/store"
)

func newDiffCommand() *cobra.Command {
	var asJSON, files bool
	var which imageFlags
	c := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Show what differs between two locks, or two images",
		Long: `Compares two locks: which packages have another version, which paths came and
went, what that is in bytes, and which layers are new.

A package is a store path's name without its version, as Nix splits it. One
that is "rebuilt" has the same version by another path: something that it was
built of is another.

Of two images it shows the same of the store paths in
them, and which bytes have to be transferred to who has the old one; with --files, also
which files came, went and changed. Layers of an image in a registry are fetched only
where its history doesn't tell its store paths, or for --files.
` + imageArguments,
		Example: `  strata diff old.json strata.lock.json
  git show HEAD:strata.lock.json | strata diff /dev/stdin strata.lock.json
  strata diff old.tar web.tar
  strata diff registry.example.org/team/web:1.0 //app:image --files`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usagef("want two locks or two images, found %d", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if looksLikeImage(args[0]) && looksLikeImage(args[1]) {
				return diffImages(cmd, args[0], args[1], &which, files, asJSON)
			}
			if files {
				return usagef("--files is for images")
			}
			before, err := lock.Read(args[0])
			if err != nil {
				return advisePath(args[0], err)
			}
			after, err := lock.Read(args[1])
			if err != nil {
				return advisePath(args[1], err)
			}
			d := lock.Compare(before, after)
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), d)
			}
			_, err = io.WriteString(cmd.OutOrStdout(), diffText(d, true))
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().BoolVar(&files, "files", false, "of images: compare all files, too")
	which.register(c.Flags())
	return c
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// diffText is what people read of a diff. The summary leaves out the single paths and layers.
func diffText(d *lock.Diff, all bool) string {
	if d.Empty() {
		return "no difference\n"
	}
	var t table
	if len(d.Roots) > 0 {
		t.head("roots")
	}
	for _, r := range d.Roots {
		t.row("", r.Name, r.System, rootText(r))
		if r.OldSource != r.NewSource {
			t.row("", "", "", "from "+cmp.Or(r.OldSource, "the project file")+" → "+cmp.Or(r.NewSource, "the project file"))
		}
	}
	packageRows(&t, d, true)
	if len(d.Paths.Changed) > 0 {
		t.head("the same paths, otherwise")
	}
	for _, p := range d.Paths.Changed {
		t.row("", p.Path.Base(), strings.Join(p.Fields, ", "))
	}
	if len(d.Settings) > 0 {
		t.head("settings")
	}
	for _, s := range d.Settings {
		settingRows(&t, s)
	}
	if all {
		pathRows(&t, d, true)
		layerRows(&t, d)
	}
	t.head("")
	kept := d.New.Paths - len(d.Paths.Added)
	t.row("paths", fmt.Sprintf("%d added, %d removed, %d kept", len(d.Paths.Added), len(d.Paths.Removed), kept))
	t.row("NARs", bytesText(d, func(p lock.PathSize) int64 { return p.NarSize }, d.New.NarBytes))
	t.row("files", bytesText(d, func(p lock.PathSize) int64 { return p.FileSize }, d.New.FileBytes))
	var touched int64
	for _, l := range slices.Concat(d.Layers.New, d.Layers.Changed) {
		touched += l.NarBytes
	}
	layers := fmt.Sprintf("%d new, %d gone, %d kept", len(d.Layers.New), len(d.Layers.Gone), d.Layers.Kept)
	if n := len(d.Layers.Changed); n > 0 {
		layers = fmt.Sprintf("%d changed, %s", n, layers)
	}
	t.row("layers", layers+"; "+formatBytes(touched)+" of NARs to make anew")
	return t.String()
}

// packageRows lists packages, with what they are in bytes where sizes are known.
func packageRows(t *table, d *lock.Diff, sizes bool) {
	for _, change := range []string{lock.Updated, lock.Added, lock.Removed, lock.Rebuilt} {
		first := true
		for _, p := range d.Packages {
			if p.Change != change {
				continue
			}
			if first {
				t.head(change)
				first = false
			}
			row := []string{"", p.Name, versionsText(p)}
			if sizes {
				row = append(row, formatDelta(p.NewNarBytes-p.OldNarBytes))
			}
			t.row(row...)
		}
	}
}

// settingRows shows a value as old → new, and of a list what came and went.
func settingRows(t *table, s lock.SettingChange) {
	var rows []string
	for _, v := range s.New {
		if !slices.Contains(s.Old, v) {
			rows = append(rows, "+ "+v)
		}
	}
	for _, v := range s.Old {
		if !slices.Contains(s.New, v) {
			rows = append(rows, "- "+v)
		}
	}
	if len(rows) == 0 || len(s.Old) == 1 && len(s.New) == 1 {
		rows = []string{strings.Join(s.Old, " ") + " → " + strings.Join(s.New, " ")}
	}
	for i, row := range rows {
		t.row("", []string{s.Name, ""}[min(i, 1)], row)
	}
}

// pathRows lists paths that came and went, with their sizes where these are known.
func pathRows(t *table, d *lock.Diff, sizes bool) {
	size := func(p lock.PathSize) []string {
		if !sizes {
			return nil
		}
		return []string{formatBytes(p.NarSize)}
	}
	if len(d.Paths.Added)+len(d.Paths.Removed) == 0 {
		return
	}
	t.head("paths")
	for _, p := range d.Paths.Added {
		t.row(append([]string{"", "+ " + p.Path.Base()}, size(p)...)...)
	}
	for _, p := range d.Paths.Removed {
		t.row(append([]string{"", "- " + p.Path.Base()}, size(p)...)...)
	}
}

func layerRows(t *table, d *lock.Diff) {
	if len(d.Layers.New)+len(d.Layers.Gone)+len(d.Layers.Changed) == 0 {
		return
	}
	t.head("layers")
	for _, l := range d.Layers.New {
		t.row("", "+ "+l.Name, formatBytes(l.NarBytes))
	}
	for _, l := range d.Layers.Gone {
		t.row("", "- "+l.Name, formatBytes(l.NarBytes))
	}
	for _, l := range d.Layers.Changed {
		t.row("", "~ "+l.Name, formatBytes(l.NarBytes))
	}
}

// rootText says what became of a root. By their names alone people tell store
// paths apart; where these are equal, their hashes are shown.
func rootText(r lock.RootChange) string {
	was, is := r.Old.Name(), r.New.Name()
	switch {
	case r.Old == "":
		return "+ " + is
	case r.New == "":
		return "- " + was
	case r.Old == r.New:
		return is
	case was == is:
		return is + " (" + shortHash(r.Old) + " → " + shortHash(r.New) + ")"
	}
	return was + " → " + is
}

func shortHash(p store.Path) string { return p.HashPart()[:8] }

func versionsText(p lock.PackageChange) string {
	list := func(versions []string) string { return strings.Join(versions, ", ") }
	switch p.Change {
	case lock.Updated:
		return cmp.Or(list(p.Old), "no version") + " → " + cmp.Or(list(p.New), "no version")
	case lock.Removed:
		return list(p.Old)
	}
	return list(p.New)
}

// bytesText says what came and went of a size, and what it comes to.
func bytesText(d *lock.Diff, size func(lock.PathSize) int64, total int64) string {
	var added, removed int64
	for _, p := range d.Paths.Added {
		added += size(p)
	}
	for _, p := range d.Paths.Removed {
		removed += size(p)
	}
	return fmt.Sprintf("%s added, %s removed, %s in all", formatBytes(added), formatBytes(removed), formatBytes(total))
}

// formatBytes is n bytes in decimal units, as sizes of downloads and disks are: "12.3 MB".
func formatBytes(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	f := float64(n)
	for _, unit := range []string{"kB", "MB", "GB"} {
		f /= 1000
		if f < 999.95 {
			return fmt.Sprintf("%.1f %s", f, unit)
		}
	}
	return fmt.Sprintf("%.1f TB", f/1000)
}

// formatDelta is a difference of n bytes; "" if there is none.
func formatDelta(n int64) string {
	switch {
	case n > 0:
		return "+" + formatBytes(n)
	case n < 0:
		return "-" + formatBytes(-n)
	}
	return ""
}

// table is text in sections of rows whose columns stand below each other. A
// last column that is a number is flush right.
type table struct {
	sections []section
}

type section struct {
	title string
	rows  [][]string
}

// head begins a section.
func (t *table) head(title string) { t.sections = append(t.sections, section{title: title}) }

// row adds a row to the section; its first cell, where the section has a title, is the indent.
func (t *table) row(cells ...string) {
	s := &t.sections[len(t.sections)-1]
	s.rows = append(s.rows, cells)
}

// String is the text, with a newline behind each row and an empty line between sections.
func (t *table) String() string {
	var b strings.Builder
	for i, s := range t.sections {
		if i > 0 {
			b.WriteByte('\n')
		}
		if s.title != "" {
			b.WriteString(s.title + "\n")
		}
		var widths []int
		for _, row := range s.rows {
			for k, cell := range row {
				if k == len(widths) {
					widths = append(widths, 0)
				}
				widths[k] = max(widths[k], utf8.RuneCountInString(cell))
			}
		}
		for _, row := range s.rows {
			var line strings.Builder
			for k, cell := range row {
				pad := strings.Repeat(" ", widths[k]-utf8.RuneCountInString(cell))
				if k > 0 {
					line.WriteString("  ")
				}
				if k == len(widths)-1 && isSize(cell) {
					line.WriteString(pad + cell)
				} else {
					line.WriteString(cell + pad)
				}
			}
			b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
		}
	}
	return b.String()
}

// isSize reports whether a cell is what formatBytes or formatDelta wrote.
func isSize(cell string) bool {
	number, unit, ok := strings.Cut(cell, " ")
	return ok && strings.Trim(number, "+-.0123456789") == "" && strings.HasSuffix(unit, "B") && len(unit) <= 2
}

// writeJSONLine writes v as one line.
func writeJSONLine(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
