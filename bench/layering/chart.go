package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"math"
	"slices"
	"text/template"

	"github.com/rules-strata/rules_strata/tool/plan"
)

// charted is the history that the chart shows.
const charted = "train"

// line is a strategy's update ratios, by limit.
type line struct {
	name   string
	ratios []float64
}

func lines(of get) []line {
	var out []line
	for _, s := range slices.Concat([]string{plan.Fleet}, others) {
		l := line{name: s}
		for _, k := range limits {
			l.ratios = append(l.ratios, of(updates(charted, s, k)).Update)
		}
		out = append(out, l)
	}
	return out
}

// The chart's measures, in pixels. Names stand left of their lines, the scale right of them.
const (
	left, right = 100.0, 640.0
	top, bottom = 40.0, 380.0
	lineHeight  = 16.0
	lowest      = 1.0
	highest     = 3.0
)

//go:embed chart.svg.tmpl
var chartText string

var chartTemplate = template.Must(template.New("chart").Parse(chartText))

type (
	chartView struct {
		History                  string
		Left, Right, Top, Bottom float64
		Lines                    []lineView
		Across                   []tickView // of ratios
		Along                    []tickView // of limits
	}
	lineView struct {
		Name, Points string
		Class        int
		LabelY       float64
		Dots         []dotView
	}
	dotView  struct{ X, Y float64 }
	tickView struct {
		At   float64
		Text string
	}
)

// draw writes lines as an SVG, which is as readable on dark ground as on light.
func draw(lines []line) ([]byte, error) {
	v := chartView{History: charted, Left: left, Right: right, Top: top, Bottom: bottom}
	for i, l := range lines {
		lv := lineView{Name: l.name, Class: i}
		for j, r := range l.ratios {
			d := dotView{along(limits[j]), across(r)}
			lv.Points += fmt.Sprintf("%.1f,%.1f ", d.X, d.Y)
			lv.Dots = append(lv.Dots, d)
		}
		lv.LabelY = lv.Dots[0].Y
		v.Lines = append(v.Lines, lv)
	}
	// Names must not lie on each other: from the lowest line up, each at least a line's height above the last.
	order := make([]*lineView, len(v.Lines))
	for i := range v.Lines {
		order[i] = &v.Lines[i]
	}
	slices.SortStableFunc(order, func(a, b *lineView) int { return int(math.Copysign(1, b.LabelY-a.LabelY)) })
	for i, l := range order[1:] {
		l.LabelY = min(l.LabelY, order[i].LabelY-lineHeight)
	}
	for r := lowest; r < highest+0.01; r += 0.25 {
		v.Across = append(v.Across, tickView{across(r), fmt.Sprintf("%.2f", r)})
	}
	for _, k := range limits {
		v.Along = append(v.Along, tickView{along(k), fmt.Sprint(k)})
	}
	var b bytes.Buffer
	err := chartTemplate.Execute(&b, v)
	return b.Bytes(), err
}

// along is where a limit lies: by its logarithm.
func along(limit int) float64 {
	first, last := math.Log(float64(limits[0])), math.Log(float64(limits[len(limits)-1]))
	return left + (math.Log(float64(limit))-first)/(last-first)*(right-left)
}

// across is where a ratio lies; one above the scale lies at its top.
func across(r float64) float64 {
	return bottom - (min(r, highest)-lowest)/(highest-lowest)*(bottom-top)
}
