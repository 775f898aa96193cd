package main

import (
	"cmp"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/rules-strata/rules_strata/bench/section"
)

// report holds the Markdown of each section that was measured.
type report struct {
	sections []section.Section
}

func (r *report) add(name, text string) {
	r.sections = append(r.sections, section.Section{Name: name, Text: text})
}

// describe says what was measured, on what machine, and how much of it other processes took.
func (r *report) describe(contents string, rounds int, others float64) {
	model := "CPU of unknown model"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if m := regexp.MustCompile(`(?m)^model name\s*:\s*(.*)$`).FindSubmatch(text); m != nil {
			model = string(m[1])
		}
	}
	text := fmt.Sprintf("Corpus: %s.  \nMachine: %d cores, %s, %s/%s, %s. Rounds: %d.", contents, runtime.NumCPU(), model, runtime.GOOS, runtime.GOARCH, runtime.Version(), rounds)
	if others > 0.02 {
		text += fmt.Sprintf("  \nMeanwhile other processes took %.0f %% of the machine's CPU time: wall times, and ratios of them, are that much worse than on a quiet one.", others*100)
	}
	r.sections = slices.Insert(r.sections, 0, section.Section{Name: "machine", Text: text})
}

func ratio(a, b float64) string {
	switch r := a / b; {
	case b == 0:
		return "–"
	case r >= 10:
		return fmt.Sprintf("%.0f", r)
	case r >= 0.095:
		return fmt.Sprintf("%.2f", r)
	default:
		return fmt.Sprintf("%.3f", r)
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

// compare reports the tables, the limits, and the targets.
func (r *report) compare(cases, missing []benchCase, results map[string]usage) {
	var out strings.Builder
	for _, group := range []string{groupNone, groupGzip, groupZstd} {
		one := results[group+": "+strataCase]
		fmt.Fprintf(&out, "\n### %s layers\n\n| | CPU | wall | peak RSS | size | |\n|---|--:|--:|--:|--:|---|\n", strings.ToUpper(group[:1])+group[1:])
		for _, c := range cases {
			if c.group != group {
				continue
			}
			u := results[c.String()]
			if c.name == strataCase {
				fmt.Fprintf(&out, "| **strata** | **1** (%s) | **1** (%s) | **1** (%s) | **1** (%s) | |\n", seconds(u.cpu), seconds(u.wall), megabytes(u.rss), megabytes(u.size))
				continue
			}
			fmt.Fprintf(&out, "| %s | %s | %s | %s | %s | %s |\n", c.name, ratio(u.cpu.Seconds(), one.cpu.Seconds()), ratio(u.wall.Seconds(), one.wall.Seconds()),
				ratio(float64(u.rss), float64(one.rss)), fmt.Sprintf("%.3f", float64(u.size)/float64(one.size)), c.note)
		}
		for _, c := range missing {
			if c.group == group {
				fmt.Fprintf(&out, "| %s | – | – | – | – | not installed |\n", c.name)
			}
		}
	}
	r.add("compare", out.String())

	out.Reset()
	out.WriteString("| | CPU | wall | peak RSS |\n|---|--:|--:|--:|\n")
	for _, c := range cases {
		if u := results[c.String()]; c.group == groupLimits {
			fmt.Fprintf(&out, "| %s | %s | %s | %s |\n", c.name, seconds(u.cpu), seconds(u.wall), megabytes(u.rss))
		}
	}
	r.add("limits", out.String())
	r.add("targets", targetTable(targets(results)))
}

// growth reports how cost grows, and the line that fits.
func (r *report) growth(curves []curve) {
	var out strings.Builder
	for _, c := range curves {
		fmt.Fprintf(&out, "\n### %s\n\n", strings.ToUpper(c.what[:1])+c.what[1:])
		unit, scale := "MB", 1.0
		if c.x != "MB" {
			unit = strings.TrimSuffix(c.x, "s")
		}
		if c.x == "files" {
			unit, scale = "1000 files", 1000.0
		}
		out.WriteString("| layer | " + c.x + " |")
		out.WriteString(" CPU | wall | CPU per " + unit + " | peak RSS |\n|---|--:|--:|--:|--:|--:|\n")
		for _, compression := range growthCompressions {
			for _, p := range c.points[compression] {
				fmt.Fprintf(&out, "| %s | %.0f | %s | %s | %.2f ms | %s |\n", layerName(compression), p.x, seconds(p.usage.cpu), seconds(p.usage.wall),
					p.usage.cpu.Seconds()*1000/p.x*scale, megabytes(p.usage.rss))
			}
		}
		out.WriteString("\n")
		for _, compression := range growthCompressions {
			points := c.points[compression]
			if len(points) < 3 {
				continue
			}
			var xs, cpu, wall []float64
			for _, p := range points {
				xs = append(xs, p.x)
				cpu = append(cpu, p.usage.cpu.Seconds()*1000)
				wall = append(wall, p.usage.wall.Seconds()*1000)
			}
			lc, lw := fit(xs, cpu), fit(xs, wall)
			fmt.Fprintf(&out, "- %s: CPU %.0f ms + %.2f ms per %s (R² %.4f), wall %.0f ms + %.2f ms (R² %.4f); peak RSS never over %s\n",
				layerName(compression), lc.a, lc.b*scale, unit, lc.r2, lw.a, lw.b*scale, lw.r2,
				megabytes(slices.MaxFunc(points, func(a, b point) int { return cmp.Compare(a.usage.rss, b.usage.rss) }).usage.rss))
		}
	}
	r.add("growth", out.String())
}

func layerName(compression string) string {
	if compression == "none" {
		return groupNone
	}
	return compression
}

// actions reports what one small action costs.
func (r *report) actions(names []string, totals []usage) {
	var out strings.Builder
	out.WriteString("| | CPU | wall |\n|---|--:|--:|\n")
	for i, u := range totals {
		fmt.Fprintf(&out, "| %s | %.2f ms | %.2f ms |\n", names[i], u.cpu.Seconds()*1000/actionRuns, u.wall.Seconds()*1000/actionRuns)
	}
	r.add("actions", out.String())
}

// profile reports where the CPU time goes.
func (r *report) profile(cases []profileCase) {
	var out strings.Builder
	for _, c := range cases {
		from := map[string]string{"none": ".nar", "zstd": ".nar.zst", "xz": ".nar.xz"}[c.cache]
		fmt.Fprintf(&out, "\n%s to %s:\n\n| CPU | |\n|--:|---|\n", from, cmp.Or(map[string]string{"none": "an uncompressed layer"}[c.compression], "a "+c.compression+" layer"))
		for _, e := range c.entries {
			fmt.Fprintf(&out, "| %s | `%s` |\n", e.flat, e.function)
		}
	}
	r.add("profile", out.String())
}
