package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/rules-strata/rules_strata/tool/flatten"
)

type exportFlags struct {
	image  imageFlags
	output string
}

func newExportCommand() *cobra.Command {
	var f exportFlags
	c := &cobra.Command{
		Use:   "export IMAGE",
		Short: "Write an image's root file system as one tar",
		Long: `Writes what a container of the image would find below /, as one tar: all layers
with what upper ones replace and remove in lower ones. Owners, modes, times, hard
links and extended attributes stay.

Nothing is unpacked; each layer is read two times. Memory grows with the number of
paths in the image, about 300 bytes each.
` + imageArguments,
		Example: `  strata export web.tar -o rootfs.tar
  strata export web.oci | tar -x -C /var/lib/machines/web`,
		Args: oneArgument("image"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, args[0])
		},
	}
	fl := c.Flags()
	fl.StringVarP(&f.output, "output", "o", "-", "the `FILE` to write, - for standard output")
	f.image.register(fl)
	return c
}

func (f *exportFlags) run(cmd *cobra.Command, path string) error {
	file, err := f.image.open(cmd, path)
	if err != nil {
		return err
	}
	defer file.Close()
	var layers []flatten.Layer
	for _, l := range file.Image.Layers {
		layers = append(layers, l.Uncompressed)
	}
	return stopped(cmd.Context(), writeOutput(cmd, f.output, func(w io.Writer) error {
		return flatten.Write(cmd.Context(), w, layers)
	}))
}
