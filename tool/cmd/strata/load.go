package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/rules-strata/rules_strata/tool/imagefile"
	"github.com/rules-strata/rules_strata/tool/load"
)

type loadFlags struct {
	image imageFlags
	place load.Place
	tags  []string
	json  bool

	podman []string
}

// loadJSON is what --json prints.
type loadJSON struct {
	// Runtime is "docker", "podman" or "containerd".
	Runtime string `json:"runtime"`
	// ID is what the runtime calls the image.
	ID string `json:"id"`
	// Digest is the manifest's.
	Digest string   `json:"digest"`
	Tags   []string `json:"tags"`
	// LayersSent and LayersThere are numbers of layers; BytesSent is the size of
	// the stream, or absent where the runtime took the files itself.
	LayersSent  int    `json:"layers_sent"`
	LayersThere int    `json:"layers_there"`
	BytesSent   *int64 `json:"bytes_sent,omitempty"`
	BytesThere  int64  `json:"bytes_there"`
}

func newLoadCommand() *cobra.Command {
	var f loadFlags
	c := &cobra.Command{
		Use:   "load IMAGE [run [OPTION]... [-- ARG...]]",
		Short: "Put an image into docker, podman or containerd",
		Long: `Loads an image into the container runtime that runs here, and prints its name.

Layers that the runtime has aren't sent again, and the archive is made as it is
sent: nothing is written to the disk. docker is spoken to by its socket
(DOCKER_HOST, or docker's current context), containerd by its command ctr, and
podman reads the blobs where they are. Of an index it is the image for this
machine's processor, unless --platform says another.

With "run", a container of the image is started: options go to the runtime's own
run command, what follows -- to the program.
` + imageArguments,
		Example: `  strata load web.tar
  strata load web.oci --tag web:dev --runtime podman
  strata load web.tar run --rm --publish 8080:8080 -- --verbose`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("want an image: an OCI layout or an archive")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, args)
		},
	}
	fl := c.Flags()
	fl.SetInterspersed(false) // What follows "run" is the runtime's.
	fl.StringArrayVarP(&f.tags, "tag", "t", nil, "a name `NAME[:TAG]` in place of the image's own; repeatable")
	fl.StringVar(&f.place.Runtime, "runtime", os.Getenv("STRATA_RUNTIME"), "which `RUNTIME`: "+strings.Join(load.Names(), ", ")+" (default: STRATA_RUNTIME, or the first of these that answers)")
	fl.StringVar(&f.place.Host, "host", "", "docker's `URL` (default: as docker itself finds it)")
	fl.StringVar(&f.place.Address, "address", "", "containerd's `SOCKET` (default: CONTAINERD_ADDRESS, or the usual one)")
	fl.StringVar(&f.place.Namespace, "namespace", "", "containerd's `NAMESPACE` (default: CONTAINERD_NAMESPACE, or default)")
	fl.StringArrayVar(&f.podman, "podman-option", nil, "a global `OPTION` of podman's; repeatable")
	fl.BoolVar(&f.json, "json", false, "print what was done as JSON")
	f.image.register(fl)
	return c
}

func (f *loadFlags) run(cmd *cobra.Command, args []string) error {
	path, rest := args[0], args[1:]
	if len(rest) > 0 && rest[0] != "run" { // Flags behind the image are flags all the same.
		if err := cmd.Flags().Parse(rest); err != nil {
			return &usageError{err}
		}
		if help, err := cmd.Flags().GetBool("help"); err == nil && help {
			return cmd.Help()
		}
		if rest = cmd.Flags().Args(); len(rest) > 0 && rest[0] != "run" {
			return usagef("behind the image want flags, or run; found %q", rest[0])
		}
	}
	if len(f.podman) > 0 {
		f.place.Podman = append([]string{"podman"}, f.podman...)
	}
	if f.place.Runtime != "" && !slices.Contains(load.Names(), f.place.Runtime) {
		return usagef("--runtime: want one of %s, found %q", strings.Join(load.Names(), ", "), f.place.Runtime)
	}
	f.image.forHere = true
	file, names, err := f.image.openNamed(cmd, path, f.tags)
	if err != nil {
		return err
	}
	defer file.Close()
	runtime, err := load.Find(cmd.Context(), f.place)
	if err != nil {
		return stopped(cmd.Context(), err)
	}
	progress := newProgress(cmd)
	progress.show("%s: asking what it has", runtime)
	r, err := runtime.Load(cmd.Context(), file.Image, names, load.Options{Progress: func(sent int64) {
		progress.show("%s: %s sent", runtime, formatBytes(sent))
	}})
	progress.clear()
	if err != nil {
		return stopped(cmd.Context(), err)
	}
	progress.say("%s: %s in %s", runtime, sentText(r), progress.elapsed())
	name := r.ID
	if len(names) > 0 {
		name = names[0]
	}
	if len(rest) > 0 {
		file.Close()
		return runImage(runtime, name, rest[1:])
	}
	return f.print(cmd.OutOrStdout(), runtime, file.Image, names, r)
}

func (f *loadFlags) print(w io.Writer, runtime load.Runtime, img *imagefile.Image, names []string, r *load.Result) error {
	switch {
	case f.json:
		out := loadJSON{
			Runtime: runtime.Name(), ID: r.ID, Digest: img.Descriptor.Digest.String(), Tags: append([]string{}, names...),
			LayersSent: r.LayersSent, LayersThere: r.LayersThere, BytesThere: r.BytesThere,
		}
		if r.BytesSent >= 0 {
			out.BytesSent = &r.BytesSent
		}
		return writeJSON(w, out)
	case len(names) == 0:
		_, err := fmt.Fprintln(w, r.ID)
		return err
	}
	for _, n := range names {
		if _, err := fmt.Fprintln(w, familiar(n)); err != nil {
			return err
		}
	}
	return nil
}

func sentText(r *load.Result) string {
	switch {
	case r.LayersSent == 0 && r.BytesSent == 0:
		return "it has the image already"
	case r.BytesSent < 0:
		return fmt.Sprintf("it read the %d layers", r.LayersSent)
	}
	return fmt.Sprintf("%d layers sent (%s), %d were there (%s)", r.LayersSent, formatBytes(r.BytesSent), r.LayersThere, formatBytes(r.BytesThere))
}

// runImage becomes the runtime's run command, so that terminal, signals and exit code are its.
func runImage(runtime load.Runtime, image string, args []string) error {
	options := args
	args = nil
	if i := slices.Index(options, "--"); i >= 0 {
		options, args = options[:i], options[i+1:]
	}
	line, err := runtime.RunCommand(image, options, args)
	if err != nil {
		return err
	}
	program, err := exec.LookPath(line[0])
	if err != nil {
		return &hinted{err, "the image is loaded; to start it, the command " + line[0] + " has to be on the PATH"}
	}
	return fmt.Errorf("%s: %w", program, syscall.Exec(program, line, os.Environ()))
}
