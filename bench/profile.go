package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// profileEntry is one line of `go tool pprof -top`.
type profileEntry struct {
	flat     string // share of the CPU time, such as "41.05%"
	function string
}

// profileCase is what the engine does, in one of the ways that are profiled.
type profileCase struct {
	cache, compression string
	entries            []profileEntry
}

// profileEntries is how many entries of a profile are reported.
const profileEntries = 8

// profile runs the engine in a child with Go's CPU profiler, once for each case.
func (b *bench) profile(ctx context.Context) error {
	cases := []profileCase{
		{cache: "none", compression: "none"},
		{cache: "zstd", compression: "none"},
		{cache: "xz", compression: "none"},
		{cache: "none", compression: "gzip"},
		{cache: "none", compression: "zstd"},
	}
	for i := range cases {
		c := &cases[i]
		file := filepath.Join(b.tmp, fmt.Sprintf("%s-%s.pprof", c.cache, c.compression))
		run := benchCase{group: "profile", name: c.cache + " to " + c.compression, run: func(ctx context.Context, dir string, u *usage) error {
			return u.run(ctx, b.self, "child", "engine", b.corpus.dir, c.cache, c.compression, filepath.Join(dir, "blob"), file)
		}}
		if _, err := b.once(ctx, run); err != nil {
			return fmt.Errorf("%s: %w", run, err)
		}
		out, err := exec.CommandContext(ctx, "go", "tool", "pprof", "-top", "-noinlines", b.self, file).Output()
		if err != nil {
			return fmt.Errorf("go tool pprof: %w", err)
		}
		c.entries = topEntries(string(out), profileEntries)
	}
	b.report.profile(cases)
	return nil
}

// topEntries reads the first n lines of pprof's table, without those of less than a percent:
//
//	flat  flat%   sum%        cum   cum%
//	1.07s 45.73% 45.73%      1.07s 45.73%  crypto/internal/fips140/sha256.blockSHANI
func topEntries(text string, n int) []profileEntry {
	var entries []profileEntry
	table := false
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 5 && fields[0] == "flat":
			table = true
		case table && len(fields) >= 6 && len(entries) < n:
			if strings.HasPrefix(fields[1], "0") { // 0% or 0.31%
				continue
			}
			function := strings.TrimSuffix(strings.Join(fields[5:], " "), " (inline)")
			entries = append(entries, profileEntry{flat: fields[1], function: function[strings.LastIndexByte(function, '/')+1:]})
		}
	}
	return entries
}
