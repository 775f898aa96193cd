package main

import (
	"fmt"
	"strings"
)

// target is something the layer tool shall hold, and what was measured.
type target struct {
	what   string
	most   bool // bound is the most that measured may be, not the least
	bound  float64
	result float64 // measured
	// possible is the best that the same comparison could give on this machine, 0 if that isn't known: the
	// result of a program that does nothing but what has to be done for NarHash and diff ID.
	possible float64
}

func (t target) met() bool {
	if t.most {
		return t.result <= t.bound
	}
	return t.result >= t.bound
}

// targets computes what was aimed at, as far as the cases that it needs were run.
func targets(results map[string]usage) []target {
	var list []target
	// Each is computed of CPU or wall seconds or sizes; a case that wasn't run makes it be left out.
	var gone bool
	find := func(group, name string) usage {
		u, ok := results[group+": "+name]
		gone = gone || !ok
		return u
	}
	add := func(what string, most bool, bound, result float64) {
		if !gone {
			list = append(list, target{what: what, most: most, bound: bound, result: result})
		}
		gone = false
	}
	cpu := func(group, name string) float64 { return find(group, name).cpu.Seconds() }
	wall := func(group, name string) float64 { return find(group, name).wall.Seconds() }
	size := func(group, name string) float64 { return float64(find(group, name).size) }

	plain := func() float64 { return cpu(groupNone, strataCase) }
	sha := func() float64 { return cpu(groupLimits, limitSHA256) }
	floor := func() float64 { return 2*sha() + cpu(groupLimits, limitCopy) }
	add("uncompressed: CPU, to two SHA-256 passes and a copy", true, 1.25, plain()/floor())
	for _, other := range []struct {
		name  string
		times float64
	}{{seedScript, 6}, {nix2container, 2.2}} {
		before := len(list)
		add("uncompressed: CPU of "+other.name+", to strata's", false, other.times, cpu(groupNone, other.name)/plain())
		for i := range list[before:] {
			list[before+i].possible = cpu(groupNone, other.name) / floor()
		}
	}
	add("uncompressed, output thrown away: wall of one SHA-256 pass, to the engine's", false, 0.85, wall(groupLimits, limitSHA256)/wall(groupLimits, limitDiscard))
	for _, group := range []string{groupGzip, groupZstd} {
		encoder := limitGzip
		if group == groupZstd {
			encoder = limitZstd
		}
		// NarHash and diff ID over all bytes, the digest over the compressed ones.
		hashes := sha() * (2 + size(group, strataCase)/size(groupNone, strataCase))
		add(group+": CPU, to the encoder alone and the hashes", true, 1.10, cpu(group, strataCase)/(cpu(groupLimits, encoder)+hashes))
		add(group+": wall on one core, to all cores", false, 1.7, wall(group, oneCore)/wall(group, strataCase))
	}
	add("gzip: size, to umoci's", true, 1, size(groupGzip, strataCase)/size(groupGzip, umoci))
	add("gzip: CPU, to umoci's", true, 0.65, cpu(groupGzip, strataCase)/cpu(groupGzip, umoci))
	add("zstd: size, to zstd -3's", true, 1, size(groupZstd, strataCase)/size(groupZstd, tarZstd))
	add("zstd: CPU, to tar \\| zstd -3 with a SHA-256 pass for NarHash", true, 0.7, cpu(groupZstd, strataCase)/(cpu(groupZstd, tarZstd)+sha()))
	add("from xz, uncompressed: CPU, to the decoder alone and the rest", true, 1.10, cpu(groupNone, fromXz)/(cpu(groupLimits, limitXz)+plain()))
	add("from xz, uncompressed: CPU, to xz -dc and the rest", true, 1, cpu(groupNone, fromXz)/(cpu(groupLimits, limitXzC)+plain()))
	add("from xz, uncompressed: wall on one core, to all cores", false, 1.8, wall(groupNone, fromXzOneCore)/wall(groupNone, fromXz))

	var rss int64
	for name, u := range results {
		if _, c, _ := strings.Cut(name, ": "); strings.HasPrefix(c, strataCase) {
			rss = max(rss, u.rss)
		}
	}
	add("peak RSS of the layer tool in all of these, MB", true, 64, float64(rss)/1e6)
	return list
}

func targetTable(list []target) string {
	var out strings.Builder
	out.WriteString("| | wanted | measured | |\n|---|--:|--:|---|\n")
	for _, t := range list {
		sign, met := "≥", "met"
		if t.most {
			sign = "≤"
		}
		if !t.met() {
			met = "**missed**"
		}
		if t.possible > 0 {
			met += fmt.Sprintf("; two SHA-256 passes and a copy alone: %.2f", t.possible)
		}
		fmt.Fprintf(&out, "| %s | %s %.2f | %.3f | %s |\n", t.what, sign, t.bound, t.result, met)
	}
	return out.String()
}
