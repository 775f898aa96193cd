package main

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/rules-strata/rules_strata/bench/section"
	"github.com/rules-strata/rules_strata/tool/plan"
	"github.com/rules-strata/rules_strata/tool/plan/replay"
)

var (
	histories = []string{"train", "train-staging", "train-app", "services", "services-app", "solo"}
	limits    = []int{8, 16, 24, 40, 60, 100}
	// others are the strategies that fleet is compared with. one-per-path isn't: there are more paths than layers.
	others = []string{plan.Auto, plan.Size, plan.Nixery, plan.Popularity}
	// alone are images that are planned alone, by history.
	alone = []source{
		{"train", replay.Options{Image: "web"}},
		{"train", replay.Options{Image: "db"}},
		{"train", replay.Options{Image: "py"}},
		{"train", replay.Options{Image: "node"}},
		{"train", replay.Options{Image: "git"}},
		{"train", replay.Options{Image: "build"}},
		{"train", replay.Options{Image: "proxy"}},
		{"train", replay.Options{Image: "mon"}},
		{"services", replay.Options{Image: "maria"}},
		{"services", replay.Options{Image: "ssh"}},
		{"services", replay.Options{Image: "rust"}},
		{"solo", replay.Options{Image: "solo"}},
	}
)

// usual is the limit of tables that show only one.
const usual = 24

// updates asks for a history's result with one strategy.
func updates(history, strategy string, maxLayers int) question {
	return question{source{history: history}, replay.Run{Strategy: strategy, MaxLayers: maxLayers}}
}

func tables(of get) []section.Section {
	return []section.Section{
		{Name: "update", Text: updateTables(of)},
		{Name: "excess", Text: excessTable(of)},
		{Name: "app", Text: appTable(of)},
		{Name: "fifth", Text: byHistory(of, func(q question) question {
			q.run.PullEvery = 5
			return q
		})},
		{Name: "flat", Text: byHistory(of, func(q question) question {
			q.options.Flat = true
			return q
		})},
		{Name: "forget", Text: forgetTable(of)},
		{Name: "alone", Text: aloneTable(of)},
	}
}

// updateTables show every history, strategy and limit.
func updateTables(of get) string {
	var out strings.Builder
	for _, h := range histories {
		fmt.Fprintf(&out, "\n`%s`:\n\n%s", h, updateTable(of, h))
	}
	return out.String()
}

func updateTable(of get, history string) string {
	var out strings.Builder
	t := newTable(&out, "", limitNames()...)
	for _, s := range slices.Concat([]string{plan.Fleet}, others, []string{plan.Single}) {
		cells := make([]string, len(limits))
		for i, k := range limits {
			r := of(updates(history, s, k))
			cells[i] = fmt.Sprintf("%s (%.2f)", ratio(r.Update), r.FirstPull)
		}
		t.row("`"+s+"`", cells...)
	}
	return out.String()
}

// excessTable shows what fleet sends more than must be, as a part of what the best other does.
func excessTable(of get) string {
	var out strings.Builder
	t := newTable(&out, "", limitNames()...)
	for _, h := range histories {
		cells := make([]string, len(limits))
		for i, k := range limits {
			_, best := bestOther(of, updates(h, "", k))
			mine := of(updates(h, plan.Fleet, k)).Update
			cells[i] = "–"
			if best-1 >= 0.0005 {
				cells[i] = fmt.Sprintf("%.2f", (mine-1)/(best-1))
			}
		}
		t.row("`"+h+"`", cells...)
	}
	return out.String()
}

// appTable shows the histories with an application on top of each image.
func appTable(of get) string {
	var out strings.Builder
	var columns []string
	for _, h := range []string{"train-app", "services-app"} {
		columns = append(columns, "`"+h+"`: application alone", "packages", "all")
	}
	t := newTable(&out, "", columns...)
	for _, s := range slices.Concat([]string{plan.Fleet}, others) {
		var cells []string
		for _, h := range []string{"train-app", "services-app"} {
			r := of(updates(h, s, usual))
			cells = append(cells, ratio(r.App), ratio(r.Packages), ratio(r.Update))
		}
		t.row("`"+s+"`", cells...)
	}
	return out.String()
}

// byHistory shows all histories at the usual limit, each asked in another way.
func byHistory(of get, change func(question) question) string {
	var out strings.Builder
	columns := make([]string, len(histories))
	for i, h := range histories {
		columns[i] = "`" + h + "`"
	}
	t := newTable(&out, "", columns...)
	for _, s := range slices.Concat([]string{plan.Fleet}, others) {
		cells := make([]string, len(histories))
		for i, h := range histories {
			cells[i] = ratio(of(change(updates(h, s, usual))).Update)
		}
		t.row("`"+s+"`", cells...)
	}
	return out.String()
}

// forgetTable shows a fleet whose every plan is made without the one before, next to the best other.
func forgetTable(of get) string {
	var out strings.Builder
	t := newTable(&out, "", limitNames()...)
	for _, h := range histories {
		t.row("`"+h+"`", forgetful(of, source{history: h})...)
	}
	return out.String()
}

// aloneTable shows the same of single images.
func aloneTable(of get) string {
	var out strings.Builder
	t := newTable(&out, "", limitNames()...)
	for _, s := range alone {
		t.row("`"+s.history+"`: "+s.options.Image, forgetful(of, s)...)
	}
	return out.String()
}

func forgetful(of get, s source) []string {
	cells := make([]string, len(limits))
	for i, k := range limits {
		q := question{s, replay.Run{Strategy: plan.Fleet, MaxLayers: k, Forget: true}}
		mine := of(q).Update
		q.run.Forget = false
		name, best := bestOther(of, q)
		cells[i] = fmt.Sprintf("%s; %s %s", ratio(mine), ratio(best), name)
	}
	return cells
}

// bestOther returns which of the others sends least, and its ratio.
func bestOther(of get, q question) (name string, update float64) {
	update = math.Inf(1)
	for _, s := range others {
		q.run.Strategy = s
		if r := of(q).Update; r < update {
			name, update = s, r
		}
	}
	return name, update
}

func ratio(r float64) string { return fmt.Sprintf("%.3f", r) }

func limitNames() []string {
	out := make([]string, len(limits))
	for i, k := range limits {
		out[i] = fmt.Sprintf("K=%d", k)
	}
	return out
}

// table writes a Markdown table.
type table struct{ out *strings.Builder }

func newTable(out *strings.Builder, first string, columns ...string) table {
	t := table{out}
	t.row(first, columns...)
	t.out.WriteString("|---|" + strings.Repeat("--:|", len(columns)) + "\n")
	return t
}

func (t table) row(first string, cells ...string) {
	t.out.WriteString("| " + first + " | " + strings.Join(cells, " | ") + " |\n")
}
