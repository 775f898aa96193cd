package main

import (
	"archive/tar"
	"bufio"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rules-strata/rules_strata/tool/flatten"
)

type lsFlags struct {
	image     imageFlags
	recursive bool
	json      bool
}

// lsJSON is what --json prints of each entry, one a line.
type lsJSON struct {
	Name string `json:"name"`
	// Type is "file", "dir", "symlink", "hardlink", "char", "block" or "fifo".
	Type   string `json:"type"`
	Mode   string `json:"mode"` // in octal
	UID    int    `json:"uid"`
	GID    int    `json:"gid"`
	Size   int64  `json:"size"`
	Target string `json:"target,omitempty"`
}

var lsTypes = map[byte]string{
	tar.TypeReg: "file", tar.TypeDir: "dir", tar.TypeSymlink: "symlink", tar.TypeLink: "hardlink",
	tar.TypeChar: "char", tar.TypeBlock: "block", tar.TypeFifo: "fifo",
}

func newLsCommand() *cobra.Command {
	var f lsFlags
	c := &cobra.Command{
		Use:   "ls IMAGE [PATH]",
		Short: "List the files of an image",
		Long: `Lists what a container of the image finds in the directory PATH (/ if none is
given), or, with --recursive, below it: mode, owner, size and name. Symlinks on the
way to PATH aren't followed.
` + imageArguments,
		Example: `  strata ls web.tar /nix/store
  strata ls web.oci -r --json | jq -r 'select(.mode == "4755") | .name'`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 && len(args) != 2 {
				return usagef("want an image and at most one path, found %d arguments", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, args)
		},
	}
	fl := c.Flags()
	fl.BoolVarP(&f.recursive, "recursive", "r", false, "all that is below the path")
	fl.BoolVar(&f.json, "json", false, "print JSON, an object a line")
	f.image.register(fl)
	return c
}

func (f *lsFlags) run(cmd *cobra.Command, args []string) error {
	file, err := f.image.open(cmd, args[0])
	if err != nil {
		return err
	}
	defer file.Close()
	at := ""
	if len(args) == 2 {
		at = strings.TrimPrefix(path.Clean("/"+args[1]), "/")
	}
	var layers []flatten.Layer
	for _, l := range file.Image.Layers {
		layers = append(layers, l.Uncompressed)
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(flatten.Write(cmd.Context(), w, layers)) }()
	defer r.Close()
	out := bufio.NewWriter(cmd.OutOrStdout())
	found := at == ""
	for in := tar.NewReader(r); ; {
		h, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return stopped(cmd.Context(), err)
		}
		name := strings.TrimPrefix(strings.TrimSuffix(h.Name, "/"), "./")
		rest, below := strings.CutPrefix(name, at+"/")
		if at == "" {
			rest, below = name, name != "."
		}
		itself := name == at && at != ""
		found = found || itself || below
		if itself && h.Typeflag != tar.TypeDir || below && (f.recursive || !strings.Contains(rest, "/")) {
			if err := f.print(out, name, h); err != nil {
				return err
			}
		}
	}
	if !found {
		return fmt.Errorf("%s: the image has no /%s", args[0], at)
	}
	return out.Flush()
}

func (f *lsFlags) print(w io.Writer, name string, h *tar.Header) error {
	if f.json {
		return writeJSONLine(w, lsJSON{"/" + name, lsTypes[h.Typeflag], fmt.Sprintf("%04o", h.Mode), h.Uid, h.Gid, h.Size, h.Linkname})
	}
	target := ""
	switch h.Typeflag {
	case tar.TypeSymlink:
		target = " -> " + h.Linkname
	case tar.TypeLink:
		target = " => /" + h.Linkname
	}
	_, err := fmt.Fprintf(w, "%s %5d %5d %10d /%s%s\n", h.FileInfo().Mode(), h.Uid, h.Gid, h.Size, printable(name), printable(target))
	return err
}

// printable keeps names from giving orders to a terminal.
func printable(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == '�' }) {
		return strings.Trim(fmt.Sprintf("%q", s), `"`)
	}
	return s
}
