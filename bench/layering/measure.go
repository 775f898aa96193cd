package main

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/rules-strata/rules_strata/tool/plan/replay"
)

// source is a history, as it is read.
type source struct {
	history string // the file's name without endings
	options replay.Options
}

// question is one replay; get answers it.
type question struct {
	source
	run replay.Run
}

type get func(question) replay.Result

type results map[question]replay.Result

func (r results) get(q question) replay.Result { return r[q] }

// measure answers all that ask asks, which is called once to hear it.
func measure(folder string, ask func(get)) (results, error) {
	asked := map[source]map[question]bool{}
	hear := func(q question) replay.Result {
		if asked[q.source] == nil {
			asked[q.source] = map[question]bool{}
		}
		asked[q.source][q] = true
		return replay.Result{}
	}
	ask(hear)
	out := results{}
	for _, s := range slices.SortedFunc(maps.Keys(asked), compareSources) {
		trace, err := replay.Read(filepath.Join(folder, s.history+".json.zst"), s.options)
		if err != nil {
			return nil, err
		}
		questions := slices.Collect(maps.Keys(asked[s]))
		answers := make([]replay.Result, len(questions))
		var group errgroup.Group
		group.SetLimit(runtime.GOMAXPROCS(0))
		for i, q := range questions {
			group.Go(func() (err error) {
				if answers[i], err = q.run.Replay(trace); err != nil {
					return fmt.Errorf("history %s, %+v: %w", s.history, q.run, err)
				}
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			return nil, err
		}
		for i, q := range questions {
			out[q] = answers[i]
		}
	}
	return out, nil
}

func compareSources(a, b source) int {
	return cmp.Or(cmp.Compare(a.history, b.history), cmp.Compare(a.options.Image, b.options.Image))
}
