package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/lock"
)

// version is the release; MODULE.bazel says the same.
const version = "0.1.0"

func userAgent() string { return "strata/" + version }

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Say which strata this is, and which formats it writes",
		Long: `Prints the release, the version of the layers' format and that of the lock.
Releases with the same layer format make the same layers, bit for bit.`,
		Example: "  strata version",
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "strata %s (layer format %d, lock version %d, %s, %s/%s)\n",
				version, digestfile.FormatVersion, lock.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
