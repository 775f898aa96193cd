package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rules-strata/rules_strata/tool/atomicfile"
	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/layeredimage"
)

type streamFlags struct {
	image  imageFlags
	tags   []string
	output string
	store  string
}

func newStreamCommand() *cobra.Command {
	var f streamFlags
	c := &cobra.Command{
		Use:   "stream IMAGE|CONF",
		Short: "Write an image as an archive to standard output",
		Long: `Writes an image as the archive that docker load, podman load, ctr images import
and skopeo take. Nothing is written to the disk, but for what comes from a registry,
and every layer's digest is checked as it passes.

CONF is the JSON that nixpkgs' dockerTools.streamLayeredImage gives to its
stream_layered_image.py: strata stream makes the same image of the same store, as
a docker archive. Every file is read once.
` + imageArguments,
		Example: `  strata stream web.oci | docker load
  strata stream conf.json | docker load
  strata stream web.oci --tag web:dev | ssh host podman load
  strata stream bazel-bin/app/image.layout | ctr images import -`,
		Args: oneArgument("image or conf.json"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, args[0])
		},
	}
	fl := c.Flags()
	fl.StringArrayVarP(&f.tags, "tag", "t", nil, "a name `NAME[:TAG]` in place of the image's own; repeatable")
	fl.StringVarP(&f.output, "output", "o", "-", "the `FILE` to write, - for standard output")
	fl.StringVar(&f.store, "store", "", "of a CONF: the `DIR` that the store paths are in (default: what it says, such as /nix/store)")
	f.image.register(fl)
	// As stream_layered_image.py calls it.
	fl.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "repo_tag" {
			name = "tag"
		}
		return pflag.NormalizedName(name)
	})
	return c
}

func (f *streamFlags) run(cmd *cobra.Command, path string) error {
	if c, err := readConf(path); c != nil || err != nil {
		if err != nil {
			return err
		}
		return f.runConf(cmd, c)
	}
	if f.store != "" {
		return usagef("--store is for a CONF; %s is none", path)
	}
	file, names, err := f.image.openNamed(cmd, path, f.tags)
	if err != nil {
		return err
	}
	defer file.Close()
	err = writeOutput(cmd, f.output, func(w io.Writer) error {
		return image.WriteArchive(cmd.Context(), w, file.Image.Built(), file.Image.Blobs(), names)
	})
	return stopped(cmd.Context(), err)
}

// writeOutput has write write to a file, which appears whole or not at all, or
// to standard output for "-".
func writeOutput(cmd *cobra.Command, output string, write func(io.Writer) error) error {
	to := cmd.OutOrStdout()
	var file *atomicfile.File
	if output == "-" {
		if err := notTerminal(cmd); err != nil {
			return err
		}
	} else {
		var err error
		if file, err = atomicfile.Create(output); err != nil {
			return err
		}
		defer file.Abort()
		to = file
	}
	progress := newProgress(cmd)
	counted := &countingWriter{w: to, tell: func(n int64) { progress.show("%s written", formatBytes(n)) }}
	buffered := bufio.NewWriterSize(counted, 1<<20)
	err := write(buffered)
	if err == nil {
		err = buffered.Flush()
	}
	progress.clear()
	if err == nil && file != nil {
		err = file.Commit()
	}
	if err == nil {
		progress.say("%s written in %s: %s", outputName(output), progress.elapsed(), formatBytes(counted.n))
	}
	return err
}

// outputName is what people call an output.
func outputName(output string) string {
	if output == "-" {
		return "standard output"
	}
	return output
}

// countingWriter counts what passes, and tells.
type countingWriter struct {
	w    io.Writer
	n    int64
	tell func(int64)
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	c.tell(c.n)
	return n, err
}

// readConf reads the file at path if it is a document of dockerTools' streamLayeredImage; else nil.
func readConf(path string) (*layeredimage.Conf, error) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() && info.Mode()&fs.ModeNamedPipe == 0 {
		return nil, nil // What is wrong with it, who reads images says.
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	in := bufio.NewReader(f)
	if first, err := in.Peek(1); err != nil || first[0] != '{' {
		return nil, nil
	}
	b, err := io.ReadAll(io.LimitReader(in, layeredimage.MaxConfSize+1))
	if err != nil {
		return nil, err
	}
	var looks struct {
		StoreLayers json.RawMessage `json:"store_layers"`
	}
	if json.Unmarshal(b, &looks) != nil || looks.StoreLayers == nil {
		return nil, nil
	}
	c, err := layeredimage.Parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// runConf makes the image that c describes.
func (f *streamFlags) runConf(cmd *cobra.Command, c *layeredimage.Conf) error {
	o := layeredimage.Options{Now: time.Now(), Tags: f.tags}
	if f.store != "" {
		root, err := os.OpenRoot(f.store)
		if err != nil {
			return fmt.Errorf("--store: %w", err)
		}
		defer root.Close()
		o.Store = root
	}
	return stopped(cmd.Context(), writeOutput(cmd, f.output, func(w io.Writer) error {
		return layeredimage.Stream(cmd.Context(), w, c, o)
	}))
}
