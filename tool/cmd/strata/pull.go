package main

import (
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/registry"
)

type pullFlags struct {
	registryFlags
	output   string
	platform string
	shallow  bool
	resolve  bool
}

func newPullCommand() *cobra.Command {
	var f pullFlags
	c := &cobra.Command{
		Use:   "pull [REGISTRY/]REPOSITORY[:TAG|@DIGEST]",
		Short: "Fetch an image from a registry, with or without its layers",
		Long: `Fetches an image, or an index with all its images, into an OCI image layout. Every byte is checked
against its digest; a transfer that breaks goes on where it broke.

With --shallow the layers stay where they are: manifests and configs are all that
it takes to build on an image, and strata push takes the layers from where they are, or mounts them. Pulling
whole into a shallow layout adds the layers.

The reference with the digest is printed to standard output: it is what to write into a build file,
where a tag may come to mean another image. On any error a layout that wasn't there isn't there.`,
		Example: `  strata pull debian:12-slim --platform linux/amd64 --shallow -o debian.oci
  strata pull registry.example.org/team/base@sha256:… -o base.oci
  strata pull debian:12-slim --platform linux/arm64 --resolve`,
		Args: oneArgument("reference"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, args[0])
		},
	}
	fl := c.Flags()
	fl.StringVarP(&f.output, "output", "o", "", "the layout's `DIR` (default: the repository's last component, with .oci)")
	fl.StringVar(&f.platform, "platform", "", "the image of an index for `OS/ARCH[/VARIANT]` (default: all of the index)")
	fl.BoolVar(&f.shallow, "shallow", false, "leave the layers where they are")
	fl.BoolVar(&f.resolve, "resolve", false, "fetch nothing but the manifest, write nothing, and print the reference with the digest")
	f.registryFlags.register(fl)
	return c
}

func (f *pullFlags) run(cmd *cobra.Command, reference string) error {
	ctx := cmd.Context()
	var platform *ocispec.Platform
	if f.platform != "" {
		var err error
		if platform, err = image.ParsePlatform(f.platform); err != nil {
			return usagef("--platform: %w", err)
		}
	}
	if f.resolve && (f.output != "" || f.shallow) {
		return usagef("--resolve writes nothing: leave out --output and --shallow")
	}
	credentials, err := fetch.NewCredentials(f.network.helpers...)
	if err != nil {
		return err
	}
	t := newTransfer(newConsole(cmd))
	client, err := f.client(credentials, t, 0)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	ref, err := client.Reference(reference)
	if err != nil {
		return &usageError{err}
	}
	repo := ref.Context()
	if f.resolve {
		d, err := client.Resolve(ctx, ref, platform)
		if err != nil {
			return ended(ctx, t, err)
		}
		if f.json {
			return writeJSON(cmd.OutOrStdout(), pullJSON{Reference: familiarName(repo) + "@" + d.Digest.String(), Digest: d.Digest.String()})
		}
		return printLines(cmd.OutOrStdout(), []string{familiarName(repo) + "@" + d.Digest.String()})
	}
	dir := f.output
	if dir == "" {
		path := repo.RepositoryStr()
		dir = path[strings.LastIndexByte(path, '/')+1:] + ".oci"
	}
	pulled, err := client.Pull(ctx, registry.Pull{Reference: ref, Platform: platform, Shallow: f.shallow, Dir: dir})
	if err != nil {
		return ended(ctx, t, err)
	}
	all := tallies(pulled.Blobs)
	t.end("pulled into %s in %s: %v received, %v there, %v left where they are", dir, t.elapsed(),
		of(all, registry.Received), of(all, registry.There), of(all, registry.Absent))
	whole := familiarName(repo) + "@" + pulled.Root.Digest.String()
	if f.json {
		out := pullJSON{
			Reference: whole, Digest: pulled.Root.Digest.String(), Index: pulled.Index.String(), Output: dir,
			Received: of(all, registry.Received), There: of(all, registry.There), Absent: of(all, registry.Absent),
		}
		if tag, ok := ref.(name.Tag); ok {
			out.Tag = tag.TagStr()
		}
		return writeJSON(cmd.OutOrStdout(), out)
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), whole)
	return err
}

// pullJSON is what --json prints.
type pullJSON struct {
	Reference string `json:"reference"`
	Digest    string `json:"digest"`
	Tag       string `json:"tag,omitempty"`
	Index     string `json:"index,omitempty"`
	Output    string `json:"output,omitempty"`
	Received  tally  `json:"received"`
	There     tally  `json:"there"`
	Absent    tally  `json:"absent"`
}
