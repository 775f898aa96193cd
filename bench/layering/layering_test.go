package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/bench/section"
	"github.com/rules-strata/rules_strata/tool/plan"
	"github.com/rules-strata/rules_strata/tool/plan/replay"
)

// The document has a place for every table, and the numbers of the smallest history in it are what the planner does today.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "layering.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range tables(func(question) replay.Result { return replay.Result{} }) {
		if _, err := (section.Section{Name: s.Name}).Replace(string(text)); err != nil {
			t.Error(err)
		}
	}
	results, err := measure(filepath.Join("..", "..", "testdata", "layering"), func(of get) { updateTable(of, "solo") })
	if err != nil {
		t.Fatal(err)
	}
	if want := updateTable(results.get, "solo"); !strings.Contains(string(text), want) {
		t.Errorf("docs/layering.md hasn't got the table below: run go run ./bench/layering -update, and look at what became worse\n%s", want)
	}
}

// fixed answers by strategy alone.
func fixed(q question) replay.Result {
	r := map[string]float64{plan.Fleet: 1.1, plan.Auto: 1.2, plan.Size: 1.4, plan.Nixery: 2, plan.Popularity: 9, plan.Single: 3}[q.run.Strategy]
	return replay.Result{Update: r, FirstPull: 1}
}

func TestTables(t *testing.T) {
	for name, want := range map[string]string{
		"update": "| `size` | 1.400 (1.00) | 1.400 (1.00) |",
		"excess": "| `solo` | 0.50 | 0.50 | 0.50 | 0.50 | 0.50 | 0.50 |\n",
		"fifth":  "| `nixery` | 2.000 | 2.000 | 2.000 | 2.000 | 2.000 | 2.000 |\n",
		"alone":  "| `solo`: solo | 1.100; 1.200 auto |",
	} {
		found := false
		for _, s := range tables(fixed) {
			found = found || s.Name == name && strings.Contains(s.Text, want)
		}
		if !found {
			t.Errorf("no table %s with %q", name, want)
		}
	}
}

// The chart is XML, has a line for each strategy, and no name on another.
func TestDraw(t *testing.T) {
	all := lines(fixed)
	all[1].ratios[0] = all[0].ratios[0]
	svg, err := draw(all)
	if err != nil {
		t.Fatal(err)
	}
	drawn := 0
	ys := map[string]bool{}
	for d := xml.NewDecoder(strings.NewReader(string(svg))); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		start, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		at := map[string]string{}
		for _, a := range start.Attr {
			at[a.Name.Local] = a.Value
		}
		if start.Name.Local == "polyline" {
			drawn++
			if n := len(strings.Fields(at["points"])); n != len(limits) {
				t.Errorf("a line of %d points: want %d", n, len(limits))
			}
		}
		if strings.HasSuffix(at["class"], " name") {
			if ys[at["y"]] {
				t.Errorf("two names at y=%s", at["y"])
			}
			ys[at["y"]] = true
		}
	}
	if drawn != len(all) || len(ys) != len(all) {
		t.Errorf("%d lines with %d names: want %d", drawn, len(ys), len(all))
	}
}
