package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/rules-strata/rules_strata/tool/nar"
)

// emptyRule does what store_layer does as far as Bazel can see: one action for each target, with a NAR as its input, a
// parameter file and two outputs. Its program is touch.
const emptyRule = `def _empty_layer_impl(ctx):
    blob = ctx.actions.declare_file(ctx.label.name + ".tar.gz")
    digest_file = ctx.actions.declare_file(ctx.label.name + ".json")
    args = ctx.actions.args()
    args.add(blob)
    args.add(digest_file)
    ctx.actions.run(
        executable = "/usr/bin/touch",
        arguments = [args],
        inputs = [ctx.file.nar],
        outputs = [blob, digest_file],
        mnemonic = "Empty",
    )
    return [DefaultInfo(files = depset([blob, digest_file]))]

empty_layer = rule(
    implementation = _empty_layer_impl,
    attrs = {"nar": attr.label(allow_single_file = True)},
)
`

// actions measures builds of many layers of 1 kB next to as many actions that
// do nothing, by Bazel's two ways to start a process on this machine.
func (b *bench) actions(layers int) error {
	files := map[string][]byte{"empty.bzl": []byte(emptyRule)}
	build := bytes.NewBufferString(`load("@rules_strata//rules:store_layer.bzl", "store_layer")
load("@rules_strata//rules:store_path.bzl", "store_path")
load(":empty.bzl", "empty_layer")
`)
	var all, empty []string
	for i := range layers {
		text, err := smallNAR(i)
		if err != nil {
			return err
		}
		files[fmt.Sprintf("nar/%d.nar", i)] = text
		fmt.Fprintf(build, `
store_path(name = "path%[1]d", nar = "nar/%[1]d.nar", nar_hash = "sha256:%[2]x", nar_size = "%[3]d", path = "/nix/store/%032[1]d-small")
store_layer(name = "layer%[1]d", paths = ["path%[1]d"])
empty_layer(name = "empty%[1]d", nar = "nar/%[1]d.nar")
`, i, sha256.Sum256(text), len(text))
		all = append(all, fmt.Sprintf(`"layer%d"`, i))
		empty = append(empty, fmt.Sprintf(`"empty%d"`, i))
	}
	fmt.Fprintf(build, "\nfilegroup(name = \"layers\", srcs = [%s], output_group = \"digest_file\")\n", strings.Join(all, ", "))
	fmt.Fprintf(build, "filegroup(name = \"empty\", srcs = [%s])\n", strings.Join(empty, ", "))
	files["BUILD.bazel"] = build.Bytes()
	w, err := b.workspace("actions", "", files)
	if err != nil {
		return err
	}
	strategies := []string{"linux-sandbox", "local"}
	targets := []string{"//:empty", "//:layers"}
	times := map[string]timing{}
	for round := range b.rounds + 1 {
		for _, strategy := range strategies {
			for _, target := range targets {
				flags := []string{"--spawn_strategy=" + strategy, "--incompatible_strict_action_env", target}
				// All is loaded and analysed when the clock starts, and no output is there.
				if _, err := w.bazel("clean"); err != nil {
					return err
				}
				if _, err := w.bazel(buildFlags(append([]string{"--nobuild"}, flags...)...)...); err != nil {
					return err
				}
				took, err := w.bazel(buildFlags(flags...)...)
				if err != nil {
					return err
				}
				if round > 0 {
					times[strategy+target] = append(times[strategy+target], took)
				}
			}
		}
	}
	fmt.Printf("| %d actions | `touch` | layers, gzip | an action more |\n|---|--:|--:|--:|\n", layers)
	for _, strategy := range strategies {
		nothing, layer := times[strategy+targets[0]], times[strategy+targets[1]]
		fmt.Printf("| %s | %v | %v | %.2f ms |\n", strategy, nothing, layer, float64(layer.median()-nothing.median())/float64(time.Millisecond)/float64(layers))
	}
	alone, err := b.alone(w, layers)
	if err != nil {
		return err
	}
	fmt.Printf("\nThe layer tool by itself, one process after the other: %.2f ms\n", float64(alone)/float64(time.Millisecond)/float64(layers))
	return nil
}

// alone runs the layer tool as the actions do, without Bazel.
func (b *bench) alone(w *workspace, layers int) (time.Duration, error) {
	start := time.Now()
	for i := range layers {
		text, err := smallNAR(i)
		if err != nil {
			return 0, err
		}
		cmd := b.tool("layer",
			"--output="+filepath.Join(b.tmp, "blob"), "--digest-file="+filepath.Join(b.tmp, "digest-file"), "--compression=gzip",
			fmt.Sprintf("--store-path=/nix/store/%032d-small", i), fmt.Sprintf("--nar-hash=sha256:%x", sha256.Sum256(text)),
			fmt.Sprintf("--nar-size=%d", len(text)), "--nar-compression=none", "--nar="+filepath.Join(w.dir, fmt.Sprintf("nar/%d.nar", i)))
		if out, err := cmd.CombinedOutput(); err != nil {
			return 0, fmt.Errorf("layer: %w\n%s", err, out)
		}
	}
	return time.Since(start), nil
}

// smallNAR is a NAR with one file of 1,000 bytes.
func smallNAR(i int) ([]byte, error) {
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	if err := w.WriteEntry(&nar.Entry{Kind: nar.Regular, Size: 1000}); err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(w, "%01000d", i); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
