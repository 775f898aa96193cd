// Command layering replays the histories of updates in testdata/layering with every
// strategy of tool/plan, and prints how many bytes each would have sent: Markdown tables, and a chart.
//
//	go run ./bench/layering            prints them; some four minutes of CPU time
//	go run ./bench/layering -update    writes them into docs/layering.md and docs/layering.svg
//
// Nothing is timed: the numbers are the same on every machine.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rules-strata/rules_strata/bench/section"
)

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench: error:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("bench/layering", flag.ContinueOnError)
	histories := flags.String("histories", filepath.Join("testdata", "layering"), "the `folder` of the histories")
	update := flags.Bool("update", false, "write the tables into docs/layering.md, and the chart into docs/layering.svg")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q: want options only", flags.Arg(0))
	}
	results, err := measure(*histories, func(of get) {
		tables(of)
		lines(of)
	})
	if err != nil {
		return err
	}
	sections := tables(results.get)
	chart, err := draw(lines(results.get))
	if err != nil {
		return err
	}
	fmt.Print(section.Markdown(sections))
	if !*update {
		return nil
	}
	if err := section.Update(filepath.Join("docs", "layering.md"), sections); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join("docs", "layering.svg"), chart, 0o644)
}
