// Command layer is the action binary behind store_layer: it turns the NARs of
// store paths into one layer blob and its digest file, in one pass.
//
// It is a binary of its own with few dependencies, because Bazel runs every
// layer's action again whenever its bytes change: what reads locks, plans or
// talks to registries stays out (TestDependencies says what may be in). All that it
// knows of layers is in package layer; here are the arguments, the inputs (files
// or URLs, read as they stream) and the outputs (whole or not at all).
package main

import "runtime/debug"

func main() {
	// A layer of a few kB comes to just over the 4 MB at which Go collects for the first time, which took a quarter of
	// its CPU time. Large layers leave hardly any garbage: their peak is the same.
	debug.SetGCPercent(200)
	program.Main()
}
